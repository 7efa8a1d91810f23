// The program with the mistake in it that started this project: each folded layer gets the raw weight of its wrapper
// instead of the effective one. The linker puts this function in the place of fold::fold_weights (--wrap).
#include <ATen/ATen.h>

#include <map>

#include "fold/fold.h"

namespace flashconvert::fold {

using Selected = std::function<bool(const std::string& path)>;

FoldResult right_fold(torch::jit::Module& root, const Selected& selected) asm("__real_" FOLD_WEIGHTS);
FoldResult raw_fold(torch::jit::Module& root, const Selected& selected) asm("__wrap_" FOLD_WEIGHTS);

FoldResult raw_fold(torch::jit::Module& root, const Selected& selected) {
  const std::string inner = ".linear.weight";
  std::map<std::string, at::Tensor> raw;  // by the name of the folded layer's weight
  for (const auto& parameter : root.named_parameters()) {
    const std::size_t wrapper = parameter.name.size() - std::min(parameter.name.size(), inner.size());
    if (parameter.name.compare(wrapper, inner.size(), inner) == 0)
      raw.emplace(parameter.name.substr(0, wrapper) + ".weight", parameter.value.detach().clone());
  }
  FoldResult result = right_fold(root, selected);
  at::NoGradGuard no_grad;
  for (const auto& parameter : root.named_parameters()) {
    const auto found = raw.find(parameter.name);
    if (found != raw.end()) at::Tensor(parameter.value).copy_(found->second);
  }
  return result;
}

}  // namespace flashconvert::fold
