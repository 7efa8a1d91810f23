// The state_dict keys of a model: paths of parameters and buffers, shared ones under every path.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/attributes.h"

namespace flashconvert::fold {

class StateKeys {
public:
  explicit StateKeys(const torch::jit::Module& root);

  bool has(const std::string& key) const { return keys_.count(key) != 0; }
  // The first key of each cell (owners are objects) that is a parameter or buffer, in the order of the keys.
  std::vector<std::string> of(const std::set<Cell>& cells) const;

  // Notes from which cell the layer at `path` took its bias, and gives its key back.
  void remember_bias(const std::string& path, const Cell& cell) { biases_[path] = cell; }
  std::string bias_of(const std::string& path) const;

private:
  void visit(const torch::jit::Module& module, const std::string& path);

  std::set<std::string> keys_;
  std::vector<std::pair<std::string, Cell>> ordered_;
  std::map<std::string, Cell> biases_;
};

}  // namespace flashconvert::fold
