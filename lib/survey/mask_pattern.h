// Masks that say of positions alone which keys a query sees: causal masks and sliding windows, whether built from the
// lengths or cut out of a stored buffer.
#pragma once

#include <optional>

#include "survey/mask_expression.h"
#include "survey/method_facts.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

struct MaskPattern {
  Band band;
  bool is_all = true;            // beside what it hides, the mask changes nothing
  bool is_infinite = true;       // hidden scores become minus infinity, not a finite number
  bool leaves_rows_open = true;  // every query sees a key, at all lengths that the original accepts
};

// Whether a finite number hides as well as minus infinity does, beside a score that can be told from another.
bool hides_fully(double number, const MethodFacts& facts);

// What the term hides, when that is a band along the diagonal at all lengths. The expression is run at many lengths, up
// to beyond every number in it and over the whole of every buffer, and compared with the band element by element.
// Nothing where anything but lengths, constants and buffers reaches the mask.
std::optional<MaskPattern> read_mask_pattern(const ScoreTerm& term, const ScoreLengths& lengths,
                                             const MethodFacts& facts);

}  // namespace flashconvert::survey
