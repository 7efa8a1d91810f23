// Copies a part of a graph and runs it (subgraph.h).
#include "graph/subgraph.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <string>

#include "graph/traversal.h"

namespace flashconvert {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;

namespace {

bool is_number(const Value* value) {
  return value->type()->isSubtypeOf(*c10::IntType::get()) || value->type()->isSubtypeOf(*c10::FloatType::get()) ||
         value->type()->isSubtypeOf(*c10::BoolType::get());
}

// Whether input `index` of the node is the constant that names a 16-bit dtype to cast to.
bool names_sixteen_bits(const Node* node, std::size_t index) {
  const auto* schema = node->maybeSchema();
  if (!schema || index >= schema->arguments().size() || schema->arguments()[index].name() != "dtype") return false;
  const auto value = torch::jit::toIValue(node->input(index));
  return value && value->isInt() &&
         (value->toInt() == static_cast<std::int64_t>(at::kHalf) ||
          value->toInt() == static_cast<std::int64_t>(at::kBFloat16));
}

}  // namespace

Subgraph::Subgraph(const GraphFacts& facts, at::ScalarType type)
    : facts_(facts), type_(type), graph_(std::make_shared<Graph>()), self_(graph_->addInput("self")) {
  self_->setType(facts.module().type());
}

void Subgraph::add_input(Value* value) {
  map_[value] = graph_->addInput();
  if (!value->type()->isSubtypeOf(*c10::TensorType::get())) map_[value]->setType(value->type());
}

void Subgraph::add_layer(Value* layer) {
  const auto object = facts_.attribute(layer);
  if (!object || !object->isModule()) return;
  torch::jit::Module copy = object->toModule().deepcopy();
  copy.to(type_);
  layers_.push_back(copy._ivalue());
  map_[layer] = graph_->addInput();
  map_[layer]->setType(layer->type());
}

void Subgraph::define(Value* value, Value* input, double factor) {
  torch::jit::WithInsertPoint here(graph_->block());
  map_[value] = graph_->insert(aten::mul, {map_.at(input), c10::IValue(factor)});
}

bool Subgraph::add_output(Value* value) {
  if (Value* self = self_of(*value->owningGraph())) map_.try_emplace(self, self_);
  Value* copy = clone(value);
  if (copy) graph_->registerOutput(copy);
  return copy != nullptr;
}

std::vector<at::Tensor> Subgraph::run(const std::vector<c10::IValue>& arguments, std::size_t count, bool gradients) {
  auto& code = code_[count];
  if (!code) {
    const auto part = graph_->copy();
    while (part->outputs().size() > count) part->eraseOutput(part->outputs().size() - 1);
    torch::jit::EliminateDeadCode(part);
    if (!layers_.empty()) torch::jit::Inline(*part);  // else each call would be profiled and compiled on its own
    code = std::make_unique<torch::jit::Code>(part, "subgraph");
  }
  const at::AutoGradMode mode(gradients);
  torch::jit::Stack stack(arguments.begin(), arguments.end());
  torch::jit::InterpreterState(*code).run(stack);
  std::vector<at::Tensor> outputs;
  for (const c10::IValue& output : torch::jit::last(stack, count)) outputs.push_back(output.toTensor());
  return outputs;
}

Value* Subgraph::clone(Value* value) {
  if (const auto found = map_.find(value); found != map_.end()) return found->second;
  if (failed_.count(value)) return nullptr;
  if (free_numbers_.count(value)) return add_number(value);
  Node* node = value->node();
  if (value->type()->isSubtypeOf(*c10::TensorType::get()) && facts_.is_independent_of_inputs(value) &&
      node->kind() != prim::Constant) {
    if (const auto tensor = facts_.run(value)) {  // tables and buffers
      torch::jit::WithInsertPoint here(graph_->block());
      // Detached: a parameter that has the type already is no constant to the graph.
      return map_[value] = graph_->insertConstant(tensor->is_floating_point() ? tensor->detach().to(type_) : *tensor);
    }
  }
  if (node->kind() == prim::Constant && value->type()->kind() == c10::TypeKind::DeviceObjType) {
    torch::jit::WithInsertPoint here(graph_->block());
    return map_[value] = graph_->insertConstant(c10::Device(c10::kCPU));  // where a subgraph runs
  }
  const bool is_plain_attribute = node->kind() == prim::GetAttr &&
                                  !value->type()->isSubtypeOf(*c10::TensorType::get()) &&
                                  value->type()->kind() != c10::TypeKind::ClassType;
  if (const auto known = is_plain_attribute ? facts_.attribute(value) : std::nullopt) {
    torch::jit::WithInsertPoint here(graph_->block());
    return map_[value] = graph_->insertConstant(*known);
  }
  const bool can_clone = node->kind() != prim::Param && node->blocks().empty();
  std::unordered_map<Value*, Value*> inputs;
  bool whole = can_clone;
  for (std::size_t i = 0; whole && i < node->inputs().size(); ++i) {
    // A checkpoint in 16 bits casts to them by name. The subgraph runs in another dtype, and asks for the function
    // alone.
    Value* input =
        names_sixteen_bits(node, i) ? graph_->insertConstant(static_cast<std::int64_t>(type_)) : clone(node->input(i));
    if (!input && takes_dtype_alone(node, i)) input = graph_->insertConstant(at::zeros({1}, type_));
    whole = input != nullptr;
    inputs[node->input(i)] = input;
  }
  if (whole) {
    Node* copy = graph_->createClone(node, [&](Value* input) { return inputs.at(input); });
    graph_->appendNode(copy);
    note_casts(node);
    for (std::size_t i = 0; i < node->outputs().size(); ++i) map_[node->output(i)] = copy->output(i);
    return map_.at(value);
  }
  if (is_number(value)) return add_number(value);  // a size of something outside the subgraph
  failed_.insert(value);
  return nullptr;
}

Value* Subgraph::add_number(Value* value) {
  Value* input = graph_->addInput();
  input->setType(value->type());
  numbers_.push_back(value);
  return map_[value] = input;
}

void Subgraph::note_casts(const Node* node) {
  const std::string name = kind_name(node);
  if (name != "aten::to" && name != "aten::softmax" && name != "aten::float" && name != "aten::half") return;
  for (const Value* input : node->inputs()) {
    const auto value = torch::jit::toIValue(input);
    if (value && value->isInt() && (value->toInt() == 6 || value->toInt() == 5 || value->toInt() == 15)) {
      casts_to_single_ = true;
    }
  }
  if (name != "aten::to" && name != "aten::softmax") casts_to_single_ = true;
}

}  // namespace flashconvert
