// The command language on a terminal and from a file or pipe: reads commands, sends them to the
// supervisor, prints the answers. The grammar is the daemon's own (control/command_text.hpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "command.hpp"

namespace cachee::cli {

/// Runs every command that can be read from `fd`. Answers go to `out`, errors to stderr with the
/// number of the line where the command began. Exit::no when any command failed.
[[nodiscard]] Exit run_commands(int fd, Output& out, Source& source);

/// Runs one command as a line of such a file would be run; an error has no line to name.
[[nodiscard]] Exit run_command(const std::vector<std::string>& words, Output& out, Source& source);

/// A prompt on the terminal, until `exit`, `quit` or the end of input.
[[nodiscard]] Exit run_prompt(Output& out, Source& source);

/// What may stand where the last, unfinished word of `line` stands: names of commands for the
/// first word, of subcommands behind it.
[[nodiscard]] std::vector<std::string> complete_command(std::string_view line);

/// QUIT and SHUTDOWN: the connection ends with them.
[[nodiscard]] bool is_last_command(const std::vector<std::string>& words);

}  // namespace cachee::cli
