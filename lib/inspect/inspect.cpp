#include "inspect/inspect.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/serialization/python_print.h>

#include <regex>
#include <sstream>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "common/module_path.h"
#include "convert/convert.h"
#include "convert/operator_counts.h"
#include "graph/function_with_graph.h"
#include "graph/graph_facts.h"
#include "graph/traversal.h"
#include "report/format.h"
#include "verify/dtypes.h"

namespace flashconvert::inspect {
namespace {

using torch::jit::Module;

// Types of traced modules have numbers that tell instances apart and mean nothing to people.
std::string without_mangling(const std::string& text) {
  static const std::regex kMangled(R"(\.?___torch_mangle_\d+)");
  static const std::regex kPrefix(R"(__torch__\.)");
  return std::regex_replace(std::regex_replace(text, kMangled, ""), kPrefix, "");
}

std::uint64_t content_hash(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  return std::hash<std::string_view>()({static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
}

std::string value_text(const c10::IValue& value) {
  if (value.isTensor())
    return verify::dtype_name(value.toTensor().scalar_type()) + report::shape_text(value.toTensor().sizes().vec());
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string code_of(const torch::jit::Function& function) {
  std::vector<c10::IValue> constants;
  torch::jit::PrintDepsTable types;
  torch::jit::PythonPrint printer(constants, types);
  printer.printMethod(function);
  return without_mangling(printer.str());
}

void count_devices(const torch::jit::Block* block, std::map<std::string, std::int64_t>& devices) {
  for_each_node(block, [&](const torch::jit::Node* node) {
    if (node->kind() != c10::prim::Constant) return;
    const auto value = torch::jit::toIValue(node->output());
    if (value && value->isDevice()) ++devices[value->toDevice().str()];
  });
}

class Tree {
public:
  Tree(const checkpoint::Checkpoint& checkpoint, Inspection& inspection)
      : checkpoint_(checkpoint), inspection_(inspection) {
    add(checkpoint.module, "");
  }

private:
  // Returns the storages below, so that one that several modules hold counts once in whatever is around them.
  std::map<const void*, std::int64_t> add(const Module& module, const std::string& path) {
    const std::size_t place = inspection_.modules.size();
    inspection_.modules.push_back(own_facts(module, path));
    std::map<const void*, std::int64_t> storages;
    for (const auto& tensor : module.parameters(/*recurse=*/false)) note(tensor, storages);
    for (const auto& tensor : module.buffers(/*recurse=*/false)) note(tensor, storages);
    for (const auto& child : module.named_children()) {
      storages.merge(add(child.value, join_path(path, child.name)));
    }
    for (const auto& storage : storages) inspection_.modules[place].bytes += storage.second;
    return storages;
  }

  static void note(const at::Tensor& tensor, std::map<const void*, std::int64_t>& storages) {
    if (tensor.defined())
      storages[tensor.storage().unsafeGetStorageImpl()] = static_cast<std::int64_t>(tensor.storage().nbytes());
  }

  ModuleFacts own_facts(const Module& module, const std::string& path) {
    ModuleFacts facts;
    facts.path = path;
    facts.type = class_name(module.type());
    for (const auto& entry : module.named_parameters(false)) add_tensor(facts, entry.name, entry.value, true);
    for (const auto& entry : module.named_buffers(false)) add_tensor(facts, entry.name, entry.value, false);
    for (const auto& method : module.get_methods()) {
      auto* function = function_with_graph(&method.function());
      if (function == nullptr) continue;
      facts.methods.emplace_back(method.name(), code_of(*function));
      count_devices(function->graph()->block(), inspection_.devices_in_code);
    }
    return facts;
  }

  void add_tensor(ModuleFacts& facts, const std::string& name, const at::Tensor& tensor, bool is_parameter) {
    if (!tensor.defined()) return;
    const std::string path = join_path(facts.path, name);
    facts.tensors.push_back({name, verify::dtype_name(tensor.scalar_type()), tensor.sizes().vec(),
                             checkpoint_.devices.of(tensor, path).str(), static_cast<std::int64_t>(tensor.nbytes()),
                             is_parameter, content_hash(tensor)});
  }

  const checkpoint::Checkpoint& checkpoint_;
  Inspection& inspection_;
};

std::vector<MethodFacts> methods_of(const checkpoint::Checkpoint& checkpoint) {
  std::vector<MethodFacts> methods;
  for (const auto& method : checkpoint.module.get_methods()) {
    const auto& schema = method.function().getSchema();
    std::ostringstream text;
    text << schema;
    std::string shown = without_mangling(text.str());
    shown.erase(0, shown.find('('));
    MethodFacts facts{method.name(), std::move(shown), {}};
    const auto traced = checkpoint.traced_inputs.find(method.name());
    if (traced != checkpoint.traced_inputs.end()) {
      for (std::size_t i = 0; i < traced->second.size(); ++i) {
        const bool is_named = i + 1 < schema.arguments().size();
        facts.inputs.push_back((is_named ? schema.arguments()[i + 1].name() + ": " : "") +
                               value_text(traced->second[i]));
      }
    }
    methods.push_back(std::move(facts));
  }
  return methods;
}

}  // namespace

Inspection contents(const checkpoint::Source& source) {
  Inspection inspection;
  const checkpoint::Checkpoint checkpoint = source.load();
  inspection.plan.input = checkpoint.file;
  inspection.plan.operators_before = count_operators(checkpoint.module);
  inspection.methods = methods_of(checkpoint);
  Tree(checkpoint, inspection);
  return inspection;
}

Inspection inspect(const checkpoint::Source& source) {
  Inspection inspection = contents(source);
  ConvertOptions plan;
  plan.dry_run = true;
  inspection.plan = convert(source, nullptr, plan, [](const std::string&, double) {}).report;
  return inspection;
}

}  // namespace flashconvert::inspect
