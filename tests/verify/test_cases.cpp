// make_cases: values that fit their use, sources in their order, derived shapes, and the messages when there is
// nothing.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>

#include "common/error.h"
#include "support/catch.h"
#include "verify/derive.h"
#include "verify/modules.h"
#include "verify/uses.h"
#include "verify/verify.h"

using namespace flashconvert;
using verify::testing::contains;
using verify::testing::meta;
using verify::testing::normal;
using verify::testing::scripted;
using verify::testing::traced;

namespace {

std::vector<verify::Case> cases_of(const checkpoint::Checkpoint& checkpoint, const verify::InputOptions& options = {}) {
  return verify::make_cases(checkpoint, options, {"cpu"});
}

verify::InputOptions specs(std::vector<std::string> texts) { return {std::nullopt, std::move(texts)}; }

at::Tensor argument(const verify::Case& test, std::size_t index) { return test.arguments.at(index).toTensor(); }

bool rows_have_both(const at::Tensor& mask) {
  const at::Tensor kept = mask != 0;
  return (kept.any(-1) & kept.logical_not().any(-1)).all().item<bool>();
}

std::string error_of(const checkpoint::Checkpoint& checkpoint, const verify::InputOptions& options = {}) {
  try {
    cases_of(checkpoint, options);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    return error.what();
  }
  FAIL("no error");
  return "";
}

// An encoder in small: word, position and type tables, a key padding mask, and a table of positions that ends.
constexpr const char* kEncoder =
    "def embed(self, ids, types):\n"
    "  return torch.embedding(self.words, ids) + torch.embedding(self.types, types)\n"
    "def forward(self, ids, attention_mask, types, positions):\n"
    "  x = self.embed(ids, types) + torch.embedding(self.places, positions)\n"
    "  bias = (1.0 - attention_mask[:, None, :].to(x.dtype)) * -10000.0\n"
    "  return torch.matmul(torch.softmax(torch.matmul(x, x.transpose(1, 2)) + bias, -1), x)\n";

torch::jit::Module encoder() {
  return scripted(kEncoder, {{"words", normal({50, 8})}, {"types", normal({2, 8})}, {"places", normal({12, 8})}});
}

checkpoint::Checkpoint traced_encoder() {
  const at::Tensor ids = meta({2, 12}, at::kLong);
  return traced(encoder(), {{"forward", {ids, ids, ids, meta({1, 12}, at::kLong)}}});
}

}  // namespace

TEST_CASE("the graph tells what inputs are used for", "[uses]") {
  const auto uses = verify::input_uses(encoder(), "forward");
  REQUIRE(uses.size() == 4);
  CHECK(uses[0].use == verify::Use::kIndex);
  CHECK(uses[0].rows == 50);
  CHECK(uses[1].use == verify::Use::kKeepMask);
  CHECK(uses[2].use == verify::Use::kIndex);
  CHECK(uses[2].rows == 2);
  CHECK(uses[3].use == verify::Use::kPosition);
  CHECK(uses[3].rows == 12);
}

TEST_CASE("uses are found through casts, sums, containers and branches", "[uses]") {
  const auto use_of = [](const std::string& source, const std::map<std::string, at::Tensor>& parameters = {}) {
    return verify::input_uses(scripted(source, parameters), "forward").at(0);
  };
  const std::map<std::string, at::Tensor> table{{"table", normal({10, 4})}};
  CHECK(use_of("def forward(self, x):\n  return torch.embedding(self.table, x.view([-1]).to(4) + 2)\n", table).rows ==
        8);
  CHECK(use_of("def forward(self, x: Tuple[Tensor, Tensor]):\n  return torch.embedding(self.table, x[0])\n", table)
            .rows == 10);
  CHECK(use_of("def forward(self, x, flag: bool):\n  if flag:\n    y = x\n  else:\n    y = x + 1\n"
               "  return torch.embedding(self.table, y)\n",
               table)
            .use == verify::Use::kIndex);
  CHECK(use_of("def forward(self, x):\n  return self.table[x]\n", table).rows == 10);
  CHECK(use_of("def forward(self, x):\n  return torch.gather(self.table, 1, x)\n", table).rows == 4);
  CHECK(use_of("def forward(self, x, y):\n  return y.masked_fill(x, -1e9)\n").use == verify::Use::kDropMask);
  CHECK(use_of("def forward(self, x, y):\n  return y.masked_fill(x == 0, -1e9)\n").use == verify::Use::kKeepMask);
  CHECK(use_of("def forward(self, x, y):\n  return torch.softmax(y + x.unsqueeze(1), -1)\n").use ==
        verify::Use::kAdditiveMask);
  CHECK(use_of("def forward(self, x, y):\n  return torch.arange(y.size(1))[None] < x[:, None]\n").use ==
        verify::Use::kLength);
  CHECK(use_of("def forward(self, x):\n  return x * 2\n").use == verify::Use::kPlain);
}

TEST_CASE("traced shapes are filled with values that fit their use", "[cases]") {
  const auto cases = cases_of(traced_encoder());
  REQUIRE_FALSE(cases.empty());
  const verify::Case& first = cases[0];
  CHECK(first.description == "int64[2, 12], int64[2, 12], int64[2, 12], int64[1, 12] (traced shape)");
  CHECK_FALSE(first.derived);
  CHECK(argument(first, 0).max().item<int>() > 2);
  CHECK(argument(first, 0).max().item<int>() < 50);
  CHECK(rows_have_both(argument(first, 1)));
  CHECK(argument(first, 1).select(1, 0).eq(1).all().item<bool>());
  CHECK(argument(first, 2).max().item<int>() == 1);
  CHECK(argument(first, 3).equal(at::arange(12).unsqueeze(0)));

  const auto again = cases_of(traced_encoder());
  for (std::size_t i = 0; i < 4; ++i) CHECK(argument(first, i).equal(argument(again[0], i)));
}

TEST_CASE("boolean and floating masks", "[cases]") {
  const auto model = scripted(
      "def forward(self, x, drop, bias):\n"
      "  return torch.softmax(x.masked_fill(drop, -1e9) + bias, -1)\n");
  const auto cases =
      cases_of(traced(model, {{"forward", {meta({3, 5, 8}), meta({3, 1, 8}, at::kBool), meta({5, 8})}}}));
  CHECK(rows_have_both(argument(cases[0], 1)));
  const at::Tensor bias = argument(cases[0], 2);
  CHECK((bias > -100).any(-1).all().item<bool>());
  CHECK(bias.min().item<double>() == -1e4);
}

TEST_CASE("other shapes are derived where the original takes them", "[cases]") {
  const auto cases = cases_of(traced_encoder());
  CHECK(cases.size() <= 5);
  bool other_batch = false;
  bool other_length = false;
  bool length_one = false;
  for (const verify::Case& test : cases) {
    if (!test.derived) continue;
    const at::Tensor ids = argument(test, 0);
    CHECK(argument(test, 1).sizes() == ids.sizes());
    CHECK(argument(test, 2).sizes() == ids.sizes());
    CHECK(argument(test, 3).size(1) == ids.size(1));
    other_batch |= ids.size(0) == 3;
    other_length |= ids.size(1) == 9;
    length_one |= ids.size(1) == 1;
  }
  CHECK(other_batch);
  CHECK(other_length);
  CHECK(length_one);
}

TEST_CASE("a fixed model gets no derived shape", "[cases]") {
  const auto model = scripted("def forward(self, x):\n  return x.view([2, 12])\n");
  CHECK(cases_of(traced(model, {{"forward", {meta({4, 6})}}})).size() == 1);
}

TEST_CASE("sizes that are equal are varied together", "[derive]") {
  const std::vector<c10::IValue> arguments{normal({2, 6}), c10::ivalue::Tuple::create({normal({2, 6, 6})})};
  const auto groups = verify::dimension_groups(arguments);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].size == 2);
  const auto longer = verify::resized(arguments, groups[1], 7);
  CHECK(longer[0].toTensor().sizes() == c10::IntArrayRef({2, 7}));
  const at::Tensor inner = longer[1].toTupleRef().elements()[0].toTensor();
  CHECK(inner.sizes() == c10::IntArrayRef({2, 7, 7}));
  CHECK(longer[0].toTensor().select(1, 6).equal(arguments[0].toTensor().select(1, 0)));
  for (const std::int64_t size : {1, 2, 3, 4, 5, 12, 77, 128, 224}) {
    CHECK(verify::odd_size(size) % 2 == 1);
    CHECK(verify::odd_size(size) != size);
    CHECK(verify::odd_size(size) > 1);
  }
}

TEST_CASE("arguments that a trace recorded in the caller's order are put right", "[cases]") {
  const auto cases = cases_of(
      traced(scripted("def forward(self, ids, x):\n  return torch.embedding(self.table, ids) * x[:, :, None]\n",
                      {{"table", normal({9, 4})}}),
             {{"forward", {meta({2, 3}), meta({2, 3}, at::kLong)}}}));
  CHECK(argument(cases[0], 0).scalar_type() == at::kLong);
  CHECK(argument(cases[0], 1).scalar_type() == at::kFloat);
}

TEST_CASE("a simpler draw is tried when the original rejects one or answers with NaN", "[cases]") {
  const auto positive = scripted("def forward(self, x):\n  return torch.log(x)\n");
  for (const verify::Case& test : cases_of(traced(positive, {{"forward", {meta({64})}}}))) {
    CHECK((argument(test, 0) > 0).all().item<bool>());
  }
  const auto rows = scripted("def forward(self, x):\n  return torch.ones([1, 4])[x * 1]\n");
  CHECK((argument(cases_of(traced(rows, {{"forward", {meta({3}, at::kLong)}}}))[0], 0) == 0).all().item<bool>());
}

TEST_CASE("every method with an example gets a case", "[cases]") {
  const auto model = scripted("def encode(self, x):\n  return x * 2\ndef decode(self, y):\n  return y + 1\n");
  const auto cases = cases_of(traced(model, {{"encode", {meta({4, 4})}}, {"decode", {meta({4})}}}));
  for (const std::string method : {"encode", "decode"}) {
    CHECK(std::any_of(cases.begin(), cases.end(),
                      [&](const auto& test) { return test.method == method && !test.derived; }));
    CHECK(std::any_of(cases.begin(), cases.end(),
                      [&](const auto& test) { return test.method == method && test.derived; }));
  }
}

TEST_CASE("specs are matched by name, else by position, and drawn by use", "[cases]") {
  const auto checkpoint = traced(encoder(), {});
  const auto cases =
      cases_of(checkpoint, specs({"int64[2,7]", "positions:int64[1,7]", "int64[2,7]{1}", "types:int64[2,7]"}));
  CHECK(argument(cases[0], 0).max().item<int>() < 50);
  CHECK(argument(cases[0], 1).eq(1).all().item<bool>());
  CHECK(argument(cases[0], 3).equal(at::arange(7).unsqueeze(0)));
  CHECK(contains(cases[0].description, "(--input-spec)"));
}

TEST_CASE("specs go before what the checkpoint carries", "[cases]") {
  const auto model = scripted("def forward(self, x):\n  return x\n");
  CHECK(argument(cases_of(traced(model, {{"forward", {meta({4})}}}), specs({"float32[9]"}))[0], 0).size(0) == 9);
}

TEST_CASE("wrong specs name the argument, what it takes and what was given", "[cases]") {
  const auto checkpoint = traced(encoder(), {});
  const std::string unknown = error_of(checkpoint, specs({"word_ids:int64[2,7]"}));
  CHECK(contains(unknown, "no argument named 'word_ids' in forward(Tensor ids, Tensor attention_mask"));
  CHECK(contains(unknown, "\n  word_ids:int64[2,7]\n  ^"));
  CHECK(contains(error_of(checkpoint, specs({"int64[2,7]"})), "argument 2 (`attention_mask`) is missing"));
  CHECK(contains(error_of(checkpoint, specs({"5"})), "argument 1 (`ids`) takes Tensor, given is 5"));
  CHECK(contains(error_of(checkpoint, specs({"int64[2]", "ids:int64[2]"})), "argument 1 (`ids`) is given twice"));
  CHECK(contains(error_of(checkpoint, specs({"int64[1]", "int64[1]", "int64[1]", "int64[1]", "int64[1]"})),
                 "5 arguments are given, `forward` takes 4"));
  CHECK(contains(error_of(checkpoint, specs({"float32[2,7]", "int64[2,7]", "int64[2,7]", "int64[1,7]"})),
                 "argument 1 (`ids`) selects rows of a table and must be int64, given is float32[2, 7]"));
  CHECK(contains(error_of(checkpoint, specs({"int64[2,7]{0..99}", "int64[2,7]", "int64[2,7]", "int64[1,7]"})),
                 "selects rows of a table that has 50, given are values from"));
}

TEST_CASE("optional, list, tuple and number arguments", "[cases]") {
  const auto model = scripted(
      "def forward(self, x: List[Tensor], y: Optional[Tensor], pair: Tuple[Tensor, int], scale: float = 2.0):\n"
      "  z = x[0] * scale + pair[0] * pair[1]\n"
      "  if y is not None:\n    z = z + y\n  return z\n");
  const auto cases =
      cases_of(traced(model, {}), specs({"[float32[3], float32[3]]", "none", "(float32[3], 4)", "scale:3"}));
  CHECK(cases[0].arguments[3].toDouble() == 3.0);
  CHECK(cases[0].description == "[float32[3], float32[3]], none, (float32[3], 4), 3 (--input-spec)");
  CHECK(verify::compare_modules(const_cast<torch::jit::Module&>(model), const_cast<torch::jit::Module&>(model), cases,
                                {"cpu"})
            .passed);
}

TEST_CASE("with nothing to draw from, the message says what to give", "[cases]") {
  const std::string message = error_of(traced(encoder(), {}));
  CHECK(contains(message, "carries neither bundled inputs nor the example inputs of a trace"));
  CHECK(contains(message, "--input-spec \"ids:int64[…]{0..49}\""));
  CHECK(contains(message, "forward(Tensor ids, Tensor attention_mask, Tensor types, Tensor positions)"));
}

TEST_CASE("a method without arguments needs no example", "[cases]") {
  const auto cases = cases_of(traced(scripted("def forward(self):\n  return torch.ones([2])\n"), {}));
  REQUIRE(cases.size() == 1);
  CHECK(cases[0].description == "no arguments (defaults)");
}

TEST_CASE("bundled inputs are used as they are", "[cases]") {
  const auto model = scripted(
      "def forward(self, x):\n  return x\n"
      "def get_all_bundled_inputs(self):\n  return [(torch.ones([3]),), (torch.zeros([5]),)]\n");
  const auto cases = cases_of(traced(model, {{"forward", {meta({4})}}}));
  CHECK(argument(cases[0], 0).equal(at::ones({3})));
  CHECK(argument(cases[1], 0).equal(at::zeros({5})));
  CHECK(contains(cases[1].description, "(bundled input 2)"));
}

TEST_CASE("a shape that the original rejects is explained by what it was traced with", "[cases]") {
  const auto model = scripted("def forward(self, x):\n  return x.view([2, 12])\n");
  const std::string message = error_of(traced(model, {{"forward", {meta({4, 6})}}}), specs({"float32[5,5]"}));
  CHECK(contains(message, "argument 1 (`x`) is float32[5, 5], the checkpoint was traced with float32[4, 6]"));
  CHECK(contains(message, "torch says: shape '[2, 12]' is invalid for input of size 25"));
}
