// A C++ program that knows nothing of flashconvert: loads the libraries that it is given, then a TorchScript
// checkpoint, and compares its forward() (no arguments) with its attribute `expected`. The test of dlopen from C++.
//   checkpoint_loader CHECKPOINT [LIBRARY...]       exit 0: agrees, 1: differs, 2: does not load
#include <dlfcn.h>
#include <torch/script.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: checkpoint_loader CHECKPOINT [LIBRARY...]\n";
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    if (dlopen(argv[i], RTLD_NOW) == nullptr) {
      std::cerr << dlerror() << '\n';
      return 2;
    }
  }
  try {
    torch::jit::Module module = torch::jit::load(argv[1]);
    const torch::NoGradGuard no_gradients;
    const at::Tensor output = module.forward({}).toTensor();
    const double difference = (output - module.attr("expected").toTensor()).abs().max().item<double>();
    std::cout << "largest difference " << difference << '\n';
    return difference < 1e-5 ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
  }
}
