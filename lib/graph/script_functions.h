// Functions in TorchScript that replacements call: what depends on arguments which may be None, or on their dtype,
// needs branches, and reads better as one line in the method. They are saved with the checkpoint, under
// `__torch__.flashconvert`, and hold aten operators alone.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <vector>

namespace flashconvert {

struct ScriptFunction {
  const char* name;
  const char* source;  // "def name(...): ..."
};

// Inserts a call at the graph's insertion point. The function is defined in `unit`, the graph's own compilation unit,
// if it is not there yet; one that nothing calls is not saved.
torch::jit::Value* call_function(torch::jit::Graph& graph, torch::jit::CompilationUnit& unit,
                                 const ScriptFunction& function, const std::vector<torch::jit::NamedValue>& arguments);

// Is the node a call of this function?
bool is_call_of(const torch::jit::Node* node, const ScriptFunction& function);

// The function of this name that calls in the unit's graphs have defined; null: none.
torch::jit::Function* find_script_function(torch::jit::CompilationUnit& unit, const std::string& name);

// Calls count as side effects for dead-code elimination: removes those of these functions whose result is not used.
void remove_unused_calls(torch::jit::Block* block);

}  // namespace flashconvert
