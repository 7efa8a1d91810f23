// --dump-graphs: the code of a checkpoint after each stage, a file a stage and method, to compare with diff.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

#include "survey/survey.h"

namespace flashconvert {

class GraphDump {
public:
  // Into this folder, which is made; empty: nowhere. Throws Error where it cannot be written.
  explicit GraphDump(std::string folder) : folder_(std::move(folder)) {}

  // STAGE/PATH.METHOD.txt for each method of each module instance below the root; "root" is the root's path.
  void module(const std::string& stage, const torch::jit::Module& root) const;

  // The same for the working copies of a survey, proposals included.
  void survey(const std::string& stage, const survey::Survey& survey) const;

private:
  void write(const std::string& stage, const std::string& path, const std::string& method,
             const torch::jit::Graph& graph) const;

  std::string folder_;
};

}  // namespace flashconvert
