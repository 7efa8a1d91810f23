// --verify: is the converted model the original, and if not, what is behind it?
#pragma once

#include "checkpoint/checkpoint.h"
#include "convert/convert.h"
#include "convert/transform.h"
#include "report/report.h"

namespace flashconvert {

// Compares all outputs, and every site on its own, and fills in `report` (--bench included). What fails is named; with
// --revert-failing, `converted` and `done` are made again without it. Returns whether parity holds in the end.
bool verify_conversion(const checkpoint::Source& source, checkpoint::Checkpoint& converted, Transformed& done,
                       ConvertOptions options, const Progress& progress, report::Report& report);

// Makes what was done the report's.
void record(Transformed& done, report::Report& report);

}  // namespace flashconvert
