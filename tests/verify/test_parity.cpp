// compare_modules on small models: what passes, what fails, and that the models are untouched afterwards.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include "common/error.h"
#include "support/catch.h"
#include "verify/modules.h"
#include "verify/verify.h"

using namespace flashconvert;
using verify::testing::normal;
using verify::testing::one_case;
using verify::testing::scripted;

namespace {

constexpr const char* kLinear = "def forward(self, x):\n  return torch.matmul(x, self.weight.t())\n";
constexpr const char* kRowNorm =
    "def forward(self, x):\n"
    "  weight = self.sigma * self.weight / (torch.norm(self.weight, 2, [1], True) + 1e-6)\n"
    "  return torch.matmul(x, weight.t())\n";

report::Parity compare(torch::jit::Module original, torch::jit::Module converted,
                       const std::vector<verify::Case>& cases) {
  return verify::compare_modules(original, converted, cases, {"cpu"});
}

}  // namespace

TEST_CASE("a folded weight passes, the raw weight in its place fails", "[parity]") {
  const at::Tensor raw = normal({16, 32});
  const at::Tensor sigma = at::full({16, 1}, 1.3);
  const at::Tensor folded =
      (sigma * raw.to(at::kDouble) / (raw.to(at::kDouble).norm(2, 1, true) + 1e-6)).to(at::kFloat);
  const auto original = scripted(kRowNorm, {{"weight", raw}, {"sigma", sigma}});
  const std::vector cases{one_case({normal({4, 32}, 1)})};

  const auto good = compare(original, scripted(kLinear, {{"weight", folded}}), cases);
  CHECK(good.passed);
  CHECK(good.reference == "float64");
  CHECK(good.device == "cpu");
  REQUIRE(good.cases.size() == 1);
  CHECK(good.cases[0].outputs.at(0).error_original > 0);
  CHECK(good.cases[0].outputs.at(0).error_original < 1e-6);

  const auto bad = compare(original, scripted(kLinear, {{"weight", raw}}), cases);
  CHECK_FALSE(bad.passed);
  CHECK(bad.cases.at(0).outputs.at(0).error_converted > 0.1);
}

TEST_CASE("the reference is evaluated in float64 through casts and constants of the graph", "[parity]") {
  // The cast to float32 and back around the softmax would fix the dtypes of a plain float64 run (and mix them in
  // matmul).
  const std::string source =
      "def forward(self, x):\n"
      "  scores = torch.matmul(x, x.transpose(1, 2))\n"
      "  weights = torch.softmax(scores, -1, dtype=6).to(5)\n"
      "  return torch.matmul(weights, x) + torch.zeros([1]).to(5)\n";
  const auto original = scripted(source);
  const auto parity = compare(original, original.clone(), {one_case({normal({2, 8, 16}).to(at::kHalf)})});
  CHECK(parity.reference == "float64");
  CHECK(parity.passed);
  const auto& output = parity.cases.at(0).outputs.at(0);
  CHECK(output.error_original > 1e-5);
  CHECK(output.error_converted == output.error_original);
}

TEST_CASE("without a wider reference the original is compared with itself moved by one rounding", "[parity]") {
  const std::string source = "def forward(self, x):\n  return torch.matmul(torch.tanh(torch.matmul(x, x)), x)\n";
  const auto original = scripted(source);
  const std::vector cases{one_case({normal({24, 24}).to(at::kDouble)})};
  const auto same = compare(original, original.clone(), cases);
  CHECK(same.passed);
  CHECK(same.reference.find("it computes in float64 itself") != std::string::npos);
  CHECK(same.cases.at(0).outputs.at(0).error_original > 1e-17);
  CHECK(same.cases.at(0).outputs.at(0).error_original < 1e-13);
  const auto wrong =
      scripted("def forward(self, x):\n  return torch.matmul(torch.tanh(torch.matmul(x, x)), x) * 1.0000001\n");
  CHECK_FALSE(compare(original, wrong, cases).passed);
}

TEST_CASE("a float64 run that is another function is no reference", "[parity]") {
  // 1 + 1e-9 is 1 in float32: the comparison goes the other way in float64.
  const std::string source = "def forward(self, x):\n  return x * (1 + 4 * ((x * 0 + 1) + 1e-9 > 1).to(x.dtype))\n";
  const auto original = scripted(source);
  const std::vector cases{one_case({normal({50})})};
  const auto parity = compare(original, original.clone(), cases);
  CHECK(parity.passed);
  CHECK(parity.reference.find("original in its own dtype (float64 failed: output of the original is ") == 0);
  CHECK(parity.cases.at(0).outputs.at(0).allowed < 1e-5);
  CHECK_FALSE(compare(original, scripted("def forward(self, x):\n  return x * 1.001\n"), cases).passed);
}

TEST_CASE("one verifier judges several conversions", "[parity]") {
  const auto original = scripted("def forward(self, x):\n  return x + 1\n");
  const verify::Verifier verifier(original, {one_case({at::ones({2})})}, {"cpu"});
  CHECK_FALSE(verifier.compare(scripted("def forward(self, x):\n  return x + 2\n")).passed);
  CHECK(verifier.compare(scripted("def forward(self, x):\n  return 1 + x\n")).passed);
}

TEST_CASE("a NaN in the converted model alone fails", "[parity]") {
  const auto original = scripted("def forward(self, x):\n  return torch.softmax(x, -1)\n");
  const auto converted = scripted("def forward(self, x):\n  return torch.softmax(x, -1) / (x != x[0, 0])\n");
  const auto parity = compare(original, converted, {one_case({normal({2, 4})})});
  CHECK_FALSE(parity.passed);
  CHECK(parity.cases.at(0).outputs.at(0).note.find("NaN or infinity in one model only, first at [0, 0]") == 0);
}

TEST_CASE("a converted model that fails where the original runs is a failure, not an error", "[parity]") {
  const auto original = scripted("def forward(self, x):\n  return x + 1\n");
  const auto converted = scripted("def forward(self, x):\n  return x.view([2, 3]) + 1\n");
  const auto parity = compare(original, converted, {one_case({at::ones({2, 3})}), one_case({at::ones({4})})});
  CHECK_FALSE(parity.passed);
  CHECK(parity.cases.at(0).outputs.at(0).passed);
  CHECK(parity.cases.at(1).outputs.at(0).note ==
        "the converted model fails: shape '[2, 3]' is invalid for input of size 4");
}

TEST_CASE("a case that the original rejects is an error, a derived one is left out", "[parity]") {
  const auto model = scripted("def forward(self, x):\n  return x.view([2, 3])\n");
  verify::Case rejected = one_case({at::ones({4})});
  CHECK_THROWS_AS(compare(model, model.clone(), {rejected}), Error);
  rejected.derived = true;
  const auto parity = compare(model, model.clone(), {one_case({at::ones({6})}), rejected});
  CHECK(parity.passed);
  CHECK(parity.cases.size() == 1);
}

TEST_CASE("an active dropout is named as the reason", "[parity]") {
  const auto original = scripted("def forward(self, x):\n  return torch.dropout(x, 0.5, True)\n");
  const auto converted =
      scripted("def forward(self, x):\n  return torch.dropout(x + 0 * torch.rand([1]), 0.5, True)\n");
  const auto parity = compare(original, converted, {one_case({normal({100})})});
  CHECK_FALSE(parity.passed);
  CHECK(parity.cases.at(0).outputs.at(0).note.find("the original itself gives another result at each run") == 0);
}

TEST_CASE("random numbers that both models draw alike do not fail", "[parity]") {
  const auto model = scripted("def forward(self, x):\n  return x + torch.rand([4]).to(x.device)\n");
  CHECK(compare(model, model.clone(), {one_case({at::ones({4})})}).cases.at(0).outputs.size() == 1);
}

TEST_CASE("outputs in dicts, lists and tuples reach the comparison by name", "[parity]") {
  const std::string source =
      "def forward(self, x: Dict[str, Tensor]):\n"
      "  return {'first': [x['a'], x['a'] * 2], 'second': [x['b']]}, (x['a'].sum(), 'done', 7)\n";
  const auto original = scripted(source);
  c10::Dict<std::string, at::Tensor> inputs;
  inputs.insert("a", normal({3}));
  inputs.insert("b", normal({4}));
  const auto parity = compare(original, original.clone(), {one_case({inputs})});
  CHECK(parity.passed);
  std::vector<std::string> names;
  for (const auto& output : parity.cases.at(0).outputs) names.push_back(output.name);
  CHECK(names == std::vector<std::string>{"output[0]['first'][0]", "output[0]['first'][1]", "output[0]['second'][0]",
                                          "output[1][0]", "output[1][1]", "output[1][2]"});
}

TEST_CASE("every method is called, with its own arguments", "[parity]") {
  const std::string source =
      "def encode(self, x):\n  return x * 2\n"
      "def decode(self, x, scale: float = 0.5):\n  return x * scale\n";
  const auto original = scripted(source);
  const auto converted = scripted(
      "def encode(self, x):\n  return x * 2\n"
      "def decode(self, x, scale: float = 0.5):\n  return x * (scale + 0.1)\n");
  const auto parity = compare(
      original, converted, {one_case({at::ones({2})}, "test", "encode"), one_case({at::ones({2})}, "test", "decode")});
  CHECK(parity.cases.at(0).method == "encode");
  CHECK(parity.cases.at(0).outputs.at(0).passed);
  CHECK_FALSE(parity.cases.at(1).outputs.at(0).passed);
}

TEST_CASE("the models are afterwards what they were", "[parity]") {
  // A shared parameter, a buffer that a call writes, a training flag, an integer buffer and a list of tensors.
  const std::string source =
      "def forward(self, x):\n"
      "  self.calls.add_(1)\n"
      "  self.last = x\n"
      "  self.history.append(x)\n"
      "  return torch.matmul(x, self.weight) + torch.matmul(x, self.same_weight) + self.history[0]\n";
  const at::Tensor weight = normal({4, 4}).to(at::kHalf).set_requires_grad(true);
  torch::jit::Module model("model");
  model.register_parameter("weight", weight, false);
  model.register_parameter("same_weight", weight, false);
  model.register_buffer("calls", at::zeros({1}, at::kLong));
  model.register_buffer("last", at::ones({4, 4}, at::kHalf));
  model.register_attribute("history", c10::ListType::ofTensors(), c10::List<at::Tensor>({at::ones({4, 4}, at::kHalf)}));
  model.define(source);
  model.train();
  auto other = model.deepcopy();
  const at::Tensor before = weight.detach().clone();

  const auto parity =
      compare(model, other, {one_case({normal({4, 4}).to(at::kHalf)}), one_case({normal({4, 4}, 1).to(at::kHalf)})});
  CHECK(parity.passed);
  CHECK(parity.reference == "float64");
  for (const auto& module : {model, other}) {
    CHECK(module.is_training());
    CHECK(module.attr("weight").toTensor().is_same(module.attr("same_weight").toTensor()));
    CHECK(module.attr("weight").toTensor().equal(before));
    CHECK(module.attr("weight").toTensor().requires_grad());
    CHECK(module.attr("calls").toTensor().item<int>() == 0);
    CHECK(module.attr("last").toTensor().equal(at::ones({4, 4}, at::kHalf)));
    CHECK(module.attr("history").toListRef().size() == 1);
  }
  CHECK(model.attr("weight").toTensor().is_same(weight));
}

TEST_CASE("a device that is not there, or is none, is a usage error", "[parity]") {
  auto model = scripted("def forward(self, x):\n  return x\n");
  const std::vector cases{one_case({at::ones({2})})};
  const std::string device = GENERATE("cuda:99", "gpu", "cuda:", "cuda:-1", "cuda:x");
  try {
    verify::compare_modules(model, model, cases, {device});
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    CHECK(std::string(error.what()).find("--device " + device) == 0);
  }
}

TEST_CASE("a benchmark times both models on the given case", "[bench]") {
  auto original = scripted("def forward(self, x):\n  for i in range(20):\n    x = torch.matmul(x, x)\n  return x\n");
  auto converted = scripted("def forward(self, x):\n  return torch.matmul(x, x)\n");
  verify::Case derived = one_case({at::ones({1})});
  derived.derived = true;
  const auto bench = verify::bench_modules(original, converted, {derived, one_case({at::eye(128)})}, {"cpu"});
  CHECK(bench.device == "cpu");
  CHECK(bench.runs >= 5);
  CHECK(bench.converted_ms > 0);
  CHECK(bench.original_ms > 4 * bench.converted_ms);
}
