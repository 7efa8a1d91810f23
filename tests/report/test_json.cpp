// The JSON form: the contract's fields in their order, and a round trip that loses nothing.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "report/writers.h"
#include "sample.h"
#include "support/catch.h"

using namespace flashconvert::report;
using Json = nlohmann::ordered_json;

namespace {

std::vector<std::string> keys(const Json& json) {
  std::vector<std::string> names;
  for (const auto& item : json.items()) names.push_back(item.key());
  return names;
}

using Names = std::vector<std::string>;

std::string problem_with(const std::string& text) {
  try {
    from_json(text);
  } catch (const std::runtime_error& problem) {
    return problem.what();
  }
  return "";
}

}  // namespace

TEST_CASE("JSON has the fields of the contract in a fixed order") {
  const Json json = Json::parse(to_json(sample_report()));
  CHECK(keys(json) == Names{"schema", "flashconvert", "torch", "input", "output", "attention", "folded", "linear",
                            "renamed", "parity", "bench", "seconds", "warnings", "operators", "library", "growth",
                            "options", "exit_code", "error"});
  CHECK(json["schema"] == 1);
  CHECK(keys(json["input"]) == Names{"path", "bytes", "sha256"});
  CHECK(keys(json["attention"][0]) == Names{"path", "method", "form", "status", "depth", "reason", "heads", "head_dim",
                                            "scale", "causal", "bias", "packed"});
  CHECK(keys(json["folded"][0]) == Names{"path", "form", "status", "reason", "weight_change", "dtype"});
  CHECK(keys(json["linear"][0]) ==
        Names{"path", "method", "form", "status", "reason", "in_features", "out_features", "activation"});
  CHECK(keys(json["renamed"][0]) == Names{"from", "to"});
  CHECK(keys(json["parity"]) == Names{"device", "reference", "passed", "cases", "sites"});
  CHECK(keys(json["parity"]["cases"][0]) == Names{"inputs", "method", "outputs"});
  const Names figures = {"name",
                         "shape",
                         "dtype",
                         "max_abs",
                         "error_original",
                         "error_converted",
                         "allowed",
                         "passed",
                         "error_mean",
                         "error_mean_original",
                         "error_p99",
                         "needed_tolerance",
                         "note"};
  CHECK(keys(json["parity"]["cases"][0]["outputs"][0]) == figures);
  Names site = {"path", "method", "kind", "inputs"};
  site.insert(site.end(), figures.begin(), figures.end());
  CHECK(keys(json["parity"]["sites"][0]) == site);
  CHECK(keys(json["bench"]) == Names{"device", "kernels", "original_ms", "converted_ms", "runs"});
}

TEST_CASE("JSON spells what is absent as null") {
  Report report = sample_report();
  report.output.reset();
  report.parity.reset();
  report.bench.reset();
  report.library.clear();
  report.input = {"missing.pt", 0, ""};
  report.exit_code = 4;
  report.error = "missing.pt: no such file";
  const Json json = Json::parse(to_json(report));
  CHECK(json["output"].is_null());
  CHECK(json["parity"].is_null());
  CHECK(json["bench"].is_null());
  CHECK(json["library"].is_null());
  CHECK(json["input"]["path"] == "missing.pt");
  CHECK(json["input"]["bytes"].is_null());
  CHECK(json["input"]["sha256"].is_null());
  CHECK(json["attention"][0]["reason"].is_null());
  CHECK(json["attention"][0]["depth"] == "module");
  CHECK(json["attention"][1]["depth"].is_null());
  CHECK(json["attention"][1]["heads"].is_null());
  CHECK(json["attention"][2]["status"] == "reverted");
  CHECK(json["seconds"]["verify"].is_null());
  CHECK(json["seconds"]["load"] == 0.25);
  CHECK(keys(json["seconds"]) == Names{"load", "survey", "rewrite", "verify", "save", "fold"});
  CHECK(json["exit_code"] == 4);
  CHECK(json["error"] == "missing.pt: no such file");
}

TEST_CASE("JSON spells figures that it has no numbers for as strings") {
  Report report = sample_report();
  auto& output = report.parity->cases[0].outputs[0];
  output.max_abs = std::nan("");
  output.error_converted = std::numeric_limits<double>::infinity();
  output.error_original = -std::numeric_limits<double>::infinity();
  const Json json = Json::parse(to_json(report));
  const Json& written = json["parity"]["cases"][0]["outputs"][0];
  CHECK(written["max_abs"] == "nan");
  CHECK(written["error_converted"] == "inf");
  CHECK(written["error_original"] == "-inf");

  const Report read = from_json(to_json(report));
  CHECK(std::isnan(read.parity->cases[0].outputs[0].max_abs));
  CHECK(std::isinf(read.parity->cases[0].outputs[0].error_converted));
}

TEST_CASE("reading a report back loses nothing") {
  Report report = sample_report();
  report.exit_code = 3;
  report.error = "text";
  const std::string text = to_json(report);
  CHECK(to_json(from_json(text)) == text);

  const std::string bare = to_json(Report{});
  CHECK(to_json(from_json(bare)) == bare);
}

TEST_CASE("reading something else is an error, not a half-filled report") {
  CHECK(contains(problem_with("{"), "not a report"));
  CHECK(contains(problem_with("{\"schema\": 1}"), "not a report"));
  std::string text = to_json(sample_report());
  text.replace(text.find("\"fused\""), 7, "\"fuzed\"");
  CHECK(contains(problem_with(text), "fuzed"));
}

TEST_CASE("a name that is not UTF-8 is written with a replacement, not an exception") {
  Report report = sample_report();
  report.input.path = "caf\xe9.pt";
  const Json json = Json::parse(to_json(report));
  CHECK(json["input"]["path"] == "caf\xef\xbf\xbd.pt");
}

TEST_CASE("a batch is an array in the order of its inputs") {
  Report second = sample_report();
  second.input.path = "second.pt";
  const Json json = Json::parse(to_json(std::vector<Report>{sample_report(), second}));
  REQUIRE(json.is_array());
  REQUIRE(json.size() == 2);
  CHECK(json[1]["input"]["path"] == "second.pt");
}
