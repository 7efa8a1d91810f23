#include "instantiate.h"

namespace flashconvert::kernels::sm90::linear {

FLASHCONVERT_LINEAR_KERNELS(Rows64Columns32);

}  // namespace flashconvert::kernels::sm90::linear
