// The portable backend's attention: aten::scaled_dot_product_attention, and what it needs around it to compute what a
// site does, as fast as it can.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include "survey/method_facts.h"
#include "survey/site_builder.h"

namespace flashconvert::survey {

// As insert_attention (site_builder.h). Throws Declined for what torch's operator cannot express, and where it has no
// fused kernel: what it does instead is slower than what it would replace.
InsertedAttention insert_portable_attention(torch::jit::Graph& graph, torch::jit::Value* query, torch::jit::Value* key,
                                            torch::jit::Value* value, const Bias& bias,
                                            const torch::jit::NamedValue& scale, const AttentionArguments& arguments,
                                            const MethodFacts& facts);

}  // namespace flashconvert::survey
