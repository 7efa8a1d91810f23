// A clock that shows that a long stage is still going on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace flashconvert {

// Calls `tick` every `period`, in a thread of its own, which handles no signals.
class ProgressClock {
public:
  ProgressClock(std::chrono::milliseconds period, std::function<void()> tick);
  ProgressClock(const ProgressClock&) = delete;
  ProgressClock& operator=(const ProgressClock&) = delete;
  ~ProgressClock();  // waits for a tick that is under way

private:
  void run(std::chrono::milliseconds period);

  std::function<void()> tick_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace flashconvert
