// The tolerances, as multiples of the unit in the last place of the output's dtype.
#include "verify/tolerance.h"

#include <array>
#include <cmath>

namespace flashconvert::verify {

namespace {

// The term 2 * error_original follows the model: a deep or badly conditioned one has a large error of its own, and the
// converted one may have twice that. But it is a maximum over the elements of one output, and for an output of few
// elements (two class scores, a regressed pose) chance makes it small. The constant term keeps that chance from failing
// a correct conversion: so many units in the last place of the output's largest value.
struct Tolerance {
  c10::ScalarType type;
  int mantissa_bits;  // stored ones: the unit in the last place of 1.0 is 2^-mantissa_bits
  double units;
};

constexpr std::array kTolerances = {
    // Sums run in the dtype itself, so the errors of a whole network's layers reach the output: some tens of units.
    Tolerance{c10::kDouble, 52, 32},
    Tolerance{c10::kFloat, 23, 32},
    Tolerance{c10::kComplexDouble, 52, 32},
    Tolerance{c10::kComplexFloat, 23, 32},
    // Sums run in float32 and each layer's result is rounded once: a few units.
    Tolerance{c10::kHalf, 10, 4},
    Tolerance{c10::kBFloat16, 7, 4},
};

}  // namespace

double tolerance(c10::ScalarType type) {
  for (const Tolerance& entry : kTolerances) {
    if (entry.type == type) return std::ldexp(entry.units, -entry.mantissa_bits);
  }
  return 0;
}

}  // namespace flashconvert::verify
