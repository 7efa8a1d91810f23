// Where the tensors of a checkpoint lived when it was saved. It is loaded, converted and checked on the CPU, on
// machines without a GPU too; what is written says again where each tensor belongs.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/StorageImpl.h>
#include <torch/csrc/jit/api/module.h>

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"

namespace flashconvert::checkpoint {

// The records of an archive that hold storages of another device than the CPU ("data/0"), as its pickles say.
using StorageDevices = std::map<std::string, c10::Device>;
StorageDevices read_storage_devices(const Bytes& bytes, const ZipDirectory& directory);

class SavedDevices {
public:
  SavedDevices() = default;  // all on the CPU
  // `buffers` says to which address the content of each of the records was read: a loaded module does not tell which
  // record one of its tensors is from.
  SavedDevices(const torch::jit::Module& module, const StorageDevices& devices,
               const std::map<std::string, const void*>& buffers);

  bool all_on_cpu() const { return all_on_cpu_; }

  // Where the tensor belongs, which is the attribute at `path` ("layers.0.weight"): where its storage was; for a new
  // one, where the attribute's tensor was before it, or most tensors of the innermost module around it that had any.
  c10::Device of(const at::Tensor& tensor, const std::string& path) const;

  // A constant of the code; new ones stay on the CPU, as they have no dimensions.
  c10::Device of_constant(const at::Tensor& tensor) const;

private:
  struct Known {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;  // keeps its address from being another's
    c10::Device device;
  };
  const c10::Device* find(const at::Tensor& tensor) const;
  c10::Device of_new_tensor(const std::string& path) const;

  bool all_on_cpu_ = true;
  std::unordered_map<const c10::StorageImpl*, Known> storages_;
  std::multimap<std::string, c10::Device> attributes_;  // every tensor of the module by its path
};

// Makes the module's tensors and the constants of its code say that they are where they belong, as long as it lives:
// they keep their memory on the CPU, and LibTorch's serializer writes what they say. Nothing may compute with them.
class DeviceLabels {
public:
  DeviceLabels(const torch::jit::Module& module, const SavedDevices& devices);
  ~DeviceLabels();  // NOLINT(bugprone-exception-escape): it puts back what was there, which cannot fail
  DeviceLabels(const DeviceLabels&) = delete;
  DeviceLabels& operator=(const DeviceLabels&) = delete;

private:
  struct Slot {
    c10::intrusive_ptr<c10::ivalue::Object> object;
    std::size_t index;
    c10::IValue saved;
  };
  struct Constant {
    torch::jit::Node* node;
    at::Tensor saved;
  };
  std::vector<Slot> slots_;
  std::vector<Constant> constants_;
};

}  // namespace flashconvert::checkpoint
