// flashconvert manual: the manual page, in the form that man(1) reads.
#pragma once

#include "command.h"

namespace flashconvert::app {

Command manual_command();

}  // namespace flashconvert::app
