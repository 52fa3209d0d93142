// Answers of the control socket as redis-cli prints them.
#pragma once

#include <string>
#include <vector>

#include "source.hpp"

namespace cachee::cli {

/// For a terminal: typed and quoted, "(integer) 1", "\"v\"", "(nil)", "1) ...". Ends with a
/// newline.
[[nodiscard]] std::string to_typed_text(const Reply& reply);
/// For a pipe: the bytes alone, arrays one item a line, nil as an empty line. Ends with a newline.
[[nodiscard]] std::string to_raw_text(const Reply& reply);
/// True for commands whose answer is a text to be read as it is (INFO, TRIGGER SOURCE, ...).
[[nodiscard]] bool answers_with_text(const std::vector<std::string>& words);

}  // namespace cachee::cli
