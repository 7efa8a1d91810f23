// Checks files as every conversion does before LibTorch sees anything of them: thousands a second, for the mutants of
// test_mutants.py. Reads one path a line; answers "sound", or "refused: " and the message.
#include <iostream>
#include <string>

#include "checkpoint/soundness.h"
#include "common/error.h"

int main() {
  using namespace flashconvert;
  std::string path;
  while (std::getline(std::cin, path)) {
    try {
      const auto bytes = checkpoint::Bytes::open(path);
      const auto directory = checkpoint::read_zip_directory(*bytes);
      if (!directory) throw Error(ErrorKind::kInput, path + ": has no table of contents");
      checkpoint::require_sound_records(*bytes, *directory, path);
      checkpoint::require_sound_content(bytes, *directory, path);
      std::cout << "sound" << std::endl;
    } catch (const Error& error) {
      std::string message = error.what();
      std::cout << "refused: " << message.substr(0, message.find('\n')) << std::endl;
    } catch (const std::exception& error) {
      std::cout << "failed: " << error.what() << std::endl;
    }
  }
}
