// What is this file? Told by its content, never by its name: people rename checkpoints to .pt, .pth and .bin as they
// like.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"

namespace flashconvert::checkpoint {

// What a file is instead of a TorchScript checkpoint, and what its owner can do.
struct OtherFormat {
  std::string what;  // "a state dict (torch.save), not a TorchScript checkpoint"
  std::string advice;
};

// For files that do not begin as a zip archive does. Every such file is something else.
OtherFormat identify_other_file(const Bytes& bytes);

// For zip archives. Empty when the archive holds a TorchScript module.
std::optional<OtherFormat> identify_archive(const Bytes& bytes, const ZipDirectory& directory);

bool begins_as_zip(const Bytes& bytes);

}  // namespace flashconvert::checkpoint
