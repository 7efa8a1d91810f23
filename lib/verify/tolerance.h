// How far a converted output may be from the reference, beyond twice the original's own distance from it.
#pragma once

#include <c10/core/ScalarType.h>

namespace flashconvert::verify {

// tolerance(dtype) of the criterion `error_converted <= 2 * error_original + tolerance(dtype)`, in units of the
// output's scale. Zero for integers and booleans, which must be equal. docs/verification.md gives the reasons for the
// figures.
double tolerance(c10::ScalarType type);

}  // namespace flashconvert::verify
