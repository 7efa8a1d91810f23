#include "checkpoint/identify.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <regex>
#include <set>
#include <string_view>

namespace flashconvert::checkpoint {
namespace {

using namespace std::string_view_literals;

const std::string kExport =
    "Build the model in Python, load these weights into it, and export it: "
    "torch.jit.trace(model.eval(), example_inputs).save('model.pt')";
const std::string kExportModel =
    "Load it in Python with the code that defines it, and export it: "
    "torch.jit.trace(model.eval(), example_inputs).save('model.pt')";
const std::string kFromOriginal =
    "Go back to the PyTorch model that it was made from, and export that one: "
    "torch.jit.trace(model.eval(), example_inputs).save('model.pt')";
const std::string kUnpack = "Unpack it, and give the TorchScript checkpoint that it holds.";
const std::string kDownload = "Download the file itself, and try again.";

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  const char* what;
  const std::string& advice;
};

// Formats that a few bytes at a fixed place give away.
const std::array<Signature, 19> kSignatures{{
    {0, "PYTORCH1"sv, "a model of a PyTorch preview release (before 1.0)", kExportModel},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file (Keras weights, perhaps)", kFromOriginal},
    {0, "\x93NUMPY"sv, "a NumPy array (.npy)", kExport},
    {0, "GGUF"sv, "a GGUF model (llama.cpp)", kFromOriginal},
    {0, "ggml"sv, "a GGML model (llama.cpp)", kFromOriginal},
    {4, "TFL3"sv, "a TensorFlow Lite model", kFromOriginal},
    {4, "ET12"sv, "an ExecuTorch program (.pte)", kFromOriginal},
    {4, "PTMF"sv, "a PyTorch lite-interpreter model (.ptl) in the flatbuffer format, which holds bytecode and no code",
     kFromOriginal},
    {0,
     "\x7f"
     "ELF"sv,
     "a shared library (of AOTInductor, perhaps), which holds machine code and no graph", kFromOriginal},
    {0, "\x1f\x8b"sv, "a gzip-compressed file", kUnpack},
    {0, "BZh"sv, "a bzip2-compressed file", kUnpack},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "an xz-compressed file", kUnpack},
    {0, "\x28\xb5\x2f\xfd"sv, "a zstd-compressed file", kUnpack},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", kUnpack},
    {0, "Rar!"sv, "a RAR archive", kUnpack},
    {257, "ustar"sv, "a tar archive", kUnpack},
    {0, "%PDF"sv, "a PDF document", kDownload},
    {0, "\x89PNG"sv, "a PNG picture", kDownload},
    {0, "\xff\xd8\xff"sv, "a JPEG picture", kDownload},
}};

constexpr std::string_view kNotTorchScript = ", not a TorchScript checkpoint";

OtherFormat other(std::string what, std::string advice) {
  return {std::move(what) + std::string(kNotTorchScript), std::move(advice)};
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool is_text(std::string_view head) {
  return std::none_of(head.begin(), head.end(), [](unsigned char c) { return c == 0 || (c < 32 && !std::isspace(c)); });
}

bool is_web_page(std::string_view head) {
  std::string start;
  for (const char c : head.substr(0, 256)) start += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  start.erase(0, start.find_first_not_of(" \t\r\n"));
  return starts_with(start, "<!doctype html") || starts_with(start, "<html");
}

// Eight bytes of length, then that much JSON.
bool is_safetensors(const Bytes& bytes, std::string_view head) {
  if (head.size() < 10 || head[8] != '{') return false;
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(head[i]);
  return length >= 2 && length <= bytes.size() - 8;
}

// A ModelProto begins with its ir_version (field 1, a small number); a short name of the producer, its opsets or the
// graph follow. TensorFlow's SavedModel begins alike, but its field 2 is the model itself, and long.
bool begins_with_small_number_field(std::string_view head) {
  return head.size() > 3 && head[0] == '\x08' && head[1] > 0 && head[1] < 32;
}
bool is_onnx(std::string_view head) {
  if (!begins_with_small_number_field(head)) return false;
  if (head[2] == '\x12') {
    const std::size_t length = static_cast<unsigned char>(head[3]);
    return length < 128 && head.size() > 4 + length && is_text(head.substr(4, length));
  }
  return head[2] == '\x1a' || head[2] == '\x22' || head[2] == '\x3a' || head[2] == '\x42';
}
bool is_saved_model(std::string_view head) { return begins_with_small_number_field(head) && head[2] == '\x12'; }

bool is_pickle(std::string_view head) { return head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5; }

// torch.save before 1.6 writes a pickled magic number first.
bool is_old_torch_save(std::string_view head) {
  return is_pickle(head) && head.substr(2, 12) == "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv;
}

// The classes that a pickle names, with their modules: "collections.OrderedDict". Protocols 2 and 3 write both as lines
// of text (GLOBAL); 4 and 5 as two strings, each kept in the memo, that STACK_GLOBAL takes. A class whose module was
// named before is missed there, which is no loss: the first class of each module is found.
std::set<std::string> classes_in_pickle(const std::string& pickle) {
  static const std::regex global("c([A-Za-z_][A-Za-z0-9_.]*)\n([A-Za-z_][A-Za-z0-9_.]*)\n");
  static const std::regex stack_global(
      "\x8c[\\s\\S]([A-Za-z_][A-Za-z0-9_.]*)\x94\x8c[\\s\\S]([A-Za-z_][A-Za-z0-9_.]*)\x94\x93");
  std::set<std::string> classes;
  for (const std::regex* form : {&global, &stack_global}) {
    for (std::sregex_iterator match(pickle.begin(), pickle.end(), *form), end; match != end; ++match) {
      classes.insert((*match)[1].str() + "." + (*match)[2].str());
    }
  }
  return classes;
}

// A class that is not needed to hold tensors in lists and dicts: that of a pickled model, most often.
std::optional<std::string> find_model_class(const std::set<std::string>& classes) {
  std::optional<std::string> any_class;
  for (const std::string& name : classes) {
    const bool plain = starts_with(name, "collections.") || starts_with(name, "torch._") ||
                       starts_with(name, "numpy.") || starts_with(name, "builtins.") ||
                       starts_with(name, "__builtin__.") || starts_with(name, "_codecs.") ||
                       starts_with(name, "copy_reg") || starts_with(name, "copyreg") ||
                       (starts_with(name, "torch.") && name.find('.', 6) == std::string::npos) ||
                       starts_with(name, "torch.storage.") || starts_with(name, "torch.serialization.");
    if (plain || starts_with(name, "torch.nn.parameter.")) continue;
    if (!starts_with(name, "torch.")) return name;  // the user's own class says most
    any_class = name;
  }
  return any_class;
}

OtherFormat identify_torch_save(const std::string& pickle) {
  if (const std::optional<std::string> model_class = find_model_class(classes_in_pickle(pickle))) {
    return other("a pickled Python object (torch.save of a " + *model_class + ")", kExportModel);
  }
  return other("a state dict or other tensors (torch.save), without the model's code", kExport);
}

// A pickle is looked at as far as its class names may stand.
constexpr std::size_t kPickleHead = std::size_t{4} << 20;

bool any_name(const std::vector<std::string>& names, bool (*predicate)(const std::string&)) {
  return std::any_of(names.begin(), names.end(), predicate);
}

}  // namespace

bool begins_as_zip(const Bytes& bytes) {
  const std::string head = bytes.read(0, 4);
  return head == "PK\x03\x04"sv || head == "PK\x05\x06"sv;
}

OtherFormat identify_other_file(const Bytes& bytes) {
  const std::string head = bytes.read(0, 512);
  for (const Signature& signature : kSignatures) {
    if (head.size() >= signature.offset + signature.bytes.size() &&
        head.compare(signature.offset, signature.bytes.size(), signature.bytes) == 0) {
      return other(signature.what, signature.advice);
    }
  }
  if (starts_with(head, "version https://git-lfs")) {
    return other("a Git LFS pointer: the text that stands for a large file", "Fetch the file itself: git lfs pull");
  }
  if (is_web_page(head)) {
    return other("a web page (HTML): the download gave an error or log-in page", kDownload);
  }
  if (is_old_torch_save(head)) return identify_torch_save(bytes.read(0, kPickleHead));
  if (is_pickle(head)) {
    const auto model_class = find_model_class(classes_in_pickle(bytes.read(0, kPickleHead)));
    return other(model_class ? "a Python pickle (of a " + *model_class + ")" : "a Python pickle", kExportModel);
  }
  if (is_safetensors(bytes, head)) return other("a safetensors file: weights without the model's code", kExport);
  if (is_onnx(head)) return other("an ONNX model", kFromOriginal);
  if (is_saved_model(head)) return other("a TensorFlow SavedModel", kFromOriginal);
  if (head.find_first_not_of('\0') == std::string::npos) {
    return {"damaged: it begins with zeros, as an interrupted copy or download leaves it",
            "Copy or download it again."};
  }
  if (is_text(head)) return other("a text file", "Give the file that torch.jit.save wrote.");
  return other("of an unknown format",
               "Give the file that torch.jit.save wrote; if it is that file, it is damaged: "
               "copy or download it again.");
}

std::optional<OtherFormat> identify_archive(const Bytes& bytes, const ZipDirectory& directory) {
  const std::vector<std::string> names = directory.names();
  const auto has_name_ending = [&](std::string_view suffix) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return ends_with(name, suffix); });
  };
  const auto is_entry = [&](std::string_view name) {
    return std::any_of(directory.entries.begin(), directory.entries.end(),
                       [&](const ZipEntry& entry) { return entry.name == name; });
  };

  const bool script_module =
      directory.has("data.pkl") && directory.has("constants.pkl") && directory.has_folder("code/");
  const bool old_script_module = directory.has("model.json") && directory.has("version");
  if (script_module || old_script_module) return std::nullopt;

  if (directory.entries.empty()) return other("an empty zip archive", "Copy or download it again.");
  if (directory.has_folder("data/aotinductor/") || has_name_ending(".so")) {
    return other("a package compiled by AOTInductor, which holds machine code", kFromOriginal);
  }
  if (directory.has("archive_format") || directory.has("archive_version") ||
      is_entry("serialized_exported_program.json") || directory.has("serialized_exported_program.json")) {
    return other("a torch.export program (.pt2)",
                 "Load it in Python and export it as TorchScript: "
                 "torch.jit.trace(torch.export.load('model.pt2').module(), example_inputs).save('model.pt')");
  }
  if (directory.has("bytecode.pkl")) {
    return other("a PyTorch lite-interpreter model (.ptl), which holds bytecode and no code", kFromOriginal);
  }
  if (directory.has_folder(".data/extern_modules") || directory.has(".data/python_version")) {
    return other("a torch.package archive", kExportModel);
  }
  if (const ZipEntry* pickle = directory.find("data.pkl"); pickle != nullptr && pickle->content_offset != 0) {
    return identify_torch_save(bytes.read(
        pickle->content_offset, static_cast<std::size_t>(std::min<std::uint64_t>(pickle->size, kPickleHead))));
  }
  if (is_entry("MAR-INF/MANIFEST.json")) return other("a TorchServe model archive (.mar)", kUnpack);
  if (is_entry("model.weights.h5") || (is_entry("config.json") && has_name_ending(".h5"))) {
    return other("a Keras model (.keras)", kFromOriginal);
  }
  if (any_name(names, [](const std::string& name) { return ends_with(name, ".npy"); })) {
    return other("a NumPy archive (.npz)", kExport);
  }
  for (const ZipEntry& entry : directory.entries) {
    if (ends_with(entry.name, ".pt") || ends_with(entry.name, ".pth") || ends_with(entry.name, ".pts")) {
      return other("a zip archive that holds " + entry.name, kUnpack);
    }
  }
  return other("a zip archive (its first entry is " + directory.entries.front().name + ")",
               "Give the file that torch.jit.save wrote.");
}

}  // namespace flashconvert::checkpoint
