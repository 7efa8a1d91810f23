#include "checkpoint/pickled_storages.h"

#include "checkpoint/pickle_walker.h"

namespace flashconvert::checkpoint {

std::optional<std::map<std::string, std::string>> read_storage_locations(std::string_view pickle) {
  try {
    return walk_pickle(pickle).locations;
  } catch (const MalformedPickle&) {
    return std::nullopt;
  }
}

}  // namespace flashconvert::checkpoint
