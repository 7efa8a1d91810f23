// Accepting the survey's proposals in the working copy of a method.
#include "rewrite/accept.h"

#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <string>

namespace flashconvert::rewrite {
namespace {

using torch::jit::Node;
using torch::jit::Value;

// PythonPrint writes a named value on a line of its own; a name that the author of the model chose stays.
void name_value(Value* value, const std::string& name) {
  if (value->hasDebugName() || value->node()->kind() == torch::jit::prim::Constant) return;
  if (value->node()->kind() == torch::jit::prim::Param) return;
  value->setDebugName(name);
}

void name_operands(Node* attention) {
  name_value(attention->input(0), "query");
  name_value(attention->input(1), "key");
  name_value(attention->input(2), "value");
  name_value(attention->input(3), "attn_bias");
  name_value(attention->output(), "context");
}

// The author's name for the result moves to the value that now has its place.
void accept(const survey::Proposal& proposal) {
  const bool named = proposal.original->hasDebugName();
  const std::string name = proposal.original->debugName();
  proposal.original->replaceAllUsesWith(proposal.replacement);
  if (named && !proposal.replacement->hasDebugName()) proposal.replacement->setDebugName(name);
}

}  // namespace

bool is_attention(const Node* node) {
  static const auto fused = c10::Symbol::fromQualString(survey::kAttentionOperator);
  static const auto portable = c10::Symbol::fromQualString("aten::scaled_dot_product_attention");
  return node->kind() == fused || node->kind() == portable;
}

void accept_proposals(survey::MethodSurvey& method) {
  for (const survey::Site& site : method.sites) {
    if (site.entry.status != report::SiteStatus::kFused) continue;
    for (const survey::Proposal& proposal : site.proposals) {
      accept(proposal);
      for (Node* attention : proposal.attention) name_operands(attention);
    }
  }
  torch::jit::EliminateDeadCode(method.graph);
  torch::jit::ConstantPooling(method.graph);
}

}  // namespace flashconvert::rewrite
