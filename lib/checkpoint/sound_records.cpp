#include <algorithm>
#include <cctype>
#include <string_view>
#include <unordered_set>

#include "checkpoint/soundness.h"
#include "common/error.h"
#include "common/printable.h"

namespace flashconvert::checkpoint {
namespace {

// Records, and folders of records, that LibTorch asks for by name.
constexpr std::array<const char*, 16> kRecords{"data.pkl",
                                               "data",
                                               "constants.pkl",
                                               "constants",
                                               "traced_inputs.pkl",
                                               "traced_inputs",
                                               "bytecode.pkl",
                                               "bytecode",
                                               "attributes.pkl",
                                               "model.json",
                                               "tensors",
                                               "code",
                                               "version",
                                               ".data",
                                               "mobile_debug_handles.pkl",
                                               "mobile_debug_handles"};

std::string lower_case(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;
constexpr std::uint16_t kStored = 0, kDeflated = 8;

// A conversion holds the content one and a half times: 2.2 times the file and 256 MiB are its bound for any file.
std::uint64_t most_content(std::uint64_t file) { return file + file / 5 * 2 + 64 * kMebi; }
// Code is what a checkpoint's compressed records are; compiling it takes some hundred times its size.
std::uint64_t most_code(std::uint64_t file) { return std::min(kMebi + 32 * file, 64 * kMebi); }

class RecordsCheck {
public:
  RecordsCheck(const Bytes& bytes, const ZipDirectory& directory, std::string name)
      : bytes_(bytes), directory_(directory), name_(std::move(name)) {}

  void run() {
    std::uint64_t end_of_last = 0;
    for (const ZipEntry& entry : directory_.entries) {
      check_name(entry);
      check_place(entry, end_of_last);
      check_size(entry);
      end_of_last = entry.content_offset + entry.stored_size;
    }
  }

private:
  [[noreturn]] void fail(const ZipEntry& entry, const std::string& problem) const {
    throw Error(
        ErrorKind::kInput, name_ + ": is malformed: its record " + printable_name(entry.name) + " " + problem,
        "Copy or download it again. Where it is the same then, do not trust it: torch.jit.save writes no such file.");
  }

  void check_name(const ZipEntry& entry) {
    const std::string_view name = entry.name;
    if (name.find('\0') != std::string_view::npos) fail(entry, "has a NUL in its name");
    if (name.empty() || name.front() == '/' || name.find('\\') != std::string_view::npos) {
      fail(entry, "has a name that is no relative path");
    }
    for (std::size_t begin = 0; begin <= name.size();) {
      const std::size_t end = std::min(name.find('/', begin), name.size());
      if (name.substr(begin, end - begin) == "..") fail(entry, "has a name that leads out of the archive");
      begin = end + 1;
    }
    // LibTorch finds records whatever the case of their letters. Two sources may differ in it alone; what names one of
    // LibTorch's own records in other letters would be read without having been looked at.
    std::string key = lower_case(name);
    if (is_a_record_in_other_letters(name, key)) fail(entry, "has the name of a record in other letters");
    if (directory_.is_below("code/", name) || directory_.is_below("extra/", name)) key = name;
    if (!names_.insert(std::move(key)).second) fail(entry, "stands in the table of contents twice");
  }

  bool is_a_record_in_other_letters(std::string_view name, const std::string& lower_name) const {
    const std::string root = lower_case(directory_.root);
    if (lower_name.compare(0, root.size(), root) != 0) return false;
    const std::string_view below = std::string_view(lower_name).substr(root.size());
    const std::string_view first = below.substr(0, below.find('/'));
    const bool is_of_libtorch =
        std::any_of(kRecords.begin(), kRecords.end(), [&](const char* record) { return first == record; });
    return is_of_libtorch && !directory_.is_below(first, name);
  }

  void check_place(const ZipEntry& entry, std::uint64_t end_of_last) const {
    const std::string at = " at byte " + std::to_string(entry.header_offset);
    if (entry.content_offset == 0) {
      fail(entry, "has no content of " + std::to_string(entry.stored_size) + " bytes" + at + " of the file");
    }
    if (entry.header_offset < end_of_last) fail(entry, "begins" + at + ", before the end of another record");
    if (!entry.is_named_alike) fail(entry, "has another name" + at + ", in front of its content");
  }

  void check_size(const ZipEntry& entry) {
    if ((entry.flags & 1U) != 0) fail(entry, "is encrypted");
    if (entry.method != kStored && entry.method != kDeflated) {
      fail(entry, "is compressed by the method " + std::to_string(entry.method) + ", expected 0 or 8");
    }
    if (entry.method == kStored && entry.size != entry.stored_size) {
      fail(entry,
           "has " + std::to_string(entry.stored_size) + " bytes, and says that they are " + std::to_string(entry.size));
    }
    const std::uint64_t limit = most_content(bytes_.size());
    if (entry.size > limit || (content_ += entry.size) > limit) {
      fail(entry, "of " + std::to_string(entry.size) + " bytes makes the content larger than a file of " +
                      std::to_string(bytes_.size()) + " bytes may unfold to (" + std::to_string(limit) + ")");
    }
    if (!directory_.is_below("code/", entry.name)) return;
    if ((code_ += entry.size) > most_code(bytes_.size())) {
      fail(entry, "makes the code larger than " + std::to_string(most_code(bytes_.size())) + " bytes");
    }
  }

  const Bytes& bytes_;
  const ZipDirectory& directory_;
  std::string name_;
  std::unordered_set<std::string> names_;
  std::uint64_t content_ = 0;
  std::uint64_t code_ = 0;
};

}  // namespace

void require_sound_records(const Bytes& bytes, const ZipDirectory& directory, const std::string& shown_name) {
  RecordsCheck(bytes, directory, shown_name).run();
}

}  // namespace flashconvert::checkpoint
