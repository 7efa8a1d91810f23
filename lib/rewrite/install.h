// Making working copies of methods the methods of their types.
#pragma once

#include <vector>

#include "survey/survey.h"

namespace flashconvert::rewrite {

// The surveys of one method of one type, one for each instance; all have the same graph.
using MethodOfType = std::vector<survey::MethodSurvey*>;

// The methods with a site to fuse, in the survey's order. Expects separated instances (separate_instances.h).
std::vector<MethodOfType> methods_to_install(survey::Survey& survey);

// The working copy becomes the method's implementation; where training mode makes it another function, what it was
// becomes its implementation there. Compiled code is stale afterwards (method_graph.h).
void install(const MethodOfType& method);

}  // namespace flashconvert::rewrite
