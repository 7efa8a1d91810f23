// The terminal's form of a comparison: two columns.
#include <algorithm>

#include "inspect/writers.h"
#include "report/format.h"
#include "report/wrap.h"

namespace flashconvert::inspect {
namespace {

constexpr std::size_t kContext = 3;       // unchanged lines shown around a change
constexpr std::size_t kUsualWidth = 160;  // where there is no terminal

// `text` cut or filled to `width` columns. Code that TorchScript prints is ASCII but for strings in it.
std::string cell(const std::string& text, std::size_t width) {
  const std::size_t shown = report::shown_width(text);
  if (shown <= width) return text + std::string(width - shown, ' ');
  std::string cut;
  for (const char c : text) {
    if (report::shown_width(cut + c) > width - 1) break;
    cut += c;
  }
  return cell(cut + "…", width);
}

std::string row_text(const CodeRow& row, const LineOptions& options, std::size_t column) {
  const char* sign = !row.is_change() ? " " : !row.has_after ? "<" : !row.has_before ? ">" : "|";
  std::string before = cell(row.before, column), after = cell(row.after, column);
  if (options.color && row.is_change()) {
    before = "\x1b[31m" + before + "\x1b[0m";
    after = "\x1b[32m" + after + "\x1b[0m";
  }
  std::string text = before + " " + sign + " " + after;
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

void add_rows(std::vector<std::string>& lines, const std::vector<CodeRow>& rows, const LineOptions& options) {
  const std::size_t width = options.width == 0 ? kUsualWidth : std::max<std::size_t>(options.width, 40);
  const std::size_t column = (width - 3) / 2;
  std::vector<bool> is_shown(rows.size(), false);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].is_change()) continue;
    const std::size_t first = i < kContext ? 0 : i - kContext;
    for (std::size_t near = first; near < std::min(rows.size(), i + kContext + 1); ++near) is_shown[near] = true;
  }
  bool in_gap = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (is_shown[i]) lines.push_back(row_text(rows[i], options, column));
    if (!is_shown[i] && !in_gap) lines.emplace_back("…");
    in_gap = !is_shown[i];
  }
}

std::string title(const ModuleChange& change) {
  const std::string path = change.path.empty() ? "(root)" : change.path;
  if (change.type_before.empty()) return path + "  new: " + change.type_after;
  if (change.type_after.empty()) return path + "  gone: " + change.type_before;
  if (change.type_before == change.type_after) return path + "  " + change.type_before;
  return path + "  " + change.type_before + " -> " + change.type_after;
}

}  // namespace

std::vector<std::string> lines_of(const std::vector<ModuleChange>& changes, const LineOptions& options) {
  std::vector<std::string> lines;
  for (const auto& change : changes) {
    lines.push_back("== " + title(change));
    for (const auto& tensor : change.tensors_gone) lines.push_back("-  " + tensor);
    for (const auto& tensor : change.tensors_new) lines.push_back("+  " + tensor);
    for (const auto& tensor : change.tensors_changed) lines.push_back("~  " + tensor + " has other values");
    for (const auto& method : change.methods) {
      lines.push_back(method.name + ":");
      add_rows(lines, method.rows, options);
    }
  }
  lines.push_back(changes.empty() ? "no difference in modules, code and tensors"
                                  : report::plural(static_cast<std::int64_t>(changes.size()), "module") + " differ" +
                                        (changes.size() == 1 ? "s" : ""));
  return lines;
}

}  // namespace flashconvert::inspect
