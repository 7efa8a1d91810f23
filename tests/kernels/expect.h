// What most tests do with a case.
#pragma once

#include "attention_case.h"

namespace flashconvert::kernels::testing {

inline constexpr DType kDTypes[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32};

// Two batches of two heads with the usual scale.
AttentionCase basic(DType dtype, std::int64_t query_length, std::int64_t key_length, std::int64_t head_dim,
                    std::int64_t value_dim);
AttentionCase causal(AttentionCase test);

// Runs the case on every kernel that takes it, and compares each result with float64.
void expect_pass(const AttentionCase& test);

}  // namespace flashconvert::kernels::testing
