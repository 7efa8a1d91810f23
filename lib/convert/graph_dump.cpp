// The code of a checkpoint after each stage (graph_dump.h).
#include "convert/graph_dump.h"

#include <filesystem>
#include <fstream>

#include "common/error.h"
#include "graph/function_with_graph.h"
#include "graph/module_tree.h"

namespace flashconvert {

void GraphDump::module(const std::string& stage, const torch::jit::Module& root) const {
  if (folder_.empty()) return;
  for (const Instance& instance : module_instances(root)) {
    for (torch::jit::Function* method : instance.module.type()->methods()) {
      auto* function = function_with_graph(method);
      if (function != nullptr) write(stage, instance.path, function->name(), *function->graph());
    }
  }
}

void GraphDump::survey(const std::string& stage, const survey::Survey& survey) const {
  if (folder_.empty()) return;
  for (const survey::MethodSurvey& method : survey.methods) write(stage, method.path, method.method, *method.graph);
}

void GraphDump::write(const std::string& stage, const std::string& path, const std::string& method,
                      const torch::jit::Graph& graph) const {
  const std::filesystem::path folder = std::filesystem::path(folder_) / stage;
  const std::filesystem::path file = folder / ((path.empty() ? "root" : path) + "." + method + ".txt");
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  std::ofstream stream(file);
  stream << graph.toString(/*print_source_locations=*/false);
  if (!stream.flush()) throw Error(ErrorKind::kOutput, "'" + file.string() + "' cannot be written");
}

}  // namespace flashconvert
