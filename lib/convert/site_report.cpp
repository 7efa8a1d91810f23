// See site_report.h.
#include "convert/site_report.h"

namespace flashconvert {

namespace {

using survey::SiteForm;

const char* name_of(SiteForm form) {
  switch (form) {
    case SiteForm::kSoftmaxProduct:
      return "softmax-matmul";
    case SiteForm::kSdpa:
      return "sdpa";
    case SiteForm::kNativeMultiHeadAttention:
      return "native-multi-head-attention";
    case SiteForm::kEncoderLayer:
      return "transformer-encoder-layer";
    case SiteForm::kMultiHeadAttentionModule:
      return "multi-head-attention";
  }
  return "";
}

report::AttentionEntry entry_of(const survey::MethodSurvey& method, const survey::Site& site) {
  report::AttentionEntry entry;
  entry.path = site.path;
  entry.method = method.method;
  entry.form = name_of(site.form);
  if (site.is_fusible) {
    entry.status = report::SiteStatus::kFused;
    entry.depth = site.is_outlined ? report::Depth::kModule : report::Depth::kCore;
  } else {
    entry.reason = site.reason;
  }
  entry.heads = site.heads;
  entry.head_dim = site.head_dim;
  entry.scale = site.scale;
  entry.causal = site.is_causal;
  entry.bias = site.bias;
  entry.packed = site.is_packed;
  return entry;
}

}  // namespace

std::vector<report::AttentionEntry> attention_entries(const survey::Survey& survey) {
  std::vector<report::AttentionEntry> entries;
  for (const survey::MethodSurvey& method : survey.methods) {
    for (const survey::Site& site : method.sites) {
      if (!site.is_other_path) entries.push_back(entry_of(method, site));
    }
  }
  return entries;
}

std::vector<report::LinearEntry> linear_entries(const std::vector<rewrite::LinearLayer>& layers) {
  std::vector<report::LinearEntry> entries;
  for (const rewrite::LinearLayer& layer : layers) {
    const auto status = layer.reason ? report::LinearStatus::kDeclined : report::LinearStatus::kConverted;
    entries.push_back({layer.path, layer.method, layer.form, status, layer.reason, layer.in_features,
                       layer.out_features, layer.activation});
  }
  return entries;
}

}  // namespace flashconvert
