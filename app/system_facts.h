// flashconvert --version --verbose: what a report of a fault needs to say about the machine.
#pragma once

#include <string>

namespace flashconvert::app {

// Lines "what  value", after those of --version. Starts nothing on a GPU: the driver is asked what there is.
std::string system_facts();

}  // namespace flashconvert::app
