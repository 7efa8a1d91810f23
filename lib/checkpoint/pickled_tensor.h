// What a pickle says of storages and tensors, measured before LibTorch allocates or reads anything.
#pragma once

#include <string>

#include "checkpoint/pickle_values.h"

namespace flashconvert::checkpoint {

// The storage that a persistent id stands for: ("storage", its type, key, location, number of elements). Notes its
// location. Throws MalformedPickle, whose byte the caller sets.
PickledStorage read_storage_id(const PickleValues& values, ValueId id, const PickleRules& rules, WalkedPickle& walked);

// The arguments of torch._utils._rebuild_tensor_v2, or with `quantized` of _rebuild_qtensor: (storage, offset, sizes,
// strides, [quantisation,] requires_grad, hooks …). Returns the number of elements. Throws MalformedPickle.
std::int64_t check_tensor(const PickleValues& values, ValueId arguments, bool quantized, const PickleRules& rules);

}  // namespace flashconvert::checkpoint
