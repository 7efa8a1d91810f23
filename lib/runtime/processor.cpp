// See processor.h.
#include "processor.h"

#if defined(__x86_64__)

#include <cpuid.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>

namespace flashconvert::runtime {
namespace {

bool has_extended_feature(unsigned int bit_of_edx) {
  constexpr unsigned int kFeatures = 7;
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(kFeatures, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> bit_of_edx & 1) != 0;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool torch_may_use_avx512() {
  const std::string limit = environment("ATEN_CPU_CAPABILITY");
  return limit != "avx2" && limit != "default";
}

// The levels with AMX have it in their names; oneDNN reads them in any case.
bool torch_may_use_amx() {
  std::string limit = environment("ONEDNN_MAX_CPU_ISA");
  std::transform(limit.begin(), limit.end(), limit.begin(), [](unsigned char c) { return std::tolower(c); });
  return limit.empty() || limit == "default" || limit.find("amx") != std::string::npos;
}

}  // namespace

bool torch_uses_amx_bf16() {
  static const bool uses = has_extended_feature(22) && torch_may_use_amx();
  return uses;
}

bool computes_in_float16() {
  static const bool has = has_extended_feature(23);
  return has;
}

bool has_avx512_bf16() {
  static const bool has = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          torch_may_use_avx512();
  return has;
}

}  // namespace flashconvert::runtime

#else

namespace flashconvert::runtime {

bool torch_uses_amx_bf16() { return false; }
bool computes_in_float16() { return true; }
bool has_avx512_bf16() { return false; }

}  // namespace flashconvert::runtime

#endif
