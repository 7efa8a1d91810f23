// Outlining to a module: attention whose projections can be told becomes a FusedAttention submodule (module depth).
#include "rewrite/outline/outline.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <variant>

#include "common/log.h"
#include "graph/module_tree.h"
#include "graph/traversal.h"
#include "rewrite/accept.h"
#include "rewrite/outline/fused_spec.h"
#include "rewrite/outline/move_parameters.h"
#include "rewrite/outline/region.h"

namespace flashconvert::rewrite {
namespace {

using survey::MethodSurvey;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
using Path = std::vector<std::string>;

std::vector<Node*> attention_nodes(Graph& graph) {
  std::vector<Node*> nodes;
  for_each_node(graph.block(), [&](Node* node) {
    if (is_attention(node)) nodes.push_back(node);
  });
  return nodes;
}

// A copy of a graph, and where its attention nodes went.
struct GraphCopy {
  std::shared_ptr<Graph> graph;
  std::unordered_map<const Node*, Node*> attention;
};

GraphCopy copy_of(const std::shared_ptr<Graph>& graph) {
  GraphCopy copy{graph->copy(), {}};
  const std::vector<Node*> originals = attention_nodes(*graph);
  const std::vector<Node*> copies = attention_nodes(*copy.graph);
  for (std::size_t i = 0; i < originals.size(); ++i) copy.attention[originals[i]] = copies.at(i);
  return copy;
}

std::string free_name(const c10::ClassTypePtr& owner) {
  std::string name = "attention";
  for (int count = 1; owner->hasAttribute(name) || owner->hasConstant(name) || owner->findMethod(name) != nullptr;
       ++count) {
    name = count == 1 ? "fused_attention" : "fused_attention_" + std::to_string(count);
  }
  return name;
}

Value* insert_attribute(Graph& graph, Value* object, const std::string& name, const c10::TypePtr& type) {
  Node* node = graph.insertNode(graph.create(torch::jit::prim::GetAttr, {object}));
  node->s_(torch::jit::attr::name, name);
  node->output()->setType(type);
  return node->output();
}

// Calls the fused module, which is to be `name` of the module at `owner`, where the region ends.
Value* insert_call(const FusedRegion& region, const FusedSpec& spec, const Module& self, const Path& owner,
                   const std::string& name, const c10::TypePtr& fused_type) {
  Graph& graph = *region.attention->owningGraph();
  const torch::jit::WithInsertPoint at_end(region.end->node());
  Value* module = graph.inputs()[0];
  Module holder = self;
  for (const std::string& part : owner) {
    holder = holder.attr(part).toModule();
    module = insert_attribute(graph, module, part, holder.type());
  }
  std::vector<Value*> inputs{insert_attribute(graph, module, name, fused_type)};
  for (const auto& [argument, value] : spec.arguments) inputs.push_back(value);
  Node* call = graph.insertNode(graph.create(torch::jit::prim::CallMethod, inputs));
  call->s_(torch::jit::attr::name, "forward");
  call->output()->setType(c10::TensorType::get());
  return call->output();
}

void answer_size_queries(const FusedRegion& region) {
  Graph& graph = *region.attention->owningGraph();
  for (const FusedRegion::SizeQuery& query : region.size_queries) {
    const torch::jit::WithInsertPoint at_query(query.node);
    Value* size = query.tensor == nullptr ? graph.insertConstant(query.dim)
                                          : graph.insert(c10::aten::size, {query.tensor, query.dim});
    query.node->output()->replaceAllUsesWith(size);
    query.node->destroy();
  }
}

// Calls of layers have side effects as far as dead-code elimination can tell: the region's nodes go by hand, users
// first.
void destroy_nodes(const FusedRegion& region) {
  std::vector<Node*> nodes(region.nodes.begin(), region.nodes.end());
  std::sort(nodes.begin(), nodes.end(), [](const Node* a, const Node* b) { return b->isBefore(a); });
  for (Node* node : nodes) {
    if (!node->hasUses()) node->destroy();
  }
}

void replace_region(const FusedRegion& region, Value* result) {
  const bool named = region.end->hasDebugName();
  const std::string name = region.end->debugName();
  answer_size_queries(region);
  region.end->replaceAllUsesWith(result);
  if (named) result->setDebugName(name);
}

std::vector<Module> modules_of(const std::vector<MethodSurvey*>& methods) {
  std::vector<Module> modules;
  modules.reserve(methods.size());
  for (const MethodSurvey* method : methods) modules.push_back(method->module);
  return modules;
}

// The attention nodes of a site in the first survey's graph; null where they were outlined.
using SiteNodes = std::vector<Node*>;

std::vector<SiteNodes> nodes_of_sites(const MethodSurvey& method) {
  std::vector<SiteNodes> nodes;
  for (const survey::Site& site : method.sites) {
    nodes.emplace_back();
    if (!site.is_fusible) continue;
    for (const survey::Proposal& proposal : site.proposals) {
      nodes.back().insert(nodes.back().end(), proposal.attention.begin(), proposal.attention.end());
    }
  }
  return nodes;
}

void log_core(const MethodSurvey& method, const std::string& reason) {
  log_detail(join_path(method.path, method.method) + ": attention stays at core depth: " + reason);
}

}  // namespace

// Where a fused module is to be called from.
struct Place {
  MethodSurvey* method = nullptr;
  Node* attention = nullptr;
  FusedRegion region = {};
  FusedSpec spec = {};  // refers to the region: a place stays where it is
};

namespace {

// A method that is to call fused modules. Its graph is changed on trial.
class Caller {
public:
  explicit Caller(const std::vector<MethodSurvey*>& methods)
      : methods_(methods), sites_(nodes_of_sites(*methods.front())) {}

  const std::vector<SiteNodes>& sites() const { return sites_; }

  bool has(std::size_t site, std::size_t node) const { return site < sites_.size() && node < sites_[site].size(); }

  // Puts a copy in the graph's place.
  Place begin(std::size_t site, std::size_t node) {
    trial_ = copy_of(methods_.front()->graph);
    std::swap(methods_.front()->graph, trial_.graph);
    return {methods_.front(), trial_.attention.at(sites_[site][node])};
  }

  void undo() { std::swap(methods_.front()->graph, trial_.graph); }

  void keep(std::size_t site, std::size_t node) {
    sites_[site][node] = nullptr;
    for (SiteNodes& nodes : sites_) {
      for (Node*& other : nodes) other = other == nullptr ? nullptr : trial_.attention.at(other);
    }
  }

  void note_depth(std::size_t site, bool packed) {
    for (MethodSurvey* method : methods_) {
      method->sites[site].is_outlined = true;
      method->sites[site].is_packed = packed;
    }
  }

private:
  const std::vector<MethodSurvey*>& methods_;
  std::vector<SiteNodes> sites_;
  GraphCopy trial_;
};

bool are_same_rows(const ParameterRows& a, const ParameterRows& b) {
  return a.holder == b.holder && a.name == b.name && a.first == b.first && a.count == b.count;
}

bool are_same_projections(const ParameterGroup& a, const ParameterGroup& b) {
  return std::equal(a.selections.begin(), a.selections.end(), b.selections.begin(), b.selections.end(),
                    [](const RowSelection& x, const RowSelection& y) {
                      return x.rows == y.rows && are_same_rows(x.projection->weight, y.projection->weight);
                    });
}

// Whether one module does for both.
bool are_alike(const FusedSpec& a, const FusedSpec& b) {
  return a.source == b.source && a.integers == b.integers && a.scale == b.scale &&
         std::equal(a.groups.begin(), a.groups.end(), b.groups.begin(), b.groups.end(), are_same_projections);
}

// Finds the regions of all places, which are to call one module. The reason why that cannot be, or nothing.
std::optional<std::string> match_places(std::vector<Place>& places, const Module& self, bool pack) {
  for (Place& place : places) {
    auto found = find_region(place.attention, self);
    if (const auto* reason = std::get_if<std::string>(&found)) return *reason;
    place.region = std::get<FusedRegion>(std::move(found));
    AttentionArguments& arguments = place.region.arguments;
    // A bias that is always there is one of those that may be None.
    arguments.causal_without_bias =
        arguments.causal_without_bias ||
        (places.front().region.arguments.causal_without_bias && !arguments.causal && place.region.bias != nullptr);
    auto spec = make_spec(place.region, pack);
    if (!spec) return "its projections share features";
    place.spec = std::move(*spec);
    if (!are_alike(place.spec, places.front().spec)) return "its methods would need different modules";
  }
  return std::nullopt;
}

}  // namespace

Outliner::Outliner(const ModuleIndex& index, bool pack)
    : index_(index), pack_(pack), factory_(index.root()._ivalue()->compilation_unit()) {
  index.usage();  // who uses what before anything moves
}

std::vector<report::Rename> Outliner::outline(const Methods& methods, const Methods& base) {
  std::vector<Caller> callers{Caller(methods)};
  if (!base.empty() && modules_of(base) == modules_of(methods)) callers.emplace_back(base);
  std::vector<report::Rename> renamed;
  const auto is_in_all = [&](std::size_t site, std::size_t node) {
    return std::all_of(callers.begin(), callers.end(), [&](const Caller& caller) { return caller.has(site, node); });
  };
  for (std::size_t site = 0; site < callers.front().sites().size(); ++site) {
    const std::size_t nodes = callers.front().sites()[site].size();
    std::size_t outlined = 0;
    bool packed = false;
    for (std::size_t node = 0; node < nodes && is_in_all(site, node); ++node) {
      std::vector<Place> places;
      places.reserve(callers.size());
      for (Caller& caller : callers) places.push_back(caller.begin(site, node));
      const auto result = outline_attention(methods, places, renamed);
      if (!result) {
        for (Caller& caller : callers) caller.undo();
        continue;
      }
      for (Caller& caller : callers) caller.keep(site, node);
      ++outlined;
      packed = packed || *result;
    }
    if (outlined == 0 || outlined != nodes) continue;
    for (Caller& caller : callers) caller.note_depth(site, packed);
  }
  return renamed;
}

std::optional<bool> Outliner::outline_attention(const Methods& methods, std::vector<Place>& places,
                                                std::vector<report::Rename>& renamed) {
  const MethodSurvey& first = *methods.front();
  if (const auto reason = match_places(places, first.module, pack_)) {
    log_core(first, *reason);
    return std::nullopt;
  }
  const FusedSpec& spec = places.front().spec;
  const auto moved = moved_attributes(spec);
  const std::vector<Module> instances = modules_of(methods);
  std::set<MethodKey> callers;
  for (const Place& place : places) callers.emplace(first.module.type().get(), place.method->method);
  if (const auto obstacle = obstacle_to_moving(moved, spec, instances, callers, index_)) {
    log_core(first, *obstacle);
    return std::nullopt;
  }

  std::vector<Module> fused;
  for (const Module& instance : instances) {
    try {
      fused.push_back(factory_.make(spec, instance));
    } catch (const c10::Error& error) {
      log_core(first, error.what_without_backtrace());
      return std::nullopt;
    }
    for (const Place& place : places) {
      if (const auto difference = check_.against_region(place.region, instance, fused.back())) {
        log_core(*place.method, *difference);
        return std::nullopt;
      }
    }
  }

  const Path owner = common_holder(moved);
  const std::string name = free_name(module_below(first.module, owner).type());
  for (const Place& place : places) {
    Graph& graph = *place.method->graph;
    replace_region(place.region,
                   insert_call(place.region, place.spec, first.module, owner, name, fused.front().type()));
    destroy_nodes(place.region);
    torch::jit::EliminateDeadCode(place.method->graph);
    if (still_reads(graph, first.module, moved)) {
      log_core(*place.method, "a projection is used for something else too");
      return std::nullopt;
    }
  }

  for (std::size_t i = 0; i < instances.size(); ++i) {
    module_below(instances[i], owner).register_module(name, fused[i]);
    std::string fused_path = methods[i]->path;
    for (const std::string& part : owner) fused_path = join_path(fused_path, part);
    for (report::Rename& rename : renames_of(spec, methods[i]->path, join_path(fused_path, name))) {
      renamed.push_back(std::move(rename));
    }
  }
  remove_attributes(moved, instances);
  return spec.packed;
}

}  // namespace flashconvert::rewrite
