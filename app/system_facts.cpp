#include "system_facts.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "operator_library.h"

namespace flashconvert::app {
namespace {

// The value of the first line of `file` that begins with `key`, after `separator`.
std::string value_of(const char* file, const std::string& key, char separator) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const auto place = line.find(separator);
    if (line.compare(0, key.size(), key) != 0 || place == std::string::npos) continue;
    std::string value = line.substr(place + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '"')) value.erase(0, 1);
    while (!value.empty() && value.back() == '"') value.pop_back();
    return value;
  }
  return "";
}

std::string operating_system() {
  utsname kernel = {};
  ::uname(&kernel);
  const std::string name = value_of("/etc/os-release", "PRETTY_NAME", '=');
  return (name.empty() ? "unknown" : name) + ", " + kernel.sysname + " " + kernel.release + " " + kernel.machine +
         ", glibc " + ::gnu_get_libc_version();
}

// The instruction sets that the operators choose between.
std::string processor() {
  std::istringstream flags(value_of("/proc/cpuinfo", "flags", ':'));
  std::string known;
  for (std::string flag; flags >> flag;) {
    for (const char* name : {"avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16"}) {
      if (flag == name) known.append(known.empty() ? "" : " ").append(flag);
    }
  }
  return value_of("/proc/cpuinfo", "model name", ':') + ", " + std::to_string(std::thread::hardware_concurrency()) +
         " threads, " + (known.empty() ? "no AVX2" : known);
}

// The driver's entry points that are needed, as cuda.h declares them.
class Driver {
public:
  Driver() : library_(::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {}

  std::vector<std::string> devices() {
    if (library_ == nullptr) return {"none: the driver's libcuda.so.1 is not installed"};
    int version = 0, count = 0;
    if (const int code = call("cuInit", 0U)) return {"none: the driver says " + std::to_string(code) + " to cuInit"};
    call("cuDriverGetVersion", &version);
    call("cuDeviceGetCount", &count);
    if (count == 0) return {"none: the driver finds no device"};
    const std::string cuda = std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    const std::string release = driver_release();
    const std::string driver = ", driver " + release + " for CUDA " + cuda;
    std::vector<std::string> lines;
    for (int device = 0; device < count; ++device) {
      char name[256] = "";
      int major = 0, minor = 0;
      call("cuDeviceGetName", name, static_cast<int>(sizeof name), device);
      call("cuDeviceGetAttribute", &major, kMajor, device);
      call("cuDeviceGetAttribute", &minor, kMinor, device);
      std::string line = name;
      line.append(", sm_").append(std::to_string(major)).append(std::to_string(minor)).append(driver);
      lines.push_back(std::move(line));
    }
    return lines;
  }

private:
  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
  static constexpr int kMajor = 75, kMinor = 76;

  template <typename... Arguments>
  int call(const char* name, Arguments... arguments) {
    const auto function = reinterpret_cast<int (*)(Arguments...)>(::dlsym(library_, name));
    return function == nullptr ? -1 : function(arguments...);
  }

  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  …": the first word that begins with a digit
  static std::string driver_release() {
    std::istringstream words(value_of("/proc/driver/nvidia/version", "NVRM version", ':'));
    for (std::string word; words >> word;) {
      if (word.find_first_not_of("0123456789.") == std::string::npos) return word;
    }
    return "of unknown version";
  }

  void* library_;
};

std::string environment() {
  std::string text;
  for (const char* name : {"LD_LIBRARY_PATH", "LD_PRELOAD", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
                           "CUDA_MODULE_LOADING", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) text += (text.empty() ? "" : " ") + std::string(name) + "=" + value;
  }
  return text.empty() ? "nothing that matters is set" : text;
}

std::string or_unknown(const std::string& text) { return text.empty() ? "unknown" : text; }

}  // namespace

std::string system_facts() {
  std::string text;
  const auto add = [&text](std::string what, const std::string& value) {
    what.resize(13, ' ');
    text += what + value + "\n";
  };
  add("compiler", __VERSION__);
  add("LibTorch", or_unknown(loaded_library("libtorch_cpu.so")));
  add("operators", or_unknown(operator_library()));
  add("system", operating_system());
  add("processor", processor());
  for (const auto& device : Driver().devices()) add("GPU", device);
  add("environment", environment());
  return text;
}

}  // namespace flashconvert::app
