#include "checkpoint/temporary_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "checkpoint/checkpoint.h"
#include "common/error.h"

namespace flashconvert::checkpoint {
namespace {

constexpr std::size_t kLongestBegin = 200;  // of 255, which a name may have on every usual file system

// The names of the files under way, where a signal handler can read them without a lock: a slot is claimed by putting a
// name into it. A name that is taken out again is not freed (some hundred bytes a save), as the handler may be reading
// it. Files beyond the last slot are not removed when a signal arrives, only when the save ends by itself.
std::array<std::atomic<const char*>, 64> files_under_way{};

int remember(const std::string& path) {
  const char* name = ::strdup(path.c_str());
  for (std::size_t slot = 0; slot < files_under_way.size(); ++slot) {
    const char* empty = nullptr;
    if (files_under_way[slot].compare_exchange_strong(empty, name)) return static_cast<int>(slot);
  }
  return -1;
}

void forget(int slot) {
  if (slot >= 0) files_under_way[static_cast<std::size_t>(slot)].store(nullptr);
}

// "model.pt" to ".model.pt.flashconvert-", which a process's id and a number follow.
std::string name_begin(const std::string& final_name) {
  return "." + final_name.substr(0, kLongestBegin) + ".flashconvert-";
}

bool is_leftover_name(const std::string& name, const std::string& begin) {
  constexpr std::string_view kEnd = ".tmp";
  if (name.size() <= begin.size() + kEnd.size() || name.compare(0, begin.size(), begin) != 0) return false;
  const std::string_view rest = std::string_view(name).substr(begin.size());
  return rest.substr(rest.size() - kEnd.size()) == kEnd &&
         rest.substr(0, rest.size() - kEnd.size()).find_first_not_of("0123456789-") == std::string_view::npos;
}

// Whoever writes a temporary file holds a lock on it, which ends with its process, whatever ended that and wherever it
// ran: a process's id in the name would say nothing on another machine or in another container.
void remove_if_abandoned(int folder, const char* name) {
  const int file = ::openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return;
  struct stat status {};
  if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && ::flock(file, LOCK_EX | LOCK_NB) == 0) {
    ::unlinkat(folder, name, 0);
  }
  ::close(file);
}

// False when somebody took the new file for an abandoned one, and removed it, before it was locked.
bool lock_and_still_there(int descriptor) {
  struct stat status {};
  // Whoever holds it is about to remove the file. Not every file system can lock; then nobody else can either.
  while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
  }
  return ::fstat(descriptor, &status) != 0 || status.st_nlink != 0;
}

std::string temporary_name(const std::string& final_name, unsigned attempt) {
  static std::atomic<unsigned> counter{0};
  return name_begin(final_name) + std::to_string(::getpid()) + "-" + std::to_string(counter++ + attempt) + ".tmp";
}

[[noreturn]] void throw_cannot_create(const std::filesystem::path& folder, int error) {
  const std::string where = folder.string();
  switch (error) {
    case ENOENT:
      throw Error(ErrorKind::kOutput, where + ": no such folder", "Create it (mkdir -p), or give another OUTPUT.");
    case ENOTDIR:
      throw Error(ErrorKind::kOutput, where + ": is not a folder", "Give an OUTPUT in a folder that exists.");
    case EACCES:
    case EPERM:
      throw Error(ErrorKind::kOutput, where + ": no permission to create files there", "Give an OUTPUT elsewhere.");
    case EROFS:
      throw Error(ErrorKind::kOutput, where + ": is on a read-only file system", "Give an OUTPUT elsewhere.");
    case ENOSPC:
    case EDQUOT:
      throw Error(ErrorKind::kOutput, where + ": the disk is full", "Free some space, or give an OUTPUT elsewhere.");
    default:
      throw Error(ErrorKind::kOutput, where + ": no file can be created there: " + std::strerror(error));
  }
}

}  // namespace

void remove_abandoned_files(const std::filesystem::path& folder, const std::string& final_name) {
  const std::string begin = name_begin(final_name);
  DIR* listing = ::opendir(folder.c_str());
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing)) {
    if (is_leftover_name(entry->d_name, begin)) remove_if_abandoned(::dirfd(listing), entry->d_name);
  }
  ::closedir(listing);
}

void remove_temporary_files() noexcept {
  for (std::atomic<const char*>& file : files_under_way) {
    const char* name = file.load();
    if (name != nullptr) ::unlink(name);
  }
}

void forget_temporary_files() noexcept {
  for (std::atomic<const char*>& file : files_under_way) file.store(nullptr);
}

TemporaryFile::TemporaryFile(const std::filesystem::path& folder, const std::string& final_name) {
  remove_abandoned_files(folder, final_name);
  constexpr unsigned kAttempts = 100;  // names of files that a killed process of the same id left
  for (unsigned attempt = 0; attempt < kAttempts && descriptor_ < 0; ++attempt) {
    path_ = folder / temporary_name(final_name, attempt);
    slot_ = remember(path_.string());  // before the file exists: no signal may fall in between
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    const int error = descriptor_ < 0 ? errno : EEXIST;
    if (descriptor_ >= 0 && lock_and_still_there(descriptor_)) return;
    forget(slot_);
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    if (error != EEXIST) throw_cannot_create(folder, error);
  }
  throw_cannot_create(folder, EEXIST);
}

TemporaryFile::~TemporaryFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
  forget(slot_);
  ::close(descriptor_);
}

void TemporaryFile::take_attributes_of(const std::filesystem::path& other) {
  struct stat status {};
  if (::stat(other.c_str(), &status) != 0) return;
  // The owner first, as changing it may clear bits of the mode. Only root may give files away: others keep their own.
  if (::fchown(descriptor_, status.st_uid, status.st_gid) != 0) errno = 0;
  if (::fchmod(descriptor_, status.st_mode & 07777) != 0) errno = 0;
}

void TemporaryFile::flush(const std::string& shown_name) {
  if (::fsync(descriptor_) == 0) return;
  throw Error(ErrorKind::kOutput, shown_name + ": cannot be written to the disk: " + std::strerror(errno));
}

void TemporaryFile::move_to(const std::filesystem::path& destination, bool replace) {
  int result = -1;
  if (!replace) {
    result = ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, destination.c_str(), RENAME_NOREPLACE);
    const bool unsupported = result != 0 && (errno == EINVAL || errno == ENOSYS);  // some network file systems
    if (unsupported && ::access(destination.c_str(), F_OK) == 0) errno = EEXIST;
    if (unsupported && errno != EEXIST) replace = true;
  }
  if (replace) result = ::rename(path_.c_str(), destination.c_str());
  if (result != 0 && errno == EEXIST) {
    throw Error(ErrorKind::kOutput, destination.string() + ": was created by somebody else in the meantime",
                "Give --force to overwrite it, or another OUTPUT.");
  }
  if (result != 0) {
    throw Error(ErrorKind::kOutput, destination.string() + ": cannot be put in its place: " + std::strerror(errno));
  }
  path_.clear();
  forget(slot_);
  slot_ = -1;

  // The rename itself is on the disk only when the folder is. A file system that cannot do this still has the file.
  const std::filesystem::path folder = destination.parent_path().empty() ? "." : destination.parent_path();
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

void TemporaryFile::forget_name() {
  ::unlink(path_.c_str());
  path_.clear();
  forget(slot_);
  slot_ = -1;
}

}  // namespace flashconvert::checkpoint
