// The last check of a written file must be able to fail: a file that changed after it was written is found out.
#include "checkpoint/reload.h"

#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"
#include "scratch.h"

namespace flashconvert::checkpoint::test {
namespace {

// A model with a tensor of several pieces, and the file that a save leaves.
struct Saved {
  Scratch scratch;
  Checkpoint checkpoint = make_checkpoint(make_linear(600));
  std::string content;
  ZipDirectory directory;

  Saved() {
    checkpoint.extra_files["labels.txt"] = "cat\ndog\n";
    Destination::file(scratch / "model.pt", no_source(), false).save(checkpoint);
    content = read_file(scratch / "model.pt");
    directory = *read_zip_directory(*Bytes::open(scratch / "model.pt"));
  }

  // What the check says of `changed` in the place of the file; empty when it finds no fault.
  std::string fault_of(const std::string& changed) const {
    write_file(scratch / "changed.pt", changed);
    const int descriptor = ::open((scratch / "changed.pt").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(descriptor >= 0);
    std::string fault;
    try {
      require_reloads(checkpoint, content.size(), descriptor, "changed.pt");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kOutput);
      fault = error.what();
    }
    ::close(descriptor);
    return fault;
  }

  std::string with_flipped_bit(std::size_t position) const {
    std::string changed = content;
    changed.at(position) = static_cast<char>(changed[position] ^ 4);
    return changed;
  }

  const ZipEntry& entry(const std::string& name) const {
    const ZipEntry* found = directory.find(name);
    REQUIRE(found != nullptr);
    return *found;
  }
};

TEST_CASE("a file that is what was written has no fault") {
  const Saved saved;
  CHECK(saved.fault_of(saved.content).empty());
}

TEST_CASE("a flipped bit in any record is found") {
  const Saved saved;
  for (const ZipEntry& entry : saved.directory.entries) {
    if (entry.size == 0) continue;
    std::vector<std::uint64_t> places = {0, entry.stored_size / 2};
    if (!entry.compressed) places.push_back(entry.size - 1);  // the last bits of a compressed record may mean nothing
    for (const std::uint64_t at : places) {
      INFO(entry.name << " at " << at);
      CHECK_FALSE(saved.fault_of(saved.with_flipped_bit(entry.content_offset + at)).empty());
    }
  }
}

TEST_CASE("a wrong checksum in the table of contents is found") {
  const Saved saved;
  for (const char* name : {"data/0", "data.pkl", "extra/labels.txt", "version"}) {
    const ZipEntry& entry = saved.entry(name);
    // The last time that the name stands in the file is in the table of contents, 46 bytes behind its entry's begin.
    const std::size_t begin = saved.content.rfind(entry.name) - 46;
    REQUIRE(saved.content.substr(begin, 4) == "PK\1\2");
    INFO(name);
    CHECK(contains(saved.fault_of(saved.with_flipped_bit(begin + 16)), "the checksum of " + entry.name));
  }
}

TEST_CASE("another value and another length are found by name") {
  const Saved saved;
  const ZipEntry& weight = saved.entry("data/0");
  CHECK(contains(saved.fault_of(saved.with_flipped_bit(weight.content_offset + weight.size - 1)), "values differ"));
  CHECK_FALSE(saved.fault_of(saved.content + "x").empty());
  CHECK_FALSE(saved.fault_of(saved.content.substr(0, saved.content.size() - 1)).empty());
}

}  // namespace
}  // namespace flashconvert::checkpoint::test
