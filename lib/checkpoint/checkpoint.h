// A TorchScript checkpoint in memory, and its ways in and out of a file.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/saved_devices.h"
#include "report/report.h"

namespace flashconvert::checkpoint {

class TemporaryFile;

struct Checkpoint {
  torch::jit::Module module;  // in eval mode exactly where it was saved so; on the CPU
  SavedDevices devices;       // where its tensors belong
  report::FileFacts file;     // of the bytes it was read from
  // Name (without the extra/ folder) to content.
  std::map<std::string, std::string> extra_files;
  // Method name to the example arguments that torch.jit.trace recorded; tensors are meta tensors.
  std::map<std::string, std::vector<c10::IValue>> traced_inputs;
  // Records that a plain load and save would lose (traced_inputs.pkl …), by name; written back as they are.
  std::map<std::string, std::string> verbatim_records;
  std::vector<std::string> warnings;  // what of the file could not be understood
  std::vector<std::string> left_out;  // what the file has that a converted one will not have
};

// A checkpoint whose file a thread is still checking. Until that ends well, damage may be behind whatever goes wrong.
struct UncheckedCheckpoint {
  Checkpoint checkpoint;            // file.sha256 is empty
  std::future<std::string> sha256;  // throws Error(kInput) when the file is damaged
};

// Where a checkpoint's bytes come from: a file, or standard input read once into memory.
class Source {
public:
  static Source file(std::filesystem::path path);
  static Source standard_input();
  const std::string& name() const { return name_; }  // "-" for standard input
  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const;                  // in bytes; 0 for a file that cannot be looked at (load says why)
  std::shared_ptr<const Bytes> bytes() const;  // throws Error(kInput) as load does

  // Reads the archive. May be called again: every call gives a module that shares nothing with the last one.
  // Throws Error(kInput) with what the file is instead when it is not a TorchScript checkpoint.
  Checkpoint load() const;

  // The same, without the wait for the check of the file.
  UncheckedCheckpoint load_unchecked() const;

private:
  Source() = default;
  std::string name_;
  std::filesystem::path path_;                // empty for standard input
  std::shared_ptr<const std::string> bytes_;  // standard input's bytes
  // The file as it was opened first: every later look has to find the same.
  std::shared_ptr<std::shared_ptr<const Bytes>> first_ = std::make_shared<std::shared_ptr<const Bytes>>();
};

// Where the converted checkpoint goes: a file that appears whole or not at all, or standard output.
class Destination {
public:
  // Checks what can be checked before the work starts: the folder exists and may be written, OUTPUT does not exist
  // (unless `force`) and is not `input` itself (by identity, links included). Throws Error(kOutput) or Error(kUsage).
  static Destination file(std::filesystem::path path, const Source& input, bool force);
  static Destination standard_output();
  const std::string& name() const { return name_; }
  // Where the temporary file of a conversion to `path`, or to "-", lies. The folder need not exist.
  static std::filesystem::path folder_to_write(const std::filesystem::path& path);
  // Removes the temporary files beside `path` that a process which is gone left there.
  static void remove_leftovers(const std::filesystem::path& path);

  // Writes a temporary file beside the destination, flushes it to the disk, loads it again and compares methods,
  // parameters and records with `checkpoint`, then renames it over the destination. Throws Error(kOutput).
  report::FileFacts save(const Checkpoint& checkpoint) const;

  // For a conversion that changed nothing: the same steps with the bytes of `source`, and for the check their hash,
  // which must be that of the file when it was loaded (Error(kInput) where it changed since). Nothing of it is lost:
  // not the spelling of its code, not its bytecode.
  report::FileFacts copy(const Source& source, const report::FileFacts& loaded) const;

private:
  // Puts what `write` writes in its place.
  report::FileFacts deliver(const std::function<report::FileFacts(TemporaryFile&, const std::string&)>& write) const;

  Destination() = default;
  std::string name_;
  std::filesystem::path path_;  // empty for standard output
  bool force_ = false;
};

// Loads a custom-operator library into the process. Throws Error(kUsage) with the loader's own message.
void load_operator_library(const std::filesystem::path& path);

}  // namespace flashconvert::checkpoint
