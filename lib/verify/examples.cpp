// Collects example arguments.
#include "verify/examples.h"

#include <torch/csrc/jit/api/module.h>

#include <algorithm>

#include "common/error.h"
#include "verify/binding.h"
#include "verify/input_file.h"
#include "verify/input_spec.h"
#include "verify/messages.h"
#include "verify/uses.h"

namespace flashconvert::verify {

using torch::jit::Module;

namespace {

constexpr std::size_t kMostBundled = 5;

std::vector<Example> from_file(const Module& module, const std::string& path) {
  std::vector<Example> examples;
  for (const FileCase& entry : read_input_file(path, module)) {
    examples.push_back(
        {entry.method, bind_arguments(module, entry.method, entry.arguments, entry.where), entry.where, true});
  }
  return examples;
}

Example from_specs(const Module& module, const std::vector<std::string>& texts) {
  if (!has_method(module, "forward")) {
    throw Error(ErrorKind::kUsage,
                "--input-spec describes the arguments of forward, and the checkpoint has no such method",
                "Give inputs for its methods with --inputs: torch.save({\"encode\": (ids,)}, \"inputs.pt\").");
  }
  const auto& schema = module.get_method("forward").function().getSchema();
  std::vector<GivenArgument> given;
  for (const std::string& text : texts) {
    const InputSpec spec = parse_input_spec(text, given.size());
    if (!spec.name.empty() && argument_index(schema, spec.name) < 0) {
      throw_spec_error(text, text.find(spec.name),
                       "there is no argument named '" + spec.name + "' in " + signature_of(module, "forward"));
    }
    given.push_back({spec.name, spec.value});
  }
  return {"forward", bind_arguments(module, "forward", given, "--input-spec"), "--input-spec", true};
}

// The methods that torch.utils.bundled_inputs adds, by the method that they are for.
std::map<std::string, std::string> bundled_methods(Module& module) {
  std::map<std::string, std::string> methods;
  if (has_method(module, "get_bundled_inputs_functions_and_info")) {
    const c10::IValue functions = module.get_method("get_bundled_inputs_functions_and_info")({});
    for (const auto& entry : functions.toGenericDict()) {
      const auto names = entry.value().toGenericDict().at("get_inputs_function_name").toList();
      if (!names.empty()) methods[entry.key().toStringRef()] = c10::IValue(names.get(0)).toStringRef();
    }
  } else if (has_method(module, "get_all_bundled_inputs")) {
    methods["forward"] = "get_all_bundled_inputs";
  }
  return methods;
}

std::vector<Example> bundled(Module module) {
  std::vector<Example> examples;
  for (const auto& [method, getter] : bundled_methods(module)) {
    const c10::IValue inputs = module.get_method(getter)({});
    std::size_t count = 0;
    for (const c10::IValue& input : inputs.toListRef()) {
      if (count++ == kMostBundled) break;
      examples.push_back({method, input.toTupleRef().elements().vec(), "bundled input " + std::to_string(count)});
    }
  }
  return examples;
}

std::vector<Example> traced(const checkpoint::Checkpoint& checkpoint) {
  std::vector<Example> examples;
  for (const auto& [method, arguments] : checkpoint.traced_inputs) {
    if (has_method(checkpoint.module, method)) examples.push_back({method, arguments, "traced shape", false, true});
  }
  return examples;
}

bool takes_arguments(const Module& module, const std::string& method) {
  const auto& arguments = module.get_method(method).function().getSchema().arguments();
  return std::any_of(arguments.begin() + 1, arguments.end(),
                     [](const c10::Argument& entry) { return !entry.default_value(); });
}

bool covered(const std::vector<Example>& examples, const std::string& method) {
  return std::any_of(examples.begin(), examples.end(),
                     [&](const Example& example) { return example.method == method; });
}

void add_uncovered(std::vector<Example>& examples, std::vector<Example> more) {
  std::vector<Example> added;
  for (Example& example : more) {
    if (!covered(examples, example.method)) added.push_back(std::move(example));
  }
  std::move(added.begin(), added.end(), std::back_inserter(examples));
}

// --input-spec options to start from, by what the graph does with each argument.
std::string suggested_specs(const Module& module) {
  const auto uses = input_uses(module, "forward");
  const auto& arguments = module.get_method("forward").function().getSchema().arguments();
  std::string text;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const c10::Argument& argument = arguments[i + 1];
    if (argument.default_value() || argument.type()->kind() != c10::TypeKind::TensorType) continue;
    std::string spec = "float32[…]";
    const bool selects = uses[i].use == Use::kIndex || uses[i].use == Use::kPosition;
    if (selects) spec = uses[i].rows ? "int64[…]{0.." + std::to_string(*uses[i].rows - 1) + "}" : "int64[…]";
    if (uses[i].use == Use::kKeepMask || uses[i].use == Use::kDropMask) spec = "bool[…]";
    text += " --input-spec \"" + argument.name() + ":" + spec + "\"";
  }
  return text;
}

[[noreturn]] void throw_nothing_to_draw_from(const Module& module) {
  std::string advice = "Give a file with --inputs (torch.save((…,), \"inputs.pt\") in Python)";
  if (has_method(module, "forward")) {
    const std::string specs = suggested_specs(module);
    advice += ", or the arguments' shapes with --input-spec.\n  The method is " + signature_of(module, "forward") +
              (specs.empty() ? "." : ": try" + specs + " with the sizes filled in.");
  } else {
    advice += ": the cases of each method, as a dict.";
  }
  throw Error(ErrorKind::kUsage,
              "there are no inputs to run the model on: the checkpoint carries neither bundled inputs nor the "
              "example inputs of a trace",
              advice);
}

}  // namespace

std::vector<Example> collect_examples(const checkpoint::Checkpoint& checkpoint, const InputOptions& options) {
  const Module& module = checkpoint.module;
  std::vector<Example> examples;
  if (options.inputs_file) {
    examples = from_file(module, *options.inputs_file);
    if (!options.specs.empty()) {
      throw Error(ErrorKind::kUsage, "--inputs and --input-spec exclude each other", "Give one of them.");
    }
  } else if (!options.specs.empty()) {
    examples.push_back(from_specs(module, options.specs));
  }
  add_uncovered(examples, bundled(module));
  add_uncovered(examples, traced(checkpoint));
  if (!covered(examples, "forward") && has_method(module, "forward") && !takes_arguments(module, "forward")) {
    examples.push_back({"forward", {}, "defaults"});
  }
  if (examples.empty()) throw_nothing_to_draw_from(module);
  return examples;
}

}  // namespace flashconvert::verify
