// TorchScript functions of replacements (script_functions.h).
#include "survey/script_functions.h"

#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/schema_matching.h>

namespace flashconvert::survey {

namespace {

struct Source {
  const char* name;
  const char* code;
};

const Source& source_of(ScriptFunction function) {
  static const Source attention_bias{"attention_bias", R"(
def attention_bias(attn_mask: Optional[Tensor], key_padding_mask: Optional[Tensor], query: Tensor, added_keys: int) -> Optional[Tensor]:
  bias: Optional[Tensor] = None
  if attn_mask is not None:
    bias = torch.constant_pad_nd(attn_mask, [0, added_keys], 0)
    if bias.dim() == 3 and query.dim() == 4:
      bias = torch.unflatten(bias, 0, [query.size(0), query.size(1)])
  if key_padding_mask is not None:
    padding = torch.constant_pad_nd(key_padding_mask, [0, added_keys], 0)
    padding = torch.unsqueeze(torch.unsqueeze(padding, -2), -2)
    if bias is None:
      bias = padding
    else:
      masks = [bias, padding]
      if not torch.is_floating_point(bias) and not torch.is_floating_point(padding):
        bias = torch.logical_or(bias, padding)
      else:
        for i in range(2):
          if not torch.is_floating_point(masks[i]):
            zeros = torch.zeros_like(masks[i], dtype=query.dtype)
            masks[i] = torch.masked_fill(zeros, masks[i], float('-inf'))
        bias = masks[0] + masks[1]
  if bias is not None and not torch.is_floating_point(bias):
    bias = torch.logical_not(bias)
  return bias
)"};
  static const Source leaves_fast_path{"leaves_fast_path", R"(
def leaves_fast_path(query: Tensor, weight: Tensor, attn_mask: Optional[Tensor], key_padding_mask: Optional[Tensor]) -> bool:
  leaves = query.dim() != 3 or torch.is_autocast_enabled()
  if torch.is_grad_enabled():
    leaves = leaves or query.requires_grad or weight.requires_grad
  if attn_mask is not None:
    leaves = leaves or torch.is_floating_point(attn_mask)
  if key_padding_mask is not None:
    leaves = leaves or torch.is_floating_point(key_padding_mask)
  return leaves
)"};
  static const Source merged_mask_bias{"merged_mask_bias", R"(
def merged_mask_bias(mask: Optional[Tensor], mask_type: Optional[int]) -> Optional[Tensor]:
  if mask is None:
    return None
  visible = torch.logical_not(mask)
  if mask_type is not None and mask_type == 1:
    visible = torch.unsqueeze(torch.unsqueeze(visible, 1), 1)
  return visible
)"};
  static const Source nan_in_hidden_rows{"nan_in_hidden_rows", R"(
def nan_in_hidden_rows(context: Tensor, bias: Optional[Tensor], zeros: bool) -> Tensor:
  if bias is not None and not zeros:
    if torch.is_floating_point(bias):
      hidden_rows = torch.eq(torch.amax(bias, [-1], True), -float('inf'))
    else:
      hidden_rows = torch.logical_not(torch.any(bias, -1, True))
    context = torch.masked_fill(context, hidden_rows, float('nan'))
  return context
)"};
  static const Source bias_unless_causal{"bias_unless_causal", R"(
def bias_unless_causal(mask: Tensor, queries: int, keys: int) -> Optional[Tensor]:
  if mask.size(-2) == queries and mask.size(-1) == keys:
    return None
  return mask
)"};
  switch (function) {
    case ScriptFunction::kAttentionBias:
      return attention_bias;
    case ScriptFunction::kLeavesFastPath:
      return leaves_fast_path;
    case ScriptFunction::kMergedMaskBias:
      return merged_mask_bias;
    case ScriptFunction::kBiasUnlessCausal:
      return bias_unless_causal;
    default:
      return nan_in_hidden_rows;
  }
}

c10::QualifiedName namespace_of_functions() { return c10::QualifiedName("__torch__.flashconvert"); }

torch::jit::Function* defined(torch::jit::CompilationUnit& unit, const Source& source) {
  const c10::QualifiedName prefix = namespace_of_functions();
  const c10::QualifiedName name(prefix, source.name);
  if (auto* known = unit.find_function(name)) return known;
  unit.define(prefix, source.code, torch::jit::nativeResolver(), nullptr);
  return unit.find_function(name);
}

// The name of the function that a node calls; empty for other nodes.
c10::QualifiedName called_function(const torch::jit::Node* node) {
  if (node->kind() != c10::prim::CallFunction) return {};
  const auto type = node->input(0)->type()->cast<c10::FunctionType>();
  return type ? type->function()->qualname() : c10::QualifiedName();
}

bool is_call_of_ours(const torch::jit::Node* node) {
  return namespace_of_functions().isPrefixOf(called_function(node));
}

}  // namespace

bool is_call_of(const torch::jit::Node* node, ScriptFunction function) {
  return called_function(node) == c10::QualifiedName(namespace_of_functions(), source_of(function).name);
}

torch::jit::Function* find_script_function(torch::jit::CompilationUnit& unit, const std::string& name) {
  return unit.find_function(c10::QualifiedName(namespace_of_functions(), name));
}

void remove_unused_calls(torch::jit::Block* block) {
  auto nodes = block->nodes().reverse();  // users first
  for (auto it = nodes.begin(); it != nodes.end();) {
    torch::jit::Node* node = *it++;
    for (torch::jit::Block* inner : node->blocks()) remove_unused_calls(inner);
    if (is_call_of_ours(node) && !node->hasUses()) node->destroy();
  }
}

torch::jit::Value* call_function(torch::jit::Graph& graph, torch::jit::CompilationUnit& unit, ScriptFunction function,
                                 const std::vector<torch::jit::NamedValue>& arguments) {
  torch::jit::Function* callee = defined(unit, source_of(function));
  return graph.insertFunctionCall(
      callee, torch::jit::matchSchema(callee->getSchema(), torch::jit::SourceRange(), graph, arguments, /*kwargs=*/{}));
}

}  // namespace flashconvert::survey
