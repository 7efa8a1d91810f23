// The devices of this machine. The name of a CUDA device comes from the driver, taken at run time: lib/ is built
// without any CUDA header, and runs on machines without a driver.
#include "verify/device.h"

#include <dlfcn.h>
#include <torch/cuda.h>

#include <algorithm>
#include <array>

#include "common/cuda_backend.h"
#include "common/error.h"

namespace flashconvert::verify {

namespace {

std::string cuda_device_name(int index) {
  using Init = int (*)(unsigned int);
  using GetDevice = int (*)(int*, int);
  using GetName = int (*)(char*, int, int);
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);  // stays loaded: torch uses it as well
  if (!driver) return "";
  const auto init = reinterpret_cast<Init>(dlsym(driver, "cuInit"));
  const auto get_device = reinterpret_cast<GetDevice>(dlsym(driver, "cuDeviceGet"));
  const auto get_name = reinterpret_cast<GetName>(dlsym(driver, "cuDeviceGetName"));
  std::array<char, 256> name{};
  int device = 0;
  const bool known = init && get_device && get_name && init(0) == 0 && get_device(&device, index) == 0 &&
                     get_name(name.data(), static_cast<int>(name.size()), device) == 0;
  return known ? name.data() : "";
}

int cuda_devices() {
  load_cuda_backend_for_devices();
  return torch::cuda::is_available() ? torch::cuda::device_count() : 0;
}

c10::Device cuda_device(int index) {
  const int count = cuda_devices();
  const std::string wanted = "cuda:" + std::to_string(index);
  if (count == 0) {
    throw Error(ErrorKind::kUsage, "--device " + wanted + ": this machine has no usable CUDA device",
                "Use --device cpu, or run on a machine with a GPU, its driver and a LibTorch built with CUDA.");
  }
  if (index >= count) {
    const std::string last = std::to_string(count - 1);
    throw Error(ErrorKind::kUsage, "--device " + wanted + ": there is no such device",
                count == 1 ? "This machine has one: cuda:0." : "This machine has cuda:0 to cuda:" + last + ".");
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

bool is_index(const std::string& text) {
  return !text.empty() && text.size() <= 3 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

c10::Device choose_device(const std::string& option) {
  if (option == "cpu") return c10::kCPU;
  if (option == "auto") return cuda_devices() > 0 ? cuda_device(0) : c10::Device(c10::kCPU);
  if (option == "cuda") return cuda_device(0);
  if (option.rfind("cuda:", 0) == 0 && is_index(option.substr(5))) return cuda_device(std::stoi(option.substr(5)));
  throw Error(ErrorKind::kUsage, "--device " + option + ": there is no device of that name",
              "Use auto, cpu, cuda or cuda:N.");
}

std::string describe_device(c10::Device device) {
  if (!device.is_cuda()) return device.str();
  const std::string name = cuda_device_name(device.index());
  return device.str() + (name.empty() ? "" : " (" + name + ")");
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

}  // namespace flashconvert::verify
