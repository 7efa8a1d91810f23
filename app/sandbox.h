// What a worker gives up before it runs a file's code.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace flashconvert::app {

// From now on this process and its threads write, make and remove files below `writable` and in /dev and /proc alone,
// and open no TCP connections: Landlock, which needs Linux 5.13 (6.7 for connections) and no privileges. Reading stays
// as it was. Returns what could not be had, or "": a kernel without it leaves the process as it is.
std::string enter_sandbox(const std::vector<std::filesystem::path>& writable);

}  // namespace flashconvert::app
