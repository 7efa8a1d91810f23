// Small questions about TorchScript graphs that folding asks in several places.
#include "rewrite/weights/graph_tools.h"

#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "common/function_with_graph.h"

namespace flashconvert::rewrite::weights {

using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;

std::optional<AttributeChain> attribute_chain(Value* value) {
  AttributeChain chain;
  while (value->node()->kind() == c10::prim::GetAttr) {
    chain.names.push_back(value->node()->s(c10::attr::name));
    value = value->node()->input();
  }
  if (chain.names.empty()) return std::nullopt;
  std::reverse(chain.names.begin(), chain.names.end());
  chain.root = value;
  return chain;
}

std::optional<std::pair<c10::intrusive_ptr<c10::ivalue::Object>, std::string>> resolve_chain(
    const AttributeChain& chain, const torch::jit::Module& self) {
  const auto* graph = chain.root->owningGraph();
  if (graph->inputs().empty() || chain.root != graph->inputs()[0]) return std::nullopt;
  auto object = self._ivalue();
  for (size_t i = 0; i + 1 < chain.names.size(); ++i) {
    const c10::IValue next = object->getAttr(chain.names[i]);
    if (!next.isObject()) return std::nullopt;
    object = next.toObject();
  }
  return std::make_pair(object, chain.names.back());
}

bool is_neutral(const Node* node) {
  static const std::unordered_set<std::string> kNeutral = {"prim::Constant",
                                                           "prim::GetAttr",
                                                           "prim::ListConstruct",
                                                           "prim::ListUnpack",
                                                           "prim::TupleConstruct",
                                                           "prim::TupleUnpack",
                                                           "prim::NumToTensor",
                                                           "prim::unchecked_cast",
                                                           "prim::dtype",
                                                           "prim::device",
                                                           "prim::If",
                                                           "prim::Enter",
                                                           "prim::Exit",
                                                           "prim::CreateObject",
                                                           "aten::t",
                                                           "aten::transpose",
                                                           "aten::permute",
                                                           "aten::numpy_T",
                                                           "aten::mT",
                                                           "aten::mH",
                                                           "aten::view",
                                                           "aten::view_as",
                                                           "aten::reshape",
                                                           "aten::reshape_as",
                                                           "aten::flatten",
                                                           "aten::unflatten",
                                                           "aten::squeeze",
                                                           "aten::unsqueeze",
                                                           "aten::expand",
                                                           "aten::expand_as",
                                                           "aten::contiguous",
                                                           "aten::clone",
                                                           "aten::detach",
                                                           "aten::alias",
                                                           "aten::to",
                                                           "aten::type_as",
                                                           "aten::select",
                                                           "aten::slice",
                                                           "aten::narrow",
                                                           "aten::chunk",
                                                           "aten::split",
                                                           "aten::split_with_sizes",
                                                           "aten::tensor_split",
                                                           "aten::unbind",
                                                           "aten::cat",
                                                           "aten::stack",
                                                           "aten::size",
                                                           "aten::dim",
                                                           "aten::len",
                                                           "aten::numel",
                                                           "aten::Int",
                                                           "aten::Bool",
                                                           "aten::__is__",
                                                           "aten::__isnot__",
                                                           "aten::__not__",
                                                           "aten::__getitem__",
                                                           "aten::eq",
                                                           "aten::ne",
                                                           "aten::movedim",
                                                           "aten::swapaxes",
                                                           "aten::dropout",
                                                           "aten::floor_divide",
                                                           "aten::floordiv",
                                                           "aten::dequantize"};
  if (kNeutral.count(node->kind().toQualString()) == 0) return false;
  for (const Block* block : node->blocks()) {
    for (const Node* inner : block->nodes()) {
      if (!is_neutral(inner)) return false;
    }
  }
  return true;
}

bool is_call(const Node* node) {
  return node->kind() == c10::prim::CallMethod || node->kind() == c10::prim::CallFunction;
}

torch::jit::GraphFunction* called_function(const Node* node) {
  torch::jit::Function* function = nullptr;
  if (node->kind() == c10::prim::CallMethod) {
    if (const auto type = node->input(0)->type()->cast<c10::ClassType>()) {
      function = type->findMethod(node->s(c10::attr::name));
    }
  } else if (node->kind() == c10::prim::CallFunction) {
    if (const auto type = node->input(0)->type()->cast<c10::FunctionType>()) function = type->function();
  }
  return function_with_graph(function);
}

void for_each_node(Block* block, const std::function<void(Node*)>& visit) {
  for (Node* node : block->nodes()) {
    visit(node);
    for (Block* inner : node->blocks()) for_each_node(inner, visit);
  }
}

bool contains(const Node* node, Block* inner) {
  for (; inner != nullptr; inner = inner->owningNode() != nullptr ? inner->owningNode()->owningBlock() : nullptr) {
    if (inner->owningNode() == node) return true;
  }
  return false;
}

bool runs_in_eval(const Node* node) {
  const auto is_training = [](const Value* value) {
    return value->node()->kind() == c10::prim::GetAttr && value->node()->s(c10::attr::name) == "training";
  };
  for (const Block* block = node->owningBlock(); block->owningNode() != nullptr;
       block = block->owningNode()->owningBlock()) {
    const Node* branch = block->owningNode();
    if (branch->kind() != c10::prim::If) continue;
    const Value* condition = branch->input(0);
    const bool in_first = branch->blocks()[0] == block;
    if (is_training(condition) && in_first) return false;
    if (condition->node()->kind() == c10::aten::__not__ && is_training(condition->node()->input(0)) && !in_first) {
      return false;
    }
  }
  return true;
}

bool is_module_attribute(const Node* node) {
  const auto type = node->input(0)->type()->cast<c10::ClassType>();
  return type && type->is_module();
}

std::vector<Value*> written_inputs(const Node* node) {
  std::vector<Value*> written;
  if (node->kind() == c10::prim::SetAttr) {
    if (!is_module_attribute(node)) written.push_back(node->input(0));
    return written;
  }
  const c10::FunctionSchema* schema = node->maybeSchema();
  if (schema == nullptr || !schema->is_mutable()) return written;
  for (size_t i = 0; i < schema->arguments().size() && i < node->inputs().size(); ++i) {
    const c10::AliasInfo* alias = schema->arguments()[i].alias_info();
    if (alias != nullptr && alias->isWrite()) written.push_back(node->input(i));
  }
  return written;
}

std::optional<Cell> type_cell(const Node* node) {
  if (!is_module_attribute(node)) return std::nullopt;
  return Cell{node->input(0)->type()->expect<c10::ClassType>().get(), node->s(c10::attr::name)};
}

namespace {

void collect_bases(Value* value, const CellOf& cell_of, std::set<Base>& found, std::unordered_set<Value*>& seen) {
  if (!seen.insert(value).second) return;
  Node* node = value->node();
  const auto follow = [&](at::ArrayRef<Value*> values) {
    for (Value* next : values) collect_bases(next, cell_of, found, seen);
  };
  if (node->kind() == c10::prim::Param) {
    Node* owner = node->owningBlock()->owningNode();
    if (owner == nullptr) {
      found.insert({Base::Kind::kInput, {}, nullptr});
    } else {
      follow(owner->inputs());
    }
  } else if (node->kind() == c10::prim::GetAttr) {
    const auto cell = cell_of(node);
    found.insert(cell ? Base{Base::Kind::kCell, *cell, nullptr} : Base{});
  } else if (!node->blocks().empty()) {
    if (node->kind() != c10::prim::If) follow(node->inputs());
    for (Block* block : node->blocks()) follow(block->outputs());
  } else if (node->kind() == c10::prim::CallMethod || node->kind() == c10::prim::CallFunction) {
    follow(node->inputs().slice(1));
    found.insert({Base::Kind::kLocal, {}, node});
  } else if (const c10::FunctionSchema* schema = node->maybeSchema()) {
    const auto& returns = schema->returns();
    const c10::AliasInfo* result = value->offset() < returns.size() ? returns[value->offset()].alias_info() : nullptr;
    bool shares = false;
    for (size_t i = 0; result != nullptr && i < schema->arguments().size() && i < node->inputs().size(); ++i) {
      if (schema->arguments()[i].alias_info() == nullptr) continue;
      shares = true;
      follow(node->inputs()[i]);
    }
    if (!shares || !result->isWrite()) found.insert({Base::Kind::kLocal, {}, node});
  } else {
    follow(node->inputs());  // lists, tuples, casts
    found.insert({Base::Kind::kLocal, {}, node});
  }
}

}  // namespace

std::set<Base> bases(Value* value, const CellOf& cell_of) {
  std::set<Base> found;
  std::unordered_set<Value*> seen;
  collect_bases(value, cell_of, found, seen);
  return found;
}

bool InputDependence::depends(Value* value) { return find(value) != nullptr; }

std::string InputDependence::input_of(Value* value) {
  const Value* input = find(value);
  return input == nullptr ? "" : input->debugName();
}

Value* InputDependence::find(Value* value) {
  Node* node = value->node();
  if (node->kind() != c10::prim::Param) return find_in_node(node);
  Node* owner = node->owningBlock()->owningNode();
  if (owner != nullptr) return find_in_node(owner);
  return value->offset() == 0 ? nullptr : value;
}

Value* InputDependence::find_in_node(Node* node) {
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) return known->second;
  nodes_[node] = nullptr;  // a loop's own values add nothing to what flows into it
  Value* found = nullptr;
  const auto look = [&](at::ArrayRef<Value*> values) {
    for (Value* value : values) {
      if (found == nullptr) found = find(value);
    }
  };
  look(node->inputs());
  for (Block* block : node->blocks()) {
    look(block->outputs());
    for_each_node(block, [&](Node* inner) {
      if (found == nullptr && inner->outputs().empty()) look(inner->inputs());
    });
  }
  return nodes_[node] = found;
}

}  // namespace flashconvert::rewrite::weights
