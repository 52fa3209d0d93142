// Command: one noun (and verb) of the command line. Each cmd_*.cpp returns its own; main.cpp and
// the page and completion maker (doc/generate.cpp) walk the same table.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <CLI/CLI.hpp>

#include "output.hpp"
#include "source.hpp"

namespace cachee::cli {

enum class Exit : int { yes = 0, no = 1, usage = 2, cannot_attach = 3 };

/// Ends a command with a message for people. Thrown anywhere below run(); main.cpp prints it.
struct Failure {
  Exit exit = Exit::no;
  std::string text{};
};

/// What a running command has at hand.
struct Context {
  Output& out;
  Source& source;
};

using Run = std::function<Exit(Context&)>;

struct Command {
  std::string words{};    // "get", "trigger register"
  std::string group{};    // heading in `cachee --help`
  std::string summary{};  // one line without a full stop
  std::string example{};  // command lines, one a line
  /// Adds the options and returns what to run once they are parsed.
  std::function<Run(CLI::App&)> declare{};
};

inline constexpr const char* kSegmentGroup = "On the segment, supervisor dead or alive";
inline constexpr const char* kSupervisorGroup = "Through the supervisor";

// Every option and argument that takes a word is declared by one of these. CLI11 alone would
// read a key like "[a,b]" as a list of two.

CLI::Option* declare_word(CLI::App& app, const std::string& name, std::string& word,
                          const std::string& help);
/// A positional argument that takes one word or more.
CLI::Option* declare_words(CLI::App& app, const std::string& name, std::vector<std::string>& words,
                           const std::string& help);
/// An option that takes one word and may be given again.
CLI::Option* declare_repeated(CLI::App& app, const std::string& name,
                              std::vector<std::string>& words, const std::string& help);

/// An option that takes exactly so many words, once.
CLI::Option* declare_exactly(CLI::App& app, const std::string& name,
                             std::vector<std::string>& words, std::size_t count,
                             const std::string& help);

// Numbers. CLI11 alone reads 010 as octal, nothing as 0, and cuts what is too large for the type.

struct IntegerRange {
  std::int64_t low = 0;
  std::int64_t high = std::numeric_limits<std::int64_t>::max();
};
CLI::Option* declare_integer(CLI::App& app, const std::string& name,
                             std::function<void(std::int64_t)> take, const std::string& help,
                             const IntegerRange& range);
/// The same into a variable of any integer type, or an optional of one; the range must fit it.
template <class Number>
CLI::Option* declare_integer(CLI::App& app, const std::string& name, Number& number,
                             const std::string& help, const IntegerRange& range = {}) {
  const auto take = [&number](std::int64_t given) {
    if constexpr (std::is_integral_v<Number>) {
      number = static_cast<Number>(given);
    } else {
      number = static_cast<typename Number::value_type>(given);
    }
  };
  return declare_integer(app, name, std::function<void(std::int64_t)>{take}, help, range);
}

struct DecimalRange {
  double low = 0;
  double high = 0;
  const char* words = "";  // behind "expected"
};
CLI::Option* declare_decimal(CLI::App& app, const std::string& name,
                             std::function<void(double)> take, const std::string& help,
                             const DecimalRange& range);

/// The value of a duration option, or Failure{usage} that names the option.
[[nodiscard]] std::chrono::nanoseconds duration_of(const std::string& option,
                                                   const std::string& text);

/// Prints "OK" or whatever short answer a change has.
Exit print_answer(Context& context, const Reply& reply);

[[nodiscard]] std::vector<Command> key_commands();      // get set del exists ttl expire incr scan
[[nodiscard]] std::vector<Command> stat_commands();     // stat top
[[nodiscard]] std::vector<Command> inspect_commands();  // clients slabs ring events
[[nodiscard]] std::vector<Command> fsck_commands();
[[nodiscard]] std::vector<Command> bulk_commands();  // load dump
[[nodiscard]] std::vector<Command> bench_commands();
[[nodiscard]] std::vector<Command> trigger_commands();
[[nodiscard]] std::vector<Command> group_commands();
[[nodiscard]] std::vector<Command> delivery_commands();  // dlq outbox log trace verify

}  // namespace cachee::cli
