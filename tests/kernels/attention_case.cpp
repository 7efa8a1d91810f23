// Makes a case's problem: strides of its layout, and its operands (operands.h) in them.
#include "attention_case.h"

#include <algorithm>
#include <sstream>

#include "operands.h"

namespace flashconvert::kernels::testing {
namespace {

const char* name(DType dtype) {
  return dtype == DType::kFloat16 ? "float16" : dtype == DType::kBFloat16 ? "bfloat16" : "float32";
}

const char* name(Layout layout) {
  constexpr const char* names[] = {"BHLD", "BLHD", "packed", "spread", "broadcast", "unaligned"};
  return names[static_cast<int>(layout)];
}

const char* name(Numbers numbers) {
  constexpr const char* names[] = {"random",          "equal scores", "opposite scores",
                                   "infinite values", "NaN query",    "NaN key"};
  return names[static_cast<int>(numbers)];
}

}  // namespace

std::string describe(const AttentionCase& test) {
  std::ostringstream text;
  text << name(test.dtype) << " B" << test.batch << " H" << test.heads << "/" << test.key_heads << " Lq"
       << test.query_length << " Lk" << test.key_length << " D" << test.head_dim << " Dv" << test.value_dim << " "
       << name(test.layout) << (test.odd_unused_strides ? ", odd unused strides" : "") << ", bias "
       << static_cast<int>(test.bias_kind) << "/" << static_cast<int>(test.bias_shape) << " hidden "
       << test.hidden_value << (test.hide_some_rows_whole ? "*" : "") << ", scale " << test.scale << ", softcap "
       << test.softcap << ", window " << test.window_left << "," << test.window_right << " diagonal " << test.diagonal
       << (test.zero_masked_rows ? ", zero" : ", nan") << ", " << name(test.numbers) << " " << test.logit_size << " "
       << test.score_size;
  return text.str();
}

std::vector<std::int64_t> compared_rows(const AttentionCase& test) {
  const std::int64_t total = test.batch * test.heads * test.query_length;
  const std::int64_t count = test.sampled_rows == 0 ? total : std::min(total, test.sampled_rows);
  std::vector<std::int64_t> rows;
  rows.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(count == 1 ? 0 : i * (total - 1) / (count - 1));
  return rows;
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
  host.query = maker.make(Role::kQuery, problem.query);
  host.key = maker.make(Role::kKey, problem.key);
  host.value = maker.make(Role::kValue, problem.value);
  if (test.bias_kind != BiasKind::kNone) {
    problem.bias.kind = test.bias_kind;
    host.bias = maker.make_bias(problem.bias);
  }

  const Strided output = strides_of(test, Role::kOutput);
  problem.output_batch_stride = output.batch;
  problem.output_head_stride = output.head;
  problem.output_row_stride = output.row;
  host.output_first = output.first;
  host.output_elements = output.elements;
  return host;
}

}  // namespace flashconvert::kernels::testing
