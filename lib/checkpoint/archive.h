// An archive as LibTorch reads it, and the check that its content is what was once written.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"

namespace flashconvert::checkpoint {

// Called for every read: from where in the archive, to where in memory. LibTorch reads a tensor's record straight into
// the tensor's storage.
using ReadObserver = std::function<void(std::uint64_t position, const void* buffer)>;

// The way in which LibTorch's readers take bytes.
std::shared_ptr<caffe2::serialize::ReadAdapterInterface> make_read_adapter(std::shared_ptr<const Bytes> bytes,
                                                                           ReadObserver observer = {});

// The first record whose checksum does not fit its content. LibTorch does not look at the checksums that it writes:
// without this, a flipped bit in a weight would go unnoticed.
std::optional<std::string> find_damaged_record(const std::shared_ptr<const Bytes>& bytes,
                                               const ZipDirectory& directory);

struct Integrity {
  std::string sha256;  // of all the bytes
  std::optional<std::string> damaged_record;
};

// The same, with the hash of the whole archive from the same one pass over it.
Integrity check_integrity(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory);

}  // namespace flashconvert::checkpoint
