// The plan of a fold. Weights are found by type, because types hold the code, and evaluated by instance; then liveness
// tells whether leaving out their paths would be noticed.
#include "rewrite/weights/plan.h"

#include <torch/csrc/jit/api/function_impl.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_map>

#include "rewrite/module_tree.h"
#include "rewrite/weights/classify.h"
#include "rewrite/weights/naming.h"
#include "rewrite/weights/state_writers.h"

namespace flashconvert::rewrite::weights {
namespace {

using report::FoldEntry;
using report::FoldStatus;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;

Cell by_type(const Cell& cell) {
  return {static_cast<const c10::ivalue::Object*>(cell.owner)->type().get(), cell.name};
}

// Where a call passes the weight to a layer's method.
struct CallSite {
  Module caller;
  Graph* graph = nullptr;
  Node* call = nullptr;
};

class Planner {
public:
  Planner(const Module& root, const std::function<bool(const std::string&)>& selected)
      : root_(root), selected_(selected), instances_(module_instances(root)), writers_(root) {
    for (size_t i = 0; i < instances_.size(); ++i) order_[instances_[i].path] = i;
  }

  Plan run() {
    for (const c10::ClassTypePtr& type : module_types(root_)) {
      for (torch::jit::Function* method : type->methods()) {
        auto* function = torch::jit::tryToGraphFunction(*method);
        if (function == nullptr) continue;
        for (const WeightUse& use : weight_uses(*function->graph(), writers_.cells())) {
          consider(type, method->name(), *function->graph(), use);
        }
      }
    }
    if (plan_.to_split.empty()) {
      decline_observed();
      name_weights(root_, plan_);
      for (const Folding& folding : plan_.foldings) {
        for (const PlannedWeight& weight : folding.weights) plan_.entries.push_back(weight.entry);
      }
    }
    std::stable_sort(plan_.entries.begin(), plan_.entries.end(),
                     [&](const FoldEntry& a, const FoldEntry& b) { return order_.at(a.path) < order_.at(b.path); });
    return std::move(plan_);
  }

private:
  void consider(const c10::ClassTypePtr& type, const std::string& method, Graph& graph, const WeightUse& use) {
    Folding folding{type, method, use, {}, {}, "", {}};
    std::vector<FoldEntry> declined;
    size_t plain = 0;
    for (const Instance& instance : instances_) {
      if (instance.module.type() != type) continue;
      PlannedWeight weight{instance.module, {}, {}, {}};
      weight.entry.path = instance.path;
      const std::vector<CallSite> sites = use.is_argument ? call_sites(instance, method) : std::vector<CallSite>{};
      if (!follow(use, instance, graph, sites, weight)) {
        ++plain;
        continue;
      }
      judge(instance, weight);
      for (const CallSite& site : sites) take(folding, {site.call, use.value->offset()});
      if (weight.entry.status == FoldStatus::kFolded) {
        folding.weights.push_back(std::move(weight));
      } else {
        declined.push_back(std::move(weight.entry));
      }
    }
    if (!use.is_argument) folding.taken = use.operands;
    const bool is_mixed = !folding.weights.empty() && plain + declined.size() > 0;
    if (is_mixed) {
      for (const Instance& instance : instances_) {
        if (instance.module.type() == type) plan_.to_split.push_back(instance.path);
      }
    } else if (!folding.weights.empty()) {
      plan_.foldings.push_back(std::move(folding));
    }
    plan_.entries.insert(plan_.entries.end(), declined.begin(), declined.end());
  }

  static void take(Folding& folding, const Operand& operand) {
    const auto same = [&](const Operand& known) { return !(known < operand) && !(operand < known); };
    if (std::none_of(folding.taken.begin(), folding.taken.end(), same)) folding.taken.push_back(operand);
  }

  // Follows the weight of one instance. False when it is a plain one after all.
  bool follow(const WeightUse& use, const Instance& instance, Graph& graph, const std::vector<CallSite>& sites,
              PlannedWeight& weight) {
    if (!use.is_argument) {
      weight.path = follow_weight(instance.module, graph, use.operands[0]);
      if (weight.path.refusal) return true;
      return weight.path.transforms && reads_tensor(weight.path, use.of_product);
    }
    if (sites.empty()) return false;
    const auto at = [&](const CallSite& site) {
      return follow_weight(site.caller, *site.graph, {site.call, use.value->offset()});
    };
    weight.path = at(sites[0]);
    // A function that is given its weight by its callers has nothing to fold; a hook's product has.
    if (weight.path.refusal || !weight.path.transforms || !reads_tensor(weight.path, use.of_product)) return false;
    const auto is_layer = [&](const torch::jit::Use& user) {
      return std::any_of(use.operands.begin(), use.operands.end(), [&](const Operand& operand) {
        return operand.node == user.user && operand.index == user.offset;
      });
    };
    const auto users = use.value->uses();
    if (!std::all_of(users.begin(), users.end(), is_layer)) {
      weight.path.refusal = "is used for something else too";
    }
    for (size_t i = 1; i < sites.size() && !weight.path.refusal; ++i) {
      const WeightPath other = at(sites[i]);
      if (other.refusal || !same_weight(weight.path, other)) {
        weight.path.refusal = "differs from one caller to the next";
      }
    }
    return true;
  }

  static bool same_weight(const WeightPath& a, const WeightPath& b) {
    const Evaluation first = evaluate(a), second = evaluate(b);
    return first.weight.defined() && second.weight.defined() && at::equal(first.weight, second.weight);
  }

  // A weight rests on a parameter, or at least on a stored tensor. Products multiply tables of constants, too.
  static bool reads_tensor(const WeightPath& path, bool parameter_only) {
    return std::any_of(path.reads.begin(), path.reads.end(), [&](const Cell& cell) {
      const auto* object = static_cast<const c10::ivalue::Object*>(cell.owner);
      const auto slot = object->type()->findAttributeSlot(cell.name);
      if (!slot || !object->getSlot(*slot).isTensor()) return false;
      return !parameter_only || object->type()->is_parameter(*slot);
    });
  }

  void judge(const Instance& instance, PlannedWeight& weight) {
    FoldEntry& entry = weight.entry;
    entry.form = "general";
    if (weight.path.refusal) {
      entry.reason = "the weight " + *weight.path.refusal;
      return;
    }
    const Evaluation evaluation = evaluate(weight.path);
    if (evaluation.failure) {
      entry.reason = "the weight " + *evaluation.failure;
      return;
    }
    weight.value = evaluation.weight;
    entry.form = classify(weight.path, weight.value);
    entry.dtype = dtype_name(weight.value.scalar_type());
    if (const auto raw = raw_weight(weight.path, weight.value)) {
      entry.weight_change = relative_change(weight.value, raw->tensor);
    }
    if (!selected_(instance.path)) {
      entry.reason = "not selected";
      return;
    }
    entry.status = FoldStatus::kFolded;
    if (evaluation.drift) entry.reason = drift_note(*evaluation.drift);
    if (!evaluation.note.empty())
      entry.reason = entry.reason ? *entry.reason + "; " + evaluation.note : evaluation.note;
  }

  static std::string dtype_name(at::ScalarType dtype) {
    switch (dtype) {
      case at::kHalf:
        return "float16";
      case at::kBFloat16:
        return "bfloat16";
      case at::kFloat:
        return "float32";
      default:
        return "float64";
    }
  }

  static std::string drift_note(double drift) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "the original updates its state at every call: folded as at the first call, the second differs by "
                  "%.2g of its norm",
                  drift);
    return text;
  }

  // Every call of `method` on this instance.
  std::vector<CallSite> call_sites(const Instance& callee, const std::string& method) {
    if (!calls_known_) index_calls();
    const auto found = calls_.find({callee.module._ivalue().get(), method});
    return found == calls_.end() ? std::vector<CallSite>{} : found->second;
  }

  void index_calls() {
    calls_known_ = true;
    for (const Instance& instance : instances_) {
      for (torch::jit::Function* method : instance.module.type()->methods()) {
        auto* function = torch::jit::tryToGraphFunction(*method);
        if (function == nullptr) continue;
        Graph* graph = function->graph().get();
        for_each_node(graph->block(), [&](Node* node) {
          if (node->kind() != c10::prim::CallMethod) return;
          const void* callee = callee_of(node, instance.module);
          if (callee != nullptr) {
            calls_[{callee, node->s(c10::attr::name)}].push_back({instance.module, graph, node});
          }
        });
      }
    }
  }

  static const void* callee_of(Node* call, const Module& caller) {
    if (call->input(0) == call->owningGraph()->inputs()[0]) return caller._ivalue().get();
    const auto chain = attribute_chain(call->input(0));
    const auto place = chain ? resolve_chain(*chain, caller) : std::nullopt;
    if (!place) return nullptr;
    const c10::IValue value = place->first->getAttr(place->second);
    return value.isObject() ? value.toObject().get() : nullptr;
  }

  void decline(Folding& folding, const std::string& reason) {
    for (PlannedWeight& weight : folding.weights) {
      weight.entry.status = FoldStatus::kDeclined;
      weight.entry.reason = reason;
      plan_.entries.push_back(weight.entry);
    }
    folding.weights.clear();
  }

  // Declines what somebody would notice: state that other code reads or writes.
  void decline_observed() {
    for (bool changed = true; changed;) {
      collect_cells();
      const Liveness after(root_, plan_.cut, plan_.cells);
      changed = false;
      for (Folding& folding : plan_.foldings) {
        if (const auto reason = noticed(folding, after)) {
          decline(folding, *reason);
          changed = true;
        }
      }
      auto& all = plan_.foldings;
      all.erase(std::remove_if(all.begin(), all.end(), [](const Folding& f) { return f.weights.empty(); }), all.end());
    }
    collect_cells();
  }

  void collect_cells() {
    plan_.cut.clear();
    plan_.cells.clear();
    for (const Folding& folding : plan_.foldings) {
      plan_.cut.insert(folding.taken.begin(), folding.taken.end());
      for (const PlannedWeight& weight : folding.weights) {
        for (const Cell& cell : weight.path.reads) plan_.cells.insert(by_type(cell));
        for (const Cell& cell : weight.path.writes) plan_.cells.insert(by_type(cell));
      }
    }
  }

  std::optional<std::string> noticed(const Folding& folding, const Liveness& after) const {
    std::set<std::int64_t> own;
    for (const Folding& other : plan_.foldings) {
      for (const PlannedWeight& weight : other.weights) {
        own.insert(weight.path.writers.begin(), weight.path.writers.end());
      }
    }
    for (const PlannedWeight& weight : folding.weights) {
      for (const Cell& cell : weight.path.writes) {
        if (after.reads(by_type(cell))) {
          return "the weight's path changes `" + cell.name + "`, which other code of the model reads";
        }
      }
      for (const StateWriter& writer : writers_.all()) {
        if (!writer.in_eval || own.count(writer.id) != 0) continue;
        for (const Cell& cell : weight.path.reads) {
          if (writer.cells.count(by_type(cell)) == 0) continue;
          return "the weight rests on `" + cell.name + "`, which `" + writer.method + "` changes";
        }
      }
    }
    return std::nullopt;
  }

  const Module& root_;
  const std::function<bool(const std::string&)>& selected_;
  std::vector<Instance> instances_;
  StateWriters writers_;
  std::map<std::string, size_t> order_;
  bool calls_known_ = false;
  std::map<std::pair<const void*, std::string>, std::vector<CallSite>> calls_;
  Plan plan_;
};

}  // namespace

Plan plan_folds(const Module& root, const std::function<bool(const std::string&)>& selected) {
  return Planner(root, selected).run();
}

}  // namespace flashconvert::rewrite::weights
