// What a FusedAttention module is: parameters, attributes and the source of its forward.
#include "rewrite/outline/fused_spec.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

namespace flashconvert::rewrite {
namespace {

constexpr std::array<const char*, 3> kLetters{"q", "k", "v"};

// Query, key and value inputs under the names that forward gives them; equal inputs are one argument.
std::array<std::string, 3> argument_names(const FusedRegion& region) {
  std::array<std::string, 3> names{"query", "key", "value"};
  if (region.input(1) == region.input(2) && region.input(1) != region.input(0)) names[1] = "key_value";
  if (region.input(1) == region.input(0)) names[1] = names[0];
  if (region.input(2) == region.input(0)) names[2] = names[0];
  if (region.input(2) == region.input(1)) names[2] = names[1];
  return names;
}

std::string group_name(const std::vector<std::size_t>& operands) {
  if (operands.size() == 3) return "in_proj";
  std::string letters;
  for (const std::size_t operand : operands) letters += kLetters[operand];
  return letters + "_proj";
}

bool belong_together(const FusedRegion& region, std::size_t a, std::size_t b, bool pack) {
  if (region.operands[a].projection.output == region.operands[b].projection.output) return true;
  return pack && region.input(a) == region.input(b) &&
         region.operands[a].projection.in_features == region.operands[b].projection.in_features;
}

std::vector<ParameterGroup> input_groups(const FusedRegion& region, bool pack) {
  const auto names = argument_names(region);
  std::vector<ParameterGroup> groups;
  for (std::size_t operand = 0; operand < 3; ++operand) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const ParameterGroup& other) {
      return belong_together(region, other.operands.front(), operand, pack);
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), ParameterGroup{});
      group->argument = names[operand];
    }
    const HeadOperand& heads = region.operands[operand];
    group->operands.push_back(operand);
    group->selections.push_back({&heads.projection, heads.rows});
    group->has_bias = group->has_bias || heads.projection.bias.has_value();
  }
  for (ParameterGroup& group : groups) group.name = group_name(group.operands);
  return groups;
}

ParameterGroup output_group(const Projection& projection) {
  ParameterGroup group;
  group.name = "out_proj";
  group.argument = "merged";
  RowSelection all{&projection, {}};
  for (std::int64_t row = 0; row < projection.out_features; ++row) all.rows.push_back(row);
  group.selections.push_back(std::move(all));
  group.has_bias = projection.bias.has_value();
  return group;
}

bool uses_features_twice(const ParameterGroup& group) {
  std::set<std::pair<const torch::jit::Value*, std::int64_t>> seen;
  for (const RowSelection& selection : group.selections) {
    for (const std::int64_t row : selection.rows) {
      if (!seen.emplace(selection.projection->output, row).second) return true;
    }
  }
  return false;
}

bool is_packed(const ParameterGroup& group) {
  return std::any_of(group.selections.begin(), group.selections.end(), [&](const RowSelection& selection) {
    return selection.projection->output != group.selections.front().projection->output;
  });
}

// Writes forward.
class SourceWriter {
public:
  SourceWriter(const FusedRegion& region, const FusedSpec& spec) : region_(region), spec_(spec) {}

  std::string write() {
    write_signature();
    for (const ParameterGroup& group : spec_.groups) {
      if (!group.operands.empty()) write_heads(group);
    }
    write_attention();
    write_result();
    return out_.str();
  }

private:
  void write_signature() {
    out_ << "def forward(self";
    for (const auto& [name, value] : spec_.arguments) {
      const bool is_optional = value == region_.bias && region_.arguments.causal_without_bias;
      out_ << ", " << name << ": " << (is_optional ? "Optional[Tensor]" : value->type()->annotation_str());
    }
    out_ << ") -> Tensor:\n";
  }

  std::string linear(const ParameterGroup& group) const {
    std::string call = "torch.linear(" + group.argument + ", self." + group.name + "_weight";
    if (group.has_bias) call += ", self." + group.name + "_bias";
    return call + ")";
  }

  std::string head_count(std::size_t operand) const {
    return operand == 0 || !is_grouped() ? "self.num_heads" : "self.num_key_heads";
  }

  std::string head_size(std::size_t operand) const {
    return operand == 2 && region_.operands[2].head_dim != region_.operands[0].head_dim ? "self.value_dim"
                                                                                        : "self.head_dim";
  }

  bool is_grouped() const { return region_.operands[1].heads != region_.operands[0].heads; }

  bool has_equal_operands(const ParameterGroup& group) const {
    return std::all_of(group.operands.begin(), group.operands.end(), [&](std::size_t operand) {
      return head_count(operand) == head_count(group.operands[0]) && head_size(operand) == head_size(group.operands[0]);
    });
  }

  // The last dimension of `tensor` cut into heads.
  std::string cut(const std::string& tensor, const std::string& argument, const std::string& shape, bool open) const {
    if (!open || !region_.batch_first) return "torch.unflatten(" + tensor + ", -1, [" + shape + "])";
    return "torch.view(" + tensor + ", [torch.size(" + argument + ", 0), -1, " + shape + "])";
  }

  // Whether the length is inferred: where one view of an input spells batch and length out, the input is known to have
  // three dimensions, and all its projections can be cut by their last.
  bool is_open(std::size_t operand) const {
    return std::all_of(region_.operands.begin(), region_.operands.end(), [&](const HeadOperand& other) {
      return other.projection.input != region_.input(operand) || other.open_length;
    });
  }

  void write_heads(const ParameterGroup& group) {
    std::string names;
    for (const std::size_t operand : group.operands)
      names += (names.empty() ? "" : ", ") + std::string(kLetters[operand]);
    if (group.operands.size() > 1 && has_equal_operands(group)) return write_equal_heads(group, names);
    if (group.operands.size() == 1) {
      out_ << "  " << names << " = " << linear(group) << "\n";
    } else {
      out_ << "  " << names << " = torch.split_with_sizes(" << linear(group) << ", [";
      for (const std::size_t operand : group.operands) {
        out_ << (operand == group.operands[0] ? "" : ", ") << head_count(operand) << " * " << head_size(operand);
      }
      out_ << "], -1)\n";
    }
    for (const std::size_t operand : group.operands) {
      const std::string heads =
          cut(kLetters[operand], group.argument, head_count(operand) + ", " + head_size(operand), is_open(operand));
      out_ << "  " << kLetters[operand] << " = " << (region_.batch_first ? "torch.transpose(" : "torch.permute(")
           << heads << (region_.batch_first ? ", 1, 2)" : ", [1, 2, 0, 3])") << "\n";
    }
  }

  // [batch, length, 3, heads, features] and the three along one dimension.
  void write_equal_heads(const ParameterGroup& group, const std::string& names) {
    std::string joined;
    for (const std::size_t operand : group.operands) joined += kLetters[operand];
    const std::size_t first = group.operands[0];
    const std::string shape =
        std::to_string(group.operands.size()) + ", " + head_count(first) + ", " + head_size(first);
    out_ << "  projected = " << linear(group) << "\n";
    out_ << "  " << joined << " = " << cut("projected", group.argument, shape, is_open(first)) << "\n";
    out_ << "  " << names << " = torch.unbind(torch.permute(" << joined
         << (region_.batch_first ? ", [2, 0, 3, 1, 4]" : ", [2, 1, 3, 0, 4]") << "), 0)\n";
  }

  void write_attention() {
    const AttentionArguments& arguments = region_.arguments;
    const std::string bias = region_.bias != nullptr ? "attn_bias" : "None";
    if (arguments.portable) {
      for (const auto& cast : arguments.bias_casts) out_ << "  attn_bias = " << cast << "(attn_bias, q)\n";
      out_ << "  context = torch.scaled_dot_product_attention(q, k, v, " << bias << ", 0., "
           << (arguments.causal                ? "True"
               : arguments.causal_without_bias ? "attn_bias is None"
                                               : "False")
           << ", scale=self.scale" << (is_grouped() ? ", enable_gqa=True" : "") << ")\n";
      if (arguments.nan_in_hidden_rows) out_ << "  context = nan_in_hidden_rows(context, attn_bias, False)\n";
      return;
    }
    out_ << "  context = ops.flashconvert.attention(q, k, v, " << bias << ", scale=self.scale";
    if (arguments.causal) out_ << ", causal=True";
    if (arguments.causal_without_bias) out_ << ", causal=attn_bias is None";
    if (arguments.window[0] != -1 || arguments.window[1] != -1) {
      out_ << ", window=[" << arguments.window[0] << ", " << arguments.window[1] << "]";
    }
    if (arguments.softcap != 0.0) {
      std::ostringstream softcap;
      softcap.precision(17);
      softcap << std::showpoint << arguments.softcap;
      out_ << ", softcap=" << softcap.str();
    }
    if (arguments.zero_masked_rows) out_ << ", zero_masked_rows=True";
    if (arguments.bottom_right) out_ << ", bottom_right=True";
    out_ << ")\n";
  }

  void write_result() {
    const bool has_output = spec_.groups.back().operands.empty();
    out_ << "  merged = torch.flatten("
         << (region_.merged_batch_first ? "torch.transpose(context, 1, 2)" : "torch.permute(context, [2, 0, 1, 3])")
         << ", 2)\n";
    if (has_output) {
      out_ << "  return " << linear(spec_.groups.back()) << "\n";
    } else {
      // What follows may view it, as it could the original.
      out_ << "  return " << (region_.merged_batch_first ? "merged" : "torch.contiguous(merged)") << "\n";
    }
  }

  const FusedRegion& region_;
  const FusedSpec& spec_;
  std::ostringstream out_;
};

}  // namespace

std::optional<FusedSpec> make_spec(const FusedRegion& region, bool pack) {
  FusedSpec spec;
  spec.groups = input_groups(region, pack);
  for (const ParameterGroup& group : spec.groups) {
    if (uses_features_twice(group)) return std::nullopt;
    spec.packed = spec.packed || is_packed(group);
  }
  if (region.output) spec.groups.push_back(output_group(*region.output));

  const auto names = argument_names(region);
  for (std::size_t operand = 0; operand < 3; ++operand) {
    const bool known = std::any_of(spec.arguments.begin(), spec.arguments.end(),
                                   [&](const auto& argument) { return argument.first == names[operand]; });
    if (!known) spec.arguments.emplace_back(names[operand], region.input(operand));
  }
  if (region.bias != nullptr) spec.arguments.emplace_back("attn_bias", region.bias);

  const auto& [query, key, value] = region.operands;
  spec.integers = {{"num_heads", query.heads}, {"num_key_heads", key.heads}, {"head_dim", query.head_dim}};
  if (value.head_dim != query.head_dim) spec.integers.emplace_back("value_dim", value.head_dim);
  spec.scale = region.arguments.scale;
  spec.source = SourceWriter(region, spec).write();
  return spec;
}

}  // namespace flashconvert::rewrite
