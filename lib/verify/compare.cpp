// Pairs the outputs of the models by name and judges each pair.
#include "verify/compare.h"

#include <ATen/ATen.h>

#include <map>
#include <optional>
#include <set>

#include "verify/compare_tensors.h"
#include "verify/dtypes.h"
#include "verify/leaves.h"
#include "verify/messages.h"
#include "verify/tolerance.h"
#include "verify/verify.h"

namespace flashconvert::verify {

namespace {

using Leaves = std::map<std::string, c10::IValue>;

Leaves leaves_by_name(const c10::IValue& value, const std::string& name) {
  Leaves leaves;
  for (Leaf& leaf : flatten(value, name)) leaves.emplace(std::move(leaf.name), std::move(leaf.value));
  return leaves;
}

const c10::IValue* find(const Leaves& leaves, const std::string& name) {
  const auto found = leaves.find(name);
  return found == leaves.end() ? nullptr : &found->second;
}

bool is_number(const c10::IValue& value) { return value.isDouble() || value.isComplexDouble(); }

// A Python number that was taken from a tensor carries that tensor's rounding, and its dtype is not known: it is judged
// as a float32 tensor of one element would be.
at::Tensor number_tensor(const c10::IValue& value) { return at::scalar_tensor(value.toScalar()); }

// `value` as a tensor of `like`'s shape; `like` itself where the evaluation gave nothing of that shape (an output whose
// size depends on values may come out differently in float64).
at::Tensor tensor_shaped_like(const c10::IValue* value, const at::Tensor& like) {
  const bool usable =
      value && value->isTensor() && value->toTensor().defined() && value->toTensor().sizes() == like.sizes();
  return usable ? value->toTensor() : like;
}

report::OutputComparison compare_tensor_leaf(const std::string& name, const c10::IValue* reference,
                                             const c10::IValue* yardstick, const at::Tensor& original,
                                             const at::Tensor& converted) {
  if (original.sizes() != converted.sizes()) {
    return failed_output(name,
                         "shape " + format_sizes(original.sizes()) + " became " + format_sizes(converted.sizes()));
  }
  if (original.scalar_type() != converted.scalar_type()) {
    return failed_output(name, dtype_name(original.scalar_type()) + " became " + dtype_name(converted.scalar_type()));
  }
  report::OutputComparison result = compare_tensors(tensor_shaped_like(reference, original),
                                                    tensor_shaped_like(yardstick, original), original, converted);
  result.name = name;
  return result;
}

report::OutputComparison compare_leaf(const std::string& name, const c10::IValue* reference,
                                      const c10::IValue* yardstick, const c10::IValue& original,
                                      const c10::IValue& converted) {
  if (original.isTensor() && converted.isTensor()) {
    return compare_tensor_leaf(name, reference, yardstick, original.toTensor(), converted.toTensor());
  }
  if (is_number(original) && is_number(converted)) {
    const auto as_tensor = [](const c10::IValue* value) -> std::optional<c10::IValue> {
      if (!value || !is_number(*value)) return std::nullopt;
      return c10::IValue(number_tensor(*value));
    };
    const auto reference_tensor = as_tensor(reference);
    const auto yardstick_tensor = as_tensor(yardstick);
    return compare_tensor_leaf(name, reference_tensor ? &*reference_tensor : nullptr,
                               yardstick_tensor ? &*yardstick_tensor : nullptr, number_tensor(original),
                               number_tensor(converted));
  }
  report::OutputComparison result;
  result.name = name;
  result.dtype = original.tagKind();
  const std::string before = describe_value(original);
  const std::string after = describe_value(converted);
  result.passed = original.tagKind() == converted.tagKind() && before == after;
  if (!result.passed) result.note = before + " became " + after;
  return result;
}

}  // namespace

report::OutputComparison failed_output(const std::string& name, const std::string& note) {
  report::OutputComparison result;
  result.name = name;
  result.note = note;
  return result;
}

std::vector<report::OutputComparison> compare_evaluations(const Evaluations& values, const std::string& name) {
  if (values.original.isNone() && values.converted.isNone()) {
    return {failed_output(name, "the original returns nothing: there is nothing to compare")};
  }
  const Leaves reference = leaves_by_name(values.reference, name);
  const Leaves yardstick = leaves_by_name(values.yardstick, name);
  const Leaves converted = leaves_by_name(values.converted, name);

  std::vector<report::OutputComparison> results;
  std::set<std::string> seen;
  for (const Leaf& leaf : flatten(values.original, name)) {
    seen.insert(leaf.name);
    const c10::IValue* other = find(converted, leaf.name);
    results.push_back(
        other ? compare_leaf(leaf.name, find(reference, leaf.name), find(yardstick, leaf.name), leaf.value, *other)
              : failed_output(leaf.name, "missing in the converted model's outputs"));
  }
  for (const auto& [other_name, value] : converted) {
    if (!seen.count(other_name)) results.push_back(failed_output(other_name, "only in the converted model's outputs"));
  }
  const std::string before = structure_of(values.original);
  const std::string after = structure_of(values.converted);
  if (before != after) results.push_back(failed_output(name, "the structure " + before + " became " + after));
  return results;
}

std::vector<report::OutputComparison> compare_outputs(const c10::IValue& reference, const c10::IValue& original,
                                                      const c10::IValue& converted, const std::string& name) {
  return compare_evaluations({reference, original, original, converted}, name);
}

}  // namespace flashconvert::verify
