// Scripted instances of one type share its methods. Where the survey found different things in them (--only, another
// constant in a buffer), they cannot share the rewritten method either.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include "survey/survey.h"

namespace flashconvert::rewrite {

// Expects accepted working copies. Where the instances of a type would get different graphs, all but the largest group
// that agrees get types of their own (module_types.h). Afterwards each rewritten method of a type has one graph,
// whichever of its surveys one takes; the surveys' modules and the types in their graphs are brought up to date.
void separate_instances_that_differ(torch::jit::Module& root, survey::Survey& survey);

// Whether the survey of a method has a site to fuse.
bool has_fused_site(const survey::MethodSurvey& method);

}  // namespace flashconvert::rewrite
