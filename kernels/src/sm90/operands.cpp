// Decides whether the Hopper kernels can read a problem's operands where they are.
#include "operands.h"

#include "../parameters.h"

namespace flashconvert::kernels::sm90 {

bool can_run(const AttentionProblem& problem) {
  return can_be_mapped(query_operand(problem)) && can_be_mapped(key_operand(problem)) &&
         can_be_mapped(value_operand(problem)) && problem.value_dim % 8 == 0 && output_is_aligned(problem);
}

std::size_t workspace_bytes(const AttentionProblem& problem) { return has_uneven_tiles(problem) ? sizeof(int) : 0; }

}  // namespace flashconvert::kernels::sm90
