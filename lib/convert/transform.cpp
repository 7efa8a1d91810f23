// The stages between loading and verifying (transform.h).
#include "convert/transform.h"

#include <utility>

#include "common/glob.h"
#include "convert/graph_dump.h"
#include "convert/site_report.h"
#include "convert/stopwatch.h"
#include "fold/fold.h"
#include "rewrite/linear.h"
#include "rewrite/rewrite.h"
#include "rewrite/specialised_methods.h"
#include "survey/survey.h"

namespace flashconvert {

Selection selected_by(const ConvertOptions& options) {
  const auto by_path = [&options](const std::string& path) { return path_selected(options.only, options.skip, path); };
  const auto weights = [&options, by_path](const std::string& path) { return options.fold && by_path(path); };
  return {by_path, weights, by_path};
}

bool converts_linear_layers(const ConvertOptions& options) {
  return options.linear && options.backend == survey::Backend::kFlash;
}

Transformed transform(torch::jit::Module& module, const Selection& selection, const ConvertOptions& options,
                      const rewrite::RewriteOptions& rewriting, const Progress& progress) {
  Transformed result;
  Stopwatch watch;
  const GraphDump dump(options.dump_graphs);
  dump.module("0-load", module);

  // The plain weights that folding leaves are what the rewrite packs.
  progress("fold", 0);
  fold::FoldResult folds = fold::fold_weights(module, selection.weights);
  dump.module("1-fold", module);
  result.rewrite_seconds = watch.lap();

  progress("survey", 0);
  const auto specialised = rewrite::specialise_methods(ModuleIndex(module));
  dump.module("2-specialise", module);
  survey::Survey survey =
      survey::survey_attention(ModuleIndex(module), options.backend, selection.attention, specialised.masks);
  dump.survey("3-survey", survey);
  result.survey_seconds = watch.lap();

  progress("rewrite", 0);
  rewrite::RewriteResult rewritten = rewrite::rewrite_attention(module, std::move(survey), specialised, rewriting);
  dump.module("4-rewrite", module);
  if (converts_linear_layers(options)) {
    rewrite::LinearResult linear = rewrite::rewrite_linear_layers(module, {selection.linear, rewriting.splice_linear});
    dump.module("5-linear", module);
    result.linear = linear_entries(linear.layers);
    result.linear_places = std::move(linear.places);
  }
  result.rewrite_seconds += watch.lap();

  result.folded = std::move(folds.entries);
  result.attention = attention_entries(rewritten.survey);
  result.renamed = std::move(folds.renamed);
  for (report::Rename& rename : rewritten.renamed) result.renamed.push_back(std::move(rename));
  result.survey = std::move(rewritten.survey);
  return result;
}

Transformed transform(torch::jit::Module& module, const Selection& selection, const ConvertOptions& options,
                      const Progress& progress) {
  rewrite::RewriteOptions rewriting;
  rewriting.pack = options.pack;
  Transformed result = transform(module, selection, options, rewriting, progress);
  result.survey = {};  // working copies, of no more use
  result.linear_places = {};
  return result;
}

}  // namespace flashconvert
