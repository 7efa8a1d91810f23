// The probe: runs the subgraph that a site is and its replacement on small random float64 inputs, over several shapes,
// masks and fully masked rows, before anything is replaced. It makes a wrong fusion a caught one.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "survey/method_facts.h"
#include "survey/survey.h"

namespace flashconvert::survey {

// One tensor that the probe draws, standing for a value of the graph.
struct ProbeInput {
  enum class Use { kQuery, kKey, kValue, kAdditive, kMask, kAssumedMask };
  torch::jit::Value* value = nullptr;
  Use use = Use::kQuery;
  std::vector<std::int64_t>
      order;  // operands: operator dimension i is dimension order[i] of the value; empty: the same
  bool swap_last = false;
  // For what is not an operand of the operator (the input of a projection, its mask): the sizes, with stand-ins for the
  // trial's batch and length. Empty: from `use`.
  static constexpr std::int64_t kBatch = -1;
  static constexpr std::int64_t kLength = -2;  // of the queries
  static constexpr std::int64_t kKeys = -3;
  static constexpr std::int64_t kHeads = -4;
  static constexpr std::int64_t kProduct = -5;  // the product's first dimension, where the site splits it
  static constexpr std::int64_t kBatchTimesHeads = -6;
  std::vector<std::int64_t> sizes = {};
  bool hides_keys = true;                 // what is added: whether minus infinity and the like may stand in it
  AssumedMask assumed = {};               // what is known of a kAssumedMask
  std::optional<c10::IValue> given = {};  // this value (None, a flag) in place of a drawn tensor
};

// A list of sizes inside the piece, so that numbers computed outside it can be given the value that they must have.
struct ProbeSizes {
  torch::jit::Value* list = nullptr;
  bool of_scores =
      true;  // [..., Lq, Lk]; else of a key or value with repeated heads, [B, Hkv, n, Lk, D] or [B, H, Lk, D]
};

struct ProbeSite {
  torch::jit::Value* original = nullptr;
  torch::jit::Value* replacement = nullptr;
  std::vector<ProbeInput> inputs;
  std::vector<ProbeSizes> sizes;
  // The original's operands where a number factor was taken off: value = factor * probe input's value (which stands
  // beneath the views that the replacement rebuilt).
  struct Scaled {
    torch::jit::Value* value = nullptr;
    torch::jit::Value* by_input = nullptr;
    double factor = 1;
  };
  std::vector<Scaled> scaled;
  std::vector<std::int64_t> ranks;  // of the operands, those that are possible
  std::optional<std::int64_t> heads, query_length, key_length, head_dim, value_dim;  // where the graph fixes them
  std::int64_t repeats = 1;
  std::vector<std::optional<std::int64_t>> split_sizes;  // the leading sizes, where the site splits the product's first
  std::vector<torch::jit::Value*> layers;  // modules that the original calls: run on a copy in the trial's dtype
  bool gradients = false;                  // run with gradients recorded, for code that asks
  std::size_t shapes = 4;                  // how many of the trial's shapes
};

// Nothing when the two agree on every shape that the original accepts; else the reason.
std::optional<std::string> probe(const ProbeSite& site, const MethodFacts& facts);

}  // namespace flashconvert::survey
