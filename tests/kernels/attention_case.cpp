// Makes a case's operands (in its layout, everything between the rows poisoned with NaN).
#include "attention_case.h"

#include <algorithm>
#include <limits>
#include <random>
#include <sstream>

namespace flashconvert::kernels::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Strided {
  std::int64_t first = 0;
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t row = 0;
  std::int64_t elements = 0;
};

Strided strides_of(Layout layout, std::int64_t batch, std::int64_t heads, std::int64_t length, std::int64_t dim) {
  Strided at;
  switch (layout) {
    case Layout::kBHLD:
      at = {0, heads * length * dim, length * dim, dim, 0};
      break;
    case Layout::kBLHD:
      at = {0, length * heads * dim, dim, heads * dim, 0};
      break;
    case Layout::kPackedQKV:
      at = {heads * dim, length * 3 * heads * dim, dim, 3 * heads * dim, 0};
      break;
    case Layout::kUnaligned: {
      const std::int64_t row = dim + 1 + dim % 2;
      at = {1, heads * length * row, length * row, row, 0};
      break;
    }
  }
  at.elements = at.first + batch * std::max(at.batch, std::int64_t{1}) + 3 * at.row;
  return at;
}

Operand poisoned(DType dtype, std::int64_t elements, std::int64_t first) {
  Operand operand;
  operand.bytes.resize(static_cast<std::size_t>(elements * element_bytes(dtype)));
  operand.first = first;
  for (std::int64_t i = 0; i < elements; ++i) store_element(dtype, operand.bytes.data(), i, kNaN);
  return operand;
}

void decode(DType dtype, Operand& operand) {
  operand.values.resize(operand.bytes.size() / static_cast<std::size_t>(element_bytes(dtype)));
  for (std::size_t i = 0; i < operand.values.size(); ++i) {
    operand.values[i] = static_cast<float>(load_element(dtype, operand.bytes.data(), static_cast<std::int64_t>(i)));
  }
}

class OperandMaker {
public:
  explicit OperandMaker(const AttentionCase& test) : test_(test), random_(test.seed) {}

  Operand make(TensorView& view, std::int64_t heads, std::int64_t length, std::int64_t dim, double size,
               bool with_infinities) {
    const Strided at = strides_of(test_.layout, test_.batch, heads, length, dim);
    view = {nullptr, at.batch, at.head, at.row};
    Operand operand = poisoned(test_.dtype, at.elements, at.first);
    std::normal_distribution<double> normal(0, size);
    for (std::int64_t b = 0; b < test_.batch; ++b) {
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t i = 0; i < length; ++i) {
          for (std::int64_t d = 0; d < dim; ++d) {
            double value = normal(random_);
            if (with_infinities && d % 7 == 3 && i == length / 2) value = d % 2 == 0 ? kInfinity : -kInfinity;
            store_element(test_.dtype, operand.bytes.data(), at.first + b * at.batch + h * at.head + i * at.row + d,
                          value);
          }
        }
      }
    }
    decode(test_.dtype, operand);
    return operand;
  }

  Operand make_bias(BiasView& view) {
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

private:
  Operand fill_bias(const BiasView& view, std::int64_t elements) {
    Operand bias;
    const bool boolean = view.kind == BiasKind::kBoolean;
    const DType dtype = view.kind == BiasKind::kFloat32 ? DType::kFloat32 : test_.dtype;
    bias.bytes.resize(static_cast<std::size_t>(elements * (boolean ? 1 : element_bytes(dtype))));
    std::normal_distribution<double> normal(0, 1);
    std::bernoulli_distribution hidden(test_.hidden_share);
    const bool rows_exist = view.row_stride != 0;
    for (std::int64_t index = 0; index < elements; ++index) {
      const std::int64_t row = rows_exist ? index / view.row_stride % std::max<std::int64_t>(test_.query_length, 1) : 0;
      const bool hide = hidden(random_) || (test_.hide_some_rows_whole && row % 5 == 2);
      if (boolean) {
        bias.bytes[static_cast<std::size_t>(index)] = hide ? 0 : 1;
      } else {
        const double value = normal(random_);
        store_element(dtype, bias.bytes.data(), index, hide ? static_cast<double>(test_.hidden_value) : value);
      }
    }
    if (!boolean) decode(dtype, bias);
    return bias;
  }

  const AttentionCase& test_;
  std::mt19937 random_;
};

const char* name(DType dtype) {
  return dtype == DType::kFloat16 ? "float16" : dtype == DType::kBFloat16 ? "bfloat16" : "float32";
}

}  // namespace

std::string describe(const AttentionCase& test) {
  std::ostringstream text;
  text << name(test.dtype) << " B" << test.batch << " H" << test.heads << "/" << test.key_heads << " Lq"
       << test.query_length << " Lk" << test.key_length << " D" << test.head_dim << " Dv" << test.value_dim
       << " layout " << static_cast<int>(test.layout) << " bias " << static_cast<int>(test.bias_kind) << "/"
       << static_cast<int>(test.bias_shape) << " hidden " << test.hidden_value << (test.hide_some_rows_whole ? "*" : "")
       << " scale " << test.scale << " softcap " << test.softcap << " window " << test.window_left << ","
       << test.window_right << " diagonal " << test.diagonal << (test.zero_masked_rows ? " zero" : " nan") << " logits "
       << test.logit_size << (test.infinite_values ? " infinite values" : "");
  return text.str();
}

HostProblem make_problem(const AttentionCase& test) {
  HostProblem host;
  AttentionProblem& problem = host.problem;
  problem.dtype = test.dtype;
  problem.batch = test.batch;
  problem.heads = test.heads;
  problem.key_heads = test.key_heads;
  problem.query_length = test.query_length;
  problem.key_length = test.key_length;
  problem.head_dim = test.head_dim;
  problem.value_dim = test.value_dim;
  problem.scale = static_cast<float>(test.scale);
  problem.softcap = static_cast<float>(test.softcap);
  problem.window_left = test.window_left;
  problem.window_right = test.window_right;
  problem.diagonal = test.diagonal;
  problem.zero_masked_rows = test.zero_masked_rows;

  OperandMaker maker(test);
  host.query = maker.make(problem.query, test.heads, test.query_length, test.head_dim, test.logit_size, false);
  host.key = maker.make(problem.key, test.key_heads, test.key_length, test.head_dim, test.logit_size, false);
  host.value = maker.make(problem.value, test.key_heads, test.key_length, test.value_dim, 1, test.infinite_values);
  if (test.bias_kind != BiasKind::kNone) {
    problem.bias.kind = test.bias_kind;
    host.bias = maker.make_bias(problem.bias);
  }

  const Layout output_layout = test.layout == Layout::kUnaligned ? Layout::kUnaligned : Layout::kBLHD;
  const Strided output = strides_of(output_layout, test.batch, test.heads, test.query_length, test.value_dim);
  problem.output_batch_stride = output.batch;
  problem.output_head_stride = output.head;
  problem.output_row_stride = output.row;
  host.output_first = output.first;
  host.output_elements = output.elements;
  return host;
}

}  // namespace flashconvert::kernels::testing
