// clients slabs ring events: what is in the segment besides keys.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <cachee/maintain.hpp>

#include "command.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "top_frame.hpp"

namespace cachee::cli {
namespace {

constexpr std::size_t kEventsDefault = 100;
// A handled event leaves the ring within a fraction of a millisecond; who wants to see it looks
// often.
constexpr std::chrono::microseconds kFollowInterval{200};

Failure failure(const char* what, const Error& error) {
  return {Exit::no, fmt::format("{}: {}", what, to_string(error))};
}

Command clients_command() {
  return {.words = "clients",
          .group = kSegmentGroup,
          .summary = "List who is attached and what they do",
          .example = "cachee clients",
          .declare = [](CLI::App&) -> Run {
            return [](Context& context) {
              const auto clients = list_clients(context.source.segment(Access::read_only));
              if (!clients) throw failure("clients", clients.error());
              Value rows = Value::list();
              for (const auto& client : *clients) {
                rows.push(Value::object()
                              .add("id", client.id.value)
                              .add("pid", client.pid)
                              .add("name", client.name)
                              .add("role", to_string(client.role))
                              .add("alive", client.alive)
                              .add("recovering", client.recovering)
                              .add("operation", client.operation)
                              .add("pins", client.pins)
                              .add("registration", client.registration)
                              .add("attached", Value{client.attached_wall_ms, Unit::wall_ms})
                              .add("hits", client.stats.hits)
                              .add("misses", client.stats.misses)
                              .add("sets", client.stats.sets)
                              .add("deletes", client.stats.deletes)
                              .add("expired", client.stats.expired)
                              .add("evicted", client.stats.evicted)
                              .add("events", client.stats.events)
                              .add("backpressure", client.stats.backpressure)
                              .add("retries", client.stats.retries));
              }
              context.out.print(rows);
              return Exit::yes;
            };
          }};
}

Command slabs_command() {
  return {.words = "slabs",
          .group = kSegmentGroup,
          .summary = "Show memory by size class, and what is lost inside blocks",
          .example = "cachee slabs\ncachee slabs --json | jq 'map(.live_bytes - .requested_bytes) | add'",
          .declare = [](CLI::App&) -> Run {
            return [](Context& context) {
              const auto classes = list_slabs(context.source.segment(Access::read_only));
              if (!classes) throw failure("slabs", classes.error());
              context.out.print(slabs_value(*classes));
              return Exit::yes;
            };
          }};
}

Command ring_command() {
  return {.words = "ring",
          .group = kSegmentGroup,
          .summary = "Show how full the event ring is, and its events by state",
          .example = "cachee ring",
          .declare = [](CLI::App&) -> Run {
            return [](Context& context) {
              const Cache& cache = context.source.segment(Access::read_only);
              const auto info = segment_info(cache);
              if (!info) throw failure("ring", info.error());
              const RingInfo& ring = info->ring;
              const auto events = list_events(cache, ring.capacity);
              if (!events) throw failure("ring", events.error());
              std::uint64_t acknowledged = 0;
              std::uint64_t started = 0;
              std::uint64_t waiting = 0;
              std::map<std::string, std::uint64_t> kinds;
              for (const auto& event : *events) {
                ++kinds[to_string(event.kind)];
                ++(event.acknowledged ? acknowledged : event.attempts > 0 ? started : waiting);
              }
              Value by_kind = Value::object();
              for (const auto& [kind, count] : kinds) by_kind.add(kind, count);
              const std::int64_t now_us = std::chrono::duration_cast<std::chrono::microseconds>(
                                              std::chrono::system_clock::now().time_since_epoch())
                                              .count();
              const std::int64_t lag_ms =
                  events->empty() ? 0 : (now_us - events->front().timestamp_wall_us) / 1000;
              context.out.print(
                  Value::object()
                      .add("capacity", ring.capacity)
                      .add("head", ring.head)
                      .add("tail", ring.tail)
                      .add("depth", ring.tail - ring.head)
                      .add("admission_limit", ring.admission_limit)
                      .add("lag_ms", Value::milliseconds(std::max<std::int64_t>(lag_ms, 0)))
                      .add("waiting", waiting)
                      .add("started", started)
                      .add("acknowledged", acknowledged)
                      .add("by_type", std::move(by_kind)));
              return Exit::yes;
            };
          }};
}

Value pending_value(const PendingEvent& event, const std::string& id) {
  return Value::object()
      .add("seq", event.seq.value)
      .add("id", id)
      .add("time", Value{event.timestamp_wall_us / 1000, Unit::wall_ms})
      .add("type", to_string(event.kind))
      .add("cause", to_string(event.cause))
      .add("key", event.key)
      .add("version", event.version)
      .add("attempts", event.attempts)
      .add("acknowledged", event.acknowledged);
}

/// A copy of an event while it is in the ring. nullopt when it left during the copy: its memory
/// may then hold something else already.
std::optional<Value> copy_event(const EventReader& reader, const EventView& view) {
  const std::string key{view.key};
  const std::string bytes{view.value};
  const auto old_value = view.old_value();
  const std::optional<std::string> old_bytes =
      old_value ? std::optional<std::string>{*old_value} : std::nullopt;
  const Metadata metadata = view.metadata();
  Value event = Value::object();
  event.add("seq", view.seq.value)
      .add("id", reader.event_id(view.seq.value + 1))
      .add("time", Value{view.timestamp_wall_us() / 1000, Unit::wall_ms})
      .add("type", to_string(view.kind))
      .add("cause", to_string(view.cause))
      .add("key", key)
      .add("version", view.version())
      .add("value", bytes)
      .add("old_value", old_bytes ? Value{*old_bytes} : Value{})
      .add("metadata", metadata_value(metadata))
      .add("cost", view.cost())
      .add("origin", to_string(view.origin_role()))
      .add("pid", view.origin_pid())
      .add("depth", view.provenance().depth)
      .add("attempts", view.attempts());
  if (reader.head() > view.seq.value) return std::nullopt;
  return event;
}

std::string event_line(const Value& event) {
  const auto cell = [&](const char* name) {
    const Value* const value = event.find(name);
    return value == nullptr ? std::string{} : to_cell(*value);
  };
  return fmt::format("{}  {:>8}  {:<7} {:<10} {}  version {}  value {}", cell("time"), cell("seq"),
                     cell("type"), cell("cause"), cell("key"), cell("version"), cell("value"));
}

Exit follow_events(Context& context, const Cache& cache, const std::string& pattern) {
  const EventReader reader{cache};
  const StopSignal stop;
  std::uint64_t position = reader.head();
  std::uint64_t unseen = 0;
  while (!StopSignal::requested() && !context.out.failed()) {
    const auto view = reader.at(EventSeq{position});
    if (!view && view.code() == Errc::would_block) {
      context.out.flush();
      std::this_thread::sleep_for(kFollowInterval);
      continue;
    }
    if (!view && view.code() == Errc::lapped) {
      const std::uint64_t head = std::max(reader.head(), position + 1);
      unseen += head - position;
      position = head;
      continue;
    }
    if (!view) throw failure("events", view.error());
    const auto event = copy_event(reader, *view);
    ++position;
    if (!event) {
      ++unseen;
      continue;
    }
    const Value* const key = event->find("key");
    if (pattern != "*" && !glob_match(pattern, key->string())) continue;
    context.out.print_line(*event, event_line(*event));
  }
  if (unseen > 0) {
    say("{} events were handled and gone before they could be shown", format_count(unseen));
  }
  return Exit::yes;
}

Command events_command() {
  return {.words = "events",
          .group = kSegmentGroup,
          .summary = "List the events in the ring, or watch them as they come",
          .example = "cachee events\ncachee events 'session:*' --follow",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::string pattern = "*";
              std::size_t limit = kEventsDefault;
              bool follow = false;
            };
            auto options = std::make_shared<Options>();
            declare_word(app, "glob", options->pattern, "Only keys that match (default: *)");
            declare_integer(app, "--limit", options->limit,
                            "At most so many of the oldest (default: 100)");
            app.add_flag("-f,--follow", options->follow,
                         "Watch until Ctrl-C; events that are handled at once may pass unseen and "
                         "are counted");
            return [options](Context& context) {
              const Cache& cache = context.source.segment(Access::read_only);
              if (options->follow) return follow_events(context, cache, options->pattern);
              const auto events = list_events(cache, options->limit);
              if (!events) throw failure("events", events.error());
              const EventReader reader{cache};
              Value rows = Value::list();
              for (const auto& event : *events) {
                if (options->pattern != "*" && !glob_match(options->pattern, event.key)) continue;
                rows.push(pending_value(event, reader.event_id(event.seq.value + 1)));
              }
              context.out.print(rows);
              return Exit::yes;
            };
          }};
}

}  // namespace

std::vector<Command> inspect_commands() {
  return {clients_command(), slabs_command(), ring_command(), events_command()};
}

}  // namespace cachee::cli
