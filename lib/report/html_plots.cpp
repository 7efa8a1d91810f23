// The plots of the HTML page: rows of HTML, so that they fit any width and their labels can be copied.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/html_parts.h"

namespace flashconvert::report {
namespace {

// The decades that hold every positive figure; zero stands at the left edge, NaN and infinity at the right one.
struct LogScale {
  int first = -9;
  int last = -6;

  void hold(double value) {
    if (!(value > 0) || !std::isfinite(value)) return;
    const int below = std::max(-30, static_cast<int>(std::floor(std::log10(value))));
    first = is_empty ? below : std::min(first, below);
    last = is_empty ? below + 1 : std::max(last, below + 1);
    is_empty = false;
  }
  double percent(double value) const {
    if (value == 0) return 0;
    if (!std::isfinite(value)) return 100;
    const double share = (std::log10(value) - first) / (last - first);
    return 3 + 94 * std::clamp(share, 0.0, 1.0);
  }

private:
  bool is_empty = true;
};

std::string mark(const LogScale& scale, double value, const char* css, const char* what) {
  return fmt::format("<i class=\"{}\" style=\"left:{:.2f}%\" title=\"{} {}\"></i>", css, scale.percent(value), what,
                     figure(value));
}

std::string axis(const LogScale& scale) {
  // A label for each decade, or for every second, third, … where there are many.
  const int step = (scale.last - scale.first) / 8 + 1;
  std::string html = "<div class=\"plotrow axis\"><span>log scale</span><div class=\"strip\">";
  for (int decade = scale.first; decade <= scale.last; decade += step) {
    html += fmt::format("<b style=\"left:{:.2f}%\">1e{}</b>", scale.percent(std::pow(10.0, decade)), decade);
  }
  return html + "</div></div>";
}

}  // namespace

std::string error_plot(const std::vector<ErrorRow>& rows) {
  if (rows.empty()) return "";
  LogScale scale;
  for (const auto& row : rows) {
    for (const double value : {row.original, row.converted, row.allowed}) scale.hold(value);
  }
  std::string html =
      "<figure class=\"plot\"><figcaption><i class=\"dot original\"></i> original <i class=\"dot converted\"></i> "
      "converted <i class=\"dot allowed\"></i> allowed; the left edge is 0</figcaption>";
  for (const auto& row : rows) {
    html +=
        fmt::format("<div class=\"plotrow{}\"><span class=\"path\">{}</span><div class=\"strip\">{}{}{}</div></div>\n",
                    row.passed ? "" : " failed", escape(row.label), mark(scale, row.allowed, "dot allowed", "allowed"),
                    mark(scale, row.original, "dot original", "original"),
                    mark(scale, row.converted, "dot converted", "converted"));
  }
  return html + axis(scale) + "</figure>";
}

std::string time_plot(const Bench& bench) {
  const double most = std::max(bench.original_ms, bench.converted_ms);
  if (!(most > 0) || !std::isfinite(most)) return "";
  const auto bar = [most](const char* label, double ms, const char* css) {
    return fmt::format(
        "<div class=\"plotrow\"><span>{}</span><div class=\"strip\"><i class=\"time {}\" style=\"width:{:.2f}%\"></i>"
        "<em>{:.3f} ms</em></div></div>",
        label, css, 80 * ms / most, ms);
  };
  return "<figure class=\"plot times\">" + bar("original", bench.original_ms, "original") +
         bar("converted", bench.converted_ms, "converted") + "</figure>";
}

}  // namespace flashconvert::report
