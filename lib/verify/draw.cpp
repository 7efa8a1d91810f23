// Draws tensors by their use.
#include "verify/draw.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "checkpoint/map_tensors.h"

namespace flashconvert::verify {

using checkpoint::map_tensors;

namespace {

constexpr double kMaskedScore = -1e4;          // finite in float16
constexpr std::int64_t kUnknownTableRows = 2;  // ids into a table whose size is not known: 0 and 1

class Drawer {
public:
  Drawer(Draw draw, std::uint64_t seed, std::int64_t longest)
      : draw_(draw), generator_(at::make_generator<at::CPUGeneratorImpl>(seed)), longest_(longest) {}

  at::Tensor tensor(const at::Tensor& like, const InputUse& use) {
    at::Tensor values = numbers(like, use).to(like.scalar_type());
    if (like.is_contiguous() || !like.is_non_overlapping_and_dense()) return values;
    return at::empty_strided(like.sizes(), like.strides(), values.options()).copy_(values);
  }

private:
  // The values, in whatever dtype they are drawn.
  at::Tensor numbers(const at::Tensor& like, const InputUse& use) {
    const auto type = like.scalar_type();
    const bool integral = at::isIntegralType(type, /*includeBool=*/false);
    if (draw_ == Draw::kZeros) return at::full(like.sizes(), integral ? 0.0 : 1.0);
    if (type == at::kBool)
      return use.use == Use::kDropMask ? keep_mask(like.sizes()).logical_not() : keep_mask(like.sizes());
    if (draw_ == Draw::kSmall)
      return integral ? integers(like.sizes(), 2) : floats(like.sizes()).uniform_(0, 1, generator_);
    switch (use.use) {
      case Use::kIndex:
        return integers(like.sizes(), use.rows.value_or(kUnknownTableRows));
      case Use::kPosition:
        return positions(like.sizes(), use.rows);
      case Use::kKeepMask:
        return keep_mask(like.sizes());
      case Use::kDropMask:
        return keep_mask(like.sizes()).logical_not();
      case Use::kAdditiveMask:
        if (integral) return keep_mask(like.sizes());
        return at::where(keep_mask(like.sizes()), normal(like.sizes()), kMaskedScore);
      case Use::kLength:
        return lengths(like.sizes());
      case Use::kPlain:
        break;
    }
    if (type == at::kByte) return integers(like.sizes(), 256);  // pixels
    if (integral) return integers(like.sizes(), kUnknownTableRows);
    return at::isComplexType(type) ? at::complex(normal(like.sizes()), normal(like.sizes())) : normal(like.sizes());
  }

  at::Tensor floats(c10::IntArrayRef sizes) const { return at::empty(sizes, at::kDouble); }
  at::Tensor normal(c10::IntArrayRef sizes) { return floats(sizes).normal_(0, 1, generator_); }
  at::Tensor integers(c10::IntArrayRef sizes, std::int64_t end) {
    return at::empty(sizes, at::kLong).random_(0, std::max<std::int64_t>(1, end), generator_);
  }

  static at::Tensor positions(c10::IntArrayRef sizes, std::optional<std::int64_t> rows) {
    if (sizes.empty()) return at::zeros(sizes, at::kLong);
    const at::Tensor along = at::arange(sizes.back(), at::kLong);
    return (rows ? along.clamp_max(*rows - 1) : along).expand(sizes).clone();
  }

  // True and then false along the last dimension, at least one of each where there is room for both: whichever of the
  // two the model takes for "masked out", something is left.
  at::Tensor keep_mask(c10::IntArrayRef sizes) {
    const std::int64_t length = sizes.empty() ? 1 : sizes.back();
    if (draw_ != Draw::kByUse || length < 2) return at::ones(sizes, at::kBool);
    std::vector<std::int64_t> row_sizes(sizes.begin(), sizes.end());
    row_sizes.back() = 1;
    const at::Tensor kept = at::empty(row_sizes, at::kLong).random_((length + 1) / 2, length, generator_);
    return (at::arange(length) < kept).expand(sizes).clone();
  }

  // Descending, the first the whole length: what packed sequences ask for.
  at::Tensor lengths(c10::IntArrayRef sizes) const {
    const std::int64_t count = c10::multiply_integers(sizes);
    const at::Tensor shorter = at::arange(count).mul(std::max<std::int64_t>(1, longest_ / 8));
    return (longest_ - shorter).clamp_min(1).reshape(sizes);
  }

  Draw draw_;
  at::Generator generator_;
  std::int64_t longest_;
};

// The length that a sequence of the arguments has: the second size of the first tensor that has one.
std::int64_t sequence_length(const std::vector<c10::IValue>& arguments) {
  std::int64_t length = 0;
  for (const c10::IValue& argument : arguments) {
    map_tensors(argument, [&](const at::Tensor& tensor) {
      if (length == 0 && tensor.defined() && tensor.dim() >= 2) length = tensor.size(1);
      return tensor;
    });
  }
  return std::max<std::int64_t>(1, length);
}

}  // namespace

std::vector<c10::IValue> draw_arguments(const std::vector<c10::IValue>& arguments, const std::vector<InputUse>& uses,
                                        Draw draw, std::uint64_t seed) {
  Drawer drawer(draw, seed, sequence_length(arguments));
  std::vector<c10::IValue> result;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const InputUse use = i < uses.size() ? uses[i] : InputUse{};
    result.push_back(map_tensors(arguments[i], [&](const at::Tensor& tensor) {
      return tensor.defined() && tensor.is_meta() ? drawer.tensor(tensor, use) : tensor;
    }));
  }
  return result;
}

bool has_meta_tensors(const std::vector<c10::IValue>& arguments) {
  bool found = false;
  for (const c10::IValue& argument : arguments) {
    map_tensors(argument, [&](const at::Tensor& tensor) {
      found |= tensor.defined() && tensor.is_meta();
      return tensor;
    });
  }
  return found;
}

}  // namespace flashconvert::verify
