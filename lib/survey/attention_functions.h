// The TorchScript functions (graph/script_functions.h) that fused attention calls around the operator.
#pragma once

#include "graph/script_functions.h"

namespace flashconvert::survey {

// attention_bias(attn_mask, key_padding_mask, query, added_keys): the masks of torch.nn.MultiheadAttention, each
// boolean (true = masked), additive or None, as one bias of the attention operator, or None. `query` is split into
// heads; keys that the layer appends are visible.
inline constexpr ScriptFunction kAttentionBias{"attention_bias", R"(
def attention_bias(attn_mask: Optional[Tensor], key_padding_mask: Optional[Tensor], query: Tensor, added_keys: int) -> Optional[Tensor]:
  bias: Optional[Tensor] = None
  if attn_mask is not None:
    bias = torch.constant_pad_nd(attn_mask, [0, added_keys], 0)
    if bias.dim() == 3 and query.dim() == 4:
      bias = torch.unflatten(bias, 0, [query.size(0), query.size(1)])
  if key_padding_mask is not None:
    padding = torch.constant_pad_nd(key_padding_mask, [0, added_keys], 0)
    padding = torch.unsqueeze(torch.unsqueeze(padding, -2), -2)
    if bias is None:
      bias = padding
    else:
      masks = [bias, padding]
      if not torch.is_floating_point(bias) and not torch.is_floating_point(padding):
        bias = torch.logical_or(bias, padding)
      else:
        for i in range(2):
          if not torch.is_floating_point(masks[i]):
            zeros = torch.zeros_like(masks[i], dtype=query.dtype)
            masks[i] = torch.masked_fill(zeros, masks[i], float('-inf'))
        bias = masks[0] + masks[1]
  if bias is not None and not torch.is_floating_point(bias):
    bias = torch.logical_not(bias)
  return bias
)"};

// leaves_fast_path(query, weight, attn_mask, key_padding_mask): whether torch.nn.MultiheadAttention, called with one
// tensor for query, key and value, finds at run time that its fast path will not do.
inline constexpr ScriptFunction kLeavesFastPath{"leaves_fast_path", R"(
def leaves_fast_path(query: Tensor, weight: Tensor, attn_mask: Optional[Tensor], key_padding_mask: Optional[Tensor]) -> bool:
  leaves = query.dim() != 3 or torch.is_autocast_enabled()
  if torch.is_grad_enabled():
    leaves = leaves or query.requires_grad or weight.requires_grad
  if attn_mask is not None:
    leaves = leaves or torch.is_floating_point(attn_mask)
  if key_padding_mask is not None:
    leaves = leaves or torch.is_floating_point(key_padding_mask)
  return leaves
)"};

// merged_mask_bias(mask, mask_type): the mask of torch.nn's fast-path operators (nonzero = masked) and its type, as a
// bias of the attention operator, or None.
inline constexpr ScriptFunction kMergedMaskBias{"merged_mask_bias", R"(
def merged_mask_bias(mask: Optional[Tensor], mask_type: Optional[int]) -> Optional[Tensor]:
  if mask is None:
    return None
  visible = torch.logical_not(mask)
  if mask_type is not None and mask_type == 1:
    visible = torch.unsqueeze(torch.unsqueeze(visible, 1), 1)
  return visible
)"};

// added_bias(bias, query): what is added to scores, as the attention operator takes it: booleans and integers are
// numbers there, and no masks. `query` is given where the bias must have its dtype.
inline constexpr ScriptFunction kAddedBias{"added_bias", R"(
def added_bias(bias: Tensor, query: Optional[Tensor]) -> Tensor:
  if not torch.is_floating_point(bias):
    if query is None:
      bias = torch.to(bias, 6)
    else:
      bias = torch.type_as(bias, query)
  return bias
)"};

// mask_for_torch(mask, query): a mask as torch's own operator takes it: of two dimensions or more, and of the query's
// dtype (beside float64, its CPU kernel accepts float32 and reads it wrongly). Beside float16 it stays: what hides a
// key may lie beyond that dtype's range.
inline constexpr ScriptFunction kMaskForTorch{"mask_for_torch", R"(
def mask_for_torch(mask: Tensor, query: Tensor) -> Tensor:
  if mask.dim() < 2:
    mask = torch.unsqueeze(mask, 0)
  if torch.is_floating_point(mask) and query.dtype != 5:
    mask = torch.type_as(mask, query)
  return mask
)"};

// nan_in_hidden_rows(context, bias, zeros): NaN in the rows of which `bias` (as for the attention operator) hides every
// key, where zeros are not what is wanted there. A factor, since gradients that pass such a row are NaN in a softmax
// too.
inline constexpr ScriptFunction kNanInHiddenRows{"nan_in_hidden_rows", R"(
def nan_in_hidden_rows(context: Tensor, bias: Optional[Tensor], zeros: bool) -> Tensor:
  if bias is not None and not zeros:
    if torch.is_floating_point(bias):
      hidden_rows = torch.eq(torch.amax(bias, [-1], True), -float('inf'))
    else:
      hidden_rows = torch.logical_not(torch.any(bias, -1, True))
    ones = torch.ones_like(hidden_rows, dtype=context.dtype)
    context = torch.mul(context, torch.masked_fill(ones, hidden_rows, float('nan')))
  return context
)"};

// bias_unless_causal(mask, queries, keys): a causal mask, or None where it is the one of these lengths.
inline constexpr ScriptFunction kBiasUnlessCausal{"bias_unless_causal", R"(
def bias_unless_causal(mask: Tensor, queries: int, keys: int) -> Optional[Tensor]:
  if mask.size(-2) == queries and mask.size(-1) == keys:
    return None
  return mask
)"};

}  // namespace flashconvert::survey
