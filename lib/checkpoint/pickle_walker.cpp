// The stack machine of pickles (Python's pickletools.py describes each opcode), for the opcodes that LibTorch reads.
#include "checkpoint/pickle_walker.h"

#include <algorithm>
#include <vector>

#include "checkpoint/pickle_reader.h"
#include "checkpoint/pickle_values.h"
#include "checkpoint/pickled_tensor.h"
#include "common/printable.h"

namespace flashconvert::checkpoint {
namespace {

class Walker {
public:
  Walker(std::string_view pickle, const PickleRules& rules)
      : reader_(pickle),
        rules_(rules),
        values_(pickle),
        none_(values_.add(PickleKind::kNone)),
        bool_(values_.add(PickleKind::kBool)),
        float_(values_.add(PickleKind::kFloat)),
        empty_tuple_(values_.add_tuple({})),
        other_(values_.add(PickleKind::kOther)) {}

  WalkedPickle run() {
    try {
      if (reader_.number(2) != 0x0280) fail("expected a pickle of protocol 2");
      do opcode_at_ = reader_.position();
      while (step(reader_.byte()));
      finish();
    } catch (MalformedPickle& problem) {
      problem.byte = opcode_at_;
      throw;
    }
    return std::move(walked_);
  }

private:
  [[noreturn]] static void fail(std::string problem) { throw MalformedPickle{0, std::move(problem)}; }

  void finish() {
    if (reader_.rest() != 0) fail(std::to_string(reader_.rest()) + " bytes follow the end of the pickle");
    if (!marks_.empty() || stack_.size() != 1) {
      fail("expected one value at the end of the pickle, found " + std::to_string(stack_.size()));
    }
    walked_.root = values_[stack_[0]].kind;
    if (std::string problem = values_.find_bad_nesting(); !problem.empty()) fail(std::move(problem));
  }

  // False at the end.
  bool step(unsigned opcode) {
    if (opcode == '.') return false;  // STOP
    if (!push_constant(opcode) && !push_read(opcode) && !use_memo(opcode) && !build_container(opcode) &&
        !call(opcode)) {
      fail("the opcode " + std::to_string(opcode) + ", which LibTorch does not read");
    }
    // All the constants are one value each: a value is a number of bytes of the pickle.
    if (stack_.size() > PickleValues::kMost || values_added_ > PickleValues::kMost) {
      fail("more than " + std::to_string(PickleValues::kMost) + " values");
    }
    return true;
  }

  bool push_constant(unsigned opcode) {
    switch (opcode) {
      case 'N':  // NONE
        return push(none_);
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        return push(bool_);
      case ')':  // EMPTY_TUPLE
        return push(empty_tuple_);
      case ']':  // EMPTY_LIST
        return push(add(PickleKind::kList));
      case '}':  // EMPTY_DICT
        return push(add(PickleKind::kDict));
      case '(':  // MARK
        marks_.push_back(stack_.size());
        if (marks_.size() > kDeepestMarks) fail("more than " + std::to_string(kDeepestMarks) + " open marks");
        return true;
      default:
        return false;
    }
  }

  bool push_read(unsigned opcode) {
    switch (opcode) {
      case 'K':  // BININT1
        return push(add(PickleKind::kInt, static_cast<std::int64_t>(reader_.number(1))));
      case 'M':  // BININT2
        return push(add(PickleKind::kInt, static_cast<std::int64_t>(reader_.number(2))));
      case 'J':  // BININT
        return push(add(PickleKind::kInt, static_cast<std::int32_t>(reader_.number(4))));
      case 0x8a:  // LONG1
        if (const std::uint64_t size = reader_.number(1); size != 8) {
          fail("a whole number of " + std::to_string(size) + " bytes, expected 8");
        }
        return push(add(PickleKind::kInt, static_cast<std::int64_t>(reader_.number(8))));
      case 'G':  // BINFLOAT
        reader_.take(8);
        return push(float_);
      case 'X': {  // BINUNICODE
        const std::uint64_t size = reader_.number(4);
        const std::size_t offset = reader_.position();
        reader_.take(size);
        ++values_added_;
        return push(values_.add_text(offset, static_cast<std::size_t>(size)));
      }
      case 'c': {  // GLOBAL
        const std::string_view module = reader_.line();
        ++values_added_;
        return push(values_.add_global(module, reader_.line()));
      }
      default:
        return false;
    }
  }

  bool use_memo(unsigned opcode) {
    switch (opcode) {
      case 'q':  // BINPUT
        return put(reader_.number(1));
      case 'r':  // LONG_BINPUT
        return put(reader_.number(4));
      case 'h':  // BINGET
        return get(reader_.number(1));
      case 'j':  // LONG_BINGET
        return get(reader_.number(4));
      default:
        return false;
    }
  }

  bool build_container(unsigned opcode) {
    switch (opcode) {
      case 0x85:  // TUPLE1 to TUPLE3
      case 0x86:
      case 0x87:
        return push_tuple(pop_some(opcode - 0x84));
      case 't':  // TUPLE
        return push_tuple(pop_to_mark());
      case 'l':  // LIST
        return push_filled(PickleKind::kList);
      case 'd':  // DICT
        return push_filled(PickleKind::kDict);
      case 'e':  // APPENDS
        return fill(pop_to_mark(), PickleKind::kList);
      case 'a':  // APPEND
        return fill(pop_some(1), PickleKind::kList);
      case 'u':  // SETITEMS
        return fill(pop_to_mark(), PickleKind::kDict);
      case 's':  // SETITEM
        return fill(pop_some(2), PickleKind::kDict);
      default:
        return false;
    }
  }

  bool call(unsigned opcode) {
    switch (opcode) {
      case 0x81: {  // NEWOBJ
        if (pop() != empty_tuple_) fail("a new object: expected an empty tuple of arguments");
        require_class(pop());
        return push(add(PickleKind::kNewObject));
      }
      case 'b': {  // BUILD
        const ValueId state = pop(), object = pop();
        if (values_[object].kind != PickleKind::kNewObject) {
          fail("a state for " + std::string(name_of(values_[object].kind)) + ", expected a new object");
        }
        return push_object(state);
      }
      case 'R': {  // REDUCE
        const ValueId arguments = pop(), function = pop();
        return push_result(function, arguments);
      }
      case 'Q':  // BINPERSID
        ++values_added_;
        return push(values_.add_storage(read_storage_id(values_, pop(), rules_, walked_)));
      default:
        return false;
    }
  }

  static bool is_class(const PickledGlobal& global) {
    return global.module == "__torch__" || global.module.substr(0, 10) == "__torch__.";
  }

  void require_class(ValueId id) const {
    if (values_[id].kind != PickleKind::kGlobal) {
      fail("an object of " + std::string(name_of(values_[id].kind)) + ", expected a class");
    }
    if (!is_class(values_.global(id)) && !rules_.any_function) fail_unknown(values_.global(id));
  }

  [[noreturn]] static void fail_unknown(const PickledGlobal& global) {
    fail("a call of " + printable_name(global.module) + "." + printable_name(global.name) +
         ", which is no part of TorchScript");
  }

  bool push_object(ValueId state) {
    const ValueId object = add(PickleKind::kObject);
    values_.put_into(object, state);
    return push(object);
  }

  // The functions of torch/csrc/jit/serialization/unpickler.cpp.
  bool push_result(ValueId function, ValueId arguments) {
    if (values_[function].kind != PickleKind::kGlobal) {
      fail("a call of " + std::string(name_of(values_[function].kind)) + ", expected a function");
    }
    const PickledGlobal& global = values_.global(function);
    if (is_class(global)) return push_object(arguments);
    const auto is = [&](const char* module, const char* name) { return values_.is_global(function, module, name); };
    if (is("torch._utils", "_rebuild_tensor_v2") || is("torch._utils", "_rebuild_qtensor")) {
      const bool quantized = global.name == "_rebuild_qtensor";
      return push(add(PickleKind::kTensor, check_tensor(values_, arguments, quantized, rules_)));
    }
    if (is("torch._utils", "_rebuild_sparse_tensor")) return push(add(PickleKind::kTensor, -1));
    if (is("collections", "OrderedDict")) return push(none_);
    if (is("builtins", "complex")) {
      require_arguments(arguments, {PickleKind::kFloat, PickleKind::kFloat});
      return push(other_);
    }
    if (is("torch", "device")) {
      require_arguments(arguments, {PickleKind::kText});
      return push(other_);
    }
    if (is("torch.jit._pickle", "restore_type_tag")) return push(tagged(arguments));
    if (global.module == "torch.jit._pickle" && global.name.substr(0, 6) == "build_" &&
        !is("torch.jit._pickle", "build_tensor_from_id")) {
      require_arguments(arguments, {PickleKind::kList});
      return push(values_.element(arguments, 0));
    }
    if (!rules_.any_function) fail_unknown(global);
    return push_object(arguments);
  }

  void require_arguments(ValueId arguments, const std::vector<PickleKind>& kinds) const {
    bool fit = values_[arguments].kind == PickleKind::kTuple && values_[arguments].count == kinds.size();
    for (std::size_t i = 0; fit && i < kinds.size(); ++i) {
      fit = values_[values_.element(arguments, i)].kind == kinds[i];
    }
    if (!fit) fail("a call with other arguments than expected");
  }

  // (container, "Dict[str, List[int]]")
  ValueId tagged(ValueId arguments) const {
    constexpr std::size_t kLongest = std::size_t{1} << 16;
    constexpr int kDeepest = 64;
    if (values_[arguments].kind != PickleKind::kTuple || values_[arguments].count != 2) {
      fail("a typed container: expected two values");
    }
    const ValueId container = values_.element(arguments, 0), type = values_.element(arguments, 1);
    const PickleKind kind = values_[container].kind;
    if (kind != PickleKind::kList && kind != PickleKind::kDict) {
      fail("a typed container: expected a list or a dict, found " + std::string(name_of(kind)));
    }
    if (values_[type].kind != PickleKind::kText) fail("a typed container: expected the type's name");
    const std::string_view name = values_.text(type);
    int depth = 0, deepest = 0;
    for (const char c : name) {
      depth += c == '[' || c == '(' ? 1 : c == ']' || c == ')' ? -1 : 0;
      deepest = std::max(deepest, depth);
    }
    if (name.size() > kLongest || deepest > kDeepest) fail("a type's name that is too long or nested too deeply");
    return container;
  }

  bool push_filled(PickleKind kind) {
    const std::vector<ValueId> elements = pop_to_mark();
    push(add(kind));
    return fill(elements, kind);
  }

  bool fill(const std::vector<ValueId>& elements, PickleKind kind) {
    if (stack_.size() <= floor()) fail("elements without a container");
    const ValueId container = stack_.back();
    if (values_[container].kind != kind) {
      fail("elements for " + std::string(name_of(values_[container].kind)) + ", expected " +
           std::string(name_of(kind)));
    }
    if (kind == PickleKind::kDict && elements.size() % 2 != 0) fail("a key of a dict without its value");
    for (const ValueId element : elements) values_.put_into(container, element);
    return true;
  }

  bool put(std::uint64_t index) {
    if (stack_.size() <= floor()) fail("no value to put into the memo");
    // LibTorch allocates as many places as the number says. Writers count from 0, and may leave some out.
    constexpr std::size_t kLeftOut = 256;
    const std::size_t most = puts_++ + kLeftOut;
    if (index > most) {
      fail("the memo's place " + std::to_string(index) + ", expected " + std::to_string(most) + " or less");
    }
    if (index >= memo_.size()) memo_.resize(static_cast<std::size_t>(index) + 1, kNothing);
    memo_[static_cast<std::size_t>(index)] = stack_.back();
    return true;
  }

  bool get(std::uint64_t index) {
    if (index >= memo_.size() || memo_[static_cast<std::size_t>(index)] == kNothing) {
      fail("the memo's place " + std::to_string(index) + " is empty");
    }
    return push(memo_[static_cast<std::size_t>(index)]);
  }

  ValueId add(PickleKind kind, std::int64_t number = 0) {
    ++values_added_;
    return values_.add(kind, number);
  }

  bool push_tuple(const std::vector<ValueId>& elements) {
    ++values_added_;
    return push(elements.empty() ? empty_tuple_ : values_.add_tuple(elements));
  }

  bool push(ValueId id) {
    stack_.push_back(id);
    return true;
  }

  // What lies below the latest mark is not to be taken.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  ValueId pop() { return pop_some(1)[0]; }

  std::vector<ValueId> pop_some(std::size_t count) {
    if (stack_.size() - floor() < count) fail("expected " + std::to_string(count) + " values before it");
    const auto begin = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<ValueId> taken(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    return taken;
  }

  std::vector<ValueId> pop_to_mark() {
    if (marks_.empty()) fail("expected a mark before it");
    std::vector<ValueId> taken = pop_some(stack_.size() - floor());
    marks_.pop_back();
    return taken;
  }

  static constexpr std::size_t kDeepestMarks = 1024;
  static constexpr ValueId kNothing = ~ValueId{0};

  PickleReader reader_;
  const PickleRules& rules_;
  PickleValues values_;
  const ValueId none_, bool_, float_, empty_tuple_, other_;
  std::size_t opcode_at_ = 0;
  std::size_t values_added_ = 0;
  std::vector<ValueId> stack_;
  std::vector<std::size_t> marks_;
  std::vector<ValueId> memo_;
  std::size_t puts_ = 0;
  WalkedPickle walked_;
};

}  // namespace

WalkedPickle walk_pickle(std::string_view pickle, const PickleRules& rules) { return Walker(pickle, rules).run(); }

}  // namespace flashconvert::checkpoint
