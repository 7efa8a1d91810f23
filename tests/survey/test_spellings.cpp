// Each spelling of attention that the survey reads, and beside it near misses that it must leave alone: the table that
// docs/adding-an-attention-form.md asks to extend. A spelling is the body of forward(self, q, k, v, m).
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "support/catch.h"
#include "survey/survey_support.h"

namespace {

using flashconvert::survey::Backend;
using flashconvert::survey::Site;
using flashconvert::test::define_forward;
using flashconvert::test::survey_of;

struct Spelling {
  const char* name;
  const char* body;
};

struct NearMiss {
  const char* name;
  const char* body;
  const char* reason;  // words of the reason; "" where nothing is a candidate
};

torch::jit::Module attention_of(const std::string& body, const std::string& result = "Tensor") {
  torch::jit::Module module("Model");
  define_forward(module, body, result);
  return module;
}

// What the sites say of themselves; the graphs that they refer to are gone.
std::vector<Site> sites_of(const torch::jit::Module& module, Backend backend = Backend::kFlash) {
  const auto found = survey_of(module, backend);
  return found.methods.empty() ? std::vector<Site>{} : found.methods.at(0).sites;
}

const Spelling kSpellings[] = {
    {"an einsum of values that are as many as the keys",
     "s = torch.matmul(q, q.transpose(-2, -1))\n"
     "return torch.einsum('bhls,bhsd->bhld', [torch.softmax(s, -1), q * 2.0])"},
    {"a product of which the strides are read",
     "o = torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-2, -1)), -1), v)\nreturn o * o.stride(0)"},
    {"queries that are written to before they are scaled",
     "q.mul_(3.0)\nc = q * 0.5\ns = torch.matmul(c, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"scores and weights reshaped there and back",
     "q = q.view([q.size(0), q.size(1), 4])\ns = torch.bmm(q, k.transpose(1, 2))\n"
     "p = torch.softmax(s.view([-1, 2, s.size(1), s.size(2)]), -1)\nreturn torch.bmm(p.view(s.size()), v)"},
    {"division by a number",
     "s = torch.matmul(q, k.transpose(-2, -1)) / 2.0\nreturn torch.matmul(torch.softmax(s, -1), v)"},
    {"a factor on the queries",
     "s = torch.matmul(q * 0.25, k.transpose(-2, -1))\nreturn torch.matmul(torch.softmax(s, -1), v)"},
    {"a factor on both",
     "s = torch.matmul(q * 0.5, (k * 0.5).transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"bmm", "s = torch.bmm(q, k.transpose(1, 2)) * 0.5\nreturn torch.bmm(torch.softmax(s, -1), v)"},
    {"baddbmm with the mask",
     "s = torch.baddbmm(m, q, k.transpose(1, 2), beta=1, alpha=0.5)\n"
     "return torch.bmm(torch.softmax(s, -1), v)"},
    {"einsum, heads first",
     "s = torch.einsum('bhid,bhjd->bhij', [q, k]) * 0.5\n"
     "return torch.einsum('bhij,bhjd->bhid', [torch.softmax(s, -1), v])"},
    {"einsum, length first",
     "s = torch.einsum('b i h d, b j h d -> b h i j', [q, k]) * 0.5\n"
     "return torch.einsum('bhij,bjhd->bihd', [torch.softmax(s, -1), v])"},
    {"softmax in float32, cast back to the 16 bits of the checkpoint",
     "s = torch.matmul(q, k.transpose(-2, -1)) * 0.5\n"
     "w = torch.softmax(s, -1, dtype=6).to(5)\n"
     "return torch.matmul(w, v)"},
    {"the same in bfloat16, scores cast up before",
     "s = torch.matmul(q, k.transpose(-2, -1)).to(6) * 0.5\n"
     "return torch.matmul(torch.softmax(s, -1).to(15), v)"},
    {"additive bias",
     "s = torch.matmul(q, k.transpose(-2, -1)) * 0.5 + m\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"bias before the scale",
     "s = (torch.matmul(q, k.transpose(-2, -1)) + m) * 0.5\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"masked_fill with minus infinity",
     "s = torch.matmul(q, k.transpose(-2, -1)).masked_fill(m > 0.5, float('-inf'))\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"masked_fill with -1e9",
     "s = torch.matmul(q, k.transpose(-2, -1)).masked_fill(m > 0.5, -1e9)\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"masked_fill in place",
     "s = torch.matmul(q, k.transpose(-2, -1))\ns.masked_fill_(m > 0.5, float('-inf'))\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"where",
     "s = torch.matmul(q, k.transpose(-2, -1))\ns = torch.where(m > 0.5, s, float('-inf'))\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"softmax in float32",
     "s = torch.matmul(q, k.transpose(-2, -1)) * 0.5\n"
     "return torch.matmul(torch.softmax(s, -1, dtype=6).type_as(q), v)"},
    {"inactive dropout",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.dropout(torch.softmax(s, -1), 0.1, False), v)"},
    {"softcap",
     "s = torch.tanh(torch.matmul(q, k.transpose(-2, -1)) * 0.1) * 5.0 + m\n"
     "return torch.matmul(torch.softmax(s, -1), v)"},
    {"shifted by the largest of each row",
     "s = torch.matmul(q, k.transpose(-2, -1)) + m\n"
     "return torch.matmul(torch.softmax((s - torch.amax(s, [-1], True)) * 0.5, -1), v)"},
    {"shifted by the largest of each row, with its place",
     "s = torch.matmul(q, k.transpose(-2, -1)).masked_fill(m > 0.5, float('-inf'))\n"
     "largest, place = torch.max(s, -1, True)\n"
     "return torch.matmul(torch.softmax(s - largest.detach(), -1), v)"},
    {"weights on the right",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "p = torch.softmax(s, -1)\n"
     "return torch.matmul(v.transpose(-2, -1), p.transpose(-2, -1))"},
    {"a bias of the product's layout under a mask of the heads'",
     "s = torch.bmm(q, k.transpose(1, 2)) * 0.5 + m\nl = k.size(1)\nh = (torch.arange(l) % 2 == 1).view([1, 1, 1, l])\n"
     "s = s.view([-1, 2, q.size(1), l]).masked_fill(h, -3.4028234663852886e+38)\n"
     "return torch.bmm(torch.softmax(s, -1).view([-1, q.size(1), l]), v)"},
    {"scaled_dot_product_attention, causal", "return torch.scaled_dot_product_attention(q, k, v, None, 0.0, True)"},
    {"scaled_dot_product_attention, mask and scale",
     "return torch.scaled_dot_product_attention(q, k, v, m, 0.0, False, scale=0.3)"},
};

const NearMiss kNearMisses[] = {
    {"a second product in another layout of the heads",
     "p = torch.softmax(torch.matmul(q, k.transpose(-2, -1)), -1)\n"
     "return torch.bmm(p.reshape([-1, q.size(-2), k.size(-2)]), v.reshape([-1, v.size(-2), v.size(-1)]))",
     "another layout of the heads"},
    {"queries that are written to after a scaled copy was taken",
     "c = q * 0.5\nq.mul_(3.0)\ns = torch.matmul(c, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -1), v)",
     "modified in place"},
    {"keys that are written to after they were repeated",
     "c = torch.repeat_interleave(k, 2, 1)\nk.mul_(3.0)\ns = torch.matmul(q, c.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -1), torch.repeat_interleave(v, 2, 1))",
     "modified in place"},
    {"an einsum of values that are more than the keys",
     "s = torch.matmul(q, q.transpose(-2, -1))\n"
     "return torch.einsum('bhls,bhsd->bhld', [torch.softmax(s, -1), v])",
     "not known to be one"},
    {"an einsum of which the strides are read",
     "o = torch.einsum('bhls,bhsd->bhld', [torch.softmax(torch.matmul(q, k.transpose(-2, -1)), -1), v])\n"
     "return o * o.stride(0)",
     "the strides of an einsum's result are read"},
    {"softmax over the queries",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -2), v)",
     "not over the keys"},
    {"active dropout",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.dropout(torch.softmax(s, -1), 0.1, True), v)",
     "dropout"},
    {"a tensor that varies along the keys scales the scores",
     "s = torch.matmul(q, k.transpose(-2, -1)) * m\nreturn torch.matmul(torch.softmax(s, -1), v)",
     "may vary along queries or keys"},
    {"masked scores set to a small number",
     "s = torch.matmul(q, k.transpose(-2, -1)).masked_fill(m > 0.5, -5.0)\n"
     "return torch.matmul(torch.softmax(s, -1), v)",
     "hides nothing"},
    {"weights scaled after the softmax",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -1) * 2.0, v)",
     "pass through aten::mul"},
    {"scores through another function",
     "s = torch.relu(torch.matmul(q, k.transpose(-2, -1)))\n"
     "return torch.matmul(torch.softmax(s, -1), v)",
     "pass through aten::relu"},
    {"a bias inside the softcap",
     "s = torch.tanh((torch.matmul(q, k.transpose(-2, -1)) + m) * 0.1) * 5.0\n"
     "return torch.matmul(torch.softmax(s, -1), v)",
     "inside a softcap"},
    {"shifted by the largest of each column",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s - torch.amax(s, [-2], True), -1), v)",
     "scores are used elsewhere"},
    {"shifted by the largest of all, which is NaN where one is",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s - torch.max(s), -1), v)",
     "scores are used elsewhere"},
    {"shifted by the largest of other scores",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s * 0.5 - torch.amax(s, [-1], True), -1), v)",
     "scores are used elsewhere"},
    {"shifted inside the softcap",
     "s = torch.matmul(q, k.transpose(-2, -1)) * 0.1\n"
     "return torch.matmul(torch.softmax(torch.tanh(s - torch.amax(s, [-1], True)) * 5.0, -1), v)",
     "inside a softcap"},
    {"the largest of each row used elsewhere",
     "s = torch.matmul(q, k.transpose(-2, -1))\nlargest = torch.amax(s, [-1], True)\n"
     "return torch.matmul(torch.softmax(s - largest, -1), v) + largest",
     "scores are used elsewhere"},
    {"a bias that is written to after it was added",
     "s = torch.matmul(q, k.transpose(-2, -1)) + m\nm.mul_(2.0)\nreturn torch.matmul(torch.softmax(s, -1), v)",
     "modified in place"},
    {"an einsum that sums a batch letter away",
     "s = torch.einsum('bhid,bhjd->bij', [q, k])\n"
     "return torch.matmul(torch.softmax(s, -1), v)",
     "no batched matrix product"},
    {"scores used elsewhere",
     "s = torch.matmul(q, k.transpose(-2, -1))\n"
     "return torch.matmul(torch.softmax(s, -1), v) + s.sum()",
     "scores are used elsewhere"},
    {"a linear layer across the heads of the scores",
     "s = torch.matmul(q, k.transpose(-2, -1)).permute([0, 2, 3, 1])\n"
     "s = torch.linear(s, m).permute([0, 3, 1, 2])\nreturn torch.matmul(torch.softmax(s, -1), v)",
     "talking heads"},
    {"a linear layer across the heads of the weights",
     "p = torch.softmax(torch.matmul(q, k.transpose(-2, -1)), -1).permute([0, 2, 3, 1])\n"
     "return torch.matmul(torch.linear(p, m).permute([0, 3, 1, 2]), v)",
     "talking heads"},
    {"a linear layer over the keys of the scores",
     "s = torch.linear(torch.matmul(q, k.transpose(-2, -1)), m)\nreturn torch.matmul(torch.softmax(s, -1), v)",
     "no product of queries and keys"},
    {"a classifier on top of a product",
     "return torch.softmax(torch.linear(torch.matmul(q, k).permute([0, 2, 1]), m), -1)", ""},
    {"a softmax of something else", "return torch.softmax(torch.matmul(q, k.transpose(-2, -1)).sum(-1), -1)", ""},
};

}  // namespace

TEST_CASE("every spelling of attention is read", "[survey]") {
  for (const Spelling& spelling : kSpellings) {
    INFO(spelling.name);
    const auto sites = sites_of(attention_of(spelling.body));
    REQUIRE(sites.size() == 1);
    INFO(sites[0].reason);
    CHECK(sites[0].is_fusible);
    CHECK(sites[0].proposals.size() == 1);
  }
}

TEST_CASE("scores from a branch are an attention in each arm, reported once", "[survey]") {
  for (const char* masked : {"s = s + m", "s = s.masked_fill(m > 0.5, float('-inf'))", "s = (s + m) * 0.5"}) {
    INFO(masked);
    const auto sites = sites_of(attention_of("s = torch.matmul(q, k.transpose(-2, -1)) / 2.0\nif m.dim() > 2:\n  " +
                                             std::string(masked) + "\nreturn torch.matmul(torch.softmax(s, -1), v)"));
    REQUIRE(sites.size() == 2);
    for (const Site& site : sites) {
      INFO(site.reason);
      CHECK(site.is_fusible);
    }
    CHECK_FALSE(sites[0].is_other_path);
    CHECK(sites[1].is_other_path);
  }
}

TEST_CASE("an arm that cannot be fused is named beside one that can", "[survey]") {
  const auto sites =
      sites_of(attention_of("s = torch.matmul(q, k.transpose(-2, -1))\nif m.dim() > 2:\n  s = s * m\n"
                            "return torch.matmul(torch.softmax(s, -1), v)"));
  REQUIRE(sites.size() == 2);
  CHECK_FALSE(sites[0].is_fusible);
  CHECK_THAT(sites[0].reason, Catch::Matchers::Contains("may vary along queries or keys"));
  CHECK(sites[1].is_fusible);
  CHECK_FALSE(sites[1].is_other_path);
}

TEST_CASE("weights that are seen after a branch stay where they are", "[survey]") {
  const auto sites =
      sites_of(attention_of("s = torch.matmul(q, k.transpose(-2, -1))\nif m.dim() > 2:\n  s = s + m\n"
                            "p = torch.softmax(s, -1)\nreturn torch.matmul(p, v) + p.sum()"));
  for (const Site& site : sites) CHECK_FALSE(site.is_fusible);
}

TEST_CASE("near misses are left alone, with the reason", "[survey]") {
  for (const NearMiss& miss : kNearMisses) {
    INFO(miss.name);
    const auto sites = sites_of(attention_of(miss.body));
    if (std::string(miss.reason).empty()) {
      CHECK(sites.empty());
      continue;
    }
    REQUIRE(sites.size() == 1);
    CHECK_FALSE(sites[0].is_fusible);
    CHECK(sites[0].proposals.empty());
    CHECK_THAT(sites[0].reason, Catch::Matchers::Contains(miss.reason));
  }
}

// A module that is called with the scores and has a table of its own.
std::vector<Site> survey_with_score_module(const std::string& result) {
  torch::jit::Module position("Position");
  position.register_buffer("table", at::randn({6, 6}));
  position.define("def forward(self, s: Tensor) -> Tensor:\n  return " + result + "\n");
  torch::jit::Module module("Model");
  module.register_module("position", position);
  module.define(
      "def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:\n"
      "  s = self.position.forward(torch.matmul(q, k.transpose(-2, -1)) * 0.5)\n"
      "  return torch.matmul(torch.softmax(s, -1), v)\n");
  return sites_of(module);
}

TEST_CASE("a submodule may add a bias to the scores", "[survey]") {
  const auto sites = survey_with_score_module("s + self.table");
  REQUIRE(sites.size() == 1);
  INFO(sites[0].reason);
  CHECK(sites[0].is_fusible);
  CHECK(sites[0].bias == "additive");
}

TEST_CASE("a submodule that does more to the scores is left alone", "[survey]") {
  const auto sites = survey_with_score_module("torch.relu(s) + self.table");
  REQUIRE(sites.size() == 1);
  CHECK_FALSE(sites[0].is_fusible);
}

TEST_CASE("returned weights are named as such", "[survey]") {
  const auto sites =
      sites_of(attention_of("p = torch.softmax(torch.matmul(q, k.transpose(-2, -1)), -1)\nreturn torch.matmul(p, v), p",
                            "Tuple[Tensor, Tensor]"));
  REQUIRE(sites.size() == 1);
  CHECK(sites[0].reason == "attention weights are returned");
}

TEST_CASE("the scale is the product of all its parts", "[survey]") {
  const auto sites = sites_of(attention_of(
      "s = torch.matmul(q * 0.5, k.transpose(-2, -1)) / 4.0\nreturn torch.matmul(torch.softmax(s * 3.0, -1), v)"));
  REQUIRE(sites.size() == 1);
  REQUIRE(sites[0].scale.has_value());
  CHECK(*sites[0].scale == Approx(0.375));
}

TEST_CASE("the portable backend leaves what it cannot say", "[survey]") {
  const auto sites = sites_of(attention_of("s = torch.tanh(torch.matmul(q, k.transpose(-2, -1)) * 0.1) * 5.0\n"
                                           "return torch.matmul(torch.softmax(s, -1), v)"),
                              Backend::kPortable);
  REQUIRE(sites.size() == 1);
  CHECK_THAT(sites[0].reason, Catch::Matchers::Contains("softcap"));
}
