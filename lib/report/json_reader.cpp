// Reads back what json.cpp writes: a batch collects its reports from the processes that made them.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "report/writers.h"

namespace flashconvert::report {
namespace {

using ParsedJson = nlohmann::json;

double number(const ParsedJson& json) {
  if (json.is_number()) return json.get<double>();
  const auto& text = json.get_ref<const std::string&>();
  if (text == "nan") return std::nan("");
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  throw std::runtime_error("not a figure: " + text);
}

template <typename T>
std::optional<T> nullable(const ParsedJson& json) {
  if (json.is_null()) return std::nullopt;
  return json.get<T>();
}

std::optional<double> nullable_number(const ParsedJson& json) {
  if (json.is_null()) return std::nullopt;
  return number(json);
}

// The value whose name in the contract is `text`.
template <typename T>
T named(const ParsedJson& json, std::initializer_list<T> values) {
  const auto& text = json.get_ref<const std::string&>();
  for (const T value : values) {
    if (text == name(value)) return value;
  }
  throw std::runtime_error("unknown word in a report: " + text);
}

FileFacts read_file_facts(const ParsedJson& json) {
  return {json.at("path").get<std::string>(), nullable<std::uint64_t>(json.at("bytes")).value_or(0),
          nullable<std::string>(json.at("sha256")).value_or("")};
}

AttentionEntry read_attention(const ParsedJson& json) {
  AttentionEntry site;
  site.path = json.at("path").get<std::string>();
  site.method = json.at("method").get<std::string>();
  site.form = json.at("form").get<std::string>();
  site.status = named(json.at("status"), {SiteStatus::kFused, SiteStatus::kDeclined, SiteStatus::kReverted});
  if (!json.at("depth").is_null()) site.depth = named(json.at("depth"), {Depth::kCore, Depth::kModule});
  site.reason = nullable<std::string>(json.at("reason"));
  site.heads = nullable<std::int64_t>(json.at("heads"));
  site.head_dim = nullable<std::int64_t>(json.at("head_dim"));
  site.scale = nullable_number(json.at("scale"));
  site.causal = json.at("causal").get<bool>();
  site.bias = json.at("bias").get<std::string>();
  site.packed = json.at("packed").get<bool>();
  return site;
}

FoldEntry read_fold(const ParsedJson& json) {
  FoldEntry weight;
  weight.path = json.at("path").get<std::string>();
  weight.form = json.at("form").get<std::string>();
  weight.status = named(json.at("status"), {FoldStatus::kFolded, FoldStatus::kDeclined});
  weight.reason = nullable<std::string>(json.at("reason"));
  weight.weight_change = nullable_number(json.at("weight_change"));
  weight.dtype = json.at("dtype").get<std::string>();
  return weight;
}

LinearEntry read_linear(const ParsedJson& json) {
  LinearEntry layer;
  layer.path = json.at("path").get<std::string>();
  layer.method = json.at("method").get<std::string>();
  layer.form = json.at("form").get<std::string>();
  layer.status = named(json.at("status"), {LinearStatus::kConverted, LinearStatus::kDeclined, LinearStatus::kReverted});
  layer.reason = nullable<std::string>(json.at("reason"));
  layer.in_features = json.at("in_features").get<std::int64_t>();
  layer.out_features = json.at("out_features").get<std::int64_t>();
  layer.activation = json.at("activation").get<std::string>();
  return layer;
}

OutputComparison read_output(const ParsedJson& json) {
  OutputComparison output;
  output.name = json.at("name").get<std::string>();
  output.shape = json.at("shape").get<std::vector<std::int64_t>>();
  output.dtype = json.at("dtype").get<std::string>();
  output.max_abs = number(json.at("max_abs"));
  output.error_original = number(json.at("error_original"));
  output.error_converted = number(json.at("error_converted"));
  output.error_mean = number(json.at("error_mean"));
  if (json.contains("error_mean_original")) output.error_mean_original = number(json.at("error_mean_original"));
  output.error_p99 = number(json.at("error_p99"));
  output.allowed = number(json.at("allowed"));
  output.needed_tolerance = number(json.at("needed_tolerance"));
  output.passed = json.at("passed").get<bool>();
  output.note = json.at("note").get<std::string>();
  return output;
}

Parity read_parity(const ParsedJson& json) {
  Parity parity;
  parity.device = json.at("device").get<std::string>();
  parity.reference = json.at("reference").get<std::string>();
  parity.passed = json.at("passed").get<bool>();
  for (const auto& one : json.at("cases")) {
    ParityCase read;
    read.inputs = one.at("inputs").get<std::string>();
    read.method = one.at("method").get<std::string>();
    for (const auto& output : one.at("outputs")) read.outputs.push_back(read_output(output));
    parity.cases.push_back(std::move(read));
  }
  for (const auto& site : json.at("sites")) {
    parity.sites.push_back({site.at("path").get<std::string>(), site.at("method").get<std::string>(),
                            site.at("inputs").get<std::string>(), read_output(site), site.value("kind", "attention")});
  }
  return parity;
}

Bench read_bench(const ParsedJson& json) {
  Bench bench;
  bench.device = json.at("device").get<std::string>();
  bench.kernels = json.at("kernels").get<std::vector<std::string>>();
  bench.original_ms = number(json.at("original_ms"));
  bench.converted_ms = number(json.at("converted_ms"));
  bench.runs = json.at("runs").get<int>();
  return bench;
}

Report read_report(const ParsedJson& json) {
  Report report;
  report.flashconvert_version = json.at("flashconvert").get<std::string>();
  report.torch_version = json.at("torch").get<std::string>();
  report.input = read_file_facts(json.at("input"));
  if (!json.at("output").is_null()) report.output = read_file_facts(json.at("output"));
  for (const auto& site : json.at("attention")) report.attention.push_back(read_attention(site));
  for (const auto& weight : json.at("folded")) report.folded.push_back(read_fold(weight));
  for (const auto& rename : json.at("renamed")) {
    report.renamed.push_back({rename.at("from").get<std::vector<std::string>>(), rename.at("to").get<std::string>()});
  }
  if (!json.at("parity").is_null()) report.parity = read_parity(json.at("parity"));
  if (!json.at("bench").is_null()) report.bench = read_bench(json.at("bench"));
  for (const auto& [stage, value] : json.at("seconds").items()) {
    if (!value.is_null()) report.seconds[stage] = number(value);
  }
  report.warnings = json.at("warnings").get<std::vector<std::string>>();
  report.operators_needed = json.at("operators").at("needed").get<std::vector<std::string>>();
  report.operators_before = json.at("operators").at("before").get<std::map<std::string, std::int64_t>>();
  report.operators_after = json.at("operators").at("after").get<std::map<std::string, std::int64_t>>();
  report.library = nullable<std::string>(json.at("library")).value_or("");
  // Fields that reports of earlier builds lack.
  if (json.contains("linear")) {
    for (const auto& layer : json.at("linear")) report.linear.push_back(read_linear(layer));
  }
  if (json.contains("growth")) report.growth = nullable<std::string>(json.at("growth")).value_or("");
  if (json.contains("options")) report.options = json.at("options").get<std::vector<std::string>>();
  report.exit_code = json.at("exit_code").get<int>();
  report.error = nullable<std::string>(json.at("error"));
  return report;
}

}  // namespace

Report from_json(const std::string& text) {
  try {
    return read_report(ParsedJson::parse(text));
  } catch (const ParsedJson::exception& problem) {
    throw std::runtime_error(std::string("not a report: ") + problem.what());
  }
}

std::vector<Report> reports_from_json(const std::string& text) {
  try {
    const ParsedJson json = ParsedJson::parse(text);
    if (!json.is_array()) return {read_report(json)};
    std::vector<Report> reports;
    for (const auto& entry : json) reports.push_back(read_report(entry));
    return reports;
  } catch (const ParsedJson::exception& problem) {
    throw std::runtime_error(std::string("not a report: ") + problem.what());
  }
}

}  // namespace flashconvert::report
