// The operator table against torch. Of every row: it is an operator of torch's, and writes and draws random numbers
// where the registry says so. By running it on small tensors: what it does to values, sizes, strides and memory (the
// test cases below, one a trait). What its result is for (kProjects, kNormalises, kReduces, kCreates, kJoins, kExpands,
// kConverts) is the table's word alone.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/operators.h"
#include "support/catch.h"

namespace {

using namespace flashconvert;
using torch::jit::Stack;

struct Row {
  std::string name, overload;
  std::uint64_t traits = 0;
  std::shared_ptr<torch::jit::Operator> op;  // null: not registered

  bool has(std::uint64_t any_of) const { return (traits & any_of) != 0; }
  const std::vector<c10::Argument>& arguments() const { return op->schema().arguments(); }
  std::string text() const { return overload.empty() ? name : name + "." + overload; }
};

std::vector<Row> rows() {
  std::vector<Row> found;
  for_each_operator([&](const std::string& name, const std::string& overload, std::uint64_t traits) {
    Row row{name, overload, traits, nullptr};
    for (const auto& candidate : torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString(name))) {
      if (candidate->schema().overload_name() == overload) row.op = candidate;
    }
    found.push_back(std::move(row));
  });
  std::sort(found.begin(), found.end(), [](const Row& a, const Row& b) { return a.text() < b.text(); });
  return found;
}

c10::IValue indices(const at::Tensor& tensor) {
  return c10::IValue(c10::List<std::optional<at::Tensor>>({std::optional<at::Tensor>(tensor)}));
}

// Arguments without a default value, where the type alone does not say what will do for a tensor of [2, 3, 4].
const std::map<std::string, std::map<std::string, c10::IValue>>& particular_arguments() {
  using Ints = std::vector<std::int64_t>;
  static const std::map<std::string, std::map<std::string, c10::IValue>> kArguments{
      {"aten::view", {{"size", Ints{6, 4}}}},
      {"aten::_unsafe_view", {{"size", Ints{6, 4}}}},
      {"aten::reshape", {{"shape", Ints{4, 6}}}},
      {"aten::view_as", {{"other", at::zeros({6, 4})}}},
      {"aten::reshape_as", {{"other", at::zeros({4, 6})}}},
      {"aten::unflatten", {{"dim", 2}, {"sizes", Ints{2, 2}}}},
      {"aten::squeeze", {{"dim", 0}, {"dim", 0}}},
      {"aten::permute", {{"dims", Ints{2, 0, 1}}}},
      {"aten::transpose", {{"dim0", 0}, {"dim1", 2}}},
      {"aten::swapaxes", {{"axis0", 0}, {"axis1", 2}}},
      {"aten::swapdims", {{"dim0", 0}, {"dim1", 2}}},
      {"aten::movedim.int", {{"source", 0}, {"destination", 2}}},
      {"aten::movedim.intlist", {{"source", Ints{0}}, {"destination", Ints{2}}}},
      {"aten::fill_.Tensor", {{"value", at::full({}, 0.5)}}},
      {"aten::masked_fill.Tensor", {{"value", at::full({}, 0.5)}}},
      {"aten::masked_fill_.Tensor", {{"value", at::full({}, 0.5)}}},
      {"aten::narrow.Tensor", {{"dim", 1}, {"start", at::scalar_tensor(1, at::kLong)}, {"length", 2}}},
      {"aten::repeat_interleave.self_Tensor", {{"repeats", at::tensor({2, 1})}, {"dim", 0}}},
      {"aten::split.sizes", {{"split_size", Ints{1, 1}}}},
      {"aten::squeeze.dims", {{"dim", Ints{0}}}},
      {"aten::tensor_split.indices", {{"indices", Ints{1}}}},
      {"aten::select", {{"dim", 0}, {"index", 1}}},
      {"aten::narrow", {{"dim", 1}, {"start", 1}, {"length", 2}}},
      {"aten::index", {{"indices", indices(at::tensor({1, 0}))}}},
      {"aten::index_select", {{"dim", 0}, {"index", at::tensor({1, 0})}}},
      {"aten::gather", {{"dim", 0}, {"index", at::ones({2, 3, 4}, at::kLong)}}},
      {"aten::flip", {{"dims", Ints{0, 2}}}},
      {"aten::roll", {{"shifts", Ints{1}}}},
      {"aten::split_with_sizes", {{"split_sizes", Ints{1, 1}}}},
      {"aten::unsafe_split_with_sizes", {{"split_sizes", Ints{1, 1}}}},
      {"aten::expand", {{"size", Ints{5, 2, 3, 4}}}},
      {"aten::expand_as", {{"other", at::zeros({5, 2, 3, 4})}}},
      {"aten::repeat", {{"repeats", Ints{2, 1, 1}}}},
      {"aten::repeat_interleave", {{"repeats", 2}, {"dim", 0}}},
      {"aten::tile", {{"dims", Ints{2, 1, 1}}}},
      {"aten::layer_norm", {{"normalized_shape", Ints{4}}}},
      {"aten::native_layer_norm", {{"normalized_shape", Ints{4}}, {"eps", 1e-5}}},
      {"aten::rms_norm", {{"normalized_shape", Ints{4}}}},
      {"aten::batch_norm", {{"training", true}, {"momentum", 0.1}, {"eps", 1e-5}, {"cudnn_enabled", false}}},
      {"aten::softmax", {{"dim", 1}}},
      {"aten::clamp", {{"min", 0.25}}},
      {"aten::new_ones", {{"size", Ints{2, 3}}}},
      {"aten::new_zeros", {{"size", Ints{2, 3}}}},
      {"aten::new_full", {{"size", Ints{2, 3}}}},
      {"aten::clamp.Tensor", {}},
      {"aten::clamp_", {{"min", 0.25}}},
      {"aten::index_put_", {{"indices", indices(at::tensor({1, 0}))}}},
      {"aten::scatter_", {{"dim", 0}, {"index", at::zeros({2, 3, 4}, at::kLong)}}},
      {"aten::to", {{"dtype", static_cast<std::int64_t>(at::kFloat)}, {"device", c10::Device(c10::kCPU)}}},
  };
  return kArguments;
}

bool is_mask(const c10::Argument& argument) { return argument.name() == "mask" || argument.name() == "condition"; }

bool is_tensor_type(const c10::TypePtr& type) { return type->kind() == c10::TypeKind::TensorType; }

bool is_optional_tensor(const c10::TypePtr& type) {
  const auto optional = type->cast<c10::OptionalType>();
  return optional && is_tensor_type(optional->getElementType());
}

std::optional<c10::IValue> plain_argument(const c10::Argument& argument) {
  if (argument.default_value()) return argument.default_value();
  switch (argument.type()->kind()) {
    case c10::TypeKind::OptionalType:
      return c10::IValue();
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      return argument.name() == "chunks" || argument.name() == "sections" || argument.name() == "split_size"
                 ? c10::IValue(2)
                 : c10::IValue(1);
    case c10::TypeKind::BoolType:
      return c10::IValue(false);
    case c10::TypeKind::FloatType:
      return c10::IValue(0.5);
    case c10::TypeKind::NumberType:
      return c10::IValue(1);
    default:
      return std::nullopt;
  }
}

// The arguments of one call: the given tensors for those that are tensors and not particular, in order.
std::optional<Stack> arguments_of(const Row& row, const std::vector<at::Tensor>& tensors) {
  auto particular = particular_arguments().find(row.text());
  if (particular == particular_arguments().end()) particular = particular_arguments().find(row.name);
  Stack stack;
  std::size_t next = 0;
  for (const c10::Argument& argument : row.arguments()) {
    if (particular != particular_arguments().end() && particular->second.count(argument.name()) != 0) {
      stack.push_back(particular->second.at(argument.name()));
    } else if (is_tensor_type(argument.type()) || (row.has(kBroadcasts) && is_optional_tensor(argument.type()))) {
      const at::Tensor tensor = tensors.at(std::min(next++, tensors.size() - 1));
      stack.emplace_back(is_mask(argument) ? tensor.to(at::kDouble).gt(0.5) : tensor);
    } else if (auto plain = plain_argument(argument)) {
      stack.push_back(*plain);
    } else {
      return std::nullopt;
    }
  }
  return stack;
}

std::optional<at::Tensor> result_of(const Row& row, Stack stack) {
  try {
    row.op->getOperation()(stack);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  if (stack.empty()) return std::nullopt;
  const c10::IValue& first = stack.front();
  if (first.isTensor()) return first.toTensor();
  if (first.isTensorList() && first.toTensorList().size() > 0) return first.toTensorVector().front();
  return std::nullopt;
}

// Tensors of distinct values in (0, 1), or of the integers and booleans that an operator takes instead.
at::Tensor drawn(at::IntArrayRef sizes, at::ScalarType dtype, std::int64_t seed) {
  at::manual_seed(seed);
  const at::Tensor values = at::rand(sizes, at::kDouble) * 0.9 + 0.05;
  return dtype == at::kBool ? values.gt(0.5) : dtype == at::kLong ? (values * 100).to(at::kLong) : values.to(dtype);
}

struct Call {
  at::ScalarType dtype = at::kDouble;
  std::vector<at::Tensor> tensors;
  at::Tensor result;
};

std::vector<at::Tensor> copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.clone());
  return result;
}

std::optional<at::Tensor> call(const Row& row, const std::vector<at::Tensor>& tensors) {
  auto stack = arguments_of(row, copies(tensors));
  return stack ? result_of(row, std::move(*stack)) : std::nullopt;
}

// A call with operands of the given sizes in the first dtype that the operator takes; nothing where it takes none.
std::optional<Call> run(const Row& row, const std::vector<std::vector<std::int64_t>>& sizes) {
  for (const at::ScalarType dtype : {at::kDouble, at::kLong, at::kBool}) {
    Call made{dtype, {}, {}};
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      made.tensors.push_back(drawn(sizes[i], dtype, 10 + static_cast<std::int64_t>(i)));
    }
    if (const auto result = call(row, made.tensors)) {
      made.result = *result;
      return made;
    }
  }
  return std::nullopt;
}

const std::vector<std::int64_t> kSizes{2, 3, 4};

std::vector<std::vector<std::int64_t>> same_sizes() { return {kSizes, kSizes, kSizes, kSizes}; }

bool is_same(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && at::equal(a, b); }

std::vector<Row> rows_with(std::uint64_t any_of) {
  std::vector<Row> found;
  for (Row& row : rows()) {
    if (row.op && row.has(any_of)) found.push_back(std::move(row));
  }
  return found;
}

}  // namespace

TEST_CASE("each row of the operator table is an operator of torch's", "[graph]") {
  for (const Row& row : rows()) {
    INFO(row.text());
    REQUIRE(row.op != nullptr);
    CHECK(row.has(kWrites) == row.op->schema().is_mutable());
    const auto registered = c10::Dispatcher::singleton().findSchema({row.name, row.overload});
    if (registered) CHECK(row.has(kRandom) == registered->hasTag(at::Tag::nondeterministic_seeded));
    const bool has_tensor = std::any_of(
        row.arguments().begin(), row.arguments().end(),
        [](const c10::Argument& argument) { return argument.type()->isSubtypeOf(*c10::TensorType::get()); });
    if (row.has(kNumbers)) CHECK_FALSE(has_tensor);
    if (row.has(kAsks | kCasts | kCopies | kPermutes | kReshapes | kSelects | kDivides)) CHECK(has_tensor);
  }
}

TEST_CASE("operators that keep sizes do", "[graph]") {
  for (const Row& row : rows_with(kKeepsSizes)) {
    INFO(row.text());
    // Whatever else is a tensor has other sizes: the first operand's have to stand.
    auto made = run(row, {kSizes, {4}, {4}, {4}});
    if (!made) made = run(row, same_sizes());
    CHECK(made.has_value());
    if (!made) continue;
    CHECK(made->result.sizes() == at::IntArrayRef(kSizes));
  }
}

TEST_CASE("operators that broadcast do", "[graph]") {
  for (const Row& row : rows_with(kBroadcasts)) {
    INFO(row.text());
    const auto made = run(row, {{3, 1}, {5, 2, 3, 4}, {1}, {1}});
    CHECK(made.has_value());
    if (!made) continue;
    CHECK(made->result.sizes() == at::IntArrayRef({5, 2, 3, 4}));
  }
}

TEST_CASE("elementwise operators know no places and no neighbours", "[graph]") {
  for (const Row& row : rows_with(kElementwise)) {
    INFO(row.text());
    const auto made = run(row, same_sizes());
    CHECK(made.has_value());
    if (!made) continue;
    std::vector<at::Tensor> permuted;
    for (const at::Tensor& tensor : made->tensors) permuted.push_back(tensor.permute({2, 0, 1}));
    const auto of_permuted = call(row, permuted);
    CHECK(of_permuted.has_value());
    if (!of_permuted) continue;
    CHECK(is_same(*of_permuted, made->result.permute({2, 0, 1})));
    // Another element in one place changes nothing elsewhere.
    std::vector<at::Tensor> changed = copies(made->tensors);
    for (at::Tensor& tensor : changed)
      tensor[1][2][3] = made->dtype == at::kBool ? tensor[1][2][3].logical_not() : tensor[1][2][3] * 0.5;
    const auto of_changed = call(row, changed);
    CHECK(of_changed.has_value());
    if (!of_changed) continue;
    at::Tensor elsewhere = at::ones(kSizes, at::kBool);
    elsewhere[1][2][3] = false;
    CHECK(is_same(of_changed->masked_select(elsewhere), made->result.masked_select(elsewhere)));
    if (row.has(kCompares)) CHECK(made->result.scalar_type() == at::kBool);
  }
}

TEST_CASE("operators that commute do", "[graph]") {
  for (const Row& row : rows_with(kCommutes)) {
    INFO(row.text());
    const auto made = run(row, {kSizes, kSizes});
    CHECK(made.has_value());
    if (!made) continue;
    const auto exchanged = call(row, {made->tensors[1], made->tensors[0]});
    CHECK(exchanged.has_value());
    if (!exchanged) continue;
    CHECK(is_same(*exchanged, made->result));
  }
}

TEST_CASE("operators that keep values give elements of their first operand", "[graph]") {
  for (const Row& row : rows_with(kKeepsValues | kCopies)) {
    if (row.has(kWrites)) continue;
    INFO(row.text());
    const bool of_matrix = row.name == "aten::t" || row.name == "aten::numpy_T" || row.name == "aten::mH";
    const auto made = run(row, {of_matrix ? std::vector<std::int64_t>{3, 4} : kSizes});
    CHECK(made.has_value());
    if (!made) continue;
    CHECK(made->result.scalar_type() == made->dtype);
    CHECK(at::isin(made->result, made->tensors[0]).all().item<bool>());
    if (row.has(kReshapes | kPermutes | kCopies)) CHECK(made->result.numel() == made->tensors[0].numel());
    if (row.has(kReshapes | kCopies)) CHECK(is_same(made->result.flatten(), made->tensors[0].flatten()));
  }
}

TEST_CASE("operators that cast, detach or drop out leave the values as they are in eval mode", "[graph]") {
  for (const Row& row : rows_with(kCasts | kDetaches | kDropsOut)) {
    if (row.name == "aten::dequantize") continue;  // of tensors that hold integers in the place of numbers
    INFO(row.text());
    const auto made = run(row, {kSizes, kSizes});
    CHECK(made.has_value());
    if (!made) continue;
    CHECK(at::allclose(made->result.to(at::kDouble), made->tensors[0].to(at::kDouble)));
    if (!row.has(kDetaches)) continue;
    const at::Tensor recorded = made->tensors[0].detach().clone().requires_grad_();
    CHECK_FALSE(result_of(row, arguments_of(row, {recorded}).value()).value().requires_grad());
  }
}

TEST_CASE("operators that ask do not see values", "[graph]") {
  for (const Row& row : rows_with(kAsks)) {
    if (row.has(kRandom)) continue;
    INFO(row.text());
    const auto answer = [&](std::int64_t seed) {
      Stack stack = arguments_of(row, {drawn(kSizes, at::kDouble, seed), drawn(kSizes, at::kDouble, seed)}).value();
      row.op->getOperation()(stack);
      return stack.at(0);
    };
    const c10::IValue one = answer(1), other = answer(2);
    CHECK((one.isTensor() ? is_same(one.toTensor(), other.toTensor()) : one == other));
  }
}

TEST_CASE("operators that permute, select or divide do so along dimensions", "[graph]") {
  for (const Row& row : rows_with(kPermutes | kSelects | kDivides)) {
    INFO(row.text());
    const bool of_matrix = row.name == "aten::t" || row.name == "aten::numpy_T" || row.name == "aten::mH";
    const at::Tensor operand = drawn(of_matrix ? std::vector<std::int64_t>{3, 4} : kSizes, at::kDouble, 3);
    Stack stack = arguments_of(row, {operand}).value();
    row.op->getOperation()(stack);
    if (row.has(kDivides)) {
      std::int64_t elements = 0;
      for (const at::Tensor& part : stack.at(0).toTensorVector()) elements += part.numel();
      CHECK(elements == operand.numel());
      continue;
    }
    const at::Tensor result = stack.at(0).toTensor();
    std::vector<std::int64_t> before = operand.sizes().vec(), after = result.sizes().vec();
    if (row.has(kSelects)) {
      // One dimension is gone or shorter.
      std::size_t same = 0;
      for (const std::int64_t size : after) same += std::count(before.begin(), before.end(), size) != 0;
      CHECK(same + 1 >= before.size());
      CHECK(result.numel() < operand.numel() + (row.name == "aten::slice"));
      continue;
    }
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    CHECK(before == after);
  }
}

TEST_CASE("operators that make positions go by the place in the last two dimensions", "[graph]") {
  for (const Row& row : rows_with(kMakesPositions)) {
    INFO(row.text());
    const at::Tensor operand = drawn({2, 4, 4}, at::kDouble, 5);
    const at::Tensor result = call(row, {operand}).value();
    const at::Tensor kept = result != 0;
    CHECK(is_same(result, operand * kept));
    CHECK(is_same(kept[0], kept[1]));
    CHECK_FALSE(kept.all().item<bool>());
    CHECK(is_same(kept, call(row, {drawn({2, 4, 4}, at::kDouble, 6)}).value() != 0));
  }
}

TEST_CASE("a softmax runs over one dimension", "[graph]") {
  for (const Row& row : rows_with(kSoftmax)) {
    INFO(row.text());
    const auto made = run(row, {kSizes});
    CHECK(made.has_value());
    if (made) CHECK(at::allclose(made->result.sum(1), at::ones({2, 4}, at::kDouble)));
  }
}

TEST_CASE("views share memory, and contiguous results are contiguous", "[graph]") {
  for (const Row& row : rows_with(kViews | kContiguousResult | kNeedsContiguous)) {
    if (row.has(kWrites | kCreates | kProduct | kProjects)) continue;  // made from numbers, or of matrices
    INFO(row.text());
    const bool of_matrix = row.name == "aten::t" || row.name == "aten::numpy_T" || row.name == "aten::mH";
    const at::Tensor operand = drawn(of_matrix ? std::vector<std::int64_t>{3, 4} : kSizes, at::kDouble, 3);
    if (row.has(kViews)) {
      const auto stack = arguments_of(row, {operand});
      CHECK(stack.has_value());
      if (!stack) continue;
      const auto result = result_of(row, *stack);
      CHECK(result.has_value());
      if (!result) continue;
      CHECK(result->is_alias_of(operand));
    }
    const at::Tensor strided = drawn({2, 4, 3}, at::kDouble, 3).transpose(1, 2);
    const auto of_strided = result_of(row, arguments_of(row, {strided}).value());
    if (row.has(kContiguousResult)) CHECK(of_strided.value().is_contiguous());
    if (row.has(kNeedsContiguous)) {
      const at::Tensor far = drawn({3, 2, 4}, at::kDouble, 3).transpose(0, 1);
      CHECK_FALSE(result_of(row, arguments_of(row, {far}).value()).has_value());
    }
  }
}

TEST_CASE("products of matrices with strides are contiguous where the table says so", "[graph]") {
  for (const Row& row : rows_with(kProduct | kProjects)) {
    if (!row.has(kContiguousResult)) continue;
    INFO(row.text());
    const bool is_batched = row.name == "aten::bmm" || row.name == "aten::baddbmm";
    const at::Tensor left =
        is_batched ? drawn({5, 4, 3}, at::kDouble, 1).transpose(0, 2) : drawn({4, 3}, at::kDouble, 1).t();
    const at::Tensor right =
        is_batched ? drawn({6, 5, 3}, at::kDouble, 2).permute({2, 1, 0}) : drawn({5, 4}, at::kDouble, 2).t();
    std::vector<at::Tensor> operands{left, right};
    if (row.name == "aten::addmm" || row.name == "aten::baddbmm")
      operands.insert(
          operands.begin(),
          drawn(is_batched ? std::vector<std::int64_t>{1, 1, 1} : std::vector<std::int64_t>{1}, at::kDouble, 3));
    const auto result = result_of(row, arguments_of(row, operands).value());
    CHECK(result.has_value());
    if (!result) continue;
    CHECK(result->is_contiguous());
  }
}
