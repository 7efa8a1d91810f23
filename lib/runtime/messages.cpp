// See messages.h.
#include "messages.h"

#include "arguments.h"

namespace flashconvert::runtime {

std::ostream& operator<<(std::ostream& out, const Values& list) {
  const char* separator = "[";
  for (const std::int64_t value : list.values) {
    out << separator << value;
    separator = ", ";
  }
  return out << (list.values.empty() ? "[]" : "]");
}

std::ostream& operator<<(std::ostream& out, const ShapeOf& shape) { return out << Values{sizes_of(shape.tensor)}; }

std::ostream& operator<<(std::ostream& out, const DeviceOf& device) {
  if (device.tensor.is_cpu()) {
    return out << "cpu";
  }
  const bool is_meta = device.tensor.device().type() == torch::headeronly::DeviceType::Meta;
  out << (device.tensor.is_cuda() ? "cuda" : is_meta ? "meta" : "another device");
  const auto index = device.tensor.get_device_index();
  return index < 0 ? out : out << ':' << index;
}

const char* name_of(ScalarType type) { return torch::headeronly::toString(type); }

}  // namespace flashconvert::runtime
