// The console's form of a report: a line per site and weight, then the summary.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>

#include "report/format.h"
#include "report/text_parts.h"
#include "report/writers.h"

namespace flashconvert::report {

std::string Style::paint(const char* code, const std::string& text) const {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

namespace {

// More folded weights than this are counted by form instead of listed.
constexpr std::size_t kListedWeights = 24;

std::string site_line(const AttentionEntry& site, const Style& style) {
  const std::string path = site_name(site.path, site.method);
  if (site.status == SiteStatus::kFused) {
    const std::string depth = site.depth ? fmt::format(" ({})", name(*site.depth)) : "";
    return fmt::format("{}  {}  {}", path, style.good("fused" + depth), site_description(site));
  }
  return fmt::format("{}  {}: {}", path, style.attention(name(site.status)),
                     site.reason.value_or("no reason recorded"));
}

std::string declined_weight_line(const FoldEntry& weight, const Style& style) {
  return fmt::format("{}  {}: {}", site_name(weight.path, ""), style.attention("not folded"),
                     weight.reason.value_or("no reason recorded"));
}

std::string folded_weight_line(const FoldEntry& weight, const Style& style) {
  std::string line = fmt::format("{}  {}  {}", site_name(weight.path, ""), style.good("folded"), weight.form);
  if (!weight.dtype.empty()) line += ", " + weight.dtype;
  if (weight.weight_change) line += fmt::format(", {} from the raw weight", percent(*weight.weight_change));
  return line;
}

// "72 weights  folded  sigma-reparam/row-norm, 11 % to 101 % from the raw weight"
std::vector<std::string> folded_weights_by_form(const std::vector<FoldEntry>& weights, const Style& style) {
  struct Group {
    std::string form;
    std::int64_t weights = 0;
    std::optional<double> least, most;
  };
  std::vector<Group> groups;  // in the order in which the forms appear
  for (const auto& weight : weights) {
    if (weight.status != FoldStatus::kFolded) continue;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.form == weight.form; });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{weight.form, 0, std::nullopt, std::nullopt});
    ++group->weights;
    if (!weight.weight_change) continue;
    group->least = std::min(group->least.value_or(*weight.weight_change), *weight.weight_change);
    group->most = std::max(group->most.value_or(*weight.weight_change), *weight.weight_change);
  }
  std::vector<std::string> lines;
  for (const auto& group : groups) {
    std::string line = fmt::format("{}  {}  {}", plural(group.weights, "weight"), style.good("folded"), group.form);
    if (group.least) {
      line += fmt::format(", {} to {} from the raw weight", percent(*group.least), percent(*group.most));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string attention_summary(const Report& report, const Style& style) {
  std::map<std::string, int> forms;
  int declined = 0, reverted = 0;
  for (const auto& site : report.attention) {
    if (site.status == SiteStatus::kFused) ++forms[site.form];
    if (site.status == SiteStatus::kDeclined) ++declined;
    if (site.status == SiteStatus::kReverted) ++reverted;
  }
  const Counts counts = count(report);
  if (counts.sites == 0) return "no attention found";
  std::string text = fmt::format("fused {} of {}", counts.fused, counts.sites);
  text = counts.fused == counts.sites ? style.good(text) : style.attention(text);
  if (!forms.empty()) {
    std::vector<std::string> parts;
    parts.reserve(forms.size());
    for (const auto& [form, number] : forms) parts.push_back(fmt::format("{}: {}", form, number));
    text += fmt::format(" {{{}}}", fmt::join(parts, ", "));
  }
  if (declined > 0) text += fmt::format(", declined {}", declined);
  if (reverted > 0) text += fmt::format(", reverted {}", reverted);
  return text;
}

std::string weights_summary(const Report& report, const Style& style) {
  const Counts counts = count(report);
  if (counts.weights == 0) return "no reparameterised weights found";
  const std::string text = fmt::format("folded {} of {}", counts.folded, counts.weights);
  return counts.folded == counts.weights ? style.good(text) : style.attention(text);
}

std::string seconds_summary(const std::map<std::string, double>& seconds) {
  static constexpr const char* kOrder[] = {"load", "fold", "survey", "rewrite", "verify", "bench", "save"};
  std::vector<std::string> parts;
  double total = 0;
  for (const char* stage : kOrder) {
    const auto found = seconds.find(stage);
    if (found != seconds.end()) parts.push_back(fmt::format("{} {}", stage, human_seconds(found->second)));
  }
  for (const auto& entry : seconds) total += entry.second;
  return fmt::format("{} ({})", human_seconds(total), fmt::join(parts, ", "));
}

void add_output_lines(std::vector<std::string>& lines, const Report& report, const TextOptions& options) {
  const std::string needed = needs_text(report);
  if (!report.output) {
    if (options.dry_run) {
      lines.push_back(labelled("output", "none (dry run)"));
      lines.push_back(labelled("needs", needed.empty() ? "no operators beyond torch's own" : needed));
    } else {
      lines.push_back(labelled("output", "none was written"));
    }
    return;
  }
  const std::string path = report.output->path == "-" ? "standard output" : report.output->path;
  lines.push_back(labelled("output", fmt::format("{}, {}", path, human_bytes(report.output->bytes))));
  const LoadingLines load = loading_lines(report);
  if (!needed.empty()) lines.push_back(labelled("needs", needed));
  lines.push_back(labelled("Python", load.python));
  lines.push_back(labelled("C++", load.cpp));
}

}  // namespace

std::string labelled(const std::string& label, const std::string& text) { return fmt::format("{:<10}{}", label, text); }

std::vector<std::string> entry_lines(const Report& report, const TextOptions& options) {
  const Style style{options.color};
  std::vector<std::string> lines;
  for (const auto& site : report.attention) lines.push_back(site_line(site, style));

  const auto folded = static_cast<std::size_t>(count(report).folded);
  if (folded > kListedWeights && !options.verbose) {
    for (auto& line : folded_weights_by_form(report.folded, style)) lines.push_back(std::move(line));
  }
  for (const auto& weight : report.folded) {
    if (weight.status == FoldStatus::kDeclined) {
      lines.push_back(declined_weight_line(weight, style));
    } else if (folded <= kListedWeights || options.verbose) {
      lines.push_back(folded_weight_line(weight, style));
    }
  }
  if (options.verbose) {
    for (const auto& rename : report.renamed) {
      lines.push_back(fmt::format("{}  renamed from  {}", rename.to, fmt::join(rename.from, ", ")));
    }
  }
  return lines;
}

std::vector<std::string> summary_lines(const Report& report, const TextOptions& options) {
  const Style style{options.color};
  std::vector<std::string> lines;
  if (options.dry_run || options.verbose) {
    for (auto& line : operator_table(report, style)) lines.push_back(std::move(line));
  }
  lines.push_back(labelled("attention", attention_summary(report, style)));
  lines.push_back(labelled("weights", weights_summary(report, style)));
  if (report.parity) {
    for (auto& line : parity_lines(*report.parity, options.verbose, style)) lines.push_back(std::move(line));
  }
  if (report.bench) {
    for (auto& line : bench_lines(*report.bench, style)) lines.push_back(std::move(line));
  }
  if (!report.seconds.empty()) lines.push_back(labelled("time", seconds_summary(report.seconds)));
  add_output_lines(lines, report, options);
  return lines;
}

}  // namespace flashconvert::report
