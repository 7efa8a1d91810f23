// "Did you mean …?"
#include "common/suggest.h"
#include "support/catch.h"

using flashconvert::edit_distance;
using flashconvert::nearest;

TEST_CASE("edit distance counts insertions, deletions, substitutions and swaps") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("verify", "verify") == 0);
  CHECK(edit_distance("verify", "verfy") == 1);
  CHECK(edit_distance("verify", "veriffy") == 1);
  CHECK(edit_distance("verify", "verity") == 1);
  CHECK(edit_distance("verify", "veirfy") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("the nearest candidate is offered only when it is near") {
  const std::vector<std::string> options = {"--verify", "--verbose", "--version", "--only"};
  CHECK(nearest("--verfy", options) == std::string("--verify"));
  CHECK(nearest("--onyl", options) == std::string("--only"));
  CHECK(nearest("--versoin", options) == std::string("--version"));
  CHECK_FALSE(nearest("--turbo-encabulator", options).has_value());
  CHECK_FALSE(nearest("--x", {}).has_value());
}
