// The probe must tell a wrong fusion from a right one.
#include "survey/probe.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/irparser.h>

#include "support/catch.h"

namespace {

using namespace flashconvert::survey;

// softmax(0.5 · q kᵀ) v beside an attention of the scale and values that `fused` names.
std::optional<std::string> probe_against(const std::string& scale, const std::string& value) {
  const std::string text = R"IR(
graph(%q : Tensor, %k : Tensor, %v : Tensor):
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %zero : float = prim::Constant[value=0.]()
  %half : float = prim::Constant[value=0.5]()
  %scale : float = prim::Constant[value=)IR" +
                           scale + R"IR(]()
  %all : int = prim::Constant[value=-1]()
  %window : int[] = prim::ListConstruct(%all, %all)
  %last : int = prim::Constant[value=-1]()
  %second : int = prim::Constant[value=-2]()
  %kt : Tensor = aten::transpose(%k, %second, %last)
  %products : Tensor = aten::matmul(%q, %kt)
  %scores : Tensor = aten::mul(%products, %half)
  %weights : Tensor = aten::softmax(%scores, %last, %none)
  %original : Tensor = aten::matmul(%weights, %v)
  %fused : Tensor = flashconvert::attention(%q, %k, %)IR" +
                           value + R"IR(, %none, %scale, %false, %window, %zero, %false, %false)
  return (%original, %fused))IR";
  auto graph = std::make_shared<torch::jit::Graph>();
  torch::jit::parseIR(text, graph.get());
  const auto inputs = graph->inputs();
  ProbeSite site;
  site.original = graph->outputs()[0];
  site.replacement = graph->outputs()[1];
  site.inputs = {{inputs[0], ProbeInput::Use::kQuery, {}, false, {}},
                 {inputs[1], ProbeInput::Use::kKey, {}, false, {}},
                 {inputs[2], ProbeInput::Use::kValue, {}, false, {}}};
  site.ranks = {4};
  site.value_dim = 8;
  return probe(site, MethodFacts(torch::jit::Module("Empty")));
}

}  // namespace

TEST_CASE("the probe accepts the same function", "[survey]") { CHECK_FALSE(probe_against("0.5", "v").has_value()); }

TEST_CASE("the probe catches another scale", "[survey]") {
  const auto reason = probe_against("0.25", "v");
  REQUIRE(reason.has_value());
  CHECK_THAT(*reason, Catch::Matchers::Contains("difference"));
}

TEST_CASE("the probe catches another operand", "[survey]") { CHECK(probe_against("0.5", "k").has_value()); }
