// The forms of a report: lines for the console, one JSON document, one HTML page. All of them show the same facts and
// none of them touches a file. The JSON form is a contract with scripts, described in docs/report.md.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::report {

// The words of the contract: "fused", "declined", "reverted"; "core", "module"; "folded", "declined"; "converted".
const char* name(SiteStatus status);
const char* name(Depth depth);
const char* name(FoldStatus status);
const char* name(LinearStatus status);

// How many entries came out how; what the console's summary and the batch table count.
struct Counts {
  int sites = 0;
  int fused = 0;
  int weights = 0;
  int folded = 0;
  int linear = 0;
  int converted = 0;  // of the linear layers
};
Counts count(const Report& report);

struct TextOptions {
  bool verbose = false;   // every folded weight and renamed key, every compared output, the operator table
  bool dry_run = false;   // the operator table, and "would be" instead of "was"
  bool color = false;     // ANSI colours
  std::size_t width = 0;  // columns of the terminal, which lines are broken to fit; 0: never
};

// What was fused, a line for sites that differ in a number alone; what was folded, a line each, or by form when there
// are dozens; then every site and weight that was left alone. Verbose: a line for each of them.
std::vector<std::string> entry_lines(const Report& report, const TextOptions& options);

// The verdict of a parity that failed, with what failed: the lines of the summary, before the summary can be made.
std::vector<std::string> verdict_lines(const Report& report, const TextOptions& options);

// What follows them: counts, parity, speed, the operator table, the output and the lines that load it.
std::vector<std::string> summary_lines(const Report& report, const TextOptions& options);

// A batch's table: each file's exit code, time and result, then the totals. `seconds` goes with `reports`.
std::vector<std::string> batch_lines(const std::vector<Report>& reports, const std::vector<double>& seconds,
                                     const TextOptions& options);

// A plain object, and for a batch an array of such objects. Indented by two spaces, ends with a newline.
std::string to_json(const Report& report);
std::string to_json(const std::vector<Report>& reports);

// The value that `to_json(Report)` wrote. Throws std::runtime_error for anything else.
Report from_json(const std::string& text);

// The same for what a batch wrote, too: the reports of an array, or the one.
std::vector<Report> reports_from_json(const std::string& text);

// One page that holds everything it needs: it opens offline and loads nothing.
std::string to_html(const std::vector<Report>& reports);

}  // namespace flashconvert::report
