// The probe of a called torch.nn.MultiheadAttention (attention_layer_probe.h).
#include "survey/rules/attention_layer_probe.h"

#include <vector>

#include "survey/probe.h"

namespace flashconvert::survey {

using torch::jit::Value;
using Use = ProbeInput::Use;

namespace {

// One way to call the layer.
struct Variant {
  bool batched = true;
  bool gradients = false;  // recorded: the layer then leaves its fast path
  bool need_weights = false;
  enum class Masks { kNone, kBoolean, kAdditive } masks = Masks::kNone;
  std::int64_t attn_mask_rank = 2;
};

// [B, L, E], [L, B, E] or [L, E].
std::vector<std::int64_t> sequence(const AttentionLayer& layer, const Variant& variant, std::int64_t length,
                                   std::int64_t features) {
  if (!variant.batched) return {length, features};
  if (layer.batch_first) return {ProbeInput::kBatch, length, features};
  return {length, ProbeInput::kBatch, features};
}

void add_operands(const AttentionLayer& layer, const Variant& variant, std::int64_t keys, ProbeSite& site) {
  const auto width = [&](const char* name) { return layer.layer.attr(name).toInt(); };
  const auto add = [&](Value* value, Use use, std::int64_t length, std::int64_t features) {
    for (const ProbeInput& input : site.inputs) {
      if (input.value == value) return;  // one tensor in two roles
    }
    site.inputs.push_back({value, use, {}, false, sequence(layer, variant, length, features)});
  };
  add(layer.query, Use::kQuery, ProbeInput::kLength, layer.embed_dim);
  add(layer.key, Use::kKey, keys, width("kdim"));
  add(layer.value, Use::kValue, keys, width("vdim"));
}

void add_masks(const AttentionLayer& layer, const Variant& variant, std::int64_t keys, ProbeSite& site) {
  const Use use = variant.masks == Variant::Masks::kBoolean ? Use::kMask : Use::kAdditive;
  const auto add = [&](Value* mask, std::vector<std::int64_t> sizes) {
    if (!mask) return;
    site.inputs.push_back({mask, use, {}, false, std::move(sizes)});
    if (variant.masks == Variant::Masks::kNone) site.inputs.back().given = c10::IValue();
  };
  std::vector<std::int64_t> of_scores{ProbeInput::kLength, keys};
  if (variant.attn_mask_rank == 3) {
    of_scores.insert(of_scores.begin(), variant.batched ? ProbeInput::kBatchTimesHeads : layer.heads);
  }
  add(layer.attn_mask, of_scores);
  add(layer.key_padding_mask,
      variant.batched ? std::vector<std::int64_t>{ProbeInput::kBatch, keys} : std::vector<std::int64_t>{keys});
}

ProbeSite describe(const AttentionLayer& layer, const Variant& variant, Value* original, Value* replacement,
                   const MethodFacts& facts) {
  ProbeSite site;
  site.original = original;
  site.replacement = replacement;
  site.layers = {layer.call->input(0)};
  site.gradients = variant.gradients;
  site.heads = layer.heads;
  site.ranks = {4};
  site.shapes = 2;
  const bool one_length = layer.query == layer.key || layer.query == layer.value;
  const std::int64_t keys = one_length ? ProbeInput::kLength : ProbeInput::kKeys;
  add_operands(layer, variant, keys, site);
  add_masks(layer, variant, keys, site);
  const auto add_flag = [&](Value* flag, bool given) {
    if (facts.boolean(flag)) return;
    site.inputs.push_back({flag, Use::kQuery});
    site.inputs.back().given = given;
  };
  add_flag(layer.need_weights_value, variant.need_weights);
  add_flag(layer.is_causal_value, false);  // a hint about the mask that is given
  return site;
}

std::vector<Variant> variants_of(const AttentionLayer& layer) {
  std::vector<Variant> variants;
  const bool masked = layer.attn_mask || layer.key_padding_mask;
  const std::vector<Variant::Masks> kinds =
      masked ? std::vector<Variant::Masks>{Variant::Masks::kNone, Variant::Masks::kBoolean, Variant::Masks::kAdditive}
             : std::vector<Variant::Masks>{Variant::Masks::kNone};
  Variant variant;
  for (const bool gradients : {false, true}) {
    if (gradients && !layer.may_take_fast_path()) continue;
    variant.gradients = gradients;
    for (const bool need_weights : {false, true}) {
      if (need_weights && layer.need_weights) continue;  // a constant
      variant.need_weights = need_weights;
      for (const bool batched : {true, false}) {
        variant.batched = batched;
        for (const Variant::Masks masks : kinds) {
          variant.masks = masks;
          for (const std::int64_t rank : {2, 3}) {
            if (rank == 3 && (masks == Variant::Masks::kNone || !layer.attn_mask)) continue;
            variant.attn_mask_rank = rank;
            variants.push_back(variant);
          }
        }
      }
    }
  }
  return variants;
}

}  // namespace

std::optional<std::string> probe_attention_layer(const AttentionLayer& layer, Value* replacement,
                                                 const MethodFacts& facts) {
  torch::jit::Graph& graph = *layer.call->owningGraph();
  Value* place = graph.insertConstant(0);
  torch::jit::Node* result = graph.createTupleIndex(layer.call->output(), place, c10::TensorType::get());
  result->insertAfter(layer.call);
  std::optional<std::string> disagreement;
  for (const Variant& variant : variants_of(layer)) {
    if (disagreement) break;
    disagreement = probe(describe(layer, variant, result->output(), replacement, facts), facts);
  }
  result->destroy();
  return disagreement;
}

}  // namespace flashconvert::survey
