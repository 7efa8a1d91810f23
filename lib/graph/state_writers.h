// The code of a model that writes attributes: a weight that reads one of them can be folded only when its own path is
// the one writer.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/attributes.h"

namespace flashconvert {

class ModuleIndex;

struct StateWriter {
  std::int64_t id = 0;
  std::set<Cell> cells;  // owners are types
  bool in_eval = true;   // it stands under no branch that is taken in training alone
  std::string method;    // the method that it stands in
};

// While it lives, each node that writes carries its id, which copies of the node keep: so a writer is known again after
// its method was copied and inlined.
class StateWriters {
public:
  explicit StateWriters(const ModuleIndex& index);
  ~StateWriters();
  StateWriters(const StateWriters&) = delete;
  StateWriters& operator=(const StateWriters&) = delete;

  const std::vector<StateWriter>& all() const { return writers_; }
  std::set<Cell> cells() const;
  static std::optional<std::int64_t> id_of(const torch::jit::Node* node);

private:
  std::vector<StateWriter> writers_;
  std::vector<torch::jit::Node*> nodes_;
};

}  // namespace flashconvert
