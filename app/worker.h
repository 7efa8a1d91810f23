// The conversion of one file in a process of its own. Checkpoints are programs: what crashes, never ends or asks for
// all memory there ends that process, and this one says so, with the report and the exit code.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "report/report.h"

namespace flashconvert::app {

struct WorkerLimits {
  std::uint64_t memory = 0;  // bytes of its own, without what it shares; 0: none
  double seconds = 0;        // 0: none
};

// Shown to whoever waits: what the conversion is at.
using NoteStage = std::function<void(const std::string& stage)>;

struct WorkerResult {
  report::Report report;       // with an exit code and an error, also when the worker left none
  bool was_cut_short = false;  // it left none: a temporary file of its may lie about
  int signal = 0;              // that ended us both; 0 for none
};

// Forks, which takes some milliseconds: the libraries are loaded already. `started` is the report of a worker that
// leaves none. Throws Error(kLimit) when no process can be started.
WorkerResult run_in_worker(const report::Report& started, const WorkerLimits& limits,
                           const std::function<report::Report(const NoteStage&)>& convert);

}  // namespace flashconvert::app
