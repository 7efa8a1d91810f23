// Looking operators up in the table (operators.h).
#include "graph/operators.h"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/operator_table.h"

namespace flashconvert {

using torch::jit::Node;

namespace {

struct Overload {
  std::string name;
  std::uint64_t traits = 0;
};

using Table = std::unordered_map<c10::Symbol, std::vector<Overload>>;

Table make_table() {
  Table table;
  for (const OperatorRow& row : kOperators) {
    std::istringstream overloads(row.overloads);
    for (std::string name; overloads >> name;) {
      table[c10::Symbol::fromQualString(row.name)].push_back({name == "-" ? "" : name, row.traits});
    }
  }
  return table;
}

const Table& table() {
  static const Table made = make_table();
  return made;
}

// Which operands of a layer's operator hold its weights, and where its bias stands (-1: it has none).
struct LayerRow {
  const char* name;
  std::vector<std::size_t> weights;
  int bias;
};

const LayerRow* layer_row(const Node* node) {
  static const std::vector<LayerRow> kLayers{{"aten::linear", {1}, 2},
                                             {"aten::conv1d", {1}, 2},
                                             {"aten::conv2d", {1}, 2},
                                             {"aten::conv3d", {1}, 2},
                                             {"aten::_convolution", {1}, 2},
                                             {"aten::convolution", {1}, 2},
                                             {"aten::conv_transpose1d", {1}, 2},
                                             {"aten::conv_transpose2d", {1}, 2},
                                             {"aten::conv_transpose3d", {1}, 2},
                                             {"aten::embedding", {0}, -1},
                                             {"aten::bilinear", {2}, 3},
                                             {"aten::matmul", {0, 1}, -1},
                                             {"aten::mm", {0, 1}, -1},
                                             {"aten::bmm", {0, 1}, -1},
                                             {"aten::addmm", {1, 2}, 0},
                                             {"aten::baddbmm", {1, 2}, 0},
                                             {"aten::_native_multi_head_attention", {5, 7}, -1},
                                             {"aten::_transformer_encoder_layer_fwd", {3, 5, 14, 16}, -1}};
  static const auto kByKind = [] {
    std::unordered_map<c10::Symbol, const LayerRow*> rows;
    for (const LayerRow& row : kLayers) rows[c10::Symbol::fromQualString(row.name)] = &row;
    return rows;
  }();
  const auto found = kByKind.find(node->kind());
  return found == kByKind.end() ? nullptr : found->second;
}

}  // namespace

std::uint64_t traits_of(const Node* node) {
  const auto found = table().find(node->kind());
  if (found == table().end()) return 0;
  const auto* schema = node->maybeSchema();
  if (schema == nullptr) return 0;
  for (const Overload& overload : found->second) {
    if (overload.name == schema->overload_name()) return overload.traits;
  }
  return 0;
}

bool has_trait(const Node* node, std::uint64_t any_of) { return (traits_of(node) & any_of) != 0; }

std::vector<std::size_t> weight_operands(const Node* node) {
  const LayerRow* row = layer_row(node);
  return row != nullptr ? row->weights : std::vector<std::size_t>{};
}

std::optional<std::size_t> bias_operand(const Node* node) {
  const LayerRow* row = layer_row(node);
  return row != nullptr && row->bias >= 0 ? std::optional(static_cast<std::size_t>(row->bias)) : std::nullopt;
}

bool takes_dtype_alone(const Node* node, std::size_t operand) {
  if (operand == 0) return has_trait(node, kAsksDtype);
  return operand == 1 && has_trait(node, kCasts) && node->input(1)->type()->isSubtypeOf(*c10::TensorType::get());
}

std::string kind_name(const Node* node) { return node->kind().toQualString(); }

bool is_any_of(const Node* node, std::initializer_list<const char*> names) {
  const std::string_view name = node->kind().toQualString();  // not copied: the survey's most frequent question
  return std::any_of(names.begin(), names.end(), [&](const char* other) { return name == other; });
}

void for_each_operator(
    const std::function<void(const std::string& name, const std::string& overload, std::uint64_t traits)>& visit) {
  for (const auto& [kind, overloads] : table()) {
    for (const Overload& overload : overloads) visit(kind.toQualString(), overload.name, overload.traits);
  }
}

}  // namespace flashconvert
