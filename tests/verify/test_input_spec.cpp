// The grammar of --input-spec and its error messages.
#include <ATen/core/Tensor.h>

#include "common/error.h"
#include "support/catch.h"
#include "verify/input_spec.h"

using namespace flashconvert;
using verify::parse_input_spec;

namespace {

at::Tensor tensor_of(const std::string& text) { return parse_input_spec(text, 0).value.toTensor(); }

std::string error_of(const std::string& text) {
  try {
    parse_input_spec(text, 0);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    return error.what();
  }
  FAIL("no error for " << text);
  return "";
}

// The first two lines after the message: the spec and the caret.
std::string pointed(const std::string& text) {
  const std::string message = error_of(text);
  const auto start = message.find('\n') + 1;
  const auto end = message.find('^') + 1;
  REQUIRE(end > start);
  return message.substr(start, end - start);
}

}  // namespace

TEST_CASE("a tensor without a range is left to be drawn", "[input-spec]") {
  const at::Tensor image = tensor_of("float16[8,3,224,224]");
  CHECK(image.is_meta());
  CHECK(image.scalar_type() == at::kHalf);
  CHECK(image.sizes() == c10::IntArrayRef({8, 3, 224, 224}));
  CHECK(tensor_of(" half [ 8 , 3 ] ").sizes() == c10::IntArrayRef({8, 3}));
  CHECK(tensor_of("float32").dim() == 0);
  CHECK(tensor_of("bool[2,128]").scalar_type() == at::kBool);
  CHECK(tensor_of("int64[0,4]").numel() == 0);
}

TEST_CASE("a range includes both its ends", "[input-spec]") {
  const auto spec = parse_input_spec("ids:int64[2,128]{3..5}", 0);
  CHECK(spec.name == "ids");
  const at::Tensor ids = spec.value.toTensor();
  CHECK(ids.scalar_type() == at::kLong);
  CHECK(ids.min().item<int>() == 3);
  CHECK(ids.max().item<int>() == 5);
  const at::Tensor floats = tensor_of("float32[1000]{-1.5..2.5}");
  CHECK(floats.min().item<double>() >= -1.5);
  CHECK(floats.max().item<double>() <= 2.5);
  CHECK(floats.max().item<double>() > 2);
  CHECK(tensor_of("bool[2,3]{1}").all().item<bool>());
  CHECK(tensor_of("uint8[100]{0..255}").scalar_type() == at::kByte);
}

TEST_CASE("the same spec and seed draw the same values, another seed others", "[input-spec]") {
  const std::string text = "int64[64]{0..1000}";
  CHECK(parse_input_spec(text, 1).value.toTensor().equal(parse_input_spec(text, 1).value.toTensor()));
  CHECK_FALSE(parse_input_spec(text, 1).value.toTensor().equal(parse_input_spec(text, 2).value.toTensor()));
}

TEST_CASE("numbers, booleans, text and none", "[input-spec]") {
  CHECK(parse_input_spec("5", 0).value.toInt() == 5);
  CHECK(parse_input_spec("-5", 0).value.toInt() == -5);
  CHECK(parse_input_spec("scale: 1.5e-3", 0).value.toDouble() == 1.5e-3);
  CHECK(parse_input_spec("scale: 1.5e-3", 0).name == "scale");
  CHECK(parse_input_spec("true", 0).value.toBool());
  CHECK(parse_input_spec("mask:none", 0).value.isNone());
  CHECK(parse_input_spec("'a, b'", 0).value.toStringRef() == "a, b");
}

TEST_CASE("tuples, lists and dicts", "[input-spec]") {
  const auto tuple = parse_input_spec("state:(float32[2], none, (5,))", 0).value;
  REQUIRE(tuple.isTuple());
  CHECK(tuple.toTupleRef().elements().size() == 3);
  CHECK(parse_input_spec("[float32[2], float32[3]]", 0).value.toListRef().size() == 2);
  const auto dict = parse_input_spec("{image: float32[2], 'my key': 3}", 0).value.toGenericDict();
  CHECK(dict.at("image").toTensor().is_meta());
  CHECK(dict.at("my key").toInt() == 3);
}

TEST_CASE("errors point at the character", "[input-spec]") {
  CHECK(pointed("float16[8,x,224]") ==
        "  float16[8,x,224]\n"
        "            ^");
  CHECK(pointed("ids:int65[2]") ==
        "  ids:int65[2]\n"
        "      ^");
  CHECK(pointed("int64[2]{0..}") ==
        "  int64[2]{0..}\n"
        "              ^");
  CHECK(pointed("float32[2") ==
        "  float32[2\n"
        "           ^");
  CHECK(pointed("") ==
        "  \n"
        "  ^");
}

TEST_CASE("errors say what was expected", "[input-spec]") {
  CHECK(error_of("float16[8,x]").find("expected a size (a whole number), found 'x'") != std::string::npos);
  CHECK(error_of("int65[2]").find("'int65' is not a dtype. Expected one of float32, float16") != std::string::npos);
  CHECK(error_of("int64[2]{5..3}").find("the highest value is below the lowest") != std::string::npos);
  CHECK(error_of("uint8[2]{0..256}").find("does not fit in uint8") != std::string::npos);
  CHECK(error_of("int64[2]{0.5..1}").find("in whole numbers") != std::string::npos);
  CHECK(error_of("float32[-1]").find("a size is a whole number, 0 or more") != std::string::npos);
  CHECK(error_of("float32[1.5]").find("a size is a whole number, 0 or more") != std::string::npos);
  CHECK(error_of("float32[99999999999,99999999999]").find("does not fit in memory") != std::string::npos);
  CHECK(error_of("int64[2]{0..99999999999999999999}").find("too large") != std::string::npos);
  CHECK(error_of("float32[2]]").find("expected the end of the spec, found ']'") != std::string::npos);
  CHECK(error_of("(float32[2]").find("expected ')' or ',' in the tuple, found the end") != std::string::npos);
  CHECK(error_of("'abc").find("not closed") != std::string::npos);
}
