// A report on its way to a file. Its place is taken before the work starts, so that a report which cannot be written is
// found at once; the file appears whole, at the end, or not at all.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/temporary_file.h"
#include "report/report.h"

namespace flashconvert::app {

class ReportFile {
public:
  // Where the report's file is made, to be moved to `path`.
  static std::filesystem::path folder_of(const std::filesystem::path& path);

  // Opens a temporary file beside `path`. Throws Error(kOutput) when that is impossible.
  explicit ReportFile(std::string path);

  // Writes the reports in the form that the path's ending asks for: one report, or a batch's. Throws Error(kOutput).
  void write_one(const report::Report& report);
  void write(const std::string& content);
  void write_batch(const std::vector<report::Report>& reports);

private:
  bool wants_json() const;
  [[noreturn]] void fail(std::string_view reason) const;

  std::filesystem::path path_;
  std::optional<checkpoint::TemporaryFile> file_;  // always, once constructed
};

// Writes the whole of `content`; false, with errno, when that fails.
bool write_all(int descriptor, const std::string& content);

}  // namespace flashconvert::app
