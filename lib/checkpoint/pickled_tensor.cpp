#include "checkpoint/pickled_tensor.h"

#include <c10/core/ScalarType.h>

#include <optional>

#include "common/printable.h"

namespace flashconvert::checkpoint {
namespace {

[[noreturn]] void fail(std::string problem) { throw MalformedPickle{0, std::move(problem)}; }

void expect(const PickleValues& values, ValueId id, PickleKind kind, const char* what) {
  if (values[id].kind == kind) return;
  fail(std::string(what) + ": expected " + std::string(name_of(kind)) + ", found " +
       std::string(name_of(values[id].kind)));
}

std::optional<c10::ScalarType> type_of_storage(std::string_view name) {
#define FLASHCONVERT_STORAGE(cpp_type, type) \
  if (name == #type "Storage") return c10::ScalarType::type;
  AT_FORALL_SCALAR_TYPES_WITH_COMPLEX_AND_QINTS(FLASHCONVERT_STORAGE)
#undef FLASHCONVERT_STORAGE
  return std::nullopt;
}

// How LibTorch packs types of fewer than eight bits: into an element of a byte.
std::uint64_t values_per_element(c10::ScalarType type) {
  return type == c10::ScalarType::QUInt4x2 ? 2 : type == c10::ScalarType::QUInt2x4 ? 4 : 1;
}

// "cpu", "cuda", "cuda:1": devices whose tensors TorchScript files hold.
bool is_known_location(std::string_view location) {
  const std::size_t colon = location.find(':');
  const std::string_view type = location.substr(0, colon);
  bool known = false;
  for (const std::string_view name : {"cpu", "cuda", "xpu", "mps", "hpu"}) known = known || type == name;
  if (colon == std::string_view::npos) return known;
  const std::string_view index = location.substr(colon + 1);
  return known && !index.empty() && index.size() <= 2 &&
         index.find_first_not_of("0123456789") == std::string_view::npos;
}

void require_record(const PickledStorage& storage, const std::string& key, const PickleRules& rules) {
  if (storage.elements == 0 || !rules.record_size) return;
  const std::optional<std::uint64_t> size = rules.record_size(key);
  const std::string needed =
      std::to_string(storage.elements) + " elements of " + std::to_string(storage.element_size) + " bytes";
  if (!size) fail("the storage " + printable_name(key) + " of " + needed + " has no record");
  if (storage.elements > *size / storage.element_size) {
    fail("the storage " + printable_name(key) + " has " + needed + ", and its record only " + std::to_string(*size) +
         " bytes");
  }
}

// "[2, 3]"
std::string shown(const PickleValues& values, ValueId tuple) {
  std::string text = "[";
  for (std::uint32_t i = 0; i < values[tuple].count; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(values[values.element(tuple, i)].number);
  }
  return text + "]";
}

void expect_numbers(const PickleValues& values, ValueId tuple, const char* what) {
  constexpr std::uint32_t kMostDimensions = 64;  // of torch's iterators
  expect(values, tuple, PickleKind::kTuple, what);
  if (values[tuple].count > kMostDimensions) fail(std::string(what) + ": more than 64 dimensions");
  for (std::uint32_t i = 0; i < values[tuple].count; ++i) {
    expect(values, values.element(tuple, i), PickleKind::kInt, what);
    const std::int64_t number = values[values.element(tuple, i)].number;
    if (number < 0) fail(std::string(what) + ": " + std::to_string(number) + " is negative");
  }
}

struct Extent {
  std::uint64_t elements = 1;
  std::uint64_t end = 0;  // of the last element, from the begin of the storage
};

// Nothing when a number does not fit.
std::optional<Extent> measure(const PickleValues& values, std::uint64_t offset, ValueId sizes, ValueId strides) {
  Extent extent;
  std::uint64_t last = offset;
  for (std::uint32_t i = 0; i < values[sizes].count; ++i) {
    const auto size = static_cast<std::uint64_t>(values[values.element(sizes, i)].number);
    const auto stride = static_cast<std::uint64_t>(values[values.element(strides, i)].number);
    if (__builtin_mul_overflow(extent.elements, size, &extent.elements)) return std::nullopt;
    std::uint64_t step = 0;
    if (size == 0) continue;
    if (__builtin_mul_overflow(size - 1, stride, &step) || __builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  extent.end = extent.elements == 0 ? 0 : last + 1;
  return extent;
}

std::uint64_t check_extent(const PickleValues& values, ValueId arguments, const PickleRules& rules) {
  const ValueId sizes = values.element(arguments, 2), strides = values.element(arguments, 3);
  const PickledStorage& storage = values.storage(values.element(arguments, 0));
  expect(values, values.element(arguments, 1), PickleKind::kInt, "a tensor's offset");
  const std::int64_t offset = values[values.element(arguments, 1)].number;
  expect_numbers(values, sizes, "a tensor's sizes");
  expect_numbers(values, strides, "a tensor's strides");
  if (values[sizes].count != values[strides].count) {
    fail("a tensor has " + std::to_string(values[sizes].count) + " sizes and " + std::to_string(values[strides].count) +
         " strides");
  }
  const std::string tensor = "a tensor of sizes " + shown(values, sizes) + ", strides " + shown(values, strides) +
                             " and offset " + std::to_string(offset);
  if (offset < 0) fail(tensor + ": the offset is negative");
  const std::optional<Extent> extent = measure(values, static_cast<std::uint64_t>(offset), sizes, strides);
  if (!extent || extent->elements > rules.largest_tensor / storage.element_size) {
    fail(tensor + " stands for more memory than a file of this size may ask for");
  }
  const std::uint64_t held = storage.elements * storage.per_element;
  if (rules.record_size && extent->end > held) {
    fail(tensor + " ends at element " + std::to_string(extent->end) + " of a storage of " + std::to_string(held));
  }
  return extent->elements;
}

// Per channel, ("per_channel_affine", scales, zero points, axis): one scale for each index of the axis.
void check_quantization(const PickleValues& values, ValueId arguments) {
  const ValueId how = values.element(arguments, 4), sizes = values.element(arguments, 2);
  expect(values, how, PickleKind::kTuple, "a tensor's quantisation");
  if (values[how].count < 3) fail("a tensor's quantisation: expected three values or more");
  expect(values, values.element(how, 0), PickleKind::kGlobal, "a tensor's quantisation scheme");
  if (values.global(values.element(how, 0)).name.substr(0, 11) != "per_channel") return;
  if (values[how].count < 4) fail("a tensor's quantisation: expected four values");
  expect(values, values.element(how, 3), PickleKind::kInt, "a tensor's quantisation axis");
  const std::int64_t axis = values[values.element(how, 3)].number;
  if (axis < 0 || axis >= values[sizes].count)
    fail("a tensor has no dimension " + std::to_string(axis) + " to quantise");
  for (const std::uint32_t i : {1U, 2U}) {
    expect(values, values.element(how, i), PickleKind::kTensor, "a tensor's scales and zero points");
    const std::int64_t channels = values[values.element(sizes, static_cast<std::size_t>(axis))].number;
    if (values[values.element(how, i)].number != channels) {
      fail("a tensor of " + std::to_string(channels) + " channels has " +
           std::to_string(values[values.element(how, i)].number) + " scales or zero points");
    }
  }
}

}  // namespace

PickledStorage read_storage_id(const PickleValues& values, ValueId id, const PickleRules& rules, WalkedPickle& walked) {
  expect(values, id, PickleKind::kTuple, "a storage's description");
  if (values[id].count != 5)
    fail("a storage's description: expected 5 values, found " + std::to_string(values[id].count));
  const auto part = [&](std::size_t index) { return values.element(id, index); };
  expect(values, part(0), PickleKind::kText, "a storage's description");
  if (values.text(part(0)) != "storage") fail("a reference that is no storage");
  expect(values, part(1), PickleKind::kGlobal, "a storage's type");
  const PickledGlobal& type_name = values.global(part(1));
  const std::optional<c10::ScalarType> type =
      type_name.module == "torch" ? type_of_storage(type_name.name) : std::nullopt;
  if (!type)
    fail("a storage of the unknown type " + printable_name(type_name.module) + "." + printable_name(type_name.name));
  expect(values, part(2), PickleKind::kText, "a storage's key");
  expect(values, part(3), PickleKind::kText, "a storage's location");
  expect(values, part(4), PickleKind::kInt, "a storage's number of elements");
  const std::string key(values.text(part(2))), location(values.text(part(3)));
  if (!is_known_location(location)) fail("a storage on the unknown device '" + printable_name(location) + "'");
  const std::int64_t elements = values[part(4)].number;
  if (elements < 0) fail("a storage of " + std::to_string(elements) + " elements");
  const PickledStorage storage{static_cast<std::uint64_t>(elements), c10::elementSize(*type),
                               values_per_element(*type)};
  if (!rules.record_size && storage.elements > rules.largest_tensor / storage.element_size) {
    fail("a storage of " + std::to_string(elements) + " elements");
  }
  require_record(storage, key, rules);
  walked.locations[key] = location;
  return storage;
}

std::int64_t check_tensor(const PickleValues& values, ValueId arguments, bool quantized, const PickleRules& rules) {
  const std::uint32_t fewest = quantized ? 7 : 6;
  expect(values, arguments, PickleKind::kTuple, "a tensor's description");
  const std::uint32_t count = values[arguments].count;
  if (count < fewest || count > fewest + 1) {
    fail("a tensor's description: expected " + std::to_string(fewest) + " values, found " + std::to_string(count));
  }
  expect(values, values.element(arguments, 0), PickleKind::kStorage, "a tensor's storage");
  const std::uint64_t elements = check_extent(values, arguments, rules);
  if (quantized) check_quantization(values, arguments);
  expect(values, values.element(arguments, quantized ? 5 : 4), PickleKind::kBool, "a tensor's requires_grad");
  return static_cast<std::int64_t>(elements);
}

}  // namespace flashconvert::checkpoint
