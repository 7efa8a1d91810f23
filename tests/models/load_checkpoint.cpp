// Loads a checkpoint as a C++ server would (dlopen of the operator library, then torch::jit::load), runs it on saved
// inputs and compares with saved outputs:
//   load_checkpoint OPERATOR_LIBRARY CHECKPOINT INPUTS OUTPUTS
// INPUTS and OUTPUTS are tuples of tensors written by Python's torch.save.
#include <dlfcn.h>
#include <torch/script.h>
#include <torch/serialize.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

std::vector<c10::IValue> read_tuple(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return torch::pickle_load(bytes).toTupleRef().elements().vec();
}

// The tensors of a nested result, in the order in which Python lists them.
void append_tensors(const c10::IValue& value, std::vector<at::Tensor>& found) {
  if (value.isTensor()) {
    found.push_back(value.toTensor());
  } else if (value.isTuple()) {
    for (const auto& element : value.toTupleRef().elements()) append_tensors(element, found);
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) found.push_back(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) append_tensors(element, found);
  } else if (value.isGenericDict()) {
    for (const auto& item : value.toGenericDict()) append_tensors(item.value(), found);
  }
}

void require_close(const at::Tensor& actual, const at::Tensor& expected, std::size_t index) {
  if (actual.sizes() != expected.sizes() || actual.dtype() != expected.dtype()) {
    throw std::runtime_error("output " + std::to_string(index) + " has another shape or dtype than in Python");
  }
  if (!at::allclose(actual, expected, /*rtol=*/1e-5, /*atol=*/1e-6, /*equal_nan=*/true)) {
    throw std::runtime_error("output " + std::to_string(index) + " differs from Python's");
  }
}

void run(const std::string& library, const std::string& checkpoint, const std::string& inputs,
         const std::string& outputs) {
  if (dlopen(library.c_str(), RTLD_NOW) == nullptr) throw std::runtime_error(dlerror());
  torch::jit::Module module = torch::jit::load(checkpoint);
  const c10::InferenceMode guard;
  std::vector<at::Tensor> actual;
  append_tensors(module.forward(read_tuple(inputs)), actual);
  const std::vector<c10::IValue> expected = read_tuple(outputs);
  if (actual.size() != expected.size()) {
    throw std::runtime_error(std::to_string(actual.size()) + " output tensors instead of " +
                             std::to_string(expected.size()));
  }
  for (std::size_t i = 0; i < actual.size(); ++i) require_close(actual[i], expected[i].toTensor(), i);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "load_checkpoint OPERATOR_LIBRARY CHECKPOINT INPUTS OUTPUTS\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
