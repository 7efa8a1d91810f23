// Runs a subgraph beside its replacement (probe.h).
#include "survey/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/last_line.h"
#include "graph/subgraph.h"
#include "survey/probe_memory.h"
#include "survey/probe_trials.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

using torch::jit::Value;

namespace {

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

// One trial: nothing when the original does not accept the inputs, else the difference.
std::optional<double> try_once(Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts, const Shape& shape,
                               std::size_t bias_layout, Masks masks, at::ScalarType type, at::Generator& generator,
                               std::string& error) {
  std::vector<c10::IValue> arguments{facts.module()._ivalue()};
  for (const ProbeInput& input : site.inputs) {
    if (input.given) {
      arguments.push_back(*input.given);
      continue;
    }
    const std::vector<std::int64_t> sizes = sizes_of(input, shape, bias_layout, facts);
    if (is_operand(input) && sizes.empty()) return std::nullopt;
    at::Tensor drawn = draw(input, sizes, input.hides_keys ? masks : Masks::kOrdinary, type, generator);
    if (site.gradients && is_operand(input)) drawn.requires_grad_();
    arguments.emplace_back(std::move(drawn));
  }
  arguments.insert(arguments.end(), subgraph.layers().begin(), subgraph.layers().end());
  for (const std::int64_t number : numbers_of(subgraph.numbers(), site, shape, facts)) arguments.emplace_back(number);
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
  const bool has_bias = std::any_of(site.inputs.begin(), site.inputs.end(),
                                    [](const ProbeInput& input) { return !input.given && !is_operand(input); });
  for (const std::int64_t rank : site.ranks) {
    for (const Shape& shape : trial_shapes(site, rank, facts)) {
      for (std::size_t layout = 0; layout < bias_layouts(site, shape); ++layout) {
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

}  // namespace

std::optional<std::string> probe(const ProbeSite& site, const MethodFacts& facts) {
  std::string error;
  // Single precision where the subgraph has casts that double precision does not survive.
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    Subgraph subgraph(facts, type);
    if (!fill_subgraph(subgraph, site, facts)) {
      return "the subgraph around the softmax cannot be run alone, so the fusion could not be probed";
    }
    ProbeMemory* memory = facts.probes();
    if (memory && memory->has(subgraph, site, facts)) return std::nullopt;
    int agreed = 0;
    if (auto disagreement = run_trials(subgraph, site, facts, type, agreed, error)) return disagreement;
    if (agreed > 0 && memory) memory->add(subgraph, site, facts);
    if (agreed > 0) return std::nullopt;
  }
  return "the probe found no shape that the original accepts" + (error.empty() ? "" : ": " + last_line(error));
}

}  // namespace flashconvert::survey
