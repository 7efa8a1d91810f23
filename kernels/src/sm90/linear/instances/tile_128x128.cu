#include "instantiate.h"

namespace flashconvert::kernels::sm90::linear {

FLASHCONVERT_LINEAR_KERNELS(Rows128Columns128);

}  // namespace flashconvert::kernels::sm90::linear
