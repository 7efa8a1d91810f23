// What goes through a save and a load comes out the same: tensors of every kind, attributes, modes, sharing, records.
#include <limits>

#include "checkpoint/compare.h"
#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

Checkpoint save_and_load(const Checkpoint& checkpoint) {
  Scratch scratch;
  const report::FileFacts saved = Destination::file(scratch / "model.pt", no_source(), false).save(checkpoint);
  Checkpoint loaded = Source::file(scratch / "model.pt").load();
  CHECK(loaded.file.bytes == saved.bytes);
  CHECK(loaded.file.sha256 == saved.sha256);
  CHECK(saved.bytes == std::filesystem::file_size(scratch / "model.pt"));
  CHECK(find_difference(checkpoint.module, loaded.module).value_or("") == "");
  return loaded;
}

TEST_CASE("a loaded module computes what the saved one does") {
  const Checkpoint original = make_checkpoint(make_linear());
  Checkpoint loaded = save_and_load(original);
  const at::Tensor x = at::randn({3, 8});
  torch::jit::Module module = original.module;
  CHECK(at::equal(loaded.module.forward({x}).toTensor(), module.forward({x}).toTensor()));
  CHECK(at::equal(loaded.module.run_method("norm").toTensor(), module.run_method("norm").toTensor()));
}

TEST_CASE("tensors of every dtype, layout and shape are kept bit for bit") {
  torch::jit::Module module("__torch__.Model");
  const at::Tensor base = at::randn({6, 8});
  for (const auto dtype : {at::kDouble, at::kHalf, at::kBFloat16, at::kChar, at::kInt, at::kBool, at::kByte,
                           at::kComplexFloat, at::kFloat8_e4m3fn}) {
    module.register_buffer(std::string("of_") + c10::toString(dtype), base.to(dtype));
  }
  module.register_buffer("scalar", at::tensor(2.5));
  module.register_buffer("empty", at::empty({0, 3}));
  module.register_parameter("transposed", base.clone().t(), false);
  module.register_parameter("strided", base.clone().slice(1, 1, 8, 2), false);
  module.register_buffer("expanded", at::ones({1, 4}).expand({5, 4}));
  module.register_buffer("not_numbers", at::full({3}, std::numeric_limits<float>::quiet_NaN()));
  module.register_buffer("quantized", at::quantize_per_tensor(base, 0.1, 3, at::kQInt8));
  module.register_buffer("per_channel",
                         at::quantize_per_channel(base, at::rand({6}) + 0.1, at::zeros({6}), 0, at::kQInt8));
  module.register_buffer("sparse", at::eye(4).to_sparse());
  const Checkpoint loaded = save_and_load(make_checkpoint(module));
  CHECK(loaded.module.attr("strided").toTensor().strides() == at::IntArrayRef({8, 2}));
  CHECK(loaded.module.attr("expanded").toTensor().strides() == at::IntArrayRef({0, 1}));
}

TEST_CASE("attributes of every kind are kept") {
  using c10::IValue;
  torch::jit::Module module("__torch__.Model");
  module.register_attribute("integer", c10::IntType::get(), std::int64_t{-(1LL << 40)});
  module.register_attribute("real", c10::FloatType::get(), 0.1);
  module.register_attribute("complex", c10::ComplexType::get(), c10::complex<double>(1, -2));
  module.register_attribute("flag", c10::BoolType::get(), true);
  module.register_attribute("text", c10::StringType::get(), std::string("ünï\0x", 7));
  module.register_attribute("device", c10::DeviceObjType::get(), c10::Device("cuda:3"));
  module.register_attribute("nothing", c10::OptionalType::create(c10::IntType::get()), IValue());
  module.register_attribute("something", c10::OptionalType::create(c10::IntType::get()), std::int64_t{4});
  module.register_attribute("integers", c10::ListType::ofInts(), c10::List<std::int64_t>({1, 2, 3}));
  module.register_attribute("tensors", c10::ListType::ofTensors(),
                            c10::List<at::Tensor>({at::ones({2}), at::zeros({3})}));
  c10::Dict<std::string, at::Tensor> table;
  table.insert("b", at::ones({2}));
  table.insert("a", at::zeros({2}));
  module.register_attribute("table", c10::DictType::create(c10::StringType::get(), c10::TensorType::get()), table);
  module.register_attribute("pair", c10::TupleType::create({c10::IntType::get(), c10::StringType::get()}),
                            c10::ivalue::Tuple::create({IValue(1), IValue("x")}));
  const Checkpoint loaded = save_and_load(make_checkpoint(module));
  CHECK(loaded.module.attr("text").toStringRef() == std::string("ünï\0x", 7));
  CHECK(loaded.module.attr("table").toGenericDict().begin()->key().toStringRef() == "b");
}

TEST_CASE("shared parameters and shared submodules stay shared, in the file too") {
  torch::jit::Module child("__torch__.Child");
  const at::Tensor weight = at::randn({256, 256});
  child.register_parameter("weight", weight, false);
  torch::jit::Module module("__torch__.Model");
  module.register_module("first", child);
  module.register_module("second", child);
  module.register_parameter("tied", weight, false);
  module.register_parameter("row", weight[3], false);
  const Checkpoint original = make_checkpoint(module);
  const Checkpoint loaded = save_and_load(original);
  const auto first = loaded.module.attr("first").toModule();
  CHECK(first._ivalue() == loaded.module.attr("second").toModule()._ivalue());
  CHECK(first.attr("weight").toTensor().is_alias_of(loaded.module.attr("tied").toTensor()));
  CHECK(loaded.module.attr("row").toTensor().is_alias_of(loaded.module.attr("tied").toTensor()));
  CHECK(loaded.file.bytes < 256 * 256 * 4 + 20'000);  // one copy of the weight
}

TEST_CASE("the mode of each submodule is kept") {
  torch::jit::Module module("__torch__.Model");
  torch::jit::Module first("__torch__.First"), second("__torch__.Second");
  for (torch::jit::Module* each : {&module, &first, &second}) {
    each->register_attribute("training", c10::BoolType::get(), true);
  }
  module.register_module("first", first);
  module.register_module("second", second);
  module.eval();
  module.attr("second").toModule().train();
  const Checkpoint loaded = save_and_load(make_checkpoint(module));
  CHECK_FALSE(loaded.module.is_training());
  CHECK_FALSE(loaded.module.attr("first").toModule().is_training());
  CHECK(loaded.module.attr("second").toModule().is_training());
}

TEST_CASE("extra files and records that a plain save loses are kept") {
  Checkpoint checkpoint = make_checkpoint(make_linear());
  checkpoint.extra_files = {{"config.json", "{}"}, {"folder/labels.txt", std::string("cat\0dog", 7)}, {"empty", ""}};
  checkpoint.verbatim_records = {{"vendor/notes.bin", std::string("\0\1\2", 3)}, {"vendor.txt", "x"}};
  const Checkpoint loaded = save_and_load(checkpoint);
  CHECK(loaded.extra_files == checkpoint.extra_files);
  CHECK(loaded.verbatim_records == checkpoint.verbatim_records);
}

TEST_CASE("the example inputs of a trace come back with shapes and types, and are saved again") {
  torch::jit::Module module = make_linear();
  module.store_traced_inputs("forward", {at::zeros({2, 3, 8}), at::zeros({5}, at::kLong)});
  const Checkpoint loaded = save_and_load(make_checkpoint(module));
  const Checkpoint again = save_and_load(loaded);
  for (const Checkpoint* checkpoint : {&loaded, &again}) {
    REQUIRE(checkpoint->traced_inputs.count("forward") == 1);
    const std::vector<c10::IValue>& arguments = checkpoint->traced_inputs.at("forward");
    REQUIRE(arguments.size() == 2);
    CHECK(arguments[0].toTensor().is_meta());
    CHECK(arguments[0].toTensor().sizes() == at::IntArrayRef({2, 3, 8}));
    CHECK(arguments[1].toTensor().scalar_type() == at::kLong);
    CHECK(checkpoint->verbatim_records.count("traced_inputs.pkl") == 1);
  }
}

TEST_CASE("two loads share nothing") {
  Scratch scratch;
  Destination::file(scratch / "model.pt", no_source(), false).save(make_checkpoint(make_linear()));
  const Source source = Source::file(scratch / "model.pt");
  const Checkpoint first = source.load();
  const Checkpoint second = source.load();
  CHECK_FALSE(first.module.attr("weight").toTensor().is_alias_of(second.module.attr("weight").toTensor()));
  CHECK(first.module.type() != second.module.type());
}

TEST_CASE("the same checkpoint gives the same bytes, whatever the file is called") {
  Scratch scratch;
  const Checkpoint checkpoint = make_checkpoint(make_linear());
  Destination::file(scratch / "a.pt", no_source(), false).save(checkpoint);
  Destination::file(scratch / "another name.bin", no_source(), false).save(checkpoint);
  CHECK(read_file(scratch / "a.pt") == read_file(scratch / "another name.bin"));
  Destination::file(scratch / "loaded.pt", no_source(), false).save(Source::file(scratch / "a.pt").load());
  CHECK(read_file(scratch / "a.pt") == read_file(scratch / "loaded.pt"));
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
