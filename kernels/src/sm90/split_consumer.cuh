// A computing warpgroup for float32 operands in halves: 64 rows of queries against all the keys that they see. The
// schedule is Consumer's (consumer.cuh). What differs: three products for each, scales on the way, and a product's
// accumulators are emptied into the output after every tile of keys.
#pragma once

#include <cfloat>
#include <type_traits>

#include "../device/online_softmax.cuh"
#include "../device/score_modifiers.cuh"
#include "../device/thread.cuh"
#include "scheduler.cuh"
#include "shared_memory.cuh"
#include "split_epilogue.cuh"
#include "split_parameters.h"
#include "split_products.cuh"
#include "split_scores.cuh"

namespace flashconvert::kernels::sm90 {

template <class Tile>
class SplitConsumer {
  using Plan = SharedMemoryPlan<Tile>;
  static constexpr ScoreMode kMode = Tile::kMode;
  static constexpr ScoreUnits kUnits = kMode == ScoreMode::kPlain     ? ScoreUnits::kRaw
                                       : kMode == ScoreMode::kKeyBias ? ScoreUnits::kPowersOfTwo
                                                                      : ScoreUnits::kNatural;
  using Softmax = OnlineSoftmax<1, kUnits, Raise::kLazySmall>;
  using Scores = Accumulators<Tile::kKeys>;
  using Weights = SplitWeights<Tile>;
  using Output = Accumulators<Tile::kValueDim>;
  using Product = Accumulators<Tile::kChunk>;
  using QueryKey = SplitQueryKeyProduct<Tile>;
  using WeightsValue = SplitWeightsValueProduct<Tile>;

public:
  __device__ __forceinline__ SplitConsumer(const SplitParameters& p, char* shared_memory, int group)
      : all_(p), p_(p.common), shared_(ptx::shared_address(shared_memory)), group_(group), mailbox_(shared_memory) {}

  __device__ __forceinline__ void run() {
    int current = receive();
    if (current == kNoMore) return;
    if (Tile::kTurns && group_ == Tile::kWarpgroups - 1) pass_turn();  // the first one's first turn
    Output output;
    Softmax softmax;
    Weights weights;
    while (true) {
      clear(output);
      if constexpr (Tile::kOverlaps) {
        start(mailbox_.at(current), softmax, weights);
        walk_keys(mailbox_.at(current), output, softmax, weights);
        finish(mailbox_.at(current), output, weights);
      } else {
        walk_keys_in_turn(mailbox_.at(current), output, softmax, weights);
      }
      store(current, output, softmax);
      current = receive();
      if (current == kNoMore) break;
    }
    if (Tile::kTurns && group_ == 0) take_turn();  // leave no arrival behind
  }

private:
  static constexpr int kNoMore = -1;

  __device__ __forceinline__ int receive() {
    while (true) {
      const int place = mailbox_.receive();
      if (mailbox_.at(place).is_last()) return kNoMore;
      if (!mailbox_.at(place).is_empty()) return place;
      const float factor[2] = {p_.empty_row, p_.empty_row};
      Output nothing;
      clear(nothing);
      const Assignment& at = mailbox_.at(place);
      store_float_output<Tile>(p_, at.work, first_row(at), nothing, factor);
      mailbox_.release(place);
    }
  }

  __device__ __forceinline__ void store(int place, const Output& output, const Softmax& softmax) {
    const float factor[2] = {softmax.finish(0, 0, p_.empty_row) * (1.F / kWeightScale),
                             softmax.finish(0, 1, p_.empty_row) * (1.F / kWeightScale)};
    const Assignment& at = mailbox_.at(place);
    store_float_output<Tile>(p_, at.work, first_row(at), output, factor);
    mailbox_.release(place);
  }

  // A tile's first scores, with nothing beside them.
  __device__ __forceinline__ void start(const Assignment& to, Softmax& softmax, Weights& weights) {
    const int tile = to.tiles.end - 1;
    read_query_scales(to);
    const float key_scale = scale_of(all_.key_scales, to, tile);
    SplitScores<Tile> sums;
    const QueryKey query_key(own_query(), key_tile());
    ptx::barrier_wait(shared_ + Plan::kQueryFull + 8 * query_.stage(), query_.parity());
    wait_key();
    ptx::warpgroup_fence();
    query_key.issue(sums);
    ptx::warpgroup_commit();
    ptx::warpgroup_wait<0>();
    Scores& scores = sums.sum();
    release_key();
    softmax.reset();
    float rescale[2];
    float multiplier[2];
    modify_scores(scores, to, tile, std::false_type(), key_scale, multiplier);
    softmax.raise_maxima(scores[0], 0, rescale, multiplier);
    weigh(scores, softmax, multiplier);
    split_weights<Tile>(weights, scores);
  }

  __device__ __forceinline__ void walk_keys(const Assignment& at, Output& output, Softmax& softmax, Weights& weights) {
    const std::uint32_t query = own_query();
    for_tiles_down(at.tiles, at.tiles.end - 2, [&](int tile, auto is_plain) {
      const float key_scale = scale_of(all_.key_scales, at, tile);
      const float value_scale = scale_of(all_.value_scales, at, tile + 1);
      SplitScores<Tile> sums;
      Product product;
      issue_products(query, sums, product, weights);
      ptx::warpgroup_wait<1>();
      Scores& scores = sums.sum();
      release_key();
      float multiplier[2];
      float rescale[2];
      modify_scores(scores, at, tile, is_plain, key_scale, multiplier);
      const bool must_rescale = softmax.raise_maxima(scores[0], 0, rescale, multiplier);
      weigh(scores, softmax, multiplier);
      ptx::pin_registers(flat<Tile::kKeys>(scores));
      ptx::end_code_block(p_.query_length, shared_);
      empty_products(value_tile(key_.before(2)), product, output, weights, value_scale);
      release_value(key_.before(2));  // its keys, and those of the scores, are released
      split_weights<Tile>(weights, scores);
      if (must_rescale) scale_rows(output, rescale);
    });
    release(Plan::kQueryEmpty + 8 * query_.stage());
    query_.advance();
  }

  // A tile's last product, with nothing beside it.
  __device__ __forceinline__ void finish(const Assignment& at, Output& output, Weights& weights) {
    const float value_scale = scale_of(all_.value_scales, at, at.tiles.first);
    const std::uint32_t value = value_tile(next_value());
    wait_value();
    Product product;
    issue_part(value, product, weights, 0, 0);
    empty_products(value, product, output, weights, value_scale);
    release_value(next_value());
  }

  // One product after the other; the tensor cores have the other warpgroup's beside the softmax.
  __device__ __forceinline__ void walk_keys_in_turn(const Assignment& at, Output& output, Softmax& softmax,
                                                    Weights& weights) {
    const std::uint32_t query = own_query();
    read_query_scales(at);
    softmax.reset();
    ptx::barrier_wait(shared_ + Plan::kQueryFull + 8 * query_.stage(), query_.parity());
    for_tiles_down(at.tiles, at.tiles.end - 1, [&](int tile, auto is_plain) {
      const float key_scale = scale_of(all_.key_scales, at, tile);
      const float value_scale = scale_of(all_.value_scales, at, tile);
      {
        SplitScores<Tile> sums;
        const QueryKey query_key(query, key_tile());
        wait_key();
        ptx::warpgroup_fence();
        query_key.issue(sums);
        ptx::warpgroup_commit();
        ptx::warpgroup_wait<0>();
        Scores& scores = sums.sum();
        release_key();
        float multiplier[2];
        float rescale[2];
        modify_scores(scores, at, tile, is_plain, key_scale, multiplier);
        if (softmax.raise_maxima(scores[0], 0, rescale, multiplier)) scale_rows(output, rescale);
        weigh(scores, softmax, multiplier);
        split_weights<Tile>(weights, scores);
      }
      const std::uint32_t value = value_tile(next_value());
      Product product;
      wait_value();
      issue_part(value, product, weights, 0, 0);
      empty_products(value, product, output, weights, value_scale);
      release_value(next_value());
    });
    release(Plan::kQueryEmpty + 8 * query_.stage());
    query_.advance();
  }

  // Starts QK of the next tile, then the first part of PV of this one.
  __device__ __forceinline__ void issue_products(std::uint32_t query, SplitScores<Tile>& scores, Product& product,
                                                 const Weights& weights) {
    const QueryKey query_key(query, key_tile());
    const WeightsValue weights_value(value_tile(next_value()));
    wait_key();
    if constexpr (Tile::kTurns) take_turn();
    ptx::warpgroup_fence();
    query_key.issue(scores);
    ptx::warpgroup_commit();
    wait_value();
    ptx::warpgroup_fence();
    weights_value.issue(product, weights, 0, 0);
    ptx::warpgroup_commit();
    if constexpr (Tile::kTurns) pass_turn();
  }

  __device__ __forceinline__ void issue_part(std::uint32_t value, Product& product, const Weights& weights,
                                             int first_column, int first_key) {
    const WeightsValue weights_value(value);
    ptx::warpgroup_fence();
    weights_value.issue(product, weights, first_column, first_key);
    ptx::warpgroup_commit();
  }

  // Waits for the first part of PV, adds it to the output, and makes the others.
  __device__ __forceinline__ void empty_products(std::uint32_t value, Product& product, Output& output,
                                                 Weights& weights, float scale) {
#pragma unroll
    for (int column = 0; column < Tile::kValueDim; column += Tile::kChunk) {
#pragma unroll
      for (int key = 0; key < Tile::kKeys; key += Tile::kSumKeys) {
        if (column > 0 || key > 0) issue_part(value, product, weights, column, key);
        ptx::warpgroup_wait<0>();
        ptx::pin_registers(flat<Tile::kChunk>(product));
        weights.pin();
#pragma unroll
        for (int n = 0; n < Tile::kChunk / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float& sum = output[0][column / 8 + n][i];
            sum = fmaf(product[0][n][i], scale, sum);
          }
        }
      }
    }
  }

  // Calls step(tile, is_plain) for the tiles [first, last] from the end; the plain ones in a loop of their own.
  template <class Step>
  __device__ __forceinline__ void for_tiles_down(const KeyTiles& tiles, int last, const Step& step) {
#pragma unroll 1
    for (int left = last + 1 - tiles.plain_end; left > 0; --left) step(tiles.plain_end + left - 1, std::false_type());
#pragma unroll 1
    for (int left = min(last + 1, tiles.plain_end) - tiles.plain_first; left > 0; --left) {
      step(tiles.plain_first + left - 1, std::true_type());
    }
#pragma unroll 1
    for (int left = min(last + 1, tiles.plain_first) - tiles.first; left > 0; --left) {
      step(tiles.first + left - 1, std::false_type());
    }
  }

  // Of this warp's 16 rows.
  __device__ __forceinline__ int first_row(const Assignment& at) const {
    return at.work.first_row + group_ * kWarpgroupRows + thread_index() / 32 % 4 * 16;
  }

  static __device__ __forceinline__ void clear(Output& output) {
#pragma unroll
    for (int n = 0; n < Tile::kValueDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) output[0][n][i] = 0.F;
    }
  }

  static __device__ __forceinline__ void scale_rows(Output& output, const float (&factor)[2]) {
#pragma unroll
    for (int n = 0; n < Tile::kValueDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) output[0][n][i] *= factor[i / 2];
    }
  }

  // What a tile of keys or values is multiplied with.
  __device__ __forceinline__ float scale_of(const float* scales, const Assignment& at, int tile) const {
    return __ldg(scales +
                 (static_cast<std::int64_t>(at.work.batch) * all_.key_heads + at.work.key_head) * all_.key_tiles +
                 tile);
  }

  // Of this lane's two rows, with what turns products into scores of the softmax's units.
  __device__ __forceinline__ void read_query_scales(const Assignment& at) {
    const float* const head =
        all_.query_scales + (static_cast<std::int64_t>(at.work.batch) * p_.heads + at.work.head) * p_.query_length;
    const float units = kUnits == ScoreUnits::kNatural ? p_.score_factor : p_.exponent_scale;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row(at) + lane_index() / 4 + 8 * half;
      query_scale_[half] = __ldg(head + min(row, p_.query_length - 1)) * units;
    }
  }

  // `multiplier`: of the scores as they are left, for the softmax.
  template <class IsPlain>
  __device__ __forceinline__ void modify_scores(Scores& scores, const Assignment& to, int tile, IsPlain is_plain,
                                                float key_scale, float (&multiplier)[2]) {
    const int lane = lane_index();
    const ScorePosition at = {first_row(to) + lane / 4, tile * Tile::kKeys + lane % 4 * 2};
    // Where tiny operands make it vanish, all scores do; what is hidden must not become -inf * 0.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float product = query_scale_[half] * key_scale;
      multiplier[half] = kMode == ScoreMode::kPlain ? fmaxf(product, FLT_MIN) : product;
    }
    if constexpr (kMode == ScoreMode::kKeyBias) {
      // Of the keys that were just released.
      const RingPosition<Tile::kStages> place = key_.before(1);
      ptx::barrier_wait(shared_ + Plan::kBiasFull + 8 * place.stage(), place.parity());
      add_key_bias_to_rows<Tile>(scores, multiplier, uniform(shared_ + Plan::kBias + place.stage() * Tile::kBiasBytes));
      ptx::barrier_arrive(shared_ + Plan::kBiasEmpty + 8 * place.stage());  // each lane for what it read itself
    } else if constexpr (kMode == ScoreMode::kGeneral) {
      scale_and_cap_rows<Tile>(scores, multiplier, p_.softcap);
      add_bias<float>(scores, p_, bias_offset(p_.bias, to.work.batch, to.work.head), at);
    }
    if (!is_plain) hide_outside_window<Rows::kQueries>(scores, p_, at);
  }

  static __device__ __forceinline__ void weigh(Scores& scores, Softmax& softmax, const float (&multiplier)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) softmax.weigh(scores[0], 0, half, multiplier[half]);
  }

  __device__ __forceinline__ std::uint32_t own_query() const {
    return QueryKey::operand(shared_ + Plan::kQuery + query_.stage() * Tile::kQueryBytes +
                             group_ * kWarpgroupRows * ptx::panel_bytes(Tile::kHeadSwizzle));
  }
  __device__ __forceinline__ std::uint32_t key_tile() const {
    return QueryKey::operand(shared_ + Plan::kKeys + key_.stage() * Tile::kKeyBytes);
  }
  __device__ __forceinline__ std::uint32_t value_tile(const RingPosition<Tile::kStages>& value) const {
    return WeightsValue::operand(shared_ + Plan::kValues + value.stage() * Tile::kValueBytes);
  }
  __device__ __forceinline__ RingPosition<Tile::kStages> next_value() const { return key_.before(1); }

  __device__ __forceinline__ void wait_key() const {
    ptx::barrier_wait(shared_ + Plan::kKeyFull + 8 * key_.stage(), key_.parity());
  }
  __device__ __forceinline__ void wait_value() const {
    ptx::barrier_wait(shared_ + Plan::kValueFull + 8 * next_value().stage(), next_value().parity());
  }
  __device__ __forceinline__ void release_key() {
    release(Plan::kKeyEmpty + 8 * key_.stage());
    key_.advance();
  }
  __device__ __forceinline__ void release_value(const RingPosition<Tile::kStages>& value) const {
    release(Plan::kValueEmpty + 8 * value.stage());
  }
  __device__ __forceinline__ void release(int barrier) const {
    if (threadIdx.x % 32 == 0) ptx::barrier_arrive(shared_ + barrier);
  }
  __device__ __forceinline__ void take_turn() const {
    ptx::named_barrier_sync(kFirstTurnBarrier + group_, 2 * kWarpgroupThreads);
  }
  __device__ __forceinline__ void pass_turn() const {
    const int next = group_ + 1 == Tile::kWarpgroups ? 0 : group_ + 1;
    ptx::named_barrier_arrive(kFirstTurnBarrier + next, 2 * kWarpgroupThreads);
  }

  const SplitParameters& all_;
  const KernelParameters& p_;
  std::uint32_t shared_;
  int group_;
  Mailbox<Tile> mailbox_;
  RingPosition<Tile::kQueryStages> query_;
  RingPosition<Tile::kStages> key_;  // the next keys; the next values are those of the keys before
  float query_scale_[2];
};

}  // namespace flashconvert::kernels::sm90
