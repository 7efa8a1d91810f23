// The last check of a fused module, which must be able to fail: for graphs that it knows, too.
#include "rewrite/outline/region_check.h"

#include <optional>
#include <string>
#include <variant>

#include "graph/same_graph.h"
#include "rewrite/accept.h"
#include "rewrite/attention_support.h"
#include "rewrite/outline/fused_module.h"
#include "rewrite/outline/fused_spec.h"
#include "rewrite/outline/region.h"
#include "support/catch.h"

using namespace flashconvert;
using namespace flashconvert::test;

namespace {

// Two modules of one class (but for mangling) and one code, with weights of their own.
Module twins() {
  Module both = empty_module("Twins");
  for (const char* name : {"first", "second"}) {
    Module module = empty_module("SelfAttention");
    for (const char* layer : {"query", "key", "value"}) module.register_module(layer, linear_module(12, 8));
    module.define(R"(
def forward(self, x):
  batch, length = torch.size(x, 0), torch.size(x, 1)
  q = torch.transpose(torch.view(self.query.forward(x), [batch, length, 2, 4]), 1, 2)
  k = torch.transpose(torch.view(self.key.forward(x), [batch, length, 2, 4]), 1, 2)
  v = torch.transpose(torch.view(self.value.forward(x), [batch, length, 2, 4]), 1, 2)
  weights = torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1)
  return torch.view(torch.contiguous(torch.transpose(torch.matmul(weights, v), 1, 2)), [batch, length, 8])
)");
    both.register_module(name, module);
  }
  both.define("def forward(self, x):\n  return self.first.forward(x) + self.second.forward(x)\n");
  return reloaded(both);
}

// A module's attention at core depth, the region around it, and what shall take its place.
struct Subject {
  Module module;
  survey::MethodSurvey method;
  rewrite::FusedRegion region = {};
  Module fused;

  Subject(const Module& self, rewrite::FusedModuleFactory& factory)
      : module(self), method(survey_method(self, "", 0.5, survey::Backend::kPortable)) {
    rewrite::accept_proposals(method);
    auto found = rewrite::find_region(find_node(*method.graph, "aten::scaled_dot_product_attention"), module);
    REQUIRE(std::holds_alternative<rewrite::FusedRegion>(found));
    region = std::get<rewrite::FusedRegion>(std::move(found));
    fused = factory.make(rewrite::make_spec(region, /*pack=*/true).value(), module);
  }
};

}  // namespace

TEST_CASE("a fused module with other weights is found out, whether its form was checked before or not") {
  const Module both = twins();
  rewrite::FusedModuleFactory factory(both._ivalue()->compilation_unit());
  Subject first(both.attr("first").toModule(), factory);
  Subject second(both.attr("second").toModule(), factory);
  REQUIRE(first.module.type() != second.module.type());

  rewrite::RegionCheck fresh;
  CHECK(fresh.against_region(second.region, second.module, first.fused).value_or("") == "the results differ");
  rewrite::RegionCheck check;
  CHECK(check.against_region(first.region, first.module, first.fused).value_or("") == "");
  CHECK(check.against_region(second.region, second.module, second.fused).value_or("") == "");
  CHECK(check.against_region(second.region, second.module, first.fused).value_or("") == "the results differ");
}

TEST_CASE("graphs are the same in any class, and not with another number in them") {
  const Module both = twins();
  torch::jit::Graph& first = *both.attr("first").toModule().get_method("forward").graph();
  torch::jit::Graph& second = *both.attr("second").toModule().get_method("forward").graph();
  CHECK_FALSE(same_graph(first, second));
  CHECK(same_graph_in_any_class(first, second));
  const auto changed = second.copy();
  for (torch::jit::Node* node : changed->nodes()) {
    if (torch::jit::toIValue(node->output()) == c10::IValue(0.5)) node->f_(c10::attr::value, 0.25);
  }
  CHECK_FALSE(same_graph_in_any_class(first, *changed));
}
