// Types of module instances: one instance is parted from its siblings and nobody else notices.
#include "graph/module_types.h"

#include <torch/csrc/jit/api/module.h>

#include "graph/method_graph.h"
#include "support/catch.h"

using flashconvert::drop_compiled_code;
using flashconvert::specialise_type;
using torch::jit::Module;

namespace {

// root.{a, b, again} -> leaf, where `again` is `a` itself and a and b share one type; each leaf holds a number.
Module family() {
  const auto unit = std::make_shared<torch::jit::CompilationUnit>();
  Module leaf_type("Leaf", unit);
  leaf_type.register_attribute("number", c10::IntType::get(), 1);
  leaf_type.define("def forward(self) -> int:\n    return self.number\n");
  const Module other(unit, leaf_type.type());
  Module a = leaf_type, b = other;
  b.setattr("number", 2);
  Module root("Root", unit);
  root.register_module("a", a);
  root.register_module("b", b);
  root.register_module("again", a);
  root.define(
      "def forward(self) -> int:\n    return 100 * self.a.forward() + 10 * self.b.forward() + self.again.forward()\n");
  return root;
}

}  // namespace

TEST_CASE("an instance gets a type of its own, under every name that it has") {
  Module root = family();
  REQUIRE(root.attr("a").toModule().type() == root.attr("b").toModule().type());
  const Module a = specialise_type(root, "a");
  drop_compiled_code(root);
  CHECK(a.type() != root.attr("b").toModule().type());
  CHECK(root.attr("a").toObject() == a._ivalue());
  CHECK(root.attr("again").toObject() == a._ivalue());
  CHECK(root.forward({}).toInt() == 121);

  a.type()->addAttribute("extra", c10::IntType::get());
  CHECK_FALSE(root.attr("b").toModule().type()->hasAttribute("extra"));
}

TEST_CASE("the only instance of a type keeps it") {
  Module root = family();
  specialise_type(root, "a");
  const auto type = root.attr("b").toModule().type();
  CHECK(specialise_type(root, "b").type() == type);
}
