// The trials of a probe (probe_trials.h).
#include "survey/probe_trials.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

namespace flashconvert::survey {

using torch::jit::Value;

namespace {

std::vector<std::int64_t> operand_shape(const ProbeInput& input, const Shape& shape) {
  std::vector<std::int64_t> sizes = shape.product_leading;
  if (input.use != ProbeInput::Use::kQuery && shape.repeats > 1) {
    if (sizes.empty()) return {};  // no heads to repeat
    sizes.back() /= shape.repeats;
  }
  sizes.push_back(input.use == ProbeInput::Use::kQuery ? shape.queries : shape.keys);
  sizes.push_back(input.use == ProbeInput::Use::kValue ? shape.value_dim : shape.head_dim);
  if (input.swap_last) std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
  if (input.order.empty()) return sizes;
  if (input.order.size() != sizes.size()) return {};
  std::vector<std::int64_t> permuted(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) permuted[input.order[i]] = sizes[i];
  return permuted;
}

// What a number from outside the subgraph must be, from its place in a list of sizes.
std::optional<std::int64_t> number_value(const Value* number, const ProbeSite& site, const Shape& shape) {
  for (const ProbeSizes& sizes : site.sizes) {
    const auto elements = GraphFacts::list_elements(sizes.list);
    for (std::size_t at = 0; at < elements.size(); ++at) {
      if (elements[at] != number) continue;
      std::vector<std::int64_t> full;
      if (sizes.of_scores) {
        full = elements.size() == shape.leading.size() + 2 ? shape.leading : shape.product_leading;
        full.push_back(shape.queries);
        full.push_back(shape.keys);
      } else {
        full = shape.product_leading;
        if (elements.size() == full.size() + 3) {
          full.back() /= shape.repeats;
          full.push_back(shape.repeats);
        }
        full.push_back(shape.keys);
        full.push_back(shape.head_dim);
      }
      if (full.size() == elements.size()) return full[at];
      std::int64_t joined = 1;  // leading dimensions in one
      for (std::size_t i = 0; i + 2 < full.size(); ++i) joined *= full[i];
      if (elements.size() == 3) return at == 0 ? joined : full[full.size() - 3 + at];
    }
  }
  return std::nullopt;
}

// Sizes as one trial has them.
using KnownSizes = std::map<SymbolicSize, std::int64_t>;

// The size, or nothing where it is made of others than these.
std::optional<std::int64_t> evaluate(const SymbolicSize& size, const KnownSizes& known) {
  if (const auto found = known.find(size); found != known.end()) return found->second;
  return size.evaluate([&](const SizeSymbol& symbol) {
    const auto found = known.find(symbol);
    return found != known.end() ? std::optional(found->second) : std::nullopt;
  });
}

std::optional<SymbolicSize> operand_size(const ProbeSite& site, ProbeInput::Use use, std::int64_t dim,
                                         const MethodFacts& facts) {
  for (const ProbeInput& input : site.inputs) {
    if (input.use != use || !input.sizes.empty()) continue;
    const auto rank = static_cast<std::int64_t>(input.order.size());
    if (input.swap_last) dim = -3 - dim;
    return facts.size(input.value, rank > 0 ? input.order[rank + dim] - rank : dim);
  }
  return std::nullopt;
}

// Sizes that are one and the same in the model get one value.
void make_equal_by_name(Shape& shape, const ProbeSite& site, const MethodFacts& facts) {
  using Use = ProbeInput::Use;
  const auto are_same = [&](Use a, Use b, std::int64_t dim) {
    const auto size = operand_size(site, a, dim, facts);
    return size && size == operand_size(site, b, dim, facts);
  };
  bool has_keys = false;  // of their own: else the queries are the keys
  for (const ProbeInput& input : site.inputs) has_keys = has_keys || input.use == Use::kKey || !input.sizes.empty();
  if (!has_keys || are_same(Use::kQuery, Use::kKey, -2)) shape.keys = shape.queries;
  if (are_same(Use::kQuery, Use::kValue, -1)) shape.value_dim = shape.head_dim;
}

// The layouts in which biases are met, each as the sizes that it has in every dimension of the scores.
std::vector<std::vector<std::int64_t>> bias_shapes(const Shape& shape, bool product_layout) {
  std::vector<std::int64_t> full = product_layout ? shape.product_leading : shape.leading;
  full.push_back(shape.queries);
  full.push_back(shape.keys);
  std::vector<std::vector<std::int64_t>> shapes{full};
  auto keep = [&](auto kept) {
    auto sizes = full;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (!kept(i)) sizes[i] = 1;
    }
    shapes.push_back(sizes);
  };
  const std::size_t n = full.size();
  keep([&](std::size_t i) { return i == 0 || i == n - 1; });  // key padding
  keep([&](std::size_t i) { return i >= n - 2; });            // one mask for all
  keep([&](std::size_t i) { return i == 0 || i >= n - 2; });  // a mask each batch entry
  keep([&](std::size_t i) { return i + 3 >= n; });            // a bias each head
  shapes.push_back({shape.queries, shape.keys});
  return shapes;
}

// The innermost of the sizes, where a bias is known to have fewer dimensions; more of them are of size 1.
std::vector<std::int64_t> of_rank(std::optional<std::int64_t> rank, std::vector<std::int64_t> sizes) {
  if (!rank) return sizes;
  while (static_cast<std::int64_t>(sizes.size()) > *rank) sizes.erase(sizes.begin());
  while (static_cast<std::int64_t>(sizes.size()) < *rank) sizes.insert(sizes.begin(), 1);
  return sizes;
}

// A causal mask of these sizes, and where more may be hidden, some of it.
at::Tensor draw_assumed_mask(const AssumedMask& assumed, const at::Tensor& uniform, Masks masks) {
  at::Tensor mask = at::full_like(uniform, assumed.lowest).triu(1);
  if (assumed.is_causal || masks == Masks::kOrdinary) return mask;
  mask = mask.masked_fill(uniform < 0.4, assumed.lowest);
  (masks == Masks::kFirstKey ? mask.select(-1, 0) : mask.select(-2, 0)).fill_(assumed.lowest);
  return mask;
}

}  // namespace

bool is_operand(const ProbeInput& input) {
  return input.use == ProbeInput::Use::kQuery || input.use == ProbeInput::Use::kKey ||
         input.use == ProbeInput::Use::kValue;
}

std::vector<Shape> trial_shapes(const ProbeSite& site, std::int64_t rank, const MethodFacts& facts) {
  std::vector<Shape> shapes;
  const std::int64_t key_heads = 2;
  const std::int64_t heads = site.heads.value_or(key_heads * site.repeats + (site.repeats == 1 ? 1 : 0));
  for (const auto& [batch, queries, keys] : {std::tuple{2, 5, 5}, {2, 4, 7}, {1, 6, 3}, {3, 1, 4}}) {
    Shape shape;
    shape.repeats = site.repeats;
    shape.queries = site.query_length.value_or(queries);
    shape.keys = site.key_length.value_or(keys);
    shape.head_dim = site.head_dim.value_or(8);
    shape.value_dim = site.value_dim.value_or(site.head_dim.value_or(6));
    if (!site.split_sizes.empty()) {
      std::int64_t first = 1;
      for (std::size_t i = 0; i < site.split_sizes.size(); ++i) {
        const std::int64_t size = site.split_sizes[i] && *site.split_sizes[i] > 0 ? *site.split_sizes[i]
                                  : i == 0                                        ? batch
                                                                                  : heads;
        shape.leading.push_back(size);
        if (i < 2) first *= size;
      }
      shape.product_leading.push_back(first);
      shape.product_leading.insert(shape.product_leading.end(), shape.leading.begin() + 2, shape.leading.end());
      if (static_cast<std::int64_t>(shape.product_leading.size()) + 2 != rank) continue;
    } else {
      if (rank == 3) shape.leading = {batch * heads};
      if (rank == 4) shape.leading = {batch, heads};
      if (rank == 5) shape.leading = {batch, 2, heads};
      shape.product_leading = shape.leading;
    }
    make_equal_by_name(shape, site, facts);
    if (shapes.size() < site.shapes) shapes.push_back(shape);
  }
  return shapes;
}

std::size_t bias_layouts(const ProbeSite& site, const Shape& shape) {
  const bool has_open_layout = std::any_of(site.inputs.begin(), site.inputs.end(), [](const ProbeInput& input) {
    return !input.given && !is_operand(input) && input.sizes.empty();
  });
  return has_open_layout ? bias_shapes(shape, false).size() : 1;
}

std::vector<std::int64_t> sizes_of(const ProbeInput& input, const Shape& shape, std::size_t bias_layout,
                                   const MethodFacts& facts) {
  std::vector<std::int64_t> sizes = input.sizes;
  for (std::int64_t& size : sizes) {
    if (size == ProbeInput::kBatch) size = shape.leading.front();
    if (size == ProbeInput::kLength) size = shape.queries;
    if (size == ProbeInput::kKeys) size = shape.keys;
    if (size == ProbeInput::kHeads) size = shape.leading.back();
    if (size == ProbeInput::kProduct) size = shape.product_leading.front();
    if (size == ProbeInput::kBatchTimesHeads) size = shape.leading.front() * shape.leading.back();
  }
  if (!sizes.empty()) return sizes;
  return is_operand(input) ? operand_shape(input, shape)
                           : of_rank(facts.rank(input.value), bias_shapes(shape, false)[bias_layout]);
}

at::Tensor draw(const ProbeInput& input, const std::vector<std::int64_t>& sizes, Masks masks, at::ScalarType type,
                at::Generator& generator) {
  const auto options = at::TensorOptions().dtype(type);
  const at::Tensor uniform = at::rand(sizes, generator, options);
  const auto hide = [&](at::Tensor& tensor, const c10::Scalar& hidden) {
    if (masks == Masks::kOrdinary || sizes.size() < 2) return;
    (masks == Masks::kFirstKey ? tensor.select(-1, 0) : tensor.select(-2, 0)).fill_(hidden);
  };
  if (input.use == ProbeInput::Use::kAssumedMask) return draw_assumed_mask(input.assumed, uniform, masks);
  if (input.use == ProbeInput::Use::kMask) {
    at::Tensor mask = uniform < 0.4;
    if (masks == Masks::kOrdinary && sizes.back() > 1) {  // no row is hidden whole
      mask.select(-1, 0).fill_(true);
      mask.select(-1, -1).fill_(false);
    }
    hide(mask, true);  // hides or shows, as the spelling has it
    if (masks == Masks::kLowest) mask = mask.logical_not();
    return mask;
  }
  at::Tensor values = at::randn(sizes, generator, options);
  if (input.use != ProbeInput::Use::kAdditive || masks == Masks::kOrdinary) return values;
  const double hidden =
      masks == Masks::kMinusInfinity ? -std::numeric_limits<double>::infinity() : std::numeric_limits<float>::lowest();
  values = values.masked_fill(uniform < 0.4, hidden);
  hide(values, hidden);
  return values;
}

std::vector<std::int64_t> numbers_of(const std::vector<Value*>& numbers, const ProbeSite& site, const Shape& shape,
                                     const MethodFacts& facts) {
  constexpr std::int64_t kAny = 64;
  KnownSizes known;
  for (const ProbeInput& input : site.inputs) {
    if (input.given || !is_operand(input)) continue;
    const auto sizes = sizes_of(input, shape, 0, facts);
    const auto rank = static_cast<std::int64_t>(sizes.size());
    for (std::int64_t dim = 0; dim < rank; ++dim) {
      known.emplace(facts.size(input.value, dim - rank), sizes[dim]);
      known.emplace(facts.size(input.value, dim), sizes[dim]);
    }
  }
  for (Value* number : numbers) {
    if (const auto size = number_value(number, site, shape)) known.emplace(facts.size_value(number), *size);
  }
  std::vector<std::int64_t> values;
  for (Value* number : numbers) {
    auto size = facts.integer(number);
    if (!size) size = number_value(number, site, shape);
    if (!size) size = evaluate(facts.size_value(number), known);
    values.push_back(size.value_or(kAny));
  }
  return values;
}

}  // namespace flashconvert::survey
