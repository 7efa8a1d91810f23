// Arguments for a method, matched with its schema: by name, else by position, each of the type that it takes.
#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace flashconvert::verify {

struct GivenArgument {
  std::string name;  // "" for the next one by position
  c10::IValue value;
};

// "forward(Tensor ids, Tensor? mask=None)": what a user has to know to give inputs.
std::string signature_of(const torch::jit::Module& module, const std::string& method);

bool has_method(const torch::jit::Module& module, const std::string& name);

// The position of an argument by name (self is not counted); -1 when there is none.
int argument_index(const c10::FunctionSchema& schema, const std::string& name);

// The arguments in the order of the schema, defaults filled in where a later one is given. Lists and tuples become what
// the schema says. Throws Error(kUsage) that names the argument, what it takes and what was given; `where` starts the
// message ("--inputs inputs.pt, case 2").
std::vector<c10::IValue> bind_arguments(const torch::jit::Module& module, const std::string& method,
                                        const std::vector<GivenArgument>& given, const std::string& where);

}  // namespace flashconvert::verify
