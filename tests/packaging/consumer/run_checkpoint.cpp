// A program that knows nothing of flashconvert but the target it links, and runs a converted checkpoint.
#include <torch/script.h>

#include <iostream>

int main(int, char** argv) {
  torch::jit::Module model = torch::jit::load(argv[1]);
  const auto output = model.forward({torch::ones({2, 5, 16})}).toTensor();
  std::cout << output.sum().item<double>() << "\n";
}
