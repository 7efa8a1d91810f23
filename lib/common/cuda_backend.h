// LibTorch's CUDA backend, which the programs do not link: libtorch_cuda and the libraries below it take 0.15 s to
// load, and most conversions run on the CPU alone.
#pragma once

namespace flashconvert {

// Loads the backend, once; returns false where this LibTorch has none or it was loaded before. Torch asks once for what
// a backend registers, and remembers the answer: call this before anything that may ask (models that run, tensors that
// move).
bool load_cuda_backend();

// The same where the machine has a CUDA driver, without which the backend finds no device.
void load_cuda_backend_for_devices();

}  // namespace flashconvert
