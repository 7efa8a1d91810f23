// Archives, pickles and code that claim what is not so, each refused with the record and what was expected.
#include "checkpoint/soundness.h"

#include <cstring>

#include "checkpoint/code_check.h"
#include "checkpoint/digest.h"
#include "checkpoint/pickle_walker.h"
#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

using namespace std::string_literals;

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string pickled_text(const std::string& value) { return "X" + little_endian(value.size(), 4) + value; }
std::string integer(std::int64_t value) { return "\x8a\x08" + little_endian(static_cast<std::uint64_t>(value), 8); }
std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }

std::string numbers(const std::vector<std::int64_t>& values) {
  std::string body = "(";
  for (const std::int64_t value : values) body += integer(value);
  return body + "t";
}

std::string storage_id(const std::string& type, const std::string& location, std::int64_t elements) {
  return "(" + pickled_text("storage") + "ctorch\n" + type + "\n" + pickled_text("0") + pickled_text(location) +
         integer(elements) + "tQ";
}

std::string tensor(std::int64_t elements, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                   const std::vector<std::int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage_id("FloatStorage", "cpu", elements) + integer(offset) +
         numbers(sizes) + numbers(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

// What is wrong with a pickle whose one storage has a record of 48 bytes; "" for a sound one.
std::string problem_of(const std::string& bytes, std::uint64_t* at = nullptr) {
  PickleRules rules;
  rules.largest_tensor = 1 << 20;
  rules.record_size = [](const std::string& key) {
    return key == "0" ? std::optional<std::uint64_t>(48) : std::nullopt;
  };
  try {
    walk_pickle(bytes, rules);
  } catch (const MalformedPickle& malformed) {
    if (at != nullptr) *at = malformed.byte;
    CHECK_FALSE(malformed.problem.empty());
    return malformed.problem;
  }
  return "";
}

TEST_CASE("a tensor lies within its storage, and a storage within its record") {
  CHECK(problem_of(pickle(tensor(12, 0, {3, 4}, {4, 1}))).empty());
  CHECK(problem_of(pickle(tensor(12, 0, {4, 3}, {1, 4}))).empty());
  CHECK(problem_of(pickle(tensor(12, 11, {1}, {100}))).empty());
  CHECK(problem_of(pickle(tensor(12, 12, {0, 5}, {5, 1}))).empty());
  CHECK(problem_of(pickle(tensor(12, 3, {}, {}))).empty());
  CHECK(problem_of(pickle(tensor(1, 0, {1000, 10}, {0, 0}))).empty());
  CHECK(contains(problem_of(pickle(tensor(12, 1, {3, 4}, {4, 1}))), "ends at element 13 of a storage of 12"));
  CHECK(contains(problem_of(pickle(tensor(12, 12, {}, {}))), "ends at element 13"));
  CHECK(contains(problem_of(pickle(tensor(13, 0, {13}, {1}))), "only 48 bytes"));
  CHECK(contains(problem_of(pickle(tensor(INT64_MAX, 0, {1}, {1}))), "only 48 bytes"));
  CHECK(contains(problem_of(pickle(tensor(-1, 0, {1}, {1}))), "a storage of -1 elements"));
  CHECK(contains(problem_of(pickle(tensor(12, -1, {1}, {1}))), "the offset is negative"));
  CHECK(contains(problem_of(pickle(tensor(12, 0, {-1}, {1}))), "-1 is negative"));
  CHECK(contains(problem_of(pickle(tensor(12, 0, {2}, {-1}))), "-1 is negative"));
  CHECK(contains(problem_of(pickle(tensor(12, 0, {2}, {1, 1}))), "1 sizes and 2 strides"));
  CHECK(contains(problem_of(pickle(tensor(1, 0, {1LL << 40}, {0}))), "more memory than"));
  CHECK(contains(problem_of(pickle(tensor(12, 0, {INT64_MAX, INT64_MAX}, {0, 0}))), "more memory than"));
  CHECK(contains(problem_of(pickle(tensor(12, 0, {INT64_MAX, 1}, {INT64_MAX, 1}))), "more memory than"));
}

TEST_CASE("types and devices of storages are known ones") {
  CHECK(problem_of(pickle(storage_id("FloatStorage", "cuda:1", 12))).empty());
  CHECK(problem_of(pickle(storage_id("QInt8Storage", "cpu", 48))).empty());
  CHECK(contains(problem_of(pickle(storage_id("NoStorage", "cpu", 1))), "unknown type torch.NoStorage"));
  for (const std::string& location : {""s, "meta"s, "cuda:"s, "cuda:1000"s, "cpu\x1b[31m"s, "lazy:0"s}) {
    const std::string problem = problem_of(pickle(storage_id("FloatStorage", location, 1)));
    CHECK(contains(problem, "unknown device"));
    CHECK_FALSE(contains(problem, "\x1b"));
  }
}

TEST_CASE("what a pickle's numbers claim is held against its bytes") {
  std::uint64_t at = 0;
  CHECK(contains(problem_of("\x80\x02N" + ("X" + little_endian(0xFFFFFFFF, 4)) + "a.", &at),
                 "expected 4294967295 bytes"));
  CHECK(at == 3);
  CHECK(contains(problem_of(pickle("Nr" + little_endian(0x10000000, 4))),
                 "the memo's place 268435456, expected 256 or less"));
  CHECK(contains(problem_of(pickle("h\x05")), "the memo's place 5 is empty"));
  CHECK(contains(problem_of("\x80\x02"s + "cno_end"), "a name without an end"));
  CHECK(contains(problem_of(pickle("ca/b\nc\n")), "no qualified name"));
  CHECK(contains(problem_of("\x80\x05N."), "protocol 2"));
  CHECK(contains(problem_of("\x80\x02NN."), "found 2"));
  CHECK(contains(problem_of("\x80\x02N.N"), "1 bytes follow"));
  CHECK(contains(problem_of("\x80\x02N"), "expected 1 bytes, found 0"));
  CHECK(contains(problem_of(""), "expected 2 bytes"));
}

TEST_CASE("opcodes take only what is theirs") {
  CHECK(contains(problem_of(pickle("t")), "expected a mark"));
  CHECK(contains(problem_of(pickle("N(\x85t")), "expected 1 values"));  // below the mark
  CHECK(contains(problem_of(pickle("}(Nu")), "without its value"));
  CHECK(contains(problem_of(pickle("}(Ne")), "expected a list"));
  CHECK(contains(problem_of(pickle("NNR")), "a call of None"));
  CHECK(contains(problem_of(pickle("K\x01)R")), "a call of a whole number"));
  CHECK(contains(problem_of(pickle("cos\nsystem\n(" + pickled_text("true") + "tR")), "os.system, which is no part"));
  CHECK(contains(problem_of(pickle("c__torch__\nA\n)\x81}b}b")), "expected a new object"));
  CHECK(contains(problem_of(pickle("NQ")), "a storage's description"));
  CHECK(contains(problem_of(pickle("V")), "the opcode 86"));
  CHECK(problem_of(pickle("c__torch__.a\nA\n)\x81}(" + pickled_text("x") + "K\x01ub")).empty());
}

TEST_CASE("nesting, cycles and sharing are bounded") {
  const auto nested = [](std::size_t depth) { return pickle(")" + std::string(depth, '\x85')); };
  CHECK(problem_of(nested(200)).empty());
  CHECK(contains(problem_of(nested(100'000)), "256 deep"));
  std::string lists;  // each holds the one before, which was put into the memo
  for (int i = 0; i < 400; ++i)
    lists += "](" + (i == 0 ? "N"s : "j" + little_endian(i - 1, 4)) + "er" + little_endian(i, 4);
  CHECK(contains(problem_of(pickle("(" + lists + "t")), "256 deep"));
  CHECK(contains(problem_of(pickle("]q"s + '\0' + "(h" + '\0' + "e")), "within itself"));
  std::string doubled = ")";  // 2^60 values
  for (int i = 0; i < 60; ++i) doubled += "q" + little_endian(i, 1) + "h" + little_endian(i, 1) + "\x86";
  CHECK(contains(problem_of(pickle(doubled)), "shared again and again"));
}

TEST_CASE("code nests and grows no further than LibTorch's compiler bears") {
  const auto problem = [](const std::string& code) {
    const auto found = find_code_problem(code);
    return found ? found->problem : "";
  };
  const auto repeated = [](const std::string& part, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += part;
    return all;
  };
  CHECK(problem("class A(Module):\n  def forward(self, x):\n    return torch.add(x, (1 + 2) * 3)\n").empty());
  CHECK(problem("x = '" + repeated("(", 10'000) + "'\n").empty());
  CHECK(problem("# " + repeated("(", 10'000) + "\n").empty());
  CHECK(contains(problem("def f(x):\n  # type: " + repeated("(", 10'000) + "\n"), "within each other"));
  CHECK(contains(problem("x = f(y)  # type: " + repeated("List[", 10'000) + "\n"), "within each other"));
  CHECK(contains(problem("x = y" + std::string(2 << 20, 'y')), "a statement of more than"));  // without a line's end
  CHECK(problem("x = [" + repeated("-1, self.a.b, ", 10'000) + "]\n").empty());
  CHECK(contains(problem("x = " + repeated("(", 10'000) + "1" + repeated(")", 10'000)), "within each other"));
  for (const std::string& part : {"not "s, "-"s, "1 + "s, "1 if a else "s, "f(1 + "s, "[a, "s}) {
    CHECK(contains(problem("x = " + repeated(part, 1000) + "1\n"), "within each other"));
  }
  CHECK(contains(problem("x = a" + repeated(".b", 1000) + "\n"), "within each other"));
  CHECK(contains(problem("x = a" + repeated("()", 1000) + "\n"), "within each other"));
  CHECK(contains(problem("x = [" + repeated("1,", 60'000) + "]\n"), "elements"));
  std::string blocks, indent;
  for (int i = 0; i < 1000; ++i) blocks += (indent += ' ') + "if a:\n";
  CHECK(contains(problem(blocks), "blocks lie within"));
  CHECK(contains(problem("if a:\n  b\n" + repeated("elif a:\n  b\n", 1000)), "blocks lie within"));
  CHECK(problem(repeated("if a:\n  b\nelif c:\n  d\nelse:\n  e\n", 1000)).empty());
}

// An archive that Destination wrote, and a way to spoil fields of its table of contents.
struct Archive {
  Scratch scratch;
  std::string bytes;

  Archive() {
    Destination::file(scratch / "good.pt", no_source(), false).save(make_checkpoint(make_linear(64)));
    bytes = read_file(scratch / "good.pt");
  }

  std::size_t directory_entry(const std::string& name) const {
    const std::size_t directory = bytes.find("PK\x01\x02");
    return bytes.find("archive/" + name, directory) - 46;
  }

  std::string message() const {
    write_file(scratch / "spoiled.pt", bytes);
    return message_of(ErrorKind::kInput, [&] { Source::file(scratch / "spoiled.pt").load(); });
  }
};

TEST_CASE("the table of contents is held against the archive") {
  Archive archive;
  std::string& bytes = archive.bytes;
  const std::size_t entry = archive.directory_entry("data/0");
  SECTION("sizes") {
    bytes.replace(entry + 24, 4, little_endian(5, 4));
    CHECK(contains(archive.message(), "archive/data/0 has 16384 bytes, and says that they are 5"));
  }
  SECTION("a bomb") {
    bytes.replace(entry + 10, 2, little_endian(8, 2));
    bytes.replace(entry + 24, 4, little_endian(0x7FFFFFFF, 4));
    CHECK(contains(archive.message(), "larger than a file of"));
  }
  SECTION("an unknown compression") {
    bytes.replace(entry + 10, 2, little_endian(12, 2));
    CHECK(contains(archive.message(), "method 12"));
  }
  SECTION("encryption") {
    bytes.replace(entry + 8, 2, little_endian(1, 2));
    CHECK(contains(archive.message(), "is encrypted"));
  }
  SECTION("a place that is another's") {
    const std::size_t other = archive.directory_entry("data/1");
    bytes.replace(entry + 42, 4, bytes.substr(other + 42, 4));
    CHECK(contains(archive.message(), "is malformed: its record archive/data/"));
  }
  SECTION("a name twice") {
    const std::size_t other = archive.directory_entry("data/1");
    bytes[other + 46 + std::strlen("archive/data/")] = '0';
    CHECK(contains(archive.message(), "is malformed: its record archive/data/0"));
  }
  SECTION("names that lead elsewhere") {
    for (const std::string& name : {"../"s, "/at"s, "a\0t"s, "a\\t"s}) {
      Archive other;
      const std::size_t at = other.directory_entry("data/1") + 46 + std::strlen("archive/d");
      other.bytes.replace(at, 3, name);
      CHECK(contains(other.message(), "name"));
    }
  }
}

TEST_CASE("a checkpoint of every kind of value is sound") {
  torch::jit::Module module = make_linear();
  module.register_attribute("expanded", c10::TensorType::get(), at::zeros({1, 4}).expand({8, 4}));
  module.register_attribute("turned", c10::TensorType::get(), at::zeros({3, 5}).t());
  module.register_attribute("cut", c10::TensorType::get(), at::zeros({30}).slice(0, 4, 20, 3));
  module.register_attribute("none", c10::TensorType::get(), at::zeros({0, 3}));
  module.register_attribute("number", c10::TensorType::get(), at::zeros({}, at::kHalf));
  module.register_attribute("quantised", c10::TensorType::get(),
                            at::quantize_per_tensor(at::zeros({5}), 0.1, 3, at::kQInt8));
  module.register_attribute("channels", c10::TensorType::get(),
                            at::quantize_per_channel(at::zeros({2, 5}), at::ones({2}), at::zeros({2}), 0, at::kQInt8));
  module.register_attribute("complex", c10::TensorType::get(), at::zeros({2}, at::kComplexFloat));
  Scratch scratch;
  Destination::file(scratch / "model.pt", no_source(), false).save(make_checkpoint(module));
  CHECK_NOTHROW(Source::file(scratch / "model.pt").load());
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
