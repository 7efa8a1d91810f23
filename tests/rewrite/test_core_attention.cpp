// Core depth: the method's graph is replaced by the survey's accepted working copy, and nothing else changes.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include "rewrite/attention_support.h"
#include "rewrite/rewrite.h"
#include "support/catch.h"

using namespace flashconvert;
using namespace flashconvert::test;

namespace {

const char* const kCoreForward = R"(
def forward(self, q, k, v, mask: Optional[Tensor] = None, factor: int = 2) -> Dict[str, Tensor]:
  scores = torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5
  weights = torch.softmax(scores + self.offset, -1)
  result = torch.matmul(weights, v)
  return {"context": result * factor}
)";

Module core_module(const std::string& name = "Core") {
  Module module = empty_module(name);
  module.register_buffer("offset", at::randn({1, 1, 1, 1}));
  module.define(kCoreForward);
  module.define("def scores(self, q, k):\n  return torch.matmul(q, torch.transpose(k, -2, -1)) + self.offset\n");
  module.define("def call(self, x):\n  return self.forward(x, x, x)['context']\n");
  return module;
}

std::vector<c10::IValue> operands() {
  return {at::randn({2, 3, 5, 4}), at::randn({2, 3, 7, 4}), at::randn({2, 3, 7, 4})};
}

rewrite::RewriteResult convert_core(Module& module, survey::Survey survey) {
  return rewrite::rewrite_attention(module, std::move(survey), {}, {});
}

const survey::Site& site_of(const rewrite::RewriteResult& result, std::size_t method) {
  return result.survey.methods.at(method).sites.at(0);
}

survey::Survey survey_of(std::vector<survey::MethodSurvey> methods) {
  survey::Survey survey;
  survey.methods = std::move(methods);
  return survey;
}

at::Tensor context(Module& module, const std::vector<c10::IValue>& inputs) {
  at::NoGradGuard no_grad;
  return module.forward(inputs).toGenericDict().at("context").toTensor();
}

}  // namespace

TEST_CASE("a core rewrite computes the same through the fused operator") {
  Module module = reloaded(core_module());
  const auto inputs = operands();
  const auto before = context(module, inputs);  // compiles the old code, which must not survive
  const auto result = convert_core(module, survey_of({survey_method(module, "", 0.5, survey::Backend::kPortable)}));

  REQUIRE(result.survey.methods.size() == 1);
  CHECK_FALSE(site_of(result, 0).is_outlined);
  CHECK(result.renamed.empty());
  const std::string graph = code_graph(module);
  CHECK(contains(graph, "aten::scaled_dot_product_attention"));
  CHECK_FALSE(contains(graph, "aten::softmax"));
  CHECK_FALSE(contains(graph, "aten::transpose"));
  CHECK(at::allclose(context(module, inputs), before, 1e-5, 1e-6));
  CHECK(at::allclose(context(module, inputs), context(module, inputs)));
}

TEST_CASE("a core rewrite keeps the schema, the other methods and their order") {
  Module module = reloaded(core_module());
  const auto schema = module.get_method("forward").function().getSchema();
  std::vector<std::string> names;
  for (const auto& method : module.get_methods()) names.push_back(method.name());
  const auto other_graph = module.get_method("scores").graph();
  const auto other_text = other_graph->toString(false);

  convert_core(module, survey_of({survey_method(module, "", 0.5, survey::Backend::kPortable)}));

  CHECK(module.get_method("forward").function().getSchema() == schema);
  std::vector<std::string> names_after;
  for (const auto& method : module.get_methods()) names_after.push_back(method.name());
  CHECK(names_after == names);
  CHECK(module.get_method("scores").graph() == other_graph);
  CHECK(other_graph->toString(false) == other_text);
  // Defaults are part of the schema: the call without mask and factor still works, and keywords do.
  auto inputs = operands();
  const auto doubled = context(module, inputs);
  inputs.emplace_back();
  const auto tripled = module.forward(inputs, {{"factor", 3}}).toGenericDict().at("context").toTensor();
  CHECK(at::allclose(doubled * 1.5, tripled));
}

TEST_CASE("a caller that had compiled the old method in runs the new one") {
  Module module = reloaded(core_module());
  const auto x = at::randn({1, 2, 6, 4});
  run(module, {x}, "call");
  run(module, {x}, "call");
  // A proposal with another scale than the original's shows which code a call reaches.
  convert_core(module, survey_of({survey_method(module, "", 3.0, survey::Backend::kPortable)}));
  const auto scaled_by_three = at::softmax(at::matmul(x, x.transpose(-2, -1)) * 3.0, -1).matmul(x) * 2;
  CHECK(at::allclose(run(module, {x}, "call"), scaled_by_three, 1e-5, 1e-6));
}

TEST_CASE("a rewritten module survives a save and a load") {
  for (const auto backend : {survey::Backend::kPortable, survey::Backend::kFlash}) {
    Module module = reloaded(core_module());
    convert_core(module, survey_of({survey_method(module, "", 0.5, backend)}));
    Module again = reloaded(module);
    const char* name =
        backend == survey::Backend::kFlash ? "flashconvert::attention" : "aten::scaled_dot_product_attention";
    CHECK(contains(code_graph(again), name));
    if (backend == survey::Backend::kPortable) {
      const auto inputs = operands();
      CHECK(at::equal(context(module, inputs), context(again, inputs)));
    }
  }
}

TEST_CASE("values around the attention have readable names, and the author's names stay") {
  Module module = empty_module("Names");
  module.define(R"(
def forward(self, x):
  mine = x * 2
  return torch.matmul(torch.softmax(torch.matmul(mine, torch.transpose(x + 1, -2, -1)) * 0.5, -1), x - 1) + 1
)");
  module = reloaded(module);
  convert_core(module, survey_of({survey_method(module, "", 0.5, survey::Backend::kPortable)}));
  const std::string graph = code_graph(module);
  CHECK(contains(graph, "%mine"));
  CHECK(contains(graph, "%key"));
  CHECK(contains(graph, "%value"));
  CHECK(contains(graph, "%context"));
  CHECK_FALSE(contains(graph, "%query"));
}

namespace {

// A parent that holds two scripted siblings of one type.
Module siblings() {
  Module first = core_module("Sibling");
  Module second = first.deepcopy();
  REQUIRE(first.type() == second.type());
  second.setattr("offset", at::randn({1, 1, 1, 1}));
  Module parent("__torch__.Parent", first._ivalue()->compilation_unit());
  parent.register_attribute("training", c10::BoolType::get(), false);
  parent.register_module("first", first);
  parent.register_module("second", second);
  parent.define(R"(
def forward(self, q, k, v):
  return self.first.forward(q, k, v)["context"] + self.second.forward(q, k, v)["context"]
)");
  Module loaded = reloaded(parent);
  REQUIRE(loaded.attr("first").toModule().type() == loaded.attr("second").toModule().type());
  return loaded;
}

}  // namespace

TEST_CASE("siblings of one type that agree are edited once") {
  Module parent = siblings();
  const auto inputs = operands();
  const auto before = run(parent, inputs);
  const auto result = convert_core(
      parent, survey_of({survey_method(parent.attr("first").toModule(), "first", 0.5, survey::Backend::kPortable),
                         survey_method(parent.attr("second").toModule(), "second", 0.5, survey::Backend::kPortable)}));
  CHECK(result.survey.methods.size() == 2);
  CHECK(parent.attr("first").toModule().type() == parent.attr("second").toModule().type());
  CHECK(contains(code_graph(parent.attr("second").toModule()), "aten::scaled_dot_product_attention"));
  CHECK(at::allclose(run(parent, inputs), before, 1e-5, 1e-6));
}

TEST_CASE("siblings of one type that differ get types of their own") {
  Module parent = siblings();
  const auto inputs = operands();
  const auto before = run(parent, inputs);
  auto left_alone = survey_method(parent.attr("first").toModule(), "first", 0.5, survey::Backend::kPortable);
  left_alone.sites[0].decline("left out by --skip");
  const auto result = convert_core(
      parent, survey_of({std::move(left_alone),
                         survey_method(parent.attr("second").toModule(), "second", 0.5, survey::Backend::kPortable)}));
  CHECK_FALSE(site_of(result, 0).is_fusible);
  CHECK(site_of(result, 1).is_fusible);
  for (Module module : {parent, reloaded(parent)}) {
    CHECK(contains(code_graph(module.attr("first").toModule()), "aten::softmax"));
    CHECK(contains(code_graph(module.attr("second").toModule()), "aten::scaled_dot_product_attention"));
    CHECK(at::allclose(run(module, inputs), before, 1e-5, 1e-6));
  }
}
