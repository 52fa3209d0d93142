// TRIGGER, VERIFY, OUTBOX, LOG: the words of Cachee that the dispatcher answers.
#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "control/command_text.hpp"
#include "control/commands/call.hpp"
#include "control/commands/records.hpp"
#include "core/trigger_options.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;

constexpr std::int64_t kSlowLogCountDefault = 10;
constexpr std::size_t kListCountDefault = 1000;
constexpr std::size_t kTailCountDefault = 10;
constexpr std::size_t kTailBytesMax = std::size_t{1} << 20;

// "[COUNT n]" at the end; none after an error reply.
std::optional<std::size_t> take_count(Call& call, std::size_t index, std::size_t otherwise) {
  if (call.count() == index) return otherwise;
  if (call.count() != index + 2 || !call.is(index, "COUNT")) {
    call.reply.error(kSyntaxError);
    return std::nullopt;
  }
  const auto count = take_integer(call, call[index + 1]);
  if (!count) return std::nullopt;
  if (*count < 1) {
    call.reply.error(kSyntaxError);
    return std::nullopt;
  }
  return static_cast<std::size_t>(*count);
}

// The words behind TRIGGER REGISTER, the source last.
Outcome<TriggerSpec> spec_of(Arguments words) {
  if (words.size() < 3) {
    return Failure{Errc::invalid_argument,
                   "TRIGGER REGISTER needs <pattern> <EVENT>[,<EVENT>...] [option]... <source>"};
  }
  auto spec = parse_trigger_words(words.first(words.size() - 1));
  if (!spec) return spec;
  const std::string_view source = words.back();
  if (source.size() > kTriggerSourceBytesMax) {
    return Failure{Errc::invalid_argument, fmt::format("the source is {} long; at most {} are allowed",
                                                       format_bytes(source.size()),
                                                       format_bytes(kTriggerSourceBytesMax))};
  }
  if (source.starts_with('\x1b')) {
    return Failure{Errc::invalid_argument,
                   "the source is compiled Lua; only Lua as text is accepted"};
  }
  spec->source = std::string{source};
  return spec;
}

void run_register(Call& call) {
  auto spec = spec_of(call.from(2));
  if (!spec) return reply_failure(call.reply, spec.failure());
  std::vector<TriggerSpec> specs;
  specs.push_back(*std::move(spec));
  reply_status(call, call.server.triggers.register_triggers(std::move(specs)));
}

void run_list(Call& call) {
  json rows = json::array();
  for (const TriggerSpec& spec : call.server.triggers.list_triggers()) {
    rows.push_back(summary_of(spec));
  }
  reply_records(call.reply, rows);
}

void run_info(Call& call) {
  const auto spec = call.server.triggers.find_trigger(call[2]);
  if (!spec) return reply_failure(call.reply, spec.failure());
  reply_record(call.reply, describe_spec(*spec));
}

Failure no_source(const TriggerSpec& spec) {
  return {Errc::unsupported, fmt::format("{} is a consumer group: it has no source", spec.name)};
}

void run_source(Call& call) {
  const auto spec = call.server.triggers.find_trigger(call[2]);
  if (!spec) return reply_failure(call.reply, spec.failure());
  if (spec->is_group) return reply_failure(call.reply, no_source(*spec));
  call.reply.bulk(spec->source);
}

void run_stats(Call& call) {
  TriggerAdmin& triggers = call.server.triggers;
  if (call.count() > 3) return reply_arity_error(call.reply, "trigger|stats");
  if (call.count() == 3) {
    const auto stats = triggers.trigger_stats(call[2]);
    if (!stats) return reply_failure(call.reply, stats.failure());
    return reply_record(call.reply, *stats);
  }
  json rows = json::array();
  for (const TriggerSpec& spec : triggers.list_triggers()) {
    auto stats = triggers.trigger_stats(spec.name);
    // Removed since the list was made.
    if (!stats) continue;
    (*stats)["name"] = spec.name;
    rows.push_back(*std::move(stats));
  }
  reply_records(call.reply, rows);
}

void run_remove(Call& call) { reply_status(call, call.server.triggers.remove_trigger(call[2])); }
void run_enable(Call& call) {
  reply_status(call, call.server.triggers.enable_trigger(call[2], true));
}
void run_disable(Call& call) {
  reply_status(call, call.server.triggers.enable_trigger(call[2], false));
}
void run_pause(Call& call) {
  reply_status(call, call.server.triggers.pause_trigger(call[2], true));
}
void run_resume(Call& call) {
  reply_status(call, call.server.triggers.pause_trigger(call[2], false));
}

// One word is no handler, apart from those that are whole statements: then it was to be a name.
bool may_be_source(std::string_view text) {
  return text.find_first_of(" \t\r\n(){}=;\"'") != std::string_view::npos || text == "return";
}

Failure no_such_trigger(const Call& call) {
  const auto triggers = call.server.triggers.list_triggers();
  std::vector<std::string_view> names;
  for (const TriggerSpec& spec : triggers) names.emplace_back(spec.name);
  const auto near = nearest_word(call[2], names);
  return {Errc::not_found, fmt::format("no such trigger: {}{}", call[2].substr(0, kTriggerNameBytesMax),
                                       near ? fmt::format(" (did you mean {}?)", *near) : "")};
}

void run_test(Call& call) {
  TriggerAdmin& triggers = call.server.triggers;
  // A name that is registered, else the text of a handler.
  const auto spec = triggers.find_trigger(call[2]);
  const bool known = static_cast<bool>(spec);
  if (known && spec->is_group) return reply_failure(call.reply, no_source(*spec));
  if (!known && !may_be_source(call[2])) return reply_failure(call.reply, no_such_trigger(call));
  const auto report = known ? triggers.test_trigger(call[2], call[3])
                            : triggers.test_source(call[2], call[3]);
  if (!report) return reply_failure(call.reply, report.failure());
  call.reply.bulk(*report);
}

// A command file that registers the same triggers again.
void run_export(Call& call) {
  std::string text;
  for (const TriggerSpec& spec : call.server.triggers.list_triggers()) {
    text += spec.is_group ? "GROUP SET" : "TRIGGER REGISTER";
    for (const std::string& word : trigger_words(spec)) text += ' ' + quote_word(word);
    if (!spec.is_group) text += ' ' + heredoc_or_quoted(spec.source);
    text += '\n';
    if (spec.paused) text += fmt::format("TRIGGER PAUSE {}\n", quote_word(spec.name));
  }
  call.reply.bulk(text);
}

// One command of an import: a registration, or a pause of one before it.
Outcome<void> import_command(const std::vector<std::string>& words,
                             std::vector<TriggerSpec>& specs) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  const auto is = [&views](std::size_t index, std::string_view word) {
    return index < views.size() && equal_ignoring_case(views[index], word);
  };
  const auto named = [&specs](std::string_view name) {
    return std::find_if(specs.begin(), specs.end(),
                        [name](const TriggerSpec& spec) { return spec.name == name; });
  };
  const bool is_group = is(0, "GROUP") && (is(1, "SET") || is(1, "CREATE"));
  if (is_group || (is(0, "TRIGGER") && (is(1, "REGISTER") || is(1, "SET")))) {
    const Arguments rest = Arguments{views}.subspan(2);
    auto spec = is_group ? parse_group_words(rest) : spec_of(rest);
    if (!spec) return spec.failure();
    if (named(spec->name) != specs.end()) {
      return Failure{Errc::exists, fmt::format("'{}' is registered twice", spec->name)};
    }
    specs.push_back(*std::move(spec));
    return {};
  }
  if (is(0, "TRIGGER") && is(1, "PAUSE") && views.size() == 3) {
    const auto spec = named(views[2]);
    if (spec == specs.end()) {
      return Failure{Errc::not_found,
                     fmt::format("TRIGGER PAUSE {}: no such trigger before it", views[2])};
    }
    spec->paused = true;
    return {};
  }
  return Failure{Errc::invalid_argument, "expected TRIGGER REGISTER or GROUP SET, as TRIGGER EXPORT writes them"};
}

void run_import(Call& call) {
  CommandReader reader;
  reader.feed(call[2]);
  reader.finish();
  std::vector<TriggerSpec> specs;
  for (;;) {
    const auto step = reader.next();
    if (step.kind == CommandReader::Kind::end) break;
    const auto done = step.kind == CommandReader::Kind::command
                          ? import_command(step.words, specs)
                          : Outcome<void>{Failure{Errc::invalid_argument, step.text}};
    if (!done) {
      return call.reply.error(
          fmt::format("ERR line {}: {}; nothing was imported", step.line, done.failure().text));
    }
  }
  const auto count = static_cast<std::int64_t>(specs.size());
  if (count > 0) {
    const auto done = call.server.triggers.register_triggers(std::move(specs));
    if (!done) return reply_failure(call.reply, done.failure());
  }
  call.reply.integer(count);
}

void run_trace(Call& call) {
  const auto steps = call.server.triggers.trace_chain(call[2]);
  if (!steps) return reply_failure(call.reply, steps.failure());
  reply_records(call.reply, *steps);
}

void run_dlq_list(Call& call) {
  const auto count = take_count(call, 3, kListCountDefault);
  if (!count) return;
  const auto rows = call.server.triggers.list_dead_letters(*count);
  if (!rows) return reply_failure(call.reply, rows.failure());
  reply_records(call.reply, *rows);
}

void run_dlq_show(Call& call) {
  const auto letter = call.server.triggers.show_dead_letter(call[3]);
  if (!letter) return reply_failure(call.reply, letter.failure());
  reply_record(call.reply, *letter);
}

// An id, or none for "all".
std::optional<std::string_view> letter_id(const Call& call) {
  if (call.is(3, "ALL")) return std::nullopt;
  return call[3];
}

void reply_number(Call& call, const Outcome<std::uint64_t>& done) {
  if (!done) return reply_failure(call.reply, done.failure());
  call.reply.integer(static_cast<std::int64_t>(*done));
}

void run_dlq_replay(Call& call) {
  reply_number(call, call.server.triggers.replay_dead_letters(letter_id(call)));
}
void run_dlq_purge(Call& call) {
  reply_number(call, call.server.triggers.purge_dead_letters(letter_id(call)));
}

void run_outbox_list(Call& call) {
  const auto count = take_count(call, 2, kListCountDefault);
  if (!count) return;
  const auto rows = call.server.triggers.list_outbox(*count);
  if (!rows) return reply_failure(call.reply, rows.failure());
  reply_records(call.reply, *rows);
}

void run_verify(Call& call) {
  const auto account = call.server.triggers.account();
  if (!account) return reply_failure(call.reply, account.failure());
  call.reply.array(account->size());
  for (const TriggerAccount& row : *account) {
    const std::pair<std::string_view, std::uint64_t> figures[] = {
        {"emitted", row.emitted},     {"acknowledged", row.acknowledged},
        {"in_flight", row.in_flight}, {"retry", row.retry},
        {"spooled", row.spooled},     {"dead", row.dead},
        {"shed", row.shed}};
    call.reply.map(2 + std::size(figures));
    call.reply.bulk("name");
    call.reply.bulk(row.name);
    for (const auto& [name, figure] : figures) {
      call.reply.bulk(name);
      call.reply.integer(static_cast<std::int64_t>(figure));
    }
    call.reply.bulk("adds_up");
    call.reply.boolean(row.adds_up());
  }
}

void run_log_path(Call& call) {
  const auto path = call.server.triggers.log_path(call[2]);
  if (!path) return reply_failure(call.reply, path.failure());
  call.reply.bulk(*path);
}

void run_log_info(Call& call) {
  const auto info = call.server.triggers.log_info(call[2]);
  if (!info) return reply_failure(call.reply, info.failure());
  reply_record(call.reply, *info);
}

// The last lines of a file, read from its end.
Outcome<std::vector<std::string>> last_lines(const std::string& path, std::size_t count) {
  std::ifstream file{path, std::ios::binary | std::ios::ate};
  if (!file) return std::vector<std::string>{};
  const auto size = static_cast<std::size_t>(std::max<std::streamoff>(file.tellg(), 0));
  const std::size_t bytes = std::min(size, kTailBytesMax);
  std::string text(bytes, '\0');
  file.seekg(static_cast<std::streamoff>(size - bytes));
  file.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!file) return Failure{Errc::io, fmt::format("{} cannot be read", path)};
  std::string_view rest = text;
  // Half a line at either end is none.
  rest = rest.substr(0, rest.find_last_of('\n') == std::string_view::npos
                            ? 0
                            : rest.find_last_of('\n') + 1);
  if (bytes < size) rest.remove_prefix(std::min(rest.find('\n') + 1, rest.size()));
  std::vector<std::string> lines;
  while (!rest.empty() && lines.size() < count) {
    rest.remove_suffix(1);
    const std::size_t before = rest.rfind('\n');
    const std::size_t start = before == std::string_view::npos ? 0 : before + 1;
    lines.emplace_back(rest.substr(start));
    rest = rest.substr(0, start);
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

void run_log_tail(Call& call) {
  const auto count = take_count(call, 3, kTailCountDefault);
  if (!count) return;
  const auto path = call.server.triggers.log_path(call[2]);
  if (!path) return reply_failure(call.reply, path.failure());
  const auto lines = last_lines(*path, *count);
  if (!lines) return reply_failure(call.reply, lines.failure());
  call.reply.array(lines->size());
  for (const std::string& line : *lines) call.reply.bulk(line);
}

// As Redis shows slow commands: id, Unix time, microseconds, words, then who.
void run_slowlog_get(Call& call) {
  std::int64_t count = kSlowLogCountDefault;
  if (call.count() == 3) {
    const auto given = take_integer(call, call[2]);
    if (!given) return;
    if (*given < -1) return call.reply.error("ERR count should be greater than or equal to -1");
    count = *given == -1 ? std::numeric_limits<std::int64_t>::max() : *given;
  } else if (call.count() > 3) {
    return call.reply.error(kSyntaxError);
  }
  const auto runs = call.server.triggers.slow_runs(static_cast<std::size_t>(count));
  if (!runs) return reply_failure(call.reply, runs.failure());
  call.reply.array(runs->size());
  for (const json& run : *runs) {
    call.reply.array(6);
    call.reply.integer(run["id"].get<std::int64_t>());
    call.reply.integer(run["wall_ms"].get<std::int64_t>() / 1000);
    call.reply.integer(run["run_us"].get<std::int64_t>());
    call.reply.array(4);
    for (const char* word : {"trigger", "event", "key", "event_id"}) call.reply.bulk(run[word].get_ref<const std::string&>());
    call.reply.bulk("executor");
    call.reply.bulk("");
  }
}

void run_slowlog_len(Call& call) {
  const auto runs = call.server.triggers.slow_runs(std::numeric_limits<std::size_t>::max());
  if (!runs) return reply_failure(call.reply, runs.failure());
  call.reply.integer(static_cast<std::int64_t>(runs->size()));
}

void run_slowlog_reset(Call& call) { reply_status(call, call.server.triggers.clear_slow_runs()); }

constexpr std::string_view kRegisterSyntax =
    "pattern EVENT[,EVENT...] [NAME name] [PRIORITY n] [ON_FULL BLOCK ms | ON_FULL SHED] [RETRY n] "
    "[BACKOFF min max] [TIMEOUT ms] [MEMORY bytes] [STEPS n] [SAMPLE n] [MAXDEPTH n] [DISABLED] "
    "source";

constexpr Command kCommands[] = {
    {"log", -2, kContainer, 0, 0, 0, "cachee", "", "Channels of cachee.log.", nullptr},
    {"log|help", 2, 0, 0, 0, 0, "cachee", "", "Lists the subcommands.", run_help},
    {"log|info", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "channel",
     "Returns the file of a channel, how many bytes of it are settled, and the hash of its last line.", run_log_info},
    {"log|path", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "channel",
     "Returns the file of a channel, whether or not it exists yet.", run_log_path},
    {"log|tail", -3, kAdmin | kAsks, 0, 0, 0, "cachee", "channel [COUNT count]",
     "Returns the last lines of a channel.", run_log_tail},
    {"outbox", -2, kContainer, 0, 0, 0, "cachee", "", "Webhooks that wait to be sent.", nullptr},
    {"outbox|help", 2, 0, 0, 0, 0, "cachee", "", "Lists the subcommands.", run_help},
    {"outbox|list", -2, kAdmin | kAsks, 0, 0, 0, "cachee", "[COUNT count]",
     "Returns the webhooks that wait to be sent, oldest first.", run_outbox_list},
    {"slowlog", -2, kContainer, 0, 0, 0, "server", "", "Runs of handlers that took long.", nullptr},
    {"slowlog|get", -2, kAdmin | kAsks, 0, 0, 0, "server", "[count]",
     "Returns the last slow runs, youngest first: id, time, microseconds, [trigger, event, key, event id].", run_slowlog_get},
    {"slowlog|help", 2, 0, 0, 0, 0, "server", "", "Lists the subcommands.", run_help},
    {"slowlog|len", 2, kAdmin | kAsks, 0, 0, 0, "server", "", "Returns how many slow runs are kept.", run_slowlog_len},
    {"slowlog|reset", 2, kAdmin | kAsks, 0, 0, 0, "server", "", "Forgets the slow runs.", run_slowlog_reset},
    {"trigger", -2, kContainer, 0, 0, 0, "cachee", "", "Handlers of events.", nullptr},
    {"trigger|disable", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name",
     "Switches a trigger off: its events are not made.", run_disable},
    {"trigger|dlq", -3, kContainer, 0, 0, 0, "cachee", "", "Dead letters.", nullptr},
    {"trigger|dlq|help", 3, 0, 0, 0, 0, "cachee", "", "Lists the subcommands.", run_help},
    {"trigger|dlq|list", -3, kAdmin | kAsks, 0, 0, 0, "cachee", "[COUNT count]",
     "Returns the dead letters, oldest first.", run_dlq_list},
    {"trigger|dlq|purge", 4, kAdmin | kAsks, 0, 0, 0, "cachee", "id | all",
     "Forgets dead letters; returns how many.", run_dlq_purge},
    {"trigger|dlq|replay", 4, kAdmin | kAsks, 0, 0, 0, "cachee", "id | all",
     "Runs dead letters again, but those of removed triggers; returns how many.", run_dlq_replay},
    {"trigger|dlq|show", 4, kAdmin | kAsks, 0, 0, 0, "cachee", "id",
     "Returns everything about one dead letter.", run_dlq_show},
    {"trigger|enable", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name", "Switches a trigger on.", run_enable},
    {"trigger|export", 2, kAdmin | kAsks, 0, 0, 0, "cachee", "",
     "Returns a command file that registers the triggers again.", run_export},
    {"trigger|help", 2, 0, 0, 0, 0, "cachee", "", "Lists the subcommands.", run_help},
    {"trigger|import", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "text",
     "Registers all triggers of an exported text, or none; returns how many.", run_import},
    {"trigger|info", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name", "Returns a trigger's options.",
     run_info},
    {"trigger|list", 2, kAdmin | kAsks, 0, 0, 0, "cachee", "",
     "Returns the triggers, highest priority first.", run_list},
    {"trigger|pause", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name",
     "Keeps a trigger's events for TRIGGER RESUME.", run_pause},
    {"trigger|register", -2, kAdmin | kAsks | kMayGrow, 0, 0, 0, "cachee", kRegisterSyntax,
     "Registers a handler, or replaces the one of that name.", run_register},
    {"trigger|remove", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name", "Removes a trigger.", run_remove},
    {"trigger|resume", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name",
     "Runs the events that TRIGGER PAUSE kept.", run_resume},
    {"trigger|set", -2, kAdmin | kAsks | kMayGrow, 0, 0, 0, "cachee", kRegisterSyntax,
     "The same as TRIGGER REGISTER.", run_register},
    {"trigger|source", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name", "Returns a trigger's Lua text.",
     run_source},
    {"trigger|stats", -2, kAdmin | kAsks, 0, 0, 0, "cachee", "[name]",
     "Returns the figures of one trigger, or of all.", run_stats},
    {"trigger|test", 4, kAdmin | kTries, 0, 0, 0, "cachee", "name | source event-json",
     "Runs a handler on an event that never was; returns what it would do.", run_test},
    {"trigger|trace", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "chain",
     "Returns the steps of a chain of events.", run_trace},
    {"verify", 1, kAdmin | kAsks, 0, 0, 0, "cachee", "",
     "Returns where every emitted event of every trigger is, and whether that adds up.",
     run_verify},
};

}  // namespace

std::span<const Command> trigger_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
