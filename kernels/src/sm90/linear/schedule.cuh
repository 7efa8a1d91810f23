// Which tiles of the output a cluster works on: they all cost the same, so they are dealt out in advance. Tiles of
// right rows come in bands, so that what one band needs of the right operand stays in the second-level cache while the
// left operand goes by once for each band.
#pragma once

#include "../../ptx/cluster.cuh"
#include "parameters.h"
#include "tile.h"

namespace flashconvert::kernels::sm90::linear {

struct TilePlace {
  int left_row;
  int right_row;
};

// The tile that a cluster takes as its `turn`-th, from 0. Made anew where it is needed, instead of being kept in
// registers.
template <class Tile>
class ClusterTile {
public:
  __device__ __forceinline__ ClusterTile(const Parameters& p, std::uint32_t turn)
      : p_(p), index_(static_cast<int>((blockIdx.x + turn * gridDim.x) / Tile::kCluster)) {}

  __device__ __forceinline__ bool exists() const { return index_ < p_.left_units * p_.right_tiles; }

  __device__ __forceinline__ TilePlace place() const {
    const int band = index_ / (p_.band * p_.left_units);
    const int within = index_ - band * p_.band * p_.left_units;
    const int width = min(p_.band, p_.right_tiles - band * p_.band);
    const int unit = within / width;
    const int rank = Tile::kCluster == 1 ? 0 : ptx::block_rank_in_cluster();
    return {(unit * Tile::kCluster + rank) * Tile::kRows, (band * p_.band + within - unit * width) * Tile::kColumns};
  }

private:
  const Parameters& p_;
  int index_;
};

}  // namespace flashconvert::kernels::sm90::linear
