// Heads as layouts show them: split for the attention, and merged again after it.
#include "rewrite/outline/merged_heads.h"

#include <vector>

#include "graph/operators.h"
#include "graph/views.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

std::optional<SizeSymbol> only_symbol(const DimFactors& dimension) {
  return dimension.size() == 1 ? dimension[0].symbol : std::nullopt;
}

std::optional<Factor> only_features(const DimFactors& dimension) {
  if (dimension.empty()) return Factor::features(0, 1);
  if (dimension.size() != 1 || dimension[0].symbol) return std::nullopt;
  return dimension[0];
}

// The operator that goes on with the data, where there is just one; sizes may be asked for besides.
Node* only_reader(Value* value) {
  Node* reader = nullptr;
  for (const auto& use : value->uses()) {
    if (use.user->kind() == c10::aten::size) continue;
    if (reader != nullptr || use.user->owningBlock() != value->node()->owningBlock()) return nullptr;
    reader = use.user;
  }
  return reader != nullptr && reader->outputs().size() == 1 ? reader : nullptr;
}

// The projection of `value` that `reader` starts: itself, or the addition of the bias after it.
std::optional<Projection> projection_by(Node* reader, const Module& self, Layouts& layouts) {
  if (Node* next = only_reader(reader->output())) {
    if (next->kind() == c10::aten::add) {
      if (auto projection = match_projection(next->output(), self, layouts)) return projection;
    }
  }
  return match_projection(reader->output(), self, layouts);
}

// [batch, length, features] or the transposed, with all the features of the layout's source.
std::optional<bool> merged_batch_first(const Layout& layout, const HeadView& query, std::int64_t features) {
  if (layout.dims.size() != 3 || layout.offset != 0) return std::nullopt;
  if (layout.dims[2] != DimFactors{Factor::features(1, features)}) return std::nullopt;
  if (is_only(layout.dims[0], query.batch) && is_only(layout.dims[1], query.length)) return true;
  if (is_only(layout.dims[1], query.batch) && is_only(layout.dims[0], query.length)) return false;
  return std::nullopt;
}

}  // namespace

bool is_only(const DimFactors& dimension, const SizeSymbol& symbol) { return only_symbol(dimension) == symbol; }

std::optional<HeadView> head_view(const Layout& layout) {
  const std::size_t rank = layout.dims.size();
  if (rank != 3 && rank != 4) return std::nullopt;
  const auto length = only_symbol(layout.dims[rank - 2]);
  const auto features = only_features(layout.dims[rank - 1]);
  if (!length || !features) return std::nullopt;
  HeadView view;
  view.length = *length;
  view.features = *features;
  const auto batch = only_symbol(layout.dims[0]);
  const auto heads = only_features(layout.dims[1]);
  if (rank == 4 && batch && heads) {
    view.batch = *batch;
    view.heads = *heads;
    return view;
  }
  if (rank == 3) {
    view.form = HeadForm::kJoined;
  } else if (layout.dims[1].empty()) {
    view.form = HeadForm::kJoinedFirst;
  } else if (layout.dims[0].empty()) {
    view.form = HeadForm::kJoinedSecond;
  } else {
    return std::nullopt;
  }
  const DimFactors& joined = layout.dims[view.form == HeadForm::kJoinedSecond ? 1 : 0];
  if (joined.size() != 2 || !joined[0].symbol || joined[1].symbol) return std::nullopt;
  view.batch = *joined[0].symbol;
  view.heads = joined[1];
  return view;
}

void declare_context(Value* context, const HeadView& query, std::int64_t value_dim, Layouts& layouts) {
  const Factor batch = Factor::lead(query.batch);
  const Factor heads = Factor::features(value_dim, query.heads.extent);
  const DimFactors length{Factor::lead(query.length)};
  const DimFactors features = simplified({Factor::features(1, value_dim)});
  const DimFactors joined = simplified({batch, heads});
  Layout layout{context, 0, {}};
  switch (query.form) {
    case HeadForm::kSeparate:
      layout.dims = {{batch}, simplified({heads}), length, features};
      break;
    case HeadForm::kJoined:
      layout.dims = {joined, length, features};
      break;
    case HeadForm::kJoinedSecond:
      layout.dims = {{}, joined, length, features};
      break;
    case HeadForm::kJoinedFirst:
      layout.dims = {joined, {}, length, features};
      break;
  }
  layouts.declare(context, std::move(layout));
}

std::optional<MergedHeads> find_merged_heads(Value* context, const HeadView& query, const Module& self,
                                             Layouts& layouts) {
  const Layout start = *layouts.of(context);
  std::int64_t features = query.heads.extent;
  for (const Factor& factor : start.dims.back()) features *= factor.extent;

  std::optional<MergedHeads> last;
  std::optional<Projection> output;
  for (Value* value = context;;) {
    const auto layout = layouts.of(value);
    if (!layout) break;
    if (const auto batch_first = merged_batch_first(*layout, query, features)) {
      last = MergedHeads{value, *batch_first, output};
      if (output) break;
    }
    Node* reader = only_reader(value);
    if (reader == nullptr) break;
    if (is_view_operator(reader) && reader->input(0) == value) {
      value = reader->output();
    } else if (!output) {
      output = projection_by(reader, self, layouts);
      if (!output) break;
      features = output->out_features;
      value = output->output;
    } else {
      break;
    }
  }
  return last;
}

}  // namespace flashconvert::rewrite
