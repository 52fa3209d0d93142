#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kShownBytesMax = 128;  // of an unknown command and of all its arguments

std::vector<Command> make_table() {
  std::vector<Command> rows;
  for (const auto part : {set_commands(), key_commands(), string_commands(), time_commands(),
                          graph_commands(), group_commands(), trigger_commands(), connection_commands(),
                          server_commands()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  std::sort(rows.begin(), rows.end(),
            [](const Command& a, const Command& b) { return a.name < b.name; });
  return rows;
}

void reply_unknown_command(Arguments arguments, resp::ReplyWriter& reply) {
  std::string shown;
  for (const std::string_view argument : arguments.subspan(1)) {
    if (shown.size() >= kShownBytesMax) break;
    shown += fmt::format("'{}' ", argument.substr(0, kShownBytesMax - shown.size()));
  }
  reply.error(fmt::format("ERR unknown command '{}', with args beginning with: {}",
                          arguments[0].substr(0, kShownBytesMax), shown));
}

const Command* refuse_old(Arguments arguments, resp::ReplyWriter& reply) {
  reply.error(fmt::format("ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
                          arguments[1].substr(0, kShownBytesMax), to_upper(arguments[0])));
  return nullptr;
}

bool arity_fits(const Command& command, std::size_t count) {
  const auto words = static_cast<std::size_t>(command.arity < 0 ? -command.arity : command.arity);
  return command.arity < 0 ? count >= words : count == words;
}

}  // namespace

std::span<const Command> all_commands() {
  static const std::vector<Command> rows = make_table();
  return rows;
}

const Command* find_command(std::string_view name) {
  const auto rows = all_commands();
  const auto row = std::lower_bound(
      rows.begin(), rows.end(), name,
      [](const Command& command, std::string_view wanted) { return command.name < wanted; });
  return row != rows.end() && row->name == name ? &*row : nullptr;
}

const Command* resolve_command(Arguments arguments, resp::ReplyWriter& reply) {
  // Names are short; a longer word is not one and need not be copied.
  std::string name = to_lower(arguments[0].substr(0, kShownBytesMax));
  const Command* command = find_command(name);
  if (command == nullptr) {
    reply_unknown_command(arguments, reply);
    return nullptr;
  }
  if ((command->flags & kContainer) != 0 && arguments.size() > 1) {
    std::string deeper = name;
    const Command* found = command;
    // "trigger", "trigger|dlq", "trigger|dlq|list": as many words as name a row.
    for (std::size_t i = 1; i < arguments.size() && (found->flags & kContainer) != 0; ++i) {
      deeper += '|';
      deeper += to_lower(arguments[i].substr(0, kShownBytesMax));
      const Command* next = find_command(deeper);
      if (next == nullptr && (command->flags & kOldErrors) != 0) return refuse_old(arguments, reply);
      if (next == nullptr) {
        reply.error(fmt::format("ERR unknown subcommand '{}'. Try {} HELP.",
                                arguments[i].substr(0, kShownBytesMax), to_upper(name)));
        return nullptr;
      }
      found = next;
    }
    if ((command->flags & kOldErrors) != 0 && !arity_fits(*found, arguments.size())) {
      return refuse_old(arguments, reply);
    }
    command = found;
  }
  if (!arity_fits(*command, arguments.size()) || command->run == nullptr) {
    reply_arity_error(reply, command->name);
    return nullptr;
  }
  return command;
}

}  // namespace cachee::daemon
