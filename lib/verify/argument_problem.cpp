// Compares given arguments with what the graph does with them and with what the checkpoint was traced with.
#include "verify/argument_problem.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include "verify/messages.h"

namespace flashconvert::verify {

namespace {

std::string named(const torch::jit::Module& module, const std::string& method, std::size_t index) {
  const auto& arguments = module.get_method(method).function().getSchema().arguments();
  return "argument " + std::to_string(index + 1) + " (`" + arguments.at(index + 1).name() + "`)";
}

bool selects_rows(const InputUse& use) { return use.use == Use::kIndex || use.use == Use::kPosition; }

// What is wrong with ids: their dtype, or a value beyond the table.
std::string id_problem(const at::Tensor& ids, const InputUse& use) {
  if (!at::isIntegralType(ids.scalar_type(), /*includeBool=*/true)) {
    return " selects rows of a table and must be int64, given is " + describe_value(ids);
  }
  if (use.rows && ids.numel() && !ids.is_meta() && ids.scalar_type() != at::kBool) {
    const auto largest = ids.max().item<std::int64_t>();
    const auto smallest = ids.min().item<std::int64_t>();
    if (largest >= *use.rows || smallest < 0) {
      return " selects rows of a table that has " + std::to_string(*use.rows) + ", given are values from " +
             std::to_string(smallest) + " to " + std::to_string(largest);
    }
  }
  return "";
}

// A dtype or a number of dimensions that the trace did not have; sizes may differ, and are named only when nothing else
// does.
std::string difference_from_traced(const at::Tensor& given, const at::Tensor& traced, bool sizes_too) {
  const bool differs = given.scalar_type() != traced.scalar_type() || given.dim() != traced.dim() ||
                       (sizes_too && given.sizes() != traced.sizes());
  return differs ? " is " + describe_value(given) + ", the checkpoint was traced with " + describe_value(traced) : "";
}

}  // namespace

std::string argument_problem(const torch::jit::Module& module, const std::string& method,
                             const std::vector<c10::IValue>& arguments, const std::vector<InputUse>& uses,
                             const std::vector<c10::IValue>* traced) {
  for (std::size_t i = 0; i < arguments.size() && i < uses.size(); ++i) {
    if (!arguments[i].isTensor() || !selects_rows(uses[i])) continue;
    const std::string problem = id_problem(arguments[i].toTensor(), uses[i]);
    if (!problem.empty()) return named(module, method, i) + problem;
  }
  for (const bool sizes_too : {false, true}) {
    for (std::size_t i = 0; traced && i < arguments.size() && i < traced->size(); ++i) {
      if (!arguments[i].isTensor() || !(*traced)[i].isTensor()) continue;
      const std::string problem = difference_from_traced(arguments[i].toTensor(), (*traced)[i].toTensor(), sizes_too);
      if (!problem.empty()) return named(module, method, i) + problem;
    }
  }
  return "";
}

}  // namespace flashconvert::verify
