// Which tensors are known to be of floating point.
#include "graph/dtypes.h"

#include <string>

#include "support/catch.h"

namespace {

using torch::jit::Module;

// Of the result of a method's body over x, an input of any dtype; `weight` and `table` (integers) are stored.
bool is_known_floating(const std::string& body) {
  Module module("Module");
  module.register_parameter("weight", at::ones({4, 4}), /*is_buffer=*/false);
  module.register_buffer("table", at::ones({4, 4}, at::kLong));
  module.define("def forward(self, x: Tensor):\n  return " + body + "\n");
  const auto graph = module.get_method("forward").graph();
  return flashconvert::is_known_floating(graph->outputs()[0], flashconvert::GraphFacts(module));
}

}  // namespace

TEST_CASE("what is cast, made or stored with a floating dtype is floating", "[graph]") {
  for (const char* body :
       {"x.to(6)", "torch.zeros([2, 2])", "torch.zeros_like(x, dtype=6)", "self.weight", "torch.linear(x, self.weight)",
        "torch.softmax(x, -1)", "torch.matmul(self.weight, x)", "x.masked_fill(x > 0, 1).to(6)", "x + self.weight",
        "self.weight.masked_fill(self.table > 0, -1e9).transpose(0, 1)"}) {
    INFO(body);
    CHECK(is_known_floating(body));
  }
}

TEST_CASE("what may be integers or booleans is not known to be floating", "[graph]") {
  for (const char* body :
       {"x", "x > 0", "self.table", "self.table.masked_fill(self.table > 0, -1e9)", "torch.zeros([2, 2], dtype=4)",
        "torch.zeros([2, 2], dtype=x.dtype)", "torch.zeros_like(self.weight, dtype=x.dtype)",
        "torch.matmul(self.table, self.table)", "torch.einsum(\"ij,jk->ik\", [x, x])", "x.to(self.table.dtype)"}) {
    INFO(body);
    CHECK_FALSE(is_known_floating(body));
  }
}
