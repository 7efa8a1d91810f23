// Runs a piece of graph beside its replacement (probe.h).
#include "survey/probe.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "survey/site_walk.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;

namespace {

// The sizes of one trial.
struct Shape {
  std::vector<std::int64_t> product_leading;  // of the product's operands
  std::vector<std::int64_t> leading;          // of the operator's: the same, or the first split
  std::int64_t queries = 0, keys = 0, head_dim = 0, value_dim = 0, repeats = 1;
};

bool is_number(const Value* value) {
  return value->type()->isSubtypeOf(*c10::IntType::get()) || value->type()->isSubtypeOf(*c10::FloatType::get()) ||
         value->type()->isSubtypeOf(*c10::BoolType::get());
}

// The piece as a graph of its own: inputs are self, the drawn tensors, then the numbers that come from outside.
class Piece {
public:
  Piece(const ProbeSite& site, const GraphFacts& facts, at::ScalarType type)
      : facts_(facts), type_(type), graph_(std::make_shared<Graph>()) {
    for (const ProbeSizes& sizes : site.sizes) {
      for (Value* element : GraphFacts::list_elements(sizes.list)) {
        if (!facts.constant(element)) free_sizes_.insert(element);
      }
    }
    Value* self = graph_->addInput("self");
    self->setType(facts.module().type());
    const auto inputs = site.original->owningGraph()->inputs();
    if (!inputs.empty() && inputs[0]->type()->cast<c10::ClassType>()) map_[inputs[0]] = self;
    for (const ProbeInput& input : site.inputs) map_[input.value] = graph_->addInput();
    for (const ProbeSite::Scaled& scaled : site.scaled) {
      torch::jit::WithInsertPoint here(graph_->block());
      map_[scaled.value] = graph_->insert(aten::mul, {map_.at(scaled.by_input), c10::IValue(scaled.factor)});
    }
    Value* original = clone(site.original);
    Value* replacement = original ? clone(site.replacement) : nullptr;
    if (!original || !replacement) return;
    graph_->registerOutput(original);
    graph_->registerOutput(replacement);
    complete_ = true;
  }

  bool complete() const { return complete_; }
  const std::vector<Value*>& numbers() const { return numbers_; }
  bool casts_to_single() const { return casts_to_single_; }

  // Original and replacement on one set of inputs; nothing when the original rejects them (`error` says how). Throws
  // what the replacement throws.
  std::optional<std::vector<at::Tensor>> run(const std::vector<c10::IValue>& arguments, std::string& error) {
    if (!original_) {
      const auto original = graph_->copy();
      original->eraseOutput(1);
      torch::jit::EliminateDeadCode(original);
      original_ = std::make_unique<torch::jit::Code>(original, "original");
      both_ = std::make_unique<torch::jit::Code>(graph_, "both");
    }
    torch::NoGradGuard no_grad;
    try {
      torch::jit::Stack stack(arguments.begin(), arguments.end());
      torch::jit::InterpreterState(*original_).run(stack);
    } catch (const std::exception& failure) {
      error = failure.what();
      return std::nullopt;
    }
    torch::jit::Stack stack(arguments.begin(), arguments.end());
    torch::jit::InterpreterState(*both_).run(stack);
    return std::vector<at::Tensor>{stack.at(stack.size() - 2).toTensor(), stack.at(stack.size() - 1).toTensor()};
  }

private:
  Value* clone(Value* value) {
    if (const auto found = map_.find(value); found != map_.end()) return found->second;
    if (failed_.count(value)) return nullptr;
    if (free_sizes_.count(value)) return add_number(value);
    Node* node = value->node();
    if (value->type()->isSubtypeOf(*c10::TensorType::get()) && facts_.is_independent_of_inputs(value) &&
        node->kind() != prim::Constant) {
      if (const auto tensor = facts_.run(value)) {  // tables and buffers: their value in double precision
        torch::jit::WithInsertPoint here(graph_->block());
        return map_[value] = graph_->insertConstant(tensor->is_floating_point() ? tensor->to(type_) : *tensor);
      }
    }
    const bool can_clone = node->kind() != prim::Param && node->blocks().empty();
    std::unordered_map<Value*, Value*> inputs;
    bool whole = can_clone;
    for (std::size_t i = 0; whole && i < node->inputs().size(); ++i) {
      Value* input = clone(node->input(i));
      whole = input != nullptr;
      inputs[node->input(i)] = input;
    }
    if (whole) {
      Node* copy = graph_->createClone(node, [&](Value* input) { return inputs.at(input); });
      graph_->appendNode(copy);
      note_casts(node);
      for (std::size_t i = 0; i < node->outputs().size(); ++i) map_[node->output(i)] = copy->output(i);
      return map_.at(value);
    }
    if (is_number(value)) {  // a size of something outside the piece
      return add_number(value);
    }
    failed_.insert(value);
    return nullptr;
  }

  Value* add_number(Value* value) {
    Value* input = graph_->addInput();
    input->setType(value->type());
    numbers_.push_back(value);
    return map_[value] = input;
  }

  void note_casts(const Node* node) {
    const std::string name = kind_name(node);
    if (name != "aten::to" && name != "aten::softmax" && name != "aten::float" && name != "aten::half") return;
    for (const Value* input : node->inputs()) {
      const auto value = torch::jit::toIValue(input);
      if (value && value->isInt() && (value->toInt() == 6 || value->toInt() == 5 || value->toInt() == 15)) {
        casts_to_single_ = true;
      }
    }
    if (name != "aten::to" && name != "aten::softmax") casts_to_single_ = true;
  }

  const GraphFacts& facts_;
  at::ScalarType type_;
  std::shared_ptr<Graph> graph_;
  std::unordered_map<Value*, Value*> map_;
  std::unordered_set<Value*> failed_;
  std::unordered_set<Value*> free_sizes_;
  std::vector<Value*> numbers_;
  std::unique_ptr<torch::jit::Code> original_;
  std::unique_ptr<torch::jit::Code> both_;
  bool complete_ = false;
  bool casts_to_single_ = false;
};

std::vector<std::int64_t> operand_shape(const ProbeInput& input, const Shape& shape) {
  std::vector<std::int64_t> sizes = shape.product_leading;
  if (input.use != ProbeInput::Use::kQuery && shape.repeats > 1) sizes.back() /= shape.repeats;
  sizes.push_back(input.use == ProbeInput::Use::kQuery ? shape.queries : shape.keys);
  sizes.push_back(input.use == ProbeInput::Use::kValue ? shape.value_dim : shape.head_dim);
  if (input.swap_last) std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
  if (input.order.empty()) return sizes;
  if (input.order.size() != sizes.size()) return {};
  std::vector<std::int64_t> permuted(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) permuted[input.order[i]] = sizes[i];
  return permuted;
}

// What a number from outside the piece must be, from its place in a list of sizes.
std::optional<std::int64_t> number_value(const Value* number, const ProbeSite& site, const Shape& shape) {
  for (const ProbeSizes& sizes : site.sizes) {
    const auto elements = GraphFacts::list_elements(sizes.list);
    for (std::size_t at = 0; at < elements.size(); ++at) {
      if (elements[at] != number) continue;
      std::vector<std::int64_t> full;
      if (sizes.of_scores) {
        full = elements.size() == shape.leading.size() + 2 ? shape.leading : shape.product_leading;
        full.push_back(shape.queries);
        full.push_back(shape.keys);
      } else {
        full = shape.product_leading;
        if (elements.size() == full.size() + 3) {
          full.back() /= shape.repeats;
          full.push_back(shape.repeats);
        }
        full.push_back(shape.keys);
        full.push_back(shape.head_dim);
      }
      if (full.size() == elements.size()) return full[at];
      std::int64_t joined = 1;  // leading dimensions in one
      for (std::size_t i = 0; i + 2 < full.size(); ++i) joined *= full[i];
      if (elements.size() == 3) return at == 0 ? joined : full[full.size() - 3 + at];
    }
  }
  return std::nullopt;
}

std::vector<Shape> trial_shapes(const ProbeSite& site, std::int64_t rank) {
  std::vector<Shape> shapes;
  const std::int64_t key_heads = 2;
  const std::int64_t heads = site.heads.value_or(key_heads * site.repeats + (site.repeats == 1 ? 1 : 0));
  for (const auto& [batch, queries, keys] : {std::tuple{2, 5, 5}, {2, 4, 7}, {1, 6, 3}, {3, 1, 4}}) {
    Shape shape;
    shape.repeats = site.repeats;
    shape.queries = site.query_length.value_or(queries);
    shape.keys = site.key_length.value_or(keys);
    shape.head_dim = site.head_dim.value_or(8);
    shape.value_dim = site.value_dim.value_or(site.head_dim.value_or(6));
    if (!site.split_sizes.empty()) {
      std::int64_t first = 1;
      for (std::size_t i = 0; i < site.split_sizes.size(); ++i) {
        const std::int64_t size = site.split_sizes[i] && *site.split_sizes[i] > 0 ? *site.split_sizes[i]
                                  : i == 0                                        ? batch
                                                                                  : heads;
        shape.leading.push_back(size);
        if (i < 2) first *= size;
      }
      shape.product_leading.push_back(first);
      shape.product_leading.insert(shape.product_leading.end(), shape.leading.begin() + 2, shape.leading.end());
      if (static_cast<std::int64_t>(shape.product_leading.size()) + 2 != rank) continue;
    } else {
      if (rank == 3) shape.leading = {batch * heads};
      if (rank == 4) shape.leading = {batch, heads};
      if (rank == 5) shape.leading = {batch, 2, heads};
      shape.product_leading = shape.leading;
    }
    shapes.push_back(shape);
  }
  return shapes;
}

// The layouts in which biases are met, each as the sizes that it has in every dimension of the scores.
std::vector<std::vector<std::int64_t>> bias_shapes(const Shape& shape, bool product_layout) {
  std::vector<std::int64_t> full = product_layout ? shape.product_leading : shape.leading;
  full.push_back(shape.queries);
  full.push_back(shape.keys);
  std::vector<std::vector<std::int64_t>> shapes{full};
  auto keep = [&](auto kept) {
    auto sizes = full;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (!kept(i)) sizes[i] = 1;
    }
    shapes.push_back(sizes);
  };
  const std::size_t n = full.size();
  keep([&](std::size_t i) { return i == 0 || i == n - 1; });  // key padding
  keep([&](std::size_t i) { return i >= n - 2; });            // one mask for all
  keep([&](std::size_t i) { return i == 0 || i >= n - 2; });  // a mask each batch entry
  keep([&](std::size_t i) { return i + 3 >= n; });            // a bias each head
  shapes.push_back({shape.queries, shape.keys});
  return shapes;
}

enum class Masks { kOrdinary, kMinusInfinity, kLowest };

at::Tensor draw(const ProbeInput& input, const std::vector<std::int64_t>& sizes, Masks masks, at::ScalarType type,
                at::Generator& generator) {
  const auto options = at::TensorOptions().dtype(type);
  const at::Tensor uniform = at::rand(sizes, generator, options);
  const bool first_row_hidden = masks != Masks::kOrdinary && sizes.size() >= 2;
  if (input.use == ProbeInput::Use::kMask) {
    at::Tensor mask = uniform < 0.4;
    if (first_row_hidden) mask.select(-2, 0).fill_(true);  // hides or shows all of it, as the spelling has it
    if (masks == Masks::kLowest) mask = mask.logical_not();
    return mask;
  }
  at::Tensor values = at::randn(sizes, generator, options);
  if (input.use != ProbeInput::Use::kAdditive || masks == Masks::kOrdinary) return values;
  const double hidden =
      masks == Masks::kLowest ? std::numeric_limits<float>::lowest() : -std::numeric_limits<double>::infinity();
  values = values.masked_fill(uniform < 0.4, hidden);
  if (first_row_hidden) values.select(-2, 0).fill_(hidden);
  return values;
}

// The largest difference in units of the largest value; NaN must stand in the same places.
double difference(const at::Tensor& expected, const at::Tensor& given) {
  if (expected.sizes() != given.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor a = expected.to(at::kDouble);
  const at::Tensor b = given.to(at::kDouble);
  if (!at::equal(a.isnan(), b.isnan())) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0;
  const at::Tensor finite = at::nan_to_num(a);
  const double scale = std::max(finite.abs().max().item<double>(), 1e-30);
  return (finite - at::nan_to_num(b)).abs().max().item<double>() / scale;
}

// The interpreter's messages end with the operator's own.
std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

// One trial: nothing when the original does not accept the inputs, else the difference.
std::optional<double> try_once(Piece& piece, const ProbeSite& site, const GraphFacts& facts, const Shape& shape,
                               std::size_t bias_layout, Masks masks, at::ScalarType type, at::Generator& generator,
                               std::string& error) {
  std::vector<c10::IValue> arguments{facts.module()._ivalue()};
  for (const ProbeInput& input : site.inputs) {
    const bool is_operand = input.use == ProbeInput::Use::kQuery || input.use == ProbeInput::Use::kKey ||
                            input.use == ProbeInput::Use::kValue;
    std::vector<std::int64_t> sizes = input.sizes;
    for (std::int64_t& size : sizes) {
      if (size == ProbeInput::kBatch) size = shape.leading.front();
      if (size == ProbeInput::kLength) size = shape.queries;
      if (size == ProbeInput::kKeys) size = shape.keys;
      if (size == ProbeInput::kHeads) size = shape.leading.back();
    }
    if (sizes.empty()) sizes = is_operand ? operand_shape(input, shape) : bias_shapes(shape, false)[bias_layout];
    if (is_operand && sizes.empty()) return std::nullopt;
    arguments.emplace_back(draw(input, sizes, masks, type, generator));
  }
  for (Value* number : piece.numbers()) {
    // A size of something outside that stands in no list is part of a scale: any value serves both forms.
    constexpr std::int64_t kWidth = 64;
    arguments.emplace_back(number_value(number, site, shape).value_or(kWidth));
  }
  std::optional<std::vector<at::Tensor>> outputs;
  try {
    outputs = piece.run(arguments, error);
  } catch (const std::exception& failure) {
    throw Declined("the fused form fails where the original runs: " + last_line(failure.what()));
  }
  if (!outputs) return std::nullopt;
  return difference(outputs->at(0), outputs->at(1));
}

// Runs the trials in one dtype; counts those on which the two agree. Returns the reason of a disagreement.
std::optional<std::string> run_trials(Piece& piece, const ProbeSite& site, const GraphFacts& facts, at::ScalarType type,
                                      int& agreed, std::string& error) {
  const double allowed = type == at::kDouble && !piece.casts_to_single() ? 1e-9 : 1e-4;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(20261123);
  bool has_bias = false;
  for (const ProbeInput& input : site.inputs) {
    has_bias = has_bias || input.use == ProbeInput::Use::kAdditive || input.use == ProbeInput::Use::kMask;
  }
  for (const std::int64_t rank : site.ranks) {
    for (const Shape& shape : trial_shapes(site, rank)) {
      const std::size_t layouts = has_bias ? bias_shapes(shape, false).size() : 1;
      for (std::size_t layout = 0; layout < layouts; ++layout) {
        for (const Masks masks : {Masks::kOrdinary, Masks::kMinusInfinity, Masks::kLowest}) {
          if (masks != Masks::kOrdinary && (!has_bias || !site.masked_rows)) continue;
          const auto found = try_once(piece, site, facts, shape, layout, masks, type, generator, error);
          if (!found) continue;
          if (!(*found <= allowed)) {
            return "the probe found a difference of " + std::to_string(*found) + " of the largest value (" +
                   std::to_string(shape.queries) + " queries, " + std::to_string(shape.keys) + " keys)";
          }
          ++agreed;
        }
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> probe(const ProbeSite& site, const GraphFacts& facts) {
  std::string error;
  // Single precision where the piece has casts that double precision does not survive.
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    Piece piece(site, facts, type);
    if (!piece.complete()) {
      return "the piece of graph around the softmax cannot be run alone, so the fusion could not be probed";
    }
    int agreed = 0;
    if (auto disagreement = run_trials(piece, site, facts, type, agreed, error)) return disagreement;
    if (agreed > 0) return std::nullopt;
  }
  return "the probe found no shape that the original accepts" + (error.empty() ? "" : ": " + last_line(error));
}

}  // namespace flashconvert::survey
