#include "report/format.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/writers.h"

namespace flashconvert::report {
namespace {

// NaN counts as the largest value: a worst figure must not hide it.
double worse(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::nan("");
  return std::max(a, b);
}

std::int64_t element_count(const OutputComparison& output) {
  std::int64_t count = 1;
  for (const std::int64_t size : output.shape) count *= size;
  return count;
}

// A string literal that both Python and C++ read back as `text`.
std::string quoted(const std::string& text) {
  std::string literal = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') literal += '\\';
    literal += c;
  }
  return literal + '"';
}

}  // namespace

const char* name(SiteStatus status) {
  switch (status) {
    case SiteStatus::kFused:
      return "fused";
    case SiteStatus::kReverted:
      return "reverted";
    case SiteStatus::kDeclined:
      break;
  }
  return "declined";
}

const char* name(Depth depth) { return depth == Depth::kModule ? "module" : "core"; }

const char* name(FoldStatus status) { return status == FoldStatus::kFolded ? "folded" : "declined"; }

const char* name(LinearStatus status) {
  switch (status) {
    case LinearStatus::kConverted:
      return "converted";
    case LinearStatus::kReverted:
      return "reverted";
    case LinearStatus::kDeclined:
      break;
  }
  return "declined";
}

Counts count(const Report& report) {
  Counts counts;
  counts.sites = static_cast<int>(report.attention.size());
  counts.weights = static_cast<int>(report.folded.size());
  for (const auto& site : report.attention) counts.fused += site.status == SiteStatus::kFused ? 1 : 0;
  for (const auto& weight : report.folded) counts.folded += weight.status == FoldStatus::kFolded ? 1 : 0;
  counts.linear = static_cast<int>(report.linear.size());
  for (const auto& layer : report.linear) counts.converted += layer.status == LinearStatus::kConverted ? 1 : 0;
  return counts;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"bytes", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} bytes", bytes);
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : 1, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 99.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string figure(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value == 0 ? "0" : fmt::format("{:.2g}", value);
}

std::string percent(double fraction) {
  if (!std::isfinite(fraction)) return figure(fraction);
  if (fraction == 0) return "0 %";
  const double value = fraction * 100;
  if (std::abs(value) < 0.01) return fmt::format("{:.1g} %", value);
  return fmt::format("{:.{}f} %", value, std::abs(value) < 1 ? 2 : std::abs(value) < 10 ? 1 : 0);
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string plural(std::int64_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string site_name(const std::string& path, const std::string& method) {
  std::string text = path.empty() ? "(root)" : path;
  if (!method.empty() && method != "forward") text += " (" + method + ")";
  return text;
}

std::string site_description(const AttentionEntry& site) {
  std::string text = site.form;
  if (site.heads && site.head_dim) {
    text += fmt::format(", {} of {}", plural(*site.heads, "head"), *site.head_dim);
  } else if (site.heads) {
    text += ", " + plural(*site.heads, "head");
  }
  if (site.causal) text += ", causal";
  if (!site.bias.empty() && site.bias != "none") text += ", " + site.bias;
  if (site.packed) text += ", packed projections";
  return text;
}

ParityFigures parity_figures(const Parity& parity) {
  ParityFigures figures;
  double sum = 0;
  double elements = 0;
  for (const auto& one : parity.cases) {
    for (const auto& output : one.outputs) {
      ++figures.outputs;
      if (!output.passed) ++figures.failed;
      figures.max_original = worse(figures.max_original, output.error_original);
      figures.max_converted = worse(figures.max_converted, output.error_converted);
      figures.p99_converted = worse(figures.p99_converted, output.error_p99);
      figures.needed_tolerance = worse(figures.needed_tolerance, output.needed_tolerance);
      sum += output.error_mean * static_cast<double>(element_count(output));
      elements += static_cast<double>(element_count(output));
    }
  }
  if (elements > 0) figures.mean_converted = sum / elements;
  return figures;
}

std::string speed_change(const Bench& bench) {
  if (!(bench.original_ms > 0) || !(bench.converted_ms > 0)) return "not measurable";
  const double ratio = bench.original_ms / bench.converted_ms;
  if (ratio >= 1.005) return fmt::format("{:.2f} x faster", ratio);
  if (ratio <= 0.995) return fmt::format("{:.2f} x slower", 1 / ratio);
  return "as fast";
}

std::string needs_text(const Report& report) {
  std::vector<std::string> ours, others;
  for (const auto& name : report.operators_needed) {
    (name.rfind("flashconvert::", 0) == 0 ? ours : others).push_back(name);
  }
  std::string text = fmt::format("{}", fmt::join(ours, ", "));
  if (!ours.empty() && !report.library.empty()) text += " from " + report.library;
  if (!others.empty()) {
    text += fmt::format("{}{} as the input did", ours.empty() ? "" : ", ", fmt::join(others, ", "));
  }
  return text;
}

LoadingLines loading_lines(const Report& report) {
  // What went to standard output has the name that its reader gave it.
  const std::string output = !report.output || report.output->path == "-" ? "output.pt" : report.output->path;
  LoadingLines lines;
  lines.python = fmt::format("model = torch.jit.load({})", quoted(output));
  lines.cpp = fmt::format("torch::jit::Module model = torch::jit::load({});", quoted(output));
  if (!report.library.empty()) {
    lines.python = fmt::format("torch.ops.load_library({}); {}", quoted(report.library), lines.python);
    lines.cpp = fmt::format("dlopen({}, RTLD_NOW | RTLD_GLOBAL); {}", quoted(report.library), lines.cpp);
  }
  return lines;
}

}  // namespace flashconvert::report
