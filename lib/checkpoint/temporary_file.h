// A file that is being written: hidden, beside its destination, and gone unless it is put in its place.
#pragma once

#include <filesystem>
#include <string>

namespace flashconvert::checkpoint {

class TemporaryFile {
public:
  // A new empty file in `folder` whose name tells what it will become. Throws Error(kOutput).
  TemporaryFile(const std::filesystem::path& folder, const std::string& final_name);
  ~TemporaryFile();  // removes the file, unless it was moved
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  int descriptor() const { return descriptor_; }

  // Gives it the mode and, where this is allowed, the owner of the file that it will replace.
  void take_attributes_of(const std::filesystem::path& other);
  // The disk has it all. Throws Error(kOutput).
  void flush(const std::string& shown_name);
  // Renames it to `destination`, atomically. With `replace` false an existing destination is an Error(kOutput).
  void move_to(const std::filesystem::path& destination, bool replace);
  // From now on the file lives only as long as its descriptor.
  void forget_name();

private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int slot_ = -1;  // in the list of files to remove when a signal ends the program
};

// Removes the files for `final_name` in the folder whose processes are gone.
void remove_abandoned_files(const std::filesystem::path& folder, const std::string& final_name);

// Removes all temporary files that are under way. Async-signal-safe: for the handlers of signals that end the program.
void remove_temporary_files() noexcept;

// Leaves those that are under way to the process that this one was forked from.
void forget_temporary_files() noexcept;

}  // namespace flashconvert::checkpoint
