#include "report/text_parts.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>

#include "report/format.h"

namespace flashconvert::report {
namespace {

std::string comparison_line(const std::string& subject, const OutputComparison& output, const Style& style) {
  std::string line = fmt::format("  {}  {} {}: max {}, mean {}, p99 {}, original {}, allowed {}: {}", subject,
                                 output.dtype, shape_text(output.shape), figure(output.error_converted),
                                 figure(output.error_mean), figure(output.error_p99), figure(output.error_original),
                                 figure(output.allowed), output.passed ? style.good("passed") : style.bad("FAILED"));
  if (!output.note.empty()) line += fmt::format(" ({})", output.note);
  return line;
}

// "16 of 16 passed on their own, the worst with 3e-07 (encoder.layers.3.attn)"
std::string sites_verdict(const std::vector<SiteParity>& sites, const Style& style) {
  std::size_t passed = 0;
  const SiteParity* worst = &sites.front();
  for (const auto& site : sites) {
    if (site.figures.passed) ++passed;
    if (!(site.figures.error_converted <= worst->figures.error_converted)) worst = &site;
  }
  const std::string count = fmt::format("{} of {} passed", passed, sites.size());
  return fmt::format("{} on the inputs that they get, max {} ({})",
                     passed == sites.size() ? style.good(count) : style.bad(count),
                     figure(worst->figures.error_converted), site_name(worst->path, worst->method));
}

std::string case_subject(const ParityCase& one, const OutputComparison& output) {
  const std::string method = one.method == "forward" ? "" : one.method + "() ";
  return fmt::format("{}{} -> {}", method, one.inputs, output.name);
}

// " (other shapes were not tried: one call takes 21 s)"
std::string untried_shapes(const Parity& parity) {
  for (const auto& one : parity.cases) {
    const std::size_t place = one.inputs.find(kOtherShapesUntried);
    if (place != std::string::npos) return fmt::format(" ({})", one.inputs.substr(place + 2));
  }
  return "";
}

}  // namespace

std::vector<std::string> parity_lines(const Parity& parity, bool verbose, const Style& style) {
  const ParityFigures figures = parity_figures(parity);
  const std::string verdict = parity.passed ? style.good("passed") : style.bad("FAILED");
  std::string scope = fmt::format("{} on {}: {}{}, {}", verdict, parity.device,
                                  plural(static_cast<std::int64_t>(parity.cases.size()), "case"),
                                  untried_shapes(parity), plural(figures.outputs, "output"));
  if (figures.failed > 0) scope += fmt::format(", {} failed", figures.failed);
  std::vector<std::string> lines;
  lines.push_back(labelled("parity", fmt::format("{} (reference: {})", scope, parity.reference)));
  lines.push_back(
      labelled("", fmt::format("error in units of the output's scale: max {}, mean {}, p99 {}; original: max {}",
                               figure(figures.max_converted), figure(figures.mean_converted),
                               figure(figures.p99_converted), figure(figures.max_original))));
  lines.push_back(
      labelled("", fmt::format("smallest tolerance that would pass: {}", figure(figures.needed_tolerance))));
  for (const auto& one : parity.cases) {
    for (const auto& output : one.outputs) {
      if (verbose || !output.passed) lines.push_back(comparison_line(case_subject(one, output), output, style));
    }
  }
  if (!parity.sites.empty()) lines.push_back(labelled("sites", sites_verdict(parity.sites, style)));
  for (const auto& site : parity.sites) {
    if (!verbose && site.figures.passed) continue;
    lines.push_back(comparison_line("site " + site_name(site.path, site.method), site.figures, style));
  }
  return lines;
}

std::vector<std::string> bench_lines(const Bench& bench, const Style& style) {
  const std::string change = speed_change(bench);
  const bool slower = bench.converted_ms > bench.original_ms * 1.005;
  std::vector<std::string> lines;
  lines.push_back(labelled(
      "bench",
      fmt::format("{:.3f} ms -> {:.3f} ms, {} (median of {} on {})", bench.original_ms, bench.converted_ms,
                  slower ? style.attention(change) : style.good(change), plural(bench.runs, "run"), bench.device)));
  if (!bench.kernels.empty()) lines.push_back(labelled("kernels", fmt::format("{}", fmt::join(bench.kernels, ", "))));
  return lines;
}

std::vector<std::string> operator_table(const Report& report, const Style& style) {
  std::set<std::string> names;
  std::size_t width = 8;
  for (const auto* counts : {&report.operators_before, &report.operators_after}) {
    for (const auto& entry : *counts) {
      names.insert(entry.first);
      width = std::max(width, entry.first.size());
    }
  }
  if (names.empty()) return {};

  const auto number = [](const std::map<std::string, std::int64_t>& counts, const std::string& name) {
    const auto found = counts.find(name);
    return found == counts.end() ? std::int64_t{0} : found->second;
  };
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{:<{}}  {:>8}  {:>8}", "operator", width, "before", "after"));
  std::int64_t total_before = 0, total_after = 0;
  for (const auto& name : names) {
    const std::int64_t before = number(report.operators_before, name);
    const std::int64_t after = number(report.operators_after, name);
    total_before += before;
    total_after += after;
    const std::string line = fmt::format("{:<{}}  {:>8}  {:>8}", name, width, before, after);
    lines.push_back(before == after ? style.faint(line) : after > before ? style.attention(line) : style.good(line));
  }
  lines.push_back(fmt::format("{:<{}}  {:>8}  {:>8}", "total", width, total_before, total_after));
  return lines;
}

}  // namespace flashconvert::report
