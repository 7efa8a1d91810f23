// Names of sizes (graph_facts.h): where a size comes from, followed up through views, projections and the arithmetic of
// traces.
#include <torch/csrc/jit/api/function_impl.h>

#include <algorithm>
#include <cmath>

#include "survey/graph_facts.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;
namespace attr = c10::attr;

namespace {

bool is_same_number(const Node* node) {
  return is_any_of(node, {"prim::NumToTensor", "aten::Int", "aten::IntImplicit", "aten::ScalarImplicit",
                          "prim::unchecked_cast", "aten::detach"});
}

bool is_size_arithmetic(const Node* node) {
  return is_any_of(node, {"aten::add", "aten::sub", "aten::rsub", "aten::mul", "aten::floor_divide", "aten::floordiv",
                          "aten::remainder", "aten::neg"});
}

// The part of `split` that the value is: split and chunk leave every other dimension as it was.
Node* split_of(const Value* value) {
  if (value->node()->kind() != prim::ListUnpack) return nullptr;
  Node* split = value->node()->input(0)->node();
  return is_any_of(split, {"aten::split", "aten::chunk", "aten::split_with_sizes"}) ? split : nullptr;
}

}  // namespace

std::string GraphFacts::size_name(Value* size) const {
  if (const auto known = number(size); known && std::floor(*known) == *known) {
    return std::to_string(static_cast<std::int64_t>(*known));
  }
  Node* node = size->node();
  if (is_same_number(node)) return size_name(node->input(0));
  if (node->kind() == aten::size && node->inputs().size() == 2) {
    if (const auto dim = integer(node->input(1))) return size_name(node->input(0), *dim);
  }
  if (node->kind() == prim::ListUnpack && node->input(0)->node()->kind() == aten::size) {  // b, t, c = x.size()
    const auto count = static_cast<std::int64_t>(node->outputs().size());
    const auto at = static_cast<std::int64_t>(size->offset());
    return size_name(node->input(0)->node()->input(0), rank(node->input(0)->node()->input(0)) ? at - count : at);
  }
  if (kind_name(node) == "aten::__getitem__" && node->input(0)->node()->kind() == aten::size) {  // x.shape[1]
    if (const auto dim = integer(node->input(1))) return size_name(node->input(0)->node()->input(0), *dim);
  }
  if (is_size_arithmetic(node)) {
    std::vector<std::string> operands;
    for (Value* input : node->inputs().slice(0, std::min<std::size_t>(2, node->inputs().size()))) {
      operands.push_back(size_name(input));
    }
    if (node->inputs().size() == 3 && number(node->input(2)) != 1) return "%" + std::to_string(size->unique());
    if (is_any_of(node, {"aten::add", "aten::mul"})) std::sort(operands.begin(), operands.end());
    std::string name = kind_name(node) + "(";
    for (const std::string& operand : operands) name += operand + ",";
    return name + ")";
  }
  return "%" + std::to_string(size->unique());
}

std::string GraphFacts::size_name(Value* tensor, std::int64_t dim) const {
  const Dimension origin = size_origin(tensor, dim);
  Node* node = origin.tensor->node();
  if (origin.dim < 0) {
    if (const auto known = size_from_end(origin.tensor, origin.dim)) return std::to_string(*known);
  }
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::expand"})) {
    const auto sizes = list_elements(node->input(1));
    const std::int64_t at = origin.dim < 0 ? static_cast<std::int64_t>(sizes.size()) + origin.dim : origin.dim;
    if (at >= 0 && at < static_cast<std::int64_t>(sizes.size()) && integer(sizes[at]) != -1) {
      return size_name(sizes[at]);
    }
  }
  return "%" + std::to_string(origin.tensor->unique()) + "[" + std::to_string(origin.dim) + "]";
}

GraphFacts::Dimension GraphFacts::size_origin(Value* tensor, std::int64_t dim) const {
  if (dim >= 0) {
    if (const auto known = rank(tensor)) dim -= *known;
  }
  Node* node = tensor->node();
  if (dim < 0) {
    if (const auto source = source_dimension(tensor, dim)) return size_origin(source->tensor, source->dim);
    if (node->kind() == aten::linear && dim != -1) return size_origin(node->input(0), dim);
    if (is_any_of(node, {"aten::matmul", "aten::bmm"}) && dim >= -2) {
      return size_origin(node->input(dim == -2 ? 0 : 1), dim);
    }
    if (const auto length = inferred_length(node, dim)) return size_origin(length->tensor, length->dim);
  } else if (keeps_shape(node) || is_square_projection(node)) {
    return size_origin(node->input(0), dim);
  }
  if (node->kind() == prim::CallMethod) {
    if (const auto outside = size_origin_of_call(node, dim)) return size_origin(outside->tensor, outside->dim);
  }
  if (Node* split = split_of(tensor)) {
    const auto along = integer(split->input(2));
    if (along && (*along < 0) == (dim < 0) && *along != dim) return size_origin(split->input(0), dim);
    // Where it is not known which dimension that is, parts of one size are alike in all of them.
    if (along && size_of_part(split, *along)) return {node->output(0), dim};
  }
  const bool is_scaled = is_any_of(node, {"aten::mul", "aten::div"}) && number(node->input(1));
  if (is_scaled) return size_origin(node->input(0), dim);
  return {tensor, dim};
}

// As many features out as in: every size is that of the input, whichever dimension is the last.
bool GraphFacts::is_square_projection(Node* node) const {
  if (node->kind() != aten::linear) return false;
  const auto features = size_from_end(node->input(1), -1);
  return features && features == size_from_end(node->input(1), -2);
}

// Where the dimension of a submodule's result is one of an argument's: a linear layer keeps all but the last.
std::optional<GraphFacts::Dimension> GraphFacts::size_origin_of_call(Node* call, std::int64_t dim) const {
  const auto callee = attribute(call->input(0));
  Value* result = only_result(call);
  if (!callee || !callee->isObject() || !result) return std::nullopt;
  const Dimension origin = GraphFacts(torch::jit::Module(callee->toObject())).size_origin(result, dim);
  if (origin.tensor->node()->kind() != prim::Param) return std::nullopt;
  return Dimension{call->input(origin.tensor->offset()), origin.dim};
}

// [batch, -1, heads, features] of a projection of [batch, length, width]: the length of what is projected.
std::optional<GraphFacts::Dimension> GraphFacts::inferred_length(Node* view, std::int64_t dim) const {
  if (!is_any_of(view, {"aten::view", "aten::reshape"})) return std::nullopt;
  const auto sizes = list_elements(view->input(1));
  if (sizes.size() < 3 || static_cast<std::int64_t>(sizes.size()) + dim != 1 || integer(sizes[1]) != -1) {
    return std::nullopt;
  }
  std::int64_t width = 1;
  for (std::size_t i = 2; i < sizes.size(); ++i) width *= integer(sizes[i]).value_or(0);
  Value* projected = view->input(0);
  if (width == 0 || size_from_end(projected, -1) != width) return std::nullopt;
  const Dimension length = size_origin(projected, -2);
  if (length.dim != -2 || size_name(sizes[0]) != size_name(length.tensor, 0)) return std::nullopt;
  return Dimension{length.tensor, 1};
}

}  // namespace flashconvert::survey
