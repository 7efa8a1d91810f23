// Swaps the attributes of a module's objects for placed copies, runs methods, and swaps them back.
#include "verify/placed_module.h"

#include <ATen/ATen.h>
#include <ATen/OpMathType.h>
#include <torch/csrc/jit/api/module.h>

#include <limits>
#include <unordered_set>
#include <utility>

#include "checkpoint/map_tensors.h"

namespace flashconvert::verify {

using checkpoint::map_tensors;

namespace {

// The values of an object that a method returns would be shared with the next call; tensors are all that is compared,
// so an object is turned into a plain copy of itself.
c10::IValue detached_copy(const c10::IValue& value) {
  if (value.isObject() && value.type()->cast<c10::ClassType>()) {
    const auto object = value.toObject();
    auto copy = c10::ivalue::Object::create(c10::StrongTypePtr(object->compilation_unit(), object->type()),
                                            object->type()->numAttributes());
    for (std::size_t i = 0; i < object->slots().size(); ++i) copy->setSlot(i, detached_copy(object->getSlot(i)));
    return copy;
  }
  return map_tensors(value, [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.detach().to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true)
                            : tensor;
  });
}

at::Tensor moved_by_one_rounding(const at::Tensor& tensor) {
  const auto work_type = at::toOpMathType(tensor.scalar_type());
  double epsilon = 0;
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, tensor.scalar_type(), "moved_by_one_rounding",
                                  [&] { epsilon = static_cast<double>(std::numeric_limits<scalar_t>::epsilon()); });
  const at::Tensor wide = tensor.to(work_type);
  return (wide * (1 + epsilon * at::empty_like(wide).uniform_(-1, 1))).to(tensor.scalar_type());
}

bool can_be_perturbed(const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  return type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16;
}

}  // namespace

PlacedModule::PlacedModule(const torch::jit::Module& module, const Placement& placement)
    : module_(module), placement_(placement) {
  collect(module_._ivalue());
  at::manual_seed(0);
  const at::NoGradGuard no_grad;
  try {
    fill(/*parameters_too=*/true);
  } catch (...) {  // out of memory: the destructor will not run
    for (const Slot& slot : slots_) slot.object->setSlot(slot.index, slot.saved);
    throw;
  }
}

PlacedModule::~PlacedModule() {
  for (const Slot& slot : slots_) slot.object->setSlot(slot.index, slot.saved);
}

void PlacedModule::collect(const c10::intrusive_ptr<c10::ivalue::Object>& root) {
  std::unordered_set<const c10::ivalue::Object*> seen{root.get()};
  std::vector<c10::intrusive_ptr<c10::ivalue::Object>> open{root};
  while (!open.empty()) {
    const auto object = open.back();
    open.pop_back();
    for (std::size_t i = 0; i < object->slots().size(); ++i) {
      const c10::IValue& value = object->getSlot(i);
      if (value.isObject()) {
        if (seen.insert(&value.toObjectRef()).second) open.push_back(value.toObject());
      } else {
        slots_.push_back({object, i, value, object->type()->is_module() && object->type()->is_parameter(i)});
      }
    }
  }
}

// Parameters are placed once and shared with the original where nothing changes; everything else is always a copy, so
// that a call which writes it does not reach the module.
void PlacedModule::fill(bool parameters_too) {
  Memo copies;
  for (const Slot& slot : slots_) {
    if (slot.is_parameter) {
      if (parameters_too) slot.object->setSlot(slot.index, placed(slot.saved, /*copy=*/false, parameters_));
    } else if (slot.saved.isBool() && slot.object->type()->getAttributeName(slot.index) == "training") {
      slot.object->setSlot(slot.index, false);
    } else {
      slot.object->setSlot(slot.index, placed(slot.saved, /*copy=*/true, copies));
    }
  }
}

c10::IValue PlacedModule::placed(const c10::IValue& value, bool copy, Memo& memo) const {
  return map_tensors(value, [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    auto& result = memo[tensor.unsafeGetTensorImpl()];
    if (!result.defined()) result = placed_tensor(tensor, copy);
    return result;
  });
}

at::Tensor PlacedModule::placed_tensor(const at::Tensor& tensor, bool copy) const {
  if (tensor.is_quantized()) return copy ? tensor.clone() : tensor;
  auto type = tensor.scalar_type();
  if (placement_.target.floating && at::isFloatingType(type)) type = *placement_.target.floating;
  if (placement_.target.floating == at::kDouble && type == at::kComplexFloat) type = at::kComplexDouble;
  at::Tensor result = tensor.detach();
  if (placement_.perturbed && can_be_perturbed(result)) result = moved_by_one_rounding(result);
  return result.to(placement_.target.device, type, /*non_blocking=*/false, copy);
}

std::vector<c10::IValue> PlacedModule::place_arguments(const std::vector<c10::IValue>& arguments) const {
  Memo memo;
  std::vector<c10::IValue> result;
  result.reserve(arguments.size());
  for (const c10::IValue& argument : arguments) result.push_back(placed(argument, /*copy=*/true, memo));
  return result;
}

// The executor of the method's retargeted graph; null where the method itself runs there as it is.
torch::jit::GraphExecutor* PlacedModule::retargeted(const std::string& method) {
  const auto found = executors_.find(method);
  auto& executor = found != executors_.end() ? found->second : executors_[method];
  if (found == executors_.end()) {
    const auto graph = retarget(*module_.get_method(method).graph(), placement_.target);
    if (graph) executor.emplace(graph, method);
  }
  return executor ? &*executor : nullptr;
}

c10::IValue PlacedModule::call(const std::string& method, std::vector<c10::IValue> arguments) {
  const at::NoGradGuard no_grad;
  torch::jit::GraphExecutor* executor = retargeted(method);
  if (!executor) return module_.get_method(method)(std::move(arguments));
  torch::jit::Stack stack{module_._ivalue()};
  for (c10::IValue& argument : arguments) stack.push_back(std::move(argument));
  module_.get_method(method).function().getSchema().checkAndNormalizeInputs(stack, {});
  executor->run(stack);
  return stack.back();
}

c10::IValue PlacedModule::run(const std::string& method, const std::vector<c10::IValue>& arguments,
                              std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const torch::jit::GraphOptimizerEnabledGuard as_written(false);
  fill(/*parameters_too=*/false);
  at::manual_seed(placement_.perturbed ? seed + 1 : seed);
  auto placed_arguments = place_arguments(arguments);
  at::manual_seed(seed);
  return detached_copy(call(method, std::move(placed_arguments)));
}

}  // namespace flashconvert::verify
