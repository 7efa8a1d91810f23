// torch.nn's fast paths (fast_path.h): the operators that MultiheadAttention and TransformerEncoderLayer call in eval
// mode, written out as projections, attention, output projection and, for the layer, norms and feed-forward.
// Source of the formulas: the modules' own Python code, torch/nn/modules/{activation,transformer}.py.
#include "survey/rules/fast_path.h"

#include <cmath>

#include "survey/attention_functions.h"
#include "survey/probe.h"
#include "survey/site_builder.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

// What the mask_type argument says of the mask's shape (torch.nn.MultiheadAttention.merge_masks). Scripted layers find
// out at run time which masks they were given.
enum class MaskType : std::int64_t { kSource = 0, kKeyPadding = 1, kMerged = 2, kAtRunTime };

struct SelfAttention {
  Value* in_weight = nullptr;
  Value* in_bias = nullptr;
  Value* out_weight = nullptr;
  Value* out_bias = nullptr;
  Value* mask = nullptr;  // nonzero = masked; null: none
  MaskType mask_type = MaskType::kSource;
  Value* mask_type_value = nullptr;
  std::int64_t embed_dim = 0;
  std::int64_t heads = 0;
  std::shared_ptr<torch::jit::CompilationUnit> unit;  // of the module
};

SelfAttention read_arguments(Node* node, std::size_t first, std::size_t mask_at, const MethodFacts& facts) {
  SelfAttention self;
  self.unit = facts.module()._ivalue()->compilation_unit();
  const auto embed_dim = facts.integer(node->input(first));
  const auto heads = facts.integer(node->input(first + 1));
  if (!embed_dim || !heads || *heads < 1 || *embed_dim % *heads != 0)
    throw Declined("the number of heads is not a constant");
  self.embed_dim = *embed_dim;
  self.heads = *heads;
  self.in_weight = node->input(first + 2);
  self.in_bias = node->input(first + 3);
  self.out_weight = node->input(first + 4);
  self.out_bias = node->input(first + 5);
  if (facts.is_none(node->input(mask_at))) return self;
  self.mask = node->input(mask_at);
  self.mask_type_value = node->inputs().back();
  const auto type = facts.constant(self.mask_type_value);
  if (!type) {
    self.mask_type = MaskType::kAtRunTime;
  } else {
    if (!type->isInt() || type->toInt() < 0 || type->toInt() > 2) throw Declined("the mask has an unknown type");
    self.mask_type = static_cast<MaskType>(type->toInt());
  }
  return self;
}

Value* build_bias(Graph& graph, const SelfAttention& self) {
  Value* visible = nullptr;
  if (self.mask_type == MaskType::kAtRunTime) {
    visible = call_function(graph, *self.unit, kMergedMaskBias, {self.mask, self.mask_type_value});
  } else {
    visible = call(graph, "aten::logical_not", {self.mask});
    if (self.mask_type == MaskType::kKeyPadding) {  // [B, L] to [B, 1, 1, L]
      visible = call(graph, "aten::unsqueeze", {visible, c10::IValue(1)});
      visible = call(graph, "aten::unsqueeze", {visible, c10::IValue(1)});
    }
  }
  visible->setDebugName("attn_bias");
  return visible;
}

// attention(x): packed projection, heads, attention, merged heads, output projection. Returns the output; the attention
// node goes to `attention`.
Value* build_self_attention(Graph& graph, Value* x, const SelfAttention& self, const MethodFacts& facts,
                            Backend backend, Node*& attention) {
  const std::int64_t head_dim = self.embed_dim / self.heads;
  Value* projected = call(graph, "aten::linear", {x, self.in_weight, self.in_bias});
  Value* split = call(graph, "aten::unflatten",
                      {projected, c10::IValue(-1), c10::IValue(std::vector<std::int64_t>{3, self.heads, head_dim})});
  Value* heads_first = call(graph, "aten::permute", {split, c10::IValue(std::vector<std::int64_t>{2, 0, 3, 1, 4})});
  const auto part = [&](std::int64_t index, const char* name) {
    Value* selected = call(graph, "aten::select", {heads_first, c10::IValue(0), c10::IValue(index)});
    selected->setDebugName(name);
    return selected;
  };
  Value* query = part(0, "query");
  Value* key = part(1, "key");
  Value* value = part(2, "value");
  Value* visible = self.mask ? build_bias(graph, self) : nullptr;
  AttentionArguments arguments;
  arguments.scale = 1 / std::sqrt(static_cast<double>(head_dim));
  const Bias bias{visible, /*is_boolean=*/true};
  const InsertedAttention inserted = insert_attention(graph, backend, query, key, value, bias, arguments, facts);
  attention = inserted.node;
  inserted.context->setDebugName("context");
  Value* merged = call(graph, "aten::transpose", {inserted.context, c10::IValue(1), c10::IValue(2)});
  merged = call(graph, "aten::flatten", {merged, c10::IValue(2)});
  return call(graph, "aten::linear", {merged, self.out_weight, self.out_bias});
}

// The rest of a TransformerEncoderLayer around the attention.
Value* build_encoder_layer(Graph& graph, Node* node, const SelfAttention& self, const MethodFacts& facts,
                           Backend backend, Node*& attention) {
  Value* source = node->input(0);
  const auto gelu = facts.boolean(node->input(7));
  const auto norm_first = facts.boolean(node->input(8));
  const auto epsilon = facts.number(node->input(9));
  if (!gelu || !norm_first || !epsilon) throw Declined("the layer's form is not a constant");
  const auto norm = [&](Value* x, std::size_t weight) {
    return call(graph, "aten::layer_norm",
                {x, c10::IValue(std::vector<std::int64_t>{self.embed_dim}), node->input(weight),
                 node->input(weight + 1), c10::IValue(*epsilon)});
  };
  // As the operator does it itself: bias and activation in the epilogue of the product, which takes matrices.
  const auto feed_forward = [&](Value* x) {
    Value* rows = call(graph, "aten::flatten", {x, c10::IValue(0), c10::IValue(1)});
    Value* weight = call(graph, "aten::t", {node->input(14)});
    Value* hidden = graph.insert(c10::Symbol::fromQualString("aten::_addmm_activation"),
                                 {node->input(15), rows, weight}, {{"use_gelu", c10::IValue(*gelu)}});
    Value* output = call(graph, "aten::linear", {hidden, node->input(16), node->input(17)});
    return call(graph, "aten::view_as", {output, x});
  };
  if (*norm_first) {
    Value* attended = build_self_attention(graph, norm(source, 10), self, facts, backend, attention);
    Value* x = call(graph, "aten::add", {source, attended});
    return call(graph, "aten::add", {x, feed_forward(norm(x, 12))});
  }
  Value* attended = build_self_attention(graph, source, self, facts, backend, attention);
  Value* x = norm(call(graph, "aten::add", {source, attended}), 10);
  return norm(call(graph, "aten::add", {x, feed_forward(x)}), 12);
}

ProbeSite describe_for_probe(Value* source, const SelfAttention& self, std::optional<MaskType> mask_type,
                             Value* original, Value* replacement) {
  ProbeSite site;
  site.original = original;
  site.replacement = replacement;
  site.heads = self.heads;
  site.ranks = {4};
  site.inputs.push_back(
      {source, ProbeInput::Use::kQuery, {}, false, {ProbeInput::kBatch, ProbeInput::kLength, self.embed_dim}});
  if (!self.mask) return site;
  const auto give = [&](Value* value, c10::IValue given) {
    site.inputs.push_back({value, ProbeInput::Use::kMask});
    site.inputs.back().given = std::move(given);
  };
  const bool at_run_time = self.mask_type == MaskType::kAtRunTime;
  if (at_run_time) {
    give(self.mask_type_value, mask_type ? c10::IValue(static_cast<std::int64_t>(*mask_type)) : c10::IValue());
  }
  if (!mask_type) {
    give(self.mask, c10::IValue());
    return site;
  }
  std::vector<std::int64_t> sizes{ProbeInput::kLength, ProbeInput::kLength};
  if (mask_type == MaskType::kKeyPadding) sizes = {ProbeInput::kBatch, ProbeInput::kLength};
  if (mask_type == MaskType::kMerged)
    sizes = {ProbeInput::kBatch, self.heads, ProbeInput::kLength, ProbeInput::kLength};
  site.inputs.push_back({self.mask, ProbeInput::Use::kMask, {}, false, sizes});
  return site;
}

// Runs the operator and the replacement with the kind of mask that it has, or with each that it may have.
std::optional<std::string> probe_each_mask(Value* source, const SelfAttention& self, Value* original,
                                           Value* replacement, const MethodFacts& facts) {
  std::vector<std::optional<MaskType>> types{self.mask_type};
  if (self.mask_type == MaskType::kAtRunTime) types = {std::nullopt, MaskType::kKeyPadding, MaskType::kMerged};
  for (const auto& type : types) {
    const ProbeSite site = describe_for_probe(source, self, type, original, replacement);
    if (auto disagreement = probe(site, facts)) return disagreement;
  }
  return std::nullopt;
}

const char* describe_mask(const SelfAttention& self) {
  if (!self.mask) return "none";
  if (self.mask_type == MaskType::kAtRunTime) return "mask or key padding";
  return self.mask_type == MaskType::kKeyPadding ? "key padding" : "boolean mask";
}

}  // namespace

Site survey_fast_path(Node* node, const std::shared_ptr<Graph>& graph, const MethodFacts& facts, Backend backend) {
  const bool is_layer = kind_name(node) == "aten::_transformer_encoder_layer_fwd";
  Site site;
  site.form = is_layer ? SiteForm::kEncoderLayer : SiteForm::kNativeMultiHeadAttention;
  try {
    if (!is_layer && !node->output(1)->uses().empty()) throw Declined("attention weights are returned");
    if (!is_layer && (node->input(0) != node->input(1) || node->input(1) != node->input(2))) {
      throw Declined("the fast path is called with three different tensors");
    }
    const SelfAttention self = is_layer ? read_arguments(node, 1, 18, facts) : read_arguments(node, 3, 9, facts);
    if (const auto weight = facts.attribute(self.in_weight); weight && weight->isTensor()) {
      site.in_proj_weight = weight->toTensor();
    }
    site.heads = self.heads;
    site.head_dim = self.embed_dim / self.heads;
    site.scale = 1 / std::sqrt(static_cast<double>(*site.head_dim));
    site.bias = describe_mask(self);
    torch::jit::WithInsertPoint here(node);
    Node* attention = nullptr;
    Value* replacement = is_layer ? build_encoder_layer(*graph, node, self, facts, backend, attention)
                                  : build_self_attention(*graph, node->input(0), self, facts, backend, attention);
    if (const auto disagreement = probe_each_mask(node->input(0), self, node->output(0), replacement, facts)) {
      throw Declined(*disagreement);
    }
    site.is_fusible = true;
    site.proposals.push_back({node->output(0), replacement, {attention}});
  } catch (const Declined& declined) {
    site.reason = declined.what();
  }
  return site;
}

void keep_for_nested_tensors(Site& site, Node* node, Node* before) {
  Graph& graph = *node->owningGraph();
  for (Proposal& proposal : site.proposals) {
    torch::jit::WithInsertPoint here(node);
    Value* is_nested = call(graph, "prim::is_nested", {node->input(0)});
    Node* choice = graph.insertNode(graph.create(prim::If, {is_nested}, 1));
    torch::jit::Block* nested = choice->addBlock();
    torch::jit::Block* ordinary = choice->addBlock();
    Node* kept = nested->appendNode(graph.createClone(node, [](Value* input) { return input; }));
    nested->registerOutput(kept->output(0));
    while (before->next() != is_nested->node()) before->next()->moveBefore(ordinary->return_node());
    ordinary->registerOutput(proposal.replacement);
    choice->output()->setType(proposal.replacement->type());
    proposal.replacement = choice->output();
  }
}

bool is_kept_for_nested_tensors(const Node* node) {
  const Node* owner = node->owningBlock()->owningNode();
  return owner && owner->kind() == prim::If && kind_name(owner->input()->node()) == "prim::is_nested" &&
         node->owningBlock() == owner->blocks()[0];
}

}  // namespace flashconvert::survey
