// The pieces of the HTML page: escaping, the page's style and script, and a builder for tables.
#pragma once

#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::report {

// Text that is safe between tags and inside quoted attributes.
std::string escape(const std::string& text);

extern const char* const kPageStyle;
extern const char* const kPageScript;

// One cell: its text is escaped, its class is one of the style's ("number", "path", "good", "bad", "warn", …).
struct Cell {
  std::string text;
  std::string css = {};
};

// A table with a filter box above it, which the page's script connects.
class Table {
public:
  Table(std::vector<std::string> headings, bool filter) : headings_(std::move(headings)), filter_(filter) {}
  // `css` marks the whole row.
  void add_row(const std::vector<Cell>& cells, const std::string& css = "");
  std::string html() const;

private:
  std::vector<std::string> headings_;
  std::vector<std::string> column_css_;  // of the first row: a heading stands over its column as the cells do
  std::string rows_;
  bool filter_;
};

// What an error plot shows on one line: a dot for each figure, on a logarithmic scale that all lines share.
struct ErrorRow {
  std::string label;
  double original = 0;
  double converted = 0;
  double allowed = 0;
  bool passed = true;
};
std::string error_plot(const std::vector<ErrorRow>& rows);
std::string time_plot(const Bench& bench);

// The whole page around `body`.
std::string html_page(const std::string& versions, const std::string& body);

// One section of the page each; empty where the report has nothing for it.
std::string attention_section(const Report& report);
std::string folded_section(const Report& report);
std::string linear_section(const Report& report);
std::string renamed_section(const Report& report);
std::string parity_section(const Report& report);
std::string bench_section(const Report& report);
std::string operators_section(const Report& report);

}  // namespace flashconvert::report
