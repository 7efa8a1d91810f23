// Linear projections as graphs spell them.
#include "rewrite/outline/projection.h"

#include <algorithm>
#include <utility>

#include "graph/attributes.h"
#include "graph/method_graph.h"
#include "graph/operators.h"
#include "graph/views.h"
#include "rewrite/weight_product.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;
namespace prim = c10::prim;

struct Parameter {
  Value* value = nullptr;
  std::vector<std::string> holder;
  std::string name;
  at::Tensor tensor;
};

std::optional<Parameter> parameter_behind(Value* value, const Module& self) {
  Value* root = root_of_views(value);
  if (root->node()->kind() != prim::GetAttr) return std::nullopt;
  auto holder = module_path(root->node()->input());
  if (!holder) return std::nullopt;
  const std::string name = root->node()->s(torch::jit::attr::name);
  const c10::IValue attribute = module_below(self, *holder).attr(name);
  if (!attribute.isTensor() || !attribute.toTensor().defined()) return std::nullopt;
  return Parameter{root, std::move(*holder), name, attribute.toTensor()};
}

ParameterRows rows_of(const Parameter& parameter, std::int64_t total, std::int64_t first, std::int64_t count) {
  return {parameter.holder, parameter.name, first, count, first == 0 && count == total};
}

// Takes `tensor` for [d0, d1, features].
void declare_input(Value* tensor, std::int64_t features, Layouts& layouts) {
  layouts.assume_rank(tensor, 3);
  const auto first = layouts.size(tensor, 0);
  const auto second = layouts.size(tensor, 1);
  layouts.declare(
      tensor, {tensor,
               0,
               {{Factor::lead(*first->symbol())}, {Factor::lead(*second->symbol())}, {Factor::features(1, features)}}});
}

// Traces split packed parameters by sizes of the input (torch.nn.MultiheadAttention): what is known of sizes, with the
// input's features.
Layouts with_input(const Layouts& known, Value* input, std::int64_t features) {
  Layouts layouts = known;
  if (!layouts.of(input)) declare_input(input, features, layouts);
  return layouts;
}

// The output features that a weight operand has, in a projection that is otherwise filled in.
bool match_weight(const WeightProduct& product, const Module& self, const Layouts& sizes, Projection& projection) {
  const auto parameter = parameter_behind(product.weight, self);
  if (!parameter || parameter->tensor.dim() != 2) return false;
  const std::int64_t rows = parameter->tensor.size(0);
  const std::int64_t columns = parameter->tensor.size(1);
  const SizeSymbol inputs{parameter->value, 1};
  Layouts layouts = with_input(sizes, product.input, columns);
  layouts.declare(parameter->value,
                  {parameter->value, 0, {simplified({Factor::features(1, rows)}), {Factor::lead(inputs)}}});
  const auto layout = layouts.of(product.weight);
  if (!layout || layout->dims.size() != 2) return false;
  const std::size_t out_dim = product.weight_is_out_in ? 0 : 1;
  const DimFactors& outputs = layout->dims[out_dim];
  const bool is_out_in = layout->dims[1 - out_dim] == DimFactors{Factor::lead(inputs)} && outputs.size() == 1 &&
                         !outputs[0].symbol && outputs[0].stride == 1;
  if (is_out_in) {
    projection.in_features = columns;
    projection.out_features = outputs[0].extent;
    projection.weight = rows_of(*parameter, rows, layout->offset, outputs[0].extent);
    return true;
  }
  if (product.weight_is_out_in || product.weight != parameter->value) return false;
  projection.transposed = true;  // [in, out], used as it is
  projection.in_features = rows;
  projection.out_features = columns;
  projection.weight = rows_of(*parameter, columns, 0, columns);
  return true;
}

bool match_bias(const WeightProduct& product, const Module& self, const Layouts& sizes, Projection& projection) {
  if (product.bias == nullptr) return true;
  const auto parameter = parameter_behind(product.bias, self);
  if (!parameter || parameter->tensor.dim() != 1) return false;
  const std::int64_t rows = parameter->tensor.size(0);
  Layouts layouts = with_input(sizes, product.input, projection.in_features);
  layouts.declare(parameter->value, {parameter->value, 0, {simplified({Factor::features(1, rows)})}});
  const auto layout = layouts.of(product.bias);
  if (!layout || layout->dims.size() != 1 || layout->dims[0].size() != 1) return false;
  const Factor& features = layout->dims[0][0];
  if (features.stride != 1 || features.extent != projection.out_features) return false;
  projection.bias = rows_of(*parameter, rows, layout->offset, features.extent);
  return true;
}

bool ends_in_all_features(const Layout& layout, std::int64_t features) {
  if (layout.offset != 0 || layout.dims.size() < 2) return false;
  for (std::size_t dim = 0; dim + 1 < layout.dims.size(); ++dim) {
    const DimFactors& lead = layout.dims[dim];
    if (std::any_of(lead.begin(), lead.end(), [](const Factor& factor) { return !factor.symbol; })) return false;
  }
  return layout.dims.back() == DimFactors{Factor::features(1, features)};
}

// The three-dimensional tensor that a product's operand is or flattens, laid out; the views passed go to `nodes`.
Value* input_behind(Value* operand, std::int64_t features, Layouts& layouts, std::vector<Node*>& nodes) {
  if (const auto known = layouts.of(operand)) {
    if (!ends_in_all_features(*known, features)) return nullptr;
    if (known->dims.size() == 3 || !has_trait(operand->node(), kReshapes)) return operand;
    Value* before = operand->node()->input(0);
    const auto layout = layouts.of(before);
    if (!layout || layout->dims.size() != 3 || !ends_in_all_features(*layout, features)) return operand;
    nodes.push_back(operand->node());
    return before;
  }
  if (has_trait(operand->node(), kReshapes)) {
    Value* before = operand->node()->input(0);
    Layouts trial = layouts;
    declare_input(before, features, trial);
    const auto flattened = trial.of(operand);
    if (flattened && flattened->dims.size() == 2 && flattened->dims[0].size() == 2 &&
        ends_in_all_features(*flattened, features)) {
      layouts = std::move(trial);
      nodes.push_back(operand->node());
      return before;
    }
  }
  declare_input(operand, features, layouts);
  return operand;
}

void declare_output(Value* operand, Projection& projection, Layouts& layouts) {
  Layout layout = *layouts.of(operand);
  layout.source = projection.output;
  layout.dims.back() = {Factor::features(1, projection.out_features)};
  layouts.declare(projection.output, std::move(layout));
}

bool has_only_these_tensors(const Module& layer, const Projection& projection) {
  for (const auto& attribute : layer.named_attributes(/*recurse=*/false)) {
    if (attribute.value.isModule()) return false;
    const bool own =
        attribute.name == projection.weight.name || (projection.bias && attribute.name == projection.bias->name);
    if (attribute.value.isTensor() && !own) return false;
  }
  return true;
}

// Parameters that are read straight from a submodule which has nothing else: it is the layer (the output projection of
// torch.nn.MultiheadAttention is one).
bool is_whole_layer(const Module& self, const Projection& projection) {
  if (projection.weight.holder.empty() || !projection.weight.whole) return false;
  const auto& bias = projection.bias;
  if (bias && (!bias->whole || bias->holder != projection.weight.holder)) return false;
  return has_only_these_tensors(module_below(self, projection.weight.holder), projection);
}

std::optional<Projection> match_spelled_out(Value* output, const Module& self, Layouts& layouts) {
  const auto product = weight_product_of(output);
  if (!product) return std::nullopt;
  Projection projection;
  projection.output = output;
  projection.nodes = product->nodes;
  if (!match_weight(*product, self, layouts, projection) || !match_bias(*product, self, layouts, projection))
    return std::nullopt;
  if (projection.out_features < 2 || projection.in_features < 2) return std::nullopt;
  projection.input = input_behind(product->input, projection.in_features, layouts, projection.nodes);
  if (projection.input == nullptr) return std::nullopt;
  declare_output(product->input, projection, layouts);
  projection.is_layer = is_whole_layer(self, projection);
  return projection;
}

// A layer's forward must do nothing but compute its result.
bool only_computes(const torch::jit::Block* block) {
  return std::all_of(block->nodes().begin(), block->nodes().end(), [](const Node* node) {
    const std::string name = node->kind().toUnqualString();
    return node->blocks().empty() && !node->hasSideEffects() && (name.back() != '_' || name.substr(0, 2) == "__");
  });
}

// The call of a layer whose forward is a projection of its one input.
std::optional<Projection> match_layer(Value* output, const Module& self, Layouts& layouts) {
  Node* call = output->node();
  if (call->kind() != prim::CallMethod || call->inputs().size() != 2) return std::nullopt;
  if (call->s(torch::jit::attr::name) != "forward") return std::nullopt;
  const auto path = module_path(call->input(0));
  if (!path || path->empty()) return std::nullopt;
  const Module layer = module_below(self, *path);
  const auto type = layer.type();
  if (!type->getForwardHooks().empty() || !type->getForwardPreHooks().empty()) return std::nullopt;
  const auto graph = method_graph(type, "forward");
  if (graph->inputs().size() != 2 || graph->outputs().size() != 1 || !only_computes(graph->block()))
    return std::nullopt;

  Layouts inner_layouts;
  Value* result = graph->outputs()[0];
  auto inner = match_projection(root_of_views(result), layer, inner_layouts);
  if (!inner || inner->input != graph->inputs()[1] || !inner->weight.holder.empty()) return std::nullopt;
  if (inner->bias && !inner->bias->holder.empty()) return std::nullopt;
  if (!inner->weight.whole || (inner->bias && !inner->bias->whole)) return std::nullopt;
  const auto inner_input = inner_layouts.of(inner->input);
  const auto inner_output = inner_layouts.of(result);
  if (!inner_input || !inner_output || inner_output->dims.size() != 3) return std::nullopt;
  if (!ends_in_all_features(*inner_output, inner->out_features)) return std::nullopt;
  if (inner_output->dims[0] != inner_input->dims[0] || inner_output->dims[1] != inner_input->dims[1]) {
    return std::nullopt;
  }
  if (!has_only_these_tensors(layer, *inner)) return std::nullopt;

  Projection projection = std::move(*inner);
  projection.output = output;
  projection.is_layer = true;
  projection.weight.holder = *path;
  if (projection.bias) projection.bias->holder = *path;
  projection.nodes = {call};
  projection.input = input_behind(call->input(1), projection.in_features, layouts, projection.nodes);
  if (projection.input == nullptr) return std::nullopt;
  declare_output(call->input(1), projection, layouts);
  return projection;
}

}  // namespace

std::optional<Projection> match_projection(Value* output, const Module& self, Layouts& layouts) {
  if (auto spelled_out = match_spelled_out(output, self, layouts)) return spelled_out;
  return match_layer(output, self, layouts);
}

}  // namespace flashconvert::rewrite
