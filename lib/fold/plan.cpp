// The plan of a fold. Weights are found by type, because types hold the code, and evaluated by instance; then liveness
// tells whether leaving out their paths would be noticed.
#include "fold/plan.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_map>

#include "fold/classify.h"
#include "fold/naming.h"
#include "graph/state_writers.h"

namespace flashconvert::fold {
namespace {

using report::FoldEntry;
using report::FoldStatus;
using torch::jit::Graph;
using torch::jit::Module;

Cell by_type(const Cell& cell) {
  return {static_cast<const c10::ivalue::Object*>(cell.owner)->type().get(), cell.name};
}

class Planner {
public:
  Planner(const ModuleIndex& index, const std::function<bool(const std::string&)>& selected)
      : index_(index), selected_(selected), writers_(index), written_(writers_.cells()) {
    for (size_t i = 0; i < index.instances().size(); ++i) order_[index.instances()[i].path] = i;
  }

  Plan run() {
    for (const auto& [type, function] : index_.methods()) {
      for (const WeightUse& use : weight_uses(*function->graph(), written_)) {
        consider(type, function->name(), *function->graph(), use);
      }
    }
    if (plan_.to_split.empty()) {
      decline_observed();
      name_weights(index_, plan_);
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
    Folding folding{type, use.operands, {}, {}, {}, "", {}};
    std::vector<FoldEntry> declined;
    size_t plain = 0;
    for (const Instance& instance : index_.instances()) {
      if (instance.module.type() != type) continue;
      PlannedWeight weight{instance.module, {}, {}, {}};
      weight.entry.path = instance.path;
      const std::vector<CallSite> sites =
          use.is_argument ? index_.calls().of(instance.module, method) : std::vector<CallSite>{};
      if (!follow(use, instance, method, graph, sites, weight)) {
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
    if (use.is_argument) {
      folding.passed.push_back({method, use.value});
    } else {
      folding.taken = use.operands;
    }
    const bool is_mixed = !folding.weights.empty() && plain + declined.size() > 0;
    if (is_mixed) {
      for (const Instance& instance : index_.instances()) {
        if (instance.module.type() == type) plan_.to_split.push_back(instance.path);
      }
    } else if (!folding.weights.empty() && !joined(folding)) {
      plan_.foldings.push_back(std::move(folding));
    }
    plan_.entries.insert(plan_.entries.end(), declined.begin(), declined.end());
  }

  // Joins a folding to an earlier one of the type that gives every instance the same weight.
  bool joined(const Folding& folding) {
    for (Folding& earlier : plan_.foldings) {
      if (earlier.type != folding.type || earlier.weights.size() != folding.weights.size()) continue;
      bool is_same = true;
      for (size_t i = 0; i < folding.weights.size() && is_same; ++i) {
        is_same = earlier.weights[i].value.is_same(folding.weights[i].value);
      }
      if (!is_same) continue;
      earlier.operands.insert(earlier.operands.end(), folding.operands.begin(), folding.operands.end());
      earlier.passed.insert(earlier.passed.end(), folding.passed.begin(), folding.passed.end());
      earlier.taken.insert(earlier.taken.end(), folding.taken.begin(), folding.taken.end());
      for (size_t i = 0; i < folding.weights.size(); ++i) {
        WeightPath& path = earlier.weights[i].path;
        const WeightPath& more = folding.weights[i].path;
        path.reads.insert(more.reads.begin(), more.reads.end());
        path.writes.insert(more.writes.begin(), more.writes.end());
        path.writers.insert(more.writers.begin(), more.writers.end());
        path.objects.insert(more.objects.begin(), more.objects.end());
      }
      return true;
    }
    return false;
  }

  // Layers that share their raw tensors (one module under two names, exported as two) share the folded weight as well.
  at::Tensor shared(const WeightPath& path, const at::Tensor& weight) {
    std::vector<const void*> tensors;
    for (const Cell& cell : path.reads) {
      const c10::IValue value = static_cast<const c10::ivalue::Object*>(cell.owner)->getAttr(cell.name);
      if (value.isTensor() && value.toTensor().defined()) tensors.push_back(value.toTensor().unsafeGetTensorImpl());
    }
    std::sort(tensors.begin(), tensors.end());
    std::vector<at::Tensor>& known = folded_[tensors];
    for (const at::Tensor& tensor : known) {
      if (tensor.sizes().equals(weight.sizes()) && tensor.dtype() == weight.dtype() && at::equal(tensor, weight)) {
        return tensor;
      }
    }
    known.push_back(weight);
    return weight;
  }

  static void take(Folding& folding, const Operand& operand) {
    const auto same = [&](const Operand& known) { return !(known < operand) && !(operand < known); };
    if (std::none_of(folding.taken.begin(), folding.taken.end(), same)) folding.taken.push_back(operand);
  }

  // Follows the weight of one instance. False when it is a plain one after all.
  bool follow(const WeightUse& use, const Instance& instance, const std::string& method, Graph& graph,
              const std::vector<CallSite>& sites, PlannedWeight& weight) {
    if (!use.is_argument) {
      weight.path = follow_weight(instance.module, graph, use.operands[0], written_);
      if (weight.path.refusal) return true;
      return weight.path.transforms && reads_tensor(weight.path, use.of_product);
    }
    if (sites.empty()) return false;
    const auto at = [&](const CallSite& site) {
      return follow_weight(site.caller, *site.graph, {site.call, use.value->offset()}, written_);
    };
    weight.path = at(sites[0]);
    // A function that is given its weight by its callers has nothing to fold; what makes a weight of a parameter has.
    if (weight.path.refusal) return modulates_attribute(sites[0].call->input(use.value->offset()));
    if (!weight.path.transforms || !reads_tensor(weight.path, use.of_product)) return false;
    const auto is_layer = [&](const torch::jit::Use& user) {
      return std::any_of(use.operands.begin(), use.operands.end(), [&](const Operand& operand) {
        return operand.node == user.user && operand.index == user.offset;
      });
    };
    if (!index_.calls().are_all_known(instance.module.type(), method))
      weight.path.refusal = "is passed in by unknown callers";
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
      return !parameter_only || (object->type()->is_module() && object->type()->is_parameter(*slot));
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
    weight.value = shared(weight.path, evaluation.weight);
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
      const Liveness after(index_, plan_.cut, plan_.cells);
      const std::set<std::int64_t> own = writers_of_paths();
      changed = false;
      for (Folding& folding : plan_.foldings) {
        if (const auto reason = noticed(folding, after, own)) {
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

  std::set<std::int64_t> writers_of_paths() const {
    std::set<std::int64_t> writers;
    for (const Folding& folding : plan_.foldings) {
      for (const PlannedWeight& weight : folding.weights) {
        writers.insert(weight.path.writers.begin(), weight.path.writers.end());
      }
    }
    return writers;
  }

  std::optional<std::string> noticed(const Folding& folding, const Liveness& after,
                                     const std::set<std::int64_t>& own) const {
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

  const ModuleIndex& index_;
  const std::function<bool(const std::string&)>& selected_;
  StateWriters writers_;
  MutableAttributes written_;
  std::map<std::string, size_t> order_;
  std::map<std::vector<const void*>, std::vector<at::Tensor>> folded_;  // by the tensors they come from
  Plan plan_;
};

}  // namespace

Plan plan_folds(const ModuleIndex& index, const std::function<bool(const std::string&)>& selected) {
  return Planner(index, selected).run();
}

}  // namespace flashconvert::fold
