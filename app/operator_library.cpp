#include "operator_library.h"

#include <link.h>

#include <filesystem>
#include <system_error>

namespace flashconvert::app {

std::string operator_library() {
  std::string found;
  const auto look = [](dl_phdr_info* info, std::size_t, void* result) {
    const std::filesystem::path path(info->dlpi_name);
    if (path.filename() != "libflashconvert_ops.so") return 0;
    std::error_code problem;
    const auto whole = std::filesystem::canonical(path, problem);
    *static_cast<std::string*>(result) = problem ? path.string() : whole.string();
    return 1;
  };
  ::dl_iterate_phdr(look, &found);
  return found;
}

}  // namespace flashconvert::app
