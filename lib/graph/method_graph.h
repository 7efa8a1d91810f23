// Replacing the graph of a method. LibTorch has no setter for it, and a function keeps the code that it has compiled,
// with the methods that it calls inlined and attributes as slot numbers: after a change of a type, everything compiled
// before it is stale. So a method is replaced by a new function of the same name, schema and place in its type.
//
// Both calls destroy the old function: handles (torch::jit::Method) taken before them must not be used afterwards.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <string>

namespace flashconvert {

// The graph that stands behind a method, shared with it.
std::shared_ptr<torch::jit::Graph> method_graph(const c10::ClassTypePtr& type, const std::string& method);

// Makes `graph` the implementation of `method`. Its inputs must be those of the method's schema, `self` first, and its
// one output the schema's. Every instance of the type is changed.
void replace_method_graph(const c10::ClassTypePtr& type, const std::string& method,
                          std::shared_ptr<torch::jit::Graph> graph);

// Drops what the methods of every type below `root` have compiled. To be called after any change of types or graphs.
void drop_compiled_code(const torch::jit::Module& root);

}  // namespace flashconvert
