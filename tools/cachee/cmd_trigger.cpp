// trigger ...: the registry of triggers, through the supervisor.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "command.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file;
  errno = 0;
  if (path != "-") file.open(path, std::ios::binary);
  std::istream& in = path == "-" ? std::cin : file;
  std::string bytes;
  if (in) bytes.assign(std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{});
  if (in.bad() || (path != "-" && !file.is_open())) {
    throw Failure{Exit::no,
                  fmt::format("cannot read {}: {}", path, std::strerror(errno == 0 ? EIO : errno))};
  }
  return bytes;
}

std::string milliseconds_of(const std::string& option, const std::string& text) {
  const auto duration = duration_of(option, text);
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

struct RegisterOptions {
  std::string pattern{};
  std::string events{};
  std::string file{};
  std::string name{};
  std::optional<std::int64_t> priority{};
  std::string on_full{};
  std::optional<std::uint64_t> retry{};
  std::vector<std::string> backoff{};
  std::string timeout{};
  std::string memory{};
  std::optional<std::uint64_t> steps{};
  std::optional<std::uint64_t> sample{};
  std::optional<std::uint64_t> depth_max{};
  bool disabled = false;
};

std::vector<std::string> register_words(const RegisterOptions& options) {
  std::vector<std::string> words{"TRIGGER", "REGISTER", options.pattern, options.events};
  const auto add = [&](const char* word, auto&&... values) {
    words.emplace_back(word);
    (words.emplace_back(values), ...);
  };
  const auto add_number = [&](const char* word, const auto& number) {
    if (number) add(word, std::to_string(*number));
  };
  if (!options.name.empty()) add("NAME", options.name);
  add_number("PRIORITY", options.priority);
  if (options.on_full == "shed") {
    add("ON_FULL", "SHED");
  } else if (!options.on_full.empty()) {
    add("ON_FULL", "BLOCK", milliseconds_of("--on-full", options.on_full));
  }
  add_number("RETRY", options.retry);
  if (!options.backoff.empty()) {
    add("BACKOFF", milliseconds_of("--backoff", options.backoff[0]) + "ms",
        milliseconds_of("--backoff", options.backoff[1]) + "ms");
  }
  if (!options.timeout.empty()) add("TIMEOUT", milliseconds_of("--timeout", options.timeout));
  if (!options.memory.empty()) {
    const auto bytes = parse_bytes(options.memory);
    if (!bytes) {
      throw Failure{
          Exit::usage,
          fmt::format("--memory: '{}' is no size: expected a number with KiB, MiB or GiB, "
                      "for instance 16MiB",
                      options.memory)};
    }
    add("MEMORY", std::to_string(*bytes));
  }
  add_number("STEPS", options.steps);
  add_number("SAMPLE", options.sample);
  add_number("MAXDEPTH", options.depth_max);
  if (options.disabled) add("DISABLED");
  words.push_back(read_file(options.file));
  return words;
}

Command register_command() {
  return {
      .words = "trigger register",
      .group = kSupervisorGroup,
      .summary = "Register a Lua handler for events of keys; - reads it from standard input",
      .example =
          "cachee trigger register 'session:*' ON_EXPIRE,ON_DELETE session.lua --retry 8\n"
          "echo 'cachee.log(\"writes\", {key = event.key})' | cachee trigger register "
          "'k:*' ON_WRITE -",
      .declare = [](CLI::App& app) -> Run {
        auto options = std::make_shared<RegisterOptions>();
        declare_word(app, "pattern", options->pattern, "Keys: * ? [a-z] [^x] and \\")->required();
        declare_word(app, "events", options->events,
                     "One or more, joined by commas: ON_WRITE ON_EVICT ON_EXPIRE ON_DELETE ON_READ")
            ->required();
        declare_word(app, "file", options->file, "Lua source; - for standard input")->required();
        declare_word(app, "--name", options->name,
                     "Name of the trigger (default: PATTERN@EVENT); replaces one of that name. "
                     "The segment is -n");
        declare_integer(app, "--priority", options->priority, "High first (default: 0)",
                        {.low = std::numeric_limits<std::int64_t>::min()});
        declare_word(app, "--on-full", options->on_full,
                     "How long a writer waits for room (default: 1s), or `shed`");
        declare_integer(app, "--retry", options->retry, "Attempts in all (default: 5)");
        declare_exactly(app, "--backoff", options->backoff, 2,
                        "Shortest and longest wait between attempts (default: 50ms 30s)");
        declare_word(app, "--timeout", options->timeout, "Wall clock of one run (default: 100ms)");
        declare_word(app, "--memory", options->memory, "Lua memory of one run (default: 16MiB)");
        declare_integer(app, "--steps", options->steps, "VM instructions of one run (default: 1000000)");
        declare_integer(app, "--sample", options->sample,
                        "1 in so many events, for ON_READ (default: 1)");
        declare_integer(app, "--max-depth", options->depth_max,
                        "How deep triggers may set off triggers (default: 4)");
        app.add_flag("--disabled", options->disabled, "Register without switching on");
        return [options](Context& context) {
          const auto words = register_words(*options);
          return print_answer(context, context.source.supervisor().require(words));
        };
      }};
}

Command trigger_list_command() {
  return {
      .words = "trigger list",
      .group = kSupervisorGroup,
      .summary = "List the triggers, in the order in which they run",
      .example = "cachee trigger list",
      .declare = [](CLI::App&) -> Run {
        return [](Context& context) {
          context.out.print(to_records(context.source.supervisor().require({"TRIGGER", "LIST"})));
          return Exit::yes;
        };
      }};
}

Command show_command() {
  return {.words = "trigger show",
          .group = kSupervisorGroup,
          .summary = "Show everything about one trigger, with its source",
          .example = "cachee trigger show session-ended",
          .declare = [](CLI::App& app) -> Run {
            auto name = std::make_shared<std::string>();
            declare_word(app, "trigger", *name, "Name of the trigger")->required();
            return [name](Context& context) {
              Supervisor& supervisor = context.source.supervisor();
              Value trigger = to_record(supervisor.require({"TRIGGER", "INFO", *name}));
              if (trigger.is_object() && trigger.find("source") == nullptr) {
                trigger.add("source", supervisor.require({"TRIGGER", "SOURCE", *name}).text);
              }
              context.out.print(trigger);
              return Exit::yes;
            };
          }};
}

Command source_command() {
  return {.words = "trigger source",
          .group = kSupervisorGroup,
          .summary = "Print the Lua source of a trigger",
          .example = "cachee trigger source session-ended > session.lua",
          .declare = [](CLI::App& app) -> Run {
            auto name = std::make_shared<std::string>();
            declare_word(app, "trigger", *name, "Name of the trigger")->required();
            return [name](Context& context) {
              const Reply reply = context.source.supervisor().require({"TRIGGER", "SOURCE", *name});
              if (context.out.json()) {
                context.out.print(Value::object().add("name", *name).add("source", reply.text));
              } else {
                context.out.write(reply.text);
                if (!reply.text.ends_with('\n')) context.out.write("\n");
              }
              return Exit::yes;
            };
          }};
}

Command stats_command() {
  return {.words = "trigger stats",
          .group = kSupervisorGroup,
          .summary = "Show runs, errors and times of one trigger or of all",
          .example = "cachee trigger stats\ncachee trigger stats session-ended --json",
          .declare = [](CLI::App& app) -> Run {
            auto name = std::make_shared<std::string>();
            declare_word(app, "trigger", *name, "Name of the trigger (default: all)");
            return [name](Context& context) {
              Supervisor& supervisor = context.source.supervisor();
              if (name->empty()) {
                context.out.print(to_records(supervisor.require({"TRIGGER", "STATS"})));
              } else {
                context.out.print(to_record(supervisor.require({"TRIGGER", "STATS", *name})));
              }
              return Exit::yes;
            };
          }};
}

/// An event given as a file, as standard input, or as JSON in the argument itself.
std::string event_text(const std::string& argument) {
  return argument.starts_with('{') ? argument : read_file(argument);
}

Command test_command() {
  return {.words = "trigger test",
          .group = kSupervisorGroup,
          .summary = "Run a handler on an event of your own; nothing it asks for is carried out",
          .example =
              "cachee trigger test session-ended '{\"key\":\"session:1\",\"type\":\"expire\"}'\n"
              "cachee trigger test --source session.lua event.json",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::vector<std::string> words{};
              std::string source{};
            };
            auto options = std::make_shared<Options>();
            declare_words(
                app, "trigger", options->words,
                "Name of the trigger (not with --source), then the event: JSON, a file, or -")
                ->required();
            declare_word(app, "--source", options->source, "Lua file to run instead of a trigger");
            return [options](Context& context) {
              const bool by_name = options->source.empty();
              if (options->words.size() != (by_name ? 2U : 1U)) {
                throw Failure{Exit::usage,
                              "trigger test: expected TRIGGER EVENT, or --source FILE EVENT"};
              }
              const std::string handler = by_name ? options->words[0] : read_file(options->source);
              const Reply reply = context.source.supervisor().require(
                  {"TRIGGER", "TEST", handler, event_text(options->words.back())});
              const Value result = to_record(reply);
              context.out.print(result);
              const Value* const ok = result.find("ok");
              const bool failed = ok != nullptr && to_json(*ok) != "true";
              return failed ? Exit::no : Exit::yes;
            };
          }};
}

/// A command that names a trigger and answers OK.
Command change_command(const char* verb, const char* word, const char* summary) {
  return {.words = fmt::format("trigger {}", verb),
          .group = kSupervisorGroup,
          .summary = summary,
          .example = fmt::format("cachee trigger {} session-ended", verb),
          .declare = [word](CLI::App& app) -> Run {
            auto name = std::make_shared<std::string>();
            declare_word(app, "trigger", *name, "Name of the trigger")->required();
            return [name, word](Context& context) {
              return print_answer(context,
                                  context.source.supervisor().require({"TRIGGER", word, *name}));
            };
          }};
}

Command export_command() {
  return {.words = "trigger export",
          .group = kSupervisorGroup,
          .summary = "Print every trigger as commands that register it again",
          .example = "cachee trigger export > triggers.cachee",
          .declare = [](CLI::App&) -> Run {
            return [](Context& context) {
              const Reply reply = context.source.supervisor().require({"TRIGGER", "EXPORT"});
              if (context.out.json()) {
                context.out.print(Value::object().add("commands", reply.text));
              } else {
                context.out.write(reply.text);
              }
              return Exit::yes;
            };
          }};
}

Command import_command() {
  return {.words = "trigger import",
          .group = kSupervisorGroup,
          .summary = "Register every trigger of an export, all or none",
          .example = "cachee -n orders trigger export | cachee -n copy trigger import -",
          .declare = [](CLI::App& app) -> Run {
            auto path = std::make_shared<std::string>();
            declare_word(app, "file", *path, "What `trigger export` printed; - for standard input")
                ->required();
            return [path](Context& context) {
              const std::string text = read_file(*path);
              return print_answer(context,
                                  context.source.supervisor().require({"TRIGGER", "IMPORT", text}));
            };
          }};
}

}  // namespace

Exit print_answer(Context& context, const Reply& reply) {
  if (context.out.json()) {
    context.out.print(to_value(reply));
  } else {
    context.out.print(to_record(reply));
  }
  return Exit::yes;
}

std::vector<Command> trigger_commands() {
  return {register_command(),
          trigger_list_command(),
          show_command(),
          source_command(),
          stats_command(),
          test_command(),
          change_command("remove", "REMOVE", "Remove a trigger"),
          change_command("enable", "ENABLE", "Switch a trigger on"),
          change_command("disable", "DISABLE", "Switch a trigger off: no events are made for it"),
          change_command("pause", "PAUSE", "Keep the events of a trigger for later"),
          change_command("resume", "RESUME", "Go on with a paused trigger"),
          export_command(),
          import_command()};
}

}  // namespace cachee::cli
