// Devices of saved tensors (saved_devices.h).
#include "checkpoint/saved_devices.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <functional>
#include <unordered_set>

#include "checkpoint/archive.h"
#include "checkpoint/map_tensors.h"
#include "checkpoint/pickled_storages.h"
#include "common/module_path.h"
#include "graph/function_with_graph.h"

namespace flashconvert::checkpoint {
namespace {

using c10::IValue;
using Object = c10::ivalue::Object;

struct Attribute {
  c10::intrusive_ptr<Object> object;
  std::size_t slot;
  std::string path;
};

// Every attribute below a module that is no module or object itself, each object once.
std::vector<Attribute> attributes_of(const torch::jit::Module& module) {
  std::vector<Attribute> attributes;
  std::unordered_set<const Object*> seen;
  const std::function<void(const c10::intrusive_ptr<Object>&, const std::string&)> visit =
      [&](const c10::intrusive_ptr<Object>& object, const std::string& path) {
        if (!seen.insert(object.get()).second) return;
        for (std::size_t slot = 0; slot < object->slots().size(); ++slot) {
          const std::string below = join_path(path, object->type()->getAttributeName(slot));
          const IValue& value = object->getSlot(slot);
          if (value.isObject()) {
            visit(value.toObject(), below);
          } else {
            attributes.push_back({object, slot, below});
          }
        }
      };
  visit(module._ivalue(), "");
  return attributes;
}

void visit_constants(torch::jit::Block* block, const std::function<void(torch::jit::Node*)>& visit) {
  for (torch::jit::Node* node : block->nodes()) {
    for (torch::jit::Block* inner : node->blocks()) visit_constants(inner, visit);
    if (node->kind() == torch::jit::prim::Constant && node->hasAttribute(torch::jit::attr::value) &&
        node->kindOf(torch::jit::attr::value) == torch::jit::AttributeKind::t) {
      visit(node);
    }
  }
}

// The tensor constants of all code that the module's file holds.
void visit_constants(const torch::jit::Module& module, const std::function<void(torch::jit::Node*)>& visit) {
  for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    // A method that was replaced leaves an empty place behind.
    if (auto* with_graph = function_with_graph(function)) visit_constants(with_graph->graph()->block(), visit);
  }
}

bool has_plain_storage(const at::Tensor& tensor) {
  return tensor.defined() && tensor.has_storage() && !tensor.is_quantized();
}

// A tensor that says that it is on another device than its storage.
class LabelledTensor : public at::TensorImpl {
public:
  LabelledTensor(const at::Tensor& tensor, c10::Device device)
      : TensorImpl(c10::Storage(tensor.storage()), tensor.key_set(), tensor.dtype()) {
    set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
    device_opt_ = device;
  }
};

at::Tensor labelled(const at::Tensor& tensor, c10::Device device) {
  if (device.is_cpu()) return tensor;
  at::Tensor result = at::detail::make_tensor<LabelledTensor>(tensor.detach(), device);
  return result.set_requires_grad(tensor.requires_grad());
}

}  // namespace

StorageDevices read_storage_devices(const Bytes& bytes, const ZipDirectory& directory) {
  StorageDevices devices;
  for (const std::string folder : {"data", "constants"}) {
    const ZipEntry* entry = directory.find(folder + ".pkl");
    if (entry == nullptr || entry->compressed) continue;
    const auto locations =
        read_storage_locations(bytes.read(entry->content_offset, static_cast<std::size_t>(entry->size)));
    if (!locations) continue;
    const std::string storages = folder + "/";
    for (const auto& [key, location] : *locations) {
      if (location == "cpu") continue;
      try {
        devices.emplace(storages + key, c10::Device(location));
      } catch (const c10::Error&) {  // not a device that this LibTorch knows: the importer says so
        continue;
      }
    }
  }
  return devices;
}

SavedDevices::SavedDevices(const torch::jit::Module& module, const StorageDevices& devices,
                           const std::map<std::string, const void*>& buffers)
    : all_on_cpu_(devices.empty()) {
  if (all_on_cpu_) return;
  std::unordered_map<const void*, c10::Device> by_address;
  for (const auto& [record, device] : devices) {
    const auto buffer = buffers.find(record);
    if (buffer != buffers.end()) by_address.emplace(buffer->second, device);
  }
  const auto note = [&](const at::Tensor& tensor) {
    const auto found = by_address.find(tensor.storage().data());
    const c10::Device device = found != by_address.end() ? found->second : c10::Device(c10::kCPU);
    storages_.try_emplace(tensor.storage().unsafeGetStorageImpl(),
                          Known{tensor.storage().getWeakStorageImpl(), device});
    return device;
  };
  for (const Attribute& attribute : attributes_of(module)) {
    map_tensors(attribute.object->getSlot(attribute.slot), [&](const at::Tensor& tensor) {
      if (has_plain_storage(tensor)) attributes_.emplace(attribute.path, note(tensor));
      return tensor;
    });
  }
  visit_constants(module, [&](torch::jit::Node* node) {
    if (has_plain_storage(node->t(torch::jit::attr::value))) note(node->t(torch::jit::attr::value));
  });
}

const c10::Device* SavedDevices::find(const at::Tensor& tensor) const {
  const auto found = storages_.find(tensor.storage().unsafeGetStorageImpl());
  return found == storages_.end() ? nullptr : &found->second.device;
}

c10::Device SavedDevices::of_new_tensor(const std::string& path) const {
  const auto before = attributes_.find(path);
  if (before != attributes_.end()) return before->second;
  std::string module = path;
  while (!module.empty()) {
    const std::size_t dot = module.rfind('.');
    module = dot == std::string::npos ? "" : module.substr(0, dot);
    const std::string prefix = module.empty() ? "" : module + ".";
    std::map<std::string, int> counts;
    for (auto other = attributes_.lower_bound(prefix);
         other != attributes_.end() && other->first.compare(0, prefix.size(), prefix) == 0; ++other) {
      ++counts[other->second.str()];
    }
    const auto most = std::max_element(counts.begin(), counts.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != counts.end()) return c10::Device(most->first);
  }
  return c10::kCPU;
}

c10::Device SavedDevices::of(const at::Tensor& tensor, const std::string& path) const {
  if (all_on_cpu_) return c10::kCPU;
  const c10::Device* known = find(tensor);
  return known != nullptr ? *known : of_new_tensor(path);
}

c10::Device SavedDevices::of_constant(const at::Tensor& tensor) const {
  const c10::Device* device = find(tensor);
  return device != nullptr ? *device : c10::Device(c10::kCPU);
}

DeviceLabels::DeviceLabels(const torch::jit::Module& module, const SavedDevices& devices) {
  if (devices.all_on_cpu()) return;
  for (const Attribute& attribute : attributes_of(module)) {
    const IValue saved = attribute.object->getSlot(attribute.slot);
    const IValue marked = map_tensors(saved, [&](const at::Tensor& tensor) {
      return has_plain_storage(tensor) ? labelled(tensor, devices.of(tensor, attribute.path)) : tensor;
    });
    slots_.push_back({attribute.object, attribute.slot, saved});
    attribute.object->setSlot(attribute.slot, marked);
  }
  visit_constants(module, [&](torch::jit::Node* node) {
    const at::Tensor saved = node->t(torch::jit::attr::value);
    if (!has_plain_storage(saved)) return;
    const c10::Device device = devices.of_constant(saved);
    if (device.is_cpu()) return;
    constants_.push_back({node, saved});
    node->t_(torch::jit::attr::value, labelled(saved, device));
  });
}

// Sets back what was there before: nothing that it calls has a reason to throw.
DeviceLabels::~DeviceLabels() {  // NOLINT(bugprone-exception-escape)
  for (const Slot& slot : slots_) slot.object->setSlot(slot.index, slot.saved);
  for (const Constant& constant : constants_) constant.node->t_(torch::jit::attr::value, constant.saved);
}

}  // namespace flashconvert::checkpoint
