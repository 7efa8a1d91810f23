// The terminal's form of an inspection.
#include <algorithm>

#include "inspect/writers.h"
#include "report/format.h"
#include "report/text_parts.h"
#include "report/wrap.h"
#include "report/writers.h"

namespace flashconvert::inspect {
namespace {

std::string padded(std::string text, std::size_t width) {
  const std::size_t shown = report::shown_width(text);
  return shown < width ? text + std::string(width - shown, ' ') : text;
}

class Sheet {
public:
  explicit Sheet(std::size_t width) : width_(width) {}
  void add(const std::string& label, const std::string& text) {
    for (auto& line : report::wrapped(report::labelled(label, text), width_, report::kLabelWidth + 2))
      all_.push_back(std::move(line));
  }
  std::vector<std::string> take() { return std::move(all_); }

private:
  std::size_t width_;
  std::vector<std::string> all_;
};

std::size_t depth_of(const std::string& path) {
  return path.empty() ? 0 : 1 + static_cast<std::size_t>(std::count(path.begin(), path.end(), '.'));
}

void add_methods(Sheet& lines, const Inspection& inspection) {
  for (const auto& method : inspection.methods) {
    lines.add("method", method.name + method.schema);
    for (const auto& input : method.inputs) lines.add("", "  traced with " + input);
  }
}

// What stands in the types and shapes alone is summed up; the tree down to the wanted depth has a line a module.
void add_modules(Sheet& lines, const Inspection& inspection, std::size_t depth) {
  std::int64_t parameters = 0, buffers = 0, elements = 0;
  for (const auto& module : inspection.modules) {
    for (const auto& tensor : module.tensors) {
      ++(tensor.is_parameter ? parameters : buffers);
      std::int64_t count = 1;
      for (const std::int64_t size : tensor.shape) count *= size;
      elements += tensor.is_parameter ? count : 0;
    }
  }
  lines.add("modules", report::plural(static_cast<std::int64_t>(inspection.modules.size()), "module") + ", " +
                           report::plural(parameters, "parameter") + " of " + std::to_string(elements) + " elements, " +
                           report::plural(buffers, "buffer") + "; bytes of each with all below it:");
  std::size_t hidden = 0;
  for (const auto& module : inspection.modules) {
    const std::size_t level = depth_of(module.path);
    if (level > depth) {
      ++hidden;
      continue;
    }
    const std::string name = module.path.empty() ? "(root)" : module.path.substr(module.path.rfind('.') + 1);
    const std::string size = report::human_bytes(static_cast<std::uint64_t>(module.bytes));
    lines.add("", padded(std::string(2 * level, ' ') + name, 28) + padded(size, 12) + module.type);
  }
  if (hidden > 0)
    lines.add("", report::plural(static_cast<std::int64_t>(hidden), "module") + " further down: --depth N");
}

void add_devices(Sheet& lines, const Inspection& inspection) {
  std::map<std::string, std::int64_t> tensors;
  for (const auto& module : inspection.modules) {
    for (const auto& tensor : module.tensors) ++tensors[tensor.device];
  }
  for (const auto& [device, count] : tensors) lines.add("device", report::plural(count, "tensor") + " on " + device);
  for (const auto& [device, count] : inspection.devices_in_code) {
    lines.add("device", device + " is written in the code, in " + report::plural(count, "place"));
  }
}

void add_operators(Sheet& lines, const Inspection& inspection) {
  std::vector<std::pair<std::string, std::int64_t>> sorted(inspection.plan.operators_before.begin(),
                                                           inspection.plan.operators_before.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [name, count] : sorted) text += (text.empty() ? "" : ", ") + name + "\u00a0" + std::to_string(count);
  lines.add("operators", text.empty() ? "none" : text);
}

}  // namespace

std::vector<std::string> lines_of(const Inspection& inspection, const LineOptions& options) {
  Sheet lines(options.width);
  lines.add("file", inspection.plan.input.path + ", " + report::human_bytes(inspection.plan.input.bytes));
  lines.add("SHA-256", inspection.plan.input.sha256);
  add_methods(lines, inspection);
  add_modules(lines, inspection, options.depth);
  add_devices(lines, inspection);
  add_operators(lines, inspection);
  std::vector<std::string> all = lines.take();

  const report::Report& plan = inspection.plan;
  report::TextOptions text;
  text.width = options.width;
  text.color = options.color;
  if (plan.attention.empty()) all.emplace_back("attention none found");
  if (!plan.attention.empty() || !plan.folded.empty()) all.emplace_back("A conversion would do this:");
  for (auto& line : report::entry_lines(plan, text)) all.push_back(std::move(line));
  return all;
}

}  // namespace flashconvert::inspect
