// The report as a value: what was found, what was done and what was proved. The text, JSON and HTML writers
// (report/writers.h) all start from it. No torch header is needed here; every stage fills in its own part.
// The JSON form is a contract with scripts (docs/report.md): fields are only ever added.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace flashconvert::report {

struct FileFacts {
  std::string path;  // "-" for a standard stream
  std::uint64_t bytes = 0;
  std::string sha256;  // lower-case hexadecimal
};

enum class SiteStatus { kFused, kDeclined, kReverted };  // "fused", "declined", "reverted"
enum class Depth { kCore, kModule };                     // "core", "module"

// One attention site.
struct AttentionEntry {
  std::string path;    // of the module whose method holds it; "" is the root module
  std::string method;  // "forward"
  std::string form;    // "softmax-matmul", "sdpa", "native-multi-head-attention", …
  SiteStatus status = SiteStatus::kDeclined;
  std::optional<Depth> depth;         // set when fused
  std::optional<std::string> reason;  // set when declined or reverted
  std::optional<std::int64_t> heads;
  std::optional<std::int64_t> head_dim;
  std::optional<double> scale;
  bool causal = false;
  std::string bias = "none";  // "none", "additive", "boolean mask", "key padding", … as read by a person
  bool packed = false;        // the projections were packed into one
};

enum class FoldStatus { kFolded, kDeclined };
enum class LinearStatus { kConverted, kDeclined, kReverted };  // "converted", "declined", "reverted"

// One reparameterised weight.
struct FoldEntry {
  std::string path;  // of the layer that holds it
  std::string form;  // "sigma-reparam/row-norm", "sigma-reparam/spectral", "weight-norm", …
  FoldStatus status = FoldStatus::kDeclined;
  std::optional<std::string> reason;
  std::optional<double> weight_change;  // ‖W_effective − W_raw‖ / ‖W_raw‖, Frobenius
  std::string dtype;                    // "float32"
};

// One linear layer with a weight of its own in float32.
struct LinearEntry {
  std::string path;    // of the module that holds the weight
  std::string method;  // "forward"
  std::string form;    // "linear", "addmm", "matmul"
  LinearStatus status = LinearStatus::kDeclined;
  std::optional<std::string> reason;  // set when declined or reverted
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::string activation = "none";  // computed with it: "gelu", "gelu_tanh", "relu", "silu"
};

struct Rename {
  std::vector<std::string> from;
  std::string to;
};

// The comparison of one output tensor of one case, in units of the output's scale (its largest finite magnitude in
// the float64 reference).
struct OutputComparison {
  std::string name;  // "output", "output[0]", "output['logits']"
  std::vector<std::int64_t> shape;
  std::string dtype;
  double max_abs = 0;              // |converted − original|, unscaled
  double error_original = 0;       // max |original − reference| / scale
  double error_converted = 0;      // max |converted − reference| / scale
  double error_mean = 0;           // mean |converted − reference| / scale
  double error_mean_original = 0;  // mean |original − reference| / scale
  double error_p99 = 0;            // its 99th percentile
  double allowed = 0;              // 2 · error_original + tolerance(dtype)
  double needed_tolerance = 0;     // the smallest tolerance(dtype) that would pass: max(0, converted − 2 · original)
  bool passed = false;
  std::string note;  // why it failed where the figures do not say it: "NaN at [0, 3] only in the converted model"
};

// In a case's `inputs`, before the reason why no other shapes were tried.
inline constexpr const char* kOtherShapesUntried = "; other shapes were not tried: ";

struct ParityCase {
  std::string inputs;  // "float32[1, 3, 224, 224] (traced shape)"
  std::string method = "forward";
  std::vector<OutputComparison> outputs;
};

// One attention site, or linear layer, on the inputs that it gets in the verified cases: the original form and the
// fused one side by side, on the same operands. The figures are those of its worst call.
struct SiteParity {
  std::string path;
  std::string method;
  std::string inputs;  // of the case with the worst call
  OutputComparison figures;
  std::string kind = "attention";  // or "linear": a linear layer
};

struct Parity {
  std::string device;     // "cpu", "cuda:0 (NVIDIA H200)"
  std::string reference;  // "float64", or why it could not be: "original in float32 (float64 failed: …)"
  bool passed = false;
  std::vector<ParityCase> cases;
  std::vector<SiteParity> sites;
};

struct Bench {
  std::string device;
  std::vector<std::string> kernels;  // the attention kernels that ran
  double original_ms = 0;            // median
  double converted_ms = 0;           // median
  int runs = 0;
};

struct Report {
  std::string flashconvert_version;
  std::string torch_version;
  FileFacts input;
  std::optional<FileFacts> output;
  std::vector<AttentionEntry> attention;
  std::vector<FoldEntry> folded;
  std::vector<LinearEntry> linear;
  std::vector<Rename> renamed;
  std::optional<Parity> parity;
  std::optional<Bench> bench;
  std::map<std::string, double> seconds;  // "load", "survey", "rewrite", "verify", "save"

  // For people, and for scripts that ask for more than the contract has.
  std::vector<std::string> warnings;
  std::vector<std::string> operators_needed;  // custom operators that the output needs: "flashconvert::attention"
  std::map<std::string, std::int64_t> operators_before;  // operator name to count
  std::map<std::string, std::int64_t> operators_after;
  std::string library;  // path of the operator library that the output needs, or ""
  std::string growth;   // why the output is larger than the input, where it is: "1.2 MB more than INPUT (…)"

  std::vector<std::string> options;  // those that decided what the output is, as typed: "--verify"

  // Filled in by the command line: how the run ended.
  int exit_code = 0;
  std::optional<std::string> error;  // what stopped the conversion, where something did
};

}  // namespace flashconvert::report
