// The console's form of a report: a line per site and weight, then the summary.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>

#include "report/format.h"
#include "report/site_groups.h"
#include "report/text_parts.h"
#include "report/wrap.h"
#include "report/writers.h"

namespace flashconvert::report {

std::string Style::paint(const char* code, const std::string& text) const {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

namespace {

// More folded weights than this are counted by form instead of listed.
constexpr std::size_t kListedWeights = 24;

std::string fused_line(const std::string& sites, const AttentionEntry& site, int count, const Style& style) {
  const std::string depth = site.depth ? fmt::format(" ({})", name(*site.depth)) : "";
  const std::string times = count > 1 ? fmt::format(" ×{}", count) : "";
  return fmt::format("{}  {}{}  {}", sites, style.good("fused" + depth), times, site_description(site));
}

std::string unfused_line(const AttentionEntry& site, const Style& style) {
  return fmt::format("{}  {}: {}", site_name(site.path, site.method), style.attention(name(site.status)),
                     site.reason.value_or("no reason recorded"));
}

// What was fused, sites that are alike on one line; then what was not, each by itself, where the eye ends.
void add_site_lines(std::vector<std::string>& lines, const Report& report, bool each, const Style& style) {
  if (each) {
    for (const auto& site : report.attention) {
      if (site.status != SiteStatus::kFused) continue;
      lines.push_back(fused_line(site_name(site.path, site.method), site, 1, style));
    }
  } else {
    for (const auto& group : group_fused_sites(report.attention)) {
      lines.push_back(fused_line(group.name, *group.first, group.sites, style));
    }
  }
}

void add_unfused_lines(std::vector<std::string>& lines, const Report& report, const Style& style) {
  for (const auto& site : report.attention) {
    if (site.status != SiteStatus::kFused) lines.push_back(unfused_line(site, style));
  }
}

void append_wrapped(std::vector<std::string>& lines, const std::vector<std::string>& more, std::size_t width,
                    std::size_t indent) {
  for (const auto& line : more) {
    for (auto& part : wrapped(line, width, indent)) lines.push_back(std::move(part));
  }
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

// "72 of 74 {addmm: 24, linear: 48}; 2 left alone: fewer than 256 input features"
std::string linear_summary(const Report& report, const Style& style) {
  std::map<std::string, int> forms, reasons;
  for (const auto& layer : report.linear) {
    if (layer.status == LinearStatus::kConverted) ++forms[layer.form];
    if (layer.status != LinearStatus::kConverted) ++reasons[layer.reason.value_or("no reason recorded")];
  }
  const Counts counts = count(report);
  std::string text = fmt::format("converted {} of {}", counts.converted, counts.linear);
  if (counts.converted == counts.linear) text = style.good(text);
  std::vector<std::string> parts;
  parts.reserve(forms.size());
  for (const auto& [form, number] : forms) parts.push_back(fmt::format("{}: {}", form, number));
  if (!parts.empty()) text += fmt::format(" {{{}}}", fmt::join(parts, ", "));
  for (const auto& [reason, number] : reasons) text += fmt::format("; {} left alone: {}", number, reason);
  return text;
}

// "decoder.fc1  converted  linear, 768 to 3072 features"
std::string linear_line(const LinearEntry& layer, const Style& style) {
  const std::string activation = layer.activation == "none" ? "" : fmt::format(", with its {}", layer.activation);
  const std::string what =
      fmt::format("{}, {} to {} features{}", layer.form, layer.in_features, layer.out_features, activation);
  const std::string site = site_name(layer.path, layer.method);
  if (layer.status == LinearStatus::kConverted) return fmt::format("{}  {}  {}", site, style.good("converted"), what);
  return fmt::format("{}  {}: {} ({})", site, style.attention(name(layer.status)), layer.reason.value_or(""), what);
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

// Code that is to be copied breaks between statements alone.
void add_code_lines(std::vector<std::string>& lines, const char* label, const std::string& code, std::size_t width) {
  const std::size_t end = code.find("; ");
  if (width == 0 || end == std::string::npos || kLabelWidth + shown_width(code) <= width) {
    lines.push_back(labelled(label, code));
    return;
  }
  lines.push_back(labelled(label, code.substr(0, end + 1)));
  lines.push_back(labelled("", code.substr(end + 2)));
}

void add_output_lines(std::vector<std::string>& lines, const Report& report, const TextOptions& options) {
  const std::string needed = needs_text(report);
  if (!report.output) {
    if (options.dry_run) {
      lines.push_back(labelled("output", "none (dry run)"));
      append_wrapped(lines, {labelled("needs", needed.empty() ? "no operators beyond torch's own" : needed)},
                     options.width, kLabelWidth);
    } else {
      lines.push_back(labelled("output", "none was written"));
    }
    return;
  }
  const std::string path = report.output->path == "-" ? "standard output" : report.output->path;
  const std::string size = fmt::format("{}, {}", path, human_bytes(report.output->bytes));
  append_wrapped(lines, {labelled("output", report.growth.empty() ? size : size + ": " + report.growth)}, options.width,
                 kLabelWidth);
  const LoadingLines load = loading_lines(report);
  if (!needed.empty()) append_wrapped(lines, {labelled("needs", needed)}, options.width, kLabelWidth);
  add_code_lines(lines, "Python", load.python, options.width);
  add_code_lines(lines, "C++", load.cpp, options.width);
}

}  // namespace

std::string labelled(const std::string& label, const std::string& text) {
  return fmt::format("{:<{}}{}", label, kLabelWidth, text);
}

std::vector<std::string> entry_lines(const Report& report, const TextOptions& options) {
  const Style style{options.color};
  std::vector<std::string> lines;
  add_site_lines(lines, report, options.verbose, style);

  const auto folded = static_cast<std::size_t>(count(report).folded);
  const bool each = folded <= kListedWeights || options.verbose;
  if (!each) {
    for (auto& line : folded_weights_by_form(report.folded, style)) lines.push_back(std::move(line));
  }
  for (const auto& weight : report.folded) {
    if (each && weight.status == FoldStatus::kFolded) lines.push_back(folded_weight_line(weight, style));
  }
  if (options.verbose) {
    for (const auto& rename : report.renamed) {
      lines.push_back(fmt::format("{}  renamed from  {}", rename.to, fmt::join(rename.from, ", ")));
    }
  }
  add_unfused_lines(lines, report, style);
  for (const auto& weight : report.folded) {
    if (weight.status == FoldStatus::kDeclined) lines.push_back(declined_weight_line(weight, style));
  }
  for (const auto& layer : report.linear) {
    if (options.verbose || layer.status == LinearStatus::kReverted) lines.push_back(linear_line(layer, style));
  }
  std::vector<std::string> fitting;
  append_wrapped(fitting, lines, options.width, 4);
  return fitting;
}

std::vector<std::string> verdict_lines(const Report& report, const TextOptions& options) {
  std::vector<std::string> fitting;
  append_wrapped(fitting, parity_lines(*report.parity, options.verbose, Style{options.color}), options.width,
                 kLabelWidth);
  return fitting;
}

std::vector<std::string> summary_lines(const Report& report, const TextOptions& options) {
  const Style style{options.color};
  std::vector<std::string> lines;
  if (options.dry_run || options.verbose) {
    for (auto& line : operator_table(report, style)) lines.push_back(std::move(line));
  }
  lines.push_back(labelled("attention", attention_summary(report, style)));
  lines.push_back(labelled("weights", weights_summary(report, style)));
  if (!report.linear.empty()) lines.push_back(labelled("linear", linear_summary(report, style)));
  if (report.parity) {
    for (auto& line : parity_lines(*report.parity, options.verbose, style)) lines.push_back(std::move(line));
  }
  if (report.bench) {
    for (auto& line : bench_lines(*report.bench, style)) lines.push_back(std::move(line));
  }
  if (!report.seconds.empty()) lines.push_back(labelled("time", seconds_summary(report.seconds)));
  std::vector<std::string> fitting;
  append_wrapped(fitting, lines, options.width, kLabelWidth);
  add_output_lines(fitting, report, options);
  return fitting;
}

}  // namespace flashconvert::report
