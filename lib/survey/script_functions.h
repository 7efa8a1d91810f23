// Functions in TorchScript that replacements call: what depends on arguments which may be None, or on their dtype,
// needs branches, and reads better as one line in the method. They are saved with the checkpoint, under
// `__torch__.flashconvert`, and hold aten operators alone.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <vector>

namespace flashconvert::survey {

enum class ScriptFunction {
  // attention_bias(attn_mask, key_padding_mask, query, added_keys): the masks of torch.nn.MultiheadAttention, each
  // boolean (true = masked), additive or None, as one bias of the attention operator, or None. `query` is split into
  // heads; keys that the layer appends are visible.
  kAttentionBias,
  // leaves_fast_path(query, weight, attn_mask, key_padding_mask): whether torch.nn.MultiheadAttention, called with one
  // tensor for query, key and value, finds at run time that its fast path will not do.
  kLeavesFastPath,
  // merged_mask_bias(mask, mask_type): the mask of torch.nn's fast-path operators (nonzero = masked) and its type, as a
  // bias of the attention operator, or None.
  kMergedMaskBias,
  // nan_in_hidden_rows(context, bias, zeros): NaN in the rows of which `bias` (as for the attention operator) hides
  // every key, where zeros are not what is wanted there.
  kNanInHiddenRows,
  // bias_unless_causal(mask, queries, keys): a causal mask, or None where it is the one of these lengths.
  kBiasUnlessCausal,
};

// Inserts a call at the graph's insertion point. The function is defined in `unit`, the graph's own compilation unit,
// if it is not there yet; one that nothing calls is not saved.
torch::jit::Value* call_function(torch::jit::Graph& graph, torch::jit::CompilationUnit& unit, ScriptFunction function,
                                 const std::vector<torch::jit::NamedValue>& arguments);

// Is the node a call of this function?
bool is_call_of(const torch::jit::Node* node, ScriptFunction function);

// The function of this name that calls in the unit's graphs have defined; null: none.
torch::jit::Function* find_script_function(torch::jit::CompilationUnit& unit, const std::string& name);

// Calls count as side effects for dead-code elimination: removes those of these functions whose result is not used.
void remove_unused_calls(torch::jit::Block* block);

}  // namespace flashconvert::survey
