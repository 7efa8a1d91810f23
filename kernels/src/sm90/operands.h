// The operands of a problem as the tensor copy engine sees them, and whether it can take them.
#pragma once

#include "flashconvert/kernels/attention.h"
#include "tensor_map.h"

namespace flashconvert::kernels::sm90 {

inline Operand query_operand(const AttentionProblem& p) {
  return {p.query, p.batch, p.heads, p.query_length, p.head_dim, p.dtype};
}
inline Operand key_operand(const AttentionProblem& p) {
  return {p.key, p.batch, p.key_heads, p.key_length, p.head_dim, p.dtype};
}
inline Operand value_operand(const AttentionProblem& p) {
  return {p.value, p.batch, p.key_heads, p.key_length, p.value_dim, p.dtype};
}

// Whether all three operands can be mapped and the output can be stored 16 bytes at a time.
bool can_run(const AttentionProblem& problem);

// Room for the counter of tiles, where their cost differs.
std::size_t workspace_bytes(const AttentionProblem& problem);

}  // namespace flashconvert::kernels::sm90
