// Writing a checkpoint: whole or not at all.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>

#include "checkpoint/archive_writer.h"
#include "checkpoint/bytes.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/reload.h"
#include "checkpoint/temporary_file.h"
#include "common/error.h"
#include "report/format.h"

namespace flashconvert::checkpoint {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& file) { return file.parent_path().empty() ? fs::path(".") : file.parent_path(); }

// Where a write to `path` ends up: a link as OUTPUT keeps being a link, and its target is replaced.
fs::path follow_links(fs::path path) {
  constexpr int kMostLinks = 40;  // as Linux has it
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, error); ++i) {
    const fs::path target = fs::read_symlink(path, error);
    path = target.is_absolute() ? target : folder_of(path) / target;
  }
  return path;
}

bool is_same_file(const fs::path& a, const fs::path& b) {
  struct stat first {
  }, second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// A converted checkpoint is about as large as its original; one that is a quarter smaller may still fit.
void require_space(const fs::path& folder, const Source& input, const std::string& name) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0 || disk.f_blocks == 0) return;
  const std::uint64_t available = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (available < input.size() / 4 * 3) {
    throw Error(ErrorKind::kOutput,
                name + ": not enough space on the disk: " + report::human_bytes(available) + " are free, about " +
                    report::human_bytes(input.size()) + " are needed",
                "Free some space, or give an OUTPUT elsewhere.");
  }
}

// While it lives, a write to a closed pipe or beyond the limit on file sizes is an error that can be reported, not the
// silent end of the program.
class FailedWritesAreErrors {
public:
  FailedWritesAreErrors() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGPIPE);
    ::sigaddset(&signals_, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~FailedWritesAreErrors() {
    const timespec at_once{};
    while (::sigtimedwait(&signals_, nullptr, &at_once) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  FailedWritesAreErrors(const FailedWritesAreErrors&) = delete;
  FailedWritesAreErrors& operator=(const FailedWritesAreErrors&) = delete;

private:
  sigset_t signals_{}, before_{};
};

// Standard output gets a file only once it was checked: until then it lies here.
fs::path folder_for_standard_output() {
  std::error_code error;
  fs::path folder = fs::temp_directory_path(error);
  if (!error) return folder;
  const char* given = std::getenv("TMPDIR");
  throw Error(ErrorKind::kOutput,
              "standard output: the folder for temporary files, " + std::string(given == nullptr ? "/tmp" : given) +
                  ", cannot be used: " + error.message(),
              "Set TMPDIR to a folder that exists and has room for the checkpoint.");
}

void copy_to_standard_output(int descriptor, std::uint64_t size) {
  const std::shared_ptr<const Bytes> bytes = Bytes::of_descriptor(descriptor, size, "standard output");
  std::string buffer(std::size_t{1} << 20, '\0');
  for (std::uint64_t position = 0; position < size;) {
    const std::size_t got = bytes->read(position, buffer.data(), buffer.size());
    if (got == 0) throw Error(ErrorKind::kOutput, "standard output: the temporary file was cut short");
    write_fully(STDOUT_FILENO, buffer.data(), got, "standard output");
    position += got;
  }
}

// Writes `checkpoint`, and proves that what is in the file is that checkpoint.
report::FileFacts write_checked(const Checkpoint& checkpoint, TemporaryFile& file, const std::string& name,
                                const std::string& shown_name) {
  WrittenArchive written = write_archive(checkpoint, file.descriptor(), shown_name);
  require_reloads(checkpoint, written.bytes, file.descriptor(), shown_name);
  return {name, written.bytes, written.sha256.get()};
}

}  // namespace

Destination Destination::file(fs::path path, const Source& input, bool force) {
  Destination destination;
  destination.name_ = path.string();
  destination.force_ = force;
  const std::string& name = destination.name_;
  if (path.empty()) throw Error(ErrorKind::kUsage, "OUTPUT is empty", "Give the path of the file to write.");

  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status) || name.back() == '/') {
    throw Error(ErrorKind::kOutput, name + ": is a folder",
                "Give the path of the file to write, or use --output-dir with a folder.");
  }
  if (!input.path().empty() && is_same_file(path, input.path())) {
    throw Error(ErrorKind::kUsage, name + ": is the same file as INPUT", "Give another OUTPUT: the original is kept.");
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(ErrorKind::kOutput, name + ": is not a regular file",
                "Give '-' as OUTPUT to write to standard output, and connect that.");
  }
  if (fs::exists(status) && !force) {
    throw Error(ErrorKind::kOutput, name + ": exists", "Give --force to overwrite it, or another OUTPUT.");
  }
  destination.path_ = follow_links(std::move(path));
  const fs::path folder = folder_of(destination.path_);
  {
    const TemporaryFile can_be_created(folder, destination.path_.filename().string());  // and is removed at once
  }
  require_space(folder, input, name);
  return destination;
}

fs::path Destination::folder_to_write(const fs::path& path) {
  std::error_code ignored;
  return path == "-" ? fs::temp_directory_path(ignored) : folder_of(follow_links(path));
}

void Destination::remove_leftovers(const fs::path& path) {
  const fs::path target = follow_links(path);
  remove_abandoned_files(folder_of(target), target.filename().string());
}

Destination Destination::standard_output() {
  if (::isatty(STDOUT_FILENO) != 0) {
    throw Error(ErrorKind::kUsage, "standard output is a terminal, which cannot take a checkpoint",
                "Redirect it (> model.pt), or give a file as OUTPUT.");
  }
  if ((::fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY) {
    throw Error(ErrorKind::kOutput, "standard output: is closed",
                "Redirect it (> model.pt), or give a file as OUTPUT.");
  }
  Destination destination;
  destination.name_ = "-";
  return destination;
}

report::FileFacts Destination::deliver(
    const std::function<report::FileFacts(TemporaryFile&, const std::string&)>& write) const {
  const FailedWritesAreErrors guard;
  if (path_.empty()) {
    TemporaryFile file(folder_for_standard_output(), "standard-output");
    file.forget_name();
    report::FileFacts facts = write(file, "standard output");
    copy_to_standard_output(file.descriptor(), facts.bytes);
    return facts;
  }
  TemporaryFile file(folder_of(path_), path_.filename().string());
  if (force_) file.take_attributes_of(path_);
  report::FileFacts facts = write(file, name_);
  file.flush(name_);
  file.move_to(path_, force_);
  return facts;
}

report::FileFacts Destination::save(const Checkpoint& checkpoint) const {
  return deliver([&](TemporaryFile& file, const std::string& shown_name) {
    return write_checked(checkpoint, file, name_, shown_name);
  });
}

report::FileFacts Destination::copy(const Source& source, const report::FileFacts& loaded) const {
  return deliver([&](TemporaryFile& file, const std::string& shown_name) {
    WrittenArchive written = copy_archive(*source.bytes(), file.descriptor(), shown_name);
    const std::string sha256 = written.sha256.get();
    if (sha256 != loaded.sha256) {
      throw Error(ErrorKind::kInput, source.name() + ": was changed by somebody else while it was converted",
                  "Run the conversion again. Nothing was written.");
    }
    return report::FileFacts{name_, written.bytes, sha256};
  });
}

}  // namespace flashconvert::checkpoint
