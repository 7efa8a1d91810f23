// Rows in which every key is hidden, on the portable backend: its operator gives zeros there, a softmax NaN.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include "survey/method_facts.h"
#include "survey/site_builder.h"

namespace flashconvert::survey {

// Whether a bias may hide every key of some query: false where its values are known and leave each query a key, and
// where a finite number hides keys.
bool may_hide_rows(const Bias& bias, const MethodFacts& facts);

// `context` with NaN in the rows whose keys the bias hides, at the graph's insertion point; unless `zeros`, a bool, is
// true at run time (null: it never is).
torch::jit::Value* nan_in_hidden_rows(torch::jit::Graph& graph, torch::jit::Value* context, const Bias& bias,
                                      torch::jit::Value* zeros, const MethodFacts& facts);

}  // namespace flashconvert::survey
