// Follows each input of a method through its inlined graph to the operators that tell what the input means.
#include "verify/uses.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <cctype>
#include <unordered_set>
#include <utility>

#include "graph/graph_facts.h"

namespace flashconvert::verify {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// Whether the operator passes the values of its first input on: as they are, in another shape, order or dtype, within
// bounds, or some of them.
bool passes_on(const Node& node) {
  constexpr std::uint64_t kPassing =
      kKeepsValues | kCasts | kClamps | kPermutes | kReshapes | kSelects | kDivides | kExpands | kDropsOut;
  return has_trait(&node, kPassing) ||
         is_any_of(&node, {"aten::masked_fill", "aten::masked_fill_", "aten::__getitem__", "prim::unchecked_cast",
                           "prim::ListUnpack", "prim::TupleUnpack", "prim::TupleIndex", "prim::TupleConstruct"});
}

bool is(const Node& node, std::initializer_list<const char*> names) { return is_any_of(&node, names); }

std::optional<double> constant_number(const Value* value) {
  const auto constant = torch::jit::toIValue(value);
  if (!constant) return std::nullopt;
  if (constant->isInt()) return static_cast<double>(constant->toInt());
  if (constant->isDouble()) return constant->toDouble();
  if (constant->isTensor() && constant->toTensor().defined() && constant->toTensor().numel() == 1) {
    return constant->toTensor().item().toDouble();
  }
  return std::nullopt;
}

bool is_large_negative(const Value* value) {
  const auto number = constant_number(value);
  return number && *number <= -1e3;
}

// What was learned about one input.
struct Facts {
  bool index = false, keep = false, drop = false, additive = false, length = false;
  std::optional<std::int64_t> rows;

  void add_rows(std::optional<std::int64_t> count) {
    index = true;
    if (count && (!rows || *count < *rows)) rows = count;
  }
};

// How the followed value relates to the input.
struct Path {
  std::int64_t added = 0;  // to integers
  bool inverted = false;   // a mask that was turned round
};

class Follower {
public:
  explicit Follower(const torch::jit::Module& module) : module_(module) {}

  Facts facts_of(const Value* input) {
    facts_ = {};
    visited_.clear();
    follow(input, {});
    return facts_;
  }

private:
  void follow(const Value* value, const Path& path) {
    if (!visited_.insert(value).second) return;
    for (const torch::jit::Use& use : value->uses()) look_at(*use.user, use.offset, path);
  }

  void follow_outputs(const Node& node, const Path& path) {
    for (const Value* output : node.outputs()) follow(output, path);
  }

  void look_at(const Node& node, std::size_t input, const Path& path) {
    if (note_index(node, input, path) || note_mask(node, input, path) || note_length(node, input)) return;
    if (is(node, {"prim::Return"})) {
      const Node* owner = node.owningBlock()->owningNode();
      if (owner && owner->kind() == torch::jit::prim::If) follow(owner->output(input), path);
    } else if (is(node, {"prim::ListConstruct"})) {
      follow_list(node, input, path);
    } else if (is(node, {"aten::add", "aten::add_", "aten::sub", "aten::sub_"}) && node.inputs().size() > 1) {
      follow_sum(node, input, path);
    } else if (is(node, {"aten::__and__", "aten::__or__", "aten::logical_and", "aten::logical_or", "aten::bitwise_and",
                         "aten::cat", "prim::TupleConstruct"}) ||
               (input == 0 && passes_on(node))) {
      follow_outputs(node, path);
    }
  }

  // A list of indices goes to aten::index, a list of tensors to cat.
  void follow_list(const Node& list, std::size_t element, const Path& path) {
    for (const torch::jit::Use& use : list.output()->uses()) {
      if (is(*use.user, {"aten::index", "aten::index_put", "aten::index_put_"}) && use.offset == 1) {
        add_rows(size_of(use.user->input(0), static_cast<std::int64_t>(element)), path);
      } else if (is(*use.user, {"aten::cat", "aten::stack"})) {
        follow_outputs(*use.user, path);
      }
    }
  }

  void follow_sum(const Node& node, std::size_t input, const Path& path) {
    if (input > 1) return;
    const auto other = constant_number(node.input(1 - input));
    if (other && input == 0) {
      const auto step = static_cast<std::int64_t>(std::clamp(*other, -1e9, 1e9));
      follow_outputs(node, {path.added + (is(node, {"aten::sub", "aten::sub_"}) ? -step : step), path.inverted});
    } else if (leads_to_softmax(node.output(), 4)) {
      facts_.additive = true;
    }
  }

  void add_rows(std::optional<std::int64_t> rows, const Path& path) {
    facts_.add_rows(rows ? std::optional(std::max<std::int64_t>(1, *rows - std::max<std::int64_t>(0, path.added)))
                         : rows);
  }

  bool note_index(const Node& node, std::size_t input, const Path& path) {
    if (is(node, {"aten::embedding", "aten::embedding_bag"}) && input == 1) {
      add_rows(size_of(node.input(0), 0), path);
    } else if (is(node, {"aten::index_select", "aten::gather"}) && input == 2) {
      const auto dim = constant_number(node.input(1));
      add_rows(dim ? size_of(node.input(0), static_cast<std::int64_t>(*dim)) : std::nullopt, path);
    } else if (is(node, {"aten::one_hot"}) && input == 0) {
      const auto classes = constant_number(node.input(1));
      add_rows(classes && *classes > 0 ? std::optional(static_cast<std::int64_t>(*classes)) : std::nullopt, path);
    } else {
      return false;
    }
    return true;
  }

  void note_keep(bool keep, const Path& path) { (keep != path.inverted ? facts_.keep : facts_.drop) = true; }

  bool note_mask(const Node& node, std::size_t input, const Path& path) {
    const Path turned{path.added, !path.inverted};
    const bool is_filled = is(node, {"aten::masked_fill", "aten::masked_fill_"}) && input == 1;
    const bool is_scaled_down = is(node, {"aten::mul", "aten::mul_"}) && input == 0 && is_large_negative(node.input(1));
    const bool is_one_minus = is(node, {"aten::rsub"}) && input == 0 && constant_number(node.input(1)) == 1.0;
    const bool is_of_layer = is(node, {"aten::_native_multi_head_attention", "aten::_transformer_encoder_layer_fwd"}) &&
                             node.maybeSchema() && node.schema().arguments().at(input).name() == "mask";
    if (is_filled || is_scaled_down || is_of_layer) {
      note_keep(false, path);
    } else if (is(node, {"aten::where"}) && input == 0 && node.inputs().size() == 3) {
      note_keep(!is_large_negative(node.input(1)), path);
    } else if (is_one_minus || is(node, {"aten::logical_not", "aten::bitwise_not"})) {
      follow_outputs(node, turned);
    } else if (is(node, {"aten::eq", "aten::lt"}) && input == 0 && constant_number(node.input(1))) {
      follow_outputs(node, constant_number(node.input(1)) == 1.0 && is(node, {"aten::eq"}) ? path : turned);
    } else if (is(node, {"aten::ne", "aten::gt"}) && input == 0 && constant_number(node.input(1))) {
      follow_outputs(node, constant_number(node.input(1)) == 1.0 && is(node, {"aten::ne"}) ? turned : path);
    } else if (is(node, {"aten::scaled_dot_product_attention", "flashconvert::attention"}) && input == 3) {
      facts_.additive = facts_.keep = true;  // which of the two is a matter of the dtype
    } else if (is(node, {"aten::baddbmm"}) && input == 0 && leads_to_softmax(node.output(), 4)) {
      facts_.additive = true;
    } else {
      return false;
    }
    return true;
  }

  // Compared with positions: arange(n) < lengths.
  bool note_length(const Node& node, std::size_t input) {
    if (is(node, {"aten::_pack_padded_sequence"}) && input == 1) {
      facts_.length = true;
      return true;
    }
    if (!is(node, {"aten::lt", "aten::le", "aten::gt", "aten::ge"}) || !comes_from_arange(node.input(1 - input)))
      return false;
    facts_.length = true;
    return true;
  }

  static bool comes_from_arange(const Value* value) {
    const Node* node = value->node();
    while (passes_on(*node) && !node->inputs().empty()) node = node->input(0)->node();
    return is(*node, {"aten::arange"});
  }

  static bool leads_to_softmax(const Value* value, int sums_left) {
    for (const torch::jit::Use& use : value->uses()) {
      const Node& node = *use.user;
      if (is(node, {"aten::softmax", "aten::_softmax"})) return true;
      const bool passes = use.offset == 0 && passes_on(node);
      const bool adds = is(node, {"aten::add", "aten::add_"}) && sums_left > 0;
      if ((passes || adds) && !node.outputs().empty() && leads_to_softmax(node.output(0), sums_left - adds))
        return true;
    }
    return false;
  }

  // The size of a parameter, buffer or constant; nothing for what is computed.
  std::optional<std::int64_t> size_of(const Value* value, std::int64_t dim) const {
    const auto tensor = stored_tensor(value);
    if (!tensor) return std::nullopt;
    if (dim < 0) dim += tensor->dim();
    return dim >= 0 && dim < tensor->dim() ? std::optional(tensor->size(dim)) : std::nullopt;
  }

  std::optional<at::Tensor> stored_tensor(const Value* value) const {
    auto stored = torch::jit::toIValue(value);
    if (!stored) stored = GraphFacts(module_).attribute(const_cast<Value*>(value));
    if (stored && stored->isTensor() && stored->toTensor().defined()) return stored->toTensor();
    const Node* node = value->node();
    if (has_trait(node, kCasts | kCopies | kDetaches)) return stored_tensor(node->input(0));
    return std::nullopt;
  }

  const torch::jit::Module& module_;
  Facts facts_;
  std::unordered_set<const Value*> visited_;
};

bool name_has(const std::string& name, const std::string& word) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.find(word) != std::string::npos;
}

// The graph decides; the argument's name helps where the graph says nothing, and tells positions from other ids.
InputUse decide(const Facts& facts, const std::string& name) {
  if (facts.index) return {name_has(name, "pos") ? Use::kPosition : Use::kIndex, facts.rows};
  if (facts.length) return {Use::kLength, std::nullopt};
  if (facts.additive) return {Use::kAdditiveMask, std::nullopt};
  if (facts.drop && !facts.keep) return {Use::kDropMask, std::nullopt};
  if (facts.keep) return {Use::kKeepMask, std::nullopt};
  if (name_has(name, "padding_mask")) return {Use::kDropMask, std::nullopt};
  if (name_has(name, "mask")) return {Use::kKeepMask, std::nullopt};
  if (name_has(name, "length")) return {Use::kLength, std::nullopt};
  if (name_has(name, "position")) return {Use::kPosition, std::nullopt};
  return {};
}

}  // namespace

std::vector<InputUse> input_uses(const torch::jit::Module& module, const std::string& method) {
  const std::shared_ptr<Graph> graph = module.get_method(method).graph()->copy();
  torch::jit::Inline(*graph);
  Follower follower(module);
  std::vector<InputUse> uses;
  for (std::size_t i = 1; i < graph->inputs().size(); ++i) {
    uses.push_back(decide(follower.facts_of(graph->inputs()[i]), graph->inputs()[i]->debugNameBase()));
  }
  return uses;
}

}  // namespace flashconvert::verify
