// The HTML page: self-contained, escaped, and with the facts of the report.
#include <cmath>

#include "report/writers.h"
#include "sample.h"
#include "support/catch.h"

using namespace flashconvert::report;

TEST_CASE("the page holds the facts of the report") {
  const std::string page = to_html({sample_report()});
  CHECK(contains(page, "encoder.layers.3.attn"));
  CHECK(contains(page, "softmax-matmul, 12 heads of 64, key padding"));
  CHECK(contains(page, "attention weights are returned"));
  CHECK(contains(page, "sigma-reparam/row-norm"));
  CHECK(contains(page, "a.in_proj_weight"));
  CHECK(contains(page, "2.50 x faster"));
  CHECK(contains(page, "a warning"));
  CHECK(contains(page, "torch.ops.load_library(&quot;/opt/lib/libflashconvert_ops.so&quot;)"));
  CHECK(contains(page, "<span class=\"badge good\">Converted</span>"));
}

TEST_CASE("a case's inputs stand once, above its outputs, and errors and times are plotted") {
  Report report = sample_report();
  report.parity->cases[0].outputs.push_back(sample_output(true));
  const std::string page = to_html({report});
  const std::string inputs = report.parity->cases[0].inputs;
  const auto first = page.find(inputs);
  REQUIRE(first != std::string::npos);
  CHECK(page.find(inputs, first + 1) == std::string::npos);
  CHECK(contains(page, "<td class=\"name\">case 1</td>"));
  CHECK(contains(page, "class=\"dot converted\" style=\"left:"));
  CHECK(contains(page, "title=\"converted 2.5e-07\""));
  CHECK(contains(page, "<em>12.500 ms</em>"));
}

TEST_CASE("a figure that is zero, infinite or no number has a place in the plot") {
  Report report = sample_report();
  report.parity->cases[0].outputs[0].error_converted = std::nan("");
  report.parity->cases[0].outputs[0].error_original = 0;
  const std::string page = to_html({report});
  CHECK(contains(page, "style=\"left:100.00%\" title=\"converted nan\""));
  CHECK(contains(page, "style=\"left:0.00%\" title=\"original 0\""));
}

TEST_CASE("the page loads nothing from anywhere") {
  const std::string page = to_html({sample_report()});
  for (const char* reference : {"src=", "href=", "@import", "url(", "http://", "https://"}) {
    CHECK_FALSE(contains(page, reference));
  }
  CHECK(contains(page, "Content-Security-Policy\" content=\"default-src 'none'"));
}

TEST_CASE("names cannot break out of the page") {
  Report report = sample_report();
  const std::string hostile = "<script>alert('x')</script>\"&";
  report.input.path = hostile;
  report.attention[0].path = hostile;
  report.attention[1].reason = hostile;
  report.folded[0].form = hostile;
  report.renamed[0].to = hostile;
  report.parity->cases[0].inputs = hostile;
  report.parity->cases[0].outputs[0].name = hostile;
  report.parity->sites[0].path = hostile;
  report.parity->device = hostile;
  report.bench->kernels = {hostile};
  report.warnings = {hostile};
  report.error = hostile;
  report.library = hostile;
  report.operators_before[hostile] = 1;
  report.flashconvert_version = hostile;
  const std::string page = to_html({report, report});
  CHECK_FALSE(contains(page, "<script>alert"));
  CHECK(contains(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
}

TEST_CASE("the verdict is the report's") {
  Report report = sample_report();
  report.parity->passed = false;
  report.output.reset();
  CHECK(contains(to_html({report}), "<span class=\"badge bad\">Parity failed</span>"));
  report.parity.reset();
  CHECK(contains(to_html({report}), "<span class=\"badge plain\">Plan (dry run)</span>"));
  report.error = "not a checkpoint";
  CHECK(contains(to_html({report}), "<span class=\"badge bad\">Not converted</span>"));
  Report nothing;
  nothing.output = FileFacts{"out.pt", 1, "aa"};
  CHECK(contains(to_html({nothing}), "<span class=\"badge warn\">Nothing to convert</span>"));
}

TEST_CASE("a batch's page opens with a list of its files") {
  Report second = sample_report();
  second.input.path = "second.pt";
  second.exit_code = 4;
  const std::string page = to_html({sample_report(), second});
  CHECK(contains(page, "<h2>2 files</h2>"));
  CHECK(contains(page, "<h2>second.pt</h2>"));
}
