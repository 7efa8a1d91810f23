// Fills operands: see operands.h.
#include "operands.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "number_formats.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Extents {
  std::int64_t batch, heads, length, dim;
};

Extents extents_of(const AttentionCase& test, Role role) {
  switch (role) {
    case Role::kQuery:
      return {test.batch, test.heads, test.query_length, test.head_dim};
    case Role::kKey:
      return {test.batch, test.key_heads, test.key_length, test.head_dim};
    case Role::kValue:
      return {test.batch, test.key_heads, test.key_length, test.value_dim};
    case Role::kOutput:
      break;
  }
  return {test.batch, test.heads, test.query_length, test.value_dim};
}

// An output is never packed with anything, and its elements never coincide.
Layout layout_of(const AttentionCase& test, Role role) {
  const bool shared = test.layout == Layout::kPackedQKV || test.layout == Layout::kBroadcast;
  return shared && role == Role::kOutput ? Layout::kBLHD : test.layout;
}

void decode(DType dtype, Operand& operand) {
  operand.values.resize(operand.bytes.size() / static_cast<std::size_t>(element_bytes(dtype)));
  for (std::size_t i = 0; i < operand.values.size(); ++i) {
    operand.values[i] = static_cast<float>(load_element(dtype, operand.bytes.data(), static_cast<std::int64_t>(i)));
  }
}

Operand allocated(DType dtype, std::int64_t elements) {
  Operand operand;
  operand.elements = elements;
  operand.bytes.resize(static_cast<std::size_t>(elements * element_bytes(dtype)));
  return operand;
}

}  // namespace

Strided strides_of(const AttentionCase& test, Role role) {
  const auto [batch, heads, length, dim] = extents_of(test, role);
  Strided at;
  switch (layout_of(test, role)) {
    case Layout::kBHLD:
      at = {0, heads * length * dim, length * dim, dim, 0};
      break;
    case Layout::kBLHD:
      at = {0, length * heads * dim, dim, heads * dim, 0};
      break;
    case Layout::kBroadcast:
      at = {0, role == Role::kQuery ? length * heads * dim : 0, dim, heads * dim, 0};
      break;
    case Layout::kPackedQKV:
      at = {heads * dim, length * 3 * heads * dim, dim, 3 * heads * dim, 0};
      break;
    case Layout::kSpread: {
      const std::int64_t row = (dim + 7) / 8 * 8 + 24;
      const std::int64_t head = length * row + 8;
      at = {16, heads * head + 40, head, row, 0};
      break;
    }
    case Layout::kUnaligned: {
      const std::int64_t row = dim + 1 + dim % 2;
      at = {1, heads * length * row, length * row, row, 0};
      break;
    }
  }
  at.elements = at.first + std::max<std::int64_t>(batch - 1, 0) * at.batch +
                std::max<std::int64_t>(heads - 1, 0) * at.head + (length + 3) * at.row;
  if (test.odd_unused_strides) {
    if (batch == 1) at.batch = 7;
    if (heads == 1) at.head = 5;
    if (length == 1) at.row = 3;
  }
  return at;
}

Operand OperandMaker::make(Role role, TensorView& view) {
  const auto [batch, heads, length, dim] = extents_of(test_, role);
  const Strided at = strides_of(test_, role);
  view = {nullptr, at.batch, at.head, at.row};
  if (test_.period != 0) return make_periodic(at.elements, role == Role::kValue ? 1 : test_.logit_size);
  Operand operand = allocated(test_.dtype, at.elements);
  operand.first = at.first;
  for (std::int64_t i = 0; i < at.elements; ++i) store_element(test_.dtype, operand.bytes.data(), i, kNaN);
  const std::int64_t batches = at.batch == 0 ? std::min<std::int64_t>(batch, 1) : batch;
  for (std::int64_t b = 0; b < batches; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        const std::int64_t row = at.first + b * at.batch + h * at.head + i * at.row;
        for (std::int64_t d = 0; d < dim; ++d) {
          store_element(test_.dtype, operand.bytes.data(), row + d, number(role, i, d));
        }
      }
    }
  }
  decode(test_.dtype, operand);
  return operand;
}

double OperandMaker::number(Role role, std::int64_t row, std::int64_t feature) {
  const double random = normal_(random_) * (role == Role::kValue ? 1 : test_.logit_size);
  switch (test_.numbers) {
    case Numbers::kRandom:
      break;
    case Numbers::kEqualScores:
      if (role == Role::kQuery) return row % 2 == 0 ? test_.score_size : -test_.score_size;
      if (role == Role::kKey) return 1;
      break;
    case Numbers::kOppositeScores:
      if (role == Role::kQuery) return row % 2 == 0 ? test_.score_size : -test_.score_size;
      if (role == Role::kKey) return row % 3 == 0 ? 1 : -1;
      break;
    case Numbers::kSlopingScores:
      if (role != Role::kValue) return sloping(role, row, feature);
      break;
    case Numbers::kInfiniteValues:
      if (role == Role::kValue && feature % 7 == 3 && row == test_.key_length / 2) {
        return feature % 2 == 0 ? kInfinity : -kInfinity;
      }
      break;
    case Numbers::kNaNQuery:
      if (role == Role::kQuery && row == test_.query_length / 2) return kNaN;
      break;
    case Numbers::kNaNKey:
      if (role == Role::kKey && row == test_.key_length / 2) return kNaN;
      break;
    default:
      return random * size_of(role, row, feature) + shift_of(role, row);
  }
  return random;
}

// What random numbers are multiplied with in the cases of float32.
double OperandMaker::size_of(Role role, std::int64_t row, std::int64_t feature) const {
  const bool is_value = role == Role::kValue;
  switch (test_.numbers) {
    case Numbers::kWideRows:
      return is_value ? 1 : (feature % 2 == 0) == (role == Role::kQuery) ? 1e15 : 1e-15;
    case Numbers::kWideTensor:
      return !is_value ? 1 : row % 3 == 0 ? 1e30 : row % 3 == 1 ? 1e-30 : 1;
    case Numbers::kDenormal:
      return (row + feature) % 3 == 0 ? 1e-40 : 1;
    case Numbers::kHugeKey:
      return role != Role::kQuery && row == test_.key_length / 2 ? 1e3 : 1;
    case Numbers::kRowsOfAllSizes:
      if (is_value) return feature % 5 == 0 ? 100 : 1;
      return std::pow(10, static_cast<double>(row % 13) - 6) * (role == Role::kKey ? 1e-6 : 1);
    case Numbers::kPositiveValues:
      return is_value ? 0.1 : 1;
    case Numbers::kCancelling:
      return is_value ? 1e-3 : 1;
    default:
      return 1;
  }
}

double OperandMaker::shift_of(Role role, std::int64_t row) const {
  if (role != Role::kValue) return 0;
  if (test_.numbers == Numbers::kPositiveValues) return 1;
  return test_.numbers != Numbers::kCancelling ? 0 : row % 2 == 0 ? 1 : -1;
}

// One half of a key's features rises along the keys, the other falls; a query row takes one of them, and a sign.
double OperandMaker::sloping(Role role, std::int64_t row, std::int64_t feature) const {
  const bool rises = feature < test_.head_dim / 2;
  if (role == Role::kQuery) return rises != (row % 2 == 0) ? 0 : row % 4 < 2 ? test_.score_size : -test_.score_size;
  const double share = static_cast<double>(row + 1) / static_cast<double>(test_.key_length);
  return rises ? share : 1 - share;
}

Operand OperandMaker::make_periodic(std::int64_t elements, double deviation) {
  Operand operand = allocated(test_.dtype, std::min(elements, test_.period));
  operand.elements = elements;
  const auto count = static_cast<std::int64_t>(operand.bytes.size()) / element_bytes(test_.dtype);
  for (std::int64_t i = 0; i < count; ++i)
    store_element(test_.dtype, operand.bytes.data(), i, normal_(random_) * deviation);
  decode(test_.dtype, operand);
  return operand;
}

Operand OperandMaker::make_bias(BiasView& view) {
  const std::int64_t queries = test_.query_length;
  const std::int64_t keys = test_.key_length;
  const std::int64_t heads = test_.heads;
  view.kind = test_.bias_kind;
  std::int64_t elements = 1;
  switch (test_.bias_shape) {
    case BiasShape::kFull:
      view = {nullptr, view.kind, 1, heads * queries * keys, 0, queries * keys, keys, 1};
      elements = test_.batch * heads * queries * keys;
      break;
    case BiasShape::kPerHead:
      view = {nullptr, view.kind, 1, 0, 0, queries * keys, keys, 1};
      elements = heads * queries * keys;
      break;
    case BiasShape::kKeyPadding:
      view = {nullptr, view.kind, 1, keys, 0, 0, 0, 1};
      elements = test_.batch * keys;
      break;
    case BiasShape::kPerQuery:
      view = {nullptr, view.kind, 1, 0, 0, 0, 1, 0};
      elements = queries;
      break;
    case BiasShape::kWindowed:
      view = {nullptr, view.kind, 2, 0, queries * keys, 0, keys, 1};
      elements = 2 * queries * keys;
      break;
    case BiasShape::kTransposed:
      view = {nullptr, view.kind, 1, 0, 0, queries * keys, 1, queries};
      elements = heads * queries * keys;
      break;
  }
  return fill_bias(view, elements);
}

Operand OperandMaker::fill_bias(const BiasView& view, std::int64_t elements) {
  const bool boolean = view.kind == BiasKind::kBoolean;
  const DType dtype = view.kind == BiasKind::kFloat32 ? DType::kFloat32 : test_.dtype;
  Operand bias;
  bias.elements = elements;
  bias.bytes.resize(static_cast<std::size_t>(elements * (boolean ? 1 : element_bytes(dtype))));
  std::bernoulli_distribution hidden(test_.hidden_share);
  const bool rows_exist = view.row_stride != 0;
  for (std::int64_t index = 0; index < elements; ++index) {
    const std::int64_t row = rows_exist ? index / view.row_stride % std::max<std::int64_t>(test_.query_length, 1) : 0;
    const bool hide = hidden(random_) || (test_.hide_some_rows_whole && row % 5 == 2);
    if (boolean) {
      bias.bytes[static_cast<std::size_t>(index)] = hide ? 0 : 1;
    } else {
      const double value = normal_(random_);
      store_element(dtype, bias.bytes.data(), index, hide ? static_cast<double>(test_.hidden_value) : value);
    }
  }
  if (!boolean) decode(dtype, bias);
  return bias;
}

}  // namespace flashconvert::kernels::testing
