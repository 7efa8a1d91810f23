// Attention sites that differ in nothing but a number in their path: the layers of an encoder, on one line.
#pragma once

#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::report {

struct SiteGroup {
  std::string name;  // "encoder.layer.{0–23}.attention"
  const AttentionEntry* first = nullptr;
  int sites = 0;
};

// The fused sites, in the order of each group's first one. Sites are grouped where the console says the same of them.
std::vector<SiteGroup> group_fused_sites(const std::vector<AttentionEntry>& sites);

}  // namespace flashconvert::report
