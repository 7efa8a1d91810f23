// torch.nn.MultiheadAttention, called (attention_layer.h): projections, heads, attention and output projection written
// out in place of the call. Source of the formulas: the layer's own Python code, torch/nn/modules/activation.py, and
// torch/nn/functional.py. The probe runs the layer itself beside them, on both of its paths.
#include "survey/rules/attention_layer.h"

#include <cmath>
#include <map>

#include "common/module_path.h"
#include "graph/attributes.h"
#include "survey/attention_functions.h"
#include "survey/rules/attention_layer_probe.h"
#include "survey/rules/rules.h"
#include "survey/site_builder.h"
#include "survey/site_walk.h"
#include "survey/strides.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace attr = c10::attr;

namespace {

constexpr const char* kLayerClass = "torch.nn.modules.activation.MultiheadAttention";

// The call's value for an argument of the layer's forward.
Value* argument(const Node* call, const char* name) {
  const auto& schema = call->input(0)->type()->expect<c10::ClassType>()->getMethod("forward").getSchema();
  const auto index = schema.argumentIndexWithName(name);
  if (!index || static_cast<std::size_t>(*index) >= call->inputs().size()) {
    throw Declined(std::string("the layer takes no argument '") + name + "'");
  }
  return call->input(*index);
}

c10::IValue member(const Module& layer, const char* name) {
  const auto type = layer.type();
  if (const auto slot = type->findAttributeSlot(name)) return layer._ivalue()->getSlot(*slot);
  if (const auto slot = type->findConstantSlot(name)) return type->getConstant(*slot);
  throw Declined(std::string("the layer has no '") + name + "'");
}

Value* mask_or_null(Value* mask, const MethodFacts& facts) { return facts.is_none(mask) ? nullptr : mask; }

AttentionLayer read_call(Node* call, const MethodFacts& facts) {
  const auto object = facts.attribute(call->input(0));
  if (!object || !object->isModule()) throw Declined("the layer is no attribute of the module");
  const Module layer = object->toModule();
  if (!layer.type()->getForwardHooks().empty() || !layer.type()->getForwardPreHooks().empty()) {
    throw Declined("the layer has hooks");
  }
  AttentionLayer read{call, layer};
  read.query = argument(call, "query");
  read.key = argument(call, "key");
  read.value = argument(call, "value");
  read.attn_mask = mask_or_null(argument(call, "attn_mask"), facts);
  read.key_padding_mask = mask_or_null(argument(call, "key_padding_mask"), facts);
  read.need_weights_value = argument(call, "need_weights");
  read.need_weights = facts.boolean(read.need_weights_value);
  read.is_causal_value = argument(call, "is_causal");
  read.embed_dim = member(layer, "embed_dim").toInt();
  read.heads = member(layer, "num_heads").toInt();
  read.batch_first = member(layer, "batch_first").toBool();
  read.has_key_bias = !member(layer, "bias_k").isNone();
  read.adds_zero_key = member(layer, "add_zero_attn").toBool();
  read.is_packed = member(layer, "_qkv_same_embed_dim").toBool();
  read.has_bias = !member(layer, "in_proj_bias").isNone();
  if (read.heads < 1 || read.embed_dim % read.heads != 0) throw Declined("the heads do not divide the features");
  return read;
}

// What of the call's result is used: the tensors that the attention's output replaces, and the places of the weights,
// which are None when they are not wanted.
struct Results {
  std::vector<Value*> outputs, weights, tuples;
};

Results read_results(const AttentionLayer& layer) {
  Results results;
  for (const auto& use : layer.call->output()->uses()) {
    Node* user = use.user;
    if (user->kind() == prim::TupleUnpack) {
      results.outputs.push_back(user->output(0));
      if (!user->output(1)->uses().empty()) results.weights.push_back(user->output(1));
    } else if (const auto index = user->kind() == prim::TupleIndex ? torch::jit::toIValue(user->input(1))
                                                                   : std::optional<c10::IValue>()) {
      const std::int64_t place = index->toInt() < 0 ? index->toInt() + 2 : index->toInt();
      (place == 0 ? results.outputs : results.weights).push_back(user->output());
    } else {
      results.tuples.push_back(layer.call->output());
    }
  }
  const bool weights_are_none = layer.need_weights && !*layer.need_weights;
  for (const auto* seen : {&results.weights, &results.tuples}) {
    for (const Value* value : *seen) {
      if (weights_are_none || value->uses().empty()) continue;
      throw Declined(reaches_result(value) ? "attention weights are returned" : "attention weights are used elsewhere");
    }
  }
  return results;
}

// Builds the expression at the graph's insertion point, for batched and single inputs alike: dimensions are counted
// from the end, and the length is second from the end of [B, L, E] and [L, E], or first of [L, B, E].
class Builder {
public:
  Builder(Graph& graph, const AttentionLayer& layer, const MethodFacts& facts, Backend backend)
      : graph_(graph), layer_(layer), facts_(facts), backend_(backend), self_(layer.call->input(0)) {}

  // `keeps_strides`: off its fast path the layer works length first, and gives a batch-first result as a view of that.
  Value* build(Node*& attention, bool keeps_strides) {
    project();
    append_keys();
    const std::int64_t head_dim = layer_.embed_dim / layer_.heads;
    AttentionArguments arguments;
    arguments.scale = 1 / std::sqrt(static_cast<double>(head_dim));
    set_masked_rows(arguments);
    Value* query = heads_first(query_);
    Bias bias;
    if (layer_.attn_mask || layer_.key_padding_mask) {
      const std::int64_t added = (layer_.has_key_bias ? 1 : 0) + (layer_.adds_zero_key ? 1 : 0);
      bias.value = call_script(kAttentionBias,
                               {mask(layer_.attn_mask), mask(layer_.key_padding_mask), query, c10::IValue(added)});
    }
    const InsertedAttention inserted =
        insert_attention(graph_, backend_, query, heads_first(key_), heads_first(value_), bias, arguments, facts_);
    attention = inserted.node;
    const bool turns = keeps_strides && layer_.batch_first && !layer_.may_take_fast_path();
    Value* rows = turns ? insert("aten::movedim", {inserted.context, c10::IValue(-2), c10::IValue(0)})
                        : length_first_again(inserted.context);
    Value* merged = insert("aten::flatten", {rows, c10::IValue(-2)});
    Value* out_proj = graph_.insertGetAttr(self_, "out_proj");
    Value* result = insert("aten::linear",
                           {merged, graph_.insertGetAttr(out_proj, "weight"), graph_.insertGetAttr(out_proj, "bias")});
    return turns ? insert("aten::movedim", {result, c10::IValue(0), c10::IValue(-2)}) : result;
  }

private:
  Value* insert(const char* name, const std::vector<torch::jit::NamedValue>& arguments) {
    return call(graph_, name, arguments);
  }

  Value* call_script(const ScriptFunction& function, const std::vector<torch::jit::NamedValue>& arguments) {
    return call_function(graph_, *layer_.layer._ivalue()->compilation_unit(), function, arguments);
  }

  static torch::jit::NamedValue mask(Value* value) {
    return value ? torch::jit::NamedValue(value) : torch::jit::NamedValue(c10::IValue());
  }

  // A parameter of the layer, or null where it has none of the name.
  Value* parameter(const std::string& name) {
    if (member(layer_.layer, name.c_str()).isNone()) return nullptr;
    Value*& value = parameters_[name];
    if (value) return value;
    value = graph_.insertGetAttr(self_, name);
    if (value->type()->kind() != c10::TypeKind::TensorType) {
      value = graph_.insertUncheckedCast(value, c10::TensorType::get());
    }
    return value;
  }

  // The parts of a tensor along its first dimension.
  std::vector<Value*> split(Value* tensor, const std::vector<std::int64_t>& sizes) {
    Value* list = insert("aten::split_with_sizes", {tensor, c10::IValue(sizes), c10::IValue(0)});
    const auto parts = graph_.insertNode(graph_.createListUnpack(list, sizes.size()))->outputs();
    return {parts.begin(), parts.end()};
  }

  // [..., n * E] to n tensors [..., H, D].
  std::vector<Value*> project_together(Value* input, Value* weight, Value* bias, std::int64_t count) {
    const std::int64_t head_dim = layer_.embed_dim / layer_.heads;
    Value* projected = insert("aten::linear", {input, weight, mask(bias)});
    projected->setDebugName("projected");
    std::vector<std::int64_t> sizes{layer_.heads, head_dim};
    if (count > 1) sizes.insert(sizes.begin(), count);
    Value* heads = insert("aten::unflatten", {projected, c10::IValue(-1), c10::IValue(sizes)});
    if (count == 1) return {heads};
    std::vector<Value*> parts;
    for (std::int64_t i = 0; i < count; ++i) {
      parts.push_back(insert("aten::select", {heads, c10::IValue(-3), c10::IValue(i)}));
    }
    return parts;
  }

  void project() {
    const std::int64_t width = layer_.embed_dim;
    Value* bias = parameter("in_proj_bias");
    if (!layer_.is_packed) {
      const std::vector<Value*> biases =
          bias ? split(bias, {width, width, width}) : std::vector<Value*>{nullptr, nullptr, nullptr};
      query_ = project_together(layer_.query, parameter("q_proj_weight"), biases[0], 1)[0];
      key_ = project_together(layer_.key, parameter("k_proj_weight"), biases[1], 1)[0];
      value_ = project_together(layer_.value, parameter("v_proj_weight"), biases[2], 1)[0];
      return;
    }
    Value* weight = parameter("in_proj_weight");
    if (layer_.query == layer_.key && layer_.key == layer_.value) {
      const auto parts = project_together(layer_.query, weight, bias, 3);
      query_ = parts[0];
      key_ = parts[1];
      value_ = parts[2];
      return;
    }
    const bool shared = layer_.key == layer_.value;
    const std::vector<std::int64_t> sizes =
        shared ? std::vector<std::int64_t>{width, 2 * width} : std::vector<std::int64_t>{width, width, width};
    const std::vector<Value*> weights = split(weight, sizes);
    const std::vector<Value*> biases = bias ? split(bias, sizes) : std::vector<Value*>(sizes.size(), nullptr);
    query_ = project_together(layer_.query, weights[0], biases[0], 1)[0];
    if (shared) {
      const auto parts = project_together(layer_.key, weights[1], biases[1], 2);
      key_ = parts[0];
      value_ = parts[1];
    } else {
      key_ = project_together(layer_.key, weights[1], biases[1], 1)[0];
      value_ = project_together(layer_.value, weights[2], biases[2], 1)[0];
    }
  }

  // [.., L, H, D] or, length first, [L, .., H, D] to [.., H, L, D].
  Value* heads_first(Value* tensor) {
    return layer_.batch_first ? insert("aten::transpose", {tensor, c10::IValue(-3), c10::IValue(-2)})
                              : insert("aten::movedim", {tensor, c10::IValue(0), c10::IValue(-2)});
  }

  Value* length_first_again(Value* context) {
    return layer_.batch_first ? insert("aten::transpose", {context, c10::IValue(-3), c10::IValue(-2)})
                              : insert("aten::movedim", {context, c10::IValue(-2), c10::IValue(0)});
  }

  // One more position with the given row of features, [1, 1, E], or with zeros.
  Value* with_row(Value* tensor, Value* row) {
    const std::int64_t length = layer_.batch_first ? -3 : 0;
    Value* one = insert("aten::narrow", {tensor, c10::IValue(length), c10::IValue(0), c10::IValue(1)});
    if (row) {
      const std::vector<std::int64_t> sizes{layer_.heads, layer_.embed_dim / layer_.heads};
      row = insert("aten::expand_as", {insert("aten::view", {row, c10::IValue(sizes)}), one});
    } else {
      row = insert("aten::zeros_like", {one});
    }
    Value* list = graph_.insertNode(graph_.createList(c10::TensorType::get(), {tensor, row}))->output();
    return insert("aten::cat", {list, c10::IValue(length)});
  }

  void append_keys() {
    if (layer_.has_key_bias) {
      key_ = with_row(key_, parameter("bias_k"));
      value_ = with_row(value_, parameter("bias_v"));
    }
    if (layer_.adds_zero_key) {
      key_ = with_row(key_, nullptr);
      value_ = with_row(value_, nullptr);
    }
  }

  // Rows in which every key is masked: NaN where the weights are computed and on the fast path, zeros from
  // scaled_dot_product_attention. Self-attention takes the fast path in inference, but not with additive masks.
  void set_masked_rows(AttentionArguments& arguments) {
    if (!layer_.attn_mask && !layer_.key_padding_mask) return;
    if (layer_.need_weights && *layer_.need_weights) return;
    if (!layer_.may_take_fast_path() && layer_.need_weights) {
      arguments.zero_masked_rows = true;
      return;
    }
    Value* zeros = nullptr;
    if (layer_.may_take_fast_path()) {
      zeros = call_script(kLeavesFastPath, {layer_.query, parameter("in_proj_weight"), mask(layer_.attn_mask),
                                            mask(layer_.key_padding_mask)});
    }
    if (!layer_.need_weights) {
      Value* unwanted = insert("aten::__not__", {layer_.need_weights_value});
      zeros = zeros ? insert("aten::__and__", {zeros, unwanted}) : unwanted;
    }
    zeros->setDebugName("zero_masked_rows");
    arguments.dynamic_zero_masked_rows = zeros;
  }

  Graph& graph_;
  const AttentionLayer& layer_;
  const MethodFacts& facts_;
  Backend backend_;
  Value* self_;
  std::map<std::string, Value*> parameters_;
  Value *query_ = nullptr, *key_ = nullptr, *value_ = nullptr;  // [.., L, H, D]
};

const char* describe_masks(const AttentionLayer& layer) {
  if (layer.attn_mask && layer.key_padding_mask) return "mask and key padding";
  return layer.attn_mask ? "mask" : layer.key_padding_mask ? "key padding" : "none";
}

}  // namespace

bool AttentionLayer::may_take_fast_path() const {
  return query == key && key == value && batch_first && heads % 2 == 0 && !has_key_bias && !adds_zero_key &&
         is_packed && has_bias;
}

bool is_attention_layer(const c10::TypePtr& type) {
  if (class_name(type) != kLayerClass) return false;
  const auto* forward = type->expectRef<c10::ClassType>().findMethod("forward");
  return forward && forward->getSchema().argumentIndexWithName("need_weights").has_value();
}

bool is_attention_layer_call(const Node* node) {
  return node->kind() == prim::CallMethod && node->s(attr::name) == "forward" &&
         is_attention_layer(node->input(0)->type());
}

Site survey_attention_layer(Node* call, const std::shared_ptr<Graph>& graph, const MethodFacts& facts,
                            Backend backend) {
  Site site;
  site.form = SiteForm::kMultiHeadAttentionModule;
  for (const std::string& name : attribute_chain(call->input(0)).names) site.path = join_path(site.path, name);
  try {
    const AttentionLayer layer = read_call(call, facts);
    if (layer.is_packed) site.in_proj_weight = member(layer.layer, "in_proj_weight").toTensor();
    site.heads = layer.heads;
    site.head_dim = layer.embed_dim / layer.heads;
    site.scale = 1 / std::sqrt(static_cast<double>(*site.head_dim));
    site.bias = describe_masks(layer);
    const Results results = read_results(layer);
    const auto is_causal = facts.boolean(layer.is_causal_value);
    if (is_causal && *is_causal && !layer.attn_mask) throw Declined("is_causal is a hint about a mask that is missing");
    torch::jit::WithInsertPoint here(call);
    Node* attention = nullptr;
    const auto matter = [](const Value* output) { return strides_matter(output); };
    const bool keeps_strides = std::any_of(results.outputs.begin(), results.outputs.end(), matter) ||
                               std::any_of(results.tuples.begin(), results.tuples.end(), matter);
    Value* attended = Builder(*graph, layer, facts, backend).build(attention, keeps_strides);
    if (const auto disagreement = probe_attention_layer(layer, attended, facts)) throw Declined(*disagreement);

    site.is_fusible = true;
    const auto propose = [&](const std::vector<Value*>& originals, Value* replacement) {
      for (Value* original : originals) site.proposals.push_back({original, replacement, {}});
    };
    propose(results.outputs, attended);
    if (!results.weights.empty() || !results.tuples.empty()) {
      Value* none = graph->insertConstant(c10::IValue());
      propose(results.weights, none);
      if (!results.tuples.empty()) {
        propose({call->output()}, graph->insertNode(graph->createTuple({attended, none}))->output());
      }
    }
    if (site.proposals.empty()) throw Declined("its result is not used");
    site.proposals.front().attention = {attention};
    site.calls = {call};
  } catch (const Declined& declined) {
    site.decline(declined.what());
  }
  return site;
}

}  // namespace flashconvert::survey
