// The comparison of sites on whole checkpoints: every site that is fused is compared, in traced models and in scripted
// ones whose layers share a type.
#include "convert/shown_sites.h"

#include <set>

#include "support/catch.h"

using namespace flashconvert;

namespace {

std::set<std::string> fused_paths(const checkpoint::Source& source, const ConvertOptions& options) {
  checkpoint::Checkpoint converted = source.load();
  const Transformed done =
      transform(converted.module, selected_by(options), options, [](const std::string&, double) {});
  std::set<std::string> paths;
  for (const auto& entry : done.attention) {
    if (entry.status == report::SiteStatus::kFused) paths.insert(entry.path);
  }
  return paths;
}

std::vector<report::SiteParity> compare_sites(const checkpoint::Source& source, const ConvertOptions& options) {
  const checkpoint::Checkpoint original = source.load();
  const auto cases = verify::make_cases(original, options.inputs, options.verification);
  const ShowingModule showing = show_sites(source, selected_by(options), options);
  return verify::Verifier(original.module, cases, options.verification)
      .compare_sites(showing.checkpoint.module, showing.sites);
}

}  // namespace

TEST_CASE("every fused site of the samples is compared and passes", "[convert]") {
  const std::string name = GENERATE("padded_encoder", "rotary_decoder", "windowed", "scripted");
  const auto source = checkpoint::Source::file(std::string(FLASHCONVERT_SAMPLES) + "/" + name + ".pt");
  ConvertOptions options;
  options.verification.device = "cpu";
  if (name == "scripted") options.inputs.inputs_file = FLASHCONVERT_SAMPLES "/scripted.inputs.pt";
  options.backend = GENERATE(survey::Backend::kFlash, survey::Backend::kPortable);
  const auto expected = fused_paths(source, options);
  std::set<std::string> compared;
  for (const auto& site : compare_sites(source, options)) {
    compared.insert(site.path);
    CHECK(site.figures.passed);
    CHECK_FALSE(site.inputs.empty());
  }
  CHECK(compared == expected);
}

TEST_CASE("sites that are not selected are not compared", "[convert]") {
  const auto source = checkpoint::Source::file(FLASHCONVERT_SAMPLES "/padded_encoder.pt");
  ConvertOptions options;
  options.verification.device = "cpu";
  const auto all = compare_sites(source, options);
  REQUIRE(all.size() > 1);
  options.skip = {all.front().path};
  const auto rest = compare_sites(source, options);
  CHECK(rest.size() == all.size() - 1);
  for (const auto& site : rest) CHECK(site.path != all.front().path);
}
