// Globs over module paths.
#include "common/glob.h"
#include "support/catch.h"

using flashconvert::glob_match;
using flashconvert::glob_selects;
using flashconvert::path_selected;

TEST_CASE("a glob matches the whole text") {
  CHECK(glob_match("encoder", "encoder"));
  CHECK_FALSE(glob_match("encoder", "encoder.attn"));
  CHECK_FALSE(glob_match("coder", "encoder"));
  CHECK(glob_match("", ""));
  CHECK_FALSE(glob_match("", "a"));
}

TEST_CASE("a star stands for any characters, dots included") {
  CHECK(glob_match("*", ""));
  CHECK(glob_match("*", "encoder.layers.3.attn"));
  CHECK(glob_match("*.attn", "encoder.layers.3.attn"));
  CHECK(glob_match("encoder.*.attn", "encoder.layers.3.attn"));
  CHECK_FALSE(glob_match("encoder.*.attn", "encoder.attn"));
  CHECK(glob_match("*a*b*c", "xxaxxbxxbc"));
  CHECK_FALSE(glob_match("*a*b*c", "xxaxxbxxbcd"));
  CHECK_FALSE(glob_match("a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST_CASE("a question mark and a set stand for one character") {
  CHECK(glob_match("layers.?", "layers.3"));
  CHECK_FALSE(glob_match("layers.?", "layers.12"));
  CHECK(glob_match("layers.[0-3]", "layers.2"));
  CHECK_FALSE(glob_match("layers.[0-3]", "layers.4"));
  CHECK(glob_match("layers.[!0-3]", "layers.4"));
  CHECK_FALSE(glob_match("layers.[!0-3]", "layers.1"));
  CHECK(glob_match("[]x]", "]"));
  CHECK(glob_match("[a-]", "-"));
  CHECK(glob_match("a[", "a["));  // a bracket that never closes stands for itself
}

TEST_CASE("a glob selects what it matches and everything below") {
  CHECK(glob_selects("encoder", "encoder.layers.3.attn"));
  CHECK(glob_selects("enc*.layers.3", "encoder.layers.3.attn"));
  CHECK_FALSE(glob_selects("encoder.layers.3", "encoder.layers.30.attn"));
  CHECK_FALSE(glob_selects("layers", "encoder.layers.3"));
  CHECK(glob_selects("*", ""));
  CHECK_FALSE(glob_selects("encoder", ""));
}

TEST_CASE("a path is selected by any of --only and none of --skip") {
  CHECK(path_selected({}, {}, "a.b"));
  CHECK(path_selected({"x", "a"}, {}, "a.b"));
  CHECK_FALSE(path_selected({"x"}, {}, "a.b"));
  CHECK_FALSE(path_selected({}, {"x", "*.b"}, "a.b"));
  CHECK_FALSE(path_selected({"a"}, {"a.b"}, "a.b"));
}
