// Fold, survey, rewrite (transform.h). Folding comes first: the plain weights that it leaves are what the rewrite
// packs.
#include "convert/transform.h"

#include <utility>

#include "common/glob.h"
#include "convert/stopwatch.h"
#include "rewrite/fold.h"
#include "rewrite/hand_down.h"
#include "rewrite/rewrite.h"
#include "survey/survey.h"

namespace flashconvert {

Selection selected_by(const ConvertOptions& options) {
  const auto by_path = [&options](const std::string& path) { return path_selected(options.only, options.skip, path); };
  const auto weights = [&options, by_path](const std::string& path) { return options.fold && by_path(path); };
  return {by_path, weights};
}

Transformed transform(torch::jit::Module& module, const Selection& selection, const ConvertOptions& options,
                      const Progress& progress) {
  Transformed result;
  Stopwatch watch;
  progress("fold", 0);
  rewrite::FoldResult folds = rewrite::fold_weights(module, selection.weights);
  result.folded = std::move(folds.entries);
  result.renamed = std::move(folds.renamed);
  result.rewrite_seconds = watch.lap();

  progress("survey", 0);
  survey::Survey survey = rewrite::survey_with_handed_masks(module, options.backend, selection.attention);
  result.survey_seconds = watch.lap();

  progress("rewrite", 0);
  rewrite::RewriteResult rewritten =
      rewrite::rewrite_attention(module, std::move(survey), {options.pack, options.backend});
  result.attention = std::move(rewritten.entries);
  for (report::Rename& rename : rewritten.renamed) result.renamed.push_back(std::move(rename));
  result.rewrite_seconds += watch.lap();
  return result;
}

}  // namespace flashconvert
