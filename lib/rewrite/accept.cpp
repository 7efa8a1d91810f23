// Accepting the survey's proposals in the working copy of a method.
#include "rewrite/accept.h"

#include <torch/csrc/jit/passes/constant_pooling.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <string>

#include "graph/script_functions.h"

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

// A call goes with the nodes that took its result apart, none of which is used any more.
void remove_call(Node* call) {
  const auto uses = call->output()->uses();
  for (const auto& use : uses) {
    const bool takes_apart =
        use.user->kind() == torch::jit::prim::TupleIndex || use.user->kind() == torch::jit::prim::TupleUnpack;
    if (takes_apart && !use.user->hasUses()) use.user->destroy();
  }
  if (!call->hasUses()) call->destroy();
}

}  // namespace

bool is_attention(const Node* node) {
  static const auto fused = c10::Symbol::fromQualString(survey::kAttentionOperator);
  static const auto portable = c10::Symbol::fromQualString("aten::scaled_dot_product_attention");
  return node->kind() == fused || node->kind() == portable;
}

void accept_proposals(survey::MethodSurvey& method) {
  for (const survey::Site& site : method.sites) {
    if (!site.is_fusible) continue;
    for (const survey::Proposal& proposal : site.proposals) {
      accept(proposal);
      for (Node* attention : proposal.attention) name_operands(attention);
    }
    for (Node* call : site.calls) remove_call(call);
  }
  torch::jit::EliminateDeadCode(method.graph);
  remove_unused_calls(method.graph->block());
  torch::jit::EliminateDeadCode(method.graph);
  torch::jit::ConstantPooling(method.graph);
}

}  // namespace flashconvert::rewrite
