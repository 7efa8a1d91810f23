#include "growth.h"

#include <array>
#include <cstdint>
#include <optional>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"
#include "report/format.h"

namespace flashconvert::app {
namespace {

enum Part : std::size_t { kTensors, kConstants, kCode, kRest, kParts };
constexpr std::array<const char*, kParts> kPartNames = {"tensors", "constants in the code", "code",
                                                        "alignment and everything else"};

struct Sizes {
  std::array<std::int64_t, kParts> parts{};
  std::int64_t total = 0;
};

Part part_of(const std::string& name, const checkpoint::ZipDirectory& directory) {
  if (directory.is_below("data/", name)) return kTensors;
  if (directory.is_below("constants/", name)) return kConstants;
  return directory.is_below("code/", name) ? kCode : kRest;
}

std::optional<Sizes> sizes_of(const std::filesystem::path& path) {
  const auto bytes = checkpoint::Bytes::open(path);
  const auto directory = checkpoint::read_zip_directory(*bytes);
  if (!directory) return std::nullopt;
  Sizes sizes;
  sizes.total = static_cast<std::int64_t>(bytes->size());
  std::int64_t counted = 0;
  for (const auto& entry : directory->entries) {
    const auto size = static_cast<std::int64_t>(entry.stored_size);
    const Part part = part_of(entry.name, *directory);
    if (part != kRest) counted += size;
    sizes.parts[part] += size;
  }
  sizes.parts[kRest] = sizes.total - counted;  // with headers, padding and the table of contents
  return sizes;
}

std::string change(std::int64_t bytes) {
  return report::human_bytes(static_cast<std::uint64_t>(bytes < 0 ? -bytes : bytes)) + (bytes < 0 ? " less" : " more");
}

}  // namespace

std::string growth_of_archive(const std::filesystem::path& input, const std::filesystem::path& output) {
  const auto before = sizes_of(input);
  const auto after = sizes_of(output);
  if (!before || !after || after->total <= before->total) return "";
  std::string text;
  for (std::size_t part = 0; part < kParts; ++part) {
    const std::int64_t difference = after->parts[part] - before->parts[part];
    if (difference == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string(kPartNames[part]) + " " + change(difference);
  }
  return change(after->total - before->total) + " than INPUT (" + text + ")";
}

}  // namespace flashconvert::app
