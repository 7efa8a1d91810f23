// The part of a graph that a FusedAttention module takes over.
#include "rewrite/outline/region.h"

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <cmath>

#include "graph/calls.h"
#include "graph/operators.h"
#include "graph/views.h"
#include "rewrite/outline/merged_heads.h"
#include "survey/attention_functions.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Block;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
using Reason = std::optional<std::string>;  // nothing: fine

template <typename T>
bool read_constant(Value* value, T& result) {
  const auto constant = torch::jit::toIValue(value);
  if (!constant) return false;
  if constexpr (std::is_same_v<T, bool>) {
    if (!constant->isBool()) return false;
    result = constant->toBool();
  } else {
    if (!constant->isDouble() && !constant->isInt()) return false;
    result = constant->toScalar().toDouble();
  }
  return true;
}

// The scale may be computed from the head size: size(query, -1) ** -0.5, 1 / sqrt(…).
std::optional<double> number_behind(Value* value, Layouts& layouts) {
  double constant = 0.0;
  if (read_constant(value, constant)) return constant;
  if (const auto size = layouts.size_value(value)) {
    const auto number = size->constant();
    return number ? std::optional(static_cast<double>(*number)) : std::nullopt;
  }
  Node* node = value->node();
  if (value->type()->kind() == c10::TypeKind::TensorType || node->inputs().empty()) return std::nullopt;
  const auto first = number_behind(node->input(0), layouts);
  if (!first) return std::nullopt;
  if (node->kind() == c10::aten::sqrt) return std::sqrt(*first);
  if (node->kind() == c10::aten::Float) return first;
  const auto second = node->inputs().size() == 2 ? number_behind(node->input(1), layouts) : std::nullopt;
  if (!second) return std::nullopt;
  if (node->kind() == c10::aten::pow) return std::pow(*first, *second);
  if (node->kind() == c10::aten::mul) return *first * *second;
  if (node->kind() == c10::aten::div) return *first / *second;
  return std::nullopt;
}

bool read_scale(Value* value, Layouts& layouts, double& scale) {
  const auto number = number_behind(value, layouts);
  if (number) scale = *number;
  return number.has_value();
}

// A constant, or whether there is no bias.
bool read_causal(Node* node, AttentionArguments& arguments) {
  if (read_constant(node->input(5), arguments.causal)) return true;
  const Node* question = node->input(5)->node();
  arguments.causal_without_bias =
      question->kind() == c10::aten::__is__ && question->input(0) == node->input(3) && question->input(1)->mustBeNone();
  return arguments.causal_without_bias;
}

bool read_window(Value* value, std::array<std::int64_t, 2>& window) {
  const auto constant = torch::jit::toIValue(value);
  if (!constant || !constant->isIntList() || constant->toIntVector().size() != 2) return false;
  std::copy_n(constant->toIntVector().begin(), 2, window.begin());
  return true;
}

bool read_fused_arguments(Node* node, Layouts& layouts, AttentionArguments& arguments) {
  return read_scale(node->input(4), layouts, arguments.scale) && read_causal(node, arguments) &&
         read_window(node->input(6), arguments.window) && read_constant(node->input(7), arguments.softcap) &&
         read_constant(node->input(8), arguments.zero_masked_rows) &&
         read_constant(node->input(9), arguments.bottom_right);
}

bool read_portable_arguments(Node* node, std::int64_t head_dim, Layouts& layouts, AttentionArguments& arguments) {
  arguments.portable = true;
  double dropout = 1.0;
  if (!read_constant(node->input(4), dropout) || dropout != 0.0) return false;
  if (!read_causal(node, arguments)) return false;
  if (!node->input(6)->mustBeNone()) return read_scale(node->input(6), layouts, arguments.scale);
  arguments.scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  return true;
}

bool read_arguments(Node* node, std::int64_t head_dim, Layouts& layouts, AttentionArguments& arguments) {
  return node->kind() == c10::aten::scaled_dot_product_attention
             ? read_portable_arguments(node, head_dim, layouts, arguments)
             : read_fused_arguments(node, layouts, arguments);
}

// The function that makes a bias of the queries' dtype, if the node calls one with queries.
const ScriptFunction* bias_cast(const Node* node) {
  for (const ScriptFunction* function : {&survey::kAddedBias, &survey::kMaskForTorch}) {
    if (is_call_of(node, *function) && !node->input(2)->mustBeNone()) return function;
  }
  return nullptr;
}

// What is made of a bias for the queries' dtype is made in the module, where the queries are. Returns the bias before,
// between and after.
std::vector<Value*> take_bias_casts(FusedRegion& region) {
  std::vector<Value*> values{region.bias};
  while (const ScriptFunction* function = bias_cast(region.bias->node())) {
    auto& casts = region.arguments.bias_casts;
    casts.insert(casts.begin(), function->name);
    region.bias = region.bias->node()->input(1);
    values.push_back(region.bias);
  }
  return values;
}

// The call that follows the attention on the portable backend where a mask may hide a whole row. `biases`: what it may
// look at.
void take_hidden_rows(FusedRegion& region, const std::vector<Value*>& biases) {
  if (region.context->uses().size() != 1) return;
  Node* call = region.context->uses()[0].user;
  bool zeros = true;
  if (!is_call_of(call, survey::kNanInHiddenRows) ||
      std::find(biases.begin(), biases.end(), call->input(2)) == biases.end() ||
      !read_constant(call->input(3), zeros) || zeros)
    return;
  region.arguments.nan_in_hidden_rows = true;
  region.context = call->output();
}

bool passes_open_view(Value* value, const Layouts& layouts) {
  for (; is_view_operator(value->node()); value = value->node()->input(0)) {
    if (layouts.leaves_lead_open(value)) return true;
  }
  return false;
}

std::vector<std::int64_t> feature_rows(const HeadView& view, std::int64_t offset) {
  std::vector<std::int64_t> rows;
  for (std::int64_t head = 0; head < view.heads.extent; ++head) {
    for (std::int64_t feature = 0; feature < view.features.extent; ++feature) {
      rows.push_back(offset + head * view.heads.stride + feature * view.features.stride);
    }
  }
  return rows;
}

// Follows the operands of one attention node up to their projections.
class OperandMatcher {
public:
  OperandMatcher(FusedRegion& region, const Module& self, Layouts& layouts)
      : region_(region), self_(self), layouts_(layouts) {}

  Reason match_all() {
    for (std::size_t index = 0; index < 3; ++index) {
      if (Reason reason = match(index)) return reason;
    }
    return check_heads();
  }

  const HeadView& query_view() const { return views_[0]; }

private:
  Reason match(std::size_t index) {
    static const std::array<std::string, 3> names{"query", "key", "value"};
    Value* value = region_.attention->input(index);
    Value* source = root_of_views(value);
    if (index > 0) equate_batch(source);
    auto projection = match_projection(source, self_, layouts_);
    if (!projection) return "the " + names[index] + " does not come from a linear projection by views alone";
    const auto layout = layouts_.of(value);
    const auto view = layout ? head_view(*layout) : std::nullopt;
    if (!view || layout->source != source) return "the layout of the " + names[index] + "'s heads is not recognised";
    const auto input = layouts_.of(projection->input);
    if (input->dims.size() != 3) return "the input of the " + names[index] + "'s projection is not three-dimensional";
    const bool batch_first = is_only(input->dims[0], view->batch) && is_only(input->dims[1], view->length);
    const bool length_first = is_only(input->dims[1], view->batch) && is_only(input->dims[0], view->length);
    if (batch_first == length_first) return "batch and length of the " + names[index] + " cannot be told apart";
    if (index > 0 && (batch_first != region_.batch_first || view->form != views_[0].form)) {
      return "query, key and value are laid out differently";
    }
    region_.batch_first = batch_first;
    views_[index] = *view;
    HeadOperand& operand = region_.operands[index];
    operand.heads = view->heads.extent;
    operand.head_dim = view->features.extent;
    operand.rows = feature_rows(*view, layout->offset);
    operand.open_length = passes_open_view(value, layouts_);
    operand.projection = std::move(*projection);
    return std::nullopt;
  }

  // Attention has one batch: sizes that are read from the query's input hold for the key's and value's too.
  void equate_batch(Value* source) {
    Layouts trial = layouts_;
    const auto projection = match_projection(source, self_, trial);
    if (!projection || projection->input == region_.input(0)) return;
    const std::int64_t dim = region_.batch_first ? 0 : 1;
    layouts_.equate({projection->input, dim}, views_[0].batch);
  }

  Reason check_heads() const {
    const auto& [query, key, value] = region_.operands;
    if (query.head_dim != key.head_dim) return "query and key heads have different sizes";
    if (key.heads != value.heads || query.heads % key.heads != 0) return "the head counts do not fit";
    return std::nullopt;
  }

  FusedRegion& region_;
  const Module& self_;
  Layouts& layouts_;
  std::array<HeadView, 3> views_;
};

// The nodes between the projections' inputs and the end.
void collect_nodes(FusedRegion& region, Value* value) {
  for (const HeadOperand& operand : region.operands) {
    if (value != operand.projection.output) continue;
    region.nodes.insert(operand.projection.nodes.begin(), operand.projection.nodes.end());
    return;
  }
  if (region.output && value == region.output->output) {
    region.nodes.insert(region.output->nodes.begin(), region.output->nodes.end());
    return collect_nodes(region, region.output->input);
  }
  Node* node = value->node();
  if (!region.nodes.insert(node).second) return;
  if (node == region.context->node() && node != region.attention)
    return collect_nodes(region, region.attention->output());
  const std::size_t data_operands = node == region.attention ? 3 : 1;
  for (std::size_t i = 0; i < data_operands; ++i) collect_nodes(region, node->input(i));
}

// A size of an inner value as a size of an input, so that the code that asks for it can ask the input.
std::optional<FusedRegion::SizeQuery> answer_from_inputs(const FusedRegion& region, Node* query, Value* inner,
                                                         Layouts& layouts) {
  if (query->kind() != c10::aten::size || query->inputs().size() != 2) return std::nullopt;
  const auto dim = literal_int(query->input(1));
  const auto size = dim ? layouts.size(inner, *dim) : std::nullopt;
  if (!size) return std::nullopt;
  if (const auto number = size->constant()) return FusedRegion::SizeQuery{query, nullptr, *number};
  const auto symbol = size->symbol();
  if (!symbol) return std::nullopt;
  for (std::size_t operand = 0; operand < 3; ++operand) {
    const auto layout = layouts.of(region.input(operand));
    for (std::int64_t input_dim = 0; input_dim < 2; ++input_dim) {
      if (!is_only(layout->dims[std::size_t(input_dim)], *symbol)) continue;
      return FusedRegion::SizeQuery{query, region.input(operand), input_dim};
    }
  }
  return std::nullopt;
}

Reason check_outside_uses(FusedRegion& region, Layouts& layouts) {
  for (Node* node : region.nodes) {
    if (node->owningBlock() != region.attention->owningBlock()) return "a part of it stands in another branch";
    for (Value* output : node->outputs()) {
      if (output == region.end) continue;
      for (const auto& use : output->uses()) {
        if (region.nodes.count(use.user) != 0) continue;
        auto answer = answer_from_inputs(region, use.user, output, layouts);
        if (!answer) return "a value inside it is used elsewhere (%" + output->debugName() + ")";
        region.size_queries.push_back(*answer);
      }
    }
  }
  return std::nullopt;
}

// The module call reads its inputs where the region ends: nothing may write to them in between.
Reason check_writes(const FusedRegion& region) {
  torch::jit::ValueSet read{region.input(0), region.input(1), region.input(2)};
  if (region.bias != nullptr) read.insert(region.bias);
  for (Node* node : region.nodes) read.insert(node->outputs().begin(), node->outputs().end());
  const Node* end = region.end->node();
  Node* first = region.end->node();
  for (Node* node : region.nodes) {
    if (node->isBefore(first)) first = node;
  }
  const torch::jit::AliasDb aliases(region.attention->owningGraph()->shared_from_this());
  for (Node* node = first; node != end; node = node->next()) {
    if (region.nodes.count(node) != 0 || !may_write(node)) continue;
    if (node->kind() == c10::prim::CallMethod || aliases.writesToAlias(node, read))
      return "a tensor that it reads is written to in between";
  }
  return std::nullopt;
}

}  // namespace

std::variant<FusedRegion, std::string> find_region(Node* attention, const Module& self) {
  FusedRegion region;
  region.attention = attention;
  Layouts layouts;
  OperandMatcher operands(region, self, layouts);
  if (Reason reason = operands.match_all()) return *reason;
  if (!read_arguments(attention, region.operands[0].head_dim, layouts, region.arguments)) {
    return "an argument of the attention is not a constant";
  }
  if (!attention->input(3)->mustBeNone()) region.bias = attention->input(3);
  if (region.bias != nullptr && operands.query_view().form != HeadForm::kSeparate) {
    return "the bias is laid out for batch and heads in one dimension";
  }
  region.context = attention->output();
  if (region.arguments.portable && region.bias != nullptr) take_hidden_rows(region, take_bias_casts(region));
  declare_context(region.context, operands.query_view(), region.operands[2].head_dim, layouts);
  const auto merged = find_merged_heads(region.context, operands.query_view(), self, layouts);
  if (!merged) return "the heads are not merged by views alone";
  region.end = merged->end;
  region.output = merged->output;
  region.merged_batch_first = merged->batch_first;
  collect_nodes(region, region.end);
  for (Value* cast = attention->input(3); region.bias != nullptr && cast != region.bias;
       cast = cast->node()->input(1)) {
    region.nodes.insert(cast->node());
  }
  if (Reason reason = check_outside_uses(region, layouts)) return *reason;
  if (Reason reason = check_writes(region)) return *reason;
  return region;
}

}  // namespace flashconvert::rewrite
