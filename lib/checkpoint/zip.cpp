#include "checkpoint/zip.h"

#include <algorithm>
#include <string_view>

namespace flashconvert::checkpoint {
namespace {

// Signatures and sizes of PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16.
constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kDirectoryEntry = 0x02014b50;
constexpr std::uint32_t kDirectoryEnd = 0x06054b50;
constexpr std::uint32_t kDirectoryEnd64 = 0x06064b50;
constexpr std::uint32_t kDirectoryLocator64 = 0x07064b50;
constexpr std::size_t kLocalHeaderSize = 30;
constexpr std::size_t kDirectoryEntrySize = 46;
constexpr std::size_t kDirectoryEndSize = 22;
constexpr std::size_t kDirectoryEnd64Size = 56;
constexpr std::size_t kDirectoryLocator64Size = 20;
constexpr std::size_t kLongestComment = 65535;
constexpr std::uint16_t kZip64Field = 1;
constexpr std::uint64_t kLargestDirectory = std::uint64_t{1} << 30;

std::uint64_t little_endian(std::string_view bytes, std::size_t offset, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return value;
}

struct DirectoryPlace {
  std::uint64_t offset = 0, size = 0, entries = 0;
};

// Found from the end of the archive backwards, as a comment of any length may follow the end record.
std::optional<DirectoryPlace> find_directory(const Bytes& bytes) {
  const std::uint64_t window = std::min<std::uint64_t>(bytes.size(), kDirectoryEndSize + kLongestComment);
  const std::uint64_t window_start = bytes.size() - window;
  const std::string tail = bytes.read(window_start, static_cast<std::size_t>(window));
  if (tail.size() < kDirectoryEndSize) return std::nullopt;
  for (std::size_t at = tail.size() - kDirectoryEndSize + 1; at-- > 0;) {
    if (little_endian(tail, at, 4) != kDirectoryEnd) continue;
    DirectoryPlace place{little_endian(tail, at + 16, 4), little_endian(tail, at + 12, 4),
                         little_endian(tail, at + 10, 2)};
    const std::uint64_t end_position = window_start + at;
    if (end_position >= kDirectoryLocator64Size) {
      const std::string locator = bytes.read(end_position - kDirectoryLocator64Size, kDirectoryLocator64Size);
      if (locator.size() == kDirectoryLocator64Size && little_endian(locator, 0, 4) == kDirectoryLocator64) {
        const std::string end64 = bytes.read(little_endian(locator, 8, 8), kDirectoryEnd64Size);
        if (end64.size() < kDirectoryEnd64Size || little_endian(end64, 0, 4) != kDirectoryEnd64) return std::nullopt;
        place = {little_endian(end64, 48, 8), little_endian(end64, 40, 8), little_endian(end64, 32, 8)};
      }
    }
    if (place.size > kLargestDirectory || place.offset > bytes.size() || place.size > bytes.size() - place.offset) {
      return std::nullopt;
    }
    return place;
  }
  return std::nullopt;
}

// Sizes and offsets that do not fit into 32 bits stand in the extra field, in this order, each only when needed.
bool read_zip64_field(std::string_view extra, ZipEntry& entry) {
  constexpr std::uint32_t kElsewhere = 0xFFFFFFFF;
  while (extra.size() >= 4) {
    const std::uint64_t id = little_endian(extra, 0, 2);
    const std::uint64_t size = little_endian(extra, 2, 2);
    if (extra.size() - 4 < size) return false;
    if (id == kZip64Field) {
      std::string_view values = extra.substr(4, size);
      for (std::uint64_t* field : {&entry.size, &entry.stored_size, &entry.header_offset}) {
        if (*field != kElsewhere) continue;
        if (values.size() < 8) return false;
        *field = little_endian(values, 0, 8);
        values.remove_prefix(8);
      }
    }
    extra.remove_prefix(4 + size);
  }
  return true;
}

void find_content(const Bytes& bytes, ZipEntry& entry) {
  const std::string header = bytes.read(entry.header_offset, kLocalHeaderSize + entry.name.size());
  if (header.size() < kLocalHeaderSize || little_endian(header, 0, 4) != kLocalHeader) return;
  const std::uint64_t name_size = little_endian(header, 26, 2);
  const std::uint64_t offset = entry.header_offset + kLocalHeaderSize + name_size + little_endian(header, 28, 2);
  if (offset > bytes.size() || entry.stored_size > bytes.size() - offset) return;
  entry.content_offset = offset;
  entry.is_named_alike = name_size == entry.name.size() && header.substr(kLocalHeaderSize) == entry.name;
}

}  // namespace

bool ZipDirectory::has_folder(const std::string& folder_below_root) const {
  const std::string prefix = root + folder_below_root;
  return std::any_of(entries.begin(), entries.end(),
                     [&](const ZipEntry& entry) { return entry.name.compare(0, prefix.size(), prefix) == 0; });
}

const ZipEntry* ZipDirectory::find(const std::string& name_below_root) const {
  const std::string name = root + name_below_root;
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const ZipEntry& entry) { return entry.name == name; });
  return found == entries.end() ? nullptr : &*found;
}

bool ZipDirectory::is_below(std::string_view folder_below_root, std::string_view name) const {
  return name.substr(0, root.size()) == root &&
         name.substr(root.size()).substr(0, folder_below_root.size()) == folder_below_root;
}

std::vector<std::string> ZipDirectory::names() const {
  std::vector<std::string> names;
  for (const ZipEntry& entry : entries) {
    if (entry.name.compare(0, root.size(), root) == 0) names.push_back(entry.name.substr(root.size()));
  }
  return names;
}

std::optional<ZipDirectory> read_zip_directory(const Bytes& bytes) {
  const std::optional<DirectoryPlace> place = find_directory(bytes);
  if (!place) return std::nullopt;
  const std::string table = bytes.read(place->offset, static_cast<std::size_t>(place->size));
  ZipDirectory directory;
  std::string_view rest = table;
  for (std::uint64_t i = 0; i < place->entries; ++i) {
    if (rest.size() < kDirectoryEntrySize || little_endian(rest, 0, 4) != kDirectoryEntry) return std::nullopt;
    const std::size_t name_size = little_endian(rest, 28, 2);
    const std::size_t extra_size = little_endian(rest, 30, 2);
    const std::size_t entry_size = kDirectoryEntrySize + name_size + extra_size + little_endian(rest, 32, 2);
    if (rest.size() < entry_size) return std::nullopt;
    ZipEntry entry;
    entry.name = rest.substr(kDirectoryEntrySize, name_size);
    entry.flags = static_cast<std::uint16_t>(little_endian(rest, 8, 2));
    entry.method = static_cast<std::uint16_t>(little_endian(rest, 10, 2));
    entry.compressed = entry.method != 0;
    entry.crc = static_cast<std::uint32_t>(little_endian(rest, 16, 4));
    entry.stored_size = little_endian(rest, 20, 4);
    entry.size = little_endian(rest, 24, 4);
    entry.header_offset = little_endian(rest, 42, 4);
    if (!read_zip64_field(rest.substr(kDirectoryEntrySize + name_size, extra_size), entry)) return std::nullopt;
    find_content(bytes, entry);
    directory.entries.push_back(std::move(entry));
    rest.remove_prefix(entry_size);
  }
  if (!directory.entries.empty()) {
    const std::string& first = directory.entries.front().name;
    const std::size_t slash = first.find('/');
    if (slash != std::string::npos) directory.root = first.substr(0, slash + 1);
  }
  std::stable_sort(directory.entries.begin(), directory.entries.end(),
                   [](const ZipEntry& a, const ZipEntry& b) { return a.header_offset < b.header_offset; });
  return directory;
}

}  // namespace flashconvert::checkpoint
