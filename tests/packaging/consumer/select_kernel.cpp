// A program that calls the kernels without torch.
#include <flashconvert/kernels/attention.h>

#include <iostream>

int main() {
  flashconvert::kernels::AttentionProblem problem;
  problem.batch = problem.heads = problem.key_heads = 1;
  problem.query_length = problem.key_length = 128;
  problem.head_dim = problem.value_dim = 64;
  for (auto* view : {&problem.query, &problem.key, &problem.value}) *view = {nullptr, 128 * 64, 128 * 64, 64};
  const char* kernel = flashconvert::kernels::select_kernel(problem, 80);
  std::cout << (kernel == nullptr ? "none" : kernel) << "\n";
}
