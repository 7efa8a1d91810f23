#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <unordered_map>

#include "checkpoint/archive.h"
#include "checkpoint/code_check.h"
#include "checkpoint/pickle_walker.h"
#include "checkpoint/soundness.h"
#include "common/error.h"
#include "common/printable.h"

namespace flashconvert::checkpoint {
namespace {

// LibTorch finds records whatever the case of their letters.
bool is_debug_pickle(const std::string& name) {
  constexpr std::string_view kEnding = ".debug_pkl";
  return name.size() > kEnding.size() &&
         std::equal(kEnding.begin(), kEnding.end(), name.end() - static_cast<std::ptrdiff_t>(kEnding.size()),
                    [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

class ContentCheck {
public:
  ContentCheck(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory, std::string name)
      : bytes_(bytes), directory_(directory), name_(std::move(name)) {
    for (const ZipEntry& entry : directory.entries) {
      if (entry.name.compare(0, directory.root.size(), directory.root) == 0) {
        entries_.emplace(entry.name.substr(directory.root.size()), &entry);
      }
    }
  }

  void run() {
    check_version();
    require_root("data", PickleKind::kObject);
    require_root("constants", PickleKind::kTuple);
    for (const std::string inputs : {"traced_inputs", "bytecode", "mobile_debug_handles", "attributes"}) {
      PickleRules rules;
      rules.any_function = inputs != "traced_inputs";
      rules.largest_tensor = most_of_one_tensor();
      if (const ZipEntry* entry = find(inputs + ".pkl")) walk(*entry, rules);
    }
    const std::string folder = "code/";
    for (const auto& [name, entry] : entries_) {
      if (name.compare(0, folder.size(), folder) != 0) continue;
      if (is_debug_pickle(name)) {  // where each piece of code came from: plain values
        walk(*entry, PickleRules());
        continue;
      }
      if (const auto problem = find_code_problem(content(*entry))) fail(*entry, problem->byte, problem->problem);
    }
  }

private:
  [[noreturn]] void fail(const ZipEntry& entry, std::uint64_t byte, const std::string& problem) const {
    throw Error(ErrorKind::kInput,
                name_ + ": is malformed: its record " + printable_name(entry.name) + ", byte " + std::to_string(byte) +
                    ": " + problem,
                "Save it again with torch.jit.save. Where somebody else made it, do not trust it.");
  }

  const ZipEntry* find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : found->second;
  }

  std::string content(const ZipEntry& entry) {
    if (!entry.compressed) return bytes_->read(entry.content_offset, static_cast<std::size_t>(entry.size));
    try {
      if (!reader_) reader_.emplace(make_read_adapter(bytes_));
      const auto [data, size] = reader_->getRecord(entry.name.substr(directory_.root.size()));
      return {static_cast<const char*>(data.get()), size};
    } catch (const c10::Error&) {
      fail(entry, 0, "it cannot be decompressed");
    }
  }

  void check_version() {
    for (const std::string name : {"version", ".data/version"}) {
      const ZipEntry* entry = find(name);
      if (entry == nullptr) continue;
      std::string text = entry->size > 20 ? std::string() : content(*entry);
      while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
      if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) {
        fail(*entry, 0,
             "expected a number, found " +
                 (text.empty() ? std::to_string(entry->size) + " bytes" : "'" + printable_name(text) + "'"));
      }
    }
  }

  // Expanded tensors take more memory than the file has, once something computes with them.
  std::uint64_t most_of_one_tensor() const { return bytes_->size() + (std::uint64_t{256} << 20); }

  void require_root(const std::string& archive, PickleKind kind) {
    const ZipEntry* entry = find(archive + ".pkl");
    if (entry == nullptr) return;  // archives from before 1.4
    PickleRules rules;
    rules.largest_tensor = most_of_one_tensor();
    rules.record_size = [this, folder = archive + "/"](const std::string& key) -> std::optional<std::uint64_t> {
      const ZipEntry* storage = find(folder + key);
      return storage == nullptr ? std::nullopt : std::optional<std::uint64_t>(storage->size);
    };
    const WalkedPickle walked = walk(*entry, rules);
    if (walked.root == kind) return;
    fail(*entry, entry->size,
         "expected " + std::string(name_of(kind)) + ", found " + std::string(name_of(walked.root)));
  }

  WalkedPickle walk(const ZipEntry& entry, const PickleRules& rules) {
    try {
      return walk_pickle(content(entry), rules);
    } catch (const MalformedPickle& malformed) {
      fail(entry, malformed.byte, malformed.problem);
    }
  }

  std::shared_ptr<const Bytes> bytes_;
  const ZipDirectory& directory_;
  std::string name_;
  std::unordered_map<std::string, const ZipEntry*> entries_;  // by their names below the root folder
  std::optional<caffe2::serialize::PyTorchStreamReader> reader_;
};

}  // namespace

void require_sound_content(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                           const std::string& shown_name) {
  ContentCheck(bytes, directory, shown_name).run();
}

}  // namespace flashconvert::checkpoint
