// flashconvert merge-reports PATH... -o FILE: the reports of many runs as one.
#pragma once

#include "command.h"

namespace flashconvert::app {

Command merge_reports_command();

}  // namespace flashconvert::app
