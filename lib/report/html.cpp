// The HTML form of a report: one page that opens offline. The tables are in html_tables.cpp, the style and the script
// in html_page.cpp.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "report/format.h"
#include "report/html_parts.h"
#include "report/writers.h"

namespace flashconvert::report {
namespace {

struct Verdict {
  std::string text;
  std::string css;
};

Verdict verdict(const Report& report) {
  if (report.parity && !report.parity->passed) return {"Parity failed", "bad"};
  if (report.error) return {"Not converted", "bad"};
  if (!report.output) return {"Plan (dry run)", "plain"};
  const Counts counts = count(report);
  if (counts.fused == 0 && counts.folded == 0 && counts.converted == 0) return {"Nothing to convert", "warn"};
  return {"Converted", "good"};
}

// A figure with its caption, and a bar that shows `done` of `total`.
std::string card(const std::string& caption, const std::string& value, const std::string& note, double share,
                 const std::string& css) {
  const std::string bar =
      share < 0 ? "" : fmt::format("<div class=\"bar\"><i style=\"width:{:.1f}%\"></i></div>", share * 100);
  return fmt::format("<div class=\"card {}\"><span>{}</span><b>{}</b>{}<small>{}</small></div>", css, escape(caption),
                     escape(value), bar, escape(note));
}

std::string count_card(const std::string& caption, int done, int total, const std::string& what) {
  if (total == 0) return card(caption, "0", "no " + what + " found", -1, "plain");
  const double share = static_cast<double>(done) / total;
  return card(caption, fmt::format("{} of {}", done, total),
              done == total ? "all of them" : fmt::format("{} left as before", total - done), share,
              done == total ? "good" : "warn");
}

std::string parity_card(const Report& report) {
  if (!report.parity) return card("Parity", "not checked", "run with --verify to prove it", -1, "plain");
  const ParityFigures figures = parity_figures(*report.parity);
  const std::string note = fmt::format("max error {} of the output's scale", figure(figures.max_converted));
  return card("Parity", report.parity->passed ? "passed" : "failed", note, -1, report.parity->passed ? "good" : "bad");
}

std::string cards(const Report& report) {
  const Counts counts = count(report);
  std::string html = "<div class=\"cards\">";
  html += count_card("Attention fused", counts.fused, counts.sites, "attention");
  html += count_card("Weights folded", counts.folded, counts.weights, "reparameterised weights");
  if (counts.linear > 0)
    html += count_card("Linear layers converted", counts.converted, counts.linear, "linear layers");
  html += parity_card(report);
  if (report.bench) {
    const Bench& bench = *report.bench;
    html += card("Speed", speed_change(bench),
                 fmt::format("{:.3f} ms to {:.3f} ms on {}", bench.original_ms, bench.converted_ms, bench.device), -1,
                 bench.converted_ms > bench.original_ms * 1.005 ? "warn" : "good");
  }
  return html + "</div>";
}

void add_file(Table& table, const std::string& role, const FileFacts& file) {
  const bool known = !file.sha256.empty();
  table.add_row({{role},
                 {file.path == "-" ? "standard " + role : file.path, "path"},
                 {known ? human_bytes(file.bytes) : "", "number"},
                 {file.sha256, "path"}});
}

std::string files_section(const Report& report) {
  Table table({"", "file", "size", "SHA-256"}, false);
  add_file(table, "input", report.input);
  if (report.output) add_file(table, "output", *report.output);
  return "<h3>Files</h3>" + table.html();
}

std::string messages(const Report& report) {
  std::string html;
  if (report.error) html += fmt::format("<p class=\"message bad\">{}</p>", escape(*report.error));
  for (const auto& warning : report.warnings) html += fmt::format("<p class=\"message warn\">{}</p>", escape(warning));
  return html;
}

std::string loading_section(const Report& report) {
  if (!report.output) return "";
  const LoadingLines lines = loading_lines(report);
  const std::string needed = needs_text(report);
  const std::string needs = needed.empty() ? "It needs no library beyond torch." : "It needs " + needed + ".";
  return fmt::format("<h3>Loading the output</h3><p>{}</p><pre><em>Python</em>  {}\n<em>C++</em>     {}</pre>",
                     escape(needs), escape(lines.python), escape(lines.cpp));
}

std::string seconds_section(const Report& report) {
  if (report.seconds.empty()) return "";
  Table table({"stage", "time"}, false);
  for (const auto& [stage, seconds] : report.seconds) table.add_row({{stage}, {human_seconds(seconds), "number"}});
  return "<h3>Time</h3>" + table.html();
}

std::string report_article(const Report& report) {
  const Verdict result = verdict(report);
  std::string html =
      fmt::format("<article><header><h2>{}</h2><span class=\"badge {}\">{}</span></header>",
                  escape(report.input.path == "-" ? "standard input" : report.input.path), result.css, result.text);
  html += messages(report) + cards(report) + files_section(report) + attention_section(report) +
          folded_section(report) + linear_section(report) + parity_section(report) + bench_section(report) +
          operators_section(report) + renamed_section(report) + loading_section(report) + seconds_section(report);
  return html + "</article>\n";
}

// Where a batch has one page, its head lists the files.
std::string contents(const std::vector<Report>& reports) {
  if (reports.size() < 2) return "";
  Table table({"file", "result", "attention fused", "weights folded", "parity", "exit"}, true);
  for (const auto& report : reports) {
    const Counts counts = count(report);
    const Verdict result = verdict(report);
    table.add_row({{report.input.path, "path"},
                   {result.text, result.css},
                   {fmt::format("{} of {}", counts.fused, counts.sites), "number"},
                   {fmt::format("{} of {}", counts.folded, counts.weights), "number"},
                   {report.parity ? (report.parity->passed ? "passed" : "failed") : "not checked"},
                   {std::to_string(report.exit_code), "number"}});
  }
  return "<h2>" + plural(static_cast<std::int64_t>(reports.size()), "file") + "</h2>" + table.html();
}

}  // namespace

std::string to_html(const std::vector<Report>& reports) {
  std::string body;
  for (const auto& report : reports) body += report_article(report);
  const std::string versions = reports.empty()
                                   ? ""
                                   : fmt::format("flashconvert {}, torch {}", reports.front().flashconvert_version,
                                                 reports.front().torch_version);
  return html_page(versions, contents(reports) + body);
}

std::string html_page(const std::string& versions, const std::string& body) {
  // The policy makes the browser refuse anything that is not on the page.
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'\">\n"
      "<title>flashconvert report</title>\n<style>{}</style></head>\n<body><main>\n"
      "<div class=\"top\"><h1>flashconvert "
      "report</h1><span>{}</span></div>\n{}</main>\n<script>{}</script></body></html>\n",
      kPageStyle, escape(versions), body, kPageScript);
}

}  // namespace flashconvert::report
