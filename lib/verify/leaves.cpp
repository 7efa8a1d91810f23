// Walks tuples, lists, dicts and objects down to their leaves.
#include "verify/leaves.h"

#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include "verify/messages.h"

namespace flashconvert::verify {

namespace {

struct Child {
  std::string suffix;  // "[0]", "['logits']", ".logits"
  c10::IValue value;
};

std::string dict_suffix(const c10::IValue& key) {
  return key.isString() ? "['" + key.toStringRef() + "']" : "[" + describe_value(key) + "]";
}

// The names of a NamedTuple's fields; empty for a plain tuple.
std::vector<std::string> field_names(const c10::IValue& tuple) {
  std::vector<std::string> names;
  const auto schema = tuple.type()->expectRef<c10::TupleType>().schema();
  if (!schema) return names;
  for (const c10::Argument& field : schema->arguments()) names.push_back(field.name());
  return names;
}

std::vector<Child> children_of(const c10::IValue& value) {
  std::vector<Child> children;
  if (value.isTuple()) {
    const auto& elements = value.toTupleRef().elements();
    const auto names = field_names(value);
    for (std::size_t i = 0; i < elements.size(); ++i) {
      children.push_back({i < names.size() ? "." + names[i] : "[" + std::to_string(i) + "]", elements[i]});
    }
  } else if (value.isList()) {
    const auto elements = value.toListRef();
    for (std::size_t i = 0; i < elements.size(); ++i) children.push_back({"[" + std::to_string(i) + "]", elements[i]});
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) children.push_back({dict_suffix(entry.key()), entry.value()});
  } else if (value.isObject() && value.type()->cast<c10::ClassType>()) {
    const auto& object = value.toObjectRef();
    for (std::size_t i = 0; i < object.type()->numAttributes(); ++i) {
      children.push_back({"." + object.type()->getAttributeName(i), object.getSlot(i)});
    }
  }
  return children;
}

void append_leaves(const c10::IValue& value, const std::string& name, std::vector<Leaf>& leaves) {
  const auto children = children_of(value);
  if (children.empty()) {
    leaves.push_back({name, value});
    return;
  }
  for (const Child& child : children) append_leaves(child.value, name + child.suffix, leaves);
}

}  // namespace

std::vector<Leaf> flatten(const c10::IValue& value, const std::string& name) {
  std::vector<Leaf> leaves;
  append_leaves(value, name, leaves);
  return leaves;
}

std::string structure_of(const c10::IValue& value) {
  std::string inside;
  for (const Child& child : children_of(value)) inside += (inside.empty() ? "" : ", ") + structure_of(child.value);
  if (value.isTuple()) return "(" + inside + ")";
  if (value.isList()) return "[" + inside + "]";
  if (value.isGenericDict()) return "{" + inside + "}";
  if (value.isObject()) return "object(" + inside + ")";
  return "·";
}

}  // namespace flashconvert::verify
