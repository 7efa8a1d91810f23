// Saving: refusals before the work, whole files or none, and nothing left behind.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "checkpoint/compare.h"
#include "checkpoint/temporary_file.h"
#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

namespace fs = std::filesystem;

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

void save_to(const fs::path& path, bool force = false) {
  Destination::file(path, no_source(), force).save(make_checkpoint(make_linear()));
}

TEST_CASE("what cannot be written is refused before the work") {
  Scratch scratch;
  const auto refusal = [](ErrorKind kind, const fs::path& path, bool force = false) {
    return message_of(kind, [&] { Destination::file(path, no_source(), force); });
  };
  CHECK(contains(refusal(ErrorKind::kOutput, scratch / "none/model.pt"), "no such folder"));
  CHECK(contains(refusal(ErrorKind::kOutput, scratch.folder()), "is a folder"));
  CHECK(contains(refusal(ErrorKind::kOutput, scratch / "new/"), "is a folder"));
  write_file(scratch / "file", "x");
  CHECK(contains(refusal(ErrorKind::kOutput, scratch / "file/model.pt"), "is not a folder"));
  CHECK(contains(refusal(ErrorKind::kOutput, scratch / "file"), "--force"));
  CHECK(contains(refusal(ErrorKind::kOutput, "/dev/null", true), "not a regular file"));
  CHECK(contains(refusal(ErrorKind::kUsage, ""), "empty"));
  if (::geteuid() != 0) {
    fs::create_directory(scratch / "locked");
    fs::permissions(scratch / "locked", fs::perms::owner_read | fs::perms::owner_exec);
    CHECK(contains(refusal(ErrorKind::kOutput, scratch / "locked/model.pt"), "no permission"));
  }
  CHECK(read_file(scratch / "file") == "x");
}

TEST_CASE("OUTPUT may not be INPUT, by whatever name") {
  Scratch scratch;
  save_to(scratch / "model.pt");
  fs::create_symlink("model.pt", scratch / "link.pt");
  fs::create_hard_link(scratch / "model.pt", scratch / "hard.pt");
  const Source source = Source::file(scratch / "model.pt");
  for (const char* name : {"model.pt", "link.pt", "hard.pt", "./model.pt"}) {
    const auto refuse = [&] { Destination::file(scratch / name, source, true); };
    CHECK(contains(message_of(ErrorKind::kUsage, refuse), "same file as INPUT"));
  }
}

TEST_CASE("a save leaves the file and nothing else") {
  Scratch scratch;
  save_to(scratch / "model.pt");
  CHECK(scratch.count_files() == 1);
  CHECK(find_difference(make_linear(), Source::file(scratch / "model.pt").load().module).value_or("") == "");
}

TEST_CASE("a new file has the mode that the umask gives; an overwritten one keeps its own") {
  Scratch scratch;
  const mode_t before = ::umask(027);
  save_to(scratch / "new.pt");
  ::umask(before);
  CHECK(mode_of(scratch / "new.pt") == 0640);
  ::chmod((scratch / "new.pt").c_str(), 0604);
  save_to(scratch / "new.pt", true);
  CHECK(mode_of(scratch / "new.pt") == 0604);
}

TEST_CASE("a link as OUTPUT stays a link, and its target is replaced") {
  Scratch scratch;
  fs::create_directory(scratch / "store");
  write_file(scratch / "store/model.pt", "old");
  fs::create_symlink("store/model.pt", scratch / "latest.pt");
  save_to(scratch / "latest.pt", true);
  CHECK(fs::is_symlink(scratch / "latest.pt"));
  CHECK(read_file(scratch / "store/model.pt").substr(0, 2) == "PK");
}

TEST_CASE("a file that appears while the model is converted is not overwritten") {
  Scratch scratch;
  const Destination destination = Destination::file(scratch / "model.pt", no_source(), false);
  write_file(scratch / "model.pt", "somebody else's");
  const auto save = [&] { destination.save(make_checkpoint(make_linear())); };
  CHECK(contains(message_of(ErrorKind::kOutput, save), "in the meantime"));
  CHECK(read_file(scratch / "model.pt") == "somebody else's");
  CHECK(scratch.count_files() == 1);
}

// Runs `action` in a process of its own, so that limits and signals hit that alone. Gives its status as waitpid has it.
template <typename Action>
int status_of_child(Action action, const std::function<void(pid_t)>& meanwhile = {}) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(action());
  if (meanwhile) meanwhile(child);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

TEST_CASE("a full disk is reported, and leaves the old file and nothing else") {
  Scratch scratch;
  write_file(scratch / "model.pt", "old");
  // A limit on the size of files stands in for the full disk: both make the write fail half-way.
  for (const rlim_t limit : {rlim_t{0}, rlim_t{1000}, rlim_t{100'000}, rlim_t{261'000}}) {
    const int status = status_of_child([&] {
      const Destination destination = Destination::file(scratch / "model.pt", no_source(), true);
      const rlimit size{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &size);
      try {
        destination.save(make_checkpoint(make_linear(256)));
      } catch (const Error& error) {
        return error.kind() == ErrorKind::kOutput && contains(error.what(), "file size limit") ? 10 : 11;
      }
      return 12;
    });
    INFO("limit " << limit);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 10);
    CHECK(read_file(scratch / "model.pt") == "old");
    CHECK(scratch.count_files() == 1);
  }
}

TEST_CASE("killed at any moment, a save leaves the old file or the whole new one") {
  Scratch scratch;
  const fs::path path = scratch / "model.pt";
  const torch::jit::Module module = make_linear(1024);
  std::string old_content;
  {
    Destination::file(path, no_source(), false).save(make_checkpoint(make_linear(4)));
    old_content = read_file(path);
  }
  int old_files = 0, new_files = 0;
  for (int delay_ms = 0; delay_ms <= 120; delay_ms += 6) {
    write_file(path, old_content);
    status_of_child(
        [&] {
          Destination::file(path, no_source(), true).save(make_checkpoint(module));
          return 0;
        },
        [&](pid_t child) {
          std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
          ::kill(child, SIGKILL);
        });
    if (read_file(path) == old_content) {
      ++old_files;
    } else {
      ++new_files;
      CHECK(find_difference(module, Source::file(path).load().module).value_or("") == "");
    }
  }
  INFO(old_files << " old, " << new_files << " new");
  CHECK(old_files > 0);
}

TEST_CASE("a signal's handler removes the temporary file") {
  Scratch scratch;
  const int status = status_of_child([&] {
    ::signal(SIGTERM, [](int) {
      remove_temporary_files();
      ::_exit(42);
    });
    std::thread killer([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      ::kill(::getpid(), SIGTERM);
    });
    for (;;) {
      Destination::file(scratch / "model.pt", no_source(), true).save(make_checkpoint(make_linear(1500)));
    }
    return 0;
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  CHECK(scratch.count_files() <= 1);
  CHECK(scratch.count_files() == (fs::exists(scratch / "model.pt") ? 1 : 0));
}

TEST_CASE("standard output gets the bytes that a file would") {
  Scratch scratch;
  save_to(scratch / "file.pt");
  const int status = status_of_child([&] {
    const int output = ::open((scratch / "stream.pt").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(output, STDOUT_FILENO);
    Destination::standard_output().save(make_checkpoint(make_linear()));
    return 0;
  });
  CHECK(WIFEXITED(status));
  CHECK(read_file(scratch / "stream.pt") == read_file(scratch / "file.pt"));
}

TEST_CASE("a reader that goes away is an error that can be reported") {
  const int status = status_of_child([&] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    ::close(ends[0]);
    ::dup2(ends[1], STDOUT_FILENO);
    try {
      Destination::standard_output().save(make_checkpoint(make_linear()));
    } catch (const Error& error) {
      return error.kind() == ErrorKind::kOutput && contains(error.what(), "closed by its reader") ? 10 : 11;
    }
    return 12;
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 10);
}

TEST_CASE("an operator library that cannot be loaded says why") {
  Scratch scratch;
  CHECK(contains(message_of(ErrorKind::kUsage, [&] { load_operator_library(scratch / "none.so"); }), "no such"));
  write_file(scratch / "text.so", "not a library");
  CHECK(contains(message_of(ErrorKind::kUsage, [&] { load_operator_library(scratch / "text.so"); }), "text.so"));
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
