// Rebuilds containers around changed tensors.
#include "checkpoint/map_tensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/jit_type.h>

#include <vector>

namespace flashconvert::checkpoint {

c10::IValue map_tensors(const c10::IValue& value, const std::function<at::Tensor(const at::Tensor&)>& change) {
  if (value.isTensor()) return change(value.toTensor());
  if (value.isTuple()) {
    std::vector<c10::IValue> elements;
    for (const c10::IValue& element : value.toTupleRef().elements()) elements.push_back(map_tensors(element, change));
    return c10::ivalue::Tuple::createNamed(std::move(elements), value.type()->expect<c10::TupleType>());
  }
  if (value.isList()) {
    c10::impl::GenericList list(value.type()->expectRef<c10::ListType>().getElementType());
    for (const c10::IValue& element : value.toListRef()) list.push_back(map_tensors(element, change));
    return list;
  }
  if (value.isGenericDict()) {
    const c10::impl::GenericDict source = value.toGenericDict();
    c10::impl::GenericDict dict(source.keyType(), source.valueType());
    for (const auto& entry : source) dict.insert(entry.key(), map_tensors(entry.value(), change));
    return dict;
  }
  return value;
}

}  // namespace flashconvert::checkpoint
