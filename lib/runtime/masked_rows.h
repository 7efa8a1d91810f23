// Finds and fills the rows that torch's CPU flash attention cannot tell apart. It gives zeros for a row whose keys are
// all masked, and, for some rows with NaN or infinity in query or key, zeros where a softmax gives NaN.
#pragma once

#include <optional>

#include "problem.h"

namespace flashconvert::runtime {

struct FlashCall {
  Tensor query;                // [B, H, Lq, D]
  Tensor key;                  // [B, H, Lk, D]
  Tensor value;                // [B, H, Lk, D]
  std::optional<Tensor> mask;  // additive, [B or 1, H or 1, Lq or 1, Lk or 1]
  bool causal = false;
};

// Fills every fully masked row of `output` with `fill`. False where a row that is not fully masked looks wrong (its
// logarithm of sums, `log_sums` [B, H, Lq], is not finite, or is the 0 that also stands for "no key at all"): the
// output is then not to be used. Reads one number a row, and the mask of suspicious rows alone.
bool fill_masked_rows(const FlashCall& call, const Tensor& output, const Tensor& log_sums, double fill);

}  // namespace flashconvert::runtime
