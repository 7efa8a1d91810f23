// Verification: does the converted model compute what the original computes? Both are run on the same inputs and judged
// against the original in float64.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "report/report.h"

namespace flashconvert::verify {

// One call of one method.
struct Case {
  std::string method = "forward";
  std::string description;  // "float32[1, 3, 224, 224] (traced shape)"
  std::vector<c10::IValue> arguments;
  bool derived = false;  // a variation of ours (another batch, an odd length): skipped where the original rejects it
};

struct VerifyOptions {
  std::string device = "auto";  // auto | cpu | cuda[:N]
};

struct InputOptions {
  std::optional<std::string> inputs_file;  // --inputs
  std::vector<std::string> specs;          // --input-spec, one an argument
};

// The cases to run: from --inputs, --input-spec, the bundled inputs or the traced shapes, in this order of preference,
// plus derived ones. Values are seeded and fit their use. Throws Error(kUsage) for wrong specs and files, pointing at
// the character, and when there is nothing to draw inputs from (it then says what to give). The original is run to try
// drawn values and derived shapes, so this may take a few calls' time.
std::vector<Case> make_cases(const checkpoint::Checkpoint& original, const InputOptions& options,
                             const VerifyOptions& verification = {});

inline constexpr const char* kAttentionSite = "attention";
inline constexpr const char* kLinearSite = "linear";

// One attention site, or linear layer, of a module that shows its sites (site_calls.h): the module instance whose
// method holds it, and the name that the method's graph gives it.
struct ShownSite {
  std::string path;  // as the report has it
  std::string method;
  torch::jit::Module module;
  std::string name;
  const char* kind = kAttentionSite;
};

// Judges conversions of one checkpoint: the original and its reference are evaluated once, whatever number of converted
// modules is compared with them. Modules are moved to the device and put back as they were.
class Verifier {
public:
  // A case that the original rejects raises Error(kUsage) unless it is derived, in which case it is left out.
  Verifier(const torch::jit::Module& original, const std::vector<Case>& cases, const VerifyOptions& options);
  ~Verifier();
  Verifier(Verifier&&) noexcept;
  Verifier& operator=(Verifier&&) noexcept;

  report::Parity compare(const torch::jit::Module& converted) const;

  // Every site on the inputs that it really gets: `showing` is the original with both forms of each site in its graphs,
  // side by side on the same operands, and goes on with the original form. One entry a site that ran, with the figures
  // of its worst call. Throws what torch throws when the module does not run.
  std::vector<report::SiteParity> compare_sites(const torch::jit::Module& showing,
                                                const std::vector<ShownSite>& sites) const;

private:
  struct Evaluated;
  std::unique_ptr<const Evaluated> evaluated_;
};

// One comparison: Verifier(original, cases, options).compare(converted).
report::Parity compare_modules(torch::jit::Module& original, torch::jit::Module& converted,
                               const std::vector<Case>& cases, const VerifyOptions& options);

// The comparison of values, for whoever has evaluated something already (one attention site, say): one entry an output
// tensor (or other leaf) of `original`, named from `name` on. `reference` is the truth, `original` the original in its
// own dtype. Missing, extra or reshaped outputs, and NaN or infinities in one of original and converted only, are
// failures.
std::vector<report::OutputComparison> compare_outputs(const c10::IValue& reference, const c10::IValue& original,
                                                      const c10::IValue& converted, const std::string& name = "output");

// Medians over `runs` timed calls of the first non-derived case, after warm-up, interleaved.
report::Bench bench_modules(torch::jit::Module& original, torch::jit::Module& converted, const std::vector<Case>& cases,
                            const VerifyOptions& options);

}  // namespace flashconvert::verify
