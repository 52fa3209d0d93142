#include "command_line.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <iterator>
#include <span>

#include <fmt/format.h>
#include <cachee/segment_name.hpp>
#include <cachee/version.hpp>

#include "language.hpp"
#include "prompt.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

constexpr const char* kOverviewExamples =
    "  cachee set session:42 '{\"user\":42}' --ttl 30m\n"
    "  cachee get session:42\n"
    "  cachee -n orders top\n"
    "  cachee < commands.txt\n";

constexpr std::size_t kLineColumns = 80;

// In front of a word that CLI11 would take apart; no key on a command line begins with it unless
// the user meant exactly this byte, and then it is doubled.
constexpr char kMark = '\x01';

std::vector<std::string> mark(std::vector<std::string> words) {
  for (auto& word : words) {
    const bool list = word.size() >= 2 && word.front() == '[' && word.back() == ']';
    if (list || (!word.empty() && word.front() == kMark)) word.insert(word.begin(), kMark);
  }
  return words;
}

std::string unmark(std::string word) {
  if (!word.empty() && word.front() == kMark) word.erase(word.begin());
  return word;
}

[[noreturn]] void usage(const std::string& text, std::string_view help_of) {
  const std::string space = help_of.empty() ? "" : " ";
  throw Failure{Exit::usage, fmt::format("{}\nSee `cachee{}{} --help`.", text, space, help_of)};
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

/// Words in lines that a terminal holds.
std::string wrapped(const std::vector<std::string>& words) {
  std::string text;
  std::size_t column = kLineColumns;
  for (const auto& word : words) {
    if (column + word.size() + 1 > kLineColumns) {
      text += text.empty() ? " " : "\n ";
      column = 1;
    }
    text += " " + word;
    column += word.size() + 1;
  }
  return text + "\n";
}

/// The command at the front of `words`, whose words are taken off. Null: they are a command of the
/// command language. What exists here and there is ours, in lower case as the help writes it.
const Command* find_command(std::vector<std::string>& words) {
  const std::string& first = words.front();
  std::vector<std::string> names;
  std::vector<std::string> verbs;
  for (const auto& command : command_table()) {
    if (command.words == first) {
      words.erase(words.begin());
      return &command;
    }
    const std::size_t space = command.words.find(' ');
    const std::string noun = command.words.substr(0, space);
    if (std::find(names.begin(), names.end(), noun) == names.end()) names.push_back(noun);
    if (space == std::string::npos || noun != first) continue;
    verbs.push_back(command.words.substr(space + 1));
    if (words.size() > 1 && words[1] == verbs.back()) {
      words.erase(words.begin(), words.begin() + 2);
      return &command;
    }
  }
  const std::size_t telling = verbs.empty() ? 1 : 2;  // words that say whose command it is
  if (words.size() >= telling && begins_command(std::span{words}.first(telling))) return nullptr;
  if (verbs.empty()) {
    for (const auto& word : language_first_words()) names.push_back(lower(word));
    const auto near = nearest(lower(first), names);
    usage(fmt::format("unknown command '{}'{}", first,
                      near ? fmt::format(": did you mean '{}'?", *near) : ""),
          "");
  }
  if (words.size() < 2 || words[1].starts_with('-')) {
    usage(fmt::format("'{}' needs one of: {}", first, fmt::join(verbs, ", ")), "");
  }
  const auto near = nearest(words[1], verbs);
  usage(fmt::format("unknown command '{} {}'{}", first, words[1],
                    near ? fmt::format(": did you mean '{} {}'?", first, *near)
                         : fmt::format(": '{}' knows {}", first, fmt::join(verbs, ", "))),
        "");
}

/// `cachee KEYS --help`: no option of ours, and no pattern that a user means.
std::string language_help(const std::string& word) {
  return fmt::format(
      "Usage: cachee [OPTION]... {0} [ARGUMENT]...\n\n"
      "A command of the control socket, which cacheed answers as it answers a line of a command file.\n"
      "`cachee COMMAND DOCS {0}` says what it does; daemon/doc/commands.md has them all.\n",
      upper(word));
}

/// `cachee trigger --help`: the commands of one noun.
std::string noun_overview(const std::string& noun) {
  std::string text = fmt::format("Usage: cachee [OPTION]... {} COMMAND ...\n\n", noun);
  for (const auto& command : command_table()) {
    if (command.words.starts_with(noun + " ")) {
      text += fmt::format("  cachee {:<20} {}\n", command.words, command.summary);
    }
  }
  return text + fmt::format("\n`cachee {} COMMAND --help` has the options and an example.\n", noun);
}

void check_common(const Common& common) {
  if (!is_segment_name(common.places.name)) {
    throw Failure{Exit::usage,
                  fmt::format("'{}' cannot name a segment: use {}", common.places.name,
                              kSegmentNameRule)};
  }
}

std::vector<std::string> reversed(std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  return words;
}

Exit run(std::vector<std::string> words, Output& out) {
  Common common;
  CLI::App root;
  root.prefix_command();
  root.set_help_flag();
  bool help = false;
  bool version = false;
  declare_common(root, common);
  root.add_flag("-h,--help", help);
  root.add_flag("--version", version);
  try {
    root.parse(reversed(mark(words)));
  } catch (const CLI::ParseError& error) {
    usage(error.what(), "");
  }
  std::vector<std::string> rest;
  for (auto& word : root.remaining()) rest.push_back(unmark(std::move(word)));
  if (help || version) {
    out.write(help ? overview() : fmt::format("cachee {}\n", kVersion));
    return Exit::yes;
  }
  if (!rest.empty() && rest.front().starts_with('-')) {
    usage(fmt::format("unknown option '{}'", rest.front()), "");
  }
  const auto configure = [&] {
    out.configure({.json = common.json,
                   .terminal = is_terminal(STDOUT_FILENO),
                   .colour = wants_colour(STDOUT_FILENO)});
  };
  if (rest.empty()) {
    check_common(common);
    configure();
    Source source{common.places};
    return is_terminal(STDIN_FILENO) ? run_prompt(out, source)
                                     : run_commands(STDIN_FILENO, out, source);
  }
  if (rest.size() == 2 && (rest[1] == "--help" || rest[1] == "-h")) {
    const std::string text = noun_overview(rest[0]);
    if (text.find("  cachee ") != std::string::npos) {
      out.write(text);
      return Exit::yes;
    }
  }
  const Command* const found = find_command(rest);
  if (found == nullptr) {
    if (rest.size() == 2 && rest[1] == "--help") {
      out.write(language_help(rest[0]));
      return Exit::yes;
    }
    check_common(common);
    configure();
    Source source{common.places};
    return run_command(rest, out, source);
  }
  const Command& command = *found;
  const auto made = make_app(command, common);
  try {
    made->app.parse(reversed(mark(std::move(rest))));
  } catch (const CLI::CallForHelp&) {
    out.write(made->app.help());
    return Exit::yes;
  } catch (const CLI::ParseError& error) {
    usage(fmt::format("{}: {}", command.words, error.what()), command.words);
  }
  check_common(common);
  configure();
  Source source{common.places};
  Context context{out, source};
  return made->run(context);
}

/// A reader that left (`cachee scan | head`) is no error worth words; a full disk is.
Exit finish_output(Output& out, Exit exit) {
  out.flush();
  if (!out.failed()) return exit;
  if (out.error() != EPIPE) say("cannot write to standard output: {}", std::strerror(out.error()));
  return Exit::no;
}

}  // namespace

const std::vector<Command>& command_table() {
  static const std::vector<Command> table = [] {
    std::vector<Command> all;
    for (auto part : {key_commands(), stat_commands(), inspect_commands(), fsck_commands(),
                      bulk_commands(), bench_commands(), trigger_commands(), group_commands(), delivery_commands()}) {
      std::move(part.begin(), part.end(), std::back_inserter(all));
    }
    return all;
  }();
  return table;
}

std::string overview() {
  std::string text =
      "Usage: cachee [OPTION]... COMMAND ...\n"
      "       cachee [OPTION]... [< FILE]\n\n"
      "Reads, writes and looks after a Cachee segment. Without a command: a prompt on a terminal,\n"
      "else commands from standard input.\n";
  std::string group;
  for (const auto& command : command_table()) {
    if (command.group != group) text += fmt::format("\n{}:\n", command.group);
    group = command.group;
    text += fmt::format("  {:<17} {}\n", command.words, command.summary);
  }
  text +=
      "\nEvery command of the control socket, answered by cacheed as a line of a command file is; in\n"
      "capital letters where one of the above has its name:\n";
  text += wrapped(language_first_words());
  text +=
      "\nOptions, before or after the command; before it when it is one of the control socket:\n"
      "  -n, --name NAME    segment (default: default)\n"
      "  --json             print JSON; every field of the text and more\n"
      "  --runtime-dir DIR  where the control socket is (default: $CACHEE_RUNTIME_DIR,\n"
      "                     $XDG_RUNTIME_DIR/cachee, /run/cachee)\n"
      "  --state-dir DIR    where logs are (default: $CACHEE_STATE_DIR, /var/lib/cachee for root,\n"
      "                     $XDG_STATE_HOME/cachee)\n"
      "  --version          print the version\n"
      "  -h, --help         print this, or the help of a command\n"
      "\nExit status: 0 yes, 1 no (not found, damage found, refused), 2 usage, 3 cannot attach.\n"
      "\nExamples:\n";
  return text + kOverviewExamples;
}

void declare_common(CLI::App& app, Common& common) {
  const std::string group = "Common options";
  // `trigger register --name` names the trigger; behind that command the segment is -n alone.
  const bool taken = app.get_option_no_throw("--name") != nullptr;
  declare_word(app, taken ? "-n" : "-n,--name", common.places.name, "Segment")->group(group);
  app.add_flag("--json", common.json, "Print JSON")->group(group);
  declare_word(app, "--runtime-dir", common.places.runtime_dir, "Where the control socket is")
      ->group(group);
  declare_word(app, "--state-dir", common.places.state_dir, "Where logs are")->group(group);
}

std::unique_ptr<CommandApp> make_app(const Command& command, Common& common) {
  auto made = std::make_unique<CommandApp>();
  CLI::App& app = made->app;
  app.name("cachee " + command.words);
  app.description(command.summary);
  app.set_help_flag("-h,--help", "Print this help");
  std::string example = "Example:\n";
  std::string_view lines = command.example;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    example += fmt::format("  {}\n", lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  app.footer(example);
  made->run = command.declare(app);
  declare_common(app, common);
  return made;
}

CLI::Option* declare_word(CLI::App& app, const std::string& name, std::string& word,
                          const std::string& help) {
  return app.add_option_function<std::string>(
      name, [&word](const std::string& given) { word = unmark(given); }, help);
}

CLI::Option* declare_words(CLI::App& app, const std::string& name, std::vector<std::string>& words,
                           const std::string& help) {
  return app.add_option_function<std::vector<std::string>>(
      name,
      [&words](const std::vector<std::string>& given) {
        words.clear();
        for (const auto& word : given) words.push_back(unmark(word));
      },
      help);
}

CLI::Option* declare_repeated(CLI::App& app, const std::string& name,
                              std::vector<std::string>& words, const std::string& help) {
  return declare_words(app, name, words, help)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* declare_exactly(CLI::App& app, const std::string& name,
                             std::vector<std::string>& words, std::size_t count,
                             const std::string& help) {
  const auto take = [&words, name, count](const std::vector<std::string>& given) {
    if (given.size() != count) {
      throw CLI::ValidationError{name, fmt::format("expected {} values, not {}", count, given.size())};
    }
    words.clear();
    for (const auto& word : given) words.push_back(unmark(word));
  };
  return app.add_option_function<std::vector<std::string>>(name, take, help)
      ->expected(static_cast<int>(count))
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* declare_integer(CLI::App& app, const std::string& name,
                             std::function<void(std::int64_t)> take, const std::string& help,
                             const IntegerRange& range) {
  return app
      .add_option_function<std::string>(
          name,
          [name, take = std::move(take), range](const std::string& given) {
            const auto number = parse_integer(unmark(given));
            if (number && *number >= range.low && *number <= range.high) return take(*number);
            throw CLI::ValidationError{name, fmt::format("'{}': expected a whole number from {} to {}",
                                                         unmark(given), range.low, range.high)};
          },
          help)
      ->type_name("N");
}

CLI::Option* declare_decimal(CLI::App& app, const std::string& name,
                             std::function<void(double)> take, const std::string& help,
                             const DecimalRange& range) {
  return app
      .add_option_function<std::string>(
          name,
          [name, take = std::move(take), range](const std::string& given) {
            const auto number = parse_double(unmark(given));
            if (number && *number >= range.low && *number <= range.high) return take(*number);
            throw CLI::ValidationError{
                name, fmt::format("'{}': expected {}", unmark(given), range.words)};
          },
          help)
      ->type_name("NUMBER");
}

std::chrono::nanoseconds duration_of(const std::string& option, const std::string& text) {
  const auto duration = parse_duration(text);
  if (!duration) {
    if (is_too_long(text)) {
      throw Failure{Exit::usage, fmt::format("{}: '{}' is too long: at most {}d, a century", option,
                                             text, kDurationDaysMax)};
    }
    throw Failure{
        Exit::usage,
        fmt::format("{}: '{}' is no duration: expected a number with us, ms, s, m, h or d, "
                    "for instance 30m",
                    option, text)};
  }
  return *duration;
}

int run_command_line(const std::vector<std::string>& words) {
  Output out{std::cout, {}};
  Exit exit = Exit::yes;
  try {
    exit = run(words, out);
  } catch (const Failure& failure) {
    exit = failure.exit;
    out.flush();
    say("{}", failure.text);
  } catch (const std::exception& error) {
    exit = Exit::no;
    out.flush();
    say("{}", error.what());
  }
  return static_cast<int>(finish_output(out, exit));
}

}  // namespace cachee::cli
