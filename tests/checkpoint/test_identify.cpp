// What a wrong INPUT is told to be. Formats are made here byte by byte; tests/app/test_bad_input.py has real ones.
#include "checkpoint/identify.h"

#include <utility>
#include <vector>

#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

using namespace std::string_literals;

std::string message_for(const std::string& content) {
  Scratch scratch;
  write_file(scratch / "model.pt", content);
  return message_of(ErrorKind::kInput, [&] { Source::file(scratch / "model.pt").load(); });
}

TEST_CASE("files of other formats are named by their content") {
  const std::string padding(600, '\1');
  const std::vector<std::pair<std::string, std::string>> files = {
      {"\x89HDF\r\n\x1a\n" + padding, "HDF5"},
      {"\x93NUMPY\1\0"s + padding, "NumPy array"},
      {"GGUF\3\0\0\0"s + padding, "GGUF"},
      {"\x1f\x8b\x08"s + padding, "gzip"},
      {"BZh9"s + padding, "bzip2"},
      {"\xfd"
       "7zXZ\0"s +
           padding,
       "xz"},
      {"\x28\xb5\x2f\xfd"s + padding, "zstd"},
      {"7z\xbc\xaf\x27\x1c"s + padding, "7-Zip"},
      {std::string(257, 'x') + "ustar\0"s + padding, "tar archive"},
      {"\x1c\0\0\0TFL3"s + padding, "TensorFlow Lite"},
      {"\x1c\0\0\0ET12"s + padding, "ExecuTorch"},
      {"\x1c\0\0\0PTMF"s + padding, "lite-interpreter"},
      {"\x7f"
       "ELF\2\1\1"s +
           padding,
       "shared library"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS pointer"},
      {"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"},
      {"\x10\0\0\0\0\0\0\0{\"a\":{\"dtype\":1}}"s + padding, "safetensors"},
      {"\x08\x08\x12\x07pytorch\x1a\x03"
       "2.1:\x10"s +
           padding,
       "ONNX"},
      {"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94."s, "Python pickle"},
      {std::string(4096, '\0'), "zeros"},
      {"import torch\n", "a text file"},
      {"\x01\x02\x03\x04"s + padding, "unknown format"},
      {"PYTORCH1"s + padding, "preview release"},
  };
  for (const auto& [content, expected] : files) {
    const std::string message = message_for(content);
    INFO(message);
    CHECK(contains(message, expected));
    CHECK(contains(message, "\n  "));  // what to do
  }
}

TEST_CASE("a short file is not read beyond its end") {
  for (const std::string& content : {"P"s, "PK"s, "PK\x03\x04"s, "\x80\x02"s, "\x08"s, "{"s, "\x93NUM"s}) {
    CHECK_FALSE(message_for(content).empty());
  }
}

TEST_CASE("what cannot be opened says why") {
  Scratch scratch;
  CHECK(contains(message_of(ErrorKind::kInput, [&] { Source::file(scratch / "none.pt").load(); }), "no such file"));
  CHECK(contains(message_of(ErrorKind::kInput, [&] { Source::file(scratch.folder()).load(); }), "is a folder"));
  CHECK(contains(message_of(ErrorKind::kInput, [&] { Source::file("/dev/null").load(); }), "not a regular file"));
  CHECK(contains(message_for(""), "is empty"));
  if (::geteuid() != 0) {  // root may read everything
    write_file(scratch / "secret.pt", "x");
    std::filesystem::permissions(scratch / "secret.pt", std::filesystem::perms::none);
    CHECK(contains(message_of(ErrorKind::kInput, [&] { Source::file(scratch / "secret.pt").load(); }),
                   "permission denied"));
  }
}

// The bytes of a good archive, to be spoiled.
std::string good_archive(const Scratch& scratch) {
  Destination::file(scratch / "good.pt", no_source(), false).save(make_checkpoint(make_linear(64)));
  return read_file(scratch / "good.pt");
}

TEST_CASE("an archive that was cut off anywhere is truncated") {
  Scratch scratch;
  const std::string good = good_archive(scratch);
  for (const std::size_t kept : {std::size_t{100}, good.size() / 2, good.size() - 30, good.size() - 1}) {
    const std::string message = message_for(good.substr(0, kept));
    INFO(kept << " of " << good.size() << ": " << message);
    CHECK(contains(message, "truncated"));
  }
}

TEST_CASE("every flipped bit in a record is noticed, and the record named") {
  Scratch scratch;
  const std::string good = good_archive(scratch);
  const auto directory = read_zip_directory(*Bytes::open(scratch / "good.pt"));
  REQUIRE(directory);
  std::size_t compressed = 0;
  for (const ZipEntry& entry : directory->entries) {
    compressed += entry.compressed ? 1 : 0;
    // The end of compressed content may be padding that means nothing; every bit before it counts.
    const std::uint64_t middle = entry.content_offset + entry.stored_size / 2;
    const std::uint64_t last = entry.compressed ? middle + 1 : entry.content_offset + entry.stored_size - 1;
    for (const std::uint64_t at : {entry.content_offset, middle, last}) {
      std::string damaged = good;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
      const std::string message = message_for(damaged);
      INFO(entry.name << " at " << at << ": " << message);
      CHECK(contains(message, "damaged"));
      CHECK(contains(message, entry.name));
    }
  }
  CHECK(compressed > 0);  // the code's records are: both ways of checking were used
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
