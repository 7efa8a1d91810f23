// Masks by position alone: what becomes a causal flag or a window, with which alignment, and what has to stay a bias.
// A case is the body of forward(self, q, k, v, m) of a module with the buffers named below.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>

#include <optional>
#include <string>
#include <vector>

#include "support/catch.h"
#include "survey/survey_support.h"

namespace {

using flashconvert::survey::Backend;
using flashconvert::survey::Site;
using flashconvert::test::define_forward;
using flashconvert::test::only_site;
using flashconvert::test::survey_of;

constexpr std::int64_t kStored = 24;  // the length of the stored masks

at::Tensor stored_triangle(std::int64_t diagonal = 0) {
  return at::ones({1, 1, kStored, kStored}, at::kBool).tril(diagonal);
}

torch::jit::Module module_with_masks(const std::string& body) {
  torch::jit::Module module("Model");
  module.register_buffer("triangle", stored_triangle());
  module.register_buffer("above", stored_triangle(1));
  module.register_buffer("strict", stored_triangle(-1));
  at::Tensor damaged = stored_triangle().clone();
  damaged[0][0][kStored - 2][3] = false;
  module.register_buffer("damaged", damaged);
  module.register_buffer("by_head", at::cat({stored_triangle(), stored_triangle(1)}, 1));
  module.register_buffer("added", at::full({kStored, kStored}, -INFINITY).triu(1));
  module.register_buffer("table", at::arange(kStored * kStored).reshape({kStored, kStored}).to(at::kFloat) / 100);
  module.register_parameter("learned", at::full({kStored, kStored}, -INFINITY).triu(1), false);
  define_forward(module, body);
  return module;
}

void in_half_precision(torch::jit::Module& module) {
  module.setattr("learned", module.attr("learned").toTensor().to(at::kHalf));
}

// The arguments of the attention node that a body is fused into.
struct Fused {
  bool has_bias = false;
  bool causal = false;
  std::vector<std::int64_t> window;
  bool bottom_right = false;
};

Fused fused_form(const torch::jit::Module& module, Backend backend = Backend::kFlash) {
  const auto found = survey_of(module, backend);
  const Site& site = only_site(found);
  INFO(site.reason);
  REQUIRE(site.is_fusible);
  const auto* node = site.proposals.at(0).attention.at(0);
  const auto argument = [&](std::size_t at) { return torch::jit::toIValue(node->input(at)).value_or(c10::IValue(1)); };
  Fused fused;
  fused.has_bias = !argument(3).isNone();
  fused.causal = argument(5).toBool();
  if (backend == Backend::kFlash) {
    fused.window = argument(6).toIntVector();
    fused.bottom_right = argument(9).toBool();
  }
  CHECK(site.is_causal == fused.causal);
  return fused;
}

Fused fused_form(const std::string& body, Backend backend = Backend::kFlash) {
  return fused_form(module_with_masks(body), backend);
}

// As models have it, the view that splits the heads tells the rank.
const char* const kFourDimensions =
    "q = q.view([q.size(0), q.size(1), q.size(2), q.size(3)])\nk = k.view([k.size(0), k.size(1), k.size(2), "
    "k.size(3)])\n";

std::string softmax_of(const std::string& lines) {
  return kFourDimensions + std::string() +
         "n = q.size(-2)\nl = k.size(-2)\ns = torch.matmul(q, k.transpose(-2, -1)) * 0.5\n" + lines +
         "return torch.matmul(torch.softmax(s, -1), v)";
}

// The keys are the queries' own: one length.
std::string self_attention_of(const std::string& lines) {
  return kFourDimensions + std::string() + "n = q.size(-2)\ns = torch.matmul(q, q.transpose(-2, -1)) * 0.5\n" + lines +
         "return torch.matmul(torch.softmax(s, -1), v)";
}

struct Case {
  const char* name;
  std::string body;
};

const std::vector<std::int64_t> kNoWindow{-1, -1};

// Nothing but the triangle, top left.
const Case kCausal[] = {
    {"tril of ones", softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, float('-inf'))\n")},
    {"triu of ones", softmax_of("s = s.masked_fill(torch.triu(torch.ones([n, l]), 1).to(11), float('-inf'))\n")},
    {"where", softmax_of("s = torch.where(torch.ones([n, l], dtype=11).tril(), s, float('-inf'))\n")},
    {"an added triangle", softmax_of("s = s + torch.triu(torch.full([n, l], float('-inf')), 1)\n")},
    {"an added triangle of float32's lowest number",
     softmax_of("s = s + torch.triu(torch.full([n, l], -3.4028234663852886e+38), 1)\n")},
    {"-1e9", softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, -1e9)\n")},
    {"positions compared",
     softmax_of("s = s.masked_fill(torch.arange(l).unsqueeze(0) > torch.arange(n).unsqueeze(1), float('-inf'))\n")},
    {"positions compared, the other way round",
     softmax_of("s = torch.where(torch.arange(n).view([-1, 1]) >= torch.arange(l), s, float('-inf'))\n")},
    {"on the scores' device and dtype",
     softmax_of("s = s + torch.full([n, l], float('-inf'), device=m.device).triu(1).type_as(m)\n")},
    {"in place", softmax_of("h = torch.full([n, l], float('-inf'))\nh = h.triu_(1)\ns = s + h\n")},
    {"expanded over the batch",
     softmax_of("b = q.size(0)\nh = torch.ones([n, l], dtype=11).tril().expand([b, 1, n, l])\n"
                "s = s.masked_fill(torch.logical_not(h), float('-inf'))\n")},
    {"a stored mask cut to the lengths",
     softmax_of("s = s.masked_fill(self.triangle[:, :, :n, :l] == 0, float('-inf'))\n")},
    {"a stored bias cut to one length", self_attention_of("s = s + self.added[:n, :n]\n")},
    {"a triangle of the queries' length, which is the keys'",
     self_attention_of("s = s.masked_fill(torch.ones([n, n]).tril() == 0, float('-inf'))\n")},
    {"a triangle under a diagonal that is nothing",
     self_attention_of("s = s.masked_fill(torch.ones([n, n]).tril(q.size(-2) - n) == 0, float('-inf'))\n")},
    {"scaled_dot_product_attention, boolean",
     "n = q.size(-2)\nl = k.size(-2)\n"
     "return torch.scaled_dot_product_attention(q, k, v, torch.ones([n, l], dtype=11).tril())"},
    {"scaled_dot_product_attention, added",
     "n = q.size(-2)\nl = k.size(-2)\n"
     "return torch.scaled_dot_product_attention(q, k, v, torch.full([n, l], float('-inf')).triu(1))"},
    {"scaled_dot_product_attention, stored", "return torch.scaled_dot_product_attention(q, k, v, self.added)"},
};

// The triangle, and a bias beside it.
const Case kCausalBesideBias[] = {
    {"key padding in the mask", softmax_of("h = torch.logical_and(torch.ones([n, l], dtype=11).tril(), m > 0)\n"
                                           "s = torch.where(h, s, float('-inf'))\n")},
    {"key padding in the negated mask",
     softmax_of("h = (torch.ones([n, l]).tril() == 0) | (m > 0)\ns = s.masked_fill(h, float('-inf'))\n")},
    {"a triangle and every second key",
     softmax_of("h = (torch.arange(l).unsqueeze(0) > torch.arange(n).unsqueeze(1)) | (torch.arange(l) % 2 == 1)\n"
                "s = s.masked_fill(h, float('-inf'))\n")},
    {"a triangle and a window longer than masks are run at",
     softmax_of("d = torch.arange(n).unsqueeze(1) - torch.arange(l).unsqueeze(0)\n"
                "s = torch.where((d < 6000) & (d >= 0), s, float('-inf'))\n")},
    {"a bias added later", softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, float('-inf')) + m\n")},
    {"a bias added before", softmax_of("s = (s + m).masked_fill(torch.ones([n, l]).tril() == 0, float('-inf'))\n")},
    {"a sum of two biases", softmax_of("s = s + (m + torch.full([n, l], float('-inf')).triu(1))\n")},
    {"a finite triangle beside a table of the model's own",
     self_attention_of("s = (s + self.table[:n, :n]).masked_fill(torch.ones([n, n]).tril() == 0, -1e9)\n")},
    {"a triangle with slopes in it",
     self_attention_of("a = torch.arange(n)\nd = (a.unsqueeze(0) - a.unsqueeze(1)).to(6) * 0.25\n"
                       "s = s + d.masked_fill(torch.ones([n, n]).tril() == 0, float('-inf'))\n")},
    {"scaled_dot_product_attention with padding",
     "n = q.size(-2)\nl = k.size(-2)\nh = torch.ones([n, l], dtype=11).tril()\n"
     "return torch.scaled_dot_product_attention(q, k, v, torch.logical_and(h, m > 0))"},
};

// What looks like one of them and is not.
const Case kStaysBias[] = {
    {"a strict triangle", softmax_of("s = s.masked_fill(torch.ones([n, l]).tril(-1) == 0, float('-inf'))\n")},
    {"a stored strict triangle", softmax_of("s = s.masked_fill(self.strict[:, :, :n, :l] == 0, float('-inf'))\n")},
    {"one wrong element in a stored mask",
     softmax_of("s = s.masked_fill(self.damaged[:, :, :n, :l] == 0, float('-inf'))\n")},
    {"another diagonal in one head", softmax_of("s = s.masked_fill(self.by_head[:, :, :n, :l] == 0, float('-inf'))\n")},
    {"a parameter", self_attention_of("s = s + self.learned[:n, :n]\n")},
    {"-1e4, which large scores can reach", softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, -10000.0)\n")},
    {"a diagonal that depends on another size",
     softmax_of("s = s.masked_fill(torch.ones([n, l]).tril(m.size(0)) == 0, float('-inf'))\n")},
    {"rows without any key under a finite number",
     softmax_of("s = s.masked_fill(torch.ones([n, l]).tril(l - n) == 0, -1e9)\n")},
    {"a finite triangle beside padding",
     softmax_of("h = torch.logical_and(torch.ones([n, l], dtype=11).tril(), m > 0)\ns = torch.where(h, s, -1e9)\n")},
    {"a finite triangle beside an added argument",
     softmax_of("s = torch.where(torch.ones([n, l], dtype=11).tril(), s, -3.4028234663852886e+38) + m\n")},
    {"a window longer than masks are run at, in one comparison",
     softmax_of("d = torch.arange(n).unsqueeze(1) - torch.arange(l).unsqueeze(0)\n"
                "s = torch.where(torch.abs(d * 2 - 6000) <= 6000, s, float('-inf'))\n")},
    {"every second key", softmax_of("s = s.masked_fill((torch.arange(l) % 2 == 1).unsqueeze(0), float('-inf'))\n")},
    {"a triangle of blocks", softmax_of("a = torch.arange(l) // 4\nb = torch.arange(n) // 4\n"
                                        "s = s.masked_fill(a.unsqueeze(0) > b.unsqueeze(1), float('-inf'))\n")},
    {"a mask that is written to",
     softmax_of("h = torch.ones([n, l]).tril()\nh[:, 0] = 0.0\ns = s.masked_fill(h == 0, -1e9)\n")},
};

}  // namespace

TEST_CASE("a triangle by position is the causal flag", "[survey]") {
  for (const Case& one : kCausal) {
    INFO(one.name);
    const Fused fused = fused_form(one.body);
    CHECK(fused.causal);
    CHECK_FALSE(fused.has_bias);
    CHECK(fused.window == kNoWindow);
    CHECK_FALSE(fused.bottom_right);
  }
}

TEST_CASE("what stands beside the triangle stays the bias", "[survey]") {
  for (const Case& one : kCausalBesideBias) {
    INFO(one.name);
    const Fused fused = fused_form(one.body);
    CHECK(fused.causal);
    CHECK(fused.has_bias);
    CHECK(fused.window == kNoWindow);
  }
}

TEST_CASE("half precision's lowest number is as good as minus infinity in half precision", "[survey]") {
  const std::string overwritten =
      softmax_of("s = torch.where(self.triangle[:, :, l - n : l, :l], s, torch.full([], -65504.0, dtype=5))\n");
  const std::string added = softmax_of("s = s + torch.full([n, l], -65504.0, dtype=5).triu(1)\n");
  const std::string higher = softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, -60000.0)\n");
  for (const std::string& body : {overwritten, added}) {
    INFO(body);
    torch::jit::Module module = module_with_masks(body);
    const Fused in_single = fused_form(module);
    CHECK_FALSE(in_single.causal);
    CHECK(in_single.has_bias);
    in_half_precision(module);
    const Fused in_half = fused_form(module);
    CHECK(in_half.causal);
    CHECK_FALSE(in_half.has_bias);
  }
  torch::jit::Module module = module_with_masks(higher);
  in_half_precision(module);
  CHECK_FALSE(fused_form(module).causal);
}

TEST_CASE("what is not a triangle at all lengths stays the bias", "[survey]") {
  for (const Case& one : kStaysBias) {
    INFO(one.name);
    const Fused fused = fused_form(one.body);
    CHECK_FALSE(fused.causal);
    CHECK(fused.has_bias);
    CHECK(fused.window == kNoWindow);
  }
}

TEST_CASE("a finite number over an infinite triangle is no term of a bias at all", "[survey]") {
  const auto found = survey_of(module_with_masks(
      softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, float('-inf')).masked_fill(m > 0, -1e9)\n")));
  CHECK_FALSE(only_site(found).is_fusible);
}

TEST_CASE("half precision's lowest number beside an added argument that may hide rows", "[survey]") {
  // Such a row has what lies beyond the triangle in the original, and 65504 less would not take the scores from it.
  torch::jit::Module module = module_with_masks(
      softmax_of("s = torch.where(torch.ones([n, l], dtype=11).tril(), s, torch.full([], -65504.0, dtype=5)) + m\n"));
  in_half_precision(module);
  const auto found = survey_of(module);
  CHECK_FALSE(only_site(found).is_fusible);
}

TEST_CASE("the corner from which the triangle hangs", "[survey]") {
  const Fused gpt2 =
      fused_form(softmax_of("s = torch.where(self.triangle[:, :, l - n : l, :l], s, -3.4028234663852886e+38)\n"));
  CHECK(gpt2.causal);
  CHECK_FALSE(gpt2.has_bias);
  CHECK(gpt2.bottom_right);
  const Fused built = fused_form(softmax_of("s = s.masked_fill(torch.ones([n, l]).tril(l - n) == 0, float('-inf'))\n"));
  CHECK(built.causal);
  CHECK(built.bottom_right);
  // Of the queries' length alone: as many keys as queries, or one query, which sees all keys.
  const Fused square = fused_form(softmax_of("s = s.masked_fill(torch.ones([n, n]).tril() == 0, float('-inf'))\n"));
  CHECK(square.causal);
  CHECK(square.bottom_right);
}

TEST_CASE("windows", "[survey]") {
  const std::string distance = "d = torch.arange(n).unsqueeze(1) - torch.arange(l).unsqueeze(0)\n";
  const Fused one_more = fused_form(softmax_of("s = s.masked_fill(self.above[:, :, :n, :l] == 0, float('-inf'))\n"));
  CHECK_FALSE(one_more.causal);
  CHECK(one_more.window == std::vector<std::int64_t>{-1, 1});
  const Fused transposed = fused_form(softmax_of("s = s.masked_fill(torch.ones([n, l]).triu() == 0, float('-inf'))\n"));
  CHECK_FALSE(transposed.causal);
  CHECK(transposed.window == std::vector<std::int64_t>{0, -1});
  const Fused local = fused_form(softmax_of(distance + "s = torch.where((d < 4) & (d >= 0), s, float('-inf'))\n"));
  CHECK(local.causal);
  CHECK_FALSE(local.has_bias);
  CHECK(local.window == std::vector<std::int64_t>{3, 0});
  const Fused wide = fused_form(softmax_of(distance + "s = torch.where((d < 300) & (d > -20), s, float('-inf'))\n"));
  CHECK(wide.window == std::vector<std::int64_t>{299, 19});
  const Fused twice = fused_form(softmax_of(distance + "s = s.masked_fill(d > 5, float('-inf'))\n"
                                                       "s = s.masked_fill(d < 0, float('-inf'))\n"));
  CHECK(twice.causal);
  CHECK(twice.window == std::vector<std::int64_t>{5, 0});
}

TEST_CASE("the portable backend takes a triangle alone", "[survey]") {
  const Fused triangle =
      fused_form(softmax_of("s = s.masked_fill(torch.ones([n, l]).tril() == 0, float('-inf'))\n"), Backend::kPortable);
  CHECK(triangle.causal);
  CHECK_FALSE(triangle.has_bias);
  for (const std::string lines : {"s = s.masked_fill(torch.ones([n, l]).tril() == 0, float('-inf')) + m\n",
                                  "s = s.masked_fill(torch.ones([n, l]).tril(2) == 0, float('-inf'))\n"}) {
    const Fused other = fused_form(softmax_of(lines), Backend::kPortable);
    CHECK_FALSE(other.causal);
    CHECK(other.has_bias);
  }
}
