// The bytes of a pickle, taken from its begin to its end and never beyond.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/pickle_walker.h"
#include "common/printable.h"

namespace flashconvert::checkpoint {

class PickleReader {
public:
  explicit PickleReader(std::string_view pickle) : pickle_(pickle) {}

  std::size_t position() const { return at_; }
  std::size_t rest() const { return pickle_.size() - at_; }

  std::string_view take(std::uint64_t size) {
    if (size > rest()) {
      throw MalformedPickle{0, "expected " + std::to_string(size) + " bytes, found " + std::to_string(rest())};
    }
    const std::string_view taken = pickle_.substr(at_, static_cast<std::size_t>(size));
    at_ += static_cast<std::size_t>(size);
    return taken;
  }

  unsigned byte() { return static_cast<unsigned char>(take(1)[0]); }

  std::uint64_t number(std::size_t bytes) {  // little-endian
    const std::string_view text = take(bytes);
    std::uint64_t value = 0;
    for (std::size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
    return value;
  }

  // A qualified name, to the end of its line. LibTorch's reader would go on for ever where there is none.
  std::string_view line() {
    constexpr std::size_t kLongest = 4096;
    const std::size_t end = pickle_.find('\n', at_);
    if (end == std::string_view::npos || end - at_ > kLongest) throw MalformedPickle{0, "a name without an end"};
    const std::string_view name = pickle_.substr(at_, end - at_);
    at_ = end + 1;
    bool word_begins = true;
    for (const char c : name) {
      const bool of_word = c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (static_cast<unsigned char>(c) & 0x80) != 0;
      if (!of_word && (c != '.' || word_begins)) fail_name(name);
      word_begins = c == '.';
    }
    if (word_begins) fail_name(name);
    return name;
  }

private:
  [[noreturn]] static void fail_name(std::string_view name) {
    throw MalformedPickle{0, "'" + printable_name(name) + "' is no qualified name"};
  }

  std::string_view pickle_;
  std::size_t at_ = 0;
};

}  // namespace flashconvert::checkpoint
