// The console's lines.
#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/wrap.h"
#include "report/writers.h"
#include "sample.h"
#include "support/catch.h"

using namespace flashconvert::report;

namespace {

bool has_line(const std::vector<std::string>& lines, const std::string& line) {
  return std::find(lines.begin(), lines.end(), line) != lines.end();
}

std::string all(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE("each attention site has one line, as the contract spells it") {
  const auto lines = entry_lines(sample_report(), {});
  CHECK(lines[0] == "encoder.layers.3.attn  fused (module)  softmax-matmul, 12 heads of 64, key padding");
  // What was left alone comes last.
  CHECK(lines[2] == "decoder.attn (decode)  declined: attention weights are returned");
  CHECK(lines[3] == "(root)  reverted: parity failed");
}

TEST_CASE("sites that differ in a number alone share a line, declined ones never") {
  Report report;
  AttentionEntry site = sample_report().attention[0];
  const auto add = [&](const std::string& path) {
    site.path = path;
    report.attention.push_back(site);
  };
  for (int layer = 0; layer < 24; ++layer) add("encoder.layer." + std::to_string(layer) + ".attention");
  for (const int layer : {0, 1, 3}) add("decoder." + std::to_string(layer) + ".self");
  // Stages of two and of three blocks.
  for (int stage = 0; stage < 3; ++stage) {
    for (int block = 0; block < (stage == 2 ? 3 : 2); ++block) {
      add("stages." + std::to_string(stage) + ".blocks." + std::to_string(block));
    }
  }
  site.heads = 8;
  add("encoder.layer.24.attention");
  site = sample_report().attention[1];
  add("decoder.0.cross");
  add("decoder.1.cross");

  const auto lines = entry_lines(report, {});
  const std::string twelve = "softmax-matmul, 12 heads of 64, key padding";
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "encoder.layer.{0–23}.attention  fused (module) ×24  " + twelve);
  CHECK(lines[1] == "decoder.{0–1,3}.self  fused (module) ×3  " + twelve);
  CHECK(lines[2] == "stages.{0–1}.blocks.{0–1}  fused (module) ×4  " + twelve);
  CHECK(lines[3] == "stages.2.blocks.{0–2}  fused (module) ×3  " + twelve);
  CHECK(lines[4] == "encoder.layer.24.attention  fused (module)  softmax-matmul, 8 heads of 64, key padding");
  CHECK(lines[5] == "decoder.0.cross (decode)  declined: attention weights are returned");
  CHECK(lines[6] == "decoder.1.cross (decode)  declined: attention weights are returned");

  TextOptions verbose;
  verbose.verbose = true;
  CHECK(entry_lines(report, verbose).size() == report.attention.size());
}

TEST_CASE("lines fit the terminal, and break between words") {
  TextOptions options;
  options.width = 60;
  options.color = true;
  Report report = sample_report();
  report.output->path = "a/path/that/is/longer/than/the/terminal/is/wide/and/stays/whole.pt";
  for (const auto& lines : {entry_lines(report, options), summary_lines(report, options)}) {
    for (const auto& line : lines) {
      INFO(line);
      const bool is_one_word = line.find(' ', line.find_first_not_of(' ')) == std::string::npos;
      const bool is_code = contains(line, "torch::jit") || contains(line, "dlopen") || contains(line, "torch.");
      CHECK((shown_width(line) <= 60 || is_one_word || is_code || contains(line, report.output->path)));
    }
  }
  CHECK(wrapped("one two three", 9, 2) == std::vector<std::string>{"one two", "  three"});
  CHECK(wrapped("a verylongword b", 6, 2) == std::vector<std::string>{"a", "  verylongword", "  b"});
  CHECK(wrapped("no limit at all", 0, 2) == std::vector<std::string>{"no limit at all"});
  CHECK(shown_width("\x1b[32m×24\x1b[0m") == 3);
}

TEST_CASE("what was not tried, and why the output grew, stand beside what they are about") {
  Report report = sample_report();
  report.parity->cases[0].inputs += std::string(kOtherShapesUntried) + "one call takes 21 s";
  report.growth = "1.2 MB more than INPUT (tensors 1.2 MB more)";
  const auto lines = summary_lines(report, {});
  CHECK(has_line(lines,
                 "parity    passed on cpu: 1 case (other shapes were not tried: one call takes 21 s), 1 output "
                 "(reference: float64)"));
  CHECK(has_line(lines, "output    models/out.pt, 12.3 MB: 1.2 MB more than INPUT (tensors 1.2 MB more)"));
}

TEST_CASE("folded weights are listed, and grouped by form when there are dozens") {
  Report report = sample_report();
  auto lines = entry_lines(report, {});
  CHECK(has_line(lines, "encoder.layers.3.mlp.fc1  folded  sigma-reparam/row-norm, float32, 38 % from the raw weight"));
  CHECK(has_line(lines, "noise  not folded: draws random numbers"));

  FoldEntry weight = report.folded[0];
  for (int i = 0; i < 30; ++i) {
    weight.path = "layer" + std::to_string(i);
    weight.weight_change = 0.11 + i * 0.01;
    report.folded.push_back(weight);
  }
  lines = entry_lines(report, {});
  CHECK(lines.size() == 5);
  CHECK(has_line(lines, "31 weights  folded  sigma-reparam/row-norm, 11 % to 40 % from the raw weight"));
  CHECK(has_line(lines, "noise  not folded: draws random numbers"));

  TextOptions verbose;
  verbose.verbose = true;
  lines = entry_lines(report, verbose);
  CHECK(has_line(lines, "layer7  folded  sigma-reparam/row-norm, float32, 18 % from the raw weight"));
  CHECK(has_line(lines, "encoder.layers.3.mlp.fc1  converted  addmm, 768 to 3072 features, with its gelu_tanh"));
  CHECK(has_line(lines, "head  declined: fewer than 64 output features (linear, 768 to 10 features)"));
  CHECK(has_line(lines, "a.in_proj_weight  renamed from  a.q.weight, a.k.weight, a.v.weight"));
}

TEST_CASE("the summary counts, judges and says how to load the output") {
  const auto lines = summary_lines(sample_report(), {});
  CHECK(has_line(lines, "attention fused 1 of 3 {softmax-matmul: 1}, declined 1, reverted 1"));
  CHECK(has_line(lines, "weights   folded 1 of 2"));
  CHECK(has_line(lines, "linear    converted 1 of 2 {addmm: 1}; 1 left alone: fewer than 64 output features"));
  CHECK(has_line(lines, "parity    passed on cpu: 1 case, 1 output (reference: float64)"));
  CHECK(has_line(
      lines,
      "          error in units of the output's scale: max 2.5e-07, mean 3e-08, p99 2e-07; original: max 1.2e-07"));
  CHECK(has_line(lines, "          smallest tolerance that would pass: 0"));
  CHECK(has_line(lines, "bench     12.500 ms -> 5.000 ms, 2.50 x faster (median of 20 runs on cpu)"));
  CHECK(has_line(lines, "output    models/out.pt, 12.3 MB"));
  CHECK(has_line(lines, "needs     flashconvert::attention from /opt/lib/libflashconvert_ops.so"));
  CHECK(has_line(lines,
                 "Python    torch.ops.load_library(\"/opt/lib/libflashconvert_ops.so\"); "
                 "model = torch.jit.load(\"models/out.pt\")"));
  CHECK(has_line(lines,
                 "C++       dlopen(\"/opt/lib/libflashconvert_ops.so\", RTLD_NOW | RTLD_GLOBAL); "
                 "torch::jit::Module model = torch::jit::load(\"models/out.pt\");"));
  CHECK(all(lines).find("aten::softmax") == std::string::npos);
}

TEST_CASE("a failed parity names the outputs and the tolerance that would pass") {
  Report report = sample_report();
  report.output.reset();
  report.parity->passed = false;
  report.parity->cases[0].outputs.push_back(sample_output(false));
  report.parity->cases[0].outputs[1].note = "NaN at [0, 3]";
  report.parity->sites[0].figures = sample_output(false);
  const auto lines = summary_lines(report, {});
  CHECK(has_line(lines, "parity    FAILED on cpu: 1 case, 2 outputs, 1 failed (reference: float64)"));
  CHECK(has_line(lines, "          smallest tolerance that would pass: 0.49"));
  CHECK(all(lines).find("float32[2, 3] (traced shape) -> output['logits']  float32 [2, 128]: max 0.5") !=
        std::string::npos);
  CHECK(all(lines).find("FAILED (NaN at [0, 3])") != std::string::npos);
  CHECK(has_line(lines, "sites     0 of 1 passed on the inputs that they get, max 0.5 (encoder.layers.3.attn)"));
  CHECK(all(lines).find("site encoder.layers.3.attn") != std::string::npos);
  CHECK(has_line(lines, "output    none was written"));
}

TEST_CASE("sites are counted, the worst is named, and those that passed are listed on request alone") {
  Report report = sample_report();
  SiteParity better = report.parity->sites[0];
  better.path = "decoder";
  better.figures.error_converted = 1e-8;
  report.parity->sites.push_back(better);
  const auto lines = summary_lines(report, {});
  CHECK(has_line(lines, "sites     2 of 2 passed on the inputs that they get, max 2.5e-07 (encoder.layers.3.attn)"));
  CHECK(all(lines).find("site decoder") == std::string::npos);
  TextOptions verbose;
  verbose.verbose = true;
  CHECK(all(summary_lines(report, verbose)).find("site decoder") != std::string::npos);
}

TEST_CASE("a dry run shows the operators before and after") {
  Report report = sample_report();
  report.output.reset();
  TextOptions options;
  options.dry_run = true;
  const auto lines = summary_lines(report, options);
  CHECK(has_line(lines, "operator                   before     after"));
  CHECK(has_line(lines, "aten::softmax                  12         0"));
  CHECK(has_line(lines, "flashconvert::attention         0        12"));
  CHECK(has_line(lines, "total                          60        36"));
  CHECK(has_line(lines, "output    none (dry run)"));
  CHECK(has_line(lines, "needs     flashconvert::attention from /opt/lib/libflashconvert_ops.so"));
}

TEST_CASE("operators that the input needed already are told from ours") {
  Report report = sample_report();
  report.operators_needed = {"flashconvert::attention", "mine::gate", "mine::norm"};
  CHECK(needs_text(report) ==
        "flashconvert::attention from /opt/lib/libflashconvert_ops.so, mine::gate, mine::norm as the input did");
  report.operators_needed = {"mine::gate"};
  CHECK(needs_text(report) == "mine::gate as the input did");
  report.operators_needed.clear();
  CHECK(needs_text(report).empty());
}

TEST_CASE("colours appear only when asked for") {
  TextOptions options;
  CHECK(all(entry_lines(sample_report(), options)).find('\x1b') == std::string::npos);
  CHECK(all(summary_lines(sample_report(), options)).find('\x1b') == std::string::npos);
  options.color = true;
  CHECK(entry_lines(sample_report(), options)[0].find("\x1b[32mfused (module)\x1b[0m") != std::string::npos);
}

TEST_CASE("a figure that is not a number is not hidden by others") {
  Parity parity;
  parity.cases = {{"a", "forward", {sample_output(true), sample_output(true)}}};
  parity.cases[0].outputs[0].error_converted = std::nan("");
  CHECK(std::isnan(parity_figures(parity).max_converted));
}

TEST_CASE("the mean over several outputs counts their elements") {
  Parity parity;
  parity.cases = {{"a", "forward", {sample_output(true), sample_output(true)}}};
  parity.cases[0].outputs[0].shape = {3};
  parity.cases[0].outputs[0].error_mean = 4;
  parity.cases[0].outputs[1].shape = {};
  parity.cases[0].outputs[1].error_mean = 8;
  CHECK(parity_figures(parity).mean_converted == Approx(5));
}

TEST_CASE("numbers for people") {
  CHECK(human_bytes(999) == "999 bytes");
  CHECK(human_bytes(1000) == "1.00 kB");
  CHECK(human_bytes(12345678) == "12.3 MB");
  CHECK(human_seconds(0.0851) == "85 ms");
  CHECK(human_seconds(2.44) == "2.4 s");
  CHECK(human_seconds(190) == "3 min 10 s");
  CHECK(percent(0.382) == "38 %");
  CHECK(percent(0.0382) == "3.8 %");
  CHECK(percent(0) == "0 %");
  CHECK(percent(0.00001) == "0.001 %");
  CHECK(figure(0) == "0");
  CHECK(figure(3.14e-7) == "3.1e-07");
  CHECK(plural(1, "case") == "1 case");
}

TEST_CASE("paths in the loading lines are valid literals") {
  Report report = sample_report();
  report.output->path = "a \"b\"\\c.pt";
  CHECK(loading_lines(report).python.find("torch.jit.load(\"a \\\"b\\\"\\\\c.pt\")") != std::string::npos);
  report.output->path = "-";
  report.library.clear();
  CHECK(loading_lines(report).python == "model = torch.jit.load(\"output.pt\")");
}

TEST_CASE("a batch ends with a table and its totals") {
  Report good = sample_report();
  Report bad;
  bad.input.path = "b.pt";
  bad.exit_code = 4;
  bad.error = "b.pt is a state dict\n  Save the module instead.";
  const auto lines = batch_lines({good, bad}, {2.44, 0.3}, {});
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "file          exit         time  result");
  CHECK(lines[1] ==
        "models/in.pt     0        2.4 s  converted, fused 1 of 3, folded 1 of 2, parity passed, 2.50 x faster");
  CHECK(lines[2] == "b.pt             4       300 ms  b.pt is a state dict");
  CHECK(lines[3] == "1 of 2 files converted; exit code 4");
}
