// Types of module instances. Scripted siblings share one type, so that editing a method or an attribute of one edits
// all; this gives an instance a type of its own.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

namespace flashconvert {

// Makes the type of the module instance at `path` belong to that instance alone, so that editing it touches no other
// instance, and returns the instance. Where other instances have the type too, it is cloned (attributes, constants,
// methods, hooks and properties), the instance becomes a new object of the clone with the same attribute values, and
// every module that holds it, by any name, is repointed; these parents get types of their own first, up to the root,
// because the type of one of their attributes changes. Submodules below the instance stay as they are, shared or not.
// A type that only one instance has is left alone, and so is the root.
//
// Handles (torch::jit::Module) to a repointed instance which were taken before show the old object: look them up again.
// Compiled code is stale afterwards (method_graph.h, drop_compiled_code).
torch::jit::Module specialise_type(torch::jit::Module& root, const std::string& path);

}  // namespace flashconvert
