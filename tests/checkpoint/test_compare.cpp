// The reload check must be able to fail: every kind of difference between two modules is found, and by its path.
#include "checkpoint/compare.h"

#include <limits>

#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

std::string difference(const torch::jit::Module& first, const torch::jit::Module& second) {
  return find_difference(first, second).value_or("");
}

// A pair of modules that differ in what `change` does to one of them.
template <typename Change>
std::string difference_after(Change change) {
  at::NoGradGuard no_grad;
  const torch::jit::Module original = make_linear();
  torch::jit::Module changed = make_linear();
  change(changed);
  return difference(original, changed);
}

TEST_CASE("two modules that were made alike are the same") { CHECK(difference(make_linear(), make_linear()).empty()); }

TEST_CASE("a difference of one value, dtype, shape, layout or flag is found") {
  using Module = torch::jit::Module;
  CHECK(contains(difference_after([](Module& m) { m.attr("weight").toTensor()[3][5] += 1e-6; }), "weight"));
  CHECK(contains(difference_after([](Module& m) { m.setattr("bias", at::zeros({8}, at::kHalf)); }), "dtype"));
  CHECK(contains(difference_after([](Module& m) { m.setattr("bias", at::zeros({9})); }), "shape"));
  CHECK(contains(difference_after([](Module& m) {
                   m.setattr("weight", m.attr("weight").toTensor().t().contiguous().t().requires_grad_());
                 }),
                 "strides"));
  CHECK(contains(difference_after([](Module& m) { m.attr("bias").toTensor().set_requires_grad(false); }),
                 "requires_grad"));
  CHECK(contains(difference_after([](Module& m) { m.train(); }), "training"));
  CHECK(contains(difference_after([](Module& m) { m.register_attribute("more", c10::IntType::get(), 1); }),
                 "attributes"));
  CHECK(contains(difference_after([](Module& m) { m.define("def more(self): return 1\n"); }), "methods"));
}

TEST_CASE("a method that takes something else is found") {
  const auto with_forward = [](const std::string& code) {
    torch::jit::Module module("__torch__.Model");
    module.define(code + "\n");
    return module;
  };
  const auto original = with_forward("def forward(self, x: Tensor, scale: float = 2.0): return x * scale");
  CHECK(
      difference(original, with_forward("def forward(self, x: Tensor, scale: float = 2.0): return x * scale")).empty());
  for (const char* other : {"def forward(self, x: Tensor, scale: float = 3.0): return x * scale",
                            "def forward(self, x: Tensor, scale: float): return x * scale",
                            "def forward(self, y: Tensor, scale: float = 2.0): return y * scale",
                            "def forward(self, x: Tensor, scale: int = 2): return x * scale",
                            "def forward(self, x: Tensor, scale: float = 2.0): return [x * scale]",
                            "def backward(self, x: Tensor, scale: float = 2.0): return x * scale"}) {
    INFO(other);
    CHECK_FALSE(difference(original, with_forward(other)).empty());
  }
}

TEST_CASE("sharing counts: the same values in other memory are a difference") {
  const auto make = [](bool share) {
    torch::jit::Module module("__torch__.Model");
    const at::Tensor weight = at::ones({4});
    module.register_parameter("a", weight, false);
    module.register_parameter("b", share ? weight : at::ones({4}), false);
    return module;
  };
  CHECK(difference(make(true), make(true)).empty());
  CHECK(difference(make(false), make(false)).empty());
  CHECK(contains(difference(make(true), make(false)), "shares its memory"));
  CHECK(contains(difference(make(false), make(true)), "shares its memory"));
}

TEST_CASE("NaN is the same as NaN, and 0 is not -0") {
  const auto make = [](double value) {
    torch::jit::Module module("__torch__.Model");
    module.register_attribute("value", c10::FloatType::get(), value);
    module.register_buffer("tensor", at::full({2}, value));
    return module;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(difference(make(nan), make(nan)).empty());
  CHECK_FALSE(difference(make(0.0), make(-0.0)).empty());
  CHECK_FALSE(difference(make(nan), make(1.0)).empty());
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
