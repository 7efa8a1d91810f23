// From a walk to an expression (site_builder.h).
#include "survey/site_builder.h"

#include <cmath>
#include <limits>

#include "graph/dtypes.h"
#include "survey/attention_functions.h"
#include "survey/operand_dtypes.h"
#include "survey/portable_attention.h"
#include "survey/rules/rules.h"
#include "survey/strides.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::NamedValue;
using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

Value* call(Graph& graph, const char* name, const std::vector<NamedValue>& arguments) {
  return graph.insert(c10::Symbol::fromQualString(name), arguments);
}

namespace {

// float32's lowest number as a bias: finite, and whatever is added to it stays it, so that a row in which every key is
// hidden comes out uniform, as it does when its scores are overwritten with one finite number.
double absorbing_mask() { return std::numeric_limits<float>::lowest(); }

Value* visible(Graph& graph, const ScoreTerm& term) {
  return term.kind == ScoreTerm::Kind::kVisibleWhere ? term.tensor : call(graph, "aten::logical_not", {term.tensor});
}

Value* masked(Graph& graph, const ScoreTerm& term) {
  return term.kind == ScoreTerm::Kind::kMaskedWhere ? term.tensor : call(graph, "aten::logical_not", {term.tensor});
}

// What a term adds, of floating point.
Value* added(Graph& graph, const ScoreTerm& term, Value* query, const MethodFacts& facts) {
  Value* tensor = term.tensor;
  if (!is_known_floating(tensor, facts)) {
    auto& unit = *facts.module()._ivalue()->compilation_unit();
    tensor = call_function(graph, unit, kAddedBias, {tensor, query ? NamedValue(query) : NamedValue(c10::IValue())});
  }
  return term.factor == 1 ? tensor : call(graph, "aten::mul", {tensor, c10::IValue(term.factor)});
}

Bias add_term(Graph& graph, Bias bias, const ScoreTerm& term, Value* query, const MethodFacts& facts) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (term.kind == ScoreTerm::Kind::kAdditive) {
    Value* tensor = added(graph, term, query, facts);
    if (!bias.value) return {tensor, false};
    if (!bias.is_boolean) return {call(graph, "aten::add", {bias.value, tensor}), false};
    return {call(graph, "aten::where", {bias.value, tensor, c10::IValue(-kInfinity)}), false};
  }
  const bool hides_fully = std::isinf(term.fill);
  if (!bias.value && hides_fully) return {visible(graph, term), true};
  if (bias.is_boolean && hides_fully)
    return {call(graph, "aten::logical_and", {bias.value, visible(graph, term)}), true};
  if (!bias.value) {
    return {call(graph, "aten::where", {masked(graph, term), c10::IValue(absorbing_mask()), c10::IValue(0.0)}), false};
  }
  if (bias.is_boolean) throw Declined("a mask of minus infinity under one of a finite number");
  Value* below = bias.value;
  if (!hides_fully) below = call(graph, "aten::to", {below, c10::IValue(static_cast<std::int64_t>(at::kFloat))});
  return {call(graph, "aten::where",
               {masked(graph, term), c10::IValue(hides_fully ? -kInfinity : absorbing_mask()), below}),
          false};
}

Value* materialise(Graph& graph, const Operand& operand) {
  if (operand.swap_last) return call(graph, "aten::transpose", {operand.root, c10::IValue(-2), c10::IValue(-1)});
  if (operand.order.empty()) return operand.root;
  return call(graph, "aten::permute", {operand.root, c10::IValue(operand.order)});
}

std::optional<std::int64_t> rank_of(const Operand& operand, const MethodFacts& facts) {
  if (!operand.order.empty()) return static_cast<std::int64_t>(operand.order.size());
  return facts.rank(operand.root);
}

// Which layout of the scores the operator works in: the product's, or that of the reshape just after the product when
// a term was added there.
std::size_t operator_level(const SiteWalk& site) {
  const std::size_t product = site.levels.size();
  std::size_t level = product;
  for (const ScoreTerm& term : site.terms) {
    if (term.level != product) level = term.level;
  }
  for (const ScoreTerm& term : site.terms) {
    if (term.level != product && term.level != level)
      throw Declined("biases are added in several layouts of the scores");
  }
  if (level != product && level + 1 != product)
    throw Declined("the scores are reshaped more than once before the bias");
  return level;
}

// A bias of the product's layout, for use in one whose leading dimension is split: without its leading dimension where
// it does not vary along it, else split as the query is.
Value* in_split_layout(Graph& graph, Value* tensor, Value* query, const std::vector<Value*>& leading,
                       const MethodFacts& facts) {
  const auto product_rank = static_cast<std::int64_t>(leading.size()) + 1;
  Node* node = tensor->node();
  if (node->kind() == aten::unsqueeze && facts.integer(node->input(1)) == 0) return node->input(0);
  const auto shape = facts.shape(tensor);
  if (shape && static_cast<std::int64_t>(shape->size()) < product_rank) return tensor;
  if (shape && static_cast<std::int64_t>(shape->size()) == product_rank && shape->front() == 1) {
    return call(graph, "aten::squeeze", {tensor, c10::IValue(0)});
  }
  if (product_rank != 3) throw Declined("a bias of one layout of the scores beside one of another");
  Value* first = call(graph, "aten::size", {query, c10::IValue(0)});
  std::vector<Value*> sizes{first, graph.insertConstant(-1), graph.insertConstant(-1)};
  Value* list = graph.insertNode(graph.createList(c10::IntType::get(), sizes))->output();
  return reshape_leading(graph, call(graph, "aten::expand", {tensor, list}), leading);
}

// The number of dimensions that a reshape gives; nothing where its list is not known.
std::optional<std::int64_t> rank_after(const Node* reshape) {
  const auto sizes = GraphFacts::list_elements(reshape->input(1));
  return sizes.empty() ? std::nullopt : std::optional(static_cast<std::int64_t>(sizes.size()));
}

// The two products have operands of one layout: what the scores and the weights are reshaped to leads back to it.
void check_layouts_meet(const SiteWalk& site, const Operand& query, const MethodFacts& facts) {
  if ((site.levels.size() + site.output_levels.size()) % 2 == 0) return;  // there and back
  const Node* last = site.output_levels.empty() ? site.levels.front() : site.output_levels.back();
  const bool is_flat = is_any_of(site.score_product, {"aten::bmm", "aten::baddbmm"});
  const auto first_rank = is_flat ? std::optional<std::int64_t>(3) : rank_of(query, facts);
  const auto second_rank = rank_after(last);
  if (!first_rank || !second_rank || *first_rank != *second_rank)
    throw Declined("the second product works in another layout of the heads than the first");
}

// The scale as a float in the graph: the constant part times the numbers that the trace computes from sizes.
Value* run_time_scale(Graph& graph, const SiteWalk& site, double constant) {
  Value* scale = nullptr;
  for (const ScoreFactor& factor : site.scale_factors) {
    Value* number = call(graph, "aten::Float", {factor.tensor});
    if (!scale) {
      scale = factor.divides  ? call(graph, "aten::div", {c10::IValue(constant), number})
              : constant == 1 ? number
                              : call(graph, "aten::mul", {number, c10::IValue(constant)});
    } else {
      scale = call(graph, factor.divides ? "aten::div" : "aten::mul", {scale, number});
    }
  }
  scale->setDebugName("scale");
  return scale;
}

}  // namespace

Value* reshape_leading(Graph& graph, Value* operand, const std::vector<Value*>& leading) {
  std::vector<Value*> sizes = leading;
  sizes.push_back(call(graph, "aten::size", {operand, c10::IValue(-2)}));
  sizes.push_back(call(graph, "aten::size", {operand, c10::IValue(-1)}));
  Value* list = graph.insertNode(graph.createList(c10::IntType::get(), sizes))->output();
  return call(graph, "aten::reshape", {operand, list});
}

Bias insert_bias(Graph& graph, const std::vector<ScoreTerm>& terms, Value* query, const MethodFacts& facts) {
  Bias bias;
  for (auto term = terms.rbegin(); term != terms.rend(); ++term) bias = add_term(graph, bias, *term, query, facts);
  if (bias.value) bias.value->setDebugName("attn_bias");
  return bias;
}

Bias insert_assumed_mask(Graph& graph, Value* mask, Value* query, Value* key, AttentionArguments& arguments,
                         const MethodFacts& facts) {
  auto& unit = *facts.module()._ivalue()->compilation_unit();
  Value* queries = call(graph, "aten::size", {query, c10::IValue(-2)});
  Value* keys = call(graph, "aten::size", {key, c10::IValue(-2)});
  Value* bias = call_function(graph, unit, kBiasUnlessCausal, {mask, queries, keys});
  bias->setDebugName("attn_bias");
  if (!arguments.band.is_causal()) {
    arguments.dynamic_causal = call(graph, "aten::__is__", {bias, c10::IValue()});
    arguments.dynamic_causal->setDebugName("is_causal");
  }
  return {bias, false};
}

std::string describe_bias(const Band& band, const std::string& rest) {
  if (band.left < 0 && band.right <= 0) return rest;
  const std::string window = "window [" + std::to_string(band.left) + ", " + std::to_string(band.right) + "]";
  return rest == "none" ? window : window + ", " + rest;
}

InsertedAttention insert_attention(Graph& graph, Backend backend, Value* query, Value* key, Value* value,
                                   const Bias& bias, const AttentionArguments& arguments, const MethodFacts& facts) {
  const NamedValue bias_value = bias.value ? NamedValue(bias.value) : NamedValue(c10::IValue());
  const NamedValue scale = arguments.dynamic_scale ? NamedValue("scale", arguments.dynamic_scale)
                                                   : NamedValue("scale", c10::IValue(arguments.scale));
  if (backend == Backend::kPortable) {
    return insert_portable_attention(graph, query, key, value, bias, scale, arguments, facts);
  }
  std::vector<NamedValue> options{scale};
  if (arguments.dynamic_causal) {
    options.emplace_back("causal", arguments.dynamic_causal);
  } else if (arguments.band.is_causal()) {
    options.emplace_back("causal", c10::IValue(true));
  }
  if (arguments.band.left >= 0 || arguments.band.right > 0) {
    options.emplace_back("window", c10::IValue(std::vector<std::int64_t>{arguments.band.left, arguments.band.right}));
  }
  if (arguments.softcap > 0) options.emplace_back("softcap", c10::IValue(arguments.softcap));
  if (arguments.dynamic_zero_masked_rows) {
    options.emplace_back("zero_masked_rows", arguments.dynamic_zero_masked_rows);
  } else if (arguments.zero_masked_rows) {
    options.emplace_back("zero_masked_rows", c10::IValue(true));
  }
  if (arguments.band.bottom_right) options.emplace_back("bottom_right", c10::IValue(true));
  Value* context =
      graph.insert(c10::Symbol::fromQualString(kAttentionOperator), {query, key, value, bias_value}, options);
  return {context->node(), context};
}

BuiltSite build_site(SiteWalk& site, Graph& graph, const MethodFacts& facts, Backend backend) {
  torch::jit::WithInsertPoint here(site.value_product);
  BuiltSite built;
  built.query = simplify_operand(site.query, facts);
  built.key = simplify_operand(site.key, facts);
  built.value = simplify_operand(site.value, facts);
  built.query.root = without_scale(built.query.root, site.query_scale, site.value_product, built.passed, facts);
  built.key.root = without_scale(built.key.root, site.key_scale, site.value_product, built.passed, facts);
  built.key = simplify_operand(built.key, facts);

  if (built.key.order.empty() && built.value.order.empty() && !built.key.swap_last && !built.value.swap_last) {
    const auto keys = repeated_heads(built.key.root, facts);
    const auto values = repeated_heads(built.value.root, facts);
    if (keys && values && keys->times == values->times) {
      built.passed.insert(built.passed.end(), {built.key.root->node(), built.value.root->node()});
      built.key.root = keys->heads;
      built.value.root = values->heads;
      built.repeats = keys->times;
    }
  }

  const bool is_narrowed = site.casts_weights && strip_widening_casts(built.query.root, built.key.root, built.passed);
  const OperandDtypes dtypes =
      site.casts_weights && !is_narrowed ? operand_dtypes(built.query.root, built.value.root) : OperandDtypes::kAlike;
  check_layouts_meet(site, built.query, facts);
  Value* query = materialise(graph, built.query);
  Value* product_query = query;
  Value* key = materialise(graph, built.key);
  Value* value = materialise(graph, built.value);
  Value* const value_before = value;
  // The weights are cast to the values' dtype, whatever that of queries and keys is: the operator works in the wider
  // one. No more than a name where they are of one dtype.
  const bool casts_values = is_narrowed || dtypes == OperandDtypes::kWiderQueries;
  if (casts_values) value = call(graph, "aten::type_as", {value, query});
  if (dtypes == OperandDtypes::kNarrowerQueries) {
    for (Value** operand : {&query, &key}) *operand = call(graph, "aten::type_as", {*operand, value});
  }

  const std::size_t level = operator_level(site);
  AttentionArguments arguments;
  std::int64_t levels_down = 0;
  if (level != site.levels.size()) {
    const auto sizes = GraphFacts::list_elements(site.levels[level]->input(1));
    const auto product_rank = rank_of(built.query, facts);
    if (sizes.size() < 3 || (product_rank && static_cast<std::int64_t>(sizes.size()) != *product_rank + 1) ||
        built.repeats != 1) {
      throw Declined("the scores are reshaped before the bias in a way that does not split their leading dimension");
    }
    built.leading_sizes.assign(sizes.begin(), sizes.end() - 2);
    levels_down = 1;
    if (backend == Backend::kPortable && built.leading_sizes.size() == 3) {  // torch's kernels take four dimensions
      arguments.split_sizes = built.leading_sizes;
    } else {
      for (Value** operand : {&query, &key, &value}) *operand = reshape_leading(graph, *operand, built.leading_sizes);
    }
  }

  for (const ScoreFactor& factor : site.factors) {
    query = call(graph, factor.divides ? "aten::div" : "aten::mul", {query, factor.tensor});
  }
  std::vector<ScoreTerm> terms = site.terms;
  for (ScoreTerm& term : terms) {
    if (levels_down == 0 || term.level != site.levels.size()) continue;
    term.tensor = in_split_layout(graph, term.tensor, product_query, built.leading_sizes, facts);
  }
  arguments.scale = site.scale * site.query_scale * site.key_scale;
  if (!site.scale_factors.empty()) {
    arguments.dynamic_scale = run_time_scale(graph, site, arguments.scale);
  }
  arguments.band = site.band;
  arguments.softcap = site.softcap;
  arguments.zero_masked_rows = site.zero_masked_rows;
  arguments.grouped = built.repeats != 1;
  const Bias bias = site.assumed_mask
                        ? insert_assumed_mask(graph, site.assumed_mask, query, key, arguments, facts)
                        : insert_bias(graph, terms, backend == Backend::kPortable ? query : nullptr, facts);
  const InsertedAttention inserted = insert_attention(graph, backend, query, key, value, bias, arguments, facts);
  built.attention = inserted.node;
  Value* result = inserted.context;
  result->setDebugName("context");

  if (levels_down == 1 && arguments.split_sizes.empty()) {
    // Back to the layout of the second product, whose operands have the product's leading dimensions again.
    result = call(graph, "aten::flatten", {result, c10::IValue(0), c10::IValue(1)});
  }
  // What a product writes is contiguous; an einsum's other order is a view of that.
  const bool needs_strides = strides_matter(site.output, site.output_swapped);
  if (site.value_product->kind() == aten::einsum && strides_are_read(site.output))
    throw Declined("the strides of an einsum's result are read");
  if (needs_strides && !site.output_order.empty()) result = call(graph, "aten::contiguous", {result});
  if (!site.output_order.empty()) result = call(graph, "aten::permute", {result, c10::IValue(site.output_order)});
  if (casts_values) result = call(graph, "aten::type_as", {result, value_before});
  if (site.output_swapped) result = call(graph, "aten::transpose", {result, c10::IValue(-2), c10::IValue(-1)});
  if (needs_strides && site.output_order.empty()) result = call(graph, "aten::contiguous", {result});
  // Autograd may have kept what the operator gave.
  if (is_written_to(site.output)) result = call(graph, "aten::clone", {result});
  built.replacement = result;
  return built;
}

}  // namespace flashconvert::survey
