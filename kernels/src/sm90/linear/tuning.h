// The tiles of the Hopper kernels for linear layers.
#pragma once

#include "tile.h"

namespace flashconvert::kernels::sm90::linear {

using Rows128Columns192 = Tile<192, 2, Share::kRows, 2, 5, 5>;
using Rows128Columns128 = Tile<128, 2, Share::kRows, 2, 6, 7>;
using Rows128Columns96 = Tile<96, 2, Share::kRows, 2, 6, 8>;
using Rows64Columns64 = Tile<64, 3, Share::kChunks, 1, 9, 9>;
using Rows64Columns32 = Tile<32, 3, Share::kChunks, 1, 12, 12>;
using Rows64Columns16 = Tile<16, 3, Share::kChunks, 1, 12, 12>;

}  // namespace flashconvert::kernels::sm90::linear
