// group ...: consumer groups, through the supervisor. Programs take their events (subscribe in C++ and C, GROUP READ);
// these commands make groups, look at them and end them.
#include <memory>

#include <fmt/format.h>

#include "command.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

struct CreateOptions {
  std::string name{};
  std::string pattern{};
  std::string events{};
  std::vector<std::string> rest{};
};

Command create_command() {
  return {.words = "group create",
          .group = kSupervisorGroup,
          .summary = "Make a consumer group: its events are kept until a program acknowledges them",
          .example = "cachee group create auth 'session:*' ON_EXPIRE,ON_DELETE\n"
                     "cachee group create auth 'session:*' ON_EXPIRE RETRY 8 BACKOFF 1s 1m DEADLINE 2m",
          .declare = [](CLI::App& app) -> Run {
            auto options = std::make_shared<CreateOptions>();
            declare_word(app, "group", options->name, "Name of the group; the segment is -n")->required();
            declare_word(app, "pattern", options->pattern, "Keys: * ? [a-z] [^x] and \\")->required();
            declare_word(app, "events", options->events, "One or more, joined by commas: ON_WRITE ON_EVICT ON_EXPIRE ON_DELETE ON_READ")
                ->required();
            declare_words(app, "option", options->rest,
                          "RETRY n, BACKOFF min max, DEADLINE ms, PRIORITY n, ON_FULL BLOCK ms, ON_FULL SHED, SAMPLE n, DISABLED");
            return [options](Context& context) {
              std::vector<std::string> words{"GROUP", "CREATE", options->name, options->pattern, options->events};
              words.insert(words.end(), options->rest.begin(), options->rest.end());
              return print_answer(context, context.source.supervisor().require(words));
            };
          }};
}

Command group_list_command() {
  return {.words = "group list",
          .group = kSupervisorGroup,
          .summary = "List the consumer groups",
          .example = "cachee group list",
          .declare = [](CLI::App&) -> Run {
            return [](Context& context) {
              context.out.print(to_records(context.source.supervisor().require({"GROUP", "LIST"})));
              return Exit::yes;
            };
          }};
}

/// A command that names a group and prints the answer.
Command named_command(const char* verb, const char* word, const char* summary) {
  return {.words = fmt::format("group {}", verb),
          .group = kSupervisorGroup,
          .summary = summary,
          .example = fmt::format("cachee group {} auth", verb),
          .declare = [word](CLI::App& app) -> Run {
            auto name = std::make_shared<std::string>();
            declare_word(app, "group", *name, "Name of the group")->required();
            return [name, word](Context& context) {
              return print_answer(context, context.source.supervisor().require({"GROUP", word, *name}));
            };
          }};
}

}  // namespace

std::vector<Command> group_commands() {
  return {create_command(), group_list_command(), named_command("show", "INFO", "Show a group's options, its consumers and its lag"),
          named_command("remove", "REMOVE", "Remove a group and acknowledge what waits for it")};
}

}  // namespace cachee::cli
