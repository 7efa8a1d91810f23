#include "checkpoint/archive_writer.h"

#include <fcntl.h>
#include <torch/csrc/jit/serialization/export.h>
#include <unistd.h>

#include <caffe2/serialize/inline_container.h>

#include <cerrno>
#include <cstring>
#include <future>

#include "checkpoint/digest.h"
#include "common/error.h"

namespace flashconvert::checkpoint {
namespace {

// The error number, or 0.
int write_some(int descriptor, const char* data, std::size_t size) {
  while (size != 0) {
    const ssize_t written = ::write(descriptor, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    data += written;
    size -= static_cast<std::size_t>(written);
  }
  return 0;
}

Error cannot_write(const std::string& shown_name, int error) {
  switch (error) {
    case ENOSPC:
      return Error(ErrorKind::kOutput, shown_name + ": cannot be written: the disk is full",
                   "Free some space, or give an OUTPUT elsewhere. Nothing was changed.");
    case EDQUOT:
      return Error(ErrorKind::kOutput, shown_name + ": cannot be written: your disk quota is used up",
                   "Free some space, or give an OUTPUT elsewhere. Nothing was changed.");
    case EFBIG:
      return Error(ErrorKind::kOutput, shown_name + ": cannot be written: larger than the file size limit (ulimit -f)",
                   "Raise the limit, or give an OUTPUT on another file system. Nothing was changed.");
    case EPIPE:
      return Error(ErrorKind::kOutput, shown_name + ": was closed by its reader before all was written");
    default:
      return Error(ErrorKind::kOutput, shown_name + ": cannot be written: " + std::strerror(error));
  }
}

// What LibTorch's archive writer writes into. A failed write is remembered and the rest swallowed: LibTorch's writer
// would throw from its destructor, which ends the program.
class HashedFile {
public:
  explicit HashedFile(int descriptor) : descriptor_(descriptor) {}

  std::size_t write(const void* data, std::size_t size) {
    if (error_ != 0) return size;
    if (size < kWorthAThread) {
      sha256_.update(data, size);
      error_ = write_some(descriptor_, static_cast<const char*>(data), size);
    } else {
      std::future<void> hashing = std::async(std::launch::async, [&] { sha256_.update(data, size); });
      error_ = write_some(descriptor_, static_cast<const char*>(data), size);
      hashing.wait();
    }
    bytes_ += size;
    start_writeback();
    return size;
  }

  int error() const { return error_; }
  WrittenArchive finish() { return {bytes_, sha256_.hex()}; }

private:
  static constexpr std::size_t kWorthAThread = std::size_t{1} << 20;
  static constexpr std::uint64_t kWritebackStep = std::uint64_t{32} << 20;

  // The disk begins now, not at the flush that the end waits for.
  void start_writeback() {
    if (bytes_ - writeback_started_ < kWritebackStep) return;
    ::sync_file_range(descriptor_, static_cast<off64_t>(writeback_started_),
                      static_cast<off64_t>(bytes_ - writeback_started_), SYNC_FILE_RANGE_WRITE);
    writeback_started_ = bytes_;
  }

  int descriptor_;
  int error_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t writeback_started_ = 0;
  Sha256 sha256_;
};

void write_records(const Checkpoint& checkpoint, HashedFile& file) {
  // A writer that is given a function, not a name, calls the archive's root folder "archive": torch.jit.save takes the
  // file's name for it, which would make the bytes depend on what the temporary file is called.
  caffe2::serialize::PyTorchStreamWriter writer(
      [&](const void* data, std::size_t size) { return file.write(data, size); });
  for (const auto& [name, content] : checkpoint.extra_files) {
    writer.writeRecord("extra/" + name, content.data(), content.size());
  }
  torch::jit::ScriptModuleSerializer(writer).serialize(checkpoint.module, {}, /*bytecode_format=*/false,
                                                       /*save_mobile_debug_info=*/false);
  for (const auto& [name, content] : checkpoint.verbatim_records) {
    if (writer.getAllWrittenRecords().count(name) == 0) writer.writeRecord(name, content.data(), content.size());
  }
  writer.writeEndOfFile();
}

}  // namespace

void write_fully(int descriptor, const void* data, std::size_t size, const std::string& shown_name) {
  if (const int error = write_some(descriptor, static_cast<const char*>(data), size); error != 0) {
    throw cannot_write(shown_name, error);
  }
}

WrittenArchive write_archive(const Checkpoint& checkpoint, int descriptor, const std::string& shown_name) {
  HashedFile file(descriptor);
  try {
    write_records(checkpoint, file);
  } catch (const c10::Error& error) {
    throw Error(ErrorKind::kOutput, shown_name + ": the model cannot be serialised: " + error.what_without_backtrace());
  }
  if (file.error() != 0) throw cannot_write(shown_name, file.error());
  return file.finish();
}

}  // namespace flashconvert::checkpoint
