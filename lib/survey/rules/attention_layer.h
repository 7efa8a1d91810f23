// Calls of a scripted torch.nn.MultiheadAttention as sites of their callers. The layer returns its weights beside the
// result and chooses between two paths at run time; whether the weights are wanted, and which arguments are one tensor,
// only the caller tells.
#pragma once

#include <memory>
#include <optional>

#include "survey/method_facts.h"
#include "survey/survey.h"

namespace flashconvert::survey {

// A scripted torch.nn.MultiheadAttention. Traced ones are of the class too, but have a forward of their own.
bool is_attention_layer(const c10::TypePtr& type);
bool is_attention_layer_call(const torch::jit::Node* node);

// The path of the layer in the site is relative to the caller's module.
Site survey_attention_layer(torch::jit::Node* call, const std::shared_ptr<torch::jit::Graph>& graph,
                            const MethodFacts& facts, Backend backend);

}  // namespace flashconvert::survey
