#include "report_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/error.h"
#include "report/writers.h"

namespace flashconvert::app {

bool write_all(int descriptor, const std::string& content) {
  std::string_view rest = content;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

ReportFile::ReportFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) fail(std::strerror(EISDIR));
  const bool exists = std::filesystem::exists(path_, ignored);
  if (exists && !std::filesystem::is_regular_file(path_, ignored)) fail("it is not a regular file");  // not a device
  if (exists && ::access(path_.c_str(), W_OK) != 0) fail(std::strerror(errno));
  try {
    file_.emplace(folder_of(path_), path_.filename().string());
  } catch (const Error& error) {
    const std::string_view what = error.what();
    fail(what.substr(0, what.find('\n')));  // the advice is for those who save a checkpoint
  }
}

std::filesystem::path ReportFile::folder_of(const std::filesystem::path& path) {
  return path.parent_path().empty() ? "." : path.parent_path();
}

bool ReportFile::wants_json() const { return path_.extension() == ".json"; }

void ReportFile::write_one(const report::Report& report) {
  write(wants_json() ? report::to_json(report) : report::to_html({report}));
}

void ReportFile::write_batch(const std::vector<report::Report>& reports) {
  write(wants_json() ? report::to_json(reports) : report::to_html(reports));
}

void ReportFile::write(const std::string& content) {
  if (!write_all(file_->descriptor(), content)) fail(std::strerror(errno));
  file_->flush(path_.string());
  file_->move_to(path_, /*replace=*/true);
}

void ReportFile::fail(std::string_view reason) const {
  throw Error(ErrorKind::kOutput, "the report " + path_.string() + " cannot be written: " + std::string(reason));
}

}  // namespace flashconvert::app
