// See avx512_bf16.h. The online softmax of FlashAttention (Dao et al. 2022): a block of queries goes over tiles of
// keys, and takes what it has summed up to the measure of the largest score so far. Scores and sums are float32; the
// weights are rounded to bfloat16 for the second product.
#include "avx512_bf16.h"

#if defined(__x86_64__)

#include <memory>
#include <new>
#include <type_traits>

#include "avx512_bf16_product.h"
#include "avx512_bf16_softmax.h"

namespace flashconvert::runtime::avx512_bf16 {
namespace {

// A block's scores and weights take 99 KiB, a tile's keys and values 64 KiB with heads of 64: a second-level cache
// holds both. 128 or 512 keys a tile are up to a tenth slower in tests/bench/cpu_operator.py.
constexpr std::int64_t kBlockRows = 66;
constexpr std::int64_t kTileKeys = 256;
// So many keys and values are read ahead of their turn; more would drive what is in use out of that cache.
constexpr std::int64_t kPrefetchedKeys = 1024;

// Heads of at most so many are packed whole, into 2 MiB with features of 128. Of longer ones each block packs a tile at
// a time, which takes a tenth longer and keeps a thread's memory small.
constexpr std::int64_t kPackedKeys = 4096;
static_assert(kBlockRows % kTileRows == 0 && kTileKeys % kPanel == 0);

// Memory for vectors, not initialised.
template <typename Element>
class Buffer {
public:
  explicit Buffer(std::int64_t size)
      : data_(static_cast<Element*>(::operator new(static_cast<std::size_t>(size) * sizeof(Element), kAlignment))) {}
  Element* data() const { return data_.get(); }

private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(Element* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<Element, Delete> data_;
};

// The queries of a key head's group are rows of one matrix, [group, query_length], which is cut into blocks.
std::int64_t rows_of_head(const Attention& attention) { return attention.group * attention.query_length; }

// As even as whole tiles of the product allow.
std::int64_t rows_of_block(const Attention& attention) {
  const std::int64_t rows = rows_of_head(attention);
  return round_up(divide_up(rows, divide_up(rows, kBlockRows)), kTileRows);
}

std::int64_t blocks_of_head(const Attention& attention) {
  return divide_up(rows_of_head(attention), rows_of_block(attention));
}

struct Piece {
  std::int64_t batch;
  std::int64_t key_head;
  std::int64_t first_row;
  std::int64_t rows;
};

Piece make_piece(const Attention& attention, std::int64_t index) {
  const std::int64_t blocks = blocks_of_head(attention);
  const std::int64_t head = index / blocks;
  const std::int64_t first_row = index % blocks * rows_of_block(attention);
  return {head / attention.key_heads, head % attention.key_heads, first_row,
          std::min(rows_of_block(attention), rows_of_head(attention) - first_row)};
}

struct Row {
  std::int64_t head;  // of the query
  std::int64_t query;
  std::int64_t first_key, end_key;  // what the band lets it see
};

Row make_row(const Attention& attention, const Piece& piece, std::int64_t i) {
  const auto existing = [&](std::int64_t key) { return std::clamp<std::int64_t>(key, 0, attention.key_length); };
  const std::int64_t row = piece.first_row + i;
  const std::int64_t query = row % attention.query_length;
  return {piece.key_head * attention.group + row / attention.query_length, query, existing(query + attention.first_key),
          existing(query + attention.end_key)};
}

template <typename Element>
Element* row_of(const Rows<Element>& rows, std::int64_t batch, std::int64_t head, std::int64_t row) {
  return rows.data + batch * rows.batch_stride + head * rows.head_stride + row * rows.row_stride;
}

// `count` elements, copied to `scratch` where they do not adjoin.
template <typename Element>
const Element* adjoining(const Element* from, std::int64_t stride, std::int64_t count, Element* scratch) {
  if (stride == 1) {
    return from;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    scratch[i] = from[i * stride];
  }
  return scratch;
}

// The bias of a row from key `key` on.
const void* bias_of(const Bias& bias, std::int64_t batch, const Row& row, std::int64_t key, std::int64_t count,
                    void* scratch) {
  const auto of_type = [&](auto* null) -> const void* {
    using Element = std::remove_pointer_t<decltype(null)>;
    const auto& rows = bias.queries;
    const Rows<const Element> typed{static_cast<const Element*>(rows.data), rows.batch_stride, rows.head_stride,
                                    rows.row_stride};
    return adjoining(row_of(typed, batch, row.head, row.query) + key * bias.key_stride, bias.key_stride, count,
                     static_cast<Element*>(scratch));
  };
  switch (bias.type) {
    case BiasType::kNone:
      break;
    case BiasType::kBoolean:
      return of_type(static_cast<std::uint8_t*>(nullptr));
    case BiasType::kBfloat16:
      return of_type(static_cast<std::uint16_t*>(nullptr));
    case BiasType::kFloat32:
      return of_type(static_cast<float*>(nullptr));
  }
  return nullptr;
}

void prefetch_row(const std::uint16_t* row, std::int64_t count) {
  for (std::int64_t feature = 0; feature < count; feature += 2 * kLanes) {
    __builtin_prefetch(row + feature);
  }
}

FLASHCONVERT_AVX512_BF16 void copy_row(const std::uint16_t* from, std::int64_t count, std::uint16_t* to) {
  for (std::int64_t feature = 0; feature < count; feature += 2 * kLanes) {
    _mm512_storeu_si512(to + feature, load_features(from + feature, count - feature));
  }
}

FLASHCONVERT_AVX512_BF16 void write_row(const float* sums, float factor, std::int64_t count, std::uint16_t* to) {
  for (std::int64_t feature = 0; feature < count; feature += kLanes) {
    const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(sums + feature), _mm512_set1_ps(factor));
    _mm256_mask_storeu_epi16(to + feature, lanes16(count - feature), (__m256i)_mm512_cvtneps_pbh(value));
  }
}

// One thread's memory: the packed keys and values of one head, and a block of its queries.
class Worker {
public:
  explicit Worker(const Attention& attention)
      : attention_(attention),
        query_stride_(round_up(attention.head_dim, 2 * kLanes)),
        output_stride_(round_up(attention.value_dim, kLanes)),
        capacity_(attention.key_length <= kPackedKeys ? attention.key_length : kTileKeys),
        queries_(kBlockRows * query_stride_),
        keys_(divide_up(capacity_, kPanel) * panel_elements(attention.head_dim)),
        values_(divide_up(attention.value_dim, kPanel) * panel_elements(capacity_)),
        scores_(kBlockRows * kTileKeys),
        weights_(kBlockRows * kTileKeys),
        output_(kBlockRows * output_stride_) {}

  void compute(std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const Piece before = piece_;
      piece_ = make_piece(attention_, index);
      if (has_another_head(piece_, before)) {
        first_packed_ = end_packed_ = 0;
      }
      copy_queries();
      add_tiles(index + 1 < end ? make_piece(attention_, index + 1) : piece_);
      for (std::int64_t i = 0; i < piece_.rows; ++i) {
        write(i);
      }
    }
  }

private:
  static bool has_another_head(const Piece& piece, const Piece& before) {
    return piece.key_head != before.key_head || piece.batch != before.batch;
  }

  void pack_from(std::int64_t key) {
    first_packed_ = key;
    end_packed_ = std::min(key + capacity_, attention_.key_length);
    const std::int64_t count = end_packed_ - key;
    pack_transposed(row_of(attention_.key, piece_.batch, piece_.key_head, key), attention_.key.row_stride, count,
                    attention_.head_dim, keys_.data());
    pack(row_of(attention_.value, piece_.batch, piece_.key_head, key), attention_.value.row_stride, count,
         attention_.value_dim, panel_elements(capacity_), values_.data());
  }

  void copy_queries() {
    for (std::int64_t i = 0; i < piece_.rows; ++i) {
      rows_[i] = make_row(attention_, piece_, i);
      states_[i] = {};
      copy_row(row_of(attention_.query, piece_.batch, rows_[i].head, rows_[i].query), attention_.head_dim,
               queries_.data() + i * query_stride_);
    }
  }

  // The rows of a head lie apart where heads are interleaved, and no processor guesses where the next head's are.
  void prefetch(const Piece& next) const {
    for (std::int64_t i = 0; i < next.rows; ++i) {
      const Row row = make_row(attention_, next, i);
      prefetch_row(row_of(attention_.query, next.batch, row.head, row.query), attention_.head_dim);
    }
    if (has_another_head(next, piece_) && attention_.key_length <= kPrefetchedKeys) {
      for (std::int64_t key = 0; key < attention_.key_length; ++key) {
        prefetch_row(row_of(attention_.key, next.batch, next.key_head, key), attention_.head_dim);
        prefetch_row(row_of(attention_.value, next.batch, next.key_head, key), attention_.value_dim);
      }
    }
  }

  // `next` is what follows, or the same again.
  void add_tiles(const Piece& next) {
    std::int64_t first_key = attention_.key_length;
    std::int64_t end_key = 0;
    for (const Row* row = rows_; row < rows_ + piece_.rows; ++row) {
      if (row->first_key < row->end_key) {
        first_key = std::min(first_key, row->first_key);
        end_key = std::max(end_key, row->end_key);
      }
    }
    first_key = first_key / kPanel * kPanel;
    for (std::int64_t key = first_key; key < end_key; key += kTileKeys) {
      const std::int64_t count = std::min(kTileKeys, end_key - key);
      if (key < first_packed_ || key + count > end_packed_) {
        pack_from(capacity_ == attention_.key_length ? 0 : key);
      }
      if (key == first_key) {
        prefetch(next);
      }
      add_tile(key, count, key == first_key);
    }
  }

  void add_tile(std::int64_t key, std::int64_t count, bool is_first) {
    const std::int64_t packed = key - first_packed_;
    const std::int64_t panel = panel_elements(attention_.head_dim);
    multiply({queries_.data(), query_stride_, keys_.data() + packed / kPanel * panel, divide_up(attention_.head_dim, 2),
              scores_.data(), kTileKeys, nullptr},
             piece_.rows, count, panel);
    float factors[kBlockRows];
    float scratch[kTileKeys];
    for (std::int64_t i = 0; i < piece_.rows; ++i) {
      const std::int64_t first = std::clamp<std::int64_t>(rows_[i].first_key - key, 0, count);
      const std::int64_t end = std::clamp<std::int64_t>(rows_[i].end_key - key, first, count);
      const ScoreRow row{scores_.data() + i * kTileKeys,
                         weights_.data() + i * kTileKeys,
                         round_up(count, kLanes),
                         first,
                         end,
                         attention_.bias.type,
                         bias_of(attention_.bias, piece_.batch, rows_[i], key, count, scratch)};
      factors[i] = weigh(row, finish_scores(row, attention_.scale, attention_.softcap), states_[i]);
    }
    multiply({weights_.data(), kTileKeys, values_.data() + packed * kPanel, divide_up(count, 2), output_.data(),
              output_stride_, is_first ? nullptr : factors},
             piece_.rows, attention_.value_dim, panel_elements(capacity_));
  }

  void write(std::int64_t i) const {
    std::uint16_t* to = row_of(attention_.output, piece_.batch, rows_[i].head, rows_[i].query);
    if (states_[i].sum != 0.F) {
      write_row(output_.data() + i * output_stride_, 1.F / states_[i].sum, attention_.value_dim, to);
    } else {
      constexpr std::uint16_t kNaN = 0x7fc0;
      std::fill_n(to, attention_.value_dim, attention_.zero_masked_rows ? std::uint16_t{0} : kNaN);
    }
  }

  const Attention& attention_;
  const std::int64_t query_stride_;
  const std::int64_t output_stride_;
  const std::int64_t capacity_;  // of packed keys and values
  const Buffer<std::uint16_t> queries_;
  const Buffer<std::uint16_t> keys_;
  const Buffer<std::uint16_t> values_;
  const Buffer<float> scores_;
  const Buffer<std::uint16_t> weights_;
  const Buffer<float> output_;

  Piece piece_ = {};
  std::int64_t first_packed_ = 0;
  std::int64_t end_packed_ = 0;
  Row rows_[kBlockRows] = {};
  RowState states_[kBlockRows];
};

}  // namespace

std::int64_t count_pieces(const Attention& attention) {
  return attention.batch * attention.key_heads * blocks_of_head(attention);
}

std::int64_t work_of_piece(const Attention& attention) {
  return rows_of_block(attention) * attention.key_length * (attention.head_dim + attention.value_dim);
}

void compute(const Attention& attention, std::int64_t begin, std::int64_t end) {
  Worker(attention).compute(begin, end);
}

}  // namespace flashconvert::runtime::avx512_bf16

#endif
