// What SIGINT, SIGTERM and a terminating exception leave behind: no temporary file, and one line at most.
#pragma once

namespace flashconvert::app {

// SIGINT and SIGTERM remove the temporary files and end the process with 128 + the signal's number; an exception that
// nothing catches ends it with 1. A closed pipe becomes an ordinary write error.
void clean_up_on_signals();

// For a batch, which has processes to end first: from now on the signals are only noted.
void note_signals();
int noted_signal();  // 0 when none came

}  // namespace flashconvert::app
