// The sections of the HTML page that are tables.
#include <spdlog/fmt/fmt.h>

#include <set>

#include "report/format.h"
#include "report/html_parts.h"
#include "report/writers.h"

namespace flashconvert::report {
namespace {

constexpr std::size_t kFilteredRows = 8;  // longer tables get a filter box

const char* status_css(SiteStatus status) { return status == SiteStatus::kFused ? "good" : "warn"; }

std::vector<Cell> comparison_cells(const OutputComparison& output) {
  const std::string verdict = output.passed ? "passed" : "failed";
  return {{output.dtype + shape_text(output.shape), "path"},
          {output.note.empty() ? verdict : verdict + ": " + output.note, output.passed ? "good" : "bad"},
          {figure(output.max_abs), "number"},
          {figure(output.error_original), "number"},
          {figure(output.error_converted), "number"},
          {figure(output.error_mean), "number"},
          {figure(output.error_p99), "number"},
          {figure(output.allowed), "number"},
          {figure(output.needed_tolerance), "number"}};
}

std::vector<std::string> comparison_headings(std::vector<std::string> first) {
  for (const char* heading : {"tensor", "verdict", "max |difference|", "error, original", "error, converted", "mean",
                              "p99", "allowed", "tolerance needed"}) {
    first.emplace_back(heading);
  }
  return first;
}

std::vector<Cell> joined(std::vector<Cell> first, std::vector<Cell> rest) {
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

}  // namespace

std::string escape(const std::string& text) {
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

void Table::add_row(const std::vector<Cell>& cells, const std::string& css) {
  if (rows_.empty()) {
    for (const auto& cell : cells) column_css_.push_back(cell.css);
  }
  rows_ += css.empty() ? "<tr>" : fmt::format("<tr class=\"{}\">", css);
  for (const auto& cell : cells) {
    rows_ += cell.css.empty() ? fmt::format("<td>{}</td>", escape(cell.text))
                              : fmt::format("<td class=\"{}\">{}</td>", cell.css, escape(cell.text));
  }
  rows_ += "</tr>\n";
}

std::string Table::html() const {
  std::string head;
  for (std::size_t i = 0; i < headings_.size(); ++i) {
    const bool is_number = i < column_css_.size() && column_css_[i] == "number";
    head += fmt::format("<th{}>{}</th>", is_number ? " class=\"number\"" : "", escape(headings_[i]));
  }
  const char* filter =
      filter_ ? "<input type=\"search\" class=\"filter\" placeholder=\"Filter\" aria-label=\"Filter the table\">" : "";
  return fmt::format("{}<div class=\"scroll\"><table><thead><tr>{}</tr></thead><tbody>\n{}</tbody></table></div>\n",
                     filter, head, rows_);
}

std::string attention_section(const Report& report) {
  if (report.attention.empty()) return "";
  Table table({"module", "status", "depth", "what it is", "scale", "reason"}, report.attention.size() > kFilteredRows);
  for (const auto& site : report.attention) {
    table.add_row({{site_name(site.path, site.method), "path"},
                   {name(site.status), status_css(site.status)},
                   {site.depth ? name(*site.depth) : ""},
                   {site_description(site)},
                   {site.scale ? fmt::format("{:.6g}", *site.scale) : "", "number"},
                   {site.reason.value_or("")}});
  }
  return "<h3>Attention</h3>" + table.html();
}

std::string folded_section(const Report& report) {
  if (report.folded.empty()) return "";
  Table table({"layer", "status", "form", "dtype", "change of the raw weight", "reason"},
              report.folded.size() > kFilteredRows);
  for (const auto& weight : report.folded) {
    table.add_row({{site_name(weight.path, ""), "path"},
                   {name(weight.status), weight.status == FoldStatus::kFolded ? "good" : "warn"},
                   {weight.form},
                   {weight.dtype},
                   {weight.weight_change ? percent(*weight.weight_change) : "", "number"},
                   {weight.reason.value_or("")}});
  }
  return "<h3>Reparameterised weights</h3>" + table.html();
}

std::string renamed_section(const Report& report) {
  if (report.renamed.empty()) return "";
  Table table({"new key", "old keys"}, report.renamed.size() > kFilteredRows);
  for (const auto& rename : report.renamed) {
    table.add_row({{rename.to, "path"}, {fmt::format("{}", fmt::join(rename.from, ", ")), "path"}});
  }
  return fmt::format("<h3>Renamed keys</h3><details><summary>{} of the state dict</summary>{}</details>",
                     plural(static_cast<std::int64_t>(report.renamed.size()), "key"), table.html());
}

std::string parity_section(const Report& report) {
  if (!report.parity) return "";
  const Parity& parity = *report.parity;
  const ParityFigures figures = parity_figures(parity);
  std::string html = fmt::format(
      "<h3>Parity</h3><p>On {}, judged against {}. Errors are in units of the output's scale. The smallest tolerance "
      "that would pass is {}.</p>",
      escape(parity.device), escape(parity.reference), figure(figures.needed_tolerance));
  Table cases(comparison_headings({"inputs", "output"}), static_cast<std::size_t>(figures.outputs) > kFilteredRows);
  for (const auto& one : parity.cases) {
    const std::string inputs = one.method == "forward" ? one.inputs : one.method + "(): " + one.inputs;
    for (const auto& output : one.outputs) {
      cases.add_row(joined({{inputs}, {output.name, "path"}}, comparison_cells(output)), output.passed ? "" : "failed");
    }
  }
  html += cases.html();
  if (parity.sites.empty()) return html;
  Table sites(comparison_headings({"site", "worst with"}), parity.sites.size() > kFilteredRows);
  for (const auto& site : parity.sites) {
    sites.add_row(joined({{site_name(site.path, site.method), "path"}, {site.inputs}}, comparison_cells(site.figures)),
                  site.figures.passed ? "" : "failed");
  }
  return html +
         "<h4>Site by site</h4><p>Each site's original form and its fused one, on the operands that it gets.</p>" +
         sites.html();
}

std::string bench_section(const Report& report) {
  if (!report.bench) return "";
  const Bench& bench = *report.bench;
  Table table({"device", "original", "converted", "change", "runs", "attention kernels"}, false);
  table.add_row({{bench.device},
                 {fmt::format("{:.3f} ms", bench.original_ms), "number"},
                 {fmt::format("{:.3f} ms", bench.converted_ms), "number"},
                 {speed_change(bench)},
                 {std::to_string(bench.runs), "number"},
                 {fmt::format("{}", fmt::join(bench.kernels, ", ")), "path"}});
  return "<h3>Speed</h3>" + table.html();
}

std::string operators_section(const Report& report) {
  std::set<std::string> names;
  for (const auto* counts : {&report.operators_before, &report.operators_after}) {
    for (const auto& entry : *counts) names.insert(entry.first);
  }
  if (names.empty()) return "";
  Table table({"operator", "before", "after", "change"}, names.size() > kFilteredRows);
  for (const auto& name : names) {
    const auto before = report.operators_before.find(name);
    const auto after = report.operators_after.find(name);
    const std::int64_t old_count = before == report.operators_before.end() ? 0 : before->second;
    const std::int64_t new_count = after == report.operators_after.end() ? 0 : after->second;
    const std::int64_t change = new_count - old_count;
    table.add_row({{name, "path"},
                   {std::to_string(old_count), "number"},
                   {std::to_string(new_count), "number"},
                   {change == 0 ? "" : fmt::format("{:+}", change), "number"}},
                  change == 0 ? "same" : "");
  }
  return "<h3>Operators</h3>" + table.html();
}

}  // namespace flashconvert::report
