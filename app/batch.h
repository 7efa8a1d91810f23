// Many conversions, each in a process of its own: a checkpoint that brings one down does not stop the rest.
#pragma once

#include "options.h"

namespace flashconvert::app {

// Converts every input into options.output_dir, options.jobs at a time; prints a table and writes one report for all.
// Returns the highest exit code. Throws Error for what is wrong before the work starts.
int convert_batch(const Options& options);

}  // namespace flashconvert::app
