// --inputs: what is read, and what is said of files that are something else. tests/verify/test_input_files.py makes the
// same checks on files that Python writes.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "common/error.h"
#include "support/catch.h"
#include "verify/input_file.h"
#include "verify/modules.h"
#include "verify/verify.h"

using namespace flashconvert;
using verify::testing::contains;
using verify::testing::scripted;
using verify::testing::traced;

namespace {

// A file in the temporary folder that is gone at the end.
class TemporaryFile {
public:
  explicit TemporaryFile(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("flashconvert_test_" + name)) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

  TemporaryFile& write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return *this;
  }
  TemporaryFile& save(const c10::IValue& value) {
    const std::vector<char> bytes = torch::jit::pickle_save(value);
    return write({bytes.begin(), bytes.end()});
  }

private:
  std::filesystem::path path_;
};

torch::jit::Module two_arguments() { return scripted("def forward(self, ids, mask):\n  return ids * mask\n"); }
torch::jit::Module one_argument() { return scripted("def forward(self, x):\n  return x * 2\n"); }

std::vector<verify::Case> read(const torch::jit::Module& module, const TemporaryFile& file) {
  std::vector<verify::Case> given;
  for (auto& test : verify::make_cases(traced(module, {}), {file.path(), {}}, {"cpu"})) {
    if (!test.derived) given.push_back(std::move(test));
  }
  return given;
}

std::string error_of(const torch::jit::Module& module, const TemporaryFile& file) {
  try {
    read(module, file);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    const std::string message = error.what();
    CHECK(message.find("--inputs " + file.path()) == 0);
    return message;
  }
  FAIL("no error");
  return "";
}

c10::IValue tuple(std::vector<c10::IValue> values) { return c10::ivalue::Tuple::create(std::move(values)); }

c10::IValue list(const std::vector<c10::IValue>& values) {
  c10::impl::GenericList result(c10::AnyType::get());
  for (const auto& value : values) result.push_back(value);
  return result;
}

const at::Tensor kIds = at::arange(6).reshape({2, 3});
const at::Tensor kMask = at::ones({2, 3});

}  // namespace

TEST_CASE("a tuple is one case, a list of tuples several, a tensor one argument", "[inputs]") {
  TemporaryFile file("inputs.pt");
  const auto one = read(two_arguments(), file.save(tuple({kIds, kMask})));
  REQUIRE(one.size() == 1);
  CHECK(one[0].arguments[0].toTensor().equal(kIds));
  CHECK(one[0].arguments[1].toTensor().equal(kMask));

  const auto several = read(two_arguments(), file.save(list({tuple({kIds, kMask}), tuple({kIds + 1, kMask})})));
  REQUIRE(several.size() == 2);
  CHECK(several[1].arguments[0].toTensor().equal(kIds + 1));
  CHECK(contains(several[1].description, "case 2"));

  CHECK(read(one_argument(), file.save(kIds)).at(0).arguments.at(0).toTensor().equal(kIds));
  CHECK(read(one_argument(), file.save(list({kIds, kMask}))).size() == 2);
}

TEST_CASE("a dict gives arguments by name, or cases by method", "[inputs]") {
  TemporaryFile file("dict.pt");
  c10::impl::GenericDict named(c10::StringType::get(), c10::AnyType::get());
  named.insert("mask", kMask);
  named.insert("ids", kIds);
  CHECK(read(two_arguments(), file.save(named)).at(0).arguments.at(0).toTensor().equal(kIds));

  const auto methods = scripted("def encode(self, x):\n  return x\ndef decode(self, x, y):\n  return x * y\n");
  c10::impl::GenericDict by_method(c10::StringType::get(), c10::AnyType::get());
  by_method.insert("encode", list({kIds, kMask}));
  by_method.insert("decode", tuple({kIds, kMask}));
  const auto cases = read(methods, file.save(by_method));
  REQUIRE(cases.size() == 3);
  CHECK(cases[0].method == "encode");
  CHECK(cases[2].method == "decode");
}

TEST_CASE("a TorchScript container gives its tensors by name", "[inputs]") {
  TemporaryFile file("container.pt");
  torch::jit::Module container("container");
  container.register_buffer("mask", kMask);
  container.register_buffer("ids", kIds);
  container.save(file.path());
  CHECK(read(two_arguments(), file).at(0).arguments.at(0).toTensor().equal(kIds));
}

TEST_CASE("wrong counts, types and names are named", "[inputs]") {
  TemporaryFile file("wrong.pt");
  CHECK(contains(error_of(two_arguments(), file.save(tuple({kIds}))), "argument 2 (`mask`) is missing"));
  CHECK(contains(error_of(two_arguments(), file.save(tuple({kIds, kMask, kIds}))),
                 "3 arguments are given, `forward` takes 2"));
  CHECK(
      contains(error_of(two_arguments(), file.save(tuple({kIds, 5}))), "argument 2 (`mask`) takes Tensor, given is 5"));
  CHECK(contains(error_of(two_arguments(), file.save(list({tuple({kIds, kMask}), kIds}))),
                 "case 2: argument 2 (`mask`) is missing"));
  CHECK(contains(error_of(two_arguments(), file.save(tuple({kIds, at::ones({4})}))),
                 "The size of tensor a (3) must match"));
  c10::impl::GenericDict named(c10::StringType::get(), c10::AnyType::get());
  named.insert("ids", kIds);
  named.insert("maks", kMask);
  CHECK(contains(error_of(two_arguments(), file.save(named)), "there is no argument named `maks`"));
  CHECK(contains(error_of(two_arguments(), file.save(list({}))), "it holds no cases"));
}

TEST_CASE("files that are something else are called by their name", "[inputs]") {
  TemporaryFile file("other");
  CHECK(contains(error_of(one_argument(), file), "cannot be opened"));
  CHECK(contains(error_of(one_argument(), file.write("")), "the file is empty"));
  CHECK(contains(error_of(one_argument(), file.write("hello, world")), "not a file that torch.save wrote"));
  CHECK(contains(error_of(one_argument(), file.write("\x93NUMPY and more")), "NumPy array"));
  CHECK(contains(error_of(one_argument(), file.write("PK\x03\x04 and no archive")), "truncated or damaged"));
  const std::vector<char> bytes = torch::jit::pickle_save(kIds);
  CHECK(contains(error_of(one_argument(),
                          file.write({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() / 2)})),
                 "truncated or damaged"));
}

TEST_CASE("--inputs and --input-spec exclude each other", "[inputs]") {
  TemporaryFile file("both.pt");
  file.save(kIds);
  CHECK_THROWS_AS(verify::make_cases(traced(one_argument(), {}), {file.path(), {"float32[2]"}}, {"cpu"}), Error);
}
