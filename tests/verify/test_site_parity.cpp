// The comparison of sites: both forms on the operands that a site gets, whatever went wrong before it.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include "support/catch.h"
#include "verify/modules.h"
#include "verify/site_calls.h"
#include "verify/verify.h"

using namespace flashconvert;
using verify::testing::normal;
using verify::testing::one_case;
using verify::testing::scripted;

namespace {

torch::jit::Node* node_of(torch::jit::Graph& graph, c10::Symbol kind) {
  for (torch::jit::Node* node : graph.nodes()) {
    if (node->kind() == kind) return node;
  }
  FAIL("no such node");
  return nullptr;
}

// Makes the method show the results of two of its operators as the two forms of a site.
void show(const torch::jit::Module& module, const std::string& name, c10::Symbol original, c10::Symbol converted) {
  const auto graph = module.get_method("forward").graph();
  verify::show_site(graph->inputs()[0], name, node_of(*graph, original)->output(),
                    node_of(*graph, converted)->output());
}

std::vector<report::SiteParity> compare(const torch::jit::Module& original, const torch::jit::Module& showing,
                                        const std::vector<verify::ShownSite>& sites,
                                        const std::vector<verify::Case>& cases) {
  return verify::Verifier(original, cases, {"cpu"}).compare_sites(showing, sites);
}

// A softmax, and the same by hand (`factor` is 1 where it is right), which feeds nothing.
std::string two_forms(const std::string& factor) {
  return "def forward(self, x):\n"
         "  y = torch.exp(x)\n"
         "  by_hand = torch.div(y, torch.mul(y.sum(-1, True), " +
         factor +
         "))\n"
         "  return torch.relu(torch.softmax(x, -1)) + by_hand * 0\n";
}

}  // namespace

TEST_CASE("a site that computes the same passes, with the figures of an output", "[sites]") {
  const auto original = scripted(two_forms("1.0"));
  const auto showing = scripted(two_forms("1.0"));
  show(showing, "site", c10::aten::softmax, c10::aten::div);
  const auto sites = compare(original, showing, {{"", "forward", showing, "site"}}, {one_case({normal({3, 8})})});
  REQUIRE(sites.size() == 1);
  CHECK(sites[0].path.empty());
  CHECK(sites[0].method == "forward");
  CHECK(sites[0].inputs == "test");
  CHECK(sites[0].figures.passed);
  CHECK(sites[0].figures.shape == std::vector<std::int64_t>{3, 8});
  CHECK(sites[0].figures.dtype == "float32");
  CHECK(sites[0].figures.error_original > 0);
  CHECK(sites[0].figures.error_original < 1e-6);
  CHECK(sites[0].figures.error_converted <= sites[0].figures.allowed);
}

TEST_CASE("a wrong site fails though no output shows it, and names the worst case", "[sites]") {
  const auto original = scripted(two_forms("1.01"));
  const auto showing = scripted(two_forms("1.01"));
  show(showing, "site", c10::aten::softmax, c10::aten::div);
  const auto sites = compare(original, showing, {{"layer", "forward", showing, "site"}},
                             {one_case({normal({2, 4})}, "first"), one_case({normal({2, 4}, 1)}, "second")});
  REQUIRE(sites.size() == 1);
  CHECK_FALSE(sites[0].figures.passed);
  CHECK(sites[0].figures.error_converted > 5e-3);
  CHECK(sites[0].figures.needed_tolerance > 5e-3);
  CHECK((sites[0].inputs == "first" || sites[0].inputs == "second"));
}

TEST_CASE("the module goes on with the original form", "[sites]") {
  const auto original = scripted(two_forms("1.01"));
  auto showing = scripted(two_forms("1.01"));
  show(showing, "site", c10::aten::softmax, c10::aten::div);
  const at::Tensor x = normal({3, 8});
  int calls = 0;
  const verify::SiteWatch watch([&](const verify::SiteCall& call) {
    ++calls;
    CHECK(call.module == showing._ivalue().get());
    CHECK(call.name == "site");
    CHECK_FALSE(at::allclose(call.original, call.converted));
  });
  CHECK(at::allclose(showing.forward({x}).toTensor(), at::softmax(x, -1)));
  CHECK(calls == 1);
}

TEST_CASE("instances of one type are told apart, and a site that does not run has no entry", "[sites]") {
  torch::jit::Module leaf("leaf");
  leaf.register_attribute("factor", c10::FloatType::get(), 1.0);
  leaf.define(two_forms("self.factor"));
  leaf.eval();
  torch::jit::Module other = leaf.deepcopy();
  REQUIRE(other.type() == leaf.type());
  other.setattr("factor", 1.5);
  torch::jit::Module root("root");
  root.register_module("good", leaf);
  root.register_module("bad", other);
  root.define("def forward(self, x):\n  return self.bad.forward(self.good.forward(x))\n");
  root.eval();
  show(leaf, "site", c10::aten::softmax, c10::aten::div);
  const auto sites = compare(
      root, root,
      {{"good", "forward", leaf, "site"}, {"bad", "forward", other, "site"}, {"never", "forward", root, "site"}},
      {one_case({normal({3, 8})})});
  REQUIRE(sites.size() == 2);
  CHECK(sites[0].path == "good");
  CHECK(sites[0].figures.passed);
  CHECK(sites[1].path == "bad");
  CHECK_FALSE(sites[1].figures.passed);
}
