// Causal masks that are handed down to attention: specialised copies of the methods that take them, and who calls
// which.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "rewrite/attention_support.h"
#include "rewrite/rewrite.h"
#include "rewrite/specialised_methods.h"
#include "support/catch.h"

using namespace flashconvert;
using namespace flashconvert::test;

namespace {

const char* const kMaskedHeads =
    "  q = self.q.forward(x).view([x.size(0), x.size(1), 2, 4]).transpose(1, 2)\n"
    "  k = self.k.forward(x).view([x.size(0), x.size(1), 2, 4]).transpose(1, 2)\n"
    "  v = self.v.forward(x).view([x.size(0), x.size(1), 2, 4]).transpose(1, 2)\n";

const char* const kAdded =
    "  s = torch.matmul(q, k.transpose(-2, -1)) * 0.5 + mask\n"
    "  c = torch.matmul(torch.softmax(s, -1), v)\n";

// As GPT-2 has it: a triangle of the layer's own is written over the scores first.
const char* const kOverwrittenAndAdded =
    "  n = x.size(1)\n"
    "  s = torch.matmul(q, k.transpose(-2, -1)) * 0.5\n"
    "  s = torch.where(torch.ones([n, n]).tril() > 0, s, -3.4028234663852886e+38) + mask\n"
    "  c = torch.matmul(torch.softmax(s, -1), v)\n";

Module masked_attention(const std::string& scores) {
  Module module = empty_module("Attention");
  for (const char* name : {"q", "k", "v", "out"}) module.register_module(name, linear_module(8, 8));
  module.define("def forward(self, x, mask):\n" + (kMaskedHeads + scores) +
                "  return self.out.forward(c.transpose(1, 2).reshape([x.size(0), x.size(1), 8]))\n");
  return module;
}

const char* const kResidual = "  return x + self.attention.forward(x, mask)\n";

Module masked_layer(const std::string& scores, const std::string& body) {
  Module module = empty_module("Layer");
  module.register_module("attention", masked_attention(scores));
  module.define("def forward(self, x, mask):\n" + body);
  return module;
}

const char* const kTriangle = "  mask = torch.full([x.size(1), x.size(1)], -3.4028234663852886e+38).triu(1)\n";
const char* const kPadded =
    "  mask = torch.full([x.size(1), x.size(1)], -3.4028234663852886e+38).triu(1)\n"
    "  mask = mask[None, None].expand([x.size(0), 1, -1, -1]).clone()\n"
    "  hidden = x[:, None, None, :, 0] > 0.5\n"
    "  mask[:, :, :, :] = mask[:, :, :, :].masked_fill(hidden, -3.4028234663852886e+38)\n";

// Two layers, called with masks of the model's own.
Module model_with_masks(const std::string& build, const std::string& scores = kAdded,
                        const std::string& second = "mask", const std::string& layer = kResidual) {
  Module module = empty_module("Outer");
  module.register_module("first", masked_layer(scores, layer));
  module.register_module("second", masked_layer(scores, layer));
  module.define("def forward(self, x):\n" + build + "  return self.second.forward(self.first.forward(x, mask), " +
                second + ")\n");
  return reloaded(module);
}

// A site that is reported, with its method.
struct Reported : survey::Site {
  std::string method;
};

std::vector<Reported> rewrite_model(Module& module, const std::string& only = "") {
  const auto selected = [&](const std::string& path) { return only.empty() || path == only; };
  const auto specialised = rewrite::specialise_methods(ModuleIndex(module));
  survey::Survey survey =
      survey::survey_attention(ModuleIndex(module), survey::Backend::kFlash, selected, specialised.masks);
  const auto result = rewrite::rewrite_attention(module, std::move(survey), specialised, {});
  std::vector<Reported> reported;
  for (const survey::MethodSurvey& method : result.survey.methods) {
    for (const survey::Site& site : method.sites) {
      if (!site.is_other_path) reported.push_back({site, method.method});
    }
  }
  return reported;
}

bool has_method(const Module& module, const std::string& name) { return module.find_method(name).has_value(); }

Module attention_of(const Module& module, const std::string& layer) {
  return module.attr(layer).toModule().attr("attention").toModule();
}

void check_same(Module& original, Module& converted, std::int64_t batch, std::int64_t length) {
  const at::Tensor x = at::randn({batch, length, 8});
  CHECK(at::allclose(run(original, {x}), run(converted, {x}), 1e-4, 1e-5));
}

}  // namespace

TEST_CASE("a causal mask that is handed down becomes a flag in a specialised method", "[rewrite]") {
  Module original = model_with_masks(kTriangle);
  Module converted = reloaded(original);
  const auto sites = rewrite_model(converted);
  REQUIRE(sites.size() == 2);
  for (const auto& site : sites) {
    CHECK(site.is_fusible);
    CHECK(site.is_causal);
    CHECK(site.method == "forward_causal");
    CHECK(site.is_outlined);
    CHECK(site.is_packed);
  }
  for (const char* layer : {"first", "second"}) {
    CHECK(has_method(converted.attr(layer).toModule(), "forward_causal"));
    const Module fused = attention_of(converted, layer).attr("attention").toModule();
    CHECK(contains(code_graph(fused), "flashconvert::attention"));
    for (const char* method : {"forward", "forward_causal"}) {
      CHECK_FALSE(contains(code_graph(attention_of(converted, layer), method), "aten::softmax"));
    }
  }
  CHECK(contains(code_graph(converted), "forward_causal"));
  for (const auto& [batch, length] : {std::pair{2, 6}, {3, 9}, {1, 1}}) check_same(original, converted, batch, length);
}

TEST_CASE("whoever calls a layer from outside may give it any mask", "[rewrite]") {
  Module original = model_with_masks(kTriangle);
  Module converted = reloaded(original);
  rewrite_model(converted);
  const at::Tensor x = at::randn({2, 6, 8});
  for (const at::Tensor& mask : {at::randn({6, 6}), at::full({6, 6}, -INFINITY).triu(2), at::zeros({1, 1})}) {
    Module before = attention_of(original, "first");
    Module after = attention_of(converted, "first");
    CHECK(at::allclose(run(before, {x, mask}), run(after, {x, mask}), 1e-4, 1e-5));
    Module layer_before = original.attr("first").toModule();
    Module layer_after = converted.attr("first").toModule();
    CHECK(at::allclose(run(layer_before, {x, mask}), run(layer_after, {x, mask}), 1e-4, 1e-5));
  }
}

TEST_CASE("a specialised method takes a causal mask of other lengths as what is added", "[rewrite]") {
  Module original = model_with_masks(kTriangle);
  Module converted = reloaded(original);
  rewrite_model(converted);
  const at::Tensor x = at::randn({2, 6, 8});
  Module before = attention_of(original, "first");
  Module after = attention_of(converted, "first");
  for (const auto& [queries, keys] : {std::pair{6, 6}, {1, 6}, {6, 1}, {1, 1}}) {
    const at::Tensor mask = at::full({queries, keys}, -3.4028234663852886e+38).triu(1);
    CHECK(at::allclose(run(before, {x, mask}), run(after, {x, mask}, "forward_causal"), 1e-4, 1e-5));
  }
}

TEST_CASE("a mask with padding in it proves that a layer's own triangle hides for good", "[rewrite]") {
  Module original = model_with_masks(kPadded, kOverwrittenAndAdded);
  Module converted = reloaded(original);
  const auto sites = rewrite_model(converted);
  REQUIRE(sites.size() == 2);
  for (const auto& site : sites) {
    CHECK(site.is_causal);
    CHECK(site.bias == "additive");
    CHECK_FALSE(site.is_outlined);
    CHECK(site.method == "forward_causal_and_more");
  }
  for (const auto& [batch, length] : {std::pair{2, 6}, {3, 9}, {1, 1}}) check_same(original, converted, batch, length);
}

TEST_CASE("no specialised method where it would be no better", "[rewrite]") {
  for (const std::string& build :
       {std::string(kPadded), std::string("  mask = x[:, None, None, :, 0]\n"),
        std::string("  mask = torch.full([x.size(1), x.size(1)], -3.4028234663852886e+38).triu(2)\n")}) {
    INFO(build);
    Module original = model_with_masks(build);
    Module converted = reloaded(original);
    const auto sites = rewrite_model(converted);
    REQUIRE(sites.size() == 2);
    for (const auto& site : sites) CHECK_FALSE(site.is_causal);
    for (const char* layer : {"first", "second"}) {
      CHECK(converted.attr(layer).toModule().get_methods().size() == 1);
      CHECK(attention_of(converted, layer).get_methods().size() == 1);
    }
    check_same(original, converted, 2, 6);
  }
}

TEST_CASE("only the calls that hand down the mask go to the specialised method", "[rewrite]") {
  Module original = model_with_masks(kTriangle, kAdded, "mask * (1. + torch.abs(x[0, 0, 0]))");
  Module converted = reloaded(original);
  const auto sites = rewrite_model(converted);
  REQUIRE(sites.size() == 2);
  CHECK(sites[0].is_causal);
  CHECK_FALSE(sites[1].is_causal);
  CHECK(sites[1].method == "forward");
  check_same(original, converted, 2, 6);
}

TEST_CASE("a layer may write to other tensors, but not to the mask", "[rewrite]") {
  const std::string in_place = "  y = self.attention.forward(x, mask)\n  y += x\n  return y\n";
  const std::string on_mask = "  y = x + self.attention.forward(x, mask)\n  mask.zero_()\n  return y\n";
  for (const auto& [layer, is_causal] : {std::pair{in_place, true}, {on_mask, false}}) {
    INFO(layer);
    Module original = model_with_masks(kTriangle, kAdded, "mask", layer);
    Module converted = reloaded(original);
    for (const auto& site : rewrite_model(converted)) CHECK(site.is_causal == is_causal);
    check_same(original, converted, 2, 6);
  }
}

TEST_CASE("a site that is not selected has no specialised method", "[rewrite]") {
  Module original = model_with_masks(kTriangle);
  Module converted = reloaded(original);
  rewrite_model(converted, "second.attention");
  CHECK_FALSE(has_method(converted.attr("first").toModule(), "forward_causal"));
  CHECK(has_method(converted.attr("second").toModule(), "forward_causal"));
  check_same(original, converted, 2, 6);
}

TEST_CASE("a model with specialised methods is left as it is", "[rewrite]") {
  Module converted = model_with_masks(kTriangle);
  rewrite_model(converted);
  Module again = reloaded(converted);
  CHECK(rewrite_model(again).empty());
  CHECK(code_graph(again) == code_graph(reloaded(converted)));
  CHECK(attention_of(again, "first").get_methods().size() == 2);
}
