// Parity: every case through the original, the reference and the converted model, one model after the other so that
// only one of them is on the device at a time.
#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "common/error.h"
#include "verify/compare.h"
#include "verify/device.h"
#include "verify/dtypes.h"
#include "verify/evaluation.h"
#include "verify/leaves.h"
#include "verify/messages.h"
#include "verify/placed_module.h"
#include "verify/verify.h"

namespace flashconvert::verify {

namespace {

constexpr std::uint64_t kSeed = 0;
constexpr std::uint64_t kOtherSeed = 1;

Outcome try_run(PlacedModule& module, const Case& test, std::uint64_t seed = kSeed) {
  try {
    return {module.run(test.method, test.arguments, seed), std::nullopt};
  } catch (const std::exception& error) {
    return {{}, brief_message(error)};
  }
}

std::vector<Outcome> run_all(const torch::jit::Module& module, const Placement& placement,
                             const std::vector<Case>& cases) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(cases.size());
  PlacedModule placed(module, placement);
  for (const Case& test : cases) outcomes.push_back(try_run(placed, test));
  return outcomes;
}

Originals run_originals(const torch::jit::Module& original, const std::vector<Case>& cases, c10::Device device) {
  Originals result{device};
  std::vector<Outcome> outcomes = run_all(original, {{device}}, cases);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (!outcomes[i].error) {
      result.cases.push_back(cases[i]);
      result.outcomes.push_back(std::move(outcomes[i]));
    } else if (!cases[i].derived) {
      throw Error(
          ErrorKind::kUsage,
          "the checkpoint's `" + cases[i].method + "` rejects " + cases[i].description + ": " + *outcomes[i].error,
          "Give inputs that the model accepts, with --inputs or --input-spec.");
    }
  }
  return result;
}

// On `auto`, a model that does not run on CUDA (operators without a CUDA kernel, too little memory) is verified on the
// CPU.
Originals run_originals(const torch::jit::Module& original, const std::vector<Case>& cases, const std::string& option) {
  const c10::Device device = choose_device(option);
  try {
    return run_originals(original, cases, device);
  } catch (const std::exception&) {
    if (option != "auto" || device.is_cpu()) throw;
  }
  return run_originals(original, cases, c10::Device(c10::kCPU));
}

std::optional<c10::ScalarType> floating_type(const c10::IValue& leaf) {
  if (!leaf.isTensor() || !leaf.toTensor().defined()) return std::nullopt;
  const auto type = leaf.toTensor().scalar_type();
  return at::isFloatingType(type) ? std::optional(type) : std::nullopt;
}

bool any_output_is(const std::vector<Outcome>& outcomes, std::initializer_list<c10::ScalarType> types) {
  for (const Outcome& outcome : outcomes) {
    for (const Leaf& leaf : flatten(outcome.output)) {
      const auto type = floating_type(leaf.value);
      if (type && std::find(types.begin(), types.end(), *type) != types.end()) return true;
    }
  }
  return false;
}

bool uses_tf32(c10::Device device) {
  const auto& context = at::globalContext();
  return device.is_cuda() && (context.allowTF32CuDNN() || context.allowTF32CuBLAS());
}

// An original that agrees with its reference to fewer than half of its digits is another function there (a value that
// only float64 can hold passes a threshold), and twice its error would allow anything.
double faithful_error(c10::ScalarType type, c10::Device device) {
  int digits = 52;  // binary, of the mantissa
  if (type == c10::kFloat) digits = uses_tf32(device) ? 10 : 23;
  if (type == c10::kHalf) digits = 10;
  if (type == c10::kBFloat16) digits = 7;
  return std::exp2(-digits / 2.0);
}

// Throws when the original is too far from what `outcomes` say that it computes.
void check_faithful(const Originals& originals, const std::vector<Outcome>& outcomes) {
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const c10::IValue& original = originals.outcomes[i].output;
    for (const auto& output : compare_evaluations({outcomes[i].output, original, original, original})) {
      const auto type = parse_dtype(output.dtype);
      if (!type || !at::isFloatingType(*type) || output.error_original <= faithful_error(*type, originals.device))
        continue;
      std::ostringstream message;
      message << output.name << " of the original is " << output.error_original << " of its scale away";
      throw std::runtime_error(message.str());
    }
  }
}

// The original evaluated in `type`; sets `failure` and returns nothing when that is not possible.
std::optional<std::vector<Outcome>> evaluate_in(const torch::jit::Module& original, const Originals& originals,
                                                c10::ScalarType type, std::string& failure) {
  try {
    auto outcomes = run_all(original, {{originals.device, type}}, originals.cases);
    for (const Outcome& outcome : outcomes) {
      if (outcome.error) throw std::runtime_error(*outcome.error);
    }
    check_faithful(originals, outcomes);
    return outcomes;
  } catch (const std::exception& error) {
    failure += (failure.empty() ? "" : "; ") + dtype_name(type) + " failed: " + brief_message(error);
    return std::nullopt;
  }
}

// Where torch computes float32 products in TF32 by default, both models do, and the figures of the original show it.
std::string tf32_note(c10::Device device) {
  if (!uses_tf32(device)) return "";
  const bool convolutions = at::globalContext().allowTF32CuDNN();
  const bool products = at::globalContext().allowTF32CuBLAS();
  return std::string("; torch's defaults allow TF32 in float32 ") + (convolutions && products
                                                                         ? "convolutions and matrix products"
                                                                     : convolutions ? "convolutions"
                                                                                    : "matrix products");
}

// float64; else, for 16-bit models, float32; else the original itself, with the error that one rounding of its weights
// and inputs makes as the estimate of its own.
Reference find_reference(const torch::jit::Module& original, const Originals& originals) {
  std::string failure;
  const bool only_float64 = any_output_is(originals.outcomes, {c10::kDouble}) &&
                            !any_output_is(originals.outcomes, {c10::kFloat, c10::kHalf, c10::kBFloat16});
  if (only_float64) {
    failure = "it computes in float64 itself";
  } else {
    std::vector<c10::ScalarType> wider{c10::kDouble};
    if (any_output_is(originals.outcomes, {c10::kHalf, c10::kBFloat16})) wider.push_back(c10::kFloat);
    for (const c10::ScalarType type : wider) {
      if (auto outcomes = evaluate_in(original, originals, type, failure)) {
        const std::string why = failure.empty() ? "" : " (" + failure + ")";
        return {
            dtype_name(type) + why + tf32_note(originals.device), {{originals.device, type}}, std::move(*outcomes), {}};
      }
    }
  }
  const Placement placement{{originals.device}, /*perturbed=*/true};
  auto perturbed = run_all(original, placement, originals.cases);
  for (std::size_t i = 0; i < perturbed.size(); ++i) {
    if (perturbed[i].error) perturbed[i] = originals.outcomes[i];
  }
  return {"original in its own dtype (" + failure + "); its error is estimated by one rounding of weights and inputs",
          placement, originals.outcomes, std::move(perturbed)};
}

std::vector<report::OutputComparison> compare_case(const Outcome& reference, const Outcome& yardstick,
                                                   const Outcome& original, const Outcome& converted) {
  if (converted.error) return {failed_output("output", "the converted model fails: " + *converted.error)};
  return compare_evaluations({reference.output, yardstick.output, original.output, converted.output});
}

bool all_passed(const std::vector<report::OutputComparison>& outputs) {
  return std::all_of(outputs.begin(), outputs.end(), [](const auto& output) { return output.passed; });
}

// A model that draws random numbers differs from itself. Where the original's own second run (another seed) is as far
// away as the failure, that is what the note says.
void explain_randomness(PlacedModule& original, const Case& test, const Outcome& first,
                        std::vector<report::OutputComparison>& outputs) {
  const Outcome second = try_run(original, test, kOtherSeed);
  if (second.error) return;
  const auto self = compare_evaluations({first.output, first.output, first.output, second.output});
  for (report::OutputComparison& output : outputs) {
    const auto same_name =
        std::find_if(self.begin(), self.end(), [&](const auto& entry) { return entry.name == output.name; });
    if (output.passed || same_name == self.end() || same_name->passed) continue;
    if (same_name->error_converted <= output.allowed && same_name->error_converted > 0) continue;
    output.note =
        "the original itself gives another result at each run (an active dropout or other random numbers), so "
        "parity cannot be judged; " +
        output.note;
  }
}

}  // namespace

Verifier::Verifier(const torch::jit::Module& original, const std::vector<Case>& cases, const VerifyOptions& options) {
  Originals originals = run_originals(original, cases, options.device);
  if (originals.cases.empty()) {
    throw Error(ErrorKind::kUsage, "there are no inputs to run the model on",
                "Give some with --inputs or --input-spec.");
  }
  Reference reference = find_reference(original, originals);
  evaluated_ = std::make_unique<const Evaluated>(Evaluated{original, std::move(originals), std::move(reference)});
}

Verifier::~Verifier() = default;
Verifier::Verifier(Verifier&&) noexcept = default;
Verifier& Verifier::operator=(Verifier&&) noexcept = default;

report::Parity Verifier::compare(const torch::jit::Module& converted) const {
  const auto& [original, originals, reference] = *evaluated_;
  const auto& yardstick = reference.yardstick.empty() ? originals.outcomes : reference.yardstick;
  const std::vector<Outcome> results = run_all(converted, {{originals.device}}, originals.cases);

  report::Parity parity;
  parity.device = describe_device(originals.device);
  parity.reference = reference.description;
  parity.passed = true;
  std::optional<PlacedModule> again;
  for (std::size_t i = 0; i < originals.cases.size(); ++i) {
    const Case& test = originals.cases[i];
    report::ParityCase entry{test.description, test.method,
                             compare_case(reference.outcomes[i], yardstick[i], originals.outcomes[i], results[i])};
    if (!all_passed(entry.outputs)) {
      parity.passed = false;
      if (!again) again.emplace(original, Placement{{originals.device}});
      explain_randomness(*again, test, originals.outcomes[i], entry.outputs);
    }
    parity.cases.push_back(std::move(entry));
  }
  return parity;
}

report::Parity compare_modules(torch::jit::Module& original, torch::jit::Module& converted,
                               const std::vector<Case>& cases, const VerifyOptions& options) {
  return Verifier(original, cases, options).compare(converted);
}

}  // namespace flashconvert::verify
