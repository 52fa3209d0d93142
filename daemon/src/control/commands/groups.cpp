// GROUP: consumer groups. READ, ACK and NACK are answered through the mailbox: the dispatcher's disk or
// a READ that blocks holds up its own connection only.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "control/commands/records.hpp"
#include "core/trigger_options.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::int64_t kBlockMsMax = 3'600'000;
constexpr std::size_t kIdsMax = kGroupInHandMax;
constexpr std::size_t kErrorBytesMax = 8192;
constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kMicrosecondsPerMillisecond = 1e3;

void reply_group_failure(resp::ReplyWriter& reply, const Failure& failure) {
  switch (failure.code) {
    case Errc::not_found: return reply.error("NOGROUP " + failure.text);
    case Errc::stale: return reply.error("STALE " + failure.text);
    case Errc::full: return reply.error("FULL " + failure.text);
    default: return reply_failure(reply, failure);
  }
}

Outcome<TriggerSpec> find_group(Call& call, std::string_view name) {
  auto spec = call.server.triggers.find_trigger(name);
  if (!spec && spec.failure().code != Errc::not_found) return spec;
  if (!spec || !spec->is_group) return Failure{Errc::not_found, fmt::format("no such consumer group: {}", name.substr(0, 64))};
  return spec;
}

// ---- Registry

/// What a user can tell two registrations of one name apart by.
bool same_definition(const TriggerSpec& wanted, TriggerSpec registered) {
  registered.slot = wanted.slot;
  registered.id = wanted.id;
  registered.registered_wall_ms = wanted.registered_wall_ms;
  registered.since_generation = wanted.since_generation;
  registered.past = wanted.past;
  registered.paused = wanted.paused;
  registered.enabled = wanted.enabled;
  return wanted == registered;
}

void put_group(Call& call, TriggerSpec spec) {
  std::vector<TriggerSpec> specs;
  specs.push_back(std::move(spec));
  reply_status(call, call.server.triggers.register_triggers(std::move(specs)));
}

void run_create(Call& call) {
  auto spec = parse_group_words(call.from(2));
  if (!spec) return reply_failure(call.reply, spec.failure());
  const auto registered = call.server.triggers.find_trigger(spec->name);
  if (registered && registered->is_group) {
    if (same_definition(*spec, *registered)) return call.reply.simple("OK");
    return call.reply.error(fmt::format("BUSYGROUP consumer group {} exists with another pattern, other events or options; GROUP SET "
                                        "changes it",
                                        spec->name));
  }
  put_group(call, *std::move(spec));
}

void run_set(Call& call) {
  auto spec = parse_group_words(call.from(2));
  if (!spec) return reply_failure(call.reply, spec.failure());
  put_group(call, *std::move(spec));
}

void run_remove(Call& call) {
  const auto spec = find_group(call, call[2]);
  if (!spec) return reply_group_failure(call.reply, spec.failure());
  reply_status(call, call.server.triggers.remove_trigger(call[2]));
}

void run_list(Call& call) {
  json rows = json::array();
  for (const TriggerSpec& spec : call.server.triggers.list_triggers()) {
    if (spec.is_group) rows.push_back(summary_of(spec));
  }
  reply_records(call.reply, rows);
}

void run_info(Call& call) {
  const auto spec = find_group(call, call[2]);
  if (!spec) return reply_group_failure(call.reply, spec.failure());
  json record = describe_spec(*spec);
  const auto described = call.server.triggers.groups().describe(spec->name);
  if (!described) return reply_group_failure(call.reply, described.failure());
  record.update(*described);
  const auto account = call.server.triggers.account();
  if (!account) return reply_failure(call.reply, account.failure());
  for (const TriggerAccount& row : *account) {
    if (row.name != spec->name) continue;
    record["emitted"] = row.emitted;
    record["acknowledged"] = row.acknowledged;
    record["dead"] = row.dead;
    record["lag"] = row.in_flight + row.retry + row.spooled;
  }
  reply_record(call.reply, record);
}

// ---- Events

void reply_text_pairs(resp::ReplyWriter& reply, const Metadata& pairs) {
  reply.map(pairs.size());
  for (const auto& [name, value] : pairs) {
    reply.bulk(name);
    reply.bulk(value);
  }
}

/// The fields of Lua's `event`, under their names there; those that an event has not are null.
void reply_event(resp::ReplyWriter& reply, const EventData& event) {
  const auto text = [&](std::string_view name, std::string_view value) {
    reply.bulk(name);
    reply.bulk(value);
  };
  const auto integer = [&](std::string_view name, std::uint64_t value) {
    reply.bulk(name);
    reply.integer(static_cast<std::int64_t>(value));
  };
  const auto number = [&](std::string_view name, double value) {
    reply.bulk(name);
    reply.number(value);
  };
  const auto id_of = [&](std::uint64_t n) { return fmt::format("{}-{}", event.id.substr(0, event.id.find('-')), n); };
  constexpr std::size_t kFields = 22;
  reply.map(kFields);
  text("id", event.id);
  text("type", to_string(event.kind));
  text("cause", to_string(event.cause));
  text("key", event.key);
  text("value", event.value);
  reply.bulk("old_value");
  event.old_value ? reply.bulk(*event.old_value) : reply.null();
  reply.bulk("metadata");
  reply_text_pairs(reply, event.metadata);
  number("cost", event.cost);
  number("timestamp", static_cast<double>(event.timestamp_wall_us) / kMicrosecondsPerSecond);
  reply.bulk("deadline");
  event.deadline_wall_us ? reply.number(static_cast<double>(*event.deadline_wall_us) / kMicrosecondsPerSecond) : reply.null();
  reply.bulk("ttl_ms");
  event.ttl_ms ? reply.integer(*event.ttl_ms) : reply.null();
  number("lag_ms", static_cast<double>(event.lag_us) / kMicrosecondsPerMillisecond);
  integer("version", event.version);
  integer("attempt", event.attempt);
  reply.bulk("duplicate");
  reply.boolean(event.duplicate);
  integer("depth", event.provenance.depth);
  text("chain", event.provenance.chain == 0 ? event.id : id_of(event.provenance.chain));
  reply.bulk("parent");
  event.provenance.parent == 0 ? reply.null() : reply.bulk(id_of(event.provenance.parent));
  reply.bulk("origin");
  reply.map(4);
  text("kind", to_string(event.origin_role));
  integer("pid", static_cast<std::uint64_t>(event.origin_pid));
  text("client", event.origin_client);
  text("instance", event.origin_instance);
  integer("hits", event.hits);
  integer("age_ms", event.age_ms);
  integer("size", event.value.size());
}

/// Walks the options behind the fixed words; false after an error reply.
bool take_milliseconds(Call& call, std::string_view option, std::size_t index, std::int64_t low, std::int64_t high,
                       std::optional<milliseconds>& out) {
  const auto number = index < call.count() ? parse_integer(call[index]) : std::nullopt;
  if (!number || *number < low || *number > high || out) {
    call.reply.error(fmt::format("ERR {} expects milliseconds from {} to {}, once", option, low, high));
    return false;
  }
  out = milliseconds{*number};
  return true;
}

std::optional<GroupRead> take_read(Call& call) {
  GroupRead request;
  request.group = call[2];
  request.consumer = call[3];
  request.session = call.session.id;
  bool plain = !request.consumer.empty() && request.consumer.size() <= kConsumerNameBytesMax;
  for (const char c : request.consumer) plain = plain && static_cast<unsigned char>(c) >= ' ' && c != 0x7f;
  if (!plain) {
    call.reply.error(fmt::format("ERR a consumer's name has 1 to {} bytes without control characters", kConsumerNameBytesMax));
    return std::nullopt;
  }
  std::optional<std::int64_t> count;
  for (std::size_t i = 4; i < call.count(); i += 2) {
    if (call.is(i, "COUNT")) {
      const bool again = count.has_value();
      if (i + 1 < call.count()) count = parse_integer(call[i + 1]);
      if (!count || again || *count < 1 || *count > static_cast<std::int64_t>(kGroupReadCountMax)) {
        call.reply.error(fmt::format("ERR COUNT expects an integer from 1 to {}, once", kGroupReadCountMax));
        return std::nullopt;
      }
      request.count_max = static_cast<std::size_t>(*count);
    } else if (call.is(i, "BLOCK")) {
      if (!take_milliseconds(call, "BLOCK", i + 1, 0, kBlockMsMax, request.block)) return std::nullopt;
    } else if (call.is(i, "DEADLINE")) {
      if (!take_milliseconds(call, "DEADLINE", i + 1, 1, kGroupDeadlineMsMax, request.deadline)) return std::nullopt;
    } else {
      call.reply.error(kSyntaxError);
      return std::nullopt;
    }
  }
  return request;
}

void run_read(Call& call) {
  auto request = take_read(call);
  if (!request) return;
  call.session.reads_groups = true;
  call.later = true;
  call.server.triggers.groups().read(
      *std::move(request), [mailbox = call.server.mailbox, session = call.session.id](Outcome<std::vector<EventData>> events) {
        mailbox->post(session, [events = std::move(events)](resp::ReplyWriter& reply) {
          if (!events) return reply_group_failure(reply, events.failure());
          if (events->empty()) return reply.null_array();
          reply.array(events->size());
          for (const EventData& event : *events) reply_event(reply, event);
        });
      });
}

void settle_later(Call& call, GroupSettle request) {
  request.session = call.session.id;
  call.later = true;
  call.server.triggers.groups().settle(
      std::move(request), [mailbox = call.server.mailbox, session = call.session.id](Outcome<std::uint64_t> count) {
        mailbox->post(session, [count = std::move(count)](resp::ReplyWriter& reply) {
          if (!count) return reply_group_failure(reply, count.failure());
          reply.integer(static_cast<std::int64_t>(*count));
        });
      });
}

void run_ack(Call& call) {
  GroupSettle request;
  request.group = call[2];
  const Arguments ids = call.from(3);
  if (ids.size() > kIdsMax) return call.reply.error(fmt::format("ERR at most {} ids at once", kIdsMax));
  request.ids.assign(ids.begin(), ids.end());
  settle_later(call, std::move(request));
}

void run_nack(Call& call) {
  GroupSettle request;
  request.group = call[2];
  request.ids.emplace_back(call[3]);
  request.failed = true;
  bool error_given = false;
  for (std::size_t i = 4; i < call.count(); i += 2) {
    if (call.is(i, "DELAY")) {
      if (!take_milliseconds(call, "DELAY", i + 1, 0, kTriggerBackoffMsMax, request.delay)) return;
    } else if (call.is(i, "ERROR") && i + 1 < call.count() && !std::exchange(error_given, true)) {
      request.error = call[i + 1].substr(0, kErrorBytesMax);
    } else {
      return call.reply.error(kSyntaxError);
    }
  }
  settle_later(call, std::move(request));
}

constexpr std::string_view kCreateSyntax =
    "name pattern EVENT[,EVENT...] [PRIORITY n] [ON_FULL BLOCK ms | ON_FULL SHED] [RETRY n] [BACKOFF min max] [DEADLINE ms] "
    "[SAMPLE n] [DISABLED]";

constexpr Command kCommands[] = {
    {"group", -2, kContainer, 0, 0, 0, "cachee", "", "Consumer groups: programs that take events.", nullptr},
    {"group|ack", -4, kAdmin, 0, 0, 0, "cachee", "name id [id ...]",
     "Acknowledges events that this connection read; returns how many, when that is on disk.", run_ack},
    {"group|create", -5, kAdmin | kAsks | kMayGrow, 0, 0, 0, "cachee", kCreateSyntax,
     "Registers a group; OK also when it exists just so.", run_create},
    {"group|help", 2, 0, 0, 0, 0, "cachee", "", "Lists the subcommands.", run_help},
    {"group|info", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name", "Returns a group's options, its consumers and its lag.", run_info},
    {"group|list", 2, kAdmin | kAsks, 0, 0, 0, "cachee", "", "Returns the groups, highest priority first.", run_list},
    {"group|nack", -4, kAdmin, 0, 0, 0, "cachee", "name id [DELAY milliseconds] [ERROR text]",
     "Gives an event back as a failed attempt.", run_nack},
    {"group|read", -4, kAdmin, 0, 0, 0, "cachee", "name consumer [COUNT count] [BLOCK milliseconds] [DEADLINE milliseconds]",
     "Returns events that are due, each to one connection; null: none in time.", run_read},
    {"group|remove", 3, kAdmin | kAsks, 0, 0, 0, "cachee", "name", "Removes a group and acknowledges what waits for it.", run_remove},
    {"group|set", -5, kAdmin | kAsks | kMayGrow, 0, 0, 0, "cachee", kCreateSyntax, "Registers a group, or replaces the one of that name.",
     run_set},
};

}  // namespace

std::span<const Command> group_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
