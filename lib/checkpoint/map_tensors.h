// A function applied to every tensor inside a value: tuples, lists and dicts are rebuilt, everything else is kept.
#pragma once

#include <ATen/core/ivalue.h>

#include <functional>

namespace flashconvert::checkpoint {

c10::IValue map_tensors(const c10::IValue& value, const std::function<at::Tensor(const at::Tensor&)>& change);

}  // namespace flashconvert::checkpoint
