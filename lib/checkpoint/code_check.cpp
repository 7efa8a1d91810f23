#include "checkpoint/code_check.h"

#include <cctype>
#include <vector>

namespace flashconvert::checkpoint {
namespace {

// LibTorch splits long expressions over several statements when it writes them.
constexpr std::size_t kDeepestExpression = 400;  // brackets, and operators that are each other's operands
constexpr std::size_t kDeepestBlocks = 60;       // an elif counts as a block in the one before
constexpr std::size_t kMostElements = 50'000;    // of one list; the time for a list grows with its square
constexpr std::size_t kLongestLine = std::size_t{1} << 20;

class CodeCheck {
public:
  explicit CodeCheck(std::string_view code) : code_(code) {}

  std::optional<CodeProblem> run() {
    while (at_ < code_.size() && !problem_) {
      if (line_begins_) begin_line();
      if (at_ < code_.size() && !problem_) token();
    }
    if (!problem_ && !line_begins_) end_line('\n');  // a last line without an end
    return problem_;
  }

private:
  // Type comments are code to LibTorch.
  bool is_comment(std::size_t at) const { return code_[at] == '#' && code_.substr(at, 7) != "# type:"; }

  struct Level {  // an open bracket, or the statement itself
    std::size_t operators = 0;
    std::size_t elements = 0;
  };
  struct Block {
    std::size_t indent = 0;
    std::size_t elifs = 0;
  };

  void fail(std::string problem) {
    if (!problem_) problem_ = CodeProblem{at_, std::move(problem)};
  }

  void begin_line() {
    const std::size_t text = code_.find_first_not_of(" \t\r", at_);
    if (text == std::string_view::npos || code_[text] == '\n' || is_comment(text)) {  // an empty line has no indent
      at_ = text == std::string_view::npos ? code_.size() : code_.find('\n', text);
      at_ = at_ == std::string_view::npos ? code_.size() : at_ + 1;
      return;
    }
    const std::size_t indent = text - at_;
    at_ = text;
    line_begins_ = false;
    line_at_ = at_;
    levels_.assign(1, {});
    operators_ = 0;
    enter_block(indent);
  }

  void enter_block(std::size_t indent) {
    while (!blocks_.empty() && blocks_.back().indent > indent) {
      elifs_ -= blocks_.back().elifs;
      blocks_.pop_back();
    }
    if (blocks_.empty() || blocks_.back().indent < indent) blocks_.push_back({indent, 0});
    const std::string_view rest = code_.substr(at_);
    const bool goes_on = rest.substr(0, 4) == "elif";
    if (!goes_on && rest.substr(0, 4) != "else") {
      elifs_ -= blocks_.back().elifs;
      blocks_.back().elifs = 0;
    } else if (goes_on) {
      ++blocks_.back().elifs;
      ++elifs_;
    }
    if (blocks_.size() + elifs_ > kDeepestBlocks) {
      fail("blocks lie within each other more than " + std::to_string(kDeepestBlocks) + " deep");
    }
  }

  void token() {
    const char c = code_[at_];
    if (c == '"' || c == '\'') return string(c);
    if (is_comment(at_)) return skip_to_line_end();
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_') return word();
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) return number();
    ++at_;
    if (c == '(' || c == '[' || c == '{') {
      count_operator();  // a call or an index of what stands before it
      levels_.push_back({});
      check_depth();
    } else if (c == ')' || c == ']' || c == '}') {
      if (levels_.size() > 1) leave_level();
    } else if (c == ',') {
      next_element();
    } else if (c == '\\' && at_ < code_.size() && code_[at_] == '\n') {
      ++at_;
    } else if (c == '\n' || c == ';') {
      end_line(c);
    } else if (std::ispunct(static_cast<unsigned char>(c)) != 0) {
      count_operator();
    }
  }

  void end_line(char c) {
    if (levels_.size() > 1) return;  // within brackets a line end is a space
    if (at_ - line_at_ > kLongestLine) fail("a statement of more than " + std::to_string(kLongestLine) + " bytes");
    line_begins_ = c == '\n';
    levels_.assign(1, {});
    operators_ = 0;
  }

  void count_operator() {
    ++levels_.back().operators;
    ++operators_;
    check_depth();
  }

  void check_depth() {
    if (operators_ + levels_.size() > kDeepestExpression) {
      fail("an expression of more than " + std::to_string(kDeepestExpression) +
           " operators and brackets within each other");
    }
  }

  void leave_level() {
    operators_ -= levels_.back().operators;
    levels_.pop_back();
  }

  void next_element() {
    operators_ -= levels_.back().operators;
    levels_.back().operators = 0;
    if (++levels_.back().elements > kMostElements) {
      fail("a list of more than " + std::to_string(kMostElements) + " elements");
    }
  }

  void word() {
    const std::size_t begin = at_;
    while (at_ < code_.size() && (std::isalnum(static_cast<unsigned char>(code_[at_])) != 0 || code_[at_] == '_'))
      ++at_;
    const std::string_view word = code_.substr(begin, at_ - begin);
    for (const std::string_view name : {"not", "and", "or", "if", "in", "is", "lambda", "await"}) {
      if (word == name) count_operator();
    }
  }

  void number() {
    while (at_ < code_.size() && (std::isalnum(static_cast<unsigned char>(code_[at_])) != 0 || code_[at_] == '.'))
      ++at_;
  }

  void string(char quote) {
    const std::string_view three = code_.substr(at_, 3);
    const bool is_long = three.size() == 3 && three[1] == quote && three[2] == quote;
    const std::size_t marks = is_long ? 3 : 1;
    const std::string_view end = code_.substr(at_, marks);
    for (at_ += marks; at_ < code_.size(); ++at_) {
      if (code_[at_] == '\\') {
        ++at_;
      } else if (code_.substr(at_, marks) == end) {
        at_ += marks;
        return;
      }
    }
    at_ = code_.size();  // the compiler says that it has no end
  }

  void skip_to_line_end() {
    at_ = code_.find('\n', at_);
    if (at_ == std::string_view::npos) at_ = code_.size();
  }

  std::string_view code_;
  std::size_t at_ = 0;
  std::size_t line_at_ = 0;
  bool line_begins_ = true;
  std::vector<Level> levels_{1};
  std::size_t operators_ = 0;  // of all open levels
  std::vector<Block> blocks_;
  std::size_t elifs_ = 0;  // of all open blocks
  std::optional<CodeProblem> problem_;
};

}  // namespace

std::optional<CodeProblem> find_code_problem(std::string_view code) { return CodeCheck(code).run(); }

}  // namespace flashconvert::checkpoint
