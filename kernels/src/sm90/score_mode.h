// What a Hopper kernel does to scores. One kernel for everything would pay for all of it at every element. Host code
// too.
#pragma once

namespace flashconvert::kernels::sm90 {

// A window is part of each of them.
enum class ScoreMode {
  kPlain,    // a positive scale
  kCapped,   // softcap
  kKeyBias,  // a bias that all queries share, as key padding is; of any type, at any alignment
  kBias,     // a bias for each query and key, in 16 bits or booleans, that the copy engine can read
  kGeneral,  // everything
};

constexpr bool has_bias_buffer(ScoreMode mode) { return mode == ScoreMode::kKeyBias || mode == ScoreMode::kBias; }

}  // namespace flashconvert::kernels::sm90
