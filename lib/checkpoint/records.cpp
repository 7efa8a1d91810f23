#include "checkpoint/records.h"

#include <torch/csrc/jit/serialization/import_read.h>

#include <caffe2/serialize/inline_container.h>

#include <algorithm>

#include "checkpoint/archive.h"

namespace flashconvert::checkpoint {
namespace {

constexpr const char* kExtraFolder = "extra/";
constexpr const char* kTracedInputs = "traced_inputs";

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// Records that saving makes anew from the module (and, for extra files, from the checkpoint's own map).
bool is_made_by_saving(const std::string& name) {
  for (const char* exact : {"version", "byteorder", "data.pkl", "constants.pkl"}) {
    if (name == exact) return true;
  }
  for (const char* folder : {"data/", "constants/", "code/", ".data/", kExtraFolder}) {
    if (starts_with(name, folder)) return true;
  }
  return false;
}

// The lite interpreter's compiled form of the methods: of the original's, so it may not stay beside converted ones.
bool is_lite_interpreter(const std::string& name) {
  return name == "bytecode.pkl" || name == "mobile_debug_handles.pkl";
}

// A dict of method name to a list of arguments. The trace keeps no values: the tensors' storages are empty, so they are
// read as meta tensors, which have shape, strides and dtype alone.
void read_traced_inputs(caffe2::serialize::PyTorchStreamReader& reader, Checkpoint& checkpoint) {
  const std::string folder = std::string(kTracedInputs) + "/";
  const c10::IValue methods = torch::jit::readArchiveAndTensors(kTracedInputs, "", folder, std::nullopt, std::nullopt,
                                                                c10::Device(c10::kMeta), reader);
  for (const auto& entry : methods.toGenericDict()) {
    std::vector<c10::IValue>& arguments = checkpoint.traced_inputs[entry.key().toStringRef()];
    for (const c10::IValue& argument : entry.value().toListRef()) arguments.push_back(argument);
  }
}

}  // namespace

std::vector<std::string> extra_file_names(const ZipDirectory& directory) {
  std::vector<std::string> names;
  for (const std::string& name : directory.names()) {
    if (starts_with(name, kExtraFolder) && name.back() != '/')
      names.push_back(name.substr(std::string(kExtraFolder).size()));
  }
  return names;
}

void read_other_records(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                        Checkpoint& checkpoint) {
  if (directory.has("model.json")) return;  // archives from before 1.4 name everything else, too, in another way
  caffe2::serialize::PyTorchStreamReader reader(make_read_adapter(bytes));
  bool had_bytecode = false;
  for (const std::string& name : directory.names()) {
    if (is_made_by_saving(name) || name.empty() || name.back() == '/') continue;
    if (is_lite_interpreter(name)) {
      had_bytecode = true;
      continue;
    }
    const auto [content, size] = reader.getRecord(name);
    checkpoint.verbatim_records[name].assign(static_cast<const char*>(content.get()), size);
  }
  if (had_bytecode) {
    checkpoint.left_out.emplace_back(
        "the checkpoint was also saved for the lite interpreter; its bytecode is left out, as it is that of the "
        "original model (make it again with _save_for_lite_interpreter)");
  }
  if (!directory.has(std::string(kTracedInputs) + ".pkl")) return;
  try {
    read_traced_inputs(reader, checkpoint);
  } catch (const c10::Error& error) {
    checkpoint.warnings.push_back(
        std::string("the example inputs recorded in the checkpoint cannot be read (they are kept): ") +
        error.what_without_backtrace());
    checkpoint.traced_inputs.clear();
  }
}

}  // namespace flashconvert::checkpoint
