#include "standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <initializer_list>

namespace flashconvert::app {

void reserve_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is this one: those below it are open. The direction is the wrong one on purpose.
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace flashconvert::app
