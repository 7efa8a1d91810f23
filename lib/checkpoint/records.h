// The records of an archive beside the module itself: extra files, the example inputs of a trace, and whatever else a
// plain load and save would lose.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/bytes.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/zip.h"

namespace flashconvert::checkpoint {

std::vector<std::string> extra_file_names(const ZipDirectory& directory);

// Fills in `traced_inputs`, `verbatim_records` and `warnings`.
void read_other_records(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                        Checkpoint& checkpoint);

}  // namespace flashconvert::checkpoint
