// The operators through which a layout can be followed, by what they do to it.
#include "rewrite/module_depth/view_operators.h"

#include <string>
#include <unordered_set>

namespace flashconvert::rewrite {
namespace {

using torch::jit::Node;

bool is_one_of(const Node* node, const std::unordered_set<std::string>& names) {
  return node->kind().is_aten() && names.count(node->kind().toUnqualString()) != 0;
}

}  // namespace

bool keeps_layout(const Node* node) {
  static const std::unordered_set<std::string> names{"contiguous", "clone", "alias"};
  return is_one_of(node, names);
}

bool keeps_sizes(const Node* node) {
  static const std::unordered_set<std::string> names{"to",   "type_as",    "dropout",           "relu",  "gelu",
                                                     "silu", "layer_norm", "native_layer_norm", "detach"};
  return keeps_layout(node) || is_one_of(node, names);
}

bool is_permutation(const Node* node) {
  static const std::unordered_set<std::string> names{"transpose", "permute", "t", "swapaxes", "swapdims"};
  return is_one_of(node, names);
}

bool is_reshape(const Node* node) {
  static const std::unordered_set<std::string> names{"view",      "reshape", "_unsafe_view", "flatten",
                                                     "unflatten", "squeeze", "unsqueeze"};
  return is_one_of(node, names);
}

bool is_feature_selection(const Node* node) {
  static const std::unordered_set<std::string> names{"select", "slice", "narrow"};
  return is_one_of(node, names) && node->input(0)->type()->kind() == c10::TypeKind::TensorType;
}

bool is_division_into_list(const Node* node) {
  static const std::unordered_set<std::string> names{
      "chunk", "unsafe_chunk", "split", "unsafe_split", "split_with_sizes", "unsafe_split_with_sizes", "unbind"};
  return is_one_of(node, names);
}

bool is_list_access(const Node* node) {
  if (node->kind() != c10::prim::ListUnpack && node->kind() != c10::aten::__getitem__) return false;
  return is_division_into_list(node->input(0)->node());
}

bool is_view_operator(const Node* node) {
  return keeps_layout(node) || is_permutation(node) || is_reshape(node) || is_feature_selection(node) ||
         is_division_into_list(node) || is_list_access(node);
}

}  // namespace flashconvert::rewrite
