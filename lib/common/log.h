// Console output. All of it goes to standard error, whole lines at a time, through spdlog's default logger: any stage
// may call spdlog::info and its like. Standard output is left to the checkpoint.
#pragma once

#include <string>

namespace flashconvert {

enum class Verbosity { kQuiet, kNormal, kVerbose };  // errors alone; one line per site; everything

// Makes spdlog's default logger write to standard error at this verbosity. Information comes as it is, warnings and
// errors with their level before them.
void start_log(Verbosity verbosity);

// Colours are used on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE asks for them anywhere.
bool log_has_color();

// One line with the stage and the share of it that is done, redrawn in place and erased before a log line. Nothing is
// shown unless standard error is a terminal, or when the log is quiet.
void show_progress(const std::string& stage, double share);
void clear_progress();

}  // namespace flashconvert
