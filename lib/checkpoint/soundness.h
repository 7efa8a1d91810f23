// The checks of an archive before anything of it is believed: LibTorch trusts what it reads.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/bytes.h"
#include "checkpoint/zip.h"

namespace flashconvert::checkpoint {

// The table of contents against the bytes: names, sizes, places, and how much memory the content takes. Throws
// Error(kInput), which names the record and what was expected.
void require_sound_records(const Bytes& bytes, const ZipDirectory& directory, const std::string& shown_name);

// The pickles and the code, of an archive whose records are sound. Throws Error(kInput).
void require_sound_content(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                           const std::string& shown_name);

}  // namespace flashconvert::checkpoint
