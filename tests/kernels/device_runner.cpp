// Copies operands to the device, launches, checks every CUDA call, and copies the output back.
#include "device_runner.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <stdexcept>
#include <string>

namespace flashconvert::kernels::testing {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// A device buffer between two guard zones, all of it poisoned first.
class Buffer {
public:
  explicit Buffer(std::size_t bytes) : bytes_(bytes) {
    check(cudaMalloc(&data_, bytes + 16), "cudaMalloc");
    check(cudaMemset(data_, 0xff, bytes + 16), "cudaMemset");
  }
  explicit Buffer(const std::vector<unsigned char>& from) : Buffer(from.size()) {
    check(cudaMemcpy(data_, from.data(), from.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { cudaFree(data_); }

  unsigned char* at(std::int64_t offset) const { return static_cast<unsigned char*>(data_) + offset; }
  std::vector<unsigned char> download() const {
    std::vector<unsigned char> host(bytes_);
    check(cudaMemcpy(host.data(), data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }

private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

void launch_once(const AttentionProblem& problem, cudaStream_t stream) {
  if (select_kernel(problem, device_compute_capability()) == nullptr) throw std::runtime_error("no kernel takes this");
  const std::size_t workspace_size = workspace_bytes(problem, device_compute_capability());
  void* workspace = nullptr;
  if (workspace_size != 0) check(cudaMallocAsync(&workspace, workspace_size, stream), "cudaMallocAsync");
  const int code = attention_forward(problem, workspace, stream);
  if (workspace != nullptr) check(cudaFreeAsync(workspace, stream), "cudaFreeAsync");
  if (code != 0) throw std::runtime_error(std::string("attention_forward: ") + error_string(code));
}

struct Stream {
  cudaStream_t handle = nullptr;
  Stream() { check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "cudaStreamCreate"); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(handle); }
};

void launch_graph(const AttentionProblem& problem, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
  launch_once(problem, stream);
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
  check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
}

DeviceResult read_result(const AttentionCase& test, const HostProblem& host, const Buffer& output) {
  const AttentionProblem& problem = host.problem;
  DeviceResult result;
  result.bytes = output.download();
  const std::int64_t size = element_bytes(test.dtype);
  std::vector<bool> written(static_cast<std::size_t>(host.output_elements));
  for (std::int64_t b = 0; b < test.batch; ++b) {
    for (std::int64_t h = 0; h < test.heads; ++h) {
      for (std::int64_t i = 0; i < test.query_length; ++i) {
        for (std::int64_t d = 0; d < test.value_dim; ++d) {
          const std::int64_t index = host.output_first + b * problem.output_batch_stride +
                                     h * problem.output_head_stride + i * problem.output_row_stride + d;
          result.values.push_back(load_element(test.dtype, result.bytes.data(), index));
          written[static_cast<std::size_t>(index)] = true;
        }
      }
    }
  }
  for (std::int64_t index = 0; index < host.output_elements; ++index) {
    if (written[static_cast<std::size_t>(index)]) continue;
    for (std::int64_t byte = 0; byte < size; ++byte) {
      if (result.bytes[static_cast<std::size_t>(index * size + byte)] != 0xff) result.wrote_outside = true;
    }
  }
  return result;
}

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

DeviceResult run_on_device(const AttentionCase& test, const HostProblem& host, Launch launch) {
  const std::int64_t size = element_bytes(test.dtype);
  const Buffer query(host.query.bytes);
  const Buffer key(host.key.bytes);
  const Buffer value(host.value.bytes);
  const Buffer bias(host.bias.bytes);
  const Buffer output(static_cast<std::size_t>(host.output_elements * size));
  const Buffer other_output(static_cast<std::size_t>(host.output_elements * size));

  AttentionProblem problem = host.problem;
  problem.query.data = query.at(host.query.first * size);
  problem.key.data = key.at(host.key.first * size);
  problem.value.data = value.at(host.value.first * size);
  if (problem.bias.kind != BiasKind::kNone) problem.bias.data = bias.at(0);
  problem.output = output.at(host.output_first * size);

  const Stream stream;
  switch (launch) {
    case Launch::kDirect:
      launch_once(problem, stream.handle);
      break;
    case Launch::kGraph:
      launch_graph(problem, stream.handle);
      break;
    case Launch::kTwoStreams: {
      const Stream second;
      AttentionProblem other = problem;
      other.output = other_output.at(host.output_first * size);
      launch_once(other, second.handle);
      launch_once(problem, stream.handle);
      check(cudaStreamSynchronize(second.handle), "cudaStreamSynchronize");
      break;
    }
  }
  check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize");
  check(cudaGetLastError(), "after the kernel");
  DeviceResult result = read_result(test, host, output);
  if (launch == Launch::kTwoStreams && other_output.download() != result.bytes) {
    throw std::runtime_error("two streams gave different results");
  }
  return result;
}

}  // namespace flashconvert::kernels::testing
