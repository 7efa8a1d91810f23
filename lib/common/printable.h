// Text from a file, made fit for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace flashconvert {

// The text with everything escaped ("\x1b") that a terminal could take for a command or that is not UTF-8: control
// characters but for line ends and tabs, and the marks that turn the direction of text. `allow_colors` lets colour
// sequences (ESC [ digits m) pass, for lines that we coloured ourselves.
std::string printable(std::string_view text, bool allow_colors = false);

// For a name inside a line: line ends and tabs are escaped, too, and a long one is cut.
std::string printable_name(std::string_view name);

}  // namespace flashconvert
