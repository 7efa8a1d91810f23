// A pickle machine that keeps text and the tuples of storages, and of everything else only that it is there.
#include "checkpoint/pickled_storages.h"

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace flashconvert::checkpoint {
namespace {

struct Malformed {};

struct Value {
  enum class Kind { kMark, kText, kTuple, kOther };
  Kind kind = Kind::kOther;
  std::string text;
  std::vector<std::string> texts;  // of a tuple's elements
};

// The opcodes of torch/csrc/jit/serialization/pickler.h that are written, by Python's names for them.
class Machine {
public:
  explicit Machine(std::string_view pickle) : rest_(pickle) {}

  std::map<std::string, std::string> run() {
    while (step(byte())) {
    }
    return std::move(locations_);
  }

private:
  // False at the end.
  bool step(std::uint8_t opcode) {
    switch (opcode) {
      case '.':  // STOP
        return false;
      case 0x80:  // PROTO
        take(1);
        return true;
      case '(':
        push({Value::Kind::kMark, {}, {}});
        return true;
      case 'X':  // BINUNICODE
        push({Value::Kind::kText, std::string(take(number(4))), {}});
        return true;
      case 'q':  // BINPUT
        memo_[number(1)] = top();
        return true;
      case 'r':  // LONG_BINPUT
        memo_[number(4)] = top();
        return true;
      case 'h':  // BINGET
        recall(number(1));
        return true;
      case 'j':  // LONG_BINGET
        recall(number(4));
        return true;
      case 't':  // TUPLE
        push(tuple(take_to_mark()));
        return true;
      case 'Q':  // BINPERSID
        note_storage(pop());
        push({});
        return true;
      default:
        return plain_value(opcode) || container(opcode) || (throw Malformed{}, false);
    }
  }

  bool plain_value(std::uint8_t opcode) {
    switch (opcode) {
      case 'N':   // NONE
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
      case ')':   // EMPTY_TUPLE
      case ']':   // EMPTY_LIST
      case '}':   // EMPTY_DICT
        break;
      case 'K':  // BININT1
        take(1);
        break;
      case 'M':  // BININT2
        take(2);
        break;
      case 'J':  // BININT
        take(4);
        break;
      case 'G':  // BINFLOAT
        take(8);
        break;
      case 0x8a:  // LONG1
        take(number(1));
        break;
      case 'c':  // GLOBAL
        take_line();
        take_line();
        break;
      default:
        return false;
    }
    push({});
    return true;
  }

  bool container(std::uint8_t opcode) {
    switch (opcode) {
      case 0x85:  // TUPLE1 to TUPLE3
      case 0x86:
      case 0x87:
        for (int i = 0x84; i < opcode; ++i) pop();
        push({});
        return true;
      case 'e':  // APPENDS
      case 'u':  // SETITEMS
        take_to_mark();
        return true;
      case 's':  // SETITEM
        pop();
        pop();
        return true;
      case 'a':  // APPEND
      case 'b':  // BUILD
      case '0':  // POP
        pop();
        return true;
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        pop();
        pop();
        push({});
        return true;
      default:
        return false;
    }
  }

  // ("storage", its type, key, location, number of elements)
  void note_storage(const Value& id) {
    if (id.kind != Value::Kind::kTuple || id.texts.size() != 5 || id.texts[0] != "storage") throw Malformed{};
    locations_[id.texts[2]] = id.texts[3];
  }

  static Value tuple(const std::vector<Value>& elements) {
    Value tuple{Value::Kind::kTuple, {}, {}};
    constexpr std::size_t kOfStorage = 5;
    if (elements.size() != kOfStorage) return {};
    for (const Value& element : elements) tuple.texts.push_back(element.text);
    return tuple;
  }

  std::vector<Value> take_to_mark() {
    std::size_t mark = stack_.size();
    while (mark > 0 && stack_[mark - 1].kind != Value::Kind::kMark) --mark;
    if (mark == 0) throw Malformed{};
    std::vector<Value> elements(std::make_move_iterator(stack_.begin() + static_cast<std::ptrdiff_t>(mark)),
                                std::make_move_iterator(stack_.end()));
    stack_.resize(mark - 1);
    return elements;
  }

  void recall(std::uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) throw Malformed{};
    push(found->second);
  }

  void push(Value value) { stack_.push_back(std::move(value)); }

  const Value& top() const {
    if (stack_.empty()) throw Malformed{};
    return stack_.back();
  }

  Value pop() {
    Value value = top();
    stack_.pop_back();
    return value;
  }

  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) throw Malformed{};
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  void take_line() {
    const std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) throw Malformed{};
    rest_.remove_prefix(end + 1);
  }

  std::uint8_t byte() { return static_cast<std::uint8_t>(take(1)[0]); }

  std::uint64_t number(int bytes) {  // little-endian
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }

  std::string_view rest_;
  std::vector<Value> stack_;
  std::map<std::uint64_t, Value> memo_;
  std::map<std::string, std::string> locations_;
};

}  // namespace

std::optional<std::map<std::string, std::string>> read_storage_locations(std::string_view pickle) {
  try {
    return Machine(pickle).run();
  } catch (const Malformed&) {
    return std::nullopt;
  }
}

}  // namespace flashconvert::checkpoint
