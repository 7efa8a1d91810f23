// Every CUDA call of the tests: see device.h.
#include "device.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace flashconvert::kernels::testing {
namespace {

constexpr int kPoison = 0xff;
constexpr std::chrono::seconds kLongestWait{60};

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

[[noreturn]] void give_up(const std::string& what, const char* why) {
  std::printf("\n%s: %s\n", what.c_str(), why);
  std::fflush(stdout);
  std::_Exit(1);
}

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }

}  // namespace

bool has_device() {
  static const bool found = [] {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return true;
    std::printf("skipped: no CUDA device\n");
    return false;
  }();
  return found;
}

int device_compute_capability() {
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "cudaDeviceGetAttribute");
  return major * 10 + minor;
}

std::size_t free_device_bytes() {
  std::size_t available = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  return available;
}

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes + 2 * kGuard), "cudaMalloc");
  data_ = static_cast<unsigned char*>(data);
  poison();
}

Buffer::Buffer(const std::vector<unsigned char>& from) : Buffer(from, from.size()) {}

Buffer::Buffer(const std::vector<unsigned char>& block, std::size_t bytes) : Buffer(bytes) {
  std::size_t done = std::min(block.size(), bytes);
  check(cudaMemcpy(at(0), block.data(), done, cudaMemcpyHostToDevice), "cudaMemcpy");
  while (done < bytes) {  // a whole number of blocks is there, so that what follows is the beginning again
    const std::size_t more = std::min(done, bytes - done);
    check(cudaMemcpy(at(static_cast<std::int64_t>(done)), at(0), more, cudaMemcpyDeviceToDevice), "cudaMemcpy");
    done += more;
  }
}

Buffer::~Buffer() { cudaFree(data_); }

unsigned char* Buffer::at(std::int64_t offset) const { return data_ + kGuard + offset; }

void Buffer::poison() {
  check(cudaMemset(data_, kPoison, bytes_ + 2 * kGuard), "cudaMemset");
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

std::vector<unsigned char> Buffer::download() const { return download(0, bytes_); }

std::vector<unsigned char> Buffer::download(std::int64_t offset, std::size_t bytes) const {
  std::vector<unsigned char> host(bytes);
  check(cudaMemcpy(host.data(), at(offset), bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  return host;
}

bool Buffer::guards_are_intact() const {
  const auto intact = [](const std::vector<unsigned char>& bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](unsigned char byte) { return byte == kPoison; });
  };
  return intact(download(-static_cast<std::int64_t>(kGuard), kGuard)) &&
         intact(download(static_cast<std::int64_t>(bytes_), kGuard));
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  handle_ = stream;
}

Stream::~Stream() { cudaStreamDestroy(stream_of(handle_)); }

void Stream::wait(const std::string& what) const {
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    const cudaError_t error = cudaStreamQuery(stream_of(handle_));
    if (error == cudaSuccess) return;
    if (error != cudaErrorNotReady) give_up(what, cudaGetErrorString(error));
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited > kLongestWait) give_up(what, "does not end");
    if (waited > std::chrono::milliseconds(2)) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void Stream::begin_capture() {
  check(cudaStreamBeginCapture(stream_of(handle_), cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
}

void Stream::run_capture(int times, const std::string& what) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamEndCapture(stream_of(handle_), &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  for (int i = 0; i < times; ++i) check(cudaGraphLaunch(executable, stream_of(handle_)), "cudaGraphLaunch");
  wait(what);
  check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
}

}  // namespace flashconvert::kernels::testing
