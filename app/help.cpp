#include "help.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "command.h"
#include "options.h"
#include "version.h"

namespace flashconvert::app {
namespace {

constexpr const char* kUsage =
    R"(usage: flashconvert [options] INPUT OUTPUT          paths, or '-' for standard input / output
       flashconvert [options] --output-dir DIR INPUT...
)";

// CLI11's own layout, with a usage that names INPUT and OUTPUT.
class HelpFormatter : public CLI::Formatter {
public:
  explicit HelpFormatter(std::string usage) : usage_(std::move(usage)) { column_width(30); }
  std::string make_usage(const CLI::App*, std::string) const override { return usage_; }
  // Groups have one empty line between them, not two.
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    std::string text = CLI::Formatter::make_group(std::move(group), is_positional, std::move(options));
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_size() == 0 ? "" : " " + option->get_type_name();
  }
  // FILE arguments stand in the usage.
  std::string make_positionals(const CLI::App*) const override { return ""; }

private:
  std::string usage_;
};

std::string commands_help() {
  std::string text = "Commands:\n";
  for (const auto& command : commands()) {
    std::string name = std::string("  ") + command.name;
    name.resize(std::max<std::size_t>(name.size() + 1, 17), ' ');
    text += name + command.summary + "\n";
  }
  return text + "  Each has its own --help.\n";
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() {
  return std::make_shared<HelpFormatter>(
      std::string(kUsage) +
      "\nFuses the attention and folds the reparameterised weights of a TorchScript checkpoint.\n"
      "The result computes the same, under the same interface.\n");
}

std::shared_ptr<CLI::FormatterBase> command_help_formatter(const Command& command) {
  std::string summary = command.summary;
  summary.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(summary.front())));
  return std::make_shared<HelpFormatter>(std::string("usage: flashconvert ") + command.name + " " + command.usage +
                                         "\n\n" + summary + ".\n");
}

std::string help_footer() { return "\n" + commands_help() + "\n" + exit_codes_help() + "\n" + examples_help(); }

std::string exit_codes_help() {
  return R"(Exit codes:
  0  converted (or nothing to convert: OUTPUT is then the same model, with a warning)
  1  unexpected internal error
  2  wrong usage
  3  --strict, and an attention site was left unfused (OUTPUT was written)
  4  INPUT cannot be read, or is not a TorchScript checkpoint
  5  parity failed; OUTPUT was not written
  6  OUTPUT or the report cannot be written
  7  out of memory, or beyond --max-memory or --max-time
A batch converts what it can and returns the highest code of its files.
)";
}

std::string examples_help() {
  return R"(Examples:
  Convert a traced vision model, prove that it computes the same, and keep the proof:
    flashconvert vit.pt vit-flash.pt --verify --report vit.html

  See what would be done to the decoder of a model, and why the rest is left alone:
    flashconvert --dry-run --only 'decoder.*' model.pt

  Convert a folder of encoders, four at a time, on inputs like those in production:
    flashconvert --output-dir converted --jobs 4 --verify --input-spec 'int64[8,128]{0..30521}' \
        --input-spec 'int64[8,128]{0..1}' encoders/*.pt
)";
}

std::string version_text() {
  return std::string("flashconvert ") + kVersion + "\ntorch " + torch_version() + "\nCUDA kernels: " + kCudaKernels +
         "\n";
}

std::string short_usage() { return std::string(kUsage) + "Try: flashconvert --help\n"; }

}  // namespace flashconvert::app
