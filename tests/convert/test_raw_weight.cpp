// The mistake that started this project, made on purpose: the raw weight of a σReparam layer copied in the place of the
// effective one. Parity must fail on it, and must hold without it.
#include <ATen/core/Tensor.h>

#include "checkpoint/checkpoint.h"
#include "convert/transform.h"
#include "support/catch.h"
#include "verify/verify.h"

using namespace flashconvert;

TEST_CASE("a raw weight in the perception model fails parity", "[convert]") {
  const auto source = checkpoint::Source::file(FLASHCONVERT_SAMPLES "/perception.pt");
  checkpoint::Checkpoint original = source.load();
  checkpoint::Checkpoint converted = source.load();
  const auto everything = [](const std::string&) { return true; };
  const auto quiet = [](const std::string&, double) {};
  const Transformed done = transform(converted.module, {everything, everything}, ConvertOptions{}, quiet);
  REQUIRE(done.folded.size() == 75);

  const auto cases = verify::make_cases(original, {});
  CHECK(verify::compare_modules(original.module, converted.module, cases, {"cpu"}).passed);

  std::map<std::string, at::Tensor> raw;
  for (const auto& parameter : original.module.named_parameters()) raw.emplace(parameter.name, parameter.value);
  int copied = 0;
  at::NoGradGuard no_grad;
  for (const auto& parameter : converted.module.named_parameters()) {
    const std::string suffix = ".weight";
    if (parameter.name.size() < suffix.size()) continue;
    const auto wrapped = raw.find(parameter.name.substr(0, parameter.name.size() - suffix.size()) + ".linear.weight");
    if (wrapped == raw.end()) continue;
    const_cast<at::Tensor&>(parameter.value).copy_(wrapped->second);
    ++copied;
    break;  // one layer of 75 is enough
  }
  REQUIRE(copied == 1);
  CHECK_FALSE(verify::compare_modules(original.module, converted.module, cases, {"cpu"}).passed);
}
