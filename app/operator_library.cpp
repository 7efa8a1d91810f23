#include "operator_library.h"

#include <link.h>

#include <filesystem>
#include <system_error>

namespace flashconvert::app {

std::string loaded_library(const std::string& name) {
  struct Search {
    const std::string& name;
    std::string found;
  } search{name, ""};
  const auto look = [](dl_phdr_info* info, std::size_t, void* data) {
    auto& wanted = *static_cast<Search*>(data);
    const std::filesystem::path path(info->dlpi_name);
    if (path.filename() != wanted.name) return 0;
    std::error_code problem;
    const auto whole = std::filesystem::canonical(path, problem);
    wanted.found = problem ? path.string() : whole.string();
    return 1;
  };
  ::dl_iterate_phdr(look, &search);
  return search.found;
}

std::string operator_library() { return loaded_library("libflashconvert_ops.so"); }

}  // namespace flashconvert::app
