// A folder for one test, files in it, and what the tests of checkpoint/ ask again and again.
#pragma once

#include <ATen/ATen.h>
#include <dirent.h>
#include <ftw.h>
#include <torch/csrc/jit/api/module.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "checkpoint/checkpoint.h"
#include "common/error.h"
#include "support/catch.h"

namespace flashconvert::checkpoint::test {

class Scratch {
public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "checkpoint-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }
  ~Scratch() {
    // Not std::filesystem::remove_all: LibTorch exports a copy of it that crashes, and the linker takes that one.
    const auto remove_entry = [](const char* path, const struct stat*, int, struct FTW*) { return ::remove(path); };
    ::nftw(folder_.c_str(), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }
  const std::filesystem::path& folder() const { return folder_; }
  std::size_t count_files() const {
    std::size_t files = 0;
    DIR* listing = ::opendir(folder_.c_str());
    REQUIRE(listing != nullptr);
    while (const dirent* entry = ::readdir(listing)) {
      const std::string name = entry->d_name;
      files += name != "." && name != ".." ? 1 : 0;
    }
    ::closedir(listing);
    return files;
  }

private:
  std::filesystem::path folder_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// Runs `action`, which must throw an Error of this kind, and gives its message.
template <typename Action>
std::string message_of(ErrorKind kind, Action action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(static_cast<int>(error.kind()) == static_cast<int>(kind));
    return error.what();
  }
  FAIL("no error was thrown");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// y = x W + b, with a buffer that the code does not use.
inline torch::jit::Module make_linear(std::int64_t size = 8) {
  at::manual_seed(1);
  torch::jit::Module module("__torch__.Model");
  module.register_attribute("training", c10::BoolType::get(), true);
  module.register_parameter("weight", at::randn({size, size}).requires_grad_(), /*is_buffer=*/false);
  module.register_parameter("bias", at::randn({size}).requires_grad_(), /*is_buffer=*/false);
  module.register_buffer("steps", at::tensor({3}));
  module.define(R"(
    def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
        return torch.matmul(x, self.weight) * scale + self.bias
    def norm(self) -> Tensor:
        return self.weight.norm()
  )");
  module.eval();
  return module;
}

inline Checkpoint make_checkpoint(torch::jit::Module module) {
  Checkpoint checkpoint;
  checkpoint.module = std::move(module);
  return checkpoint;
}

// What reading a file would make a source of, for destinations whose input does not matter.
inline Source no_source() { return Source::file("/nonexistent/input.pt"); }

}  // namespace flashconvert::checkpoint::test
