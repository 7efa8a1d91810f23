// The clock behind the progress line.
#include <atomic>
#include <thread>

#include "common/progress_clock.h"
#include "support/catch.h"

using namespace flashconvert;

TEST_CASE("the clock ticks until it is gone, and not after") {
  std::atomic<int> ticks{0};
  {
    const ProgressClock clock(std::chrono::milliseconds(5), [&] { ++ticks; });
    while (ticks < 3) std::this_thread::yield();
  }
  const int at_the_end = ticks;
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
  CHECK(ticks == at_the_end);
}

TEST_CASE("a clock that goes before its first tick waits for none") {
  bool ticked = false;
  {
    const ProgressClock clock(std::chrono::hours(1), [&] { ticked = true; });
  }
  CHECK_FALSE(ticked);
}
