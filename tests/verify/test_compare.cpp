// The criterion: what passes, what fails, and that the figures say why.
#include <ATen/ATen.h>

#include <limits>

#include "support/catch.h"
#include "verify/modules.h"
#include "verify/tolerance.h"
#include "verify/verify.h"

using namespace flashconvert;
using verify::compare_outputs;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

report::OutputComparison only(const std::vector<report::OutputComparison>& outputs) {
  REQUIRE(outputs.size() == 1);
  return outputs[0];
}

at::Tensor vector(std::vector<double> values, c10::ScalarType type = at::kFloat) {
  return at::tensor(values, at::kDouble).to(type);
}

// A reference, and evaluations whose largest error is so many parts of the scale.
struct Noisy {
  at::Tensor reference = verify::testing::normal({40, 25}).to(at::kDouble);
  double scale = reference.abs().max().item<double>();

  at::Tensor with_error(double error, c10::ScalarType type = at::kFloat) const {
    at::Tensor noise = at::rand_like(reference).mul(2).sub(1);
    noise.view({-1})[7] = 1.0;  // the largest
    return (reference + noise * error * scale).to(type);
  }
};

}  // namespace

TEST_CASE("an error of up to twice the original's passes, one of ten times fails", "[compare]") {
  const Noisy noisy;
  const auto type = GENERATE(at::kFloat, at::kHalf, at::kBFloat16);
  const double error = 8 * verify::tolerance(type);
  const at::Tensor original = noisy.with_error(error, type);

  CHECK(only(compare_outputs(noisy.reference, original, noisy.with_error(error, type))).passed);
  CHECK(only(compare_outputs(noisy.reference, original, noisy.with_error(1.9 * error, type))).passed);
  const auto failed = only(compare_outputs(noisy.reference, original, noisy.with_error(10 * error, type)));
  CHECK_FALSE(failed.passed);
  CHECK(failed.error_original == Approx(error).epsilon(0.1));
  CHECK(failed.error_converted == Approx(10 * error).epsilon(0.1));
  CHECK(failed.allowed == Approx(2 * failed.error_original + verify::tolerance(type)));
  CHECK(failed.needed_tolerance == Approx(failed.error_converted - 2 * failed.error_original));
  CHECK(failed.error_mean < failed.error_p99);
  CHECK(failed.error_p99 <= failed.error_converted);
  CHECK(failed.note.find("first beyond the allowed error at [") != std::string::npos);
}

TEST_CASE("an exact original leaves the tolerance of the dtype and no more", "[compare]") {
  const at::Tensor reference = at::ones({64}, at::kDouble);
  const auto type = GENERATE(at::kFloat, at::kHalf, at::kBFloat16, at::kDouble);
  const at::Tensor original = reference.to(type);
  const auto moved = [&](double factor) { return (reference + factor * verify::tolerance(type)).to(type); };
  CHECK(only(compare_outputs(reference, original, moved(0.75))).passed);
  CHECK_FALSE(only(compare_outputs(reference, original, moved(2))).passed);
}

TEST_CASE("errors are measured in units of the output's scale", "[compare]") {
  const double scale = GENERATE(1e-20, 1.0, 1e20);
  const at::Tensor reference = verify::testing::normal({100}).to(at::kDouble) * scale;
  const auto result = only(compare_outputs(reference, reference.to(at::kFloat), (reference * 1.001).to(at::kFloat)));
  CHECK_FALSE(result.passed);
  CHECK(result.error_converted == Approx(1e-3).epsilon(0.01));
  CHECK(result.max_abs == Approx(1e-3 * reference.abs().max().item<double>()).epsilon(0.01));
}

TEST_CASE("an output of zeros is judged by its absolute error", "[compare]") {
  const at::Tensor zeros = at::zeros({8});
  CHECK(only(compare_outputs(zeros, zeros, zeros)).passed);
  CHECK(only(compare_outputs(zeros, zeros, zeros + 1e-7)).passed);
  CHECK_FALSE(only(compare_outputs(zeros, zeros, zeros + 1e-3)).passed);
}

TEST_CASE("NaN and infinities count as equal only where the original has the same", "[compare]") {
  const at::Tensor original = vector({1, kNaN, kInfinity, -kInfinity, 2});
  const auto judge = [&](std::vector<double> converted) {
    return only(compare_outputs(original.to(at::kDouble), original, vector(std::move(converted))));
  };
  CHECK(judge({1, kNaN, kInfinity, -kInfinity, 2}).passed);
  const auto nan_lost = judge({1, 0, kInfinity, -kInfinity, 2});
  CHECK_FALSE(nan_lost.passed);
  CHECK(nan_lost.note == "NaN or infinity in one model only, first at [1]: 0 instead of nan");
  CHECK_FALSE(judge({kNaN, kNaN, kInfinity, -kInfinity, 2}).passed);
  CHECK_FALSE(judge({1, kNaN, -kInfinity, -kInfinity, 2}).passed);
  CHECK_FALSE(judge({1, kNaN, kInfinity, kNaN, 2}).passed);
  CHECK_FALSE(judge({1, kNaN, kInfinity, -kInfinity, 2.1}).passed);
}

TEST_CASE("where float64 overflows elsewhere than the original, the original is the truth", "[compare]") {
  const at::Tensor original = vector({1, 2});
  CHECK(only(compare_outputs(vector({kInfinity, 2}, at::kDouble), original, vector({1, 2}))).passed);
  CHECK_FALSE(only(compare_outputs(vector({kInfinity, 2}, at::kDouble), original, vector({1.1, 2}))).passed);
}

TEST_CASE("integers and booleans must be equal", "[compare]") {
  const at::Tensor ids = at::tensor({4, 8, 15}, at::kLong);
  CHECK(only(compare_outputs(ids, ids, ids.clone())).passed);
  const auto flipped = only(compare_outputs(ids, ids, at::tensor({4, 9, 15}, at::kLong)));
  CHECK_FALSE(flipped.passed);
  CHECK(flipped.note == "1 values differ, the first at [1]: 9 instead of 8");
  const auto tie = only(compare_outputs(at::tensor({4, 9, 15}, at::kLong), ids, at::tensor({4, 9, 15}, at::kLong)));
  CHECK_FALSE(tie.passed);
  CHECK(tie.note.find("near tie") != std::string::npos);
  const at::Tensor flags = at::tensor({1, 0}).to(at::kBool);
  CHECK_FALSE(only(compare_outputs(flags, flags, flags.logical_not())).passed);
}

TEST_CASE("another shape or dtype is a failure", "[compare]") {
  const at::Tensor x = at::ones({2, 3});
  CHECK(only(compare_outputs(x, x, at::ones({3, 2}))).note == "shape [2, 3] became [3, 2]");
  CHECK(only(compare_outputs(x, x, x.to(at::kHalf))).note == "float32 became float16");
  CHECK_FALSE(only(compare_outputs(x, x, x.to(at::kHalf))).passed);
}

TEST_CASE("nested outputs are compared by name", "[compare]") {
  const auto nested = [](const at::Tensor& logits, c10::IValue last) {
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    dict.insert("logits", c10::ivalue::Tuple::create({logits, c10::IValue("text")}));
    dict.insert("last", std::move(last));
    return c10::IValue(dict);
  };
  const at::Tensor x = at::ones({2});
  const auto same = compare_outputs(nested(x, 3), nested(x, 3), nested(x, 3));
  REQUIRE(same.size() == 3);
  CHECK(same[0].name == "output['logits'][0]");
  CHECK(same[1].name == "output['logits'][1]");
  CHECK(same[2].name == "output['last']");
  for (const auto& output : same) CHECK(output.passed);

  const auto other_number = compare_outputs(nested(x, 3), nested(x, 3), nested(x, 4));
  CHECK(other_number[2].note == "3 became 4");
  CHECK_FALSE(other_number[2].passed);

  const auto missing =
      compare_outputs(nested(x, 3), nested(x, 3), c10::ivalue::Tuple::create({x, c10::IValue("text")}));
  for (const auto& output : missing) CHECK_FALSE(output.passed);
}

TEST_CASE("a tuple that became a list is a failure", "[compare]") {
  const at::Tensor x = at::ones({2});
  c10::List<at::Tensor> list({x});
  const auto outputs = compare_outputs(c10::ivalue::Tuple::create({x}), c10::ivalue::Tuple::create({x}), list);
  CHECK(outputs.back().note == "the structure (·) became [·]");
  CHECK_FALSE(outputs.back().passed);
}

TEST_CASE("no output at all is a failure, an absent optional one among others is not", "[compare]") {
  CHECK_FALSE(only(compare_outputs({}, {}, {})).passed);
  const c10::IValue pair = c10::ivalue::Tuple::create({at::ones({2}), c10::IValue()});
  for (const auto& output : compare_outputs(pair, pair, pair)) CHECK(output.passed);
}

TEST_CASE("a number from a tensor may carry its rounding, and no more", "[compare]") {
  CHECK(only(compare_outputs(0.5, 0.5, 0.5 + 1e-7)).passed);
  CHECK_FALSE(only(compare_outputs(0.5, 0.5, 0.501)).passed);
}

TEST_CASE("complex outputs are compared part by part", "[compare]") {
  const at::Tensor z = at::complex(at::ones({2, 2}), at::zeros({2, 2}));
  CHECK(only(compare_outputs(z, z, z.clone())).passed);
  at::Tensor turned = z.clone();
  turned[1][0] = c10::complex<float>(1, 0.5);
  const auto result = only(compare_outputs(z, z, turned));
  CHECK_FALSE(result.passed);
  CHECK(result.note.find("at [1, 0]") != std::string::npos);
}

TEST_CASE("an output larger than one block is searched to its end", "[compare]") {
  const at::Tensor original = at::ones({3, 700'000});
  at::Tensor converted = original.clone();
  converted[2][699'999] = 2;
  const auto result = only(compare_outputs(original.to(at::kDouble), original, converted));
  CHECK(result.error_converted == Approx(1));
  CHECK(result.error_p99 == 0);
  CHECK(result.note == "first beyond the allowed error at [2, 699999]: 2 instead of 1");
}
