// The command line: common options, the table of commands, one parser per command. CLI11 reads
// the options; what it would read otherwise than a user of a cache means it is settled here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "command.hpp"

namespace cachee::cli {

struct Common {
  Places places = default_places();
  bool json = false;
};

/// All commands in the order of the help.
[[nodiscard]] const std::vector<Command>& command_table();

/// `cachee --help`.
[[nodiscard]] std::string overview();

/// Adds -n, --json, --runtime-dir and --state-dir.
void declare_common(CLI::App& app, Common& common);
/// An app for one command, with its own and the common options.
struct CommandApp {
  CLI::App app{};
  Run run{};
};
[[nodiscard]] std::unique_ptr<CommandApp> make_app(const Command& command, Common& common);

/// Runs `cachee` with the words of its command line (without the program's name) against the
/// process's standard streams. Returns the exit code.
[[nodiscard]] int run_command_line(const std::vector<std::string>& words);

}  // namespace cachee::cli
