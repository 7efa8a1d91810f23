// Runs a subgraph of graph beside its replacement (probe.h).
#include "survey/probe.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "graph/same_graph.h"
#include "graph/subgraph.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

using torch::jit::Value;

namespace {

// The sizes of one trial.
struct Shape {
  std::vector<std::int64_t> product_leading;  // of the product's operands
  std::vector<std::int64_t> leading;          // of the operator's: the same, or the first split
  std::int64_t queries = 0, keys = 0, head_dim = 0, value_dim = 0, repeats = 1;
};

// The subgraph that a site replaces and its replacement: outputs 0 and 1 on one set of inputs.
bool fill_subgraph(Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts) {
  for (const ProbeSizes& sizes : site.sizes) {
    for (Value* element : GraphFacts::list_elements(sizes.list)) {
      if (!facts.constant(element)) subgraph.free_number(element);
    }
  }
  for (const ProbeInput& input : site.inputs) subgraph.add_input(input.value);
  for (Value* layer : site.layers) subgraph.add_layer(layer);
  for (const ProbeSite::Scaled& scaled : site.scaled) subgraph.define(scaled.value, scaled.by_input, scaled.factor);
  return subgraph.add_output(site.original) && subgraph.add_output(site.replacement);
}

bool is_operand(const ProbeInput& input) {
  return input.use == ProbeInput::Use::kQuery || input.use == ProbeInput::Use::kKey ||
         input.use == ProbeInput::Use::kValue;
}

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

// What is hidden beside a random part: nothing; the first row, with minus infinity or with float32's lowest number; the
// first key, so that rows of a causal mask which see no other see none.
enum class Masks { kOrdinary, kMinusInfinity, kLowest, kFirstKey };

// A causal mask of these sizes, and where more may be hidden, some of it.
at::Tensor draw_assumed_mask(const AssumedMask& assumed, const at::Tensor& uniform, Masks masks) {
  at::Tensor mask = at::full_like(uniform, assumed.lowest).triu(1);
  if (assumed.is_causal || masks == Masks::kOrdinary) return mask;
  mask = mask.masked_fill(uniform < 0.4, assumed.lowest);
  (masks == Masks::kFirstKey ? mask.select(-1, 0) : mask.select(-2, 0)).fill_(assumed.lowest);
  return mask;
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

// The largest difference in units of the largest value; NaN must stand in the same places.
double difference(const at::Tensor& expected, const at::Tensor& given) {
  if (expected.sizes() != given.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor a = expected.to(at::kDouble);
  const at::Tensor b = given.to(at::kDouble);
  if (!at::equal(a.isnan(), b.isnan())) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  const at::Tensor finite = at::nan_to_num(a);
  const double scale = std::max(finite.abs().max().item<double>(), 1e-30);
  return (finite - at::nan_to_num(b)).abs().max().item<double>() / scale;
}

// The interpreter's messages end with the operator's own.
std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

// One trial: nothing when the original does not accept the inputs, else the difference.
std::optional<double> try_once(Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts, const Shape& shape,
                               std::size_t bias_layout, Masks masks, at::ScalarType type, at::Generator& generator,
                               std::string& error) {
  std::vector<c10::IValue> arguments{facts.module()._ivalue()};
  KnownSizes known;
  for (const ProbeInput& input : site.inputs) {
    if (input.given) {
      arguments.push_back(*input.given);
      continue;
    }
    std::vector<std::int64_t> sizes = input.sizes;
    for (std::int64_t& size : sizes) {
      if (size == ProbeInput::kBatch) size = shape.leading.front();
      if (size == ProbeInput::kLength) size = shape.queries;
      if (size == ProbeInput::kKeys) size = shape.keys;
      if (size == ProbeInput::kHeads) size = shape.leading.back();
      if (size == ProbeInput::kProduct) size = shape.product_leading.front();
      if (size == ProbeInput::kBatchTimesHeads) size = shape.leading.front() * shape.leading.back();
    }
    if (sizes.empty()) {
      sizes = is_operand(input) ? operand_shape(input, shape)
                                : of_rank(facts.rank(input.value), bias_shapes(shape, false)[bias_layout]);
    }
    if (is_operand(input) && sizes.empty()) return std::nullopt;
    at::Tensor drawn = draw(input, sizes, input.hides_keys ? masks : Masks::kOrdinary, type, generator);
    if (site.gradients && is_operand(input)) drawn.requires_grad_();
    arguments.emplace_back(std::move(drawn));
    if (!is_operand(input)) continue;
    const auto rank = static_cast<std::int64_t>(sizes.size());
    for (std::int64_t dim = 0; dim < rank; ++dim) {
      known.emplace(facts.size(input.value, dim - rank), sizes[dim]);
      known.emplace(facts.size(input.value, dim), sizes[dim]);
    }
  }
  arguments.insert(arguments.end(), subgraph.layers().begin(), subgraph.layers().end());
  for (Value* number : subgraph.numbers()) {
    if (const auto size = number_value(number, site, shape)) known.emplace(facts.size_value(number), *size);
  }
  for (Value* number : subgraph.numbers()) {
    // A size of something outside that no other has is part of a scale: any value serves both forms.
    constexpr std::int64_t kWidth = 64;
    auto size = facts.integer(number);
    if (!size) size = number_value(number, site, shape);
    if (!size) size = evaluate(facts.size_value(number), known);
    arguments.emplace_back(size.value_or(kWidth));
  }
  try {
    subgraph.run(arguments, 1, site.gradients);
  } catch (const std::exception& failure) {
    error = failure.what();
    return std::nullopt;
  }
  try {
    const auto outputs = subgraph.run(arguments, 2, site.gradients);
    const at::NoGradGuard no_grad;
    return difference(outputs[0], outputs[1]);
  } catch (const std::exception& failure) {
    throw Declined("the fused form fails where the original runs: " + last_line(failure.what()));
  }
}

// Runs the trials in one dtype; counts those on which the two agree. Returns the reason of a disagreement.
std::optional<std::string> run_trials(Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts,
                                      at::ScalarType type, int& agreed, std::string& error) {
  const double allowed = type == at::kDouble && !subgraph.casts_to_single() ? 1e-9 : 1e-4;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(20261123);
  bool has_bias = false;
  bool has_free_layout = false;
  for (const ProbeInput& input : site.inputs) {
    const bool is_bias = !input.given && !is_operand(input);
    has_bias = has_bias || is_bias;
    has_free_layout = has_free_layout || (is_bias && input.sizes.empty());
  }
  for (const std::int64_t rank : site.ranks) {
    for (const Shape& shape : trial_shapes(site, rank, facts)) {
      const std::size_t layouts = has_free_layout ? bias_shapes(shape, false).size() : 1;
      for (std::size_t layout = 0; layout < layouts; ++layout) {
        for (const Masks masks : {Masks::kOrdinary, Masks::kMinusInfinity, Masks::kLowest, Masks::kFirstKey}) {
          if (masks != Masks::kOrdinary && !has_bias) continue;
          const auto found = try_once(subgraph, site, facts, shape, layout, masks, type, generator, error);
          if (!found) continue;
          if (!(*found <= allowed)) {
            return "the probe found a difference of " + std::to_string(*found) + " of the largest value (" +
                   std::to_string(shape.queries) + " queries, " + std::to_string(shape.keys) + " keys)";
          }
          ++agreed;
        }
      }
    }
  }
  return std::nullopt;
}

// Everything that says what is drawn for a site.
std::string describe_draws(const ProbeSite& site) {
  std::ostringstream text;
  const auto list = [&](const std::vector<std::int64_t>& numbers) {
    for (const std::int64_t number : numbers) text << number << ',';
    text << ';';
  };
  for (const ProbeInput& input : site.inputs) {
    text << static_cast<int>(input.use) << input.swap_last << input.hides_keys << input.assumed.is_causal
         << input.assumed.lowest << (input.given ? (input.given->isNone() ? 'n' : 'g') : '-');
    list(input.order);
    list(input.sizes);
  }
  for (const ProbeSizes& sizes : site.sizes)
    text << sizes.of_scores << GraphFacts::list_elements(sizes.list).size() << ';';
  for (const ProbeSite::Scaled& scaled : site.scaled) text << scaled.factor << ';';
  list(site.ranks);
  for (const auto& size : {site.heads, site.query_length, site.key_length, site.head_dim, site.value_dim}) {
    text << size.value_or(-1) << ';';
  }
  for (const auto& size : site.split_sizes) text << size.value_or(-1) << ';';
  text << site.repeats << ';' << site.layers.size() << ';' << site.gradients << ';' << site.shapes;
  return text.str();
}

}  // namespace

bool ProbeMemory::has(const torch::jit::Graph& pair, const ProbeSite& site) const {
  const std::string draws = describe_draws(site);
  return std::any_of(known_.begin(), known_.end(), [&](const Known& known) {
    return known.draws == draws && same_graph_in_any_class(*known.pair, pair);
  });
}

void ProbeMemory::add(std::shared_ptr<torch::jit::Graph> pair, const ProbeSite& site) {
  known_.push_back({std::move(pair), describe_draws(site)});
}

std::optional<std::string> probe(const ProbeSite& site, const MethodFacts& facts) {
  std::string error;
  // Single precision where the subgraph has casts that double precision does not survive.
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    Subgraph subgraph(facts, type);
    if (!fill_subgraph(subgraph, site, facts)) {
      return "the subgraph of graph around the softmax cannot be run alone, so the fusion could not be probed";
    }
    // A layer that is called is no part of the graph.
    ProbeMemory* memory = site.layers.empty() ? facts.probes() : nullptr;
    if (memory && memory->has(*subgraph.graph(), site)) return std::nullopt;
    const std::shared_ptr<torch::jit::Graph> pair = memory ? subgraph.graph()->copy() : nullptr;
    int agreed = 0;
    if (auto disagreement = run_trials(subgraph, site, facts, type, agreed, error)) return disagreement;
    if (agreed > 0 && memory) memory->add(pair, site);
    if (agreed > 0) return std::nullopt;
  }
  return "the probe found no shape that the original accepts" + (error.empty() ? "" : ": " + last_line(error));
}

}  // namespace flashconvert::survey
