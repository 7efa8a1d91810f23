// A batch that goes on where one before it ended. Each OUTPUT has its report beside it, OUTPUT.report.json: written
// when the conversion begins, as interrupted, and again when it has ended. So an OUTPUT beside which a report lies is a
// batch's own, whatever state it is in.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "options.h"
#include "report/report.h"

namespace flashconvert::app {

std::string report_beside(const std::string& output);

// The options that decide what OUTPUT and its report will be, as they would be typed: two runs with the same ones do
// the same. An --inputs file counts by its content.
std::vector<std::string> deciding_options(const Options& options);

// The report of an earlier run that did what this one would: same input (SHA-256), options and version, ended well, and
// OUTPUT is what it wrote (SHA-256).
std::optional<report::Report> finished_before(const std::string& input, const std::string& output,
                                              const std::vector<std::string>& options);

// Whether a batch wrote OUTPUT, or may have: it may then be replaced.
bool is_of_a_batch(const std::string& output);

// The report of a conversion that is under way.
report::Report interrupted_report(const std::string& input, const std::vector<std::string>& options);

// One run at a time converts a shard into a folder, and none beside one of all inputs. Held until the object or its
// process ends, however that ends. Throws Error(kOutput) when another run holds it.
class FolderLock {
public:
  FolderLock(const std::string& folder, const std::optional<Shard>& shard);
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

private:
  void release();
  std::vector<int> descriptors_;
};

// Whether `input` belongs to the shard: by its file name, so that it is the same on every machine and under every
// mount.
bool is_in_shard(const std::string& input, const Shard& shard);

}  // namespace flashconvert::app
