// A report that fills every field, for the tests of the writers.
#pragma once

#include <string>

#include "report/report.h"

namespace flashconvert::report {

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline OutputComparison sample_output(bool passed) {
  OutputComparison output;
  output.name = "output['logits']";
  output.shape = {2, 128};
  output.dtype = "float32";
  output.max_abs = 2e-6;
  output.error_original = 1.25e-7;
  output.error_converted = passed ? 2.5e-7 : 0.5;
  output.error_mean = 3e-8;
  output.error_p99 = 2e-7;
  output.allowed = 1.5e-6;
  output.needed_tolerance = passed ? 0 : 0.49;
  output.passed = passed;
  return output;
}

inline Report sample_report() {
  Report report;
  report.flashconvert_version = "1.0.0";
  report.torch_version = "2.11.0";
  report.input = {"models/in.pt", 12345678, "aa11"};
  report.output = FileFacts{"models/out.pt", 12340000, "bb22"};

  AttentionEntry fused;
  fused.path = "encoder.layers.3.attn";
  fused.method = "forward";
  fused.form = "softmax-matmul";
  fused.status = SiteStatus::kFused;
  fused.depth = Depth::kModule;
  fused.heads = 12;
  fused.head_dim = 64;
  fused.scale = 0.125;
  fused.bias = "key padding";
  AttentionEntry declined;
  declined.path = "decoder.attn";
  declined.method = "decode";
  declined.form = "sdpa";
  declined.reason = "attention weights are returned";
  AttentionEntry reverted;
  reverted.path = "";
  reverted.method = "forward";
  reverted.form = "sdpa";
  reverted.status = SiteStatus::kReverted;
  reverted.reason = "parity failed";
  reverted.causal = true;
  report.attention = {fused, declined, reverted};

  FoldEntry folded;
  folded.path = "encoder.layers.3.mlp.fc1";
  folded.form = "sigma-reparam/row-norm";
  folded.status = FoldStatus::kFolded;
  folded.weight_change = 0.375;
  folded.dtype = "float32";
  FoldEntry kept;
  kept.path = "noise";
  kept.form = "general";
  kept.reason = "draws random numbers";
  kept.dtype = "float16";
  report.folded = {folded, kept};

  LinearEntry converted;
  converted.path = "encoder.layers.3.mlp.fc1";
  converted.method = "forward";
  converted.form = "addmm";
  converted.status = LinearStatus::kConverted;
  converted.in_features = 768;
  converted.out_features = 3072;
  converted.activation = "gelu_tanh";
  LinearEntry small = converted;
  small.path = "head";
  small.form = "linear";
  small.activation = "none";
  small.status = LinearStatus::kDeclined;
  small.reason = "fewer than 64 output features";
  small.out_features = 10;
  report.linear = {converted, small};

  report.renamed = {{{"a.q.weight", "a.k.weight", "a.v.weight"}, "a.in_proj_weight"}};
  report.parity = Parity{"cpu",
                         "float64",
                         true,
                         {{"float32[2, 3] (traced shape)", "forward", {sample_output(true)}}},
                         {{"encoder.layers.3.attn", "forward", "float32[2, 3] (traced shape)", sample_output(true)}}};
  report.bench = Bench{"cpu", {"cpu-reference"}, 12.5, 5.0, 20};
  report.seconds = {{"load", 0.25}, {"fold", 0.5}, {"survey", 1.0}, {"rewrite", 0.125}, {"save", 2.0}};
  report.warnings = {"a warning"};
  report.operators_needed = {"flashconvert::attention"};
  report.operators_before = {{"aten::softmax", 12}, {"aten::linear", 48}};
  report.operators_after = {{"flashconvert::attention", 12}, {"aten::linear", 24}};
  report.library = "/opt/lib/libflashconvert_ops.so";
  return report;
}

}  // namespace flashconvert::report
