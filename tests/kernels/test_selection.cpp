// The dispatch table, which needs no device: names, buckets, what is refused.
#include <string>

#include "dispatch.h"
#include "flashconvert/kernels/attention.h"
#include "support/catch.h"

namespace flashconvert::kernels {
namespace {

AttentionProblem problem_of(DType dtype, std::int64_t head_dim) {
  alignas(16) static unsigned char storage[16];
  AttentionProblem problem;
  problem.dtype = dtype;
  problem.batch = problem.heads = problem.key_heads = 2;
  problem.query_length = problem.key_length = 65;
  problem.head_dim = problem.value_dim = head_dim;
  const TensorView view = {storage, 130 * head_dim, 65 * head_dim, head_dim};
  problem.query = problem.key = problem.value = view;
  problem.output = storage;
  problem.output_batch_stride = 130 * head_dim;
  problem.output_head_stride = head_dim;
  problem.output_row_stride = 2 * head_dim;
  return problem;
}

std::string selected(const AttentionProblem& problem, int compute_capability) {
  const char* name = select_kernel(problem, compute_capability);
  return name == nullptr ? "none" : name;
}

}  // namespace

TEST_CASE("sm_80 kernels by dtype and head dimension", "[selection]") {
  CHECK(selected(problem_of(DType::kFloat16, 64), 80) == "sm80-mma-f16-d64");
  CHECK(selected(problem_of(DType::kFloat16, 64), 89) == "sm80-mma-f16-d64");
  CHECK(selected(problem_of(DType::kBFloat16, 72), 80) == "sm80-mma-bf16-d96");
  CHECK(selected(problem_of(DType::kFloat16, 256), 80) == "sm80-mma-f16-d256");
  CHECK(selected(problem_of(DType::kFloat32, 100), 80) == "sm80-tf32x3-f32-d128");
  CHECK(selected(problem_of(DType::kFloat16, 64), 75) == "none");
}

TEST_CASE("the larger of head and value dimension decides", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat16, 64);
  problem.value_dim = 128;
  CHECK(selected(problem, 80) == "sm80-mma-f16-d128");
  problem.value_dim = 257;
  CHECK(selected(problem, 80) == "none");
}

TEST_CASE("what the plain kernels cannot do goes to the general ones", "[selection]") {
  const std::string general = "sm80-mma-f16-d64-general";
  AttentionProblem problem = problem_of(DType::kFloat16, 64);
  problem.window_left = 3;
  CHECK(selected(problem, 80) == "sm80-mma-f16-d64");

  AttentionProblem biased = problem;
  biased.bias.kind = BiasKind::kBoolean;
  CHECK(selected(biased, 80) == general);
  AttentionProblem capped = problem;
  capped.softcap = 30;
  CHECK(selected(capped, 80) == general);
  AttentionProblem negative = problem;
  negative.scale = -1;
  CHECK(selected(negative, 80) == general);
  AttentionProblem unaligned = problem;
  unaligned.key.row_stride = 65;
  CHECK(selected(unaligned, 80) == general);
  unaligned.key_length = 1;  // then the stride is never used
  CHECK(selected(unaligned, 80) == "sm80-mma-f16-d64");
}

TEST_CASE("at most 64 queries take the short tiles", "[selection]") {
  AttentionProblem problem = problem_of(DType::kBFloat16, 64);
  problem.query_length = 64;
  CHECK(selected(problem, 80) == "sm80-mma-bf16-d64-short");
  problem.softcap = 5;
  CHECK(selected(problem, 80) == "sm80-mma-bf16-d64-general-short");
}

TEST_CASE("impossible problems are refused", "[selection]") {
  AttentionProblem heads = problem_of(DType::kFloat16, 64);
  heads.key_heads = 3;
  CHECK(selected(heads, 80) == "none");
  AttentionProblem length = problem_of(DType::kFloat16, 64);
  length.key_length = std::int64_t{1} << 40;
  CHECK(selected(length, 80) == "none");
  AttentionProblem blocks = problem_of(DType::kFloat16, 64);
  blocks.batch = std::int64_t{1} << 40;
  CHECK(selected(blocks, 80) == "none");
  CHECK(selected(problem_of(DType::kFloat16, 0), 80) == "none");
}

TEST_CASE("Hopper has kernels of its own, and no other card runs them", "[selection]") {
  CHECK(selected(problem_of(DType::kFloat16, 64), 90) == "sm90-wgmma-f16-d64-rows128");
  CHECK(selected(problem_of(DType::kBFloat16, 80), 90) == "sm90-wgmma-bf16-d96-rows128");
  CHECK(selected(problem_of(DType::kFloat16, 64), 100) == "sm80-mma-f16-d64");
  CHECK(selected(problem_of(DType::kFloat32, 64), 90) == "sm80-tf32x3-f32-d64");
}

TEST_CASE("the Hopper tile follows lengths and dimensions", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat16, 64);
  problem.query_length = 2048;  // 10.7 tiles of 192 rows: 3 % of padding
  CHECK(selected(problem, 90) == "sm90-wgmma-f16-d64");
  problem.query_length = 512;
  CHECK(selected(problem, 90) == "sm90-wgmma-f16-d64-rows128");

  AttentionProblem narrow = problem_of(DType::kFloat16, 32);
  narrow.query_length = 2048;
  CHECK(selected(narrow, 90) == "sm90-wgmma-f16-d32");
  narrow.query_length = 197;
  CHECK(selected(narrow, 90) == "sm90-wgmma-f16-d64-rows128");

  AttentionProblem middle = problem_of(DType::kBFloat16, 96);
  middle.query_length = 197;
  CHECK(selected(middle, 90) == "sm90-wgmma-bf16-d96-rows128");
  middle.query_length = 2048;
  CHECK(selected(middle, 90) == "sm90-wgmma-bf16-d96");

  AttentionProblem wide = problem_of(DType::kFloat16, 128);
  CHECK(selected(wide, 90) == "sm90-wgmma-f16-d128");
  wide.key_length = 4096;
  CHECK(selected(wide, 90) == "sm90-wgmma-f16-d128-long");
  wide.window_right = 0;  // causal: half of the keys
  CHECK(selected(wide, 90) == "sm90-wgmma-f16-d128");
  wide.window_left = 255;
  CHECK(selected(wide, 90) == "sm90-wgmma-f16-d128");

  AttentionProblem latent = problem_of(DType::kBFloat16, 192);
  CHECK(selected(latent, 90) == "sm90-wgmma-bf16-d192");
  latent.value_dim = 128;
  CHECK(selected(latent, 90) == "sm90-wgmma-bf16-d192-v128");
}

TEST_CASE("what the copy engine cannot read goes to the general kernels", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat16, 64);
  problem.key.row_stride = 68;  // not a multiple of 16 bytes
  CHECK(selected(problem, 90) == "sm80-mma-f16-d64-general");
  problem = problem_of(DType::kFloat16, 64);
  problem.value.head_stride = 0;  // one head of values for all, expanded
  CHECK(selected(problem, 90) == "sm80-mma-f16-d64");
  problem.key.head_stride = 0;  // and one of keys: grouped heads
  CHECK(selected(problem, 90) == "sm90-wgmma-f16-d64-rows128");
  problem = problem_of(DType::kFloat16, 64);
  problem.key_length = 0;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d64");
}

TEST_CASE("what happens to the scores decides among Hopper's kernels", "[selection]") {
  AttentionProblem capped = problem_of(DType::kFloat16, 128);
  capped.softcap = 30;
  capped.scale = -1;
  CHECK(selected(capped, 90) == "sm90-wgmma-f16-d128-capped");
  capped.bias.kind = BiasKind::kFloat32;
  CHECK(selected(capped, 90) == "sm90-wgmma-f16-d128-general");
  AttentionProblem negative = problem_of(DType::kFloat16, 128);
  negative.scale = -1;
  CHECK(selected(negative, 90) == "sm90-wgmma-f16-d128-general");

  AttentionProblem padded = problem_of(DType::kBFloat16, 64);
  for (const BiasKind kind : {BiasKind::kBoolean, BiasKind::kFloat32, BiasKind::kSameAsQuery}) {
    padded.bias.kind = kind;
    padded.bias.column_stride = 1;
    padded.bias.outer_batch_stride = 65;
    CHECK(selected(padded, 90) == "sm90-wgmma-bf16-d64-key-bias");
  }

  AttentionProblem full = problem_of(DType::kFloat16, 64);
  full.bias = {full.query.data, BiasKind::kSameAsQuery, 1, 0, 0, 4680, 72, 1};  // 65 rows of 72
  CHECK(selected(full, 90) == "sm90-wgmma-f16-d64-bias");
  AttentionProblem odd = full;
  odd.bias.row_stride = 65;  // not a multiple of 16 bytes
  CHECK(selected(odd, 90) == "sm90-wgmma-f16-d64-general");
  odd = full;
  odd.bias.kind = BiasKind::kFloat32;
  CHECK(selected(odd, 90) == "sm90-wgmma-f16-d64-general");
  odd = full;
  odd.bias.column_stride = 2;
  CHECK(selected(odd, 90) == "sm90-wgmma-f16-d64-general");
  odd = full;
  odd.bias.batch_inner = 2;  // windows
  CHECK(selected(odd, 90) == "sm90-wgmma-f16-d64-general");
  AttentionProblem boolean = full;
  boolean.bias.kind = BiasKind::kBoolean;
  CHECK(selected(boolean, 90) == "sm90-wgmma-f16-d64-general");  // rows of 72 bytes
  boolean.bias.row_stride = 80;
  boolean.bias.head_stride = 5200;
  CHECK(selected(boolean, 90) == "sm90-wgmma-f16-d64-bias");
}

TEST_CASE("kernels that split keys need room for unfinished rows", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat16, 128);
  problem.query_length = 3;
  problem.key_length = 8192;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-short");
  CHECK(workspace_bytes(problem, 90) > 0);
  CHECK(workspace_bytes(problem, 80) == workspace_bytes(problem, 90));
  CHECK(workspace_bytes_with("sm80-mma-f16-d128", problem, 80) == 0);  // the one that does not
  CHECK(workspace_bytes_with("sm80-mma-f16-d128-general", problem, 80) > 0);
  CHECK(workspace_bytes_with("sm80-tf32x3-f32-d128", problem, 80) == 0);  // does not take it
  problem.key_length = 100;
  CHECK(workspace_bytes(problem, 90) == 0);
}

TEST_CASE("sixteen rows or fewer, packed or not, are shared by warps where a score costs more than its product",
          "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat16, 128);
  problem.query_length = 16;
  problem.key_length = 2048;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-short");
  problem.bias.kind = BiasKind::kBoolean;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-general-few");
  CHECK(selected(problem, 80) == "sm80-mma-f16-d128-general-few");
  problem.query_length = 17;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-general-short");
  problem.query_length = 4;
  problem.heads = 4 * problem.key_heads;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-general-few");
  problem.heads = 8 * problem.key_heads;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-general-short");  // 32 rows
  problem.bias.row_stride = 4096;
  CHECK(selected(problem, 90) == "sm80-mma-f16-d128-general-few");  // which cannot be packed

  AttentionProblem single = problem_of(DType::kFloat32, 64);
  single.query_length = 16;
  CHECK(selected(single, 90) == "sm80-tf32x3-f32-d64-few");
  single.query_length = 17;
  CHECK(selected(single, 90) == "sm80-tf32x3-f32-d64-short");
}

TEST_CASE("large float32 heads have a kernel for Hopper's shared memory", "[selection]") {
  const AttentionProblem problem = problem_of(DType::kFloat32, 200);
  CHECK(selected(problem, 90) == "sm90-tf32x3-f32-d256");
  CHECK(selected(problem, 80) == "sm80-tf32x3-f32-d256");
  CHECK(selected(problem, 100) == "sm80-tf32x3-f32-d256");
  CHECK(selected(problem_of(DType::kFloat32, 192), 90) == "sm80-tf32x3-f32-d192");
}

TEST_CASE("few queries of large heads leave Hopper's kernels where there are keys to split", "[selection]") {
  AttentionProblem problem = problem_of(DType::kBFloat16, 256);
  problem.query_length = 16;
  CHECK(selected(problem, 90) == "sm90-wgmma-bf16-d256");
  problem.key_length = 1024;
  CHECK(selected(problem, 90) == "sm80-mma-bf16-d256-short");
  problem.bias.kind = BiasKind::kBoolean;
  CHECK(selected(problem, 90) == "sm80-mma-bf16-d256-general-short");
  problem.query_length = 65;
  CHECK(selected(problem, 90) == "sm90-wgmma-bf16-d256-general");
}

TEST_CASE("float32 has short tiles too", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat32, 64);
  CHECK(selected(problem, 80) == "sm80-tf32x3-f32-d64");
  problem.query_length = 64;
  CHECK(selected(problem, 80) == "sm80-tf32x3-f32-d64-short");
  CHECK(selected(problem_of(DType::kFloat32, 256), 80) == "sm80-tf32x3-f32-d256");
}

TEST_CASE("float32 is split in halves on Hopper where there are rows and keys enough", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat32, 64);
  problem.query_length = problem.key_length = 2048;
  CHECK(selected(problem, 90) == "sm90-fp16x3-f32-d64");
  CHECK(workspace_bytes(problem, 90) > std::size_t{3} * 4 * 2048 * 64 * 4);  // the halves of three operands
  CHECK(selected(problem, 80) == "sm80-tf32x3-f32-d64");
  CHECK(selected(problem, 100) == "sm80-tf32x3-f32-d64");

  AttentionProblem few_keys = problem;
  few_keys.key_length = 191;
  CHECK(selected(few_keys, 90) == "sm80-tf32x3-f32-d64");
  AttentionProblem causal = problem;
  causal.window_right = 0;
  CHECK(selected(causal, 90) == "sm90-fp16x3-f32-d64");
  causal.key_length = 1023;  // half of them are seen
  CHECK(selected(causal, 90) == "sm80-tf32x3-f32-d64");
  causal.query_length = 2560;
  CHECK(selected(causal, 90) == "sm90-fp16x3-f32-d64");
  AttentionProblem window = problem;
  window.window_left = window.window_right = 50;
  CHECK(selected(window, 90) == "sm80-tf32x3-f32-d64");

  AttentionProblem few_rows = problem;
  few_rows.query_length = 2047;  // 4 heads
  CHECK(selected(few_rows, 90) == "sm80-tf32x3-f32-d64");
  few_rows.head_dim = 128;
  CHECK(selected(few_rows, 90) == "sm90-fp16x3-f32-d128");
  few_rows.head_dim = 32;
  few_rows.value_dim = 30;
  CHECK(selected(few_rows, 90) == "sm80-tf32x3-f32-d32");
  AttentionProblem many_keys = problem;
  many_keys.head_dim = 128;
  many_keys.query_length = 1024;
  many_keys.key_length = 17408;
  CHECK(selected(many_keys, 90) == "sm80-tf32x3-f32-d128");
  many_keys.key_heads = 1;
  CHECK(selected(many_keys, 90) == "sm90-fp16x3-f32-d128");
  AttentionProblem short_one = problem;
  short_one.query_length = 64;
  short_one.batch = 1000;
  CHECK(selected(short_one, 90) == "sm80-tf32x3-f32-d64-short");
}

TEST_CASE("what happens to the scores decides among the kernels for halves", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat32, 100);
  problem.query_length = problem.key_length = 4096;
  CHECK(selected(problem, 90) == "sm90-fp16x3-f32-d128");
  AttentionProblem unaligned = problem;
  unaligned.key.row_stride = 101;
  CHECK(selected(unaligned, 90) == "sm90-fp16x3-f32-d128");

  AttentionProblem capped = problem;
  capped.softcap = 30;
  CHECK(selected(capped, 90) == "sm90-fp16x3-f32-d128-general");
  AttentionProblem negative = problem;
  negative.scale = -1;
  CHECK(selected(negative, 90) == "sm90-fp16x3-f32-d128-general");
  negative.scale = 1e7F;  // beyond what halves are proved for
  CHECK(selected(negative, 90) == "sm80-tf32x3-f32-d128");

  AttentionProblem biased = problem;
  biased.bias.kind = BiasKind::kBoolean;
  biased.bias.column_stride = 1;
  CHECK(selected(biased, 90) == "sm90-fp16x3-f32-d128-key-bias");
  biased.bias.row_stride = 4096;
  CHECK(selected(biased, 90) == "sm90-fp16x3-f32-d128-general");
  biased.query_length = 4095;  // a row too few for that
  CHECK(selected(biased, 90) == "sm80-tf32x3-f32-d128");
  biased.value_dim = 129;
  CHECK(selected(biased, 90) == "sm80-tf32x3-f32-d192");
  biased.bias.kind = BiasKind::kNone;
  CHECK(selected(biased, 90) == "sm90-fp16x3-f32-d192");
}

TEST_CASE("uneven tiles need a counter", "[selection]") {
  AttentionProblem problem = problem_of(DType::kFloat16, 64);
  CHECK(workspace_bytes(problem, 90) == 0);
  problem.window_right = 0;
  CHECK(workspace_bytes(problem, 90) == 4);
  CHECK(workspace_bytes(problem, 80) == 0);
  problem.window_left = 100;
  CHECK(workspace_bytes(problem, 90) == 0);
}

}  // namespace flashconvert::kernels
