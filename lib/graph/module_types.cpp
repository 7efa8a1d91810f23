// Types of module instances: cloning a type for one instance and repointing the modules that hold it.
#include "graph/module_types.h"

#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "graph/attributes.h"
#include "graph/function_with_graph.h"
#include "graph/module_tree.h"

namespace flashconvert {
namespace {

using c10::ClassTypePtr;
using torch::jit::Function;
using torch::jit::Module;
using ObjectPtr = c10::intrusive_ptr<c10::ivalue::Object>;

c10::FunctionSchema with_self_type(const c10::FunctionSchema& schema, const ClassTypePtr& type) {
  std::vector<c10::Argument> arguments = schema.arguments();
  if (!arguments.empty()) arguments[0] = arguments[0].cloneWithType(type);
  return schema.cloneWithArguments(std::move(arguments));
}

Function* clone_function(Function& function, const ClassTypePtr& type) {
  auto& original = torch::jit::toGraphFunction(function);
  original.ensure_defined();
  auto graph = original.graph()->copy();
  graph->inputs().at(0)->setType(type);
  Function* clone = type->compilation_unit()->create_function(
      c10::QualifiedName(*type->name(), original.qualname().name()), std::move(graph));
  clone->setSchema(with_self_type(original.getSchema(), type));
  return clone;
}

ClassTypePtr clone_type(const ClassTypePtr& original) {
  const auto unit = original->compilation_unit();
  ClassTypePtr clone =
      c10::ClassType::create(unit->mangle(*original->name()), unit, original->is_module(), original->doc_string());
  unit->register_type(clone);
  for (size_t slot = 0; slot < original->numAttributes(); ++slot) {
    clone->addAttribute(original->getAttributeName(slot), original->getAttribute(slot), original->is_parameter(slot),
                        original->is_buffer(slot));
  }
  for (size_t index = 0; index < original->numConstants(); ++index) {
    clone->addConstant(original->getConstantName(index), original->getConstant(index));
  }
  for (Function* method : original->methods()) clone->addMethod(clone_function(*method, clone));
  for (Function* hook : original->getForwardPreHooks()) clone->addForwardPreHook(clone_function(*hook, clone));
  for (Function* hook : original->getForwardHooks()) clone->addForwardHook(clone_function(*hook, clone));
  for (const auto& property : original->properties()) {
    Function* setter = property.setter != nullptr ? &clone->getMethod(property.setter->name()) : nullptr;
    clone->addProperty(property.name, &clone->getMethod(property.getter->name()), setter);
  }
  return clone;
}

bool is_sole_instance(const Module& root, const ObjectPtr& object) {
  return instances_of(root, object->type()).size() <= 1;
}

struct Holder {
  ObjectPtr object;
  size_t slot;
};

// Every attribute of a module of the tree that is this object.
std::vector<Holder> holders_of(const Module& root, const ObjectPtr& child) {
  std::vector<Holder> holders;
  for (const Instance& instance : module_instances(root)) {
    const ObjectPtr object = instance.module._ivalue();
    for (size_t slot = 0; slot < object->slots().size(); ++slot) {
      const c10::IValue& value = object->slots()[slot];
      if (value.isObject() && value.toObject() == child) holders.push_back({object, slot});
    }
  }
  return holders;
}

// Gives `object` a type of its own, and returns the object that stands for it from now on.
ObjectPtr own_type(const Module& root, const ObjectPtr& object) {
  if (object == root._ivalue() || is_sole_instance(root, object)) return object;
  // Parents first: making one of them a new object may change who else holds this one.
  for (const Holder& holder : holders_of(root, object)) own_type(root, holder.object);

  const ClassTypePtr type = clone_type(object->type());
  ObjectPtr fresh =
      c10::ivalue::Object::create(c10::StrongTypePtr(object->compilation_unit(), type), object->slots().size());
  for (size_t slot = 0; slot < object->slots().size(); ++slot) fresh->setSlot(slot, object->getSlot(slot));

  for (const Holder& holder : holders_of(root, object)) {
    const ClassTypePtr parent = holder.object->type();
    // An attribute that is declared as an interface takes any class which implements it.
    if (parent->getAttribute(holder.slot)->kind() == c10::TypeKind::ClassType) {
      parent->unsafeChangeAttributeType(parent->getAttributeName(holder.slot), type);
    }
    holder.object->setSlot(holder.slot, fresh);
  }
  return fresh;
}

// Values that hold a submodule carry its type, and calls are bound by it.
void retype_code(const Module& root) {
  const auto retype = [](Function* function) {
    if (auto* with_graph = function_with_graph(function)) retype_submodules(with_graph->graph()->block());
  };
  for (const ClassTypePtr& type : module_types(root)) {
    for (Function* method : type->methods()) retype(method);
    for (Function* hook : type->getForwardPreHooks()) retype(hook);
    for (Function* hook : type->getForwardHooks()) retype(hook);
  }
}

}  // namespace

Module specialise_type(Module& root, const std::string& path) {
  std::optional<Module> module = module_at(root, path);
  TORCH_CHECK(module, "there is no module at '", path, "'");
  const ObjectPtr object = module->_ivalue();
  const ObjectPtr own = own_type(root, object);
  if (own != object) retype_code(root);
  return Module(own);
}

}  // namespace flashconvert
