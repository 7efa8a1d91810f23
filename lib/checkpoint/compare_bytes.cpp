#include "checkpoint/compare_bytes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>

namespace flashconvert::checkpoint {
namespace {

bool are_same(const StoragePair& pair, const Compared& compared) {
  const auto* first = static_cast<const char*>(pair.first.storage().data());
  const auto* second = static_cast<const char*>(pair.second.storage().data());
  const std::size_t bytes = pair.first.storage().nbytes();
  constexpr std::size_t kPiece = std::size_t{1} << 20;  // what was compared is still in the cache for `compared`
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t size = std::min(kPiece, bytes - at);
    if (std::memcmp(first + at, second + at, size) != 0) return false;
    if (compared) compared(second + at, size);
  }
  return true;
}

}  // namespace

std::optional<std::string> find_differing(const std::vector<StoragePair>& pairs, const Compared& compared) {
  std::atomic<std::size_t> next = 0;
  const auto compare_some = [&] {  // the first that differs of those which this thread takes
    for (std::size_t i = next++; i < pairs.size(); i = next++) {
      if (!are_same(pairs[i], compared)) return i;
    }
    return pairs.size();
  };
  std::vector<std::future<std::size_t>> helpers;
  const std::size_t threads = std::min<std::size_t>(static_cast<std::size_t>(at::get_num_threads()), pairs.size());
  for (std::size_t i = 1; i < threads; ++i) helpers.push_back(std::async(std::launch::async, compare_some));
  std::size_t differing = compare_some();
  for (auto& helper : helpers) differing = std::min(differing, helper.get());
  if (differing == pairs.size()) return std::nullopt;
  return pairs[differing].path;
}

}  // namespace flashconvert::checkpoint
