// Many reports as one: what a fleet of runs did.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "report/report.h"

namespace flashconvert::report {

struct Merged {
  std::vector<Report> reports;  // one for each input, the last that was given
  std::int64_t failed = 0;      // exit code other than 0
  std::int64_t sites = 0, fused = 0, weights = 0, folded = 0;
  double seconds = 0;                                         // of all stages of all files
  std::vector<std::pair<std::string, double>> slowest;        // file and seconds, the slowest first, at most 20
  std::vector<std::pair<std::string, std::int64_t>> reasons;  // why sites were left alone, the most frequent first
};

// Paths in reasons count as one and the same: "the weights of 'a.b' are used" is one reason for all modules.
Merged merge(const std::vector<Report>& reports);

std::vector<std::string> merged_lines(const Merged& merged);
std::string merged_json(const Merged& merged);
std::string merged_html(const Merged& merged);

}  // namespace flashconvert::report
