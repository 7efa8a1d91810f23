// Making working copies of methods the methods of their types.
#include "rewrite/install.h"

#include <map>
#include <string>
#include <utility>

#include "graph/method_graph.h"
#include "rewrite/separate_instances.h"

namespace flashconvert::rewrite {

std::vector<MethodOfType> methods_to_install(survey::Survey& survey) {
  std::vector<MethodOfType> methods;
  std::map<std::pair<const c10::ClassType*, std::string>, std::size_t> index;
  for (survey::MethodSurvey& method : survey.methods) {
    if (!has_fused_site(method)) continue;
    const auto [place, is_new] = index.try_emplace({method.module.type().get(), method.method}, methods.size());
    if (is_new) methods.emplace_back();
    methods[place->second].push_back(&method);
  }
  return methods;
}

void install(const MethodOfType& method) {
  const survey::MethodSurvey& first = *method.front();
  replace_method_graph(first.module.type(), first.method, first.graph);
}

}  // namespace flashconvert::rewrite
