// Which float32 problems a kernel for halves takes, and which of them it is faster for. No CUDA language here.
#pragma once

#include "flashconvert/kernels/attention.h"
#include "score_mode.h"

namespace flashconvert::kernels::sm90 {

// Any alignment and strides. Not: less than 16 keys or 8 features, a scale that is not finite or beyond
// fp16x3/range_facts.h, more blocks of rows than a grid has.
bool takes_in_halves(const AttentionProblem& problem, ScoreMode mode);

// Whether there is so much to compute that splitting the operands first, and three kernels more, cost less than they
// bring. docs/kernels/fp32.md has the measurements.
bool is_worth_halving(const AttentionProblem& problem, ScoreMode mode);

}  // namespace flashconvert::kernels::sm90
