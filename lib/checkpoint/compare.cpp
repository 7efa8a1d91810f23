#include "checkpoint/compare.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <regex>
#include <vector>

#include "common/module_path.h"

namespace flashconvert::checkpoint {
namespace {

using c10::IValue;

struct Difference {
  std::string text;
};

[[noreturn]] void differ(const std::string& path, const std::string& what) {
  throw Difference{(path.empty() ? std::string("the module") : path) + ": " + what};
}

template <typename T>
void require_equal(const T& first, const T& second, const std::string& path, const char* what) {
  if (!(first == second)) differ(path, std::string(what) + " differs");
}

std::string without_mangling(const std::string& name) {
  if (name.find("___torch_mangle_") == std::string::npos) return name;
  static const std::regex mangling(R"(___torch_mangle_\d+\.)");
  return std::regex_replace(name, mangling, "");
}

std::string type_name(const c10::Type& type) { return without_mangling(type.annotation_str()); }

// A class whose state goes through methods of its own, so that its attributes need not survive a save.
bool has_own_state(const c10::ClassType& type) {
  return type.findMethod("__getstate__") != nullptr && type.findMethod("__setstate__") != nullptr;
}

class Comparison {
public:
  explicit Comparison(const SameDevice& same_device) : same_device_(same_device) {}

  void values(const IValue& a, const IValue& b, const std::string& path) {
    if (a.tagKind() != b.tagKind()) differ(path, "is " + a.tagKind() + " in one and " + b.tagKind() + " in the other");
    if (a.isTensor()) return tensors(a.toTensor(), b.toTensor(), path);
    if (a.isObject()) return objects(a, b, path);
    if (a.isDouble()) return bits(a.toDouble(), b.toDouble(), path);
    if (a.isComplexDouble()) {
      bits(a.toComplexDouble().real(), b.toComplexDouble().real(), path);
      return bits(a.toComplexDouble().imag(), b.toComplexDouble().imag(), path);
    }
    if (a.isList()) return lists(a, b, path);
    if (a.isTuple()) return elements(a.toTupleRef().elements(), b.toTupleRef().elements(), path);
    if (a.isGenericDict()) return dicts(a.toGenericDict(), b.toGenericDict(), path);
    if (a.isEnum()) return require_equal(a.toEnumHolder()->name(), b.toEnumHolder()->name(), path, "its enum value");
    if (a.isGenerator()) return tensors(a.toGenerator().get_state(), b.toGenerator().get_state(), path);
    if (!(a == b)) differ(path, "its value differs");
  }

  // What is left to compare: the bytes of the tensors.
  const std::vector<StoragePair>& storage_pairs() const { return storage_pairs_; }

private:
  static std::uint64_t bits_of(double value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  }

  static void bits(double a, double b, const std::string& path) {  // NaN is the same as NaN
    if (bits_of(a) != bits_of(b)) differ(path, "its value differs");
  }

  template <typename Elements>
  void elements(const Elements& a, const Elements& b, const std::string& path) {
    require_equal(a.size(), b.size(), path, "the number of its elements");
    for (std::size_t i = 0; i < a.size(); ++i) values(a[i], b[i], path + "[" + std::to_string(i) + "]");
  }

  void lists(const IValue& a, const IValue& b, const std::string& path) {
    require_equal(type_name(*a.type()), type_name(*b.type()), path, "its list type");
    const auto first = a.toListRef();
    const auto second = b.toListRef();
    elements(std::vector<IValue>(first.begin(), first.end()), std::vector<IValue>(second.begin(), second.end()), path);
  }

  void dicts(const c10::impl::GenericDict& a, const c10::impl::GenericDict& b, const std::string& path) {
    require_equal(a.size(), b.size(), path, "the number of its entries");
    auto other = b.begin();
    for (const auto& entry : a) {  // in order: TorchScript's dicts keep it
      values(entry.key(), other->key(), path + " (key)");
      values(entry.value(), other->value(), path + "[…]");
      ++other;
    }
  }

  void objects(const IValue& a, const IValue& b, const std::string& path) {
    const auto first = a.toObject();
    const auto second = b.toObject();
    const auto [seen, is_new] = objects_.emplace(first.get(), second.get());
    if (!is_new) {
      if (seen->second != second.get()) differ(path, "is shared with another attribute in one, and not in the other");
      return;
    }
    const c10::ClassType& type = *first->type();
    const c10::ClassType& other = *second->type();
    require_equal(type_name(type), type_name(other), path, "its class");
    methods(type, other, path);
    if (has_own_state(type)) {
      return values(type.getMethod("__getstate__")({first}), other.getMethod("__getstate__")({second}), path);
    }
    require_equal(type.numAttributes(), other.numAttributes(), path, "the number of its attributes");
    for (std::size_t i = 0; i < type.numAttributes(); ++i) {
      const std::string& name = type.getAttributeName(i);
      const std::string where = join_path(path, name);
      require_equal(name, other.getAttributeName(i), where, "its name");
      require_equal(type_name(*type.getAttribute(i)), type_name(*other.getAttribute(i)), where, "its type");
      if (type.is_module() && other.is_module()) {  // an object of another class has neither
        require_equal(type.is_parameter(i), other.is_parameter(i), where, "whether it is a parameter");
        require_equal(type.is_buffer(i), other.is_buffer(i), where, "whether it is a buffer");
      }
      attribute_ = where;
      values(first->getSlot(i), second->getSlot(i), where);
    }
  }

  // Instances of one type are compared once.
  void methods(const c10::ClassType& a, const c10::ClassType& b, const std::string& path) {
    if (!types_.emplace(&a, &b).second) return;
    require_equal(a.methods().size(), b.methods().size(), path, "the number of its methods");
    for (const torch::jit::Function* method : a.methods()) {
      const torch::jit::Function* other = b.findMethod(method->name());
      if (other == nullptr) differ(path, "has no method " + method->name() + " in the other");
      schemas(method->getSchema(), other->getSchema(), join_path(path, method->name()));
    }
  }

  void schemas(const c10::FunctionSchema& a, const c10::FunctionSchema& b, const std::string& path) {
    arguments(a.arguments(), b.arguments(), path);
    arguments(a.returns(), b.returns(), path);
  }

  void arguments(const std::vector<c10::Argument>& a, const std::vector<c10::Argument>& b, const std::string& path) {
    require_equal(a.size(), b.size(), path, "the number of arguments or results");
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::string where = path + "(" + a[i].name() + ")";
      require_equal(a[i].name(), b[i].name(), where, "the argument's name");
      require_equal(type_name(*a[i].type()), type_name(*b[i].type()), where, "the argument's type");
      require_equal(a[i].kwarg_only(), b[i].kwarg_only(), where, "whether the argument is keyword-only");
      require_equal(a[i].default_value().has_value(), b[i].default_value().has_value(), where, "its having a default");
      if (a[i].default_value()) values(*a[i].default_value(), *b[i].default_value(), where);
    }
  }

  void tensors(const at::Tensor& a, const at::Tensor& b, const std::string& path) {
    require_equal(a.defined(), b.defined(), path, "whether the tensor is defined");
    if (!a.defined()) return;
    require_equal(a.scalar_type(), b.scalar_type(), path, "the tensor's dtype");
    require_equal(a.layout(), b.layout(), path, "the tensor's layout");
    require_equal(a.sizes(), b.sizes(), path, "the tensor's shape");
    require_equal(a.requires_grad(), b.requires_grad(), path, "the tensor's requires_grad");
    if (a.is_sparse()) {
      tensors(a._indices(), b._indices(), path + " (indices)");
      return tensors(a._values(), b._values(), path + " (values)");
    }
    if (a.layout() == c10::kSparseCsr) {
      tensors(a.crow_indices(), b.crow_indices(), path + " (rows)");
      tensors(a.col_indices(), b.col_indices(), path + " (columns)");
      return tensors(a.values(), b.values(), path + " (values)");
    }
    require_equal(a.strides(), b.strides(), path, "the tensor's strides");
    require_equal(a.storage_offset(), b.storage_offset(), path, "the tensor's place in its storage");
    require_equal(a.is_conj(), b.is_conj(), path, "the tensor's conjugate bit");
    require_equal(a.is_neg(), b.is_neg(), path, "the tensor's negative bit");
    if (a.is_quantized() && !a.quantizer()->equalTo(b.quantizer())) differ(path, "the tensor's quantisation differs");
    if (a.is_meta()) return;
    if (same_device_ && !a.is_quantized() && !same_device_(a, b, attribute_))
      differ(path, "the tensor's device differs");
    storages(a, b, path);
  }

  // Whole storages, each once: what shares memory in one module must share it in the other.
  void storages(const at::Tensor& a, const at::Tensor& b, const std::string& path) {
    const c10::StorageImpl* first = a.storage().unsafeGetStorageImpl();
    const c10::StorageImpl* second = b.storage().unsafeGetStorageImpl();
    const auto [seen, is_new] = storages_.emplace(first, second);
    if (!is_new) {
      if (seen->second != second) differ(path, "shares its memory with another tensor in one, and not in the other");
      return;
    }
    const auto [owner, unshared] = storage_owners_.emplace(second, first);
    if (!unshared && owner->second != first) differ(path, "shares its memory in the other, and not in the one");
    require_equal(first->nbytes(), second->nbytes(), path, "the size of the tensor's storage");

    storage_pairs_.push_back({path, a.is_cpu() ? a : a.cpu(), b.is_cpu() ? b : b.cpu()});
  }

  const SameDevice& same_device_;
  std::string attribute_;  // the path of the one that is being compared, without indices
  std::map<const void*, const void*> objects_;
  std::map<const void*, const void*> storages_;
  std::map<const void*, const void*> storage_owners_;
  std::map<const void*, const void*> types_;
  std::vector<StoragePair> storage_pairs_;
};

}  // namespace

std::optional<std::string> find_difference(const torch::jit::Module& first, const torch::jit::Module& second,
                                           const Compared& compared, const SameDevice& same_device) {
  Comparison comparison(same_device);
  try {
    comparison.values(first._ivalue(), second._ivalue(), "");
  } catch (const Difference& difference) {
    return difference.text;
  }
  if (const auto path = find_differing(comparison.storage_pairs(), compared))
    return *path + ": the tensor's values differ";
  return std::nullopt;
}

}  // namespace flashconvert::checkpoint
