// One conversion: from the options to an exit code.
#pragma once

#include "options.h"

namespace flashconvert::app {

// What torch and a model say goes where this program's own lines go: standard output carries a checkpoint alone.
void tame_torch();

// Converts options.inputs[0], prints what was done and writes the report. Returns the exit code; throws only what
// happens before the work starts (Error).
int convert_one(const Options& options);

}  // namespace flashconvert::app
