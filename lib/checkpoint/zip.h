// The table of contents of a zip archive. LibTorch reads the archives; this tells what LibTorch does not: why one
// cannot be read, what it is instead, and the checksum of each record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/bytes.h"

namespace flashconvert::checkpoint {

struct ZipEntry {
  std::string name;  // "model/data/0"
  bool compressed = false;
  std::uint16_t method = 0;          // of the compression: 0 is none, 8 deflate
  std::uint16_t flags = 0;           // APPNOTE.TXT 4.4.4
  bool is_named_alike = false;       // in the header in front of the content, too
  std::uint32_t crc = 0;             // of the content
  std::uint64_t stored_size = 0;     // in the archive
  std::uint64_t size = 0;            // of the content
  std::uint64_t header_offset = 0;   // of the local header before it
  std::uint64_t content_offset = 0;  // 0 when the local header is not one
};

struct ZipDirectory {
  std::vector<ZipEntry> entries;  // in the order of their content in the archive
  std::string root;               // the folder that the first entry lies in, with its '/'; "" when in none

  bool has(const std::string& name_below_root) const { return find(name_below_root) != nullptr; }
  bool has_folder(const std::string& folder_below_root) const;  // "code/"
  const ZipEntry* find(const std::string& name_below_root) const;
  // Whether an entry's whole name lies in a folder below the root ("code/").
  bool is_below(std::string_view folder_below_root, std::string_view name) const;
  // Names below the root folder; entries outside it are left out.
  std::vector<std::string> names() const;
};

// Empty when the archive has no whole table of contents, as when its end was cut off.
std::optional<ZipDirectory> read_zip_directory(const Bytes& bytes);

}  // namespace flashconvert::checkpoint
