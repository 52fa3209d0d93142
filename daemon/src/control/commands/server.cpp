// Commands about the server: INFO, CONFIG, COMMAND, DEBUG, SHUTDOWN.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cachee/triggers.hpp>
#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "control/commands/info.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr double kSleepSecondsMax = 3600;
constexpr std::size_t kShownBytesMax = 128;  // of a setting's name
constexpr std::string_view kSince = "0.1.0";  // the Cachee that had the command first

void run_info(Call& call) { call.reply.verbatim(info_text(call.server, call.from(1))); }

// Settings, and those of Redis that its tools ask for; the latter cannot be changed.
std::map<std::string, std::string> all_settings(const ServerState& server) {
  std::map<std::string, std::string> settings{
      {"appendonly", "no"},
      {"databases", "1"},
      {"proto-max-bulk-len", std::to_string(server.value_bytes_max)},
      {"save", ""}};
  for (auto& [name, value] : server.hooks.list_settings()) settings[name] = std::move(value);
  return settings;
}

void run_config_get(Call& call) {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto& [name, value] : all_settings(call.server)) {
    const Arguments patterns = call.from(2);
    if (std::any_of(patterns.begin(), patterns.end(), [&name = name](std::string_view pattern) {
          return glob_match(to_lower(pattern), name);
        })) {
      found.emplace_back(name, value);
    }
  }
  call.reply.map(found.size());
  for (const auto& [name, value] : found) {
    call.reply.bulk(name);
    call.reply.bulk(value);
  }
}

void run_config_set(Call& call) {
  if (call.count() % 2 != 0) return call.reply.error(kSyntaxError);
  const auto fail = [&call](std::size_t index, std::string_view why) {
    call.reply.error(fmt::format("ERR CONFIG SET failed (possibly related to argument '{}') - {}",
                                 call[2 + 2 * index].substr(0, kShownBytesMax), why));
  };
  const auto settings = all_settings(call.server);
  std::vector<SettingWords> changes;
  for (std::size_t i = 2; i < call.count(); i += 2) {
    std::string name = to_lower(call[i].substr(0, kShownBytesMax));
    if (!settings.contains(name)) {
      return call.reply.error(fmt::format("ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                                          call[i].substr(0, kShownBytesMax)));
    }
    changes.push_back({std::move(name), call[i + 1]});
  }
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!seen.insert(changes[i].name).second) return fail(i, "duplicate parameter");
  }
  const auto refusal = call.server.hooks.change_settings(changes);
  if (!refusal) return call.reply.simple("OK");
  const bool fixed = refusal->failure.code == Errc::not_found;  // shown for the tools of Redis
  fail(refusal->index, fixed ? "can't set immutable config" : refusal->failure.text);
}

bool is_top_level(const Command& command) {
  return command.name.find('|') == std::string_view::npos;
}

// Rows one level below, in order: "client|id" of "client".
std::vector<const Command*> subcommands_of(const Command& parent) {
  std::vector<const Command*> rows;
  if ((parent.flags & kContainer) == 0) return rows;
  for (const Command& row : all_commands()) {
    if (row.name.size() <= parent.name.size() || !row.name.starts_with(parent.name) ||
        row.name[parent.name.size()] != '|') {
      continue;
    }
    const std::string_view rest = row.name.substr(parent.name.size() + 1);
    if (rest.find('|') == std::string_view::npos) rows.push_back(&row);
  }
  return rows;
}

// The ACL categories that Redis gives a command for its flags and group.
std::vector<std::string_view> categories_of(const Command& command) {
  std::vector<std::string_view> names;
  const auto add_if = [&names](bool fits, std::string_view name) {
    if (fits) names.push_back(name);
  };
  add_if((command.flags & kWrites) != 0, "write");
  add_if((command.flags & kReads) != 0, "read");
  add_if((command.flags & kAdmin) != 0, "admin");
  add_if((command.flags & kAdmin) != 0, "dangerous");
  add_if(command.group == "string", "string");
  add_if(command.group == "generic", "keyspace");
  add_if(command.group == "connection", "connection");
  names.push_back((command.flags & kFast) != 0 ? "fast" : "slow");
  return names;
}

void reply_command(resp::ReplyWriter& reply, const Command& command) {
  struct Row {
    std::uint32_t bit;
    std::string_view name;
  };
  constexpr Row kRows[] = {{kWrites, "write"}, {kReads, "readonly"}, {kMayGrow, "denyoom"},
                           {kAdmin, "admin"},  {kFast, "fast"},      {kNoAuth, "no_auth"}};
  std::vector<std::string_view> flags;
  for (const Row& row : kRows) {
    if ((command.flags & row.bit) != 0) flags.push_back(row.name);
  }
  reply.array(10);
  reply.bulk(command.name);
  reply.integer(command.arity);
  reply.set(flags.size());
  for (const std::string_view flag : flags) reply.simple(flag);
  reply.integer(command.first_key);
  reply.integer(command.last_key);
  reply.integer(command.key_step);
  const auto categories = categories_of(command);
  reply.set(categories.size());
  for (const std::string_view category : categories) reply.simple(fmt::format("@{}", category));
  reply.array(0);  // tips
  reply.array(0);  // key specifications
  const auto subcommands = subcommands_of(command);
  reply.array(subcommands.size());
  for (const Command* subcommand : subcommands) reply_command(reply, *subcommand);
}

void run_command(Call& call) {
  const auto rows = all_commands();
  call.reply.array(static_cast<std::size_t>(std::count_if(rows.begin(), rows.end(), is_top_level)));
  for (const Command& command : rows) {
    if (is_top_level(command)) reply_command(call.reply, command);
  }
}

void run_command_count(Call& call) {
  const auto rows = all_commands();
  call.reply.integer(std::count_if(rows.begin(), rows.end(), is_top_level));
}

void run_command_info(Call& call) {
  if (call.count() == 2) return run_command(call);
  call.reply.array(call.count() - 2);
  for (const std::string_view name : call.from(2)) {
    const Command* command = find_command(to_lower(name));
    if (command != nullptr) {
      reply_command(call.reply, *command);
    } else {
      call.reply.null();
    }
  }
}

void run_command_list(Call& call) {
  const bool filtered = call.count() == 5 && call.is(2, "FILTERBY");
  const bool by_category = filtered && call.is(3, "ACLCAT");
  const bool by_pattern = filtered && call.is(3, "PATTERN");
  const bool by_module = filtered && call.is(3, "MODULE");  // there are none
  if (call.count() != 2 && !by_category && !by_pattern && !by_module) return call.reply.error(kSyntaxError);
  const std::string word = filtered ? to_lower(call[4]) : "";
  std::vector<std::string_view> names;
  for (const Command& command : all_commands()) {
    const auto categories = categories_of(command);
    const bool fits = by_category ? std::find(categories.begin(), categories.end(), word) != categories.end()
                                  : !by_module && (!by_pattern || glob_match(word, command.name));
    if (fits) names.push_back(command.name);
  }
  call.reply.array(names.size());
  for (const std::string_view name : names) call.reply.bulk(name);
}

void reply_docs(resp::ReplyWriter& reply, const Command& command) {
  const auto subcommands = subcommands_of(command);
  const bool has_arguments = !command.syntax.empty();
  reply.bulk(command.name);
  reply.map(3u + (has_arguments ? 1u : 0u) + (subcommands.empty() ? 0u : 1u));
  reply.bulk("summary");
  reply.bulk(command.summary);
  reply.bulk("since");
  reply.bulk(kSince);
  reply.bulk("group");
  reply.bulk(command.group);
  if (has_arguments) {
    // One argument that is the whole syntax: what redis-cli prints as a hint.
    reply.bulk("arguments");
    reply.array(1);
    reply.map(2);
    reply.bulk("name");
    reply.bulk(command.syntax);
    reply.bulk("type");
    reply.bulk("string");
  }
  if (subcommands.empty()) return;
  reply.bulk("subcommands");
  reply.map(subcommands.size());
  for (const Command* subcommand : subcommands) reply_docs(reply, *subcommand);
}

void run_command_docs(Call& call) {
  std::vector<const Command*> rows;
  for (const Command& command : all_commands()) {
    const Arguments names = call.from(2);
    const bool asked = names.empty()
                           ? is_top_level(command)
                           : std::any_of(names.begin(), names.end(), [&](std::string_view name) {
                               return equal_ignoring_case(name, command.name);
                             });
    if (asked) rows.push_back(&command);
  }
  call.reply.map(rows.size());
  for (const Command* command : rows) reply_docs(call.reply, *command);
}

void run_debug_sleep(Call& call) {
  const auto seconds = parse_double(call[2]);
  if (!seconds || *seconds < 0 || *seconds > kSleepSecondsMax) {
    return call.reply.error("ERR value is not a valid float");
  }
  call.reply.simple("OK");
  const auto patience = std::chrono::milliseconds{std::llround(*seconds * 1000)};
  if (patience.count() > 0) call.hold = Hold{{}, patience, true};
}

void run_shutdown(Call& call) {
  constexpr std::string_view kWords[] = {"SAVE", "NOSAVE", "NOW", "FORCE", "ABORT"};
  std::array<bool, std::size(kWords)> given{};
  for (std::size_t i = 1; i < call.count(); ++i) {
    std::size_t word = 0;
    while (word < std::size(kWords) && !call.is(i, kWords[word])) ++word;
    if (word == std::size(kWords)) return call.reply.error(kSyntaxError);
    given[word] = true;
  }
  const auto& [save, nosave, now, force, abort] = given;
  if ((save && nosave) || (abort && (save || nosave || now || force))) return call.reply.error(kSyntaxError);
  if (abort) return call.reply.error("ERR No shutdown in progress.");
  // As Redis: success is the end of the connection, without a word.
  call.session.closing = true;
  call.server.hooks.shutdown();
}

constexpr Command kCommands[] = {
    {"command", -1, kContainer, 0, 0, 0, "server", "", "Describes all commands.", run_command},
    {"command|count", 2, 0, 0, 0, 0, "server", "", "Counts the commands.", run_command_count},
    {"command|docs", -2, 0, 0, 0, 0, "server", "[command ...]", "Documents commands.",
     run_command_docs},
    {"command|help", 2, 0, 0, 0, 0, "server", "", "Lists the subcommands.", run_help},
    {"command|info", -2, 0, 0, 0, 0, "server", "[command ...]", "Describes commands.",
     run_command_info},
    {"command|list", -2, 0, 0, 0, 0, "server", "[FILTERBY PATTERN pattern | FILTERBY ACLCAT category | FILTERBY MODULE name]",
     "Lists the names of commands.", run_command_list},
    {"config", -2, kContainer, 0, 0, 0, "server", "", "Settings of cacheed.", nullptr},
    {"config|get", -3, kAdmin, 0, 0, 0, "server", "pattern [pattern ...]",
     "Returns the settings whose names match.", run_config_get},
    {"config|help", 2, 0, 0, 0, 0, "server", "", "Lists the subcommands.", run_help},
    {"config|set", -4, kAdmin, 0, 0, 0, "server", "name value [name value ...]",
     "Changes settings until the next start.", run_config_set},
    {"debug", -2, kContainer | kOldErrors, 0, 0, 0, "server", "", "For tests.", nullptr},
    {"debug|help", 2, 0, 0, 0, 0, "server", "", "Lists the subcommands.", run_help},
    {"debug|sleep", 3, kAdmin, 0, 0, 0, "server", "seconds",
     "Answers after that time; only this connection waits.", run_debug_sleep},
    {"info", -1, 0, 0, 0, 0, "server", "[section [section ...]]",
     "Returns figures of the server and the segment.", run_info},
    {"shutdown", -1, kAdmin, 0, 0, 0, "server", "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
     "Stops cacheed; nothing is lost.", run_shutdown},
};

}  // namespace

std::span<const Command> server_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
