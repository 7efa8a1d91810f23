#include "sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace flashconvert::app {
namespace {

// As the kernel has it since version 4 of this interface; Debian 12's header is older. Fields that a kernel does not
// know are left out by the size that it is told.
struct RulesetAttributes {
  std::uint64_t files = 0;
  std::uint64_t network = 0;
};
constexpr std::uint64_t kTruncate = std::uint64_t{1} << 14;    // since version 3
constexpr std::uint64_t kBindTcp = 1, kConnectTcp = 1U << 1U;  // since version 4

constexpr std::uint64_t kWrites = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                  LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                  LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                                  LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

// The calls have no wrappers in the C library.
long create_ruleset(const RulesetAttributes* attributes, std::size_t size, unsigned flags) {
  return ::syscall(SYS_landlock_create_ruleset, attributes, size, flags);
}

void allow_below(int ruleset, const std::filesystem::path& folder, std::uint64_t rights) {
  const int descriptor = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // what does not exist needs no right; its error comes from whoever wants to write there
  landlock_path_beneath_attr rule{};
  rule.allowed_access = rights;
  rule.parent_fd = descriptor;
  ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0U);
  ::close(descriptor);
}

}  // namespace

std::string enter_sandbox(const std::vector<std::filesystem::path>& writable) {
  const long version = create_ruleset(nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return std::string("this kernel has no Landlock: ") + std::strerror(errno);
  RulesetAttributes attributes;
  attributes.files = kWrites | (version >= 3 ? kTruncate : 0);
  attributes.network = version >= 4 ? kBindTcp | kConnectTcp : 0;
  const std::size_t size = version >= 4 ? sizeof(attributes) : sizeof(attributes.files);
  const int ruleset = static_cast<int>(create_ruleset(&attributes, size, 0));
  if (ruleset < 0) return std::string("no Landlock ruleset: ") + std::strerror(errno);
  // Devices, and the files of processes: the CUDA driver writes to them, and opens some anew (O_TRUNC).
  const std::uint64_t rewrite = attributes.files & (LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate);
  for (const char* system : {"/dev", "/proc"}) allow_below(ruleset, system, rewrite);
  for (const std::filesystem::path& folder : writable) allow_below(ruleset, folder, attributes.files);
  const bool entered =
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::syscall(SYS_landlock_restrict_self, ruleset, 0U) == 0;
  const int error = errno;
  ::close(ruleset);
  return entered ? "" : std::string("Landlock refused: ") + std::strerror(error);
}

}  // namespace flashconvert::app
