// Evaluating a weight by running its path on a copy of what it reads.
#include "fold/evaluate.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <cmath>
#include <limits>
#include <memory>
#include <unordered_map>

#include "common/last_line.h"
#include "graph/traversal.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using ObjectPtr = c10::intrusive_ptr<c10::ivalue::Object>;

enum class Arithmetic { kOwn, kDouble };

at::Tensor convert(const at::Tensor& tensor, Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kDouble && tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor;
}

// Copies the module objects that a path touches; what it reads of them becomes private and of the wanted precision, the
// rest stays shared with the model.
class SparseCopy {
public:
  SparseCopy(const WeightPath& path, Arithmetic arithmetic) : path_(path), arithmetic_(arithmetic) {}

  ObjectPtr copy(const ObjectPtr& object) {
    const auto known = objects_.find(object.get());
    if (known != objects_.end()) return known->second;
    auto fresh = c10::ivalue::Object::create(c10::StrongTypePtr(object->compilation_unit(), object->type()),
                                             object->slots().size());
    objects_[object.get()] = fresh;
    for (size_t slot = 0; slot < object->slots().size(); ++slot) {
      fresh->setSlot(slot, attribute({object.get(), object->type()->getAttributeName(slot)}, object->getSlot(slot)));
    }
    return fresh;
  }

private:
  c10::IValue attribute(const Cell& cell, const c10::IValue& value) {
    if (value.isObject()) return path_.objects.count(value.toObject().get()) != 0 ? copy(value.toObject()) : value;
    if (path_.reads.count(cell) == 0 && path_.writes.count(cell) == 0) return value;
    if (!value.isTensor()) return value.deepcopy();
    const at::Tensor& tensor = value.toTensor();
    if (!tensor.defined()) return value;
    const auto known = tensors_.find(tensor.unsafeGetTensorImpl());
    if (known != tensors_.end()) return known->second;
    at::Tensor converted = convert(tensor.detach(), arithmetic_);
    // A path that writes may write into any of these; one that does not can read the model's own.
    if (!path_.writes.empty() && converted.is_alias_of(tensor)) converted = converted.clone();
    tensors_[tensor.unsafeGetTensorImpl()] = converted;
    return converted;
  }

  const WeightPath& path_;
  Arithmetic arithmetic_;
  std::unordered_map<const void*, ObjectPtr> objects_;
  std::unordered_map<const void*, at::Tensor> tensors_;
};

std::shared_ptr<Graph> with_constants_in(Graph& original, Arithmetic arithmetic) {
  auto graph = original.copy();
  std::vector<Value*> constants;
  for_each_node(graph->block(), [&](Node* node) {
    if (node->kind() == c10::prim::Constant && node->output()->type()->kind() == c10::TypeKind::TensorType) {
      constants.push_back(node->output());
    }
  });
  for (Value* constant : constants) {
    const auto value = torch::jit::toIValue(constant);
    // The interpreter hands out the constant itself: a path that writes into it needs a fresh one each time.
    if (!value || !value->isTensor()) continue;
    torch::jit::WithInsertPoint before(constant->node());
    constant->replaceAllUsesWith(graph->insertConstant(convert(value->toTensor(), arithmetic).clone()));
  }
  return graph;
}

// One copy of the modules and the code to run on it, as often as asked: state carries over from one call to the next.
class Runner {
public:
  Runner(const WeightPath& path, Arithmetic arithmetic)
      : code_(with_constants_in(*path.graph, arithmetic), "weight"),
        self_(SparseCopy(path, arithmetic).copy(path.self._ivalue())) {}

  at::Tensor call() {
    const at::NoGradGuard no_grad;
    torch::jit::Stack stack{self_};
    torch::jit::InterpreterState(code_).run(stack);
    TORCH_CHECK(stack.size() == 1 && stack[0].isTensor(), "the weight is not a tensor");
    const at::Tensor weight = std::move(stack[0]).toTensor();
    TORCH_CHECK(weight.defined() && weight.is_floating_point(), "the weight is not a floating point tensor");
    // A weight that shares its memory with what the path keeps would change under us in the next call.
    return weight.storage().use_count() > 1 ? weight.detach().clone() : weight.detach();
  }

private:
  torch::jit::Code code_;
  ObjectPtr self_;
};

struct Attempt {
  at::Tensor weight;
  std::string error;
  std::unique_ptr<Runner> runner;
};

Attempt attempt(const WeightPath& path, Arithmetic arithmetic) {
  Attempt result;
  try {
    result.runner = std::make_unique<Runner>(path, arithmetic);
    result.weight = result.runner->call();
  } catch (const c10::Error& error) {
    result.error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    result.error = last_line(error.what());
  }
  return result;
}

double rounding_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return 9.8e-4;
    case at::kBFloat16:
      return 7.8e-3;
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    default:
      return std::numeric_limits<double>::epsilon();
  }
}

at::ScalarType parameter_dtype(const WeightPath& path) {
  for (const Cell& cell : path.reads) {
    const auto* object = static_cast<const c10::ivalue::Object*>(cell.owner);
    const c10::IValue value = object->getAttr(cell.name);
    if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_floating_point() &&
        value.toTensor().dim() >= 2) {
      return value.toTensor().scalar_type();
    }
  }
  return at::kFloat;
}

// Rounding grows through the path: half of the digits must agree, or the two did not compute the same thing.
bool agree(const at::Tensor& exact, const at::Tensor& own) {
  if (!exact.sizes().equals(own.sizes())) return false;
  if (own.numel() == 0) return true;
  const double largest = own.abs().max().item<double>();
  const double difference = (exact.to(own.scalar_type()) - own).abs().max().item<double>();
  return difference <= std::sqrt(rounding_of(own.scalar_type())) * largest;
}

}  // namespace

double relative_change(const at::Tensor& a, const at::Tensor& b) {
  const auto size_of = [](const at::Tensor& tensor) {
    return at::linalg_vector_norm(tensor, 2, std::nullopt, false, at::kDouble).item<double>();
  };
  const at::ScalarType dtype = at::isReducedFloatingType(b.scalar_type()) ? at::kFloat : b.scalar_type();
  const double size = size_of(b.detach());
  const double change = size_of(a.detach().to(dtype) - b.detach().to(dtype));
  return size == 0 ? (change == 0 ? 0 : std::numeric_limits<double>::infinity()) : change / size;
}

Evaluation evaluate(const WeightPath& path) {
  const Attempt exact = attempt(path, Arithmetic::kDouble);
  const Attempt own = attempt(path, Arithmetic::kOwn);
  Evaluation result;
  if (!exact.runner && !own.runner) return result;
  if (!exact.weight.defined() && !own.weight.defined()) {
    result.failure = "cannot be evaluated: " + last_line(own.error);
    return result;
  }
  const at::ScalarType dtype = own.weight.defined() ? own.weight.scalar_type() : parameter_dtype(path);
  const bool use_exact = exact.weight.defined() && (!own.weight.defined() || agree(exact.weight, own.weight));
  result.weight = use_exact ? exact.weight.to(dtype) : own.weight;
  if (!result.weight.is_non_overlapping_and_dense()) result.weight = result.weight.contiguous();
  if (!use_exact) result.note = std::string("evaluated in ") + c10::toString(dtype);
  if (!path.writes.empty()) {
    const Attempt& chosen = use_exact ? exact : own;
    result.drift = relative_change(chosen.runner->call(), chosen.weight);
  }
  return result;
}

}  // namespace flashconvert::fold
