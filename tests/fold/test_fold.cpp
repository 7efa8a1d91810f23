// Folding on small scripted modules: what folds, what it becomes, and what is left alone for which reason.
// test_fold.py does the same on exports of real layers.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <string>

#include "fold/fold.h"
#include "support/catch.h"

using flashconvert::fold::fold_weights;
using flashconvert::fold::FoldResult;
using flashconvert::report::FoldStatus;
using torch::jit::Module;

namespace {

FoldResult fold_all(Module& module) {
  return fold_weights(module, [](const std::string&) { return true; });
}

at::Tensor output_of(Module& module, const at::Tensor& input) {
  const at::NoGradGuard no_grad;
  return module.forward({input}).toTensor();
}

// A model whose one submodule `layer` has a parameter `weight` [4, 4], a gain, a buffer `state`, and the given methods.
Module model_of(const std::string& methods) {
  at::manual_seed(3);
  const auto unit = std::make_shared<torch::jit::CompilationUnit>();
  Module layer("Layer", unit);
  layer.register_attribute("training", c10::BoolType::get(), false);
  layer.register_parameter("weight", at::randn({4, 4}, at::kDouble), false);
  layer.register_parameter("gain", at::full({1}, 2.5, at::kDouble), false);
  layer.register_buffer("state", at::ones({4}, at::kDouble));
  layer.define(methods);
  Module model("Model", unit);
  model.register_attribute("training", c10::BoolType::get(), false);
  model.register_module("layer", layer);
  model.define("def forward(self, x):\n    return self.layer.forward(x)\n");
  return model;
}

Module layer_of(const Module& model) { return model.attr("layer").toModule(); }

void require_folded_exactly(const std::string& methods, const std::string& form) {
  Module module = model_of(methods);
  const at::Tensor input = at::randn({3, 4}, at::kDouble);
  Module untouched = module.deepcopy();
  const at::Tensor expected = output_of(untouched, input);
  const at::Tensor raw = at::linear(input, layer_of(module).attr("weight").toTensor());
  REQUIRE((expected - raw).abs().max().item<double>() > 0.1);  // a copy of the raw weight would show

  const FoldResult result = fold_all(module);
  REQUIRE(result.entries.size() == 1);
  CHECK(result.entries[0].status == FoldStatus::kFolded);
  CHECK(result.entries[0].form == form);
  CHECK((output_of(module, input) - expected).abs().max().item<double>() < 1e-12);
  CHECK_FALSE(layer_of(module).hasattr("gain"));
  CHECK(fold_all(module).entries.empty());
}

std::string reason_for_leaving(const std::string& methods) {
  Module module = model_of(methods);
  const FoldResult result = fold_all(module);
  REQUIRE(result.entries.size() == 1);
  CHECK(result.entries[0].status == FoldStatus::kDeclined);
  CHECK(result.renamed.empty());
  CHECK(layer_of(module).hasattr("gain"));
  return result.entries[0].reason.value_or("");
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a weight from parameters alone becomes a plain parameter") {
  require_folded_exactly(R"(
    def forward(self, x):
        norm = torch.sqrt((self.weight * self.weight).sum([1], True))
        return torch.linear(x, self.gain * self.weight / (norm + 1e-6))
  )",
                         "sigma-reparam/row-norm");
}

TEST_CASE("products with a transposed reparameterised weight fold too") {
  require_folded_exactly(R"(
    def forward(self, x):
        return torch.matmul(x, (self.gain * self.weight).t())
  )",
                         "scaled");
}

TEST_CASE("weights made by methods, branches and loops fold") {
  require_folded_exactly(R"(
    def scaled(self, times: int):
        weight = self.weight
        for i in range(times):
            weight = weight * self.gain
        return weight
    def forward(self, x):
        if self.training:
            weight = self.weight
        else:
            weight = self.scaled(2)
        return torch.linear(x, weight)
  )",
                         "scaled");
}

TEST_CASE("a state that only the weight's path reads folds as at the first call") {
  Module module = model_of(R"(
    def effective(self):
        self.state = torch.mv(self.weight, self.state)
        return self.weight * self.gain / self.state.norm()
    def forward(self, x):
        return torch.linear(x, self.effective())
  )");
  const at::Tensor input = at::randn({3, 4}, at::kDouble);
  Module untouched = module.deepcopy();
  const at::Tensor first = output_of(untouched, input);
  const at::Tensor second = output_of(untouched, input);
  REQUIRE((first - second).abs().max().item<double>() > 1e-3);

  const FoldResult result = fold_all(module);
  REQUIRE(result.entries.size() == 1);
  CHECK(result.entries[0].status == FoldStatus::kFolded);
  CHECK(mentions(result.entries[0].reason.value_or(""), "the second differs by"));
  CHECK((output_of(module, input) - first).abs().max().item<double>() < 1e-12);
  CHECK((output_of(module, input) - first).abs().max().item<double>() < 1e-12);
  CHECK_FALSE(layer_of(module).hasattr("state"));
}

TEST_CASE("weights that cannot be known beforehand are left, with the reason") {
  SECTION("they depend on the input") {
    CHECK(mentions(reason_for_leaving(R"(
      def forward(self, x):
          return torch.linear(x, self.weight * self.gain * x.mean())
    )"),
                   "depends on the input `x"));
  }
  SECTION("they draw random numbers") {
    CHECK(mentions(reason_for_leaving(R"(
      def forward(self, x):
          return torch.linear(x, self.weight * self.gain + torch.randn_like(self.weight))
    )"),
                   "draws random numbers"));
  }
  SECTION("the state on their path is read elsewhere") {
    CHECK(mentions(reason_for_leaving(R"(
      def effective(self):
          self.state = self.state + 1.0
          return self.weight * self.gain * self.state
      def forward(self, x):
          return torch.linear(x, self.effective()) + self.state
    )"),
                   "changes `state`, which other code of the model reads"));
  }
  SECTION("the state on their path is written elsewhere") {
    CHECK(mentions(reason_for_leaving(R"(
      def forward(self, x):
          self.state.mul_(2.0)
          return x
      def project(self, x):
          return torch.linear(x, self.weight * self.gain * self.state)
    )"),
                   "rests on `state`, which `forward` changes"));
  }
  SECTION("the state on their path comes from the input") {
    CHECK(mentions(reason_for_leaving(R"(
      def forward(self, x):
          self.state.copy_(x.mean(0))
          return torch.linear(x, self.weight * self.gain * self.state)
    )"),
                   "depends on the input `x"));
  }
}

TEST_CASE("plain, viewed and cast weights are not reparameterised") {
  Module module = model_of(R"(
    def forward(self, x):
        y = torch.linear(x, self.weight.to(x.dtype))
        return torch.addmm(self.state, y, self.weight.t().contiguous()) * self.gain
  )");
  CHECK(fold_all(module).entries.empty());
}

TEST_CASE("what only training does to the state of a folded weight goes with it") {
  Module module = model_of(R"(
    def update(self):
        self.state.copy_(torch.mv(self.weight, self.state))
    def forward(self, x):
        if self.training:
            self.update()
        return torch.linear(x, self.weight * self.gain / self.state.norm())
  )");
  const FoldResult result = fold_all(module);
  REQUIRE(result.entries.size() == 1);
  CHECK(result.entries[0].status == FoldStatus::kFolded);
  CHECK_FALSE(layer_of(module).hasattr("state"));
}

TEST_CASE("an effect that others see survives the fold of the weight beside it") {
  Module module = model_of(R"(
    def forward(self, x):
        self.state.add_(1.0)
        return torch.linear(x, self.weight * self.gain)
    def count(self):
        return self.state
  )");
  CHECK(fold_all(module).entries.at(0).status == FoldStatus::kFolded);
  output_of(module, at::randn({3, 4}, at::kDouble));
  CHECK(layer_of(module).attr("state").toTensor()[0].item<double>() == 2.0);
}
