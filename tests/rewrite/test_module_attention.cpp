// Module depth: projections and attention become a FusedAttention submodule, or the site stays at core depth.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/python_print.h>

#include "rewrite/attention_support.h"
#include "rewrite/rewrite.h"
#include "support/catch.h"

using namespace flashconvert;
using namespace flashconvert::test;

namespace {

constexpr double kScale = 0.5;  // heads of 4 features

// Self-attention with three layers and an output layer, as BERT has it; `forward` is given.
Module attention_module(const std::string& forward, bool with_output = true,
                        const std::string& name = "SelfAttention") {
  Module module = empty_module(name);
  module.register_module("query", linear_module(12, 8));
  module.register_module("key", linear_module(12, 8));
  module.register_module("value", linear_module(12, 8));
  if (with_output) module.register_module("dense", linear_module(8, 12));
  module.define(forward);
  return reloaded(module);
}

const char* const kBatchFirst = R"(
def forward(self, x, mask: Optional[Tensor] = None):
  batch, length = torch.size(x, 0), torch.size(x, 1)
  q = torch.transpose(torch.view(self.query.forward(x), [batch, length, 2, 4]), 1, 2)
  k = torch.permute(torch.view(self.key.forward(x), [batch, length, 2, 4]), [0, 2, 1, 3])
  v = torch.transpose(torch.view(self.value.forward(x), [batch, -1, 2, 4]), 1, 2)
  weights = torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1)
  context = torch.contiguous(torch.permute(torch.matmul(weights, v), [0, 2, 1, 3]))
  merged = torch.view(context, [torch.size(context, 0), torch.size(context, 1), 8])
  return self.dense.forward(merged) + x
)";

rewrite::RewriteResult convert(Module& module, survey::Backend backend = survey::Backend::kPortable, bool pack = true,
                               std::size_t sites = 1) {
  rewrite::RewriteOptions options;
  options.pack = pack;
  survey::Survey survey;
  survey.methods.push_back(survey_method(module, "", kScale, backend, "forward", sites));
  return rewrite::rewrite_attention(module, std::move(survey), {}, options);
}

survey::Site site_of(const rewrite::RewriteResult& result) { return result.survey.methods.at(0).sites.at(0); }

// The module computes what it did, at other shapes and dtypes too, here and after a save and a load.
void check_same_function(const Module& before, const Module& after, const std::vector<c10::IValue>& inputs) {
  Module original = before;
  for (Module converted : {after, reloaded(after)}) {
    CHECK(at::allclose(run(converted, inputs), run(original, inputs), 1e-5, 1e-6));
  }
}

std::vector<std::string> parameter_names(const Module& module) {
  std::vector<std::string> names;
  for (const auto& parameter : module.named_parameters()) names.push_back(parameter.name);
  return names;
}

// `.code`, as Python shows it.
std::string printed_code(const Module& module) {
  std::vector<c10::IValue> constants;
  torch::jit::PrintDepsTable dependencies;
  torch::jit::PythonPrint printer(constants, dependencies);
  printer.printMethod(module.get_method("forward").function());
  return printer.str();
}

Module copy_of(const Module& module) { return reloaded(module); }

}  // namespace

TEST_CASE("three layers and an output layer become a packed FusedAttention") {
  const Module original = attention_module(kBatchFirst);
  for (const auto backend : {survey::Backend::kFlash, survey::Backend::kPortable}) {
    Module module = copy_of(original);
    const auto result = convert(module, backend);
    REQUIRE(result.survey.methods.at(0).sites.size() == 1);
    CHECK(site_of(result).is_outlined);
    CHECK(site_of(result).is_packed);
    CHECK(parameter_names(module) == std::vector<std::string>{"attention.in_proj_weight", "attention.in_proj_bias",
                                                              "attention.out_proj_weight", "attention.out_proj_bias"});
    CHECK_FALSE(module.hasattr("query"));
    REQUIRE(result.renamed.size() == 4);
    CHECK(result.renamed[0].from == std::vector<std::string>{"query.weight", "key.weight", "value.weight"});
    CHECK(result.renamed[0].to == "attention.in_proj_weight");
    CHECK(result.renamed[3].from == std::vector<std::string>{"dense.bias"});
    CHECK(result.renamed[3].to == "attention.out_proj_bias");

    const Module fused = module.attr("attention").toModule();
    CHECK(fused.type()->name()->qualifiedName() == "__torch__.flashconvert.FusedAttention");
    CHECK(fused.attr("num_heads").toInt() == 2);
    CHECK(fused.attr("head_dim").toInt() == 4);
    CHECK(fused.attr("scale").toDouble() == kScale);
    CHECK_FALSE(fused.is_training());
    for (const auto& shape : {std::vector<int64_t>{2, 5, 12}, {1, 1, 12}, {3, 9, 12}}) {
      check_same_function(original, module, {at::randn(shape)});
    }
    CHECK(run(module, {at::randn({0, 5, 12})}).sizes() == std::vector<int64_t>{0, 5, 12});
  }
}

TEST_CASE("a converted module works in other dtypes and frozen") {
  const Module original = attention_module(kBatchFirst);
  Module module = copy_of(original);
  convert(module);
  const auto x = at::randn({2, 5, 12});
  Module wide = copy_of(module);
  wide.to(at::kDouble);
  Module reference = copy_of(original);
  reference.to(at::kDouble);
  CHECK(at::allclose(run(wide, {x.to(at::kDouble)}), run(reference, {x.to(at::kDouble)}), 1e-12, 1e-12));
  Module narrow = copy_of(module);
  narrow.to(at::kBFloat16);
  CHECK(run(narrow, {x.to(at::kBFloat16)}).scalar_type() == at::kBFloat16);
  Module frozen = torch::jit::freeze(copy_of(module));
  Module expected = copy_of(original);
  CHECK(at::allclose(run(frozen, {x}), run(expected, {x}), 1e-5, 1e-6));
  Module optimized = copy_of(module);
  optimized = torch::jit::optimize_for_inference(optimized);
  CHECK(at::allclose(run(optimized, {x}), run(expected, {x}), 1e-5, 1e-6));
}

TEST_CASE("without packing the projections stay the same tensors") {
  Module module = attention_module(kBatchFirst);
  const Module original = copy_of(module);
  const auto weight = module.attr("query").toModule().attr("weight").toTensor();
  const auto result = convert(module, survey::Backend::kPortable, /*pack=*/false);
  CHECK(site_of(result).is_outlined);
  CHECK_FALSE(site_of(result).is_packed);
  const Module fused = module.attr("attention").toModule();
  CHECK(fused.attr("q_proj_weight").toTensor().is_same(weight));
  CHECK(fused.hasattr("k_proj_bias"));
  check_same_function(original, module, {at::randn({2, 5, 12})});
}

TEST_CASE("a packed layer that is split keeps its weight") {
  Module module = empty_module("Packed");
  module.register_module("qkv", linear_module(12, 24));
  module.define(R"(
def forward(self, x):
  qkv = torch.permute(torch.reshape(self.qkv.forward(x), [torch.size(x, 0), torch.size(x, 1), 3, 2, 4]), [2, 0, 3, 1, 4])
  q, k, v = torch.unbind(qkv, 0)
  context = torch.matmul(torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1), v)
  return torch.flatten(torch.transpose(context, 1, 2), 2) * 2
)");
  module = reloaded(module);
  const Module original = copy_of(module);
  const auto weight = module.attr("qkv").toModule().attr("weight").toTensor();
  const auto result = convert(module);
  CHECK(site_of(result).is_outlined);
  CHECK_FALSE(site_of(result).is_packed);  // it was packed before
  CHECK(module.attr("attention").toModule().attr("in_proj_weight").toTensor().is_same(weight));
  check_same_function(original, module, {at::randn({2, 5, 12})});
}

TEST_CASE("heads that are interleaved in a packed weight are sorted") {
  Module module = empty_module("Interleaved");
  module.register_module("qkv", linear_module(12, 24));
  module.define(R"(
def forward(self, x):
  heads = torch.view(self.qkv.forward(x), [torch.size(x, 0), torch.size(x, 1), 2, 12])
  q, k, v = torch.chunk(torch.transpose(heads, 1, 2), 3, -1)
  context = torch.matmul(torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1), v)
  return torch.flatten(torch.transpose(context, 1, 2), 2)
)");
  module = reloaded(module);
  const Module original = copy_of(module);
  CHECK(site_of(convert(module)).is_outlined);
  check_same_function(original, module, {at::randn({2, 5, 12})});
}

TEST_CASE("transposed weights as in Conv1D, split along the features") {
  Module conv = empty_module("Conv1D");
  conv.register_parameter("weight", at::randn({12, 24}) / 3, false);
  conv.register_parameter("bias", at::randn({24}), false);
  conv.define(R"(
def forward(self, x):
  flat = torch.view(x, [-1, torch.size(x, -1)])
  return torch.view(torch.addmm(self.bias, flat, self.weight), [torch.size(x, 0), torch.size(x, 1), 24])
)");
  Module module = empty_module("GPT2Attention");
  module.register_module("c_attn", conv);
  module.define(R"(
def forward(self, x):
  q, k, v = torch.split(self.c_attn.forward(x), 8, 2)
  shape = [torch.size(q, 0), torch.size(q, 1), -1, 4]
  q = torch.transpose(torch.view(q, shape), 1, 2)
  k = torch.transpose(torch.view(k, shape), 1, 2)
  v = torch.transpose(torch.view(v, shape), 1, 2)
  context = torch.matmul(torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1), v)
  return torch.reshape(torch.transpose(context, 1, 2), [torch.size(x, 0), -1, 8])
)");
  module = reloaded(module);
  const Module original = copy_of(module);
  CHECK(site_of(convert(module)).is_outlined);
  CHECK(module.attr("attention").toModule().attr("in_proj_weight").toTensor().sizes() == std::vector<int64_t>{24, 12});
  check_same_function(original, module, {at::randn({2, 5, 12})});
}

TEST_CASE("cross-attention that is length-first packs key and value, with sizes asked of the query") {
  Module module = empty_module("CrossAttention");
  module.register_parameter("in_proj_weight", at::randn({24, 8}) / 3, false);
  module.register_parameter("in_proj_bias", at::randn({24}), false);
  module.register_module("out_proj", linear_module(8, 8));
  module.define(R"(
def forward(self, query, memory, mask):
  length, batch = torch.size(query, 0), torch.size(query, 1)
  w_q, w_k, w_v = torch.chunk(self.in_proj_weight, 3)
  b_q, b_k, b_v = torch.chunk(self.in_proj_bias, 3)
  q = torch.transpose(torch.view(torch.linear(query, w_q, b_q), [length, batch * 2, 4]), 0, 1)
  k = torch.transpose(torch.view(torch.linear(memory, w_k, b_k), [torch.size(memory, 0), batch * 2, 4]), 0, 1)
  v = torch.transpose(torch.view(torch.linear(memory, w_v, b_v), [-1, batch * 2, 4]), 0, 1)
  q = torch.view(q, [batch, 2, length, 4])
  k = torch.view(k, [batch, 2, -1, 4])
  v = torch.view(v, [batch, 2, -1, 4])
  scores = torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5
  context = torch.matmul(torch.softmax(scores + mask, -1), v)
  merged = torch.view(torch.contiguous(torch.permute(context, [2, 0, 1, 3])), [length * batch, 8])
  result = torch.linear(merged, self.out_proj.weight, self.out_proj.bias)
  return torch.view(result, [length, batch, 8])
)");
  module = reloaded(module);
  const Module original = copy_of(module);
  const auto result = convert(module);
  CHECK(site_of(result).is_outlined);
  CHECK(site_of(result).is_packed);
  CHECK(parameter_names(module) == std::vector<std::string>{"attention.q_proj_weight", "attention.q_proj_bias",
                                                            "attention.kv_proj_weight", "attention.kv_proj_bias",
                                                            "attention.out_proj_weight", "attention.out_proj_bias"});
  check_same_function(original, module, {at::randn({3, 2, 8}), at::randn({5, 2, 8}), at::randn({2, 2, 3, 5})});
  check_same_function(original, module, {at::randn({1, 4, 8}), at::randn({7, 4, 8}), at::randn({1, 7})});
}

TEST_CASE("batch and heads in one dimension, as bmm takes them") {
  Module module = empty_module("JoinedHeads");
  for (const char* name : {"query", "key", "value"}) module.register_module(name, linear_module(12, 8));
  module.define(R"(
def forward(self, x, memory):
  length, batch = torch.size(x, 0), torch.size(x, 1)
  q = torch.transpose(torch.view(self.query.forward(x), [length, batch * 2, 4]), 0, 1)
  k = torch.transpose(torch.view(self.key.forward(memory), [-1, batch * 2, 4]), 0, 1)
  v = torch.transpose(torch.view(self.value.forward(memory), [-1, batch * 2, 4]), 0, 1)
  context = torch.matmul(torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1), v)
  return torch.view(torch.contiguous(torch.transpose(context, 0, 1)), [length, batch, 8])
)");
  module = reloaded(module);
  const Module original = copy_of(module);
  const auto result = convert(module);
  CHECK(site_of(result).is_outlined);
  CHECK(site_of(result).is_packed);
  check_same_function(original, module, {at::randn({3, 2, 12}), at::randn({5, 2, 12})});
}

TEST_CASE("what stays at core depth") {
  const std::string head = R"(
def forward(self, x, mask: Optional[Tensor] = None):
  batch, length = torch.size(x, 0), torch.size(x, 1)
  q = torch.transpose(torch.view(self.query.forward(x), [batch, length, 2, 4]), 1, 2)
)";
  const std::string tail = R"(
  v = torch.transpose(torch.view(self.value.forward(x), [batch, length, 2, 4]), 1, 2)
  context = torch.matmul(torch.softmax(torch.matmul(q, torch.transpose(k, -2, -1)) * 0.5, -1), v)
  merged = torch.flatten(torch.transpose(context, 1, 2), 2)
)";
  const std::string plain_key = "  k = torch.transpose(torch.view(self.key.forward(x), [batch, length, 2, 4]), 1, 2)";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"something between projection and core", head +
                                                    "  k = torch.transpose(torch.view(torch.sin(self.key.forward(x)), "
                                                    "[batch, length, 2, 4]), 1, 2)" +
                                                    tail + "  return merged\n"},
      {"another cut of the length",
       head + "  k = torch.view(self.key.forward(x), [batch, 2, length, 4])" + tail + "  return merged\n"},
      {"the key is used again", head + plain_key + tail + "  return merged + torch.sum(k)\n"},
      {"a projection is used twice", head + plain_key + tail + "  return merged + self.value.forward(x)\n"},
      {"heads merged in another order",
       head + plain_key + tail + "  return torch.flatten(torch.permute(context, [0, 2, 3, 1]), 2)\n"},
      {"the input is written to before the end",
       head + plain_key + tail.substr(0, tail.find("  merged")) +
           "  x.mul_(2)\n  return torch.flatten(torch.transpose(context, 1, 2), 2) + x[:, :, :8]\n"}};
  for (const auto& [name, forward] : cases) {
    INFO(name);
    Module module = attention_module(forward, /*with_output=*/false);
    const Module original = copy_of(module);
    const auto result = convert(module);
    CHECK_FALSE(site_of(result).is_outlined);
    CHECK(result.renamed.empty());
    CHECK(module.hasattr("query"));
    CHECK_FALSE(module.hasattr("attention"));
    const auto x = at::randn({2, 4, 12});
    Module before = original;
    CHECK(at::allclose(run(module, {x.clone()}), run(before, {x.clone()}), 1e-5, 1e-6));
  }
}

TEST_CASE("layers and parameters that something else holds or reads stay where they are") {
  Module module = attention_module(kBatchFirst);
  SECTION("a shared layer") { module.register_module("again", module.attr("key").toModule()); }
  SECTION("a tied parameter") {
    module.register_parameter("tied", module.attr("key").toModule().attr("weight").toTensor(), false);
  }
  SECTION("another method") { module.define("def keys(self, x):\n  return self.key.forward(x)\n"); }
  module = reloaded(module);
  const Module original = copy_of(module);
  const auto result = convert(module);
  CHECK_FALSE(site_of(result).is_outlined);
  CHECK(module.hasattr("key"));
  check_same_function(original, module, {at::randn({2, 5, 12})});
}

TEST_CASE("a name that is taken gives way") {
  Module module = attention_module(kBatchFirst);
  module.register_attribute("attention", c10::IntType::get(), 3);
  const auto result = convert(module);
  CHECK(result.renamed.at(0).to == "fused_attention.in_proj_weight");
  CHECK(module.attr("attention").toInt() == 3);
}

TEST_CASE("layers of one form share one FusedAttention type, each with its own parameters") {
  Module stack = empty_module("Stack");
  stack.register_module("first", attention_module(kBatchFirst, true, "First"));
  stack.register_module("second", attention_module(kBatchFirst, true, "Second"));
  stack.define("def forward(self, x):\n  return self.second.forward(self.first.forward(x))\n");
  stack = reloaded(stack);
  const Module original = copy_of(stack);
  survey::Survey survey;
  for (const char* name : {"first", "second"}) {
    survey.methods.push_back(survey_method(stack.attr(name).toModule(), name, kScale, survey::Backend::kPortable));
  }
  const auto result = rewrite::rewrite_attention(stack, std::move(survey), {}, {});
  CHECK(result.renamed.at(4).to == "second.attention.in_proj_weight");
  const auto type = [&](const char* name) { return stack.attr(name).toModule().attr("attention").toModule().type(); };
  CHECK(type("first") == type("second"));
  check_same_function(original, stack, {at::randn({2, 5, 12})});
}

TEST_CASE("the code of a fused module reads well") {
  Module module = attention_module(kBatchFirst);
  convert(module, survey::Backend::kFlash);
  const std::string code = printed_code(module.attr("attention").toModule());
  INFO(code);
  for (const char* part : {"ops.flashconvert.attention(q, k, v, None, scale=scale", "torch.linear(merged, ",
                           "q, k, v, = ", "projected = torch.linear("}) {
    CHECK(contains(code, part));
  }
}
