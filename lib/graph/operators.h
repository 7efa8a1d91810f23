// What an operator is: one table, a row an operator, with traits that every stage asks for instead of keeping lists of
// names of its own. tests/graph/test_operators.cpp holds each row against torch's registry, and traits of values, sizes
// and memory against what the operator does to small tensors.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace flashconvert {

enum Trait : std::uint64_t {
  // Of the values.
  kElementwise = 1ULL << 0,      // each element comes from those at its place in the operands, after broadcasting
  kCommutes = 1ULL << 1,         // the first two operands may be exchanged
  kKeepsValues = 1ULL << 2,      // the elements are elements of the first operand, in its dtype
  kCasts = 1ULL << 3,            // the same elements in the same places, in another dtype or on another device
  kCopies = 1ULL << 4,           // the same elements in the same places and dtype
  kDetaches = 1ULL << 32,        // as kCopies, but gradients end here
  kDropsOut = 1ULL << 5,         // as kCopies in eval mode; random in training
  kClamps = 1ULL << 6,           // elementwise, towards bounds
  kCompares = 1ULL << 7,         // elementwise, to booleans
  kProduct = 1ULL << 8,          // a matrix product of two activations, whatever the batch
  kProjects = 1ULL << 9,         // a product with weights: linear layers, convolutions
  kSoftmax = 1ULL << 10,         // over one dimension
  kNormalises = 1ULL << 11,      // by statistics of the operand
  kReduces = 1ULL << 12,         // over some dimensions, or all
  kRandom = 1ULL << 13,          // draws random numbers
  kWrites = 1ULL << 14,          // in place
  kCreates = 1ULL << 15,         // a tensor from numbers, or from the sizes and dtype of another tensor
  kMakesPositions = 1ULL << 16,  // elementwise, and from the place in the last two dimensions: tril, triu
  // Of the sizes.
  kKeepsSizes = 1ULL << 17,  // those of the first operand
  kBroadcasts = 1ULL << 18,  // those of all tensor operands, broadcast
  kPermutes = 1ULL << 19,    // dimensions in another order
  kReshapes = 1ULL << 20,    // the same elements in the same order, in other dimensions
  kSelects = 1ULL << 21,     // a stretch of one dimension, or one place of it
  kDivides = 1ULL << 22,     // a list of stretches of one dimension
  kExpands = 1ULL << 23,     // elements repeated
  kJoins = 1ULL << 24,       // a list of tensors as one
  // Of numbers.
  kAsks = 1ULL << 25,       // takes of its first operand no more than sizes, dtype and device
  kAsksDtype = 1ULL << 31,  // no more than dtype and device
  kNumbers = 1ULL << 26,    // numbers, flags, strings and lists of them from such
  kConverts = 1ULL << 27,   // a number to a tensor of one element, or back
  // Of the memory.
  kViews = 1ULL << 28,             // the result shares the first operand's memory, always
  kNeedsContiguous = 1ULL << 29,   // rejects operands whose dimensions cannot be joined in memory
  kContiguousResult = 1ULL << 30,  // the result is contiguous whatever the operands' strides
};

// The traits of a node's operator, by its schema; none for what the table does not have.
std::uint64_t traits_of(const torch::jit::Node* node);

// Whether the operator has any of these traits, which may be joined by |.
bool has_trait(const torch::jit::Node* node, std::uint64_t any_of);

inline bool is_product(const torch::jit::Node* node) { return has_trait(node, kProduct); }
inline bool is_softmax(const torch::jit::Node* node) { return has_trait(node, kSoftmax); }

// The operands of a node that hold weights of a layer, by index. For a product, whose operands are weights only where
// the other one is not: both. Empty for everything else.
std::vector<std::size_t> weight_operands(const torch::jit::Node* node);

// Where a layer's bias stands; nothing where it has none.
std::optional<std::size_t> bias_operand(const torch::jit::Node* node);

// Whether the operator takes no more than the dtype and device of the operand at this place.
bool takes_dtype_alone(const torch::jit::Node* node, std::size_t operand);

// The name of the operator without its overload, "aten::matmul"; also for prim nodes.
std::string kind_name(const torch::jit::Node* node);

// For the few names that a rule is about.
bool is_any_of(const torch::jit::Node* node, std::initializer_list<const char*> names);

// For the test of the table: each row's operator name and overload ("aten::add", "Tensor") with its traits.
void for_each_operator(
    const std::function<void(const std::string& name, const std::string& overload, std::uint64_t traits)>& visit);

}  // namespace flashconvert
