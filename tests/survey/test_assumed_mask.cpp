// Masks that callers hand down: which values are such masks, and what attention makes of what is assumed of a mask.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include <cmath>
#include <optional>
#include <string>

#include "graph/graph_facts.h"
#include "support/catch.h"
#include "survey/assumed_mask.h"
#include "survey/survey_support.h"

namespace {

using flashconvert::GraphFacts;
using flashconvert::survey::AssumedMask;
using flashconvert::survey::AssumedMasks;
using flashconvert::survey::Backend;
using flashconvert::test::only_site;
using flashconvert::test::survey_of;

constexpr double kLowest = -3.4028234663852886e+38;

// What the mask is that `body` returns, in a module with a stored triangle and another with a wrong element.
std::optional<AssumedMask> mask_of(const std::string& body) {
  torch::jit::Module module("Model");
  module.register_buffer("added", at::full({24, 24}, -INFINITY).triu(1));
  at::Tensor damaged = at::full({24, 24}, -INFINITY).triu(1);
  damaged[20][21] = 0;
  module.register_buffer("damaged", damaged);
  module.define("def forward(self, x: Tensor, keep: Tensor):\n  n = x.size(1)\n" + body + "\n");
  const auto graph = module.get_method("forward").graph()->copy();
  torch::jit::RemoveTensorMutation(graph);
  return flashconvert::survey::read_built_mask(graph->outputs()[0], GraphFacts(module));
}

// As transformers 4.52 has it, with further keys hidden by the last lines.
std::string transformers_mask(const std::string& lines) {
  return "  l = keep.size(1)\n"
         "  m = torch.full([n, l], -3.4028234663852886e+38).triu(1)\n"
         "  m *= torch.arange(l) > torch.arange(n).reshape([-1, 1])\n"
         "  m = m[None, None, :, :].expand([x.size(0), 1, -1, -1])\n" +
         lines;
}

const std::string kHidePadding =
    "  m = m.clone()\n"
    "  p = (m[:, :, :, :keep.size(1)] + keep[:, None, None, :]) == 0\n"
    "  m[:, :, :, :keep.size(1)] = m[:, :, :, :keep.size(1)].masked_fill(p, -3.4028234663852886e+38)\n";

// What becomes of a method that may assume something of the mask that is its last argument.
struct WithAssumption {
  bool is_causal = false;
  bool has_constant_causal_flag = false;
  bool may_drop_mask = false;  // the bias is None for a mask of the right lengths
};

WithAssumption form_assuming(const std::string& body, AssumedMask assumed) {
  torch::jit::Module module("Model");
  module.register_buffer("triangle", at::ones({1, 1, 24, 24}, at::kBool).tril());
  module.define("def forward(self, q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:\n" + body + "\n");
  const AssumedMasks masks{{{module.type().get(), "forward"}, {{4, assumed}}}};
  const auto found = survey_of(module, Backend::kFlash, masks);
  const auto& site = only_site(found);
  INFO(site.reason);
  REQUIRE(site.is_fusible);
  const auto* attention = site.proposals.at(0).attention.at(0);
  const auto causal = torch::jit::toIValue(attention->input(5));
  return {site.is_causal, causal && causal->toBool(),
          attention->input(3)->type()->kind() == c10::TypeKind::OptionalType};
}

const AssumedMask kAssumedCausal{kLowest, true};
const AssumedMask kAssumedMore{kLowest, false};

const std::string kViews =
    "  q = q.view([q.size(0), q.size(1), q.size(2), q.size(3)])\n  k = k.view([q.size(0), q.size(1), q.size(2), "
    "q.size(3)])\n  n = q.size(-2)\n  s = torch.matmul(q, k.transpose(-2, -1)) * 0.5\n";
const std::string kProduct = "  return torch.matmul(torch.softmax(s, -1), v)";
const std::string kOverwritten = "  s = torch.where(self.triangle[:, :, :n, :n], s, -3.4028234663852886e+38)\n";

}  // namespace

TEST_CASE("causal masks that callers build", "[survey]") {
  for (const std::string body :
       {"  return torch.full([n, n], float('-inf')).triu(1)",
        "  return torch.zeros([n, n]).masked_fill(torch.ones([n, n]).tril() == 0, -1e9)",
        "  a = torch.arange(n)\n  return torch.where(a[None] > a[:, None], -1e9, 0.0)",
        "  return torch.full([n, n + 1], float('-inf')).triu(1)[None, None]", "  return self.added[:n, :n]"}) {
    INFO(body);
    const auto mask = mask_of(body);
    REQUIRE(mask);
    CHECK(mask->is_causal);
    CHECK(mask->lowest <= -1e9);
  }
  const auto built = mask_of(transformers_mask("  return m"));
  REQUIRE(built);
  CHECK(built->is_causal);
  CHECK(built->lowest == kLowest);
}

TEST_CASE("causal masks into which callers write further hidden keys", "[survey]") {
  const auto mask = mask_of(transformers_mask(kHidePadding + "  return m"));
  REQUIRE(mask);
  CHECK_FALSE(mask->is_causal);
  CHECK(mask->lowest == kLowest);
}

TEST_CASE("what looks like a causal mask of the caller's and is none", "[survey]") {
  for (const std::string body :
       {"  return torch.full([n, n], float('-inf')).triu(2)", "  return torch.full([n, n], float('-inf')).triu()",
        "  return torch.full([n, n], float('-inf')).tril(-1)",
        "  return torch.full([n, n], float('-inf')).triu(1) + keep[:, None, None, :]",
        "  return torch.full([n, n], float('-inf')).triu(1) + 0.5", "  return torch.zeros([n, n])",
        "  return torch.full([n, n], float('-inf')).triu(keep.size(0))",
        "  a = torch.arange(n)\n  return torch.where(a[None] > a[:, None], -1000.0 - a, 0.0)",
        "  return self.damaged[:n, :n]", "  return torch.ones([n, n]).tril()"}) {
    INFO(body);
    CHECK_FALSE(mask_of(body));
  }
  for (const std::string lines :
       {"  m[:, :, :, :2] = m[:, :, :, 2:4].masked_fill(keep[:, None, None, :2] == 0, -3.4028234663852886e+38)\n",
        "  m[:, :, :, :2] = m[:, :, :, :2].masked_fill(keep[:, None, None, :2] == 0, 0.0)\n", "  m[:, :, :, 1] = 0.0\n",
        "  m += keep[:, None, None, :]\n"}) {
    INFO(lines);
    CHECK_FALSE(mask_of(transformers_mask("  m = m.clone()\n" + lines + "  return m")));
  }
}

TEST_CASE("an assumed causal mask is the causal flag at its own lengths", "[survey]") {
  const auto with_mask = [](const char* line) { return std::string(kViews).append(line).append(kProduct); };
  for (const std::string& body :
       {with_mask("  s = s + m[:, :, :, :n]\n"), with_mask("  s = s + m\n"),
        std::string("  return torch.scaled_dot_product_attention(q, k, v, m[:, :, :, :k.size(-2)])")}) {
    INFO(body);
    const WithAssumption fused = form_assuming(body, kAssumedCausal);
    CHECK(fused.is_causal);
    CHECK(fused.may_drop_mask);
  }
}

TEST_CASE("scores that are overwritten by position beside an assumed mask", "[survey]") {
  const std::string body = kViews + kOverwritten + "  s = s + m[:, :, :, :n]\n" + kProduct;
  const WithAssumption alone = form_assuming(body, kAssumedCausal);
  CHECK(alone.has_constant_causal_flag);
  CHECK(alone.may_drop_mask);
  const WithAssumption with_more = form_assuming(body, kAssumedMore);
  CHECK(with_more.has_constant_causal_flag);
  CHECK_FALSE(with_more.may_drop_mask);
}

TEST_CASE("what an assumption does not say", "[survey]") {
  const auto stays_bias = [](const WithAssumption& fused) { return !fused.is_causal && !fused.may_drop_mask; };
  CHECK(stays_bias(form_assuming(kViews + "  s = s + m\n" + kProduct, kAssumedMore)));
  CHECK(stays_bias(form_assuming(kViews + "  s = s + m * 0.5\n" + kProduct, kAssumedCausal)));
  CHECK(stays_bias(form_assuming(kViews + "  s = s - m\n" + kProduct, kAssumedCausal)));
  CHECK(stays_bias(form_assuming(kViews + "  s = s + m[:, :, :, 1:]\n" + kProduct, kAssumedCausal)));
  CHECK(stays_bias(form_assuming(kViews + "  s = s + m\n" + kProduct, AssumedMask{-1e4, true})));
  // Overwriting what the mask was added to makes hidden keys equal where it hides all the others.
  CHECK(stays_bias(form_assuming(kViews + "  s = s + m\n" + kOverwritten + kProduct, kAssumedMore)));
}
