// Matches values with a schema and converts their containers.
#include "verify/binding.h"

#include <optional>

#include "common/error.h"
#include "verify/messages.h"

namespace flashconvert::verify {

namespace {

// The arguments of a method without self.
std::vector<c10::Argument> parameters_of(const c10::FunctionSchema& schema) {
  return {schema.arguments().begin() + 1, schema.arguments().end()};
}

std::optional<c10::IValue> conform(const c10::IValue& value, const c10::TypePtr& type);

std::optional<c10::IValue> conform_tuple(const c10::IValue& value, const c10::TupleTypePtr& type) {
  std::vector<c10::IValue> elements;
  if (value.isTuple()) elements = value.toTupleRef().elements().vec();
  if (value.isList()) elements = value.toListRef().vec();
  if ((!value.isTuple() && !value.isList()) || elements.size() != type->elements().size()) return std::nullopt;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const auto element = conform(elements[i], type->elements()[i]);
    if (!element) return std::nullopt;
    elements[i] = *element;
  }
  return c10::IValue(c10::ivalue::Tuple::createNamed(std::move(elements), type));
}

std::optional<c10::IValue> conform_list(const c10::IValue& value, const c10::ListType& type) {
  std::vector<c10::IValue> elements;
  if (value.isTuple()) elements = value.toTupleRef().elements().vec();
  if (value.isList()) elements = value.toListRef().vec();
  if (!value.isTuple() && !value.isList()) return std::nullopt;
  c10::impl::GenericList list(type.getElementType());
  for (const c10::IValue& element : elements) {
    auto conformed = conform(element, type.getElementType());
    if (!conformed) return std::nullopt;
    list.push_back(std::move(*conformed));
  }
  return c10::IValue(list);
}

std::optional<c10::IValue> conform_dict(const c10::IValue& value, const c10::DictType& type) {
  if (!value.isGenericDict()) return std::nullopt;
  c10::impl::GenericDict dict(type.getKeyType(), type.getValueType());
  for (const auto& entry : value.toGenericDict()) {
    auto key = conform(entry.key(), type.getKeyType());
    auto element = conform(entry.value(), type.getValueType());
    if (!key || !element) return std::nullopt;
    dict.insert(std::move(*key), std::move(*element));
  }
  return c10::IValue(dict);
}

// The value as one of the type; nothing when it cannot be one.
std::optional<c10::IValue> conform(const c10::IValue& value, const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::AnyType) return value;
  if (const auto optional = type->cast<c10::OptionalType>()) {
    return value.isNone() ? std::optional(value) : conform(value, optional->getElementType());
  }
  if (const auto tuple = type->cast<c10::TupleType>()) return conform_tuple(value, tuple);
  if (const auto list = type->cast<c10::ListType>()) return conform_list(value, *list);
  if (const auto dict = type->cast<c10::DictType>()) return conform_dict(value, *dict);
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      return value.isTensor() ? std::optional(value) : std::nullopt;
    case c10::TypeKind::FloatType:
      if (value.isInt()) return c10::IValue(static_cast<double>(value.toInt()));
      return value.isDouble() ? std::optional(value) : std::nullopt;
    default:
      return value.type()->isSubtypeOf(*type) ? std::optional(value) : std::nullopt;
  }
}

std::string described_argument(const c10::Argument& argument, std::size_t index) {
  return "argument " + std::to_string(index + 1) + " (`" + argument.name() + "`)";
}

}  // namespace

bool has_method(const torch::jit::Module& module, const std::string& name) {
  return module.find_method(name).has_value();
}

std::string signature_of(const torch::jit::Module& module, const std::string& method) {
  std::string text;
  for (const c10::Argument& argument : parameters_of(module.get_method(method).function().getSchema())) {
    text += (text.empty() ? "" : ", ") + argument.type()->annotation_str() + " " + argument.name();
    if (argument.default_value()) text += "=" + describe_value(*argument.default_value());
  }
  return method + "(" + text + ")";
}

int argument_index(const c10::FunctionSchema& schema, const std::string& name) {
  const auto index = schema.argumentIndexWithName(name);
  return index && *index > 0 ? *index - 1 : -1;
}

std::vector<c10::IValue> bind_arguments(const torch::jit::Module& module, const std::string& method,
                                        const std::vector<GivenArgument>& given, const std::string& where) {
  const auto& schema = module.get_method(method).function().getSchema();
  const auto parameters = parameters_of(schema);
  const std::string advice = "The checkpoint's method is " + signature_of(module, method) + ".";
  const auto fail = [&](const std::string& message) { throw Error(ErrorKind::kUsage, where + ": " + message, advice); };

  std::vector<std::optional<c10::IValue>> bound(parameters.size());
  std::size_t next = 0;
  std::size_t used = 0;
  for (const GivenArgument& argument : given) {
    const int named = argument.name.empty() ? -1 : argument_index(schema, argument.name);
    if (!argument.name.empty() && named < 0) fail("there is no argument named `" + argument.name + "`");
    const std::size_t index = named >= 0 ? static_cast<std::size_t>(named) : next++;
    if (index >= parameters.size()) {
      fail(std::to_string(given.size()) + " arguments are given, `" + method + "` takes " +
           std::to_string(parameters.size()));
    }
    const std::string name = described_argument(parameters[index], index);
    if (bound[index]) fail(name + " is given twice");
    bound[index] = conform(argument.value, parameters[index].type());
    if (!bound[index]) {
      fail(name + " takes " + parameters[index].type()->annotation_str() + ", given is " +
           describe_value(argument.value));
    }
    used = std::max(used, index + 1);
  }

  std::vector<c10::IValue> arguments;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!bound[i] && !parameters[i].default_value()) fail(described_argument(parameters[i], i) + " is missing");
    if (i < used) arguments.push_back(bound[i] ? *bound[i] : *parameters[i].default_value());
  }
  return arguments;
}

}  // namespace flashconvert::verify
