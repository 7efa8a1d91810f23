// flashconvert completion SHELL: the script that teaches a shell this program's options.
#pragma once

#include "command.h"

namespace flashconvert::app {

Command completion_command();

}  // namespace flashconvert::app
