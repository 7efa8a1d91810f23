// LibTorch's work on one thread for a while.
#pragma once

#include <ATen/Parallel.h>

namespace flashconvert::survey {

// Survey and rewrite run pieces of a model on tiny tensors, thousands of times. Divided among threads each takes
// longer, and OpenMP's threads spin while they wait for each other: on a machine with other work most of a conversion's
// time.
class OneThread {
public:
  OneThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

private:
  int before_;
};

}  // namespace flashconvert::survey
