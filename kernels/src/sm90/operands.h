// The operands of a problem as the tensor copy engine sees them, and whether it can take them.
#pragma once

#include "flashconvert/kernels/attention.h"
#include "score_mode.h"
#include "tensor_map.h"

namespace flashconvert::kernels::sm90 {

inline MapElement map_element(DType dtype) {
  return dtype == DType::kFloat16 ? MapElement::kFloat16 : MapElement::kBFloat16;
}
inline Operand query_operand(const AttentionProblem& p) {
  return {p.query, p.batch, p.heads, p.query_length, p.head_dim, map_element(p.dtype)};
}
inline Operand key_operand(const AttentionProblem& p) {
  return {p.key, p.batch, p.key_heads, p.key_length, p.head_dim, map_element(p.dtype)};
}
inline Operand value_operand(const AttentionProblem& p) {
  return {p.value, p.batch, p.key_heads, p.key_length, p.value_dim, map_element(p.dtype)};
}
// One batch or one head where all share it.
inline Operand bias_operand(const AttentionProblem& p) {
  const BiasView& bias = p.bias;
  return {{bias.data, bias.outer_batch_stride, bias.head_stride, bias.row_stride},
          bias.outer_batch_stride == 0 ? 1 : p.batch,
          bias.head_stride == 0 ? 1 : p.heads,
          p.query_length,
          p.key_length,
          bias.kind == BiasKind::kBoolean ? MapElement::kBoolean : map_element(p.dtype)};
}

// Whether all three operands can be mapped and the output can be stored 16 bytes at a time.
bool can_run(const AttentionProblem& problem);

// Whether scores of this mode are what the problem asks for.
bool takes_scores(const AttentionProblem& problem, ScoreMode mode);

// Room for the counter of tiles, where their cost differs.
std::size_t workspace_bytes(const AttentionProblem& problem);

}  // namespace flashconvert::kernels::sm90
