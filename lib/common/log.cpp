#include "common/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>

#include "common/printable.h"
#include "common/progress_clock.h"

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

// "34 s", "2 min 5 s"
std::string elapsed(std::chrono::steady_clock::time_point since) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - since).count();
  return seconds < 100 ? fmt::format("{} s", seconds) : fmt::format("{} min {} s", seconds / 60, seconds % 60);
}

// How progress is shown: redrawn on a terminal, by a line now and then elsewhere, or not.
enum class ProgressForm { kNone, kLines, kTerminal };

constexpr std::chrono::seconds kRedrawEvery{1};
constexpr std::chrono::seconds kLineEvery{30};

// Owns standard error: log lines and the progress line take turns under one lock.
class ConsoleSink : public spdlog::sinks::base_sink<std::mutex> {
public:
  ConsoleSink(bool color, ProgressForm form) : color_(color), form_(form) {}

  void set_progress(const std::string& stage, double share) {
    if (form_ == ProgressForm::kNone) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stage != stage_) stage_start_ = std::chrono::steady_clock::now();
    stage_ = stage;
    share_ = share;
    if (form_ == ProgressForm::kTerminal) redraw();
  }

  void clear_progress() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stage_.clear();
    if (!progress_.empty()) write_whole(kEraseLine);
    progress_.clear();
  }

  // Every kRedrawEvery or kLineEvery.
  void tick() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stage_.empty()) return;
    if (form_ == ProgressForm::kTerminal) return redraw();
    write_whole(fmt::format("{}: {:.0f} %, {}\n", stage_, share_ * 100, elapsed(stage_start_)));
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
  void redraw() {
    std::string line = fmt::format("{:<12} {:3.0f} %", stage_, share_ * 100);
    if (std::chrono::steady_clock::now() - stage_start_ >= kRedrawEvery) line += "  " + elapsed(stage_start_);
    if (line == progress_) return;
    progress_ = std::move(line);
    write_whole(std::string(kEraseLine) + progress_);
  }

  std::string prefix(spdlog::level::level_enum level) const {
    if (level == spdlog::level::warn) return color_ ? "\x1b[33mwarning:\x1b[0m " : "warning: ";
    if (level >= spdlog::level::err) return color_ ? "\x1b[1;31merror:\x1b[0m " : "error: ";
    return "";
  }

  bool color_;
  ProgressForm form_;
  std::string stage_;
  double share_ = 0;
  std::chrono::steady_clock::time_point stage_start_;
  std::string progress_;
};

std::shared_ptr<ConsoleSink>& console() {
  static std::shared_ptr<ConsoleSink> sink;
  return sink;
}

std::size_t columns_of(int descriptor) {
  winsize size = {};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

std::unique_ptr<ProgressClock>& progress_clock() {
  static std::unique_ptr<ProgressClock> clock;
  return clock;
}

}  // namespace

void start_log(Verbosity verbosity) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const ProgressForm form = verbosity == Verbosity::kQuiet ? ProgressForm::kNone
                            : terminal                     ? ProgressForm::kTerminal
                                                           : ProgressForm::kLines;
  progress_clock().reset();
  console() = std::make_shared<ConsoleSink>(wants_color(), form);
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

std::size_t log_width() { return columns_of(STDERR_FILENO); }
std::size_t output_width() { return columns_of(STDOUT_FILENO); }

void show_progress(const std::string& stage, double share) {
  if (!console()) return;
  const double clamped = std::isfinite(share) ? std::clamp(share, 0.0, 1.0) : 0.0;
  console()->set_progress(stage, clamped);
  if (!progress_clock()) {
    const auto period = isatty(STDERR_FILENO) == 1 ? kRedrawEvery : kLineEvery;
    progress_clock() = std::make_unique<ProgressClock>(period, [sink = console()] { sink->tick(); });
  }
}

void clear_progress() {
  progress_clock().reset();
  if (console()) console()->clear_progress();
}

}  // namespace flashconvert
