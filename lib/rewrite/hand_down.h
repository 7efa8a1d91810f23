// Causal masks that are built outside and handed down to attention, through any number of submodules. What a submodule
// may rely on is known of the calls inside the model alone; whoever calls it from outside may give it any mask. So the
// method that takes the mask keeps its meaning, and the calls that hand down such a mask go to a twin of it:
// `forward_causal` beside `forward`.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <string>

#include "survey/survey.h"

namespace flashconvert::rewrite {

// survey::survey_attention, after such calls were given twins to call. Twins whose attention is not better for it are
// taken back before this returns. The sites of a method that only its twin is called for are not reported twice.
survey::Survey survey_with_handed_masks(torch::jit::Module& root, survey::Backend backend,
                                        const std::function<bool(const std::string& path)>& selected);

}  // namespace flashconvert::rewrite
