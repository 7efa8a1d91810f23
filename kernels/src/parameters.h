// What a kernel is launched with: the public AttentionProblem, checked and reduced to what the device needs.
#pragma once

#include <cstdint>

#include "flashconvert/kernels/attention.h"

namespace flashconvert::kernels {

struct RangeFacts;

struct KernelParameters {
  TensorView query;
  TensorView key;
  TensorView value;
  TensorView output;  // `data` is written
  BiasView bias;

  int query_length = 0;  // the rows of a head
  int key_length = 0;
  int head_dim = 0;
  int value_dim = 0;
  int heads = 0;
  int heads_per_key_head = 1;

  // Key j is visible to query i when i + first_visible <= j <= i + last_visible. "Unlimited" is twice
  // kLongestSequence.
  int first_visible = 0;
  int last_visible = 0;

  // Grouped heads can be packed (packed_heads.h): a "head" is then one of keys and values, and its rows are the queries
  // of all the heads that share it, row = query * packed_heads + head in the group. 1: a row is a query.
  int packed_heads = 1;
  int row_multiplier = 1;  // row * row_multiplier >> row_shift is the row's query (query_of in schedule.cuh)
  int row_shift = 0;
  std::int64_t packed_query_stride = 0;  // from one head of a group to the next
  std::int64_t packed_output_stride = 0;

  float softcap = 0.F;         // 0: none
  float score_factor = 1.F;    // of raw scores: the scale, or what the hyperbolic tangent is taken of
  float exponent_scale = 1.F;  // raw scores (under a softcap, their hyperbolic tangents) to powers of two
  float empty_row = 0.F;       // what a row without any visible key is multiplied with: NaN or 0

  // Blocks are numbered head by head; within a section of heads the query tiles with the most keys come first.
  int query_tiles = 0;
  int total_heads = 0;  // batch * heads
  int heads_per_section = 1;

  // The keys of a head can be split among blocks (splits.h), which leave unfinished rows: the sums of weighted values
  // [splits, total_heads, query_length, partial_columns], and the maximum and sum of each row's weights, in pairs.
  int splits = 1;
  bool splits_in_cluster = false;  // they leave them in their shared memory, and finish them themselves
  int partial_columns = 0;         // value_dim, rounded up to 16 bytes
  float* partial_outputs = nullptr;
  float* partial_sums = nullptr;

  // float32: not to run at all where halves hold the operands (fp16x3/range_facts.h). Null: to run.
  const RangeFacts* unless_halves_hold = nullptr;

  bool vector_loads = false;   // query, key and value rows start at multiples of 16 bytes
  bool vector_stores = false;  // so do the rows of the output
  bool bias_pairs = false;     // two neighbouring elements of the bias can be read at once
};

// The longest sequence a kernel takes: sums of two positions stay within an int.
inline constexpr std::int64_t kLongestSequence = std::int64_t{1} << 29;

// Whether the sizes are ones that any kernel takes (dimensions 1 to 256, whole groups of heads, lengths, block count).
bool is_valid(const AttentionProblem& problem);

// The same problem with as many heads of keys and values as there are in memory: one, where one was expanded to several
// (strides of 0), which the copy engine could not read and nobody would pack.
AttentionProblem with_heads_in_memory(AttentionProblem problem);

// Whether the scores need nothing but scaling and a window, and every row can be copied 16 bytes at a time.
bool is_plain(const AttentionProblem& problem);

// Whether some query tiles see many more keys than others: a window that is open to the left.
bool has_uneven_tiles(const AttentionProblem& problem);

// Whether every row of the output starts at a multiple of 16 bytes.
bool output_is_aligned(const AttentionProblem& problem);

// The parameters for a kernel whose blocks take `tile_rows` queries each.
KernelParameters make_parameters(const AttentionProblem& problem, int tile_rows);

}  // namespace flashconvert::kernels
