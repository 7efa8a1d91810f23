// Reads the file of --inputs, and says what it is when it is something else.
#include "verify/input_file.h"

#include <caffe2/serialize/file_adapter.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/csrc/jit/serialization/import_read.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "common/error.h"
#include "verify/binding.h"
#include "verify/messages.h"

namespace flashconvert::verify {

namespace {

constexpr const char* kHowToSave =
    "Save them in Python: torch.save((ids, mask), \"inputs.pt\") for one case, a list of such tuples for several.";

[[noreturn]] void fail(const std::string& path, const std::string& message, const std::string& advice = kHowToSave) {
  throw Error(ErrorKind::kUsage, "--inputs " + path + ": " + message, advice);
}

std::string first_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path, "the file cannot be opened", "Check the path and the permissions.");
  std::string bytes(64, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

// torch.save's zip format is what can be read; what other files look like is told from their first bytes.
void check_is_zip(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail(path, "this is a folder");
  const std::string bytes = first_bytes(path);
  if (starts_with(bytes, "PK\x03\x04")) return;
  if (bytes.empty()) fail(path, "the file is empty");
  if (starts_with(bytes, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.")) {
    fail(path, "this was saved by torch.save in its old format (before torch 1.6)",
         "Save it again: torch.save(torch.load(\"" + path + "\"), \"inputs.pt\").");
  }
  if (starts_with(bytes, "\x93NUMPY")) {
    fail(path, "this is a NumPy array", "Save it as a tensor: torch.save((torch.from_numpy(array),), \"inputs.pt\").");
  }
  if (bytes[0] == '\x80') fail(path, "this is a pickle that torch.save did not write");
  if (bytes.size() > 8 && bytes[8] == '{') fail(path, "this looks like a safetensors file");
  fail(path, "this is not a file that torch.save wrote");
}

// A TorchScript container, the way in which C++ programs are handed tensors: its tensors by name.
c10::IValue read_container(const std::string& path) {
  const torch::jit::Module container = torch::jit::load(path, c10::kCPU);
  c10::impl::GenericDict values(c10::StringType::get(), c10::AnyType::get());
  for (const auto& attribute : container.named_attributes(/*recurse=*/false)) {
    if (attribute.value.isTensor()) values.insert_or_assign(attribute.name, attribute.value);
  }
  if (values.empty())
    fail(path, "this is a TorchScript file without tensors of its own: a model, perhaps, and not its inputs");
  return values;
}

std::string pickle_problem(const std::string& message) {
  for (const std::string start :
       {"Unpickler found unknown type ", "Unknown pickler class id", "Unpickler found unknown torch global, "}) {
    if (starts_with(message, start)) {
      return "it holds a Python object (" + message.substr(start.size()) +
             "); only tensors, numbers, text, tuples, lists and "
             "plain dicts can be read";
    }
  }
  if (message.find("GenericDict") != std::string::npos) {
    return "it holds a Python object (an OrderedDict or a class of a library, perhaps); only tensors, numbers, text, "
           "tuples, "
           "lists and plain dicts can be read";
  }
  return "it cannot be read: " + message;
}

std::unique_ptr<caffe2::serialize::PyTorchStreamReader> open_archive(const std::string& path) {
  try {
    return std::make_unique<caffe2::serialize::PyTorchStreamReader>(
        std::make_shared<caffe2::serialize::FileAdapter>(path));
  } catch (const std::exception&) {
    fail(path, "the archive is truncated or damaged");
  }
}

c10::IValue read_value(const std::string& path) {
  check_is_zip(path);
  const auto archive = open_archive(path);
  if (!archive->hasRecord("data.pkl")) fail(path, "this is a zip archive that torch.save did not write");
  try {
    if (archive->hasRecord("constants.pkl")) return read_container(path);
    return torch::jit::readArchiveAndTensors("data", "", "data/", std::nullopt, std::nullopt, c10::Device(c10::kCPU),
                                             *archive);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail(path, pickle_problem(brief_message(error)));
  }
}

// The names of a dict's keys when it has no others than text.
std::vector<std::string> text_keys(const c10::IValue& value) {
  std::vector<std::string> keys;
  if (!value.isGenericDict()) return keys;
  for (const auto& entry : value.toGenericDict()) {
    if (!entry.key().isString()) return {};
    keys.push_back(entry.key().toStringRef());
  }
  return keys;
}

class CaseReader {
public:
  CaseReader(const std::string& path, const torch::jit::Module& module) : path_(path), module_(module) {}

  std::vector<FileCase> read(const c10::IValue& value) {
    const auto keys = text_keys(value);
    const bool by_method = !keys.empty() && std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
      return has_method(module_, key) && !names_argument("forward", key);
    });
    if (by_method) {
      for (const std::string& key : keys) add_cases(key, value.toGenericDict().at(key));
    } else {
      if (!has_method(module_, "forward")) {
        fail(path_, "the checkpoint has no forward method",
             "Save a dict of its methods' names: torch.save({\"encode\": (ids,)}, …).");
      }
      add_cases("forward", value);
    }
    if (cases_.empty()) fail(path_, "it holds no cases");
    return std::move(cases_);
  }

private:
  void add_cases(const std::string& method, const c10::IValue& value) {
    if (!value.isList()) {
      add_case(method, value, "--inputs " + path_);
      return;
    }
    std::size_t index = 0;
    for (const c10::IValue& element : value.toListRef()) {
      add_case(method, element, "--inputs " + path_ + ", case " + std::to_string(++index));
    }
  }

  void add_case(const std::string& method, const c10::IValue& value, const std::string& where) {
    FileCase result{method, {}, where};
    const auto keys = text_keys(value);
    const bool keywords = !keys.empty() && std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
      return names_argument(method, key);
    });
    if (keywords) {
      for (const std::string& key : keys) result.arguments.push_back({key, value.toGenericDict().at(key)});
    } else if (value.isTuple()) {
      for (const c10::IValue& element : value.toTupleRef().elements()) result.arguments.push_back({"", element});
    } else {
      result.arguments.push_back({"", value});
    }
    cases_.push_back(std::move(result));
  }

  bool names_argument(const std::string& method, const std::string& name) const {
    const auto found = module_.find_method(method);
    return found && argument_index(found->function().getSchema(), name) >= 0;
  }

  const std::string& path_;
  const torch::jit::Module& module_;
  std::vector<FileCase> cases_;
};

}  // namespace

std::vector<FileCase> read_input_file(const std::string& path, const torch::jit::Module& module) {
  return CaseReader(path, module).read(read_value(path));
}

}  // namespace flashconvert::verify
