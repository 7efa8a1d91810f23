// Numbers that tell what is added to scores, or written over them, from a score.
#pragma once

namespace flashconvert::survey {

// The lowest number of half precision. Lower ones become minus infinity when a model is cast to it.
inline constexpr double kLowestHalf = -65504;

// What is added to visible scores beside a mask: no more than scores themselves can be.
inline constexpr double kLargestBias = 1e6;

}  // namespace flashconvert::survey
