// The comparison of outputs: pure functions of values, no module is run here. See verify.h for the public form.
#pragma once

#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::verify {

// The four evaluations that a comparison knows.
struct Evaluations {
  const c10::IValue& reference;  // the truth: the original in float64 where it can be
  const c10::IValue&
      yardstick;  // its distance from the reference is `error_original`: the original itself, or, where the
                  // reference is the original, the original on weights and inputs moved by one rounding
  const c10::IValue& original;  // NaN, infinities, integers and text must be as here
  const c10::IValue& converted;
};

// One comparison a leaf of the outputs; missing, extra and reshaped outputs are failures with a note.
std::vector<report::OutputComparison> compare_evaluations(const Evaluations& values,
                                                          const std::string& name = "output");

// An output that could not be computed or compared at all.
report::OutputComparison failed_output(const std::string& name, const std::string& note);

}  // namespace flashconvert::verify
