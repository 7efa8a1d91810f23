// One conversion: from the options to an exit code.
#pragma once

#include <string>

#include "checkpoint/checkpoint.h"
#include "options.h"

namespace flashconvert::app {

// What torch and a model say goes where this program's own lines go: standard output carries a checkpoint alone.
void tame_torch();

// "-" is standard input.
checkpoint::Source open_input(const std::string& path);

// Converts options.inputs[0], prints what was done and writes the report. Returns the exit code; throws only what
// happens before the work starts (Error).
int convert_one(const Options& options);

}  // namespace flashconvert::app
