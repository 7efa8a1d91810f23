// The figures of one output tensor, computed in float64 over blocks, so that a large output needs little extra memory.
#include "verify/compare_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "verify/dtypes.h"
#include "verify/messages.h"
#include "verify/tolerance.h"

namespace flashconvert::verify {

namespace {

constexpr std::int64_t kStretch = std::int64_t{1} << 20;
// The 99th percentile of an output with more elements than this is taken over evenly spaced ones.
constexpr std::int64_t kPercentileSamples = std::int64_t{1} << 20;

// A dense vector of real numbers on the CPU, in its own dtype.
at::Tensor flat(at::Tensor tensor) {
  tensor = tensor.detach().cpu();
  if (tensor.is_sparse()) tensor = tensor.to_dense();
  if (tensor.is_quantized()) tensor = tensor.dequantize();
  if (tensor.is_complex()) tensor = at::view_as_real(tensor.resolve_conj());
  return tensor.contiguous().reshape({-1});
}

// What kind of number each element is: 0 finite, 1 NaN, 2 infinity, 3 minus infinity.
at::Tensor kind_of(const at::Tensor& values) {
  const at::Tensor infinite = at::isinf(values);
  return at::isnan(values).to(at::kChar) + 2 * (infinite & (values > 0)).to(at::kChar) +
         3 * (infinite & (values < 0)).to(at::kChar);
}

// The same elements of the four tensors, as float64.
struct Stretch {
  at::Tensor original, converted, reference, yardstick;
  at::Tensor kind_differs;  // NaN or an infinity in one of original and converted only, or another one
  at::Tensor comparable;    // finite in both

  at::Tensor error_converted() const { return masked((converted - reference).abs()); }
  at::Tensor error_original() const { return masked((yardstick - reference).abs()); }
  at::Tensor difference() const { return masked((converted - original).abs()); }

private:
  at::Tensor masked(const at::Tensor& error) const { return at::where(comparable & at::isfinite(error), error, 0.0); }
};

struct Tensors {
  at::Tensor reference, yardstick, original, converted;

  std::int64_t size() const { return original.numel(); }

  Stretch stretch(std::int64_t begin) const {
    const auto part = [&](const at::Tensor& values) {
      return values.slice(0, begin, std::min(begin + kStretch, size())).to(at::kDouble);
    };
    Stretch stretch{part(original), part(converted), part(reference), part(yardstick)};
    // Where float64 gives a NaN or infinity and the original does not (it overflows elsewhere), the original is the
    // truth.
    stretch.reference = at::where(at::isfinite(stretch.reference), stretch.reference, stretch.original);
    stretch.kind_differs = kind_of(stretch.original) != kind_of(stretch.converted);
    stretch.comparable = at::isfinite(stretch.original) & at::isfinite(stretch.converted);
    return stretch;
  }
};

double largest(const at::Tensor& values) { return values.numel() ? values.max().item<double>() : 0; }

// The unscaled figures of a whole tensor.
struct Figures {
  double scale = 0, max_abs = 0, original = 0, converted = 0, p99 = 0;
  double sum_original = 0, sum = 0;  // of the errors
  std::int64_t comparable = 0, kind_differs = 0;
};

double percentile99(const at::Tensor& errors) {
  if (!errors.numel()) return 0;
  const auto rank = static_cast<std::int64_t>(std::ceil(0.99 * static_cast<double>(errors.numel())));
  return std::get<0>(errors.kthvalue(rank)).item<double>();
}

Figures measure(const Tensors& tensors) {
  Figures figures;
  std::vector<at::Tensor> samples;
  const std::int64_t stride = std::max<std::int64_t>(1, tensors.size() / kPercentileSamples);
  for (std::int64_t begin = 0; begin < tensors.size(); begin += kStretch) {
    const Stretch stretch = tensors.stretch(begin);
    const at::Tensor errors = stretch.error_converted();
    figures.scale =
        std::max(figures.scale, largest(at::where(at::isfinite(stretch.reference), stretch.reference.abs(), 0.0)));
    figures.max_abs = std::max(figures.max_abs, largest(stretch.difference()));
    const at::Tensor errors_original = stretch.error_original();
    figures.original = std::max(figures.original, largest(errors_original));
    figures.sum_original += errors_original.sum().item<double>();
    figures.converted = std::max(figures.converted, largest(errors));
    figures.sum += errors.sum().item<double>();
    figures.comparable += stretch.comparable.sum().item<std::int64_t>();
    figures.kind_differs += stretch.kind_differs.sum().item<std::int64_t>();
    samples.push_back(errors.masked_select(stretch.comparable).slice(0, 0, kStretch, stride));
  }
  if (!samples.empty()) figures.p99 = percentile99(at::cat(samples));
  return figures;
}

// The first position that `fails` picks, as an index into the flat tensors; -1 when there is none.
template <typename Predicate>
std::int64_t first_failure(const Tensors& tensors, const Predicate& fails) {
  for (std::int64_t begin = 0; begin < tensors.size(); begin += kStretch) {
    const at::Tensor positions = fails(tensors.stretch(begin)).nonzero();
    if (positions.numel()) return begin + positions[0].item<std::int64_t>();
  }
  return -1;
}

std::string index_text(std::int64_t flat_index, const at::Tensor& shaped) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(shaped.dim()));
  if (shaped.is_complex()) flat_index /= 2;
  for (std::int64_t dim = shaped.dim() - 1; dim >= 0; --dim) {
    index[static_cast<std::size_t>(dim)] = flat_index % shaped.size(dim);
    flat_index /= shaped.size(dim);
  }
  return format_sizes(index);
}

std::string number_text(const at::Tensor& values, std::int64_t index) {
  std::ostringstream text;
  if (at::isIntegralType(values.scalar_type(), /*includeBool=*/true)) {
    text << values[index].item<std::int64_t>();
  } else {
    text.precision(7);
    text << values[index].item<double>();
  }
  return text.str();
}

std::string failure_text(const Tensors& tensors, std::int64_t index, const at::Tensor& shaped) {
  return "at " + index_text(index, shaped) + ": " + number_text(tensors.converted, index) + " instead of " +
         number_text(tensors.original, index);
}

// Integers and booleans: equal, or failed. A flipped argmax says so when float64 does not agree with the original
// either.
void judge_exact(const Tensors& tensors, const at::Tensor& shaped, report::OutputComparison& result) {
  const at::Tensor differs = tensors.original != tensors.converted;
  result.passed = !differs.any().item<bool>();
  if (result.passed) return;
  const auto first = differs.nonzero()[0].item<std::int64_t>();
  result.note = std::to_string(differs.sum().item<std::int64_t>()) + " values differ, the first " +
                failure_text(tensors, first, shaped);
  if (tensors.reference[first].item<double>() != tensors.original[first].item<double>()) {
    result.note += " (a near tie: the original itself is not what float64 gives there)";
  }
}

// Of the original's own error, at most this share of the output's scale widens what is allowed: an original that is
// farther from its reference (one that draws random numbers, say) would let anything pass.
constexpr double kLargestCredit = 0.3;

// Floating outputs: the criterion of the report, and NaN and infinities where the original has them.
void judge_floating(const Tensors& tensors, const at::Tensor& shaped, const Figures& figures, double scale,
                    report::OutputComparison& result) {
  if (figures.kind_differs > 0) {
    const auto index = first_failure(tensors, [](const Stretch& stretch) { return stretch.kind_differs; });
    result.note = "NaN or infinity in one model only, first " + failure_text(tensors, index, shaped);
    return;
  }
  result.passed = result.error_converted <= result.allowed;
  if (!result.passed) {
    const double limit = result.allowed * scale;
    const auto index =
        first_failure(tensors, [&](const Stretch& stretch) { return stretch.error_converted() > limit; });
    result.note = "first beyond the allowed error " + failure_text(tensors, index, shaped);
  } else if (tensors.size() == 0) {
    result.note = "the output has no elements";
  } else if (figures.comparable == 0) {
    result.note = "every value is NaN or infinite in the original: nothing else was compared";
  }
}

}  // namespace

report::OutputComparison compare_tensors(const at::Tensor& reference, const at::Tensor& yardstick,
                                         const at::Tensor& original, const at::Tensor& converted) {
  const Tensors tensors{flat(reference), flat(yardstick), flat(original), flat(converted)};
  const Figures figures = measure(tensors);
  const double scale = figures.scale > 0 ? figures.scale : 1;

  report::OutputComparison result;
  result.shape = original.sizes().vec();
  result.dtype = dtype_name(original.scalar_type());
  result.max_abs = figures.max_abs;
  result.error_original = figures.original / scale;
  result.error_converted = figures.converted / scale;
  const double units = static_cast<double>(std::max<std::int64_t>(figures.comparable, 1)) * scale;
  result.error_mean_original = figures.sum_original / units;
  result.error_mean = figures.sum / units;
  result.error_p99 = figures.p99 / scale;
  if (at::isIntegralType(original.scalar_type(), /*includeBool=*/true)) {
    result.needed_tolerance = figures.max_abs / scale;
    judge_exact(tensors, original, result);
  } else {
    result.allowed = 2 * std::min(result.error_original, kLargestCredit) + tolerance(original.scalar_type());
    result.needed_tolerance = std::max(0.0, result.error_converted - 2 * result.error_original);
    judge_floating(tensors, original, figures, scale, result);
  }
  return result;
}

}  // namespace flashconvert::verify
