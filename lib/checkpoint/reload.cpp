#include "checkpoint/reload.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/csrc/jit/serialization/import_source.h>
#include <torch/csrc/jit/serialization/storage_context.h>

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <vector>

#include "checkpoint/archive.h"
#include "checkpoint/compare.h"
#include "checkpoint/digest.h"
#include "common/error.h"
#include "common/out_of_memory.h"

namespace flashconvert::checkpoint {
namespace {

class Mapping {
public:
  Mapping(int descriptor, std::uint64_t size) : size_(size) {
    // Private and writable: nothing writes, but tensors on top of a read-only page would turn a mistake into a crash.
    data_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
    if (data_ == MAP_FAILED && errno == ENOMEM) throw std::bad_alloc();
    if (data_ == MAP_FAILED) {
      throw Error(ErrorKind::kOutput,
                  std::string("the file that was written cannot be mapped: ") + std::strerror(errno));
    }
  }
  ~Mapping() { ::munmap(data_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  char* at(std::uint64_t offset) const { return static_cast<char*>(data_) + offset; }

  // Nothing for an address outside.
  std::optional<std::uint64_t> offset_of(const void* address) const {
    const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(data_);
    return offset < size_ ? std::optional<std::uint64_t>(offset) : std::nullopt;
  }

  // Gives pages back to the system, up to the one in which the piece ends; the file still has them.
  void release(std::uint64_t offset, std::size_t size) const {
    constexpr std::uint64_t kPage = 4096;
    const std::uint64_t begin = offset / kPage * kPage;
    ::madvise(at(begin), static_cast<std::size_t>((offset + size) / kPage * kPage - begin), MADV_DONTNEED);
  }

private:
  void* data_;
  std::uint64_t size_;
};

// Loads an archive as torch.jit.load does, with the difference that tensors lie on the mapped file: LibTorch's own
// loader always copies them, and a third copy of a large model is more memory than a conversion should need.
class MappedModule {
public:
  MappedModule(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory, const Mapping& mapping)
      : reader_(make_read_adapter(bytes)),
        directory_(directory),
        mapping_(mapping),
        unit_(std::make_shared<torch::jit::CompilationUnit>()),
        importer_(
            unit_, &constants_, [this](const std::string& qualifier) { return find_source(qualifier); },
            reader_.version()) {
    const IValue constants = read("constants");
    for (const IValue& constant : constants.toTupleRef().elements()) constants_.push_back(constant);
    module_ = torch::jit::Module(read("data").toObject());
  }

  const torch::jit::Module& module() const { return module_; }

  // The name of the record that a tensor lies on ("data/0"), or nothing.
  std::string record_of(const at::Tensor& tensor) const {
    const auto record = records_.find(tensor.storage().data());
    return record == records_.end() ? "" : record->second;
  }

private:
  using IValue = c10::IValue;

  IValue read(const std::string& archive) {
    const std::string folder = archive + "/";
    const auto resolve = [this](const c10::QualifiedName& name) {
      return c10::StrongTypePtr(unit_, importer_.loadType(name));
    };
    return torch::jit::readArchiveAndTensors(archive, "", folder, resolve, torch::jit::ObjLoaderFunc,
                                             c10::Device(c10::kCPU), reader_, torch::jit::Unpickler::defaultTypeParser,
                                             map_storages(folder));
  }

  std::shared_ptr<torch::jit::DeserializationStorageContext> map_storages(const std::string& folder) {
    auto storages = std::make_shared<torch::jit::DeserializationStorageContext>();
    const std::string prefix = directory_.root + folder;
    for (const ZipEntry& entry : directory_.entries) {
      if (entry.name.compare(0, prefix.size(), prefix) != 0 || entry.compressed) continue;
      c10::DataPtr data(mapping_.at(entry.content_offset), c10::kCPU);
      records_.emplace(data.get(), entry.name.substr(directory_.root.size()));
      storages->addStorage(entry.name.substr(prefix.size()),
                           c10::Storage(c10::Storage::use_byte_size_t(), entry.size, std::move(data)));
    }
    return storages;
  }

  // "__torch__.a.b" stands in code/__torch__/a/b.py.
  std::shared_ptr<torch::jit::Source> find_source(const std::string& qualifier) {
    std::string record = "code/" + qualifier;
    std::replace(record.begin(), record.end(), '.', '/');
    record += ".py";
    if (!reader_.hasRecord(record)) return nullptr;
    const auto [text, size] = reader_.getRecord(record);
    return std::make_shared<torch::jit::Source>(std::string(static_cast<const char*>(text.get()), size), record, 1);
  }

  caffe2::serialize::PyTorchStreamReader reader_;
  const ZipDirectory& directory_;
  const Mapping& mapping_;
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  std::vector<IValue> constants_;
  std::map<const void*, std::string> records_;  // by where they are mapped
  torch::jit::SourceImporter importer_;
  torch::jit::Module module_;
};

// The checksums of the records, as far as their content was compared.
class RecordChecksums {
public:
  RecordChecksums(const ZipDirectory& directory, const Mapping& mapping) : directory_(directory), mapping_(mapping) {
    for (const ZipEntry& entry : directory.entries) {
      if (entry.content_offset != 0 && !entry.compressed && entry.size == entry.stored_size) {
        seen_[entry.content_offset] = {&entry, 0, 0};
      }
    }
  }

  // The next piece of a record; several threads may add to several records.
  void add(const void* data, std::size_t size) {
    const std::optional<std::uint64_t> offset = mapping_.offset_of(data);
    const auto after = seen_.upper_bound(offset.value_or(0));
    if (!offset || after == seen_.begin()) return;  // no record's: the value of a method
    Seen& seen = std::prev(after)->second;
    if (*offset != seen.entry->content_offset + seen.size) return;
    seen.crc = crc32(seen.crc, data, size);
    seen.size += size;
    mapping_.release(*offset, size);
  }

  std::optional<std::string> find_damaged(const std::shared_ptr<const Bytes>& bytes) const {
    ZipDirectory others{{}, directory_.root};
    for (const ZipEntry& entry : directory_.entries) {
      const auto seen = seen_.find(entry.content_offset);
      if (seen == seen_.end() || seen->second.size != entry.size || entry.size == 0) {
        others.entries.push_back(entry);
      } else if (seen->second.crc != entry.crc) {
        return entry.name;
      }
    }
    return find_damaged_record(bytes, others);
  }

private:
  struct Seen {
    const ZipEntry* entry;
    std::uint64_t size;
    std::uint32_t crc;  // of the first `size` bytes
  };

  const ZipDirectory& directory_;
  const Mapping& mapping_;
  std::map<std::uint64_t, Seen> seen_;  // by where the record's content stands
};

std::string about_record(const std::string& name, const char* problem) { return "the record " + name + problem; }

// The text of what is wrong, or nothing.
std::optional<std::string> find_lost_record(const std::shared_ptr<const Bytes>& bytes, const ZipDirectory& directory,
                                            const std::string& folder,
                                            const std::map<std::string, std::string>& records) {
  for (const auto& [name, content] : records) {
    const ZipEntry* entry = directory.find(folder + name);
    if (entry == nullptr) return about_record(folder + name, " is missing");
    if (bytes->read(entry->content_offset, static_cast<std::size_t>(entry->size)) != content) {
      return about_record(folder + name, " differs");
    }
  }
  return std::nullopt;
}

std::optional<std::string> find_fault(const Checkpoint& checkpoint, const std::shared_ptr<const Bytes>& bytes,
                                      int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || static_cast<std::uint64_t>(status.st_size) != bytes->size()) {
    return "its length is not what was written";
  }
  const std::optional<ZipDirectory> directory = read_zip_directory(*bytes);
  if (!directory) return "it has no table of contents";
  const Mapping mapping(descriptor, bytes->size());
  const MappedModule reloaded(bytes, *directory, mapping);
  RecordChecksums checksums(*directory, mapping);
  const Compared compared = [&](const void* data, std::size_t size) { checksums.add(data, size); };
  const StorageDevices devices = read_storage_devices(*bytes, *directory);
  const SameDevice same_device = [&](const at::Tensor& meant, const at::Tensor& written_one, const std::string& path) {
    const auto found = devices.find(reloaded.record_of(written_one));
    return checkpoint.devices.of(meant, path) == (found == devices.end() ? c10::Device(c10::kCPU) : found->second);
  };
  if (auto difference = find_difference(checkpoint.module, reloaded.module(), compared, same_device)) return difference;
  if (auto lost = find_lost_record(bytes, *directory, "extra/", checkpoint.extra_files)) return lost;
  if (auto lost = find_lost_record(bytes, *directory, "", checkpoint.verbatim_records)) return lost;
  if (const auto damaged = checksums.find_damaged(bytes)) return "the checksum of " + *damaged + " does not match";
  return std::nullopt;
}

}  // namespace

void require_reloads(const Checkpoint& checkpoint, std::uint64_t size, int descriptor, const std::string& shown_name) {
  std::optional<std::string> fault;
  try {
    fault = find_fault(checkpoint, Bytes::of_descriptor(descriptor, size, shown_name), descriptor);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& error) {
    if (is_out_of_memory(error.what_without_backtrace())) throw;
    fault = std::string("it does not load: ") + error.what_without_backtrace();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fault = std::string("it does not load: ") + error.what();
  }
  if (!fault) return;
  throw Error(
      ErrorKind::kOutput, shown_name + ": the file that was written is not the model: " + *fault,
      "Nothing was changed. This is a fault of the disk or of flashconvert: please report it with this message.");
}

}  // namespace flashconvert::checkpoint
