// What of a file's text reaches a terminal.
#include "common/printable.h"

#include "support/catch.h"

namespace flashconvert {
namespace {

TEST_CASE("a terminal gets text and no commands") {
  CHECK(printable("plain\ttext\n") == "plain\ttext\n");
  CHECK(printable("Größe 大") == "Größe 大");
  CHECK(printable("\x1b[2J") == "\\x1b[2J");
  CHECK(printable("\x1b[31mred\x1b[0m", true) == "\x1b[31mred\x1b[0m");
  CHECK(printable("\x1b[31mred") == "\\x1b[31mred");
  CHECK(printable("\x1b]0;title\x07", true) == "\\x1b]0;title\\x07");
  CHECK(printable("\xc2\x9b"
                  "2J") == "\\xc2\\x9b2J");  // CSI as one character
  CHECK(printable("\xe2\x80\xae"
                  "x") == "\\xe2\\x80\\xaex");            // right to left from here
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");           // not UTF-8
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable("a\rb") == "a\\x0db");
}

TEST_CASE("a name stays on its line, and is cut when it is long") {
  CHECK(printable_name("a\nb\tc") == "a\\nb\\tc");
  CHECK(printable_name(std::string(1000, 'x')).size() < 200);
}

}  // namespace
}  // namespace flashconvert
