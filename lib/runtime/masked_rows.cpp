// See masked_rows.h.
#include "masked_rows.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <limits>
#include <vector>

namespace flashconvert::runtime {
namespace {

struct Row {
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t query = 0;
};

// The element type of a floating tensor, given to `body` as a null pointer of that type.
template <typename Body>
auto with_element_type(ScalarType dtype, Body body) {
  switch (dtype) {
    case ScalarType::Half:
      return body(static_cast<torch::headeronly::Half*>(nullptr));
    case ScalarType::BFloat16:
      return body(static_cast<torch::headeronly::BFloat16*>(nullptr));
    case ScalarType::Double:
      return body(static_cast<double*>(nullptr));
    default:
      return body(static_cast<float*>(nullptr));
  }
}

bool mask_hides_all(const Tensor& mask, const Row& row, std::int64_t visible_keys) {
  return with_element_type(mask.scalar_type(), [&](auto* type) {
    using Element = std::remove_pointer_t<decltype(type)>;
    const auto* element = static_cast<const Element*>(mask.const_data_ptr()) + row.batch * broadcast_stride(mask, 0) +
                          row.head * broadcast_stride(mask, 1) + row.query * broadcast_stride(mask, 2);
    const std::int64_t stride = broadcast_stride(mask, 3);
    for (std::int64_t key = 0; key < visible_keys; ++key, element += stride) {
      if (static_cast<double>(*element) != -std::numeric_limits<double>::infinity()) {
        return false;
      }
    }
    return true;
  });
}

// A query sees its first key at least, unless the mask hides it: a row without a mask is never fully masked.
bool is_fully_masked(const FlashCall& call, const Row& row) {
  if (!call.mask) {
    return false;
  }
  const std::int64_t keys = call.key.size(2);
  return mask_hides_all(*call.mask, row, call.causal ? std::min(row.query + 1, keys) : keys);
}

template <typename LogSum>
bool find_masked_rows(const FlashCall& call, const Tensor& log_sums, std::vector<Row>& masked) {
  const auto* data = static_cast<const LogSum*>(log_sums.const_data_ptr());
  Row row;
  for (row.batch = 0; row.batch < log_sums.size(0); ++row.batch) {
    for (row.head = 0; row.head < log_sums.size(1); ++row.head) {
      const LogSum* head = data + row.batch * log_sums.stride(0) + row.head * log_sums.stride(1);
      const std::int64_t stride = log_sums.stride(2);
      const std::int64_t queries = log_sums.size(2);
      for (row.query = 0; row.query < queries; ++row.query) {
        const LogSum log_sum = head[row.query * stride];
        if (std::isfinite(log_sum) && log_sum != LogSum{0}) {
          continue;
        }
        if (!is_fully_masked(call, row)) {
          return false;
        }
        masked.push_back(row);
      }
    }
  }
  return true;
}

void fill_row(const Tensor& output, const Row& row, double fill) {
  with_element_type(output.scalar_type(), [&](auto* type) {
    using Element = std::remove_pointer_t<decltype(type)>;
    auto* element = static_cast<Element*>(output.mutable_data_ptr()) + row.batch * output.stride(0) +
                    row.head * output.stride(1) + row.query * output.stride(2);
    std::fill_n(element, output.size(3), static_cast<Element>(static_cast<float>(fill)));
  });
}

}  // namespace

bool fill_masked_rows(const FlashCall& call, const Tensor& output, const Tensor& log_sums, double fill) {
  std::vector<Row> masked;
  const bool usable = log_sums.scalar_type() == ScalarType::Double ? find_masked_rows<double>(call, log_sums, masked)
                                                                   : find_masked_rows<float>(call, log_sums, masked);
  if (usable) {
    for (const Row& row : masked) {
      fill_row(output, row, fill);
    }
  }
  return usable;
}

}  // namespace flashconvert::runtime
