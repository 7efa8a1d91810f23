// The table that a batch ends with.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "report/format.h"
#include "report/text_parts.h"
#include "report/wrap.h"
#include "report/writers.h"

namespace flashconvert::report {
namespace {

std::string result_text(const Report& report, bool dry_run) {
  if (report.error) return report.error->substr(0, report.error->find('\n'));
  const Counts counts = count(report);
  std::string text = fmt::format("{}, fused {} of {}, folded {} of {}", dry_run ? "planned" : "converted", counts.fused,
                                 counts.sites, counts.folded, counts.weights);
  if (report.parity) text += report.parity->passed ? ", parity passed" : ", parity failed";
  if (report.bench) text += ", " + speed_change(*report.bench);
  return text;
}

}  // namespace

std::vector<std::string> batch_lines(const std::vector<Report>& reports, const std::vector<double>& seconds,
                                     const TextOptions& options) {
  const Style style{options.color};
  std::size_t width = 4;
  for (const auto& report : reports) width = std::max(width, report.input.path.size());

  std::vector<std::string> lines;
  lines.push_back(fmt::format("{:<{}}  {:>4}  {:>11}  result", "file", width, "exit", "time"));
  std::size_t succeeded = 0;
  int worst = 0;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const Report& report = reports[i];
    const std::string result = result_text(report, options.dry_run);
    lines.push_back(fmt::format("{:<{}}  {:>4}  {:>11}  {}", report.input.path, width, report.exit_code,
                                human_seconds(seconds.at(i)), report.exit_code == 0 ? result : style.bad(result)));
    succeeded += report.exit_code == 0 ? 1 : 0;
    worst = std::max(worst, report.exit_code);
  }
  const std::string totals =
      fmt::format("{} of {} {}; exit code {}", succeeded, plural(static_cast<std::int64_t>(reports.size()), "file"),
                  options.dry_run ? "planned" : "converted", worst);
  lines.push_back(worst == 0 ? style.good(totals) : style.bad(totals));
  std::vector<std::string> fitting;
  for (const auto& line : lines) {
    for (auto& part : wrapped(line, options.width, 4)) fitting.push_back(std::move(part));
  }
  return fitting;
}

}  // namespace flashconvert::report
