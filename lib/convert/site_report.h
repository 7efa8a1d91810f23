// What the report says of attention sites.
#pragma once

#include <vector>

#include "report/report.h"
#include "survey/survey.h"

namespace flashconvert {

// One entry a site, in program order, of a survey that has been through the rewrite.
std::vector<report::AttentionEntry> attention_entries(const survey::Survey& survey);

}  // namespace flashconvert
