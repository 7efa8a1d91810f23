// Work for every core.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace flashconvert::kernels::testing {

// Calls `work(0)` to `work(count - 1)`, each once, on as many threads as there are cores.
template <class Work>
void in_parallel(std::int64_t count, const Work& work) {
  std::atomic<std::int64_t> next{0};
  const auto take = [&] {
    for (std::int64_t index = next++; index < count; index = next++) work(index);
  };
  const std::int64_t cores = std::max<std::int64_t>(std::thread::hardware_concurrency(), 1);
  std::vector<std::thread> threads(static_cast<std::size_t>(std::min(cores, count)));
  for (std::thread& thread : threads) thread = std::thread(take);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace flashconvert::kernels::testing
