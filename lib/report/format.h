// How the text and HTML writers spell numbers, shapes and names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::report {

std::string human_bytes(std::uint64_t bytes);                     // "12.3 MB"
std::string human_seconds(double seconds);                        // "85 ms", "2.4 s", "3 min 10 s"
std::string figure(double value);                                 // "3.1e-07", "0", "nan"
std::string percent(double fraction);                             // "38 %", "0.4 %"
std::string shape_text(const std::vector<std::int64_t>& shape);   // "[2, 128]"
std::string plural(std::int64_t count, const std::string& noun);  // "1 case", "3 cases"

// "encoder.attn", "(root)" for the root module, "encoder.attn (encode)" for a method other than forward.
std::string site_name(const std::string& path, const std::string& method);

// "softmax-matmul, 12 heads of 64, causal, key padding, packed"
std::string site_description(const AttentionEntry& site);

// The figures of all compared outputs in one.
struct ParityFigures {
  std::int64_t outputs = 0;
  std::int64_t failed = 0;
  double max_original = 0;
  double max_converted = 0;
  double mean_converted = 0;  // weighted by the outputs' sizes
  double p99_converted = 0;   // of the worst output
  double needed_tolerance = 0;
};
ParityFigures parity_figures(const Parity& parity);

// "1.98 x faster", "1.02 x slower", "as fast"
std::string speed_change(const Bench& bench);

// "flashconvert::attention from /…/libflashconvert_ops.so, mine::op as the input did"; empty where it needs nothing
// beyond torch's own operators.
std::string needs_text(const Report& report);

// The exact lines that load the output; empty `library` where it needs none.
struct LoadingLines {
  std::string python;
  std::string cpp;
};
LoadingLines loading_lines(const Report& report);

}  // namespace flashconvert::report
