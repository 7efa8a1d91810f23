#include "checkpoint/archive.h"

#include <sys/mman.h>

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <vector>

#include "checkpoint/digest.h"

namespace flashconvert::checkpoint {
namespace {

// Asks the system for the pages of a large buffer at once: a fault for each, while it is filled, takes longer. A system
// that cannot do this (Linux before 5.14) leaves it at the faults.
void provide_pages([[maybe_unused]] void* buffer, [[maybe_unused]] std::size_t size) {
#if defined(MADV_POPULATE_WRITE)
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kLarge = std::size_t{1} << 20;
  const std::size_t before_first = (kPage - reinterpret_cast<std::uintptr_t>(buffer) % kPage) % kPage;
  if (size < before_first + kLarge) return;
  ::madvise(static_cast<char*>(buffer) + before_first, (size - before_first) / kPage * kPage, MADV_POPULATE_WRITE);
#endif
}

class ReadAdapter : public caffe2::serialize::ReadAdapterInterface {
public:
  ReadAdapter(std::shared_ptr<const Bytes> bytes, ReadObserver observer)
      : bytes_(std::move(bytes)), observer_(std::move(observer)) {}
  size_t size() const override { return bytes_->size(); }
  size_t read(uint64_t position, void* buffer, size_t count, const char*) const override {
    if (observer_) observer_(position, buffer);
    provide_pages(buffer, count);
    return bytes_->read(position, buffer, count);
  }

private:
  std::shared_ptr<const Bytes> bytes_;
  ReadObserver observer_;
};

// Reads forward through the bytes, and shows each piece to the checksum and to the hash while it is still in the cache.
class ForwardPass {
public:
  ForwardPass(const Bytes& bytes, Sha256* hash) : bytes_(bytes), hash_(hash), buffer_(std::size_t{256} << 10) {}

  std::uint64_t position() const { return position_; }

  void skip_to(std::uint64_t end) {
    if (hash_ != nullptr) checksum_to(end);
    position_ = end;
  }

  std::uint32_t checksum_to(std::uint64_t end) {
    std::uint32_t crc = 0;
    while (position_ < end) {
      const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), end - position_));
      const std::size_t got = bytes_.read(position_, buffer_.data(), wanted);
      if (got == 0) break;
      if (hash_ != nullptr) hash_->update(buffer_.data(), got);
      crc = crc32(crc, buffer_.data(), got);
      position_ += got;
    }
    return crc;
  }

private:
  const Bytes& bytes_;
  Sha256* hash_;
  std::vector<char> buffer_;
  std::uint64_t position_ = 0;
};

// The content of a compressed record, which is code and therefore small.
bool inflates_to_its_checksum(caffe2::serialize::PyTorchStreamReader& reader, const ZipDirectory& directory,
                              const ZipEntry& entry) {
  try {
    const auto [content, size] = reader.getRecord(entry.name.substr(directory.root.size()));
    return size == entry.size && crc32(0, content.get(), size) == entry.crc;
  } catch (const c10::Error&) {
    return false;
  }
}

std::optional<std::string> find_damaged_compressed_record(const std::shared_ptr<const Bytes>& bytes,
                                                          const ZipDirectory& directory) {
  caffe2::serialize::PyTorchStreamReader reader(make_read_adapter(bytes));
  for (const ZipEntry& entry : directory.entries) {
    if (entry.compressed && !inflates_to_its_checksum(reader, directory, entry)) return entry.name;
  }
  return std::nullopt;
}

// Goes to the end of the archive even when damage was found, as the hash is of all of it.
std::optional<std::string> find_damaged_stored_record(const Bytes& bytes, const ZipDirectory& directory, Sha256* hash) {
  std::optional<std::string> damaged;
  ForwardPass pass(bytes, hash);
  for (const ZipEntry& entry : directory.entries) {
    if (entry.compressed) continue;
    const bool in_order = entry.content_offset != 0 && entry.content_offset >= pass.position();
    bool whole = in_order && entry.size == entry.stored_size;
    if (whole) {
      pass.skip_to(entry.content_offset);
      whole = pass.checksum_to(entry.content_offset + entry.size) == entry.crc;
    }
    if (!whole && !damaged) damaged = entry.name;
  }
  pass.skip_to(bytes.size());
  return damaged;
}

}  // namespace

std::shared_ptr<caffe2::serialize::ReadAdapterInterface> make_read_adapter(std::shared_ptr<const Bytes> bytes,
                                                                           ReadObserver observer) {
  return std::make_shared<ReadAdapter>(std::move(bytes), std::move(observer));
}

std::optional<std::string> find_damaged_record(const std::shared_ptr<const Bytes>& bytes,
                                               const ZipDirectory& directory) {
  if (auto damaged = find_damaged_stored_record(*bytes, directory, nullptr)) return damaged;
  return find_damaged_compressed_record(bytes, directory);
}

Integrity check_integrity(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory) {
  Sha256 hash;
  Integrity result;
  result.damaged_record = find_damaged_stored_record(*bytes, directory, &hash);
  result.sha256 = hash.hex();
  if (!result.damaged_record) result.damaged_record = find_damaged_compressed_record(bytes, directory);
  return result;
}

}  // namespace flashconvert::checkpoint
