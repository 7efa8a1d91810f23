// A recursive-descent parser for --input-spec.
#include "verify/input_spec.h"

#include <ATen/ATen.h>

#include <cctype>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "common/error.h"
#include "verify/dtypes.h"

namespace flashconvert::verify {

namespace {

// The columns that text takes on a terminal: UTF-8 continuation bytes take none.
std::size_t columns(const std::string& text, std::size_t end) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < end && i < text.size(); ++i)
    count += (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
  return count;
}

std::string known_dtypes() {
  std::string text;
  for (const std::string& name : dtype_names()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.'; }

struct Number {
  double value = 0;
  std::int64_t integer = 0;
  bool is_integer = false;
};

class Parser {
public:
  Parser(const std::string& text, std::uint64_t seed)
      : text_(text), generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}

  InputSpec parse() {
    InputSpec spec{text_, parse_name(), {}};
    spec.value = parse_value();
    skip_spaces();
    if (position_ < text_.size()) fail("expected the end of the spec, found " + found());
    return spec;
  }

private:
  [[noreturn]] void fail(const std::string& message) const { throw_spec_error(text_, position_, message); }
  [[noreturn]] void fail_at(std::size_t position, const std::string& message) const {
    throw_spec_error(text_, position, message);
  }

  std::string found() const { return position_ < text_.size() ? "'" + text_.substr(position_, 1) + "'" : "the end"; }
  char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  void skip_spaces() {
    while (std::isspace(static_cast<unsigned char>(peek()))) ++position_;
  }

  // The next character that is not a space is `c`: takes it.
  bool accept(char c) {
    skip_spaces();
    if (peek() != c) return false;
    ++position_;
    return true;
  }
  void expect(char c, const std::string& where) {
    if (!accept(c)) fail(std::string("expected '") + c + "' " + where + ", found " + found());
  }

  std::string take_word() {
    const std::size_t start = position_;
    while (is_word(peek())) ++position_;
    return text_.substr(start, position_ - start);
  }

  // "name:" at the start, if there is one.
  std::string parse_name() {
    skip_spaces();
    const std::size_t start = position_;
    std::string word = take_word();
    if (!word.empty() && !std::isdigit(static_cast<unsigned char>(word[0])) && accept(':')) return word;
    position_ = start;
    return "";
  }

  c10::IValue parse_value() {
    skip_spaces();
    const char c = peek();
    if (c == '(') return parse_tuple();
    if (c == '[') return parse_list();
    if (c == '{') return parse_dict();
    if (c == '"' || c == '\'') return parse_text();
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.') return parse_plain_number();
    const std::size_t start = position_;
    const std::string word = take_word();
    if (word.empty()) fail("expected a dtype, a number or a bracket, found " + found());
    if (word == "none" || word == "None") return {};
    if (word == "true" || word == "True") return true;
    if (word == "false" || word == "False") return false;
    const auto type = parse_dtype(word);
    if (!type) fail_at(start, "'" + word + "' is not a dtype. Expected one of " + known_dtypes());
    return parse_tensor(*type);
  }

  std::vector<c10::IValue> parse_values(char close, const std::string& what) {
    ++position_;  // the opening bracket
    std::vector<c10::IValue> values;
    if (accept(close)) return values;
    do {
      skip_spaces();
      if (peek() == close && !values.empty()) break;  // (a,)
      values.push_back(parse_value());
    } while (accept(','));
    expect(close, "or ',' in the " + what);
    return values;
  }

  c10::IValue parse_tuple() { return c10::ivalue::Tuple::create(parse_values(')', "tuple")); }

  c10::IValue parse_list() {
    c10::impl::GenericList list(c10::AnyType::get());
    for (c10::IValue& value : parse_values(']', "list")) list.push_back(std::move(value));
    return list;
  }

  c10::IValue parse_dict() {
    ++position_;
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    if (accept('}')) return dict;
    do {
      skip_spaces();
      const bool quoted = peek() == '"' || peek() == '\'';
      const std::string key = quoted ? parse_text().toStringRef() : take_word();
      if (key.empty()) fail("expected a key of the dict, found " + found());
      expect(':', "after the key");
      dict.insert_or_assign(key, parse_value());
    } while (accept(','));
    expect('}', "or ',' in the dict");
    return dict;
  }

  c10::IValue parse_text() {
    const std::size_t start = position_;
    const char quote = text_[position_++];
    const std::size_t end = text_.find(quote, position_);
    if (end == std::string::npos) fail_at(start, "the quote that starts here is not closed");
    const std::string content = text_.substr(position_, end - position_);
    position_ = end + 1;
    return content;
  }

  Number parse_number(const std::string& expected) {
    skip_spaces();
    if (peek() == '+') ++position_;
    const char* begin = text_.data() + position_;
    const char* end = text_.data() + text_.size();
    // "0..5": the two dots are not part of the number.
    const std::size_t dots = text_.find("..", position_);
    if (dots != std::string::npos) end = text_.data() + dots;
    Number number;
    const auto floating = std::from_chars(begin, end, number.value);
    if (floating.ec == std::errc::invalid_argument) fail("expected " + expected + ", found " + found());
    const auto integer = std::from_chars(begin, end, number.integer);
    if (floating.ec != std::errc() || (integer.ptr == floating.ptr && integer.ec != std::errc()))
      fail("the number is too large");
    number.is_integer = integer.ptr == floating.ptr;
    position_ += static_cast<std::size_t>(floating.ptr - begin);
    return number;
  }

  c10::IValue parse_plain_number() {
    const Number number = parse_number("a number");
    if (is_word(peek())) fail("expected the end of the number, found " + found());
    return number.is_integer ? c10::IValue(number.integer) : c10::IValue(number.value);
  }

  std::vector<std::int64_t> parse_sizes() {
    std::vector<std::int64_t> sizes;
    if (!accept('[') || accept(']')) return sizes;
    do {
      skip_spaces();
      const std::size_t start = position_;
      const Number size = parse_number("a size (a whole number)");
      if (!size.is_integer || size.integer < 0) fail_at(start, "a size is a whole number, 0 or more");
      sizes.push_back(size.integer);
      check_elements(sizes, start);
    } while (accept(','));
    expect(']', "or ',' after the size");
    return sizes;
  }

  void check_elements(const std::vector<std::int64_t>& sizes, std::size_t position) const {
    constexpr std::int64_t kMostElements = std::int64_t{1} << 36;
    std::int64_t elements = 1;
    for (const std::int64_t size : sizes) {
      if (size != 0 && elements > kMostElements / size)
        fail_at(position, "a tensor of this size does not fit in memory");
      elements *= size;
    }
  }

  c10::IValue parse_tensor(c10::ScalarType type) {
    const auto sizes = parse_sizes();
    if (accept('{')) return parse_range(type, sizes);
    return at::empty(sizes, at::TensorOptions(type).device(at::kMeta));
  }

  // "lowest..highest}", both included, or "value}".
  c10::IValue parse_range(c10::ScalarType type, const std::vector<std::int64_t>& sizes) {
    if (at::isComplexType(type)) fail("a complex tensor takes no range");
    const Number lowest = parse_bound(type);
    Number highest = lowest;
    if (text_.compare(position_, 2, "..") == 0) {
      position_ += 2;
      const std::size_t start = position_;
      highest = parse_bound(type);
      if (highest.value < lowest.value) fail_at(start, "the highest value is below the lowest");
    }
    expect('}', "or '..' in the range");
    const at::Tensor values = at::empty(sizes, at::TensorOptions(at::isFloatingType(type) ? at::kDouble : at::kLong));
    if (at::isFloatingType(type)) return at::Tensor(values.uniform_(lowest.value, highest.value, generator_)).to(type);
    if (lowest.integer == highest.integer) return values.fill_(lowest.integer).to(type);
    return at::Tensor(values.random_(lowest.integer, one_more(highest.integer), generator_)).to(type);
  }

  static std::int64_t one_more(std::int64_t value) {
    return value == std::numeric_limits<std::int64_t>::max() ? value : value + 1;
  }

  Number parse_bound(c10::ScalarType type) {
    skip_spaces();
    const std::size_t start = position_;
    const Number bound = parse_number("a number");
    if (at::isFloatingType(type)) return bound;
    if (!bound.is_integer) fail_at(start, "the range of " + dtype_name(type) + " is in whole numbers");
    const auto [lowest, highest] = limits(type);
    if (bound.integer < lowest || bound.integer > highest)
      fail_at(start, "the number does not fit in " + dtype_name(type));
    skip_spaces();
    return bound;
  }

  static std::pair<std::int64_t, std::int64_t> limits(c10::ScalarType type) {
    switch (type) {
      case c10::kBool:
        return {0, 1};
      case c10::kByte:
        return {0, 255};
      case c10::kChar:
        return {-128, 127};
      case c10::kShort:
        return {-32768, 32767};
      case c10::kInt:
        return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
      default:
        return {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
    }
  }

  const std::string& text_;
  std::size_t position_ = 0;
  at::Generator generator_;
};

}  // namespace

void throw_spec_error(const std::string& text, std::size_t position, const std::string& message) {
  throw Error(ErrorKind::kUsage, "--input-spec: " + message,
              text + "\n  " + std::string(columns(text, position), ' ') +
                  "^\n  For example: \"float16[8,3,224,224]\", "
                  "\"ids:int64[2,128]{0..30521}\", \"mask:bool[2,128]{1}\", \"none\".");
}

InputSpec parse_input_spec(const std::string& text, std::uint64_t seed) { return Parser(text, seed).parse(); }

}  // namespace flashconvert::verify
