#include "common/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>

#include "common/printable.h"

namespace flashconvert {
namespace {

constexpr std::string_view kEraseLine = "\r\x1b[K";

bool environment_flag(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

// NO_COLOR counts when it is set to anything but the empty string (no-color.org).
bool wants_color() {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (environment_flag("CLICOLOR_FORCE")) return true;
  const char* terminal = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (terminal == nullptr || std::string_view(terminal) != "dumb");
}

// Nobody is left to tell when standard error itself cannot be written.
void write_whole(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Owns standard error: log lines and the progress line take turns under one lock.
class ConsoleSink : public spdlog::sinks::base_sink<std::mutex> {
public:
  ConsoleSink(bool color, bool show_progress) : color_(color), shows_progress_(show_progress) {}

  void set_progress(std::string line) {
    if (!shows_progress_) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (line == progress_) return;
    progress_ = std::move(line);
    write_whole(std::string(kEraseLine) + progress_);
  }

protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string text;
    if (!progress_.empty()) text += kEraseLine;
    text += prefix(message.level);
    // What a file says may stand in the line: names, and what its model prints.
    text += printable({message.payload.data(), message.payload.size()}, color_);
    text += '\n';
    text += progress_;
    write_whole(text);
  }
  void flush_() override {}

private:
  std::string prefix(spdlog::level::level_enum level) const {
    if (level == spdlog::level::warn) return color_ ? "\x1b[33mwarning:\x1b[0m " : "warning: ";
    if (level >= spdlog::level::err) return color_ ? "\x1b[1;31merror:\x1b[0m " : "error: ";
    return "";
  }

  bool color_;
  bool shows_progress_;
  std::string progress_;
};

std::shared_ptr<ConsoleSink>& console() {
  static std::shared_ptr<ConsoleSink> sink;
  return sink;
}

}  // namespace

void start_log(Verbosity verbosity) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  console() = std::make_shared<ConsoleSink>(wants_color(), terminal && verbosity != Verbosity::kQuiet);
  auto logger = std::make_shared<spdlog::logger>("flashconvert", console());
  logger->set_level(verbosity == Verbosity::kQuiet     ? spdlog::level::err
                    : verbosity == Verbosity::kVerbose ? spdlog::level::debug
                                                       : spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void log_detail(const std::string& line) { spdlog::debug("{}", line); }
void log_info(const std::string& line) { spdlog::info("{}", line); }
void log_warning(const std::string& line) { spdlog::warn("{}", line); }
void log_error(const std::string& line) { spdlog::error("{}", line); }

bool log_has_color() { return wants_color(); }

void show_progress(const std::string& stage, double share) {
  if (!console()) return;
  const double clamped = std::isfinite(share) ? std::clamp(share, 0.0, 1.0) : 0.0;
  console()->set_progress(fmt::format("{:<12} {:3.0f} %", stage, clamped * 100));
}

void clear_progress() {
  if (console()) console()->set_progress("");
}

}  // namespace flashconvert
