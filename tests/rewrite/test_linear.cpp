// Linear layers: which spellings call flashconvert::linear, which stay, and what is kept of the model.
#include "rewrite/linear.h"

#include <ATen/ATen.h>

#include "rewrite/attention_support.h"
#include "support/catch.h"

using namespace flashconvert;
using namespace flashconvert::test;

namespace {

// A module with a weight [300, 256] and what belongs to it.
Module module_with(const std::string& forward, const at::Tensor& weight = at::randn({300, 256})) {
  Module module = empty_module("Layer");
  module.register_parameter("weight", weight, /*is_buffer=*/false);
  module.register_parameter("turned", at::randn({256, 300}), false);
  module.register_parameter("bias", at::randn({300}), false);
  module.register_parameter("rows", at::randn({4, 300}), false);
  module.define("def forward(self, x):\n  return " + forward + "\n");
  return reloaded(module);
}

std::size_t calls_in(const Module& module, const std::string& method = "forward") {
  const std::string graph = code_graph(module, method);
  std::size_t count = 0;
  for (std::size_t at = graph.find(rewrite::kLinearOperator); at != std::string::npos;
       at = graph.find(rewrite::kLinearOperator, at + 1)) {
    ++count;
  }
  return count;
}

void expect_converted(const std::string& forward, const std::string& form) {
  INFO(forward);
  Module module = module_with(forward);
  const at::Tensor x = at::randn({4, 256});
  const at::Tensor before = run(module, {x});
  const auto result = rewrite::rewrite_linear_layers(module, {});
  REQUIRE(result.layers.size() == 1);
  CHECK(result.layers[0].form == form);
  CHECK(result.layers[0].method == "forward");
  CHECK(result.layers[0].in_features == 256);
  CHECK(result.layers[0].out_features == 300);
  CHECK_FALSE(result.layers[0].reason);
  CHECK(calls_in(module) == 1);
  Module loaded = reloaded(module);
  CHECK(at::allclose(run(loaded, {x}), before, 1e-5, 1e-4));
  loaded.attr("weight").toTensor().zero_();
  loaded.attr("turned").toTensor().zero_();
  CHECK_FALSE(at::allclose(run(loaded, {x}), before, 1e-5, 1e-4));
}

void expect_unchanged(const std::string& forward, const at::Tensor& weight = at::randn({300, 256})) {
  INFO(forward);
  Module module = module_with(forward, weight);
  CHECK(rewrite::rewrite_linear_layers(module, {}).places.empty());
  CHECK(calls_in(module) == 0);
}

Module stack_of(std::int64_t layers, std::int64_t features) {
  Module stack = empty_module("Stack");
  const Module first = linear_module(features, features);
  std::string body = "def forward(self, x):\n";
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string name = "layer" + std::to_string(i);
    // Of one type, as scripted siblings are.
    Module layer = first.clone();
    Module sibling(first.type()->compilation_unit(), first.type());
    for (const char* parameter : {"weight", "bias"}) {
      sibling.setattr(parameter, at::randn_like(layer.attr(parameter).toTensor()));
    }
    sibling.setattr("training", false);
    stack.register_module(name, sibling);
    body += "  x = self." + name + ".forward(x)\n";
  }
  stack.define(body + "  return x\n");
  return reloaded(stack);
}

}  // namespace

TEST_CASE("spellings of a linear layer", "[linear]") {
  expect_converted("torch.linear(x, self.weight, self.bias)", "linear");
  expect_converted("torch.linear(x, self.weight)", "linear");
  expect_converted("torch.addmm(self.bias, x, self.turned)", "addmm");
  expect_converted("torch.addmm(self.bias, x, torch.t(self.weight))", "addmm");
  expect_converted("torch.matmul(x, self.turned)", "matmul");
  expect_converted("torch.matmul(x, torch.t(self.weight))", "matmul");
  expect_converted("torch.add(torch.matmul(x, torch.t(self.weight)), self.bias)", "matmul");
  expect_converted("torch.relu(torch.linear(torch.tanh(x), self.weight, self.bias))", "linear");
}

TEST_CASE("what is no linear layer in float32", "[linear]") {
  expect_unchanged("torch.linear(x, self.weight + 1., self.bias)");
  expect_unchanged("torch.matmul(self.weight, torch.t(x))");
  expect_unchanged("torch.matmul(x, torch.t(x))");
  expect_unchanged("torch.addmm(self.bias, x, self.turned, beta=2)");
  expect_unchanged("torch.addmm(self.bias, x, self.turned, alpha=0.5)");
  expect_unchanged("torch.addmm(self.rows, x, self.turned)");
  expect_unchanged("torch.addmm(x[0, :1], x, self.turned)");
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kDouble}) {
    expect_unchanged("torch.linear(x, self.weight)", at::randn({300, 256}).to(dtype));
  }
}

TEST_CASE("layers for which there is no kernel are listed with the reason", "[linear]") {
  Module narrow = module_with("torch.linear(x, self.weight)", at::randn({300, 255}));
  Module few = module_with("torch.linear(x, self.weight)", at::randn({63, 256}));
  for (auto& [module, reason] :
       {std::pair{&narrow, "fewer than 256 input features"}, {&few, "fewer than 64 output features"}}) {
    const auto result = rewrite::rewrite_linear_layers(*module, {});
    REQUIRE(result.layers.size() == 1);
    CHECK(result.layers[0].reason == reason);
    CHECK(calls_in(*module) == 0);
  }
}

TEST_CASE("a weight that is used twice is one layer", "[linear]") {
  Module module = module_with("torch.linear(x, self.weight) + torch.linear(x * 2., self.weight, self.bias)");
  const auto result = rewrite::rewrite_linear_layers(module, {});
  CHECK(result.layers.size() == 1);
  CHECK(result.places.size() == 2);
  CHECK(calls_in(module) == 2);
}

TEST_CASE("layers of a type of which one is not selected", "[linear]") {
  Module stack = stack_of(3, 256);
  const at::Tensor x = at::randn({2, 256});
  const at::Tensor before = run(stack, {x});
  REQUIRE(stack.attr("layer0").toModule().type() == stack.attr("layer1").toModule().type());
  rewrite::LinearOptions options;
  options.selected = [](const std::string& path) { return path != "layer1"; };
  const auto result = rewrite::rewrite_linear_layers(stack, options);
  REQUIRE(result.layers.size() == 3);
  CHECK(result.layers[1].path == "layer1");
  CHECK(result.layers[1].reason == "not selected");
  CHECK(calls_in(stack.attr("layer0").toModule()) == 1);
  CHECK(calls_in(stack.attr("layer1").toModule()) == 0);
  CHECK(calls_in(stack.attr("layer2").toModule()) == 1);
  CHECK(stack.attr("layer0").toModule().type() == stack.attr("layer2").toModule().type());
  CHECK(at::equal(run(stack, {x}), before));
  Module loaded = reloaded(stack);
  CHECK(at::equal(run(loaded, {x}), before));
}

TEST_CASE("layers one after the other in one graph", "[linear]") {
  Module module = module_with(
      "torch.linear(torch.matmul(torch.linear(x, self.weight, self.bias), torch.t(self.turned)), self.weight)");
  const at::Tensor x = at::randn({4, 256});
  const at::Tensor before = run(module, {x});
  rewrite::rewrite_linear_layers(module, {});
  CHECK(calls_in(module) == 3);
  Module loaded = reloaded(module);
  CHECK(at::allclose(run(loaded, {x}), before, 1e-4, 1e-2));
}

namespace {

Module activation_module(const std::string& expression) {
  Module module = empty_module("Activation");
  module.define("def forward(self, x):\n  return " + expression + "\n");
  return module;
}

// A layer and what comes after it, each a module.
Module two_modules(const std::string& activation, const std::string& forward) {
  Module parent = empty_module("Parent");
  parent.register_module("fc", linear_module(256, 300));
  parent.register_module("act", activation_module(activation));
  parent.define("def forward(self, x):\n" + forward);
  return reloaded(parent);
}

std::string fused_with(Module& module) {
  const at::Tensor x = at::randn({3, 256});
  const at::Tensor before = run(module, {x.clone()});
  const auto result = rewrite::rewrite_linear_layers(module, {});
  Module loaded = reloaded(module);
  CHECK(at::allclose(run(loaded, {x.clone()}), before, 1e-5, 1e-5));
  return result.layers.at(0).activation;
}

}  // namespace

TEST_CASE("activations that a linear layer takes", "[linear]") {
  const std::pair<const char*, const char*> kForms[] = {
      {"torch.gelu(%)", "gelu"},     {"torch.gelu(%, approximate='tanh')", "gelu_tanh"},
      {"torch.relu(%)", "relu"},     {"torch.silu(%)", "silu"},
      {"torch.relu_(%)", "relu"},    {"torch.tanh(%)", "none"},
      {"torch.relu(%) + 1", "relu"}, {"torch.relu(% + 1)", "none"}};
  for (const auto& [form, name] : kForms) {
    std::string expression = form;
    expression.replace(expression.find('%'), 1, "torch.linear(x, self.weight, self.bias)");
    INFO(expression);
    Module module = module_with(expression);
    CHECK(fused_with(module) == name);
    CHECK(calls_in(module) == 1);
  }
}

TEST_CASE("activations of a module of their own", "[linear]") {
  Module module = two_modules("torch.gelu(x)", "  return self.act.forward(self.fc.forward(x))\n");
  CHECK(fused_with(module) == "gelu");
  CHECK(calls_in(module) == 1);
  CHECK_FALSE(contains(code_graph(module), "CallMethod"));
  Module in_place = two_modules("torch.relu_(x)", "  return self.act.forward(self.fc.forward(x))\n");
  CHECK(fused_with(in_place) == "relu");
  Module without = two_modules("torch.gelu(x)", "  return torch.gelu(self.fc.forward(x), approximate='tanh')\n");
  CHECK(fused_with(without) == "gelu_tanh");
}

TEST_CASE("activations that stay where they are", "[linear]") {
  const char* const kTwice = "  y = self.fc.forward(x)\n  return self.act.forward(y) + y\n";
  const char* const kBranch =
      "  y = self.fc.forward(x)\n  if bool(x.sum() > 0):\n    y = self.act.forward(y)\n  return y\n";
  for (const char* forward : {kTwice, kBranch}) {
    Module module = two_modules("torch.gelu(x)", forward);
    CHECK(fused_with(module) == "none");
  }
  Module more = two_modules("torch.gelu(x + x)", "  return self.act.forward(self.fc.forward(x))\n");
  CHECK(fused_with(more) == "none");
}

TEST_CASE("weights in the code of a frozen model", "[linear]") {
  Module module = empty_module("Frozen");
  module.define("def forward(self, x):\n  return x\n");
  auto graph = module.get_method("forward").graph();
  const at::Tensor weight = at::randn({300, 256});
  {
    const torch::jit::WithInsertPoint end(graph->return_node());
    torch::jit::Value* const product =
        graph->insert(c10::aten::linear, {graph->inputs()[1], graph->insertConstant(weight)});
    graph->eraseOutput(0);
    graph->registerOutput(product);
  }
  const auto result = rewrite::rewrite_linear_layers(module, {});
  REQUIRE(result.layers.size() == 1);
  CHECK(result.layers[0].path.empty());
  CHECK(calls_in(module) == 1);
  const at::Tensor x = at::randn({2, 256});
  CHECK(at::equal(run(module, {x}), at::linear(x, weight)));
}
