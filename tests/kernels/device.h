// The CUDA device for the tests: guarded buffers, streams, and waits that end. No CUDA header is needed to include it.
// An error that leaves the device unusable, and a kernel that does not end, end the program: nothing after them could
// pass, and the line that they print names the kernel and the case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace flashconvert::kernels::testing {

// Whether there is a CUDA device; the reason why not is printed once.
bool has_device();
int device_compute_capability();
std::size_t free_device_bytes();

// Device memory between two guard zones. All of it is poisoned: every element of every format is NaN.
class Buffer {
public:
  explicit Buffer(std::size_t bytes);
  explicit Buffer(const std::vector<unsigned char>& from);
  // `block` again and again until `bytes` are full.
  Buffer(const std::vector<unsigned char>& block, std::size_t bytes);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  unsigned char* at(std::int64_t offset) const;
  void poison();
  std::vector<unsigned char> download() const;
  std::vector<unsigned char> download(std::int64_t offset, std::size_t bytes) const;
  bool guards_are_intact() const;

private:
  static constexpr std::size_t kGuard = 256;
  unsigned char* data_ = nullptr;
  std::size_t bytes_;
};

class Stream {
public:
  Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  void* handle() const { return handle_; }
  // Until everything on the stream is done; `what` is named where that fails or takes a minute.
  void wait(const std::string& what) const;

  // What `work()` enqueues on the stream, recorded as a graph and run `times` times.
  template <class Work>
  void run_as_graph(int times, const std::string& what, const Work& work) {
    begin_capture();
    work();
    run_capture(times, what);
  }

private:
  void begin_capture();
  void run_capture(int times, const std::string& what);

  void* handle_ = nullptr;
};

}  // namespace flashconvert::kernels::testing
