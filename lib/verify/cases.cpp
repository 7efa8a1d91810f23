// make_cases: examples become cases by being tried on the original: values are drawn until it accepts them, arguments
// that a trace recorded in another order are put right, and other shapes are added where it takes them.
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "common/error.h"
#include "verify/argument_problem.h"
#include "verify/binding.h"
#include "verify/derive.h"
#include "verify/device.h"
#include "verify/draw.h"
#include "verify/examples.h"
#include "verify/leaves.h"
#include "verify/messages.h"
#include "verify/placed_module.h"
#include "verify/uses.h"
#include "verify/verify.h"

namespace flashconvert::verify {

namespace {

constexpr std::size_t kCases = 5;          // that derived shapes fill up to
constexpr std::size_t kFewestDerived = 2;  // that are looked for however many cases are given
constexpr int kMostDerivedTrials = 12;
constexpr double kSlowCallSeconds = 20;   // a model this slow is verified on the given shapes alone
constexpr double kDerivedSeconds = 60;    // for all trials of derived shapes
constexpr std::size_t kMostPermuted = 4;  // arguments of which other orders are tried
constexpr double kFiniteShare = 0.5;      // of an output's values, for drawn inputs to mean something

struct Trial {
  std::optional<std::string> error;
  double finite = 1;  // share of the floating outputs' values
  double seconds = 0;
};

double finite_share(const c10::IValue& output) {
  double finite = 0;
  double total = 0;
  for (const Leaf& leaf : flatten(output)) {
    if (!leaf.value.isTensor() || !leaf.value.toTensor().defined() || !leaf.value.toTensor().is_floating_point())
      continue;
    finite += at::isfinite(leaf.value.toTensor()).sum().item<double>();
    total += static_cast<double>(leaf.value.toTensor().numel());
  }
  return total > 0 ? finite / total : 1;
}

Trial try_arguments(PlacedModule& module, const std::string& method, const std::vector<c10::IValue>& arguments) {
  Trial trial;
  const auto start = std::chrono::steady_clock::now();
  try {
    trial.finite = finite_share(module.run(method, arguments));
  } catch (const std::exception& error) {
    trial.error = brief_message(error);
  }
  trial.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return trial;
}

// An example with the values that the original accepts.
struct Settled {
  std::vector<c10::IValue> blueprint;  // with its meta tensors, arguments in the order that was accepted
  std::vector<c10::IValue> arguments;
  Draw draw = Draw::kByUse;
  double seconds = 0;
};

class CaseMaker {
public:
  CaseMaker(const checkpoint::Checkpoint& checkpoint, c10::Device device)
      : checkpoint_(checkpoint), module_(checkpoint.module, {{device}}) {}

  std::vector<Case> make(const std::vector<Example>& examples) {
    std::vector<Case> cases;
    std::vector<std::pair<const Example*, Settled>> bases;  // the first example of each method
    for (const Example& example : examples) {
      auto settled = settle(example);
      const std::string description = describe_arguments(settled.arguments) + " (" + example.origin + ")";
      cases.push_back({example.method, description, settled.arguments});
      const bool first = std::none_of(bases.begin(), bases.end(),
                                      [&](const auto& base) { return base.first->method == example.method; });
      if (first) bases.emplace_back(&example, std::move(settled));
    }
    const std::size_t given = cases.size();
    const std::size_t wanted = std::max(kFewestDerived, kCases - std::min(kCases, given));
    for (std::size_t i = 0; i < bases.size(); ++i) {
      const std::size_t found = cases.size() - given;
      const std::size_t share = (wanted - std::min(wanted, found) + bases.size() - i - 1) / (bases.size() - i);
      add_derived(*bases[i].first, bases[i].second, share, cases);
    }
    return cases;
  }

private:
  const std::vector<InputUse>& uses_of(const std::string& method) {
    auto& uses = uses_[method];
    if (uses.empty()) uses = input_uses(checkpoint_.module, method);
    return uses;
  }

  Settled settle(const Example& example) {
    std::string error;
    if (auto settled = try_draws(example, example.arguments, error)) return *settled;
    if (example.traced) {
      if (auto settled = try_other_orders(example)) return *settled;
    }
    throw_rejected(example, error);
  }

  // The first draw that the original accepts and answers with mostly finite values; else the first that it accepts.
  std::optional<Settled> try_draws(const Example& example, const std::vector<c10::IValue>& blueprint,
                                   std::string& error) {
    std::optional<Settled> accepted;
    for (const Draw draw : kAllDraws) {
      Settled settled{blueprint, draw_arguments(blueprint, uses_of(example.method), draw, /*seed=*/0), draw};
      const Trial trial = try_arguments(module_, example.method, settled.arguments);
      settled.seconds = trial.seconds;
      if (!trial.error && trial.finite >= kFiniteShare) return settled;
      if (trial.error && error.empty()) error = *trial.error;
      if (!trial.error && !accepted) accepted = std::move(settled);
      if (!has_meta_tensors(blueprint)) break;  // there is nothing to draw
    }
    return accepted;
  }

  // A trace with example_kwarg_inputs records the arguments in the order of the caller's dict, not in that of the
  // method.
  std::optional<Settled> try_other_orders(const Example& example) {
    const std::size_t count = example.arguments.size();
    if (count < 2 || count > kMostPermuted) return std::nullopt;
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    while (std::next_permutation(order.begin(), order.end())) {
      std::vector<c10::IValue> blueprint;
      blueprint.reserve(count);
      for (const std::size_t index : order) blueprint.push_back(example.arguments[index]);
      std::string ignored;
      if (auto settled = try_draws(example, blueprint, ignored)) return settled;
    }
    return std::nullopt;
  }

  [[noreturn]] void throw_rejected(const Example& example, const std::string& error) {
    const auto traced = checkpoint_.traced_inputs.find(example.method);
    const std::string problem =
        argument_problem(checkpoint_.module, example.method, example.arguments, uses_of(example.method),
                         traced == checkpoint_.traced_inputs.end() || example.traced ? nullptr : &traced->second);
    const std::string method = "the checkpoint's `" + example.method + "`";
    if (example.given) {
      throw Error(ErrorKind::kUsage,
                  example.origin + ": " + method + " rejects these inputs: " + (problem.empty() ? error : problem),
                  (problem.empty() ? "" : "torch says: " + error + "\n  ") + "The method is " +
                      signature_of(checkpoint_.module, example.method) + "; given are " +
                      describe_arguments(example.arguments) + ".");
    }
    throw Error(ErrorKind::kUsage,
                method + " accepts no values that were drawn for its " + example.origin + " " +
                    describe_arguments(example.arguments) + ": " + error,
                "Give inputs with --inputs or --input-spec.");
  }

  // Up to `wanted` other shapes: an odd size for each group of dimensions, then size 1 for those that can vary.
  void add_derived(const Example& example, const Settled& base, std::size_t wanted, std::vector<Case>& cases) {
    if (wanted == 0) return;
    if (base.seconds > kSlowCallSeconds) {
      note_no_derived(example.method, base.seconds, cases);
      return;
    }
    std::vector<DimensionGroup> dynamic;
    for (const DimensionGroup& group : dimension_groups(base.blueprint)) {
      if (wanted > 0 && try_size(example, base, group, odd_size(group.size), cases)) {
        dynamic.push_back(group);
        --wanted;
      }
    }
    std::reverse(dynamic.begin(), dynamic.end());  // length 1 is worth more than batch 1
    for (const DimensionGroup& group : dynamic) {
      if (wanted > 0 && group.size != 1 && try_size(example, base, group, 1, cases)) --wanted;
    }
  }

  bool try_size(const Example& example, const Settled& base, const DimensionGroup& group, std::int64_t size,
                std::vector<Case>& cases) {
    if (derived_trials_ >= kMostDerivedTrials || derived_seconds_ > kDerivedSeconds) return false;
    const auto blueprint = resized(base.blueprint, group, size);
    const auto arguments = draw_arguments(blueprint, uses_of(example.method), base.draw, /*seed=*/1);
    const Trial trial = try_arguments(module_, example.method, arguments);
    ++derived_trials_;
    derived_seconds_ += trial.seconds;
    if (trial.error || trial.finite < kFiniteShare) return false;
    cases.push_back({example.method,
                     describe_arguments(arguments) + " (derived: " + std::to_string(group.size) + " → " +
                         std::to_string(size) + ")",
                     arguments, true});
    return true;
  }

  static void note_no_derived(const std::string& method, double seconds, std::vector<Case>& cases) {
    const auto first =
        std::find_if(cases.begin(), cases.end(), [&](const Case& test) { return test.method == method; });
    first->description +=
        report::kOtherShapesUntried + ("one call takes " + std::to_string(std::lround(seconds)) + " s");
  }

  const checkpoint::Checkpoint& checkpoint_;
  PlacedModule module_;
  std::map<std::string, std::vector<InputUse>> uses_;
  int derived_trials_ = 0;
  double derived_seconds_ = 0;
};

bool has_integers(const std::vector<Example>& examples) {
  bool found = false;
  for (const Example& example : examples) {
    for (const c10::IValue& argument : example.arguments) {
      for (const Leaf& leaf : flatten(argument)) {
        found |=
            leaf.value.isTensor() && at::isIntegralType(leaf.value.toTensor().scalar_type(), /*includeBool=*/false);
      }
    }
  }
  return found;
}

// An id beyond its table is an exception on the CPU, but on CUDA it ends the process's use of the device: models that
// take integers are tried on the CPU first.
std::vector<c10::Device> trial_devices(const std::vector<Example>& examples, const std::string& option) {
  const c10::Device chosen = choose_device(option);
  const c10::Device cpu = c10::kCPU;
  if (chosen.is_cpu()) return {cpu};
  if (has_integers(examples)) return {cpu, chosen};
  return option == "auto" ? std::vector{chosen, cpu} : std::vector{chosen};
}

}  // namespace

std::vector<Case> make_cases(const checkpoint::Checkpoint& original, const InputOptions& options,
                             const VerifyOptions& verification) {
  const auto examples = collect_examples(original, options);
  const auto devices = trial_devices(examples, verification.device);
  for (std::size_t i = 0; i + 1 < devices.size(); ++i) {
    try {
      return CaseMaker(original, devices[i]).make(examples);
    } catch (const std::exception&) {
      continue;  // the next device may run what this one cannot
    }
  }
  return CaseMaker(original, devices.back()).make(examples);
}

}  // namespace flashconvert::verify
