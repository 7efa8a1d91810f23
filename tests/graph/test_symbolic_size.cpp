// Symbolic sizes: equal where two sizes must be equal, and never where they need not be.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <string>

#include "graph/graph_facts.h"
#include "support/catch.h"

namespace {

using flashconvert::GraphFacts;
using flashconvert::SymbolicSize;

torch::jit::Module module_with_weight(const std::string& body) {
  torch::jit::Module module("Model");
  module.register_buffer("weight", at::ones({32, 32}));
  module.define("def forward(self, x: Tensor, y: Tensor):\n" + body);
  return module;
}

// The size of the dimension of each element of the tuple that `body` returns.
std::vector<SymbolicSize> sizes_of(const std::string& body, std::int64_t dim) {
  const auto module = module_with_weight(body);
  const auto graph = module.get_method("forward").graph();
  const GraphFacts facts(module);
  static std::vector<torch::jit::Module> kept;  // symbols are values of their graphs
  kept.push_back(module);
  std::vector<SymbolicSize> sizes;
  for (torch::jit::Value* result : graph->outputs()[0]->node()->inputs()) sizes.push_back(facts.size(result, dim));
  return sizes;
}

}  // namespace

TEST_CASE("the length of heads, given, inferred or asked of a projection", "[graph]") {
  const auto sizes = sizes_of(
      "  b, n, c = x.size()\n"
      "  p = torch.linear(x, self.weight)\n"
      "  given = p.view([b, n, 4, 8]).transpose(1, 2)\n"
      "  inferred = torch.linear(x, self.weight).view([x.size(0), -1, 4, 8]).permute([0, 2, 1, 3])\n"
      "  scaled = p.view([b, n, 4, 8]).transpose(1, 2) * 0.5\n"
      "  other = torch.linear(y, self.weight).view([y.size(0), -1, 4, 8]).transpose(1, 2)\n"
      "  unknown = p.view([b, -1, 2, 8]).transpose(1, 2)\n"
      "  return given, inferred, scaled, other, unknown\n",
      -2);
  REQUIRE(sizes.size() == 5);
  CHECK(sizes[1] == sizes[0]);
  CHECK(sizes[2] == sizes[0]);
  CHECK(sizes[3] != sizes[0]);
  CHECK(sizes[4] != sizes[0]);
}

TEST_CASE("parts of a split along the last dimension, of which each is asked for its length", "[graph]") {
  const auto sizes_of_parts = [](const std::string& split) {
    return sizes_of(
        "  q, k = " + split +
            "\n"
            "  q = q.reshape([q.size(0), q.size(1), 4, -1])\n  k = k.reshape([k.size(0), k.size(1), 4, -1])\n"
            "  return q, k\n",
        -3);
  };
  for (const char* equal :
       {"torch.linear(x, self.weight).chunk(2, -1)", "torch.linear(x, self.weight).split(16, -1)"}) {
    const auto sizes = sizes_of_parts(equal);
    CHECK(sizes[0] == sizes[1]);
  }
  // With two dimensions, the second one could be the last, and the parts of other sizes.
  for (const char* unequal : {"x.chunk(2, -1)", "torch.linear(x, self.weight).split([20, 12], -1)",
                              "torch.linear(x, self.weight).split(20, -1)"}) {
    const auto sizes = sizes_of_parts(unequal);
    CHECK(sizes[0] != sizes[1]);
  }
}

TEST_CASE("projections, of which each is asked for its length", "[graph]") {
  const auto sizes_of_projections = [](const std::string& other) {
    return sizes_of(
        "  q = torch.linear(x, self.weight)\n  k = " + other +
            "\n"
            "  q = q.reshape([q.size(0), q.size(1), 4, -1])\n  k = k.reshape([k.size(0), k.size(1), 4, -1])\n"
            "  return q, k\n",
        -3);
  };
  const auto same = sizes_of_projections("torch.linear(x, self.weight)");
  CHECK(same[0] == same[1]);
  for (const char* other : {"torch.linear(y, self.weight)", "torch.linear(x, self.weight[:16])"}) {
    const auto sizes = sizes_of_projections(other);
    CHECK(sizes[0] != sizes[1]);
  }
}

TEST_CASE("the two lengths of a product", "[graph]") {
  const auto rows = sizes_of("  s = torch.matmul(x, y.transpose(-2, -1))\n  return s, x, y\n", -2);
  CHECK(rows[0] == rows[1]);
  CHECK(rows[0] != rows[2]);
  const auto columns = sizes_of("  return torch.matmul(x, y.transpose(-2, -1)), y.transpose(-2, -1)\n", -1);
  CHECK(columns[0] == columns[1]);
}

TEST_CASE("constants and arithmetic", "[graph]") {
  const auto sizes = sizes_of(
      "  n = x.size(1)\n"
      "  a = x.view([n * 2, 3, n + 4])\n  b = y.view([2 * x.size(1), 3, 4 + n])\n  c = y.view([n * 2, 3, n - 4])\n"
      "  return a, b, c\n",
      -1);
  CHECK(sizes[0] == sizes[1]);
  CHECK(sizes[0] != sizes[2]);
  CHECK(sizes_of("  return x.view([2, 3, 4]), y\n", -2)[0] == SymbolicSize(3));
}
