// The portable backend's attention (portable_attention.h). torch's fused kernels take operands of four dimensions,
// beside masks of two or four: everything else is brought to that form here.
#include "survey/portable_attention.h"

#include "survey/attention_functions.h"
#include "survey/hidden_rows.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::NamedValue;
using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

void check_expressible(const Bias& bias, const AttentionArguments& arguments) {
  if (arguments.softcap > 0) throw Declined("the portable backend has no softcap");
  const Band& band = arguments.band;
  if (band.limits() && (bias.value || !band.is_causal() || band.left >= 0 || band.bottom_right))
    throw Declined("the portable backend has no window, and no causal mask beside a bias");
}

Value* with_leading_one(Graph& graph, Value* tensor) {
  return call(graph, "aten::unsqueeze", {tensor, c10::IValue(0)});
}

// The bias of the layout whose leading dimension is split, in the operands' own: expanded and joined again.
Value* joined_bias(Graph& graph, Value* bias, const std::vector<Value*>& split, const MethodFacts& facts) {
  if (facts.integer(split[0]) == -1) throw Declined("the scores are reshaped for the bias to a size that is left open");
  Value* as_it_is = graph.insertConstant(-1);
  const bool has_heads = facts.rank(bias).value_or(0) >= 3;
  Value* sizes =
      graph
          .insertNode(graph.createList(c10::IntType::get(),
                                       {split[0], split[1], has_heads ? as_it_is : split[2], as_it_is, as_it_is}))
          ->output();
  return call(graph, "aten::flatten", {call(graph, "aten::expand", {bias, sizes}), c10::IValue(0), c10::IValue(1)});
}

// A bias that broadcasts to [N, Lq, Lk], as a mask of two or four dimensions.
Value* mask_beside_joined_heads(Graph& graph, Value* bias, Value* query, Value* key, const MethodFacts& facts) {
  const auto rank = facts.rank(bias);
  if (rank == 2) return bias;
  if (!rank) {
    const std::vector<Value*> sizes{call(graph, "aten::size", {query, c10::IValue(0)}),
                                    call(graph, "aten::size", {query, c10::IValue(1)}),
                                    call(graph, "aten::size", {key, c10::IValue(1)})};
    bias =
        call(graph, "aten::expand", {bias, graph.insertNode(graph.createList(c10::IntType::get(), sizes))->output()});
  }
  return with_leading_one(graph, bias);
}

// Whether the operator does what the site does in rows that see no key: it gives zeros.
bool zeros_are_right(const Bias& bias, const AttentionArguments& arguments, const MethodFacts& facts) {
  return !bias.value || arguments.zero_masked_rows || !may_hide_rows(bias, facts);
}

}  // namespace

InsertedAttention insert_portable_attention(Graph& graph, Value* query, Value* key, Value* value, const Bias& bias,
                                            const NamedValue& scale, const AttentionArguments& arguments,
                                            const MethodFacts& facts) {
  check_expressible(bias, arguments);
  const auto rank = facts.rank(query);
  if (rank && *rank > 4) throw Declined("torch's fused kernels take no operands of more than four dimensions");
  const bool is_joined = rank == 3;  // batch and heads in one dimension
  const bool is_split = !arguments.split_sizes.empty();
  Bias mask = bias;
  if (bias.value && is_joined) {
    mask.value = mask_beside_joined_heads(graph, bias.value, query, key, facts);
  } else if (bias.value && is_split) {
    mask.value = joined_bias(graph, bias.value, arguments.split_sizes, facts);
  } else if (bias.value && rank == 4 && facts.rank(bias.value) == 3) {
    mask.value = with_leading_one(graph, bias.value);
  }
  if (is_joined) {
    for (Value** operand : {&query, &key, &value}) *operand = with_leading_one(graph, *operand);
  }
  const bool is_tensor = mask.value && mask.value->type()->kind() == c10::TypeKind::TensorType;
  if (is_tensor && (!mask.is_boolean || facts.rank(mask.value).value_or(1) < 2)) {
    auto& unit = *facts.module()._ivalue()->compilation_unit();
    mask.value = call_function(graph, unit, kMaskForTorch, {mask.value, query});
  }
  Value* mask_or_none = mask.value ? mask.value : graph.insertConstant(c10::IValue());
  Value* causal =
      arguments.dynamic_causal ? arguments.dynamic_causal : graph.insertConstant(arguments.band.is_causal());
  Value* context =
      graph.insert(aten::scaled_dot_product_attention, {query, key, value, mask_or_none, c10::IValue(0.0), causal},
                   {scale, NamedValue("enable_gqa", c10::IValue(arguments.grouped))});
  Node* node = context->node();
  if (is_joined) context = call(graph, "aten::squeeze", {context, c10::IValue(0)});
  if (zeros_are_right(bias, arguments, facts)) return {node, context};
  Value* zeros = arguments.dynamic_zero_masked_rows;
  if (!is_split) return {node, nan_in_hidden_rows(graph, context, is_joined ? bias : mask, zeros, facts)};
  // The bias before it was expanded is the smaller one to look through.
  context = nan_in_hidden_rows(graph, reshape_leading(graph, context, arguments.split_sizes), bias, zeros, facts);
  return {node, call(graph, "aten::flatten", {context, c10::IValue(0), c10::IValue(1)})};
}

}  // namespace flashconvert::survey
