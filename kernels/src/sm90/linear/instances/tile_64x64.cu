#include "instantiate.h"

namespace flashconvert::kernels::sm90::linear {

FLASHCONVERT_LINEAR_KERNELS(Rows64Columns64);

}  // namespace flashconvert::kernels::sm90::linear
