#include "common/progress_clock.h"

#include <pthread.h>

#include <csignal>
#include <utility>

namespace flashconvert {

ProgressClock::ProgressClock(std::chrono::milliseconds period, std::function<void()> tick) : tick_(std::move(tick)) {
  // A new thread inherits the mask: signals go to the thread that expects them.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, period] { run(period); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ProgressClock::~ProgressClock() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_one();
  thread_.join();
}

void ProgressClock::run(std::chrono::milliseconds period) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopped_.wait_for(lock, period, [this] { return stop_; })) {
    lock.unlock();
    tick_();
    lock.lock();
  }
}

}  // namespace flashconvert
