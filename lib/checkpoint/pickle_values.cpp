#include "checkpoint/pickle_values.h"

#include <algorithm>

namespace flashconvert::checkpoint {
namespace {

// LibTorch's unpickler, pickler and destructors are recursive. A module costs two levels, its object and its state.
constexpr std::uint32_t kDeepest = 256;
// A tuple that holds one value twice, which holds one twice …: some bytes that stand for billions of values.
constexpr double kMostWrittenOut = 1e6;
constexpr double kMostSharing = 100;

}  // namespace

std::string_view name_of(PickleKind kind) {
  switch (kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return "a bool";
    case PickleKind::kInt:
      return "a whole number";
    case PickleKind::kFloat:
      return "a float";
    case PickleKind::kText:
      return "a text";
    case PickleKind::kGlobal:
      return "a class or function";
    case PickleKind::kTuple:
      return "a tuple";
    case PickleKind::kList:
      return "a list";
    case PickleKind::kDict:
      return "a dict";
    case PickleKind::kNewObject:
      return "an object without its state";
    case PickleKind::kObject:
      return "an object";
    case PickleKind::kStorage:
      return "a storage";
    case PickleKind::kTensor:
      return "a tensor";
    case PickleKind::kOther:
      break;
  }
  return "another value";
}

ValueId PickleValues::add(PickleKind kind, std::int64_t number) {
  values_.push_back({kind, 0, 0, number});
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId PickleValues::add_text(std::size_t offset, std::size_t size) {
  values_.push_back({PickleKind::kText, 0, static_cast<std::uint32_t>(size), static_cast<std::int64_t>(offset)});
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId PickleValues::add_global(std::string_view module, std::string_view name) {
  globals_.push_back({module, name});
  return add(PickleKind::kGlobal, static_cast<std::int64_t>(globals_.size() - 1));
}

ValueId PickleValues::add_storage(const PickledStorage& storage) {
  storages_.push_back(storage);
  return add(PickleKind::kStorage, static_cast<std::int64_t>(storages_.size() - 1));
}

ValueId PickleValues::add_tuple(const std::vector<ValueId>& elements) {
  const ValueId id = add(PickleKind::kTuple);
  values_[id].first = static_cast<std::uint32_t>(elements_.size());
  values_[id].count = static_cast<std::uint32_t>(elements.size());
  elements_.insert(elements_.end(), elements.begin(), elements.end());
  return id;
}

std::string_view PickleValues::text(ValueId id) const {
  return pickle_.substr(static_cast<std::size_t>(values_[id].number), values_[id].count);
}

bool PickleValues::is_global(ValueId id, std::string_view module, std::string_view name) const {
  return values_[id].kind == PickleKind::kGlobal && global(id).module == module && global(id).name == name;
}

PickleValues::Contents PickleValues::contents() const {
  Contents contents;
  std::vector<std::uint32_t>& begin = contents.begin;
  begin.assign(values_.size() + 2, 0);
  const auto is_tuple = [&](std::size_t id) { return values_[id].kind == PickleKind::kTuple; };
  for (const Held& held : held_) ++begin[held.container + 2];
  for (std::size_t id = 0; id < values_.size(); ++id) begin[id + 2] += is_tuple(id) ? values_[id].count : 0;
  for (std::size_t i = 1; i < begin.size(); ++i) begin[i] += begin[i - 1];
  contents.values.resize(begin.back());
  // begin[id + 1] is where those of `id` start, and becomes where they end.
  const auto place = [&](std::size_t id, ValueId element) { contents.values[begin[id + 1]++] = element; };
  for (const Held& held : held_) place(held.container, held.element);
  for (std::size_t id = 0; id < values_.size(); ++id) {
    for (std::size_t i = 0; is_tuple(id) && i < values_[id].count; ++i) place(id, elements_[values_[id].first + i]);
  }
  return contents;
}

namespace {

// Depth first, without recursion.
class NestingCheck {
public:
  NestingCheck(const std::vector<std::uint32_t>& begin, const std::vector<ValueId>& contents, std::size_t values)
      : begin_(begin),
        contents_(contents),
        depth_(values, kUnseen),
        written_out_(values, 1),
        most_(kMostWrittenOut + kMostSharing * static_cast<double>(values)) {}

  std::string find_problem() {
    std::string problem;
    for (std::size_t start = 0; start < depth_.size() && problem.empty(); ++start) {
      if (depth_[start] == kUnseen) problem = visit(static_cast<ValueId>(start));
    }
    return problem;
  }

private:
  static constexpr std::uint32_t kUnseen = 0, kOpen = ~std::uint32_t{0};
  struct Step {
    ValueId value;
    std::uint32_t next;
  };

  void enter(ValueId value) {
    depth_[value] = kOpen;
    path_.push_back({value, begin_[value]});
  }

  std::string visit(ValueId start) {
    enter(start);
    while (!path_.empty()) {
      Step& step = path_.back();
      if (step.next < begin_[step.value + 1]) {
        const ValueId inner = contents_[step.next++];
        if (depth_[inner] == kOpen) return "a value lies within itself";
        if (depth_[inner] == kUnseen) enter(inner);
        continue;
      }
      if (std::string problem = leave(step.value); !problem.empty()) return problem;
      path_.pop_back();
    }
    return "";
  }

  std::string leave(ValueId value) {
    std::uint32_t deepest = 0;
    double sum = 1;
    for (std::uint32_t i = begin_[value]; i < begin_[value + 1]; ++i) {
      deepest = std::max(deepest, depth_[contents_[i]]);
      sum += static_cast<double>(written_out_[contents_[i]]);
    }
    if (deepest >= kDeepest) return "values lie within each other more than " + std::to_string(kDeepest) + " deep";
    if (sum > most_) {
      return "values that are shared again and again stand for more than " +
             std::to_string(static_cast<long long>(most_)) + " values";
    }
    depth_[value] = deepest + 1;
    written_out_[value] = static_cast<float>(sum);
    return "";
  }

  const std::vector<std::uint32_t>& begin_;
  const std::vector<ValueId>& contents_;
  std::vector<std::uint32_t> depth_;
  std::vector<float> written_out_;
  double most_;
  std::vector<Step> path_;
};

}  // namespace

std::string PickleValues::find_bad_nesting() const {
  const Contents all = contents();
  return NestingCheck(all.begin, all.values, values_.size()).find_problem();
}

}  // namespace flashconvert::checkpoint
