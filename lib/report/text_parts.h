// The pieces that the console's summary is put together from.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::report {

// ANSI colours, or none.
struct Style {
  bool color = false;
  std::string good(const std::string& text) const { return paint("32", text); }
  std::string bad(const std::string& text) const { return paint("1;31", text); }
  std::string attention(const std::string& text) const { return paint("33", text); }
  std::string faint(const std::string& text) const { return paint("2", text); }

private:
  std::string paint(const char* code, const std::string& text) const;
};

constexpr std::size_t kLabelWidth = 10;

// "parity    passed on cpu …": the summary's two columns.
std::string labelled(const std::string& label, const std::string& text);

// The verdict, the figures and the smallest tolerance that would pass; a line for every output and site that failed,
// and with `verbose` for every one.
std::vector<std::string> parity_lines(const Parity& parity, bool verbose, const Style& style);

std::vector<std::string> bench_lines(const Bench& bench, const Style& style);

// Operators before and after, with those that changed marked; what onnxsim prints.
std::vector<std::string> operator_table(const Report& report, const Style& style);

}  // namespace flashconvert::report
