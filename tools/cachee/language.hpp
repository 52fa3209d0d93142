// The names of the command language, for the command line and the prompt. They come from the page
// that is made from the daemon's table (daemon/doc/commands.md) when this is built.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cachee::cli {

/// The names on the page, in its order; language_names.cmake writes this.
[[nodiscard]] std::span<const std::string_view> page_names();

/// "GET", "CLIENT ID", "TRIGGER DLQ HELP": every command and subcommand, in order.
[[nodiscard]] const std::vector<std::string>& language_names();

/// The first words of these names, each once.
[[nodiscard]] const std::vector<std::string>& language_first_words();

/// True when a command begins with these words, in any case.
[[nodiscard]] bool begins_command(std::span<const std::string> words);

/// What may stand behind `words`, in capital letters: nothing behind a command without subcommands.
[[nodiscard]] std::vector<std::string> next_words(std::span<const std::string> words);

/// ASCII only, as the daemon reads names of commands.
[[nodiscard]] std::string upper(std::string_view text);

}  // namespace cachee::cli
