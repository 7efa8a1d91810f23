#include "merge_reports.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "common/error.h"
#include "common/log.h"
#include "exit_code.h"
#include "report/merge.h"
#include "report/writers.h"
#include "report_file.h"

namespace flashconvert::app {
namespace {

namespace fs = std::filesystem;

struct Values {
  std::vector<std::string> paths;
  std::string output;
};

// The files, and the .json files below each folder, the oldest first.
std::vector<fs::path> report_files(const std::vector<std::string>& paths, const fs::path& output) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& path : paths) {
    if (!fs::exists(path, ignored)) throw Error(ErrorKind::kInput, path + ": no such file or folder");
    if (!fs::is_directory(path, ignored)) {
      files.emplace_back(path);
      continue;
    }
    const std::size_t first = files.size();
    for (const auto& entry : fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied)) {
      const bool is_output = fs::equivalent(entry.path(), output, ignored);
      if (entry.is_regular_file() && entry.path().extension() == ".json" && !is_output) files.push_back(entry.path());
    }
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(first), files.end(), [](const auto& a, const auto& b) {
      std::error_code gone;
      return std::make_pair(fs::last_write_time(a, gone), a) < std::make_pair(fs::last_write_time(b, gone), b);
    });
  }
  return files;
}

std::vector<report::Report> read_reports(const std::vector<fs::path>& files) {
  std::vector<report::Report> reports;
  for (const auto& path : files) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    try {
      for (auto& report : report::reports_from_json(text.str())) reports.push_back(std::move(report));
    } catch (const std::runtime_error&) {
      log_warning(path.string() + " is no report, and was left out");
    }
  }
  return reports;
}

int merge_reports(const void* data) {
  const auto& values = *static_cast<const Values*>(data);
  const std::string ending = fs::path(values.output).extension().string();
  if (ending != ".json" && ending != ".html") {
    throw Error(ErrorKind::kUsage, "--output " + values.output + ": the name must end in .json or .html");
  }
  ReportFile file(values.output);
  const std::vector<report::Report> reports = read_reports(report_files(values.paths, values.output));
  if (reports.empty())
    throw Error(ErrorKind::kInput, "no report was found", "Reports are files that --report made, .json.");
  const report::Merged merged = report::merge(reports);
  for (const auto& line : report::merged_lines(merged)) log_info(line);
  file.write(ending == ".json" ? report::merged_json(merged) : report::merged_html(merged));
  return kExitConverted;
}

}  // namespace

Command merge_reports_command() {
  return {"merge-reports", "PATH... -o FILE",
          "merge JSON reports, and those in folders, into one with totals (.json, .html)",
          [](CLI::App& app) -> std::shared_ptr<void> {
            auto values = std::make_shared<Values>();
            app.add_option("PATH", values->paths)->required();
            app.add_option("-o,--output", values->output, "the merged report; .json or .html by its ending")
                ->type_name("FILE")
                ->required();
            return values;
          },
          merge_reports};
}

}  // namespace flashconvert::app
