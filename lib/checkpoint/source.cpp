// Reading a checkpoint: is it one, is it whole, and all that it holds.
#include <torch/csrc/jit/frontend/error_report.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/versions.h>
#include <torch/version.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <regex>

#include "checkpoint/archive.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/identify.h"
#include "checkpoint/records.h"
#include "checkpoint/soundness.h"
#include "common/cuda_backend.h"
#include "common/error.h"
#include "common/out_of_memory.h"
#include "common/printable.h"

namespace flashconvert::checkpoint {
namespace {

constexpr const char* kCopyAgain = "Copy or download it again, and compare its size with the original's.";

// Throws unless the bytes are a TorchScript archive with a readable table of contents.
ZipDirectory require_torchscript(const Bytes& bytes, const std::string& name) {
  if (!begins_as_zip(bytes)) {
    const OtherFormat format = identify_other_file(bytes);
    throw Error(ErrorKind::kInput, name + ": is " + format.what, format.advice);
  }
  std::optional<ZipDirectory> directory = read_zip_directory(bytes);
  if (!directory) {
    throw Error(ErrorKind::kInput,
                name + ": is truncated: the table of contents at the end of the archive is missing (" +
                    std::to_string(bytes.size()) + " bytes are there)",
                kCopyAgain);
  }
  if (const std::optional<OtherFormat> format = identify_archive(bytes, *directory)) {
    throw Error(ErrorKind::kInput, name + ": is " + format->what, format->advice);
  }
  return *std::move(directory);
}

void require_known_version(const Bytes& bytes, const ZipDirectory& directory, const std::string& name) {
  const ZipEntry* entry = directory.find("version");
  if (entry == nullptr || entry->compressed || entry->size > 20) return;
  const std::string text = bytes.read(entry->content_offset, static_cast<std::size_t>(entry->size));
  const unsigned long long version = std::strtoull(text.c_str(), nullptr, 10);
  if (version > caffe2::serialize::kMaxSupportedFileFormatVersion) {
    throw Error(ErrorKind::kInput,
                name + ": has TorchScript file format " + std::to_string(version) + "; this program's LibTorch (" +
                    TORCH_VERSION + ") reads formats up to " +
                    std::to_string(caffe2::serialize::kMaxSupportedFileFormatVersion),
                "Build flashconvert with the torch that wrote the file, or save it from an older one.");
  }
}

std::string first_line(const std::string& message) {
  constexpr std::size_t kLongest = 300;
  const std::size_t start = message.find_first_not_of(" \t\r\n");
  if (start == std::string::npos) return "no reason given";
  const std::string line = message.substr(start, message.find('\n', start) - start);
  return line.size() <= kLongest ? line : line.substr(0, kLongest) + "…";
}

// LibTorch's reader of archives is stricter than ours in some fields of the table of contents.
Error explain_unreadable_archive(const std::string& name, const std::string& message) {
  std::smatch match;
  static const std::regex reason(R"(failed [^:]*: ([^.\n]+))");
  const std::string shown = std::regex_search(message, match, reason) ? match[1].str() : first_line(message);
  return Error(ErrorKind::kInput, name + ": is damaged: its zip archive cannot be read (" + shown + ")", kCopyAgain);
}

// What LibTorch's importer says, in the words of somebody who wants to convert a file.
Error explain_import_failure(const std::string& name, const std::string& message) {
  std::smatch match;
  static const std::regex unknown_operator(R"(Unknown builtin op: ([A-Za-z_]\w*::\w+(?:\.\w+)?))");
  static const std::regex unknown_class(R"(__torch__\.torch\.classes\.(\w+(?:\.\w+)*))");
  if (std::regex_search(message, match, unknown_operator)) {
    const std::string op = match[1];
    const bool of_torch = op.compare(0, 6, "aten::") == 0 || op.compare(0, 6, "prim::") == 0;
    if (of_torch) {
      return Error(
          ErrorKind::kInput,
          name + ": needs the operator " + op + ", which this program's LibTorch (" + TORCH_VERSION + ") does not have",
          "Build flashconvert with the torch that wrote the file.");
    }
    return Error(ErrorKind::kInput, name + ": needs the custom operator " + op,
                 "Load the library that defines it: --load-library LIBRARY.so");
  }
  if (std::regex_search(message, match, unknown_class)) {
    return Error(ErrorKind::kInput, name + ": needs the custom class torch.classes." + match[1].str(),
                 "Load the library that defines it: --load-library LIBRARY.so");
  }
  // The interpreter's message begins with where it was, and ends with what happened.
  const std::size_t failure = message.rfind("RuntimeError: ");
  if (message.find("TorchScript interpreter") != std::string::npos && failure != std::string::npos) {
    return Error(ErrorKind::kInput,
                 name + ": its own code fails while it is loaded: " +
                     first_line(message.substr(failure + std::string("RuntimeError: ").size())),
                 "Check that torch.jit.load reads it in Python. (--no-sandbox lets its code write files.)");
  }
  return Error(ErrorKind::kInput, name + ": cannot be loaded as TorchScript: " + first_line(message),
               "Check that torch.jit.load reads it in Python.");
}

void import_module(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory, Checkpoint& checkpoint) {
  torch::jit::ExtraFilesMap extra_files;
  for (const std::string& extra : extra_file_names(directory)) extra_files[extra];

  const StorageDevices devices = read_storage_devices(*bytes, directory);
  std::map<std::uint64_t, std::string> positions;
  for (const auto& [record, device] : devices) {
    if (const ZipEntry* entry = directory.find(record)) positions.emplace(entry->content_offset, record);
  }
  std::map<std::string, const void*> buffers;
  const auto note = [&](std::uint64_t position, const void* buffer) {
    const auto record = positions.find(position);
    if (record != positions.end()) buffers[record->second] = buffer;
  };
  const auto adapter = positions.empty() ? make_read_adapter(bytes) : make_read_adapter(bytes, note);
  checkpoint.module = torch::jit::load(adapter, at::kCPU, extra_files);
  checkpoint.extra_files.insert(extra_files.begin(), extra_files.end());
  checkpoint.devices = SavedDevices(checkpoint.module, devices, buffers);
}

// What LibTorch says when it cannot read the checkpoint, or nothing.
std::optional<std::string> try_import(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                                      Checkpoint& checkpoint) {
  try {
    import_module(bytes, directory, checkpoint);
    read_other_records(bytes, directory, checkpoint);
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& error) {
    if (is_out_of_memory(error.what_without_backtrace())) throw;
    return error.what_without_backtrace();
  } catch (const std::exception& error) {  // ErrorReport of the TorchScript compiler, among others
    if (is_out_of_memory(error.what())) throw std::bad_alloc();  // of code that ran while loading
    return error.what();
  }
  return std::nullopt;
}

// The hash of a file whose checksums all fit. Throws Error(kInput) for a damaged one.
std::string require_whole(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                          const std::string& name) {
  Integrity integrity;
  try {
    integrity = check_integrity(bytes, directory);
  } catch (const c10::Error& error) {
    throw explain_unreadable_archive(name, error.what_without_backtrace());
  }
  bytes->require_unchanged();  // one that was written meanwhile looks damaged, and is not
  if (!integrity.damaged_record) return integrity.sha256;
  throw Error(ErrorKind::kInput,
              name + ": is damaged: the checksum of its record " + printable_name(*integrity.damaged_record) +
                  " does not match",
              kCopyAgain);
}

// Nothing of the file reaches LibTorch before this.
void require_sound(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory, const std::string& name) {
  require_sound_records(*bytes, directory, name);
  try {
    require_sound_content(bytes, directory, name);
  } catch (const Error&) {
    require_whole(bytes, directory, name);  // a damaged file explains whatever is wrong with its content
    throw;
  }
}

// torch.cuda.synchronize and its like are operators that only the CUDA backend has; few models call them.
bool loads_what_is_missing(const std::string& failure) {
  return failure.find("cuda") != std::string::npos && load_cuda_backend();
}

// Enough of a file to tell what it is when it is no archive.
constexpr std::size_t kHead = std::size_t{4} << 20;

// What is fed for ever and is no checkpoint is not read for ever.
void require_zip_head(const std::shared_ptr<const std::string>& content) {
  const std::shared_ptr<const Bytes> head = Bytes::in_memory(content);
  if (begins_as_zip(*head)) return;
  const OtherFormat format = identify_other_file(*head);
  throw Error(ErrorKind::kInput, "standard input: is " + format.what, format.advice);
}

// The whole of standard input, whose head is looked at before the rest is read.
std::shared_ptr<const std::string> read_standard_input() {
  auto content = std::make_shared<std::string>();
  std::size_t filled = 0;
  for (bool looked_at = false;;) {
    if (filled == content->size()) content->resize(std::max(kHead, filled + filled / 2));
    const ssize_t got = ::read(STDIN_FILENO, content->data() + filled, content->size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorKind::kInput, std::string("standard input: cannot be read: ") + std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled < kHead || looked_at) continue;
    require_zip_head(content);
    looked_at = true;
  }
  content->resize(filled);
  content->shrink_to_fit();
  return content;
}

}  // namespace

Source Source::file(std::filesystem::path path) {
  Source source;
  source.name_ = path.string();
  source.path_ = std::move(path);
  return source;
}

Source Source::standard_input() {
  std::shared_ptr<const std::string> content = read_standard_input();
  if (content->empty()) {
    throw Error(ErrorKind::kInput, "standard input: is empty (0 bytes)", "Pipe a TorchScript checkpoint into it.");
  }
  Source source;
  source.name_ = "-";
  source.bytes_ = std::move(content);
  return source;
}

std::uint64_t Source::size() const {
  if (bytes_) return bytes_->size();
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path_, error);
  return error ? 0 : size;
}

std::shared_ptr<const Bytes> Source::bytes() const {
  if (bytes_) return Bytes::in_memory(bytes_);
  std::shared_ptr<const Bytes> bytes = Bytes::open(path_);
  if (!*first_) {
    *first_ = bytes;
  } else if (!bytes->is_as(**first_)) {
    throw Error(ErrorKind::kInput, name_ + ": was changed by somebody else while it was converted",
                "Run the conversion again. Nothing was written.");
  }
  return bytes;
}

Checkpoint Source::load() const {
  UncheckedCheckpoint loaded = load_unchecked();
  loaded.checkpoint.file.sha256 = loaded.sha256.get();
  return std::move(loaded.checkpoint);
}

UncheckedCheckpoint Source::load_unchecked() const {
  const std::string shown_name = bytes_ ? "standard input" : name_;
  const std::shared_ptr<const Bytes> bytes = this->bytes();
  const ZipDirectory directory = require_torchscript(*bytes, shown_name);
  require_sound(bytes, directory, shown_name);
  require_known_version(*bytes, directory, shown_name);

  // The importer and the checksums both read the whole file: side by side, as neither waits for the other.
  UncheckedCheckpoint loaded;
  loaded.sha256 = std::async(std::launch::async, require_whole, bytes, directory, shown_name);
  std::optional<std::string> failure = try_import(bytes, directory, loaded.checkpoint);
  if (failure && loads_what_is_missing(*failure)) failure = try_import(bytes, directory, loaded.checkpoint);
  if (failure) {
    loaded.sha256.get();  // a damaged file explains whatever the importer says about it
    throw explain_import_failure(shown_name, *failure);
  }
  bytes->require_unchanged();
  loaded.checkpoint.file = {name_, bytes->size(), ""};
  return loaded;
}

}  // namespace flashconvert::checkpoint
