// The operator's schema (docs/user-guide.md, "The operator").
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(flashconvert, m) {
  m.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? bias=None, *, float scale, bool causal=False, "
      "int[2] window=[-1, -1], float softcap=0., bool zero_masked_rows=False, bool bottom_right=False) -> Tensor");
}
