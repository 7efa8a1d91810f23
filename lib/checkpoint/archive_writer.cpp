#include "checkpoint/archive_writer.h"

#include <fcntl.h>
#include <torch/csrc/jit/serialization/export.h>
#include <unistd.h>

#include <caffe2/serialize/inline_container.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <vector>

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

// Hashes a growing file from a thread of its own, some way behind its writer. It reads what was written back from the
// file: the writer's buffers are gone by then, and the hash is of what the file holds.
class FollowingHash {
public:
  FollowingHash(int descriptor, const std::string& shown_name)
      : file_(std::make_shared<GrowingFile>(descriptor, shown_name)),
        result_(std::async(std::launch::async, [file = file_] { return file->hash(); })) {}
  ~FollowingHash() { file_->grow_to(0, true); }
  FollowingHash(const FollowingHash&) = delete;
  FollowingHash& operator=(const FollowingHash&) = delete;

  void publish(std::uint64_t written) { file_->grow_to(written, false); }

  // The hash of the whole file once it has been read. Its value throws Error when the file cannot be read.
  std::future<std::string> finish(std::uint64_t size) {
    file_->grow_to(size, true);
    return std::move(result_);
  }

private:
  class GrowingFile {
  public:
    GrowingFile(int descriptor, std::string shown_name) : descriptor_(descriptor), shown_name_(std::move(shown_name)) {}

    void grow_to(std::uint64_t written, bool last) {
      const std::lock_guard<std::mutex> lock(mutex_);
      written_ = std::max(written_, written);
      ended_ = ended_ || last;
      changed_.notify_one();
    }

    std::string hash() {
      Sha256 hash;
      std::vector<char> buffer(std::size_t{256} << 10);
      std::uint64_t position = 0;
      for (;;) {
        const std::uint64_t end = wait_for_more(position);
        if (end == position) return hash.hex();
        const auto bytes = Bytes::of_descriptor(descriptor_, end, shown_name_);
        while (const std::size_t got = bytes->read(position, buffer.data(), buffer.size())) {
          hash.update(buffer.data(), got);
          position += got;
        }
        if (position < end) throw Error(ErrorKind::kOutput, shown_name_ + ": was cut short by somebody else");
      }
    }

  private:
    std::uint64_t wait_for_more(std::uint64_t position) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return written_ > position || ended_; });
      return written_;
    }

    int descriptor_;
    std::string shown_name_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t written_ = 0;
    bool ended_ = false;
  };

  std::shared_ptr<GrowingFile> file_;
  std::future<std::string> result_;
};

// What LibTorch's archive writer writes into. A failed write is remembered and the rest swallowed: LibTorch's writer
// would throw from its destructor, which ends the program.
class HashedFile {
public:
  HashedFile(int descriptor, const std::string& shown_name) : descriptor_(descriptor), hash_(descriptor, shown_name) {}

  std::size_t write(const void* data, std::size_t size) {
    if (error_ != 0) return size;
    error_ = write_some(descriptor_, static_cast<const char*>(data), size);
    if (error_ != 0) return size;
    bytes_ += size;
    if (bytes_ - announced_ >= kStep) announce();
    return size;
  }

  int error() const { return error_; }
  WrittenArchive finish() { return {bytes_, hash_.finish(bytes_)}; }

private:
  static constexpr std::uint64_t kStep = std::uint64_t{16} << 20;

  void announce() {
    // The disk begins now, not at the flush that the end waits for. Not every file system can; none needs to.
    ::sync_file_range(descriptor_, static_cast<off64_t>(announced_), static_cast<off64_t>(bytes_ - announced_),
                      SYNC_FILE_RANGE_WRITE);
    announced_ = bytes_;
    hash_.publish(bytes_);
  }

  int descriptor_;
  int error_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t announced_ = 0;
  FollowingHash hash_;
};

void write_records(const Checkpoint& checkpoint, HashedFile& file) {
  // A writer that is given a function, not a name, calls the archive's root folder "archive": torch.jit.save takes the
  // file's name for it, which would make the bytes depend on what the temporary file is called.
  caffe2::serialize::PyTorchStreamWriter writer(
      [&](const void* data, std::size_t size) { return file.write(data, size); });
  for (const auto& [name, content] : checkpoint.extra_files) {
    writer.writeRecord("extra/" + name, content.data(), content.size());
  }
  const DeviceLabels labels(checkpoint.module, checkpoint.devices);
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
  HashedFile file(descriptor, shown_name);
  try {
    write_records(checkpoint, file);
  } catch (const c10::Error& error) {
    throw Error(ErrorKind::kOutput, shown_name + ": the model cannot be serialised: " + error.what_without_backtrace());
  }
  if (file.error() != 0) throw cannot_write(shown_name, file.error());
  return file.finish();
}

WrittenArchive copy_archive(const Bytes& bytes, int descriptor, const std::string& shown_name) {
  HashedFile file(descriptor, shown_name);
  std::vector<char> buffer(std::size_t{1} << 20);
  std::uint64_t position = 0;
  while (const std::size_t got = bytes.read(position, buffer.data(), buffer.size())) {
    file.write(buffer.data(), got);
    if (file.error() != 0) throw cannot_write(shown_name, file.error());
    position += got;
  }
  return file.finish();
}

}  // namespace flashconvert::checkpoint
