// The values of a pickle as the walker knows them: what they are, and what they hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/pickle_walker.h"

namespace flashconvert::checkpoint {

using ValueId = std::uint32_t;

struct PickledStorage {
  std::uint64_t elements = 0;
  std::uint64_t element_size = 0;  // in bytes
  std::uint64_t per_element = 1;   // values of a tensor to one element: 2 of four bits
};

struct PickledGlobal {
  std::string_view module;
  std::string_view name;
};

class PickleValues {
public:
  // Values beyond this number are no model's: a dict of a million words has two million.
  static constexpr std::size_t kMost = 4'000'000;

  struct Value {
    PickleKind kind = PickleKind::kNone;
    std::uint32_t first = 0;  // of a tuple's elements
    std::uint32_t count = 0;
    // A number; where a text begins, with `count` bytes; the index of a global or storage; a tensor's elements.
    std::int64_t number = 0;
  };

  explicit PickleValues(std::string_view pickle) : pickle_(pickle) {}

  ValueId add(PickleKind kind, std::int64_t number = 0);
  ValueId add_text(std::size_t offset, std::size_t size);
  ValueId add_global(std::string_view module, std::string_view name);
  ValueId add_storage(const PickledStorage& storage);
  ValueId add_tuple(const std::vector<ValueId>& elements);
  void put_into(ValueId container, ValueId element) { held_.push_back({container, element}); }

  const Value& operator[](ValueId id) const { return values_[id]; }
  std::string_view text(ValueId id) const;
  const PickledGlobal& global(ValueId id) const { return globals_[static_cast<std::size_t>(values_[id].number)]; }
  const PickledStorage& storage(ValueId id) const { return storages_[static_cast<std::size_t>(values_[id].number)]; }
  ValueId element(ValueId tuple, std::size_t index) const { return elements_[values_[tuple].first + index]; }
  bool is_global(ValueId id, std::string_view module, std::string_view name) const;

  // What is wrong with how the values lie within each other, or "": nested too deeply, within themselves, or shared so
  // often that whoever writes them out would never end.
  std::string find_bad_nesting() const;

private:
  struct Held {
    ValueId container, element;
  };
  struct Contents {  // of each value, side by side: from begin[value] to begin[value + 1]
    std::vector<std::uint32_t> begin;
    std::vector<ValueId> values;
  };
  Contents contents() const;

  std::string_view pickle_;
  std::vector<Value> values_;
  std::vector<ValueId> elements_;
  std::vector<Held> held_;
  std::vector<PickledGlobal> globals_;
  std::vector<PickledStorage> storages_;
};

}  // namespace flashconvert::checkpoint
