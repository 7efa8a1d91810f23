#include "checkpoint/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/error.h"

namespace flashconvert::checkpoint {
namespace {

[[noreturn]] void throw_cannot_open(const std::string& name, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      throw Error(ErrorKind::kInput, name + ": no such file", "Check the path of INPUT.");
    case EACCES:
    case EPERM:
      throw Error(ErrorKind::kInput, name + ": permission denied", "Give yourself read permission (chmod u+r).");
    default:
      throw Error(ErrorKind::kInput, name + ": cannot be opened: " + std::strerror(error));
  }
}

}  // namespace

std::shared_ptr<const Bytes> Bytes::open(const std::filesystem::path& path) {
  std::shared_ptr<Bytes> bytes(new Bytes);
  bytes->name_ = path.string();
  // Not blocking: the open of a named pipe without a writer would wait for ever; it is refused below.
  bytes->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (bytes->descriptor_ < 0) throw_cannot_open(bytes->name_, errno);
  bytes->owns_descriptor_ = true;

  struct stat status {};
  if (::fstat(bytes->descriptor_, &status) != 0) throw_cannot_open(bytes->name_, errno);
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::kInput, bytes->name_ + ": is a folder",
                "Give the file that torch.jit.save wrote. (A folder may be an unpacked checkpoint, or a TensorFlow or "
                "transformers model, which flashconvert does not read.)");
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::kInput, bytes->name_ + ": is not a regular file",
                "To convert what a pipe delivers, give '-' as INPUT and connect the pipe to standard input.");
  }
  bytes->size_ = static_cast<std::uint64_t>(status.st_size);
  bytes->state_ = state_of(status);
  if (bytes->size_ == 0) {
    throw Error(ErrorKind::kInput, bytes->name_ + ": is empty (0 bytes)", "Copy or download it again.");
  }
  ::posix_fadvise(bytes->descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
  return bytes;
}

std::shared_ptr<const Bytes> Bytes::in_memory(std::shared_ptr<const std::string> content) {
  std::shared_ptr<Bytes> bytes(new Bytes);
  bytes->name_ = "standard input";
  bytes->size_ = content->size();
  bytes->content_ = std::move(content);
  return bytes;
}

std::shared_ptr<const Bytes> Bytes::of_descriptor(int descriptor, std::uint64_t size, const std::string& name) {
  std::shared_ptr<Bytes> bytes(new Bytes);
  bytes->name_ = name;
  bytes->kind_ = ErrorKind::kOutput;
  bytes->descriptor_ = descriptor;
  bytes->size_ = size;
  return bytes;
}

Bytes::~Bytes() {
  if (owns_descriptor_) ::close(descriptor_);
}

std::size_t Bytes::read(std::uint64_t position, void* buffer, std::size_t count) const {
  if (position >= size_) return 0;
  count = static_cast<std::size_t>(std::min<std::uint64_t>(count, size_ - position));
  if (content_) {
    std::memcpy(buffer, content_->data() + position, count);
    return count;
  }
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got =
        ::pread(descriptor_, static_cast<char*>(buffer) + done, count - done, static_cast<off_t>(position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(kind_, name_ + ": cannot be read: " + std::strerror(errno));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Bytes::State Bytes::state_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size), status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

bool Bytes::is_same(const State& one, const State& other) {
  return one.device == other.device && one.inode == other.inode && one.size == other.size &&
         one.seconds == other.seconds && one.nanoseconds == other.nanoseconds;
}

bool Bytes::is_as(const Bytes& other) const { return content_ == other.content_ && is_same(state_, other.state_); }

void Bytes::require_unchanged() const {
  struct stat status {};
  if (!owns_descriptor_ || (::fstat(descriptor_, &status) == 0 && is_same(state_, state_of(status)))) return;
  throw Error(ErrorKind::kInput, name_ + ": was changed by somebody else while it was converted",
              "Run the conversion again. Nothing was written.");
}

std::string Bytes::read(std::uint64_t position, std::size_t count) const {
  std::string text(count, '\0');
  text.resize(read(position, text.data(), count));
  return text;
}

}  // namespace flashconvert::checkpoint
