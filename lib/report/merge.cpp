#include "report/merge.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <regex>

#include "report/format.h"
#include "report/html_parts.h"
#include "report/writers.h"

namespace flashconvert::report {
namespace {

constexpr std::size_t kSlowest = 20;

double total_seconds(const Report& report) {
  double total = 0;
  for (const auto& stage : report.seconds) total += stage.second;
  return total;
}

std::vector<Report> last_of_each(const std::vector<Report>& reports) {
  std::map<std::string, std::size_t> places;
  std::vector<Report> kept;
  for (const auto& report : reports) {
    const auto [place, is_new] = places.emplace(report.input.path, kept.size());
    if (is_new) kept.push_back(report);
    if (!is_new) kept[place->second] = report;
  }
  return kept;
}

template <typename Value>
void sort_by_value(std::vector<std::pair<std::string, Value>>& entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
}

std::string totals_text(const Merged& merged) {
  return fmt::format("{}, {} failed; attention fused {} of {}, weights folded {} of {}; {} of work",
                     plural(static_cast<std::int64_t>(merged.reports.size()), "file"), merged.failed, merged.fused,
                     merged.sites, merged.folded, merged.weights, human_seconds(merged.seconds));
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string table_of_files(const Merged& merged) {
  Table table({"file", "result", "attention", "weights", "parity", "time"}, true);
  for (const auto& report : merged.reports) {
    const Counts counts = count(report);
    const bool failed = report.exit_code != 0;
    table.add_row(
        {{report.input.path, "path"},
         {failed ? fmt::format("{}: {}", report.exit_code, first_line(report.error.value_or(""))) : "converted",
          failed ? "bad" : "good"},
         {fmt::format("{} of {}", counts.fused, counts.sites), "number"},
         {fmt::format("{} of {}", counts.folded, counts.weights), "number"},
         {report.parity ? (report.parity->passed ? "passed" : "failed") : "not checked"},
         {human_seconds(total_seconds(report)), "number"}},
        failed ? "failed" : "");
  }
  return table.html();
}

}  // namespace

Merged merge(const std::vector<Report>& reports) {
  static const std::regex kQuoted("['`][^'`]*['`]");
  Merged merged;
  merged.reports = last_of_each(reports);
  std::map<std::string, std::int64_t> reasons;
  for (const auto& report : merged.reports) {
    const Counts counts = count(report);
    merged.sites += counts.sites;
    merged.fused += counts.fused;
    merged.weights += counts.weights;
    merged.folded += counts.folded;
    merged.failed += report.exit_code != 0 ? 1 : 0;
    merged.seconds += total_seconds(report);
    merged.slowest.emplace_back(report.input.path, total_seconds(report));
    for (const auto& site : report.attention) {
      if (site.status != SiteStatus::kFused)
        ++reasons[std::regex_replace(site.reason.value_or("no reason recorded"), kQuoted, "'…'")];
    }
  }
  sort_by_value(merged.slowest);
  merged.slowest.resize(std::min(merged.slowest.size(), kSlowest));
  merged.reasons.assign(reasons.begin(), reasons.end());
  sort_by_value(merged.reasons);
  return merged;
}

std::vector<std::string> merged_lines(const Merged& merged) {
  std::vector<std::string> lines = {totals_text(merged)};
  for (const auto& report : merged.reports) {
    if (report.exit_code == 0) continue;
    lines.push_back(fmt::format("{}  failed with {}: {}", report.input.path, report.exit_code,
                                first_line(report.error.value_or("no reason recorded"))));
  }
  for (const auto& [reason, number] : merged.reasons) lines.push_back(fmt::format("{} unfused: {}", number, reason));
  return lines;
}

std::string merged_html(const Merged& merged) {
  std::string body = "<article><header><h2>" + escape(totals_text(merged)) + "</h2></header>";
  if (!merged.reasons.empty()) {
    Table reasons({"sites", "why they were left alone"}, false);
    for (const auto& [reason, number] : merged.reasons) {
      reasons.add_row({{std::to_string(number), "number"}, {reason, "reason"}});
    }
    body += "<h3>Attention that was not fused</h3>" + reasons.html();
  }
  Table slowest({"file", "time"}, false);
  for (const auto& [file, seconds] : merged.slowest) {
    slowest.add_row({{file, "path"}, {human_seconds(seconds), "number"}});
  }
  body += "<h3>All files</h3>" + table_of_files(merged) + "<h3>The slowest</h3>" + slowest.html() + "</article>";
  return html_page("", body);
}

}  // namespace flashconvert::report
