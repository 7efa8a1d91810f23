// Building FusedAttention modules.
#include "rewrite/outline/fused_module.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "graph/module_tree.h"
#include "graph/script_functions.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Module;

// `ops.NAMESPACE.OPERATOR`, as in the code of saved archives.
struct OperatorNamespaces : torch::jit::SugaredValue {
  std::string kind() const override { return "operator namespaces"; }
  std::shared_ptr<SugaredValue> attr(const torch::jit::SourceRange& /*location*/, torch::jit::GraphFunction& /*caller*/,
                                     const std::string& field) override {
    return std::make_shared<torch::jit::BuiltinModule>(field);
  }
};

// Also knows the functions that the survey has put into the unit (graph/script_functions.h).
struct FusedResolver : torch::jit::NativeResolver {
  explicit FusedResolver(torch::jit::CompilationUnit& unit) : unit_(unit) {}

  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction& caller,
                                                         const torch::jit::SourceRange& location) override {
    if (name == "ops") return std::make_shared<OperatorNamespaces>();
    if (auto* function = find_script_function(unit_, name)) {
      return std::make_shared<torch::jit::FunctionValue>(function);
    }
    return NativeResolver::resolveValue(name, caller, location);
  }

private:
  torch::jit::CompilationUnit& unit_;
};

at::Tensor parameter_of(const Module& self, const ParameterRows& rows) {
  return module_below(self, rows.holder).attr(rows.name).toTensor();
}

// The rows that a projection has, [out, in].
at::Tensor weight_of(const Module& self, const Projection& projection) {
  const at::Tensor parameter = parameter_of(self, projection.weight);
  const at::Tensor out_in = projection.transposed ? parameter.t() : parameter;
  return projection.weight.whole ? out_in : out_in.narrow(0, projection.weight.first, projection.weight.count);
}

// Zeros where the projection has no bias and its neighbours do.
at::Tensor bias_of(const Module& self, const Projection& projection) {
  if (!projection.bias) {
    const at::Tensor weight = parameter_of(self, projection.weight);
    return at::zeros({projection.out_features}, weight.options().requires_grad(false));
  }
  const at::Tensor parameter = parameter_of(self, *projection.bias);
  return projection.bias->whole ? parameter : parameter.narrow(0, projection.bias->first, projection.bias->count);
}

bool takes_projection_as_it_is(const ParameterGroup& group) {
  std::int64_t expected = 0;
  for (const RowSelection& selection : group.selections) {
    if (selection.projection->output != group.selections[0].projection->output) return false;
    for (const std::int64_t row : selection.rows) {
      if (row != expected++) return false;
    }
  }
  return expected == group.selections[0].projection->out_features;
}

template <typename TensorOf>
at::Tensor packed(const ParameterGroup& group, const TensorOf& tensor_of) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  bool requires_grad = false;
  for (const RowSelection& selection : group.selections) {
    const at::Tensor whole = tensor_of(*selection.projection);
    const at::Tensor rows = at::tensor(selection.rows, at::kLong).to(whole.device());
    parts.push_back(whole.index_select(0, rows));
    requires_grad = requires_grad || whole.requires_grad();
    TORCH_CHECK(parts.front().scalar_type() == whole.scalar_type() && parts.front().device() == whole.device(),
                "the projections' parameters differ in dtype or device");
  }
  at::Tensor result = parts.size() == 1 ? parts[0].contiguous() : at::cat(parts);
  return result.set_requires_grad(requires_grad);
}

at::Tensor group_weight(const ParameterGroup& group, const Module& self) {
  const Projection& first = *group.selections[0].projection;
  if (takes_projection_as_it_is(group) && first.weight.whole && !first.transposed) {
    return parameter_of(self, first.weight);
  }
  return packed(group, [&](const Projection& projection) { return weight_of(self, projection); });
}

at::Tensor group_bias(const ParameterGroup& group, const Module& self) {
  const Projection& first = *group.selections[0].projection;
  if (takes_projection_as_it_is(group) && first.bias && first.bias->whole) return parameter_of(self, *first.bias);
  return packed(group, [&](const Projection& projection) { return bias_of(self, projection); });
}

void add_parameters(Module& module, const FusedSpec& spec, const Module& self) {
  for (const ParameterGroup& group : spec.groups) {
    module.register_parameter(group.name + "_weight", group_weight(group, self), /*is_buffer=*/false);
    if (group.has_bias) module.register_parameter(group.name + "_bias", group_bias(group, self), /*is_buffer=*/false);
  }
}

void add_attributes(Module& module, const FusedSpec& spec, const Module& self) {
  module.register_attribute("training", c10::BoolType::get(), self.is_training());
  for (const auto& [name, number] : spec.integers) module.register_attribute(name, c10::IntType::get(), number);
  module.register_attribute("scale", c10::FloatType::get(), spec.scale);
}

std::string form_of(const FusedSpec& spec) {
  std::string form = spec.source;
  for (const auto& [name, number] : spec.integers) form += name + ";";
  for (const ParameterGroup& group : spec.groups) form += group.name + (group.has_bias ? "+bias;" : ";");
  return form;
}

void add_name(std::vector<std::string>& names, const std::string& self_path, const ParameterRows& rows) {
  std::string path = self_path;
  for (const std::string& part : rows.holder) path = join_path(path, part);
  std::string name = join_path(path, rows.name);
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

}  // namespace

Module FusedModuleFactory::make(const FusedSpec& spec, const Module& self) {
  c10::ClassTypePtr& type = types_[form_of(spec)];
  const bool is_new = type == nullptr;
  Module module =
      is_new ? Module(c10::QualifiedName("__torch__.flashconvert.FusedAttention"), unit_, /*shouldMangle=*/true)
             : Module(unit_, type);
  add_parameters(module, spec, self);
  add_attributes(module, spec, self);
  if (is_new) {
    module.define(spec.source, std::make_shared<FusedResolver>(*unit_));
    type = module.type();
  }
  return module;
}

std::vector<report::Rename> renames_of(const FusedSpec& spec, const std::string& self_path,
                                       const std::string& fused_path) {
  std::vector<report::Rename> renames;
  for (const ParameterGroup& group : spec.groups) {
    report::Rename weight{{}, join_path(fused_path, group.name + "_weight")};
    report::Rename bias{{}, join_path(fused_path, group.name + "_bias")};
    for (const RowSelection& selection : group.selections) {
      add_name(weight.from, self_path, selection.projection->weight);
      if (selection.projection->bias) add_name(bias.from, self_path, *selection.projection->bias);
    }
    renames.push_back(std::move(weight));
    if (group.has_bias) renames.push_back(std::move(bias));
  }
  return renames;
}

}  // namespace flashconvert::rewrite
