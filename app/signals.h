// What SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU and a terminating exception leave behind: no temporary file, and one
// line at most.
#pragma once

#include <chrono>

namespace flashconvert::app {

// The signals remove the temporary files and end the process with 128 + the signal's number (one that was ignored when
// the program started stays ignored); an exception that nothing catches ends it with 1. A closed pipe
// becomes an ordinary write error.
void clean_up_on_signals();

// For who waits for processes: the signals and SIGCHLD become things to wait for, instead of interrupting it anywhere.
void queue_signals();
int wait_for_signal();
// 0 when none comes in that time.
int wait_for_signal(std::chrono::milliseconds longest);

// For a new process before exec: the signals as this one found them. Async-signal-safe.
void reset_signals();

}  // namespace flashconvert::app
