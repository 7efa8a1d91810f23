// A module that shows its attention sites while it runs (verify/site_calls.h): what the comparison of sites runs.
#pragma once

#include <vector>

#include "checkpoint/checkpoint.h"
#include "convert/convert.h"
#include "convert/transform.h"
#include "verify/verify.h"

namespace flashconvert {

struct ShowingModule {
  checkpoint::Checkpoint checkpoint;
  std::vector<verify::ShownSite> sites;
};

// The checkpoint, loaded anew and folded, in which every site that the conversion fuses stands in both forms. The
// comparison is of core depth: the fused form beside the product, softmax and product that it replaces.
ShowingModule show_sites(const checkpoint::Source& source, const Selection& selection, const ConvertOptions& options);

}  // namespace flashconvert
