// Walks through a pickle of LibTorch's, opcode by opcode, and checks all that LibTorch's unpickler believes: lengths,
// counts, memo numbers, nesting, and that each tensor lies within its storage and each storage within its record.
// Nothing is built: memory and time are bounded by the pickle's own size.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace flashconvert::checkpoint {

// Thrown: what is wrong, and at which byte of the pickle the opcode stands.
struct MalformedPickle {
  std::uint64_t byte = 0;
  std::string problem;
};

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kGlobal,
  kTuple,
  kList,
  kDict,
  kNewObject,  // before it has got its state
  kObject,
  kStorage,
  kTensor,
  kOther
};
std::string_view name_of(PickleKind kind);  // "a tuple"

struct PickleRules {
  // The bytes of the record that a storage's key names; nothing when there is no such record. An empty function: the
  // storages are not there (the example inputs of a trace), and neither they nor views of them are measured.
  std::function<std::optional<std::uint64_t>(const std::string& key)> record_size;
  // A view of a small storage may stand for many elements: how many bytes of them.
  std::uint64_t largest_tensor = std::uint64_t{1} << 62;
  // Whether calls of functions that LibTorch's unpickler does not know are passed over; it never sees such pickles.
  bool any_function = false;
};

struct WalkedPickle {
  PickleKind root = PickleKind::kNone;
  std::map<std::string, std::string> locations;  // key of each storage ("0") to its location ("cpu", "cuda:1")
};

// Throws MalformedPickle.
WalkedPickle walk_pickle(std::string_view pickle, const PickleRules& rules = {});

}  // namespace flashconvert::checkpoint
