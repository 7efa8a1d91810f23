// A module put on a device (and perhaps into another floating dtype) for as long as the object lives. The module's own
// tensors are never written: every attribute is swapped for a copy and put back at the end, so the module is afterwards
// what it was, bit for bit, shared (aliased) parameters and training flags included.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "verify/retarget.h"

namespace flashconvert::verify {

struct Placement {
  Target target;
  // Multiplies every floating weight and argument by 1 + u * eps, u uniform in [-1, 1]: one rounding. Used to estimate
  // a model's rounding error where nothing more precise can be evaluated.
  bool perturbed = false;
};

class PlacedModule {
public:
  // The module is in eval mode while it is placed, and no gradients are recorded.
  PlacedModule(const torch::jit::Module& module, const Placement& placement);
  ~PlacedModule();
  PlacedModule(const PlacedModule&) = delete;
  PlacedModule& operator=(const PlacedModule&) = delete;

  // One call, from the module's saved state (buffers that a call writes are as saved again before the next) and from
  // random seed `seed`, without the graph executor's optimisations. `arguments` are moved and converted as the module
  // was; the result is on the CPU and shares nothing with the module. Throws what torch throws.
  c10::IValue run(const std::string& method, const std::vector<c10::IValue>& arguments, std::uint64_t seed = 0);

  // For timing: arguments moved once, then bare calls with torch's own optimisations, the result where it is.
  std::vector<c10::IValue> place_arguments(const std::vector<c10::IValue>& arguments) const;
  c10::IValue call(const std::string& method, std::vector<c10::IValue> placed_arguments);

private:
  struct Slot {
    c10::intrusive_ptr<c10::ivalue::Object> object;
    std::size_t index;
    c10::IValue saved;
    bool is_parameter;
  };
  using Memo = std::unordered_map<const c10::TensorImpl*, at::Tensor>;

  void collect(const c10::intrusive_ptr<c10::ivalue::Object>& object);
  void fill(bool parameters_too);
  c10::IValue placed(const c10::IValue& value, bool copy, Memo& memo) const;
  at::Tensor placed_tensor(const at::Tensor& tensor, bool copy) const;
  torch::jit::GraphExecutor* retargeted(const std::string& method);

  torch::jit::Module module_;
  Placement placement_;
  std::vector<Slot> slots_;
  Memo parameters_;
  std::map<std::string, std::optional<torch::jit::GraphExecutor>> executors_;
};

}  // namespace flashconvert::verify
