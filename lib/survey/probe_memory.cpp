// What probes have shown (probe_memory.h).
#include "survey/probe_memory.h"

#include <algorithm>
#include <limits>
#include <sstream>

#include "graph/same_graph.h"
#include "survey/probe_trials.h"

namespace flashconvert::survey {

namespace {

// What a subgraph reads of its module, or of modules that it calls, is no part of the graph.
bool says_everything(const Subgraph& subgraph) {
  return subgraph.layers().empty() && !subgraph.graph()->inputs()[0]->hasUses();
}

void write(std::ostream& text, const std::vector<std::int64_t>& numbers) {
  for (const std::int64_t number : numbers) text << number << ',';
  text << ';';
}

// All that the trials are run with beside the graph.
std::string describe_trials(const Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts) {
  std::ostringstream text;
  text.precision(std::numeric_limits<double>::max_digits10);
  for (const ProbeInput& input : site.inputs) {
    text << static_cast<int>(input.use) << input.hides_keys << input.assumed.is_causal << input.assumed.lowest << ':';
    if (input.given) text << *input.given;
  }
  for (const std::int64_t rank : site.ranks) {
    for (const Shape& shape : trial_shapes(site, rank, facts)) {
      for (std::size_t layout = 0; layout < bias_layouts(site, shape); ++layout) {
        for (const ProbeInput& input : site.inputs) write(text, sizes_of(input, shape, layout, facts));
      }
      write(text, numbers_of(subgraph.numbers(), site, shape, facts));
    }
  }
  text << site.gradients;
  return text.str();
}

}  // namespace

bool ProbeMemory::has(const Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts) const {
  if (known_.empty() || !says_everything(subgraph)) return false;
  const std::string trials = describe_trials(subgraph, site, facts);
  return std::any_of(known_.begin(), known_.end(), [&](const Known& known) {
    return known.trials == trials && same_graph_in_any_class(*known.graph, *subgraph.graph());
  });
}

void ProbeMemory::add(const Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts) {
  if (says_everything(subgraph)) known_.push_back({subgraph.graph(), describe_trials(subgraph, site, facts)});
}

}  // namespace flashconvert::survey
