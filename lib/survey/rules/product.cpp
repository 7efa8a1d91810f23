// The product: matmul, bmm, baddbmm and einsum as left · right with the operands' orientation.
#include <string>
#include <vector>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;

namespace {

Operand as_is(Value* value) { return Operand{value, {}, false}; }

Operand swapped(Value* value) { return Operand{value, {}, true}; }

std::vector<std::int64_t> positions(const std::string& letters, const std::string& of) {
  std::vector<std::int64_t> order;
  for (const char letter : letters) order.push_back(static_cast<std::int64_t>(of.find(letter)));
  return order;
}

bool is_identity(const std::vector<std::int64_t>& order) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

Operand in_order(Value* value, const std::string& letters, const std::string& of) {
  Operand operand{value, positions(letters, of), false};
  if (is_identity(operand.order)) operand.order.clear();
  return operand;
}

// "bhid,bjhd->bhij" and the like: batch letters are in both operands and the output, K in both operands alone, M in the
// left and N in the right operand and the output. Batch letters take the order of the left operand's scores.
Product read_einsum(Node* node, const MethodFacts& facts) {
  const auto equation = facts.constant(node->input(0));
  const auto operands = GraphFacts::list_elements(node->input(1));
  if (!equation || !equation->isString() || operands.size() != 2) throw Declined("an einsum that is no matrix product");
  std::string text;
  for (const char letter : equation->toStringRef()) {
    if (letter != ' ') text += letter;
  }
  const auto comma = text.find(',');
  const auto arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || text.find('.') != std::string::npos) {
    throw Declined("the einsum '" + text + "' is no explicit product of two operands");
  }
  const std::string left = text.substr(0, comma);
  const std::string right = text.substr(comma + 1, arrow - comma - 1);
  const std::string out = text.substr(arrow + 2);
  const auto in = [](char letter, const std::string& letters) { return letters.find(letter) != std::string::npos; };
  std::string batch, rows, inner, columns;
  for (const char letter : left) {
    if (in(letter, right) && in(letter, out)) continue;
    (in(letter, out) ? rows : inner) += letter;
  }
  for (const char letter : out) {
    if (in(letter, left) && in(letter, right)) batch += letter;
  }
  for (const char letter : right) {
    if (!in(letter, left)) columns += letter;
  }
  const bool each_once = left.size() == batch.size() + 2 && right.size() == batch.size() + 2 &&
                         out.size() == batch.size() + 2 && rows.size() == 1 && inner.size() == 1 && columns.size() == 1;
  if (!each_once) throw Declined("the einsum '" + text + "' is no batched matrix product");
  Product product;
  product.node = node;
  product.left = in_order(operands[0], batch + rows + inner, left);
  product.right_transposed = in_order(operands[1], batch + columns + inner, right);
  product.right = in_order(operands[1], batch + inner + columns, right);
  product.output_order = positions(out, batch + rows + columns);
  if (is_identity(product.output_order)) product.output_order.clear();
  return product;
}

}  // namespace

Product read_product(Node* node, const MethodFacts& facts) {
  const std::string name = kind_name(node);
  if (name == "aten::einsum") return read_einsum(node, facts);
  Product product;
  product.node = node;
  const std::size_t first = name == "aten::baddbmm" ? 1 : 0;
  Value* left = node->input(first);
  Value* right = node->input(first + 1);
  product.left = as_is(left);
  product.right = as_is(right);
  product.right_transposed = swapped(right);
  if (name == "aten::baddbmm") {
    const auto beta = facts.number(node->input(3));
    const auto alpha = facts.number(node->input(4));
    if (!beta || !alpha) throw Declined("baddbmm's beta or alpha is not a constant");
    product.beta = *beta;
    product.alpha = *alpha;
    if (*beta != 0) product.addend = node->input(0);
  }
  return product;
}

}  // namespace flashconvert::survey
