// See linear.h.
#include "rewrite/linear.h"

#include <flashconvert/kernels/linear.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "graph/attributes.h"
#include "graph/function_with_graph.h"
#include "graph/method_graph.h"
#include "graph/module_index.h"
#include "graph/module_types.h"
#include "graph/traversal.h"
#include "rewrite/linear_activation.h"
#include "rewrite/weight_product.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

// A product with a tensor of the model.
struct Layer {
  Node* node = nullptr;
  WeightProduct product;       // `weight` is the tensor
  bool is_transposed = false;  // which is [in features, out features]
};

// An attribute, or a constant of the code, as torch.jit.freeze makes them.
bool is_stored(Value* value) {
  if (!value->type()->isSubtypeOf(*c10::TensorType::get())) return false;
  if (value->node()->kind() == c10::prim::Constant) return true;
  const AttributeChain chain = attribute_chain(value);
  return !chain.names.empty() && chain.starts_at_self();
}

// The tensor of the model of which the value is the transpose; null where it is none.
Value* transposed_tensor(Value* value) {
  const Node* node = value->node();
  const bool swaps = node->kind() == aten::t || node->kind() == aten::numpy_T;
  return swaps && is_stored(node->input(0)) ? node->input(0) : nullptr;
}

std::optional<Layer> layer_at(Node* node) {
  const auto product = weight_product_of(node);
  if (!product) return std::nullopt;
  Layer layer{node, *product, false};
  if (is_stored(product->weight)) {
    layer.is_transposed = !product->weight_is_out_in;
    return layer;
  }
  if (product->weight_is_out_in) return std::nullopt;
  layer.product.weight = transposed_tensor(product->weight);
  return layer.product.weight != nullptr ? std::optional(layer) : std::nullopt;
}

std::vector<Layer> layers_of(Graph& graph) {
  std::vector<Layer> layers;
  if (self_of(graph) == nullptr) return layers;
  for_each_node(graph.block(), [&](Node* node) {
    if (const auto layer = layer_at(node)) layers.push_back(*layer);
  });
  return layers;
}

// A tensor of the model, as one instance has it.
struct Stored {
  Cell cell;  // a constant's owner is the tensor
  at::Tensor tensor;
};

std::optional<Stored> stored_in(Value* value, const Module& self) {
  if (value->node()->kind() == c10::prim::Constant) {
    const auto constant = torch::jit::toIValue(value);
    if (!constant || !constant->isTensor()) return std::nullopt;
    return Stored{{constant->toTensor().unsafeGetTensorImpl(), ""}, constant->toTensor()};
  }
  const auto place = resolve_chain(attribute_chain(value), self);
  if (!place || !place->owner->type()->hasAttribute(place->name)) return std::nullopt;
  const c10::IValue found = place->owner->getAttr(place->name);
  if (!found.isTensor() || !found.toTensor().defined()) return std::nullopt;
  return Stored{{place->owner.get(), place->name}, found.toTensor()};
}

bool is_matrix_of_floats(const at::Tensor& tensor) {
  return tensor.dim() == 2 && tensor.scalar_type() == at::kFloat && tensor.layout() == at::kStrided;
}

// A sum's first operand may have more dimensions, or one element for all results; a layer's bias has not.
bool has_bias_of_a_layer(const Layer& layer, const Module& self, std::int64_t out_features) {
  if (layer.node->kind() != aten::addmm) return true;
  const auto bias = stored_in(layer.product.bias, self);
  return bias && bias->tensor.dim() == 1 && bias->tensor.size(0) == out_features;
}

std::optional<std::string> why_not(const LinearLayer& layer, const LinearOptions& options) {
  if (layer.in_features < kernels::kLeastInFeatures) {
    return "fewer than " + std::to_string(kernels::kLeastInFeatures) + " input features";
  }
  if (layer.out_features < kernels::kLeastOutFeatures) {
    return "fewer than " + std::to_string(kernels::kLeastOutFeatures) + " output features";
  }
  if (!options.selected(layer.path)) return "not selected";
  return std::nullopt;
}

// By name, as rewriting one makes it another function.
std::vector<std::string> methods_with_graph(const Module& self) {
  std::vector<std::string> names;
  for (torch::jit::Function* method : self.type()->methods()) {
    if (function_with_graph(method) != nullptr) names.push_back(method->name());
  }
  return names;
}

class LinearRewriter {
public:
  LinearRewriter(Module& root, const LinearOptions& options) : root_(root), options_(options) {}

  LinearResult run() {
    separate_instances();
    const ModuleIndex index(root_);
    const Paths paths = paths_of(index);
    for (const Instance& instance : index.instances()) list_layers(instance.module, paths);
    bool changed = false;
    for (const std::vector<Instance>& instances : index.instances_by_type()) {
      for (const std::string& method : methods_with_graph(instances.front().module)) {
        changed = rewrite(instances, method, paths) || changed;
      }
    }
    if (changed && !options_.splice) {
      for (const std::vector<Instance>& instances : index.instances_by_type()) fuse_activations_of(instances);
    }
    if (changed) drop_compiled_code(root_);
    return std::move(result_);
  }

private:
  using Paths = std::map<const void*, std::string>;  // of the modules, by object

  static Paths paths_of(const ModuleIndex& index) {
    Paths paths;
    for (const Instance& instance : index.instances()) paths.emplace(instance.module._ivalue().get(), instance.path);
    return paths;
  }

  // The layer that a product is in an instance; nothing where its weight is none that this project has kernels for.
  std::optional<std::pair<Cell, LinearLayer>> layer_of(const Layer& place, const Module& self,
                                                       const Paths& paths) const {
    auto weight = stored_in(place.product.weight, self);
    if (!weight || !is_matrix_of_floats(weight->tensor)) return std::nullopt;
    const auto holder = paths.find(weight->cell.name.empty() ? self._ivalue().get() : weight->cell.owner);
    if (holder == paths.end()) return std::nullopt;
    LinearLayer layer;
    layer.path = holder->second;
    layer.form = place.node->kind().toUnqualString();
    layer.in_features = weight->tensor.size(place.is_transposed ? 0 : 1);
    layer.out_features = weight->tensor.size(place.is_transposed ? 1 : 0);
    if (!has_bias_of_a_layer(place, self, layer.out_features)) return std::nullopt;
    layer.reason = why_not(layer, options_);
    return std::pair{std::move(weight->cell), std::move(layer)};
  }

  bool is_rewritten(const Layer& place, const Module& self, const Paths& paths) const {
    const auto found = layer_of(place, self, paths);
    return found && !found->second.reason;
  }

  // For each product in an instance's methods, whether it is to call the operator.
  std::vector<bool> choices_of(const Module& self, const Paths& paths) const {
    std::vector<bool> choices;
    for (torch::jit::Function* method : self.type()->methods()) {
      auto* function = function_with_graph(method);
      if (function == nullptr) continue;
      for (const Layer& place : layers_of(*function->graph())) {
        choices.push_back(is_rewritten(place, self, paths));
      }
    }
    return choices;
  }

  // Instances whose choices are not those of most of their type.
  std::vector<std::string> paths_to_separate() const {
    const ModuleIndex index(root_);
    const Paths paths = paths_of(index);
    std::vector<std::string> separate;
    for (const std::vector<Instance>& instances : index.instances_by_type()) {
      if (instances.size() < 2) continue;
      std::map<std::vector<bool>, std::vector<std::string>> groups;
      for (const Instance& instance : instances) groups[choices_of(instance.module, paths)].push_back(instance.path);
      const auto largest = std::max_element(
          groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
      for (auto group = groups.begin(); group != groups.end(); ++group) {
        if (group != largest) separate.insert(separate.end(), group->second.begin(), group->second.end());
      }
    }
    return separate;
  }

  // A parent whose child gets another type gets one of its own: what is left to separate is looked for anew.
  void separate_instances() {
    while (true) {
      const std::vector<std::string> separate = paths_to_separate();
      if (separate.empty()) return;
      for (const std::string& path : separate) specialise_type(root_, path);
    }
  }

  // Each weight once, however often it is used.
  void list_layers(const Module& self, const Paths& paths) {
    for (torch::jit::Function* method : self.type()->methods()) {
      auto* function = function_with_graph(method);
      if (function == nullptr) continue;
      for (const Layer& place : layers_of(*function->graph())) {
        auto found = layer_of(place, self, paths);
        if (!found || !numbers_.emplace(found->first, result_.layers.size()).second) continue;
        found->second.method = function->name();
        result_.layers.push_back(std::move(found->second));
      }
    }
  }

  // One method of a type; its instances agree on what is rewritten. Returns whether anything was.
  bool rewrite(const std::vector<Instance>& instances, const std::string& method, const Paths& paths) {
    const Module self = instances.front().module;
    const std::shared_ptr<Graph> graph = method_graph(self.type(), method)->copy();
    std::size_t number = 0;
    for (const Layer& found : layers_of(*graph)) {
      const Layer place = *layer_at(found.node);  // its input may be the result of a layer that was replaced
      if (!is_rewritten(place, self, paths)) continue;
      for (const Instance& instance : instances) {
        const auto layer = layer_of(place, instance.module, paths);
        result_.places.push_back({layer->second.path, instance.module, method, number});
      }
      Value* const converted = insert_operator(place);
      if (options_.splice) {
        options_.splice(method, number, place.node->output(), converted);
      } else {
        accept(place, converted);
      }
      ++number;
    }
    if (number == 0) return false;
    torch::jit::EliminateDeadCode(graph);
    replace_method_graph(self.type(), method, graph);
    return true;
  }

  // After all layers of all types call the operator.
  void fuse_activations_of(const std::vector<Instance>& instances) {
    const Module self = instances.front().module;
    for (const std::string& method : methods_with_graph(self)) {
      const std::shared_ptr<Graph> graph = method_graph(self.type(), method)->copy();
      const std::vector<Node*> fused = fuse_activations(*graph);
      if (fused.empty()) continue;
      for (const Node* linear : fused) {
        for (const Instance& instance : instances) note_activation(linear, instance.module);
      }
      torch::jit::EliminateDeadCode(graph);
      replace_method_graph(self.type(), method, graph);
    }
  }

  void note_activation(const Node* linear, const Module& self) {
    const auto weight = stored_in(linear->input(1)->node()->kind() == aten::t ? linear->input(1)->node()->input(0)
                                                                              : const_cast<Value*>(linear->input(1)),
                                  self);
    const auto number = weight ? numbers_.find(weight->cell) : numbers_.end();
    if (number == numbers_.end()) return;
    result_.layers[number->second].activation = torch::jit::toIValue(linear->input(3))->toStringRef();
  }

  static Value* insert_operator(const Layer& place) {
    const WeightProduct& product = place.product;
    Graph& graph = *place.node->owningGraph();
    const torch::jit::WithInsertPoint before(place.node);
    Value* const weight = place.is_transposed ? graph.insert(aten::t, {product.weight}) : product.weight;
    Value* const bias = product.bias != nullptr ? product.bias : graph.insertConstant(c10::IValue());
    Value* const converted = graph.insert(c10::Symbol::fromQualString(kLinearOperator), {product.input, weight, bias});
    converted->setType(place.node->output()->type());
    return converted;
  }

  static void accept(const Layer& place, Value* converted) {
    Value* const original = place.node->output();
    const std::string name = original->hasDebugName() ? original->debugName() : "";
    original->replaceAllUsesWith(converted);
    place.node->destroy();
    if (!name.empty()) converted->setDebugName(name);
  }

  Module& root_;
  const LinearOptions& options_;
  LinearResult result_;
  std::map<Cell, std::size_t> numbers_;  // of the layers, by their weights
};

}  // namespace

LinearResult rewrite_linear_layers(Module& root, const LinearOptions& options) {
  return LinearRewriter(root, options).run();
}

}  // namespace flashconvert::rewrite
