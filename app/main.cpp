// flashconvert: the command line. It reads options, calls the converter and turns what happened into console lines, a
// report and an exit code; it knows nothing of models.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <string>

#include "batch.h"
#include "command.h"
#include "common/error.h"
#include "common/log.h"
#include "exit_code.h"
#include "options.h"
#include "signals.h"
#include "single.h"
#include "standard_streams.h"
#include "version.h"

namespace {

using namespace flashconvert;

int run(int argc, char** argv) {
  if (argc <= 1) {
    std::cerr << app::short_usage();
    return app::kExitUsage;
  }
  if (const app::Command* command = app::command_of(argc, argv)) return app::run_command(*command, argc, argv);
  const std::optional<app::Options> options = app::parse_command_line(argc, argv);
  if (!options) return std::cout.flush() ? app::kExitConverted : app::kExitOutput;
  start_log(options->verbosity);
  const bool is_part_of_batch = options->report_descriptor >= 0;
  if (!is_part_of_batch) {
    log_info(std::string("flashconvert ") + app::kVersion + ", torch " + app::torch_version() +
             ", CUDA kernels: " + app::kCudaKernels);
  }
  return options->is_batch() ? app::convert_batch(*options) : app::convert_one(*options);
}

int run_and_catch(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    clear_progress();
    log_error(error.what());
    return app::exit_code_of(error.kind());
  } catch (const std::exception& error) {
    clear_progress();
    log_error(std::string("internal error: ") + error.what());
    return app::kExitInternal;
  }
}

// Without the destructors of LibTorch's static objects: they take 0.06 s for memory that the system takes back anyway.
[[noreturn]] void leave(int exit_code) {
  std::cout.flush();
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  app::reserve_closed_streams();
  app::clean_up_on_signals();
  start_log(Verbosity::kNormal);
  leave(run_and_catch(argc, argv));
}
