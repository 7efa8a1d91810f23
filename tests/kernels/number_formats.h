// float16, bfloat16 and float32 on the host, by arithmetic on float64, so that the tests need no CUDA header here.
#pragma once

#include <cstdint>

#include "flashconvert/kernels/attention.h"

namespace flashconvert::kernels::testing {

std::int64_t element_bytes(DType dtype);

// Reads a stored element as float64.
double load_element(DType dtype, const unsigned char* bytes, std::int64_t index);

// Stores a number, rounded to nearest, ties to even.
void store_element(DType dtype, unsigned char* bytes, std::int64_t index, double value);

// The number that `store_element` would store.
double rounded(DType dtype, double value);

}  // namespace flashconvert::kernels::testing
