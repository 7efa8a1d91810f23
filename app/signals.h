// What SIGINT, SIGTERM and a terminating exception leave behind: no temporary file, and one line at most.
#pragma once

namespace flashconvert::app {

// SIGINT and SIGTERM remove the temporary files and end the process with 128 + the signal's number (a SIGINT that was
// ignored when the program started stays ignored); an exception that nothing catches ends it with 1. A closed pipe
// becomes an ordinary write error.
void clean_up_on_signals();

// For a batch: SIGINT, SIGTERM and SIGCHLD become things to wait for, instead of interrupting it anywhere.
void queue_signals();
int wait_for_signal();

// For a new process before exec: the signals as this one found them. Async-signal-safe.
void reset_signals();

}  // namespace flashconvert::app
