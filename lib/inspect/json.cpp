// The JSON forms (docs/inspecting.md).
#include <nlohmann/json.hpp>

#include "inspect/writers.h"
#include "report/writers.h"

namespace flashconvert::inspect {
namespace {

using Json = nlohmann::ordered_json;

Json tensor_json(const TensorFacts& tensor) {
  return {{"name", tensor.name},     {"dtype", tensor.dtype}, {"shape", tensor.shape},
          {"device", tensor.device}, {"bytes", tensor.bytes}, {"parameter", tensor.is_parameter}};
}

Json module_json(const ModuleFacts& module) {
  Json json = {{"path", module.path}, {"type", module.type}, {"bytes", module.bytes}};
  json["tensors"] = Json::array();
  for (const auto& tensor : module.tensors) json["tensors"].push_back(tensor_json(tensor));
  json["methods"] = Json::array();
  for (const auto& method : module.methods) json["methods"].push_back(method.first);
  return json;
}

std::string text_of(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json side(const std::string& line, bool has_it) { return has_it ? Json(line) : Json(nullptr); }

}  // namespace

std::string json_of(const Inspection& inspection) {
  // What a report says of attention and weights, in the words of its contract.
  const Json report = Json::parse(report::to_json(inspection.plan));

  Json json = {{"schema", 1}};
  const report::FileFacts& file = inspection.plan.input;
  json["file"] = {{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}};
  json["methods"] = Json::array();
  for (const auto& method : inspection.methods) {
    json["methods"].push_back({{"name", method.name}, {"schema", method.schema}, {"inputs", method.inputs}});
  }
  json["modules"] = Json::array();
  for (const auto& module : inspection.modules) json["modules"].push_back(module_json(module));
  json["operators"] = inspection.plan.operators_before;
  json["devices_in_code"] = inspection.devices_in_code;
  json["attention"] = report["attention"];
  json["folded"] = report["folded"];
  return text_of(json);
}

std::string json_of(const std::vector<ModuleChange>& changes) {
  Json json = Json::array();
  for (const auto& change : changes) {
    Json entry = {{"path", change.path},
                  {"type_before", side(change.type_before, !change.type_before.empty())},
                  {"type_after", side(change.type_after, !change.type_after.empty())},
                  {"tensors_gone", change.tensors_gone},
                  {"tensors_new", change.tensors_new},
                  {"tensors_changed", change.tensors_changed}};
    entry["methods"] = Json::array();
    for (const auto& method : change.methods) {
      Json rows = Json::array();
      for (const auto& row : method.rows) {
        rows.push_back({side(row.before, row.has_before), side(row.after, row.has_after)});
      }
      entry["methods"].push_back({{"name", method.name}, {"code", rows}});
    }
    json.push_back(std::move(entry));
  }
  return text_of(json);
}

}  // namespace flashconvert::inspect
