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
                   {site_description(site), "what"},
                   {site.scale ? fmt::format("{:.6g}", *site.scale) : "", "number"},
                   {site.reason.value_or(""), "reason"}});
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
                   {weight.form, "name"},
                   {weight.dtype},
                   {weight.weight_change ? percent(*weight.weight_change) : "", "number"},
                   {weight.reason.value_or(""), "reason"}});
  }
  return "<h3>Reparameterised weights</h3>" + table.html();
}

std::string linear_section(const Report& report) {
  if (report.linear.empty()) return "";
  Table table({"module", "status", "form", "activation", "input features", "output features", "reason"},
              report.linear.size() > kFilteredRows);
  for (const auto& layer : report.linear) {
    table.add_row({{site_name(layer.path, layer.method), "path"},
                   {name(layer.status), layer.status == LinearStatus::kConverted ? "good" : "warn"},
                   {layer.form, "name"},
                   {layer.activation == "none" ? "" : layer.activation, "name"},
                   {std::to_string(layer.in_features), "number"},
                   {std::to_string(layer.out_features), "number"},
                   {layer.reason.value_or(""), "reason"}});
  }
  return "<h3>Linear layers</h3>" + table.html();
}

std::string renamed_section(const Report& report) {
  if (report.renamed.empty()) return "";
  Table table({"new key", "old keys"}, report.renamed.size() > kFilteredRows);
  for (const auto& rename : report.renamed) {
    table.add_row({{rename.to, "path"}, {fmt::format("{}", fmt::join(rename.from, ", ")), "keys"}});
  }
  return fmt::format("<h3>Renamed keys</h3><details><summary>{} of the state dict</summary>{}</details>",
                     plural(static_cast<std::int64_t>(report.renamed.size()), "key"), table.html());
}

namespace {

std::vector<ErrorRow> output_rows(const Parity& parity) {
  std::vector<ErrorRow> rows;
  for (std::size_t i = 0; i < parity.cases.size(); ++i) {
    const std::string number = parity.cases.size() > 1 ? fmt::format("{}: ", i + 1) : "";
    for (const auto& output : parity.cases[i].outputs) {
      rows.push_back(
          {number + output.name, output.error_original, output.error_converted, output.allowed, output.passed});
    }
  }
  return rows;
}

// The inputs stand above the table once, not in every row.
std::string case_table(const ParityCase& one, std::size_t number) {
  const std::string method = one.method == "forward" ? "" : one.method + "(): ";
  Table table(comparison_headings({"output"}), one.outputs.size() > kFilteredRows);
  for (const auto& output : one.outputs) {
    table.add_row(joined({{output.name, "path"}}, comparison_cells(output)), output.passed ? "" : "failed");
  }
  return fmt::format("<h4>Case {}</h4><p class=\"inputs\">{}</p>", number, escape(method + one.inputs)) + table.html();
}

// "case 2"; the inputs themselves where no case has them.
std::string case_name(const Parity& parity, const std::string& inputs) {
  for (std::size_t i = 0; i < parity.cases.size(); ++i) {
    if (parity.cases[i].inputs == inputs) return fmt::format("case {}", i + 1);
  }
  return inputs;
}

std::string sites_part(const Parity& parity) {
  if (parity.sites.empty()) return "";
  std::vector<ErrorRow> rows;
  Table table(comparison_headings({"site", "worst in"}), parity.sites.size() > kFilteredRows);
  for (const auto& site : parity.sites) {
    const std::string name = site_name(site.path, site.method);
    const OutputComparison& figures = site.figures;
    rows.push_back({name, figures.error_original, figures.error_converted, figures.allowed, figures.passed});
    table.add_row(joined({{name, "path"}, {case_name(parity, site.inputs), "name"}}, comparison_cells(figures)),
                  figures.passed ? "" : "failed");
  }
  return "<h4>Site by site</h4><p>Each site's original form and its fused one, on the operands that it gets; the "
         "figures "
         "are those of the case in which it was worst.</p>" +
         error_plot(rows) + table.html();
}

}  // namespace

std::string parity_section(const Report& report) {
  if (!report.parity) return "";
  const Parity& parity = *report.parity;
  const ParityFigures figures = parity_figures(parity);
  std::string html = fmt::format(
      "<h3>Parity</h3><p>On {}, judged against {}. Errors are in units of the output's scale. The smallest tolerance "
      "that would pass is {}.</p>",
      escape(parity.device), escape(parity.reference), figure(figures.needed_tolerance));
  html += error_plot(output_rows(parity));
  for (std::size_t i = 0; i < parity.cases.size(); ++i) html += case_table(parity.cases[i], i + 1);
  return html + sites_part(parity);
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
                 {fmt::format("{}", fmt::join(bench.kernels, ", ")), "keys"}});
  return "<h3>Speed</h3>" + time_plot(bench) + table.html();
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
