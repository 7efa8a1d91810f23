// flashconvert inspect FILE and flashconvert diff A B.
#pragma once

#include "command.h"

namespace flashconvert::app {

Command inspect_command();
Command diff_command();

}  // namespace flashconvert::app
