// A computing warpgroup: 64 rows of queries against all the keys that they see, from the last tile to the first.
#pragma once

#include <type_traits>

#include "../device/online_softmax.cuh"
#include "../device/score_modifiers.cuh"
#include "bias.cuh"
#include "epilogue.cuh"
#include "parameters.h"
#include "products.cuh"
#include "scheduler.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90 {

template <class Element, class Tile>
class Consumer {
  using Plan = SharedMemoryPlan<Tile>;
  static constexpr ScoreMode kMode = Tile::kMode;
  static constexpr ScoreUnits kUnits = kMode == ScoreMode::kPlain || kMode == ScoreMode::kCapped ? ScoreUnits::kRaw
                                       : kMode == ScoreMode::kKeyBias ? ScoreUnits::kPowersOfTwo
                                                                      : ScoreUnits::kNatural;
  using Softmax = OnlineSoftmax<1, kUnits, Raise::kLazy>;
  using Scores = Accumulators<Tile::kKeys>;
  using Weights = std::uint32_t[Tile::kKeys / 16][4];
  using Output = Accumulators<Tile::kValueDim>;
  using QueryKey = QueryKeyProduct<Element, Tile>;
  using WeightsValue = WeightsValueProduct<Element, Tile>;

public:
  __device__ __forceinline__ Consumer(const KernelParameters& p, char* shared_memory, int group)
      : p_(p), shared_(ptx::shared_address(shared_memory)), group_(group), mailbox_(shared_memory) {}

  // With two places for queries this is one pipeline over all the block's tiles of queries: the first scores of a tile
  // are computed beside the last product of the tile before, so that the tensor cores do not notice where one ends.
  __device__ __forceinline__ void run() {
    int current = receive();
    if (current == kNoMore) return;
    if (Tile::kTurns && group_ == Tile::kWarpgroups - 1) pass_turn();  // the first one's first turn
    Output output;
    clear(output);
    Softmax softmax;
    Weights weights;
    start(mailbox_.at(current), softmax, weights);
    while (true) {
      walk_keys(mailbox_.at(current), output, softmax, weights);
      const int next = receive();
      if (next == kNoMore) break;
      if constexpr (Tile::kQueryStages > 1) {
        turn_to(next, current, output, softmax, weights);
      } else {
        finish(current, output, softmax, weights);
        clear(output);
        start(mailbox_.at(next), softmax, weights);
      }
      current = next;
    }
    finish(current, output, softmax, weights);
    if (Tile::kTurns && group_ == 0) take_turn();  // leave no arrival behind
  }

private:
  static constexpr int kNoMore = -1;

  // Where in the mailbox the next tile with anything to see is; those without are dealt with on the way.
  __device__ __forceinline__ int receive() {
    while (true) {
      const int place = mailbox_.receive();
      if (mailbox_.at(place).is_last()) return kNoMore;
      if (!mailbox_.at(place).is_empty()) return place;
      const float factor[2] = {p_.empty_row, p_.empty_row};
      Output nothing;
      clear(nothing);
      store(place, nothing, factor);
    }
  }

  __device__ __forceinline__ void store(int place, const Output& output, const float (&factor)[2]) {
    const Assignment& at = mailbox_.at(place);
    store_output<Element, Tile>(p_, at.work, first_row(at), output, factor);
    mailbox_.release(place);
  }

  // A tile's first scores, with nothing beside them.
  __device__ __forceinline__ void start(const Assignment& to, Softmax& softmax, Weights& weights) {
    Scores scores;
    const QueryKey query_key(own_query(), key_tile());
    wait_query();
    wait_key();
    ptx::warpgroup_fence();
    query_key.issue(scores);
    ptx::warpgroup_commit();
    ptx::warpgroup_wait<0>();
    ptx::pin_registers(flat<Tile::kKeys>(scores));
    release_key();
    softmax.reset();
    update_first(to, scores, softmax);
    look_ahead();
    pack_weights(weights, scores);
  }

  // All tiles of keys but the last: while the scores of the next tile become weights, the tensor cores have this
  // warpgroup's product of weights and values, and the products of the other warpgroups.
  __device__ __forceinline__ void walk_keys(const Assignment& at, Output& output, Softmax& softmax, Weights& weights) {
    const std::uint32_t query = own_query();
    for_tiles_down(at.tiles, at.tiles.end - 2, [&](int tile, auto is_plain) {
      Scores scores;
      issue_products(query, scores, output, weights);
      ptx::warpgroup_wait<1>();
      ptx::pin_registers(flat<Tile::kKeys>(scores));
      release_key();
      modify_scores(scores, at, tile, is_plain);
      weigh_and_finish_product(scores, output, softmax, weights);
    });
    release_query();
  }

  // The first scores of the next tile of queries, beside the last product of the one at hand, which is then stored.
  __device__ __forceinline__ void turn_to(int next, int current, Output& output, Softmax& softmax, Weights& weights) {
    Scores scores;
    wait_query();
    issue_products(own_query(), scores, output, weights);
    const float factor[2] = {softmax.finish(0, 0, p_.empty_row), softmax.finish(0, 1, p_.empty_row)};
    softmax.reset();
    ptx::warpgroup_wait<1>();
    ptx::pin_registers(flat<Tile::kKeys>(scores));
    release_key();
    update_first(mailbox_.at(next), scores, softmax);
    ptx::warpgroup_wait<0>();
    ptx::pin_registers(flat<Tile::kValueDim>(output));
    release_value(key_.before(2));  // its keys, and those of the scores, are released
    look_ahead();
    pack_weights(weights, scores);
    store(current, output, factor);
    clear(output);
  }

  // A tile's last product, with nothing beside it.
  __device__ __forceinline__ void finish(int current, Output& output, const Softmax& softmax, const Weights& weights) {
    const WeightsValue weights_value(value_tile());
    wait_value();
    ptx::warpgroup_fence();
    weights_value.issue(output, weights);
    ptx::warpgroup_commit();
    ptx::warpgroup_wait<0>();
    ptx::pin_registers(flat<Tile::kValueDim>(output));
    release_value(next_value());
    const float factor[2] = {softmax.finish(0, 0, p_.empty_row), softmax.finish(0, 1, p_.empty_row)};
    store(current, output, factor);
  }

  // Starts QK of the next tile, then PV of this one.
  __device__ __forceinline__ void issue_products(std::uint32_t query, Scores& scores, Output& output,
                                                 const Weights& weights) {
    if constexpr (!Tile::kLooksAhead) next_ = {key_tile(), value_tile(), false, false};
    const QueryKey query_key(query, next_.key);
    const WeightsValue weights_value(next_.value);
    if (!next_.key_has_come) wait_key();
    if constexpr (Tile::kTurns) take_turn();
    ptx::warpgroup_fence();
    query_key.issue(scores);
    ptx::warpgroup_commit();
    if (!next_.value_has_come) wait_value();
    ptx::warpgroup_fence();
    weights_value.issue(output, weights);
    ptx::warpgroup_commit();
    if constexpr (Tile::kTurns) pass_turn();
  }

  __device__ __forceinline__ void update_first(const Assignment& to, Scores& scores, Softmax& softmax) {
    modify_scores(scores, to, to.tiles.end - 1, std::false_type());
    float rescale[1][2];
    softmax.update(scores, rescale, p_.exponent_scale);
  }

  // Calls step(tile, is_plain) for the tiles [first, last] from the end; the plain ones in a loop of their own.
  template <class Step>
  __device__ __forceinline__ void for_tiles_down(const KeyTiles& tiles, int last, const Step& step) {
    // A count is one register; the tile's number follows from it where it is asked for.
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
    return at.work.first_row + group_ * kWarpgroupRows + static_cast<int>(threadIdx.x) / 32 % 4 * 16;
  }

  static __device__ __forceinline__ void clear(Output& output) {
#pragma unroll
    for (int n = 0; n < Tile::kValueDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) output[0][n][i] = 0.F;
    }
  }

  template <class IsPlain>
  __device__ __forceinline__ void modify_scores(Scores& scores, const Assignment& to, int tile, IsPlain is_plain) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const ScorePosition at = {first_row(to) + lane / 4, tile * Tile::kKeys + lane % 4 * 2};
    if constexpr (kMode == ScoreMode::kCapped) {
      cap_fast(scores, p_.score_factor);
    } else if constexpr (kMode == ScoreMode::kKeyBias) {
      wait_bias();
      add_key_bias<Tile>(scores, p_.exponent_scale, bias_tile());
      release_bias();
    } else if constexpr (kMode == ScoreMode::kBias) {
      wait_bias();
      add_bias_tile<Element, Tile>(scores, p_, bias_tile(), first_row(to) - to.work.first_row);
      release_bias();
    } else if constexpr (kMode == ScoreMode::kGeneral) {
      scale_and_cap<false>(scores, p_);
      add_bias<Element>(scores, p_, bias_offset(p_.bias, to.work.batch, to.work.head), at);
    }
    if (!is_plain) hide_outside_window<Rows::kQueries>(scores, p_, at);
  }

  static __device__ __forceinline__ void pack_weights(Weights& weights, const Scores& scores) {
#pragma unroll
    for (int step = 0; step < Tile::kKeys / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = scores[0][2 * step + i / 2];
        weights[step][i] = ptx::pack<Element>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    }
  }

  // The softmax of the next tile's scores beside PV of this one, and what has to follow both. From 64 to 128 columns of
  // V, half of the exponentials come before the wait for PV, which ends about then, and half beside the packing, which
  // needs other units. A longer PV leaves time for all of them, and a shorter one is over before them in any case.
  __device__ __forceinline__ void weigh_and_finish_product(Scores& scores, Output& output, Softmax& softmax,
                                                           Weights& weights) {
    constexpr int kRowsBeforeWait = Tile::kValueDim > 32 && Tile::kValueDim <= 128 ? 1 : 2;
    float rescale[2];
    const bool must_rescale = softmax.raise_maxima(scores[0], 0, rescale, p_.exponent_scale);
#pragma unroll
    for (int half = 0; half < kRowsBeforeWait; ++half) softmax.weigh(scores[0], 0, half, p_.exponent_scale);
    ptx::pin_registers(flat<Tile::kKeys>(scores));
    ptx::end_code_block(p_.query_length, shared_);
    ptx::warpgroup_wait<0>();
    ptx::pin_registers(flat<Tile::kValueDim>(output));
    release_value(key_.before(2));  // its keys, and those of the scores, are released
    look_ahead();
#pragma unroll
    for (int half = kRowsBeforeWait; half < 2; ++half) softmax.weigh(scores[0], 0, half, p_.exponent_scale);
    pack_weights(weights, scores);
    if (must_rescale) {
#pragma unroll
      for (int n = 0; n < Tile::kValueDim / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) output[0][n][i] *= rescale[i / 2];
      }
    }
  }

  // Finds out where the next keys and values are and whether they have come: here, where there is time beside the
  // exponentials. Where the products are issued, each step of that would keep the tensor cores waiting.
  __device__ __forceinline__ void look_ahead() {
    if constexpr (!Tile::kLooksAhead) return;
    const auto value = next_value();
    next_ = {key_tile(), value_tile(), ptx::barrier_test(shared_ + Plan::kKeyFull + 8 * key_.stage(), key_.parity()),
             ptx::barrier_test(shared_ + Plan::kValueFull + 8 * value.stage(), value.parity())};
  }

  __device__ __forceinline__ std::uint32_t own_query() const {
    return QueryKey::operand(shared_ + Plan::kQuery + query_.stage() * Tile::kQueryBytes +
                             group_ * kWarpgroupRows * ptx::panel_bytes(Tile::kHeadSwizzle));
  }
  __device__ __forceinline__ std::uint32_t key_tile() const {
    return QueryKey::operand(shared_ + Plan::kKeys + key_.stage() * Tile::kKeyBytes);
  }
  __device__ __forceinline__ std::uint32_t value_tile() const {
    return WeightsValue::operand(shared_ + Plan::kValues + next_value().stage() * Tile::kValueBytes);
  }

  __device__ __forceinline__ std::uint32_t bias_tile() const {
    return uniform(shared_ + Plan::kBias + bias_place().stage() * Tile::kBiasBytes);
  }

  __device__ __forceinline__ RingPosition<Tile::kStages> next_value() const { return key_.before(1); }
  // Scores are modified when their keys have just been released.
  __device__ __forceinline__ RingPosition<Tile::kStages> bias_place() const { return key_.before(1); }

  __device__ __forceinline__ void wait_query() const {
    ptx::barrier_wait(shared_ + Plan::kQueryFull + 8 * query_.stage(), query_.parity());
  }
  __device__ __forceinline__ void wait_key() const {
    ptx::barrier_wait(shared_ + Plan::kKeyFull + 8 * key_.stage(), key_.parity());
  }
  __device__ __forceinline__ void wait_value() const {
    ptx::barrier_wait(shared_ + Plan::kValueFull + 8 * next_value().stage(), next_value().parity());
  }
  __device__ __forceinline__ void wait_bias() const {
    ptx::barrier_wait(shared_ + Plan::kBiasFull + 8 * bias_place().stage(), bias_place().parity());
  }
  // Each lane for what it read itself.
  __device__ __forceinline__ void release_bias() const {
    ptx::barrier_arrive(shared_ + Plan::kBiasEmpty + 8 * bias_place().stage());
  }
  __device__ __forceinline__ void release_query() {
    release(Plan::kQueryEmpty + 8 * query_.stage());
    query_.advance();
  }
  __device__ __forceinline__ void release_key() {
    release(Plan::kKeyEmpty + 8 * key_.stage());
    key_.advance();
  }
  __device__ __forceinline__ void release_value(const RingPosition<Tile::kStages>& value) const {
    release(Plan::kValueEmpty + 8 * value.stage());
  }
  // The warp's reads are done when its wait for the product returned.
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

  const KernelParameters& p_;
  std::uint32_t shared_;
  int group_;
  Mailbox<Tile> mailbox_;
  RingPosition<Tile::kQueryStages> query_;
  RingPosition<Tile::kStages> key_;  // the next keys; the next values are those of the keys before
  struct {
    std::uint32_t key;  // operands of the products
    std::uint32_t value;
    bool key_has_come;
    bool value_has_come;
  } next_;
};

}  // namespace flashconvert::kernels::sm90
