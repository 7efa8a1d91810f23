// The same bits every time: in repeated calls, in CUDA graphs, and beside other work.
#include <deque>

#include "device_case.h"
#include "expect.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

// One case of each kind of kernel and schedule.
std::vector<AttentionCase> representative(DType dtype) {
  AttentionCase biased = basic(dtype, 333, 444, 64, 64);
  biased.bias_kind = BiasKind::kSameAsQuery;
  AttentionCase short_sequences = basic(dtype, 50, 50, 64, 64);
  short_sequences.batch = 40;
  AttentionCase few_queries = basic(dtype, 1, 3000, 128, 128);
  few_queries.heads = 8;
  AttentionCase few_biased_queries = causal(basic(dtype, 40, 2100, 64, 64));
  few_biased_queries.diagonal = 2060;
  few_biased_queries.bias_kind = BiasKind::kFloat32;
  AttentionCase many_tiles = basic(dtype, 400, 400, 64, 64);
  many_tiles.batch = 1;
  many_tiles.heads = many_tiles.key_heads = 64;
  many_tiles.period = 1'000'003;
  return {basic(dtype, 333, 444, 64, 64),
          causal(basic(dtype, 500, 500, 128, 128)),
          causal(many_tiles),
          biased,
          short_sequences,
          few_queries,
          few_biased_queries,
          basic(dtype, 64, 4100, 128, 128),
          basic(dtype, 260, 260, 256, 256)};
}

// A case on the device together with what it was made from.
struct Placed {
  explicit Placed(const AttentionCase& from) : test(from), host(make_problem(test)), device(test, host) {}
  AttentionCase test;
  HostProblem host;
  DeviceCase device;

  std::vector<unsigned char> bits(const char* kernel) {
    device.run(kernel);
    return device.output();
  }
};

// Both kernels many times over, each on a stream of its own; what they left in their outputs is compared.
void expect_undisturbed(Placed& one, const char* one_kernel, Placed& other, const char* other_kernel) {
  const std::vector<unsigned char> one_alone = one.bits(one_kernel);
  const std::vector<unsigned char> other_alone = other.bits(other_kernel);
  one.device.poison_output();
  other.device.poison_output();
  const Stream first;
  const Stream second;
  for (int i = 0; i < 20; ++i) {
    one.device.start(one_kernel, first);
    other.device.start(other_kernel, second);
  }
  first.wait(one.device.describe_with(one_kernel));
  second.wait(other.device.describe_with(other_kernel));
  CHECK(one.device.output() == one_alone);
  CHECK(other.device.output() == other_alone);
}

}  // namespace

TEST_CASE("a hundred calls give the same bits", "[launches]") {
  for (const DType dtype : kDTypes) {
    for (const AttentionCase& test : representative(dtype)) {
      INFO(describe(test));
      Placed placed(test);
      for (const char* kernel : placed.device.kernels()) {
        INFO(kernel);
        const std::vector<unsigned char> first = placed.bits(kernel);
        const Stream stream;
        int different = 0;
        for (int repeat = 0; repeat < 100; ++repeat) {
          placed.device.poison_output();
          placed.device.start(kernel, stream);
          stream.wait(placed.device.describe_with(kernel));
          if (placed.device.output() != first) ++different;
        }
        CHECK(different == 0);
      }
    }
  }
}

TEST_CASE("a graph gives the same bits", "[launches]") {
  for (const DType dtype : kDTypes) {
    for (const AttentionCase& test : representative(dtype)) {
      INFO(describe(test));
      Placed placed(test);
      for (const char* kernel : placed.device.kernels()) {
        INFO(kernel);
        const std::vector<unsigned char> direct = placed.bits(kernel);
        placed.device.poison_output();
        Stream stream;
        stream.run_as_graph(3, placed.device.describe_with(kernel), [&] {
          placed.device.start(kernel, stream);
          placed.device.start(kernel, stream);
        });
        CHECK(placed.device.output() == direct);
      }
    }
  }
}

TEST_CASE("two streams at once give the same bits", "[launches]") {
  for (const DType dtype : kDTypes) {
    std::deque<Placed> cases;
    for (const AttentionCase& test : representative(dtype)) cases.emplace_back(test);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      Placed& one = cases[i];
      Placed& neighbour = cases[(i + 1) % cases.size()];
      Placed twin(one.test);
      INFO(describe(one.test));
      for (const char* kernel : one.device.kernels()) {
        INFO(kernel);
        expect_undisturbed(one, kernel, twin, kernel);
        if (!neighbour.device.kernels().empty()) {
          expect_undisturbed(one, kernel, neighbour, neighbour.device.kernels().front());
        }
      }
    }
  }
}

}  // namespace flashconvert::kernels::testing
