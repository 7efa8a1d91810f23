// What splitting a row left besides its halves.
#pragma once

namespace flashconvert::kernels::linear {

struct RowScale {
  float factor;  // the row is factor * (high + low), a power of two
  // How small a result may be, for each unit of the other row's largest element, before what its split lost shows: see
  // docs/kernels/fp32.md. 0: nothing was lost. NaN: the row cannot be split.
  float loss;
};

}  // namespace flashconvert::kernels::linear
