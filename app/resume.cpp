#include "resume.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "checkpoint/bytes.h"
#include "checkpoint/digest.h"
#include "common/error.h"
#include "exit_code.h"
#include "report/writers.h"
#include "version.h"

namespace flashconvert::app {
namespace {

namespace fs = std::filesystem;

std::string sha256_of(const std::string& path) {
  const auto bytes = checkpoint::Bytes::open(path);
  checkpoint::Sha256 digest;
  std::string buffer(1 << 20, '\0');
  std::uint64_t position = 0;
  while (const std::size_t count = bytes->read(position, buffer.data(), buffer.size())) {
    digest.update(buffer.data(), count);
    position += count;
  }
  return digest.hex();
}

// Whether the file has this content; false where it cannot be read.
bool has_digest(const std::string& path, const report::FileFacts& facts) {
  std::error_code problem;
  if (facts.sha256.empty() || fs::file_size(path, problem) != facts.bytes || problem) return false;
  try {
    return sha256_of(path) == facts.sha256;
  } catch (const Error&) {
    return false;
  }
}

// A file that cannot be read is the conversion's to complain of.
std::string digest_or_unreadable(const std::string& path) {
  try {
    return "sha256:" + sha256_of(path);
  } catch (const Error&) {
    return "unreadable";
  }
}

std::optional<report::Report> read_report(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) return std::nullopt;
  try {
    return report::from_json(text.str());
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string report_beside(const std::string& output) { return output + ".report.json"; }

std::vector<std::string> deciding_options(const Options& options) {
  std::vector<std::string> deciding;
  for (const auto& argument : arguments_for_one(options, "", "", -1)) {
    if (argument == "--") break;
    const std::string name = argument.substr(0, argument.find('='));
    static const std::set<std::string> kDecideNothing{
        "--force",      "--quiet",    "--verbose",    "--dump-graphs",
        "--max-memory", "--max-time", "--no-sandbox", "--report-descriptor"};
    if (name == "--inputs") {
      deciding.push_back(name + "=" + digest_or_unreadable(*options.inputs_file));
    } else if (kDecideNothing.count(name) == 0) {
      deciding.push_back(argument);
    }
  }
  return deciding;
}

std::optional<report::Report> finished_before(const std::string& input, const std::string& output,
                                              const std::vector<std::string>& options) {
  std::optional<report::Report> before = read_report(report_beside(output));
  if (!before || !before->output || before->options != options || before->flashconvert_version != kVersion ||
      before->torch_version != torch_version()) {
    return std::nullopt;
  }
  const bool ended_well = before->exit_code == kExitConverted || before->exit_code == kExitStrict;
  if (!ended_well || !has_digest(input, before->input) || !has_digest(output, *before->output)) return std::nullopt;
  return before;
}

bool is_of_a_batch(const std::string& output) { return read_report(report_beside(output)).has_value(); }

report::Report interrupted_report(const std::string& input, const std::vector<std::string>& options) {
  report::Report report;
  report.flashconvert_version = kVersion;
  report.torch_version = torch_version();
  report.input.path = input;
  report.options = options;
  report.exit_code = kExitInternal;
  report.error = input + ": the conversion was interrupted";
  return report;
}

FolderLock::FolderLock(const std::string& folder, const std::optional<Shard>& shard) {
  const auto take = [&](const std::string& name, int kind) {
    const std::string path = (fs::path(folder) / name).string();
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) throw Error(ErrorKind::kOutput, path + " cannot be made: " + std::strerror(errno));
    descriptors_.push_back(descriptor);
    if (::flock(descriptor, kind | LOCK_NB) == 0) return;
    if (errno != EWOULDBLOCK) throw Error(ErrorKind::kOutput, path + " cannot be locked: " + std::strerror(errno));
    throw Error(ErrorKind::kOutput,
                "another run is converting " + (shard ? "this shard" : std::string("this batch")) + " into " + folder,
                "Wait for it to end, or give each run a --shard of its own.");
  };
  try {
    take(".flashconvert.lock", shard ? LOCK_SH : LOCK_EX);
    if (!shard) return;
    take(".flashconvert-" + std::to_string(shard->number) + "-of-" + std::to_string(shard->count) + ".lock", LOCK_EX);
  } catch (const Error&) {
    release();
    throw;
  }
}

void FolderLock::release() {
  for (const int descriptor : descriptors_) ::close(descriptor);
}

FolderLock::~FolderLock() { release(); }

bool is_in_shard(const std::string& input, const Shard& shard) {
  const std::string name = fs::path(input).filename().string();
  checkpoint::Sha256 digest;
  digest.update(name.data(), name.size());
  const auto hash = std::stoull(digest.hex().substr(0, 15), nullptr, 16);
  return hash % static_cast<unsigned long long>(shard.count) == static_cast<unsigned long long>(shard.number - 1);
}

}  // namespace flashconvert::app
