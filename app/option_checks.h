// What the options mean together.
#pragma once

#include <string>
#include <vector>

#include "options.h"

namespace flashconvert::app {

// Sorts the positional arguments into inputs and output.
void assign_files(Options& options, const std::vector<std::string>& files);

// Refuses options that contradict each other or have no effect. Throws Error(kUsage), one clear line.
void check_together(const Options& options);

}  // namespace flashconvert::app
