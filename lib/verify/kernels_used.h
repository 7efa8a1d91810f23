// Which attention kernels ran: asked of the operator library, where it is loaded and can tell.
#pragma once

#include <string>
#include <vector>

namespace flashconvert::verify {

// The names of the kernels that ran since the last forget_kernels_used(); empty where nothing can tell.
std::vector<std::string> kernels_used();
void forget_kernels_used();

}  // namespace flashconvert::verify
