// Values that are views of another (views.h).
#include "graph/views.h"

#include "graph/operators.h"

namespace flashconvert {

using torch::jit::Node;

bool is_list_access(const Node* node) {
  if (node->kind() != c10::prim::ListUnpack && node->kind() != c10::aten::__getitem__) return false;
  return has_trait(node->input(0)->node(), kDivides);
}

bool is_view_operator(const Node* node) {
  const bool is_view = has_trait(node, kCopies | kPermutes | kReshapes | kSelects | kDivides);
  return (is_view && !has_trait(node, kWrites)) || is_list_access(node);
}

torch::jit::Value* root_of_views(torch::jit::Value* value) {
  while (is_view_operator(value->node())) value = value->node()->input(0);
  return value;
}

}  // namespace flashconvert
