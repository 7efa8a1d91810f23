// Locations of storages, read from pickles.
#include "checkpoint/pickled_storages.h"

#include "checkpoint/saved_devices.h"
#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

using namespace std::string_literals;

std::string text(const std::string& value) { return "X"s + static_cast<char>(value.size()) + "\0\0\0"s + value; }

// A storage's persistent id as LibTorch writes it, with `location` as it stands in the pickle.
std::string storage(const std::string& key, const std::string& location) {
  return "("s + text("storage") + "ctorch\nFloatStorage\n" + text(key) + location + "K\x04tQ";
}

TEST_CASE("each storage's location is read, memoised or not") {
  const std::string pickle =
      "\x80\x02("s + storage("0", text("cuda:1") + "q\x01") + storage("1", text("cpu")) + storage("2", "h\x01") + "t.";
  const auto locations = read_storage_locations(pickle);
  REQUIRE(locations);
  CHECK(*locations == std::map<std::string, std::string>{{"0", "cuda:1"}, {"1", "cpu"}, {"2", "cuda:1"}});
}

TEST_CASE("what is no pickle of LibTorch's gives nothing") {
  const std::string whole = "\x80\x02"s + storage("0", text("cpu")) + ".";
  REQUIRE(read_storage_locations(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(read_storage_locations(whole.substr(0, size)));
  CHECK_FALSE(read_storage_locations("\x80\x02Z."s));      // an opcode that is never written
  CHECK_FALSE(read_storage_locations("\x80\x02h\x07."s));  // a value that was never put
  CHECK_FALSE(read_storage_locations("\x80\x02NQ."s));     // a storage that is None
}

TEST_CASE("a module's own pickles are read to their end") {
  torch::jit::Module module = make_linear();
  module.register_attribute("numbers", c10::ListType::ofInts(), c10::List<std::int64_t>({1, -70000, 1LL << 40}));
  module.register_attribute("real", c10::FloatType::get(), 0.5);
  module.register_attribute("pair", c10::TupleType::create({c10::StringType::get(), c10::BoolType::get()}),
                            c10::ivalue::Tuple::create({c10::IValue("a"), c10::IValue(true)}));
  c10::Dict<std::string, at::Tensor> table;
  table.insert("entry", at::ones({2}));
  module.register_attribute("table", c10::DictType::create(c10::StringType::get(), c10::TensorType::get()), table);
  Scratch scratch;
  Destination::file(scratch / "model.pt", no_source(), false).save(make_checkpoint(module));
  const auto bytes = Bytes::open(scratch / "model.pt");
  const auto directory = read_zip_directory(*bytes);
  REQUIRE(directory);
  const ZipEntry* entry = directory->find("data.pkl");
  REQUIRE(entry != nullptr);
  const auto locations = read_storage_locations(bytes->read(entry->content_offset, entry->size));
  REQUIRE(locations);
  std::size_t stored = 0;
  for (const std::string& name : directory->names()) stored += name.compare(0, 5, "data/") == 0 ? 1 : 0;
  CHECK(locations->size() == stored);
  for (const auto& [key, location] : *locations) CHECK(location == "cpu");
  CHECK(read_storage_devices(*bytes, *directory).empty());
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
