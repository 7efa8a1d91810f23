// The JSON form (docs/report.md). Fields come in a fixed order. JSON has no NaN and no infinity: such figures are the
// strings "nan", "inf" and "-inf", which Python's float() and C's strtod() read back.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "report/merge.h"
#include "report/writers.h"

namespace flashconvert::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSchema = 1;
constexpr const char* kStages[] = {"load", "survey", "rewrite", "verify", "save"};

Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

template <typename T>
Json nullable(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json nullable_number(const std::optional<double>& value) { return value ? number(*value) : Json(nullptr); }

template <typename T, typename Writer>
Json array_of(const std::vector<T>& values, Writer write) {
  Json array = Json::array();
  for (const auto& value : values) array.push_back(write(value));
  return array;
}

// A file that could not be read has a path alone.
Json file_json(const FileFacts& file) {
  const bool known = !file.sha256.empty();
  return {{"path", file.path},
          {"bytes", known ? Json(file.bytes) : Json(nullptr)},
          {"sha256", known ? Json(file.sha256) : Json(nullptr)}};
}

Json attention_json(const AttentionEntry& site) {
  return {{"path", site.path},
          {"method", site.method},
          {"form", site.form},
          {"status", name(site.status)},
          {"depth", site.depth ? Json(name(*site.depth)) : Json(nullptr)},
          {"reason", nullable(site.reason)},
          {"heads", nullable(site.heads)},
          {"head_dim", nullable(site.head_dim)},
          {"scale", nullable_number(site.scale)},
          {"causal", site.causal},
          {"bias", site.bias},
          {"packed", site.packed}};
}

Json fold_json(const FoldEntry& weight) {
  return {{"path", weight.path},
          {"form", weight.form},
          {"status", name(weight.status)},
          {"reason", nullable(weight.reason)},
          {"weight_change", nullable_number(weight.weight_change)},
          {"dtype", weight.dtype}};
}

Json linear_json(const LinearEntry& layer) {
  return {{"path", layer.path},
          {"method", layer.method},
          {"form", layer.form},
          {"status", name(layer.status)},
          {"reason", nullable(layer.reason)},
          {"in_features", layer.in_features},
          {"out_features", layer.out_features},
          {"activation", layer.activation}};
}

Json rename_json(const Rename& rename) { return {{"from", rename.from}, {"to", rename.to}}; }

void add_figures(Json& json, const OutputComparison& output) {
  json["name"] = output.name;
  json["shape"] = output.shape;
  json["dtype"] = output.dtype;
  json["max_abs"] = number(output.max_abs);
  json["error_original"] = number(output.error_original);
  json["error_converted"] = number(output.error_converted);
  json["allowed"] = number(output.allowed);
  json["passed"] = output.passed;
  json["error_mean"] = number(output.error_mean);
  json["error_mean_original"] = number(output.error_mean_original);
  json["error_p99"] = number(output.error_p99);
  json["needed_tolerance"] = number(output.needed_tolerance);
  json["note"] = output.note;
}

Json output_json(const OutputComparison& output) {
  Json json = Json::object();
  add_figures(json, output);
  return json;
}

Json case_json(const ParityCase& one) {
  return {{"inputs", one.inputs}, {"method", one.method}, {"outputs", array_of(one.outputs, output_json)}};
}

Json site_parity_json(const SiteParity& site) {
  Json json = {{"path", site.path}, {"method", site.method}, {"kind", site.kind}, {"inputs", site.inputs}};
  add_figures(json, site.figures);
  return json;
}

Json parity_json(const Parity& parity) {
  return {{"device", parity.device},
          {"reference", parity.reference},
          {"passed", parity.passed},
          {"cases", array_of(parity.cases, case_json)},
          {"sites", array_of(parity.sites, site_parity_json)}};
}

Json bench_json(const Bench& bench) {
  return {{"device", bench.device},
          {"kernels", bench.kernels},
          {"original_ms", number(bench.original_ms)},
          {"converted_ms", number(bench.converted_ms)},
          {"runs", bench.runs}};
}

// The stages of the contract are always there, null where they did not run; others follow.
Json seconds_json(const std::map<std::string, double>& seconds) {
  Json json = Json::object();
  for (const char* stage : kStages) {
    const auto found = seconds.find(stage);
    json[stage] = found == seconds.end() ? Json(nullptr) : number(found->second);
  }
  for (const auto& [stage, value] : seconds) json[stage] = number(value);
  return json;
}

Json report_json(const Report& report) {
  Json json = Json::object();
  json["schema"] = kSchema;
  json["flashconvert"] = report.flashconvert_version;
  json["torch"] = report.torch_version;
  json["input"] = file_json(report.input);
  json["output"] = report.output ? file_json(*report.output) : Json(nullptr);
  json["attention"] = array_of(report.attention, attention_json);
  json["folded"] = array_of(report.folded, fold_json);
  json["linear"] = array_of(report.linear, linear_json);
  json["renamed"] = array_of(report.renamed, rename_json);
  json["parity"] = report.parity ? parity_json(*report.parity) : Json(nullptr);
  json["bench"] = report.bench ? bench_json(*report.bench) : Json(nullptr);
  json["seconds"] = seconds_json(report.seconds);
  json["warnings"] = report.warnings;
  json["operators"] = {
      {"needed", report.operators_needed}, {"before", report.operators_before}, {"after", report.operators_after}};
  json["library"] = report.library.empty() ? Json(nullptr) : Json(report.library);
  json["growth"] = report.growth.empty() ? Json(nullptr) : Json(report.growth);
  json["options"] = report.options;
  json["exit_code"] = report.exit_code;
  json["error"] = nullable(report.error);
  return json;
}

// File names need not be UTF-8; a report that cannot be written because of one would be worse than a replaced byte.
std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

std::string merged_json(const Merged& merged) {
  Json json = {{"schema", kSchema}};
  json["totals"] = {{"files", merged.reports.size()}, {"failed", merged.failed},   {"sites", merged.sites},
                    {"fused", merged.fused},          {"weights", merged.weights}, {"folded", merged.folded},
                    {"seconds", merged.seconds}};
  json["failed"] = Json::array();
  for (const auto& report : merged.reports) {
    if (report.exit_code == 0) continue;
    json["failed"].push_back(
        {{"path", report.input.path}, {"exit_code", report.exit_code}, {"error", nullable(report.error)}});
  }
  json["slowest"] = Json::array();
  for (const auto& [path, seconds] : merged.slowest) json["slowest"].push_back({{"path", path}, {"seconds", seconds}});
  json["unfused"] = Json::array();
  for (const auto& [reason, sites] : merged.reasons) json["unfused"].push_back({{"reason", reason}, {"sites", sites}});
  json["reports"] = array_of(merged.reports, report_json);
  return dump(json);
}

std::string to_json(const Report& report) { return dump(report_json(report)); }

std::string to_json(const std::vector<Report>& reports) { return dump(array_of(reports, report_json)); }

}  // namespace flashconvert::report
