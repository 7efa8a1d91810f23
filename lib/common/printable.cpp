#include "common/printable.h"

#include <cstdint>
#include <utility>

namespace flashconvert {
namespace {

struct Character {
  std::size_t size = 1;
  std::uint32_t code = 0;
  bool valid = false;
};

// The UTF-8 sequence at the beginning of `text`, which is not empty (RFC 3629).
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, lead, true};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return {};
  std::uint32_t code = lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[size] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
  return {size, code, true};
}

bool is_harmless(std::uint32_t code) {
  const bool is_control = code < 0x20 || (code >= 0x7F && code < 0xA0);
  const bool turns_text =
      (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  return !is_control && !turns_text;
}

// The length of a colour sequence at the beginning of `text`, or 0.
std::size_t color_sequence(std::string_view text) {
  if (text.substr(0, 2) != "\x1b[") return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

std::string escaped(std::string_view bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

}  // namespace

std::string printable(std::string_view text, bool allow_colors) {
  std::string result;
  while (!text.empty()) {
    std::size_t size = allow_colors ? color_sequence(text) : 0;
    bool passes = size != 0;
    if (!passes) {
      const Character character = first_character(text);
      size = character.size;
      passes = character.valid && (is_harmless(character.code) || text[0] == '\n' || text[0] == '\t');
    }
    result += passes ? std::string(text.substr(0, size)) : escaped(text.substr(0, size));
    text.remove_prefix(size);
  }
  return result;
}

std::string printable_name(std::string_view name) {
  constexpr std::size_t kLongest = 160;
  std::string text = printable(name.substr(0, kLongest));
  for (const auto& [from, to] : {std::pair<char, const char*>{'\n', "\\n"}, {'\t', "\\t"}}) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;) text.replace(at, 1, to);
  }
  return name.size() > kLongest ? text + "…" : text;
}

}  // namespace flashconvert
