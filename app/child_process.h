// This program, run again for one file. Its report, and its console output when that is to be kept, come back through
// files in memory, which need no reader while it runs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace flashconvert::app {

// A file in memory that a process writes and another reads.
class MemoryFile {
public:
  // `name` is for those who look into /proc. Throws Error(kOutput).
  explicit MemoryFile(const char* name);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const { return descriptor_; }
  std::string contents() const;

private:
  int descriptor_ = -1;
};

class ChildProcess {
public:
  // Starts the program with the arguments made for the descriptor that it shall write its report to. With `keep_log`
  // its standard error is kept for log(), else it is ours. `share` processes run at the same time and divide the cores.
  // Throws Error(kOutput) when there are no resources left to start it.
  ChildProcess(const std::function<std::vector<std::string>(int descriptor)>& arguments, bool keep_log, int share);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t id() const { return pid_; }

  // For a process that has ended and been waited for.
  std::string log() const;
  std::string report() const;

  // Asks it to end (it removes its temporary files) and waits until it has.
  void stop();

private:
  pid_t pid_ = -1;
  MemoryFile report_;
  std::optional<MemoryFile> log_;
};

}  // namespace flashconvert::app
