// Console output. All of it goes to standard error, whole lines at a time; standard output is left to the checkpoint.
// spdlog stands behind it, but is not included here: LibTorch brings an fmt of its own, which a distribution's spdlog
// does not compile with, so that only files without torch headers can include spdlog.
#pragma once

#include <cstddef>
#include <string>

namespace flashconvert {

enum class Verbosity { kQuiet, kNormal, kVerbose };  // errors alone; one line per site; everything

void start_log(Verbosity verbosity);

// Information and details (shown with --verbose) come as they are, warnings and errors with their level before them.
void log_detail(const std::string& line);
void log_info(const std::string& line);
void log_warning(const std::string& line);
void log_error(const std::string& line);

// Colours are used on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE asks for them anywhere.
bool log_has_color();

// The columns of the terminal that standard error is; 0 where it is none, or of unknown width.
std::size_t log_width();
std::size_t output_width();  // of standard output

// One line with the stage and the share of it that is done, redrawn in place every second with the time that the stage
// has taken, and erased before a log line. Where standard error is no terminal, a log line every 30 s instead. Nothing
// when the log is quiet.
void show_progress(const std::string& stage, double share);
void clear_progress();

}  // namespace flashconvert
