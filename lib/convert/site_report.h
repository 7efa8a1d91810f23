// What the report says of attention sites and of linear layers.
#pragma once

#include <vector>

#include "report/report.h"
#include "rewrite/linear.h"
#include "survey/survey.h"

namespace flashconvert {

// One entry a site, in program order, of a survey that has been through the rewrite.
std::vector<report::AttentionEntry> attention_entries(const survey::Survey& survey);

std::vector<report::LinearEntry> linear_entries(const std::vector<rewrite::LinearLayer>& layers);

}  // namespace flashconvert
