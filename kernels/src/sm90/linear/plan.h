// How the Hopper kernels compute a linear layer: which of the operands is split ahead, which tile, what goes where in
// the workspace.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>

#include "flashconvert/kernels/linear.h"

namespace flashconvert::kernels::sm90::linear {

struct TileEntry;

struct Plan {
  const TileEntry* tile = nullptr;
  // The weight's rows are the left operand's, split in registers; otherwise the input's.
  bool weight_is_left = false;
  // The copy engine cannot read the left operand where it is.
  bool packs_left = false;

  // Bytes from the start of the workspace.
  std::size_t halves = 0;
  std::size_t scales = 0;
  std::size_t packed = 0;
  std::size_t workspace_bytes = 0;
};

// By estimated time; with `name`, of the tile of that name.
Plan make_plan(const LinearProblem& problem, const char* name = nullptr);

const char* kernel_name(const Plan& plan);
// The names of all tiles, `index` by `index`; then null.
const char* tile_name(std::size_t index);

cudaError_t launch(const Plan& plan, const LinearProblem& problem, void* workspace, cudaStream_t stream);

}  // namespace flashconvert::kernels::sm90::linear
