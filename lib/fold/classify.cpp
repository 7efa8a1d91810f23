// What a reparameterised weight is called in the report.
#include "fold/classify.h"

#include <algorithm>
#include <set>
#include <vector>

#include "graph/traversal.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Node;

// A tensor attribute that the path reads.
struct Leaf {
  at::Tensor tensor;
  Cell cell;
  bool is_parameter = false;
};

std::vector<Leaf> leaves(const WeightPath& path) {
  std::vector<Leaf> found;
  for (const Cell& cell : path.reads) {
    const auto* object = static_cast<const c10::ivalue::Object*>(cell.owner);
    const auto slot = object->type()->findAttributeSlot(cell.name);
    if (!slot || !object->getSlot(*slot).isTensor() || !object->getSlot(*slot).toTensor().defined()) continue;
    found.push_back(
        {object->getSlot(*slot).toTensor(), cell, object->type()->is_module() && object->type()->is_parameter(*slot)});
  }
  return found;
}

// The operators and leaves of a path, and how the weight relates to the raw one.
struct Evidence {
  std::set<std::string> operators;
  std::vector<Leaf> leaves;
  at::Tensor raw;          // [rows, rest], float64; undefined when there is none
  at::Tensor weight;       // the same
  std::int64_t rows = 0;   // of the whole weight
  std::int64_t numel = 0;  // the same
  bool has(std::initializer_list<const char*> kinds) const {
    return std::any_of(kinds.begin(), kinds.end(), [&](const char* kind) { return operators.count(kind) != 0; });
  }
  // A learned gain of this many elements, beside the raw weight.
  bool has_gain(std::int64_t elements) const {
    return std::any_of(leaves.begin(), leaves.end(),
                       [&](const Leaf& leaf) { return leaf.is_parameter && leaf.tensor.numel() == elements; });
  }
};

// A name is worth no second pass over a large weight: of many rows, some tell the same.
at::Tensor as_rows(const at::Tensor& tensor, bool all_rows) {
  constexpr std::int64_t kEnough = 64;
  const std::int64_t step = all_rows ? 1 : std::max<std::int64_t>(1, tensor.size(0) / kEnough);
  return tensor.detach().slice(0, 0, std::nullopt, step).to(at::kDouble).flatten(1);
}

// Whether each row of the weight is the raw row times one number; `numbers` receives them.
bool is_row_scaling(const Evidence& evidence, at::Tensor* numbers) {
  if (!evidence.raw.defined()) return false;
  const at::Tensor energy = (evidence.raw * evidence.raw).sum(1, true).clamp_min(1e-300);
  *numbers = (evidence.weight * evidence.raw).sum(1, true) / energy;
  const at::Tensor rest = evidence.weight - *numbers * evidence.raw;
  return rest.norm().item<double>() <= 1e-2 * evidence.weight.norm().item<double>();
}

bool is_one_number(const at::Tensor& numbers) {
  const double mean = numbers.mean().item<double>();
  return (numbers - mean).abs().max().item<double>() <= 1e-2 * std::abs(mean);
}

bool has_orthonormal_rows_or_columns(const at::Tensor& weight) {
  const bool is_wide = weight.size(0) <= weight.size(1);
  const at::Tensor gram = is_wide ? weight.mm(weight.t()) : weight.t().mm(weight);
  const double scale = gram.diagonal().mean().item<double>();
  const at::Tensor identity = at::eye(gram.size(0), gram.options()) * scale;
  return scale > 0 && (gram - identity).abs().max().item<double>() <= 3e-2 * scale;
}

bool has_zero_mean_rows(const at::Tensor& weight) {
  return weight.mean(1).abs().max().item<double>() <= 1e-2 * weight.abs().max().item<double>();
}

bool is_low_rank_update(const Evidence& evidence) {
  const auto is_factor = [&](const Leaf& leaf) {
    return leaf.tensor.dim() == 2 && leaf.tensor.numel() != evidence.numel;
  };
  return evidence.raw.defined() && evidence.has({"aten::matmul", "aten::mm", "aten::addmm"}) &&
         std::count_if(evidence.leaves.begin(), evidence.leaves.end(), is_factor) >= 2;
}

bool is_masked(const Evidence& evidence) {
  if (evidence.has({"aten::masked_fill", "aten::masked_fill_", "aten::where", "aten::tril", "aten::triu"})) return true;
  return std::any_of(evidence.leaves.begin(), evidence.leaves.end(), [&](const Leaf& leaf) {
    if (leaf.is_parameter || leaf.tensor.numel() != evidence.numel) return false;
    return leaf.tensor.eq(0).logical_or(leaf.tensor.eq(1)).all().item<bool>();
  });
}

// Row norms come from norm operators, or from the sum of squares under a root.
bool takes_norm(const Evidence& evidence) {
  return evidence.has({"aten::linalg_vector_norm", "aten::norm", "aten::frobenius_norm", "aten::linalg_norm"}) ||
         (evidence.has({"aten::sum", "aten::mean"}) && evidence.has({"aten::sqrt", "aten::rsqrt", "aten::pow"}));
}

bool takes_spectral_norm(const Evidence& evidence) {
  return evidence.has({"aten::mv", "aten::dot", "aten::vdot", "aten::einsum", "aten::linalg_svdvals", "aten::svd",
                       "aten::linalg_matrix_norm", "aten::_linalg_svd", "aten::linalg_svd", "aten::matmul",
                       "aten::mm"});
}

std::string form_of_scaling(const Evidence& evidence, const at::Tensor& numbers) {
  if (evidence.has({"aten::_weight_norm"})) return "weight-norm";
  if (is_one_number(numbers) && takes_spectral_norm(evidence)) {
    return evidence.has_gain(1) ? "sigma-reparam/spectral" : "spectral-norm";
  }
  if (takes_norm(evidence)) {
    if (evidence.has_gain(1)) return "sigma-reparam/row-norm";
    if (evidence.has_gain(evidence.rows)) return "weight-norm";
    return "general";
  }
  return "scaled";
}

}  // namespace

std::optional<RawWeight> raw_weight(const WeightPath& path, const at::Tensor& weight) {
  static const std::set<std::string> kNames = {"weight", "original", "original1", "weight_v", "weight_orig"};
  std::optional<RawWeight> found;
  bool is_named = false;
  for (const Leaf& leaf : leaves(path)) {
    if (!leaf.is_parameter || !leaf.tensor.sizes().equals(weight.sizes())) continue;
    const bool named = kNames.count(leaf.cell.name) != 0;
    if (found && (is_named || !named)) continue;
    found = RawWeight{leaf.tensor, leaf.cell};
    is_named = named;
  }
  return found;
}

std::string classify(const WeightPath& path, const at::Tensor& weight) {
  if (weight.dim() < 2 || weight.numel() == 0) return "general";
  Evidence evidence;
  for_each_node(path.graph->block(), [&](Node* node) { evidence.operators.insert(node->kind().toQualString()); });
  evidence.leaves = leaves(path);
  const bool may_be_orthogonal =
      evidence.has({"aten::linalg_matrix_exp", "aten::matrix_exp", "aten::linalg_householder_product", "aten::orgqr",
                    "aten::linalg_solve", "aten::linalg_qr", "aten::linalg_inv"});
  evidence.rows = weight.size(0);
  evidence.numel = weight.numel();
  evidence.weight = as_rows(weight, may_be_orthogonal);
  if (const auto raw = raw_weight(path, weight)) evidence.raw = as_rows(raw->tensor, may_be_orthogonal);

  if (evidence.has({"aten::_weight_norm"})) return "weight-norm";
  if (may_be_orthogonal && has_orthonormal_rows_or_columns(evidence.weight)) return "orthogonal";
  at::Tensor numbers;
  if (is_row_scaling(evidence, &numbers)) return form_of_scaling(evidence, numbers);
  if (is_low_rank_update(evidence)) return "lora-sum";
  if (evidence.has({"aten::mean", "aten::var", "aten::std", "aten::var_mean", "aten::std_mean", "aten::batch_norm"}) &&
      has_zero_mean_rows(evidence.weight)) {
    return "weight-standardisation";
  }
  if (is_masked(evidence)) return "masked";
  const bool is_product = evidence.has({"aten::mul", "aten::div", "aten::mul_", "aten::div_"});
  const bool is_sum = evidence.has({"aten::add", "aten::sub", "aten::add_", "aten::sub_"});
  return is_product && !is_sum && !takes_norm(evidence) ? "scaled" : "general";
}

}  // namespace flashconvert::fold
