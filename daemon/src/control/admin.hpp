// TriggerAdmin: what the control socket asks of the part that runs triggers. The dispatcher
// implements it; control knows only this.
//
// Threads: any, several at once. Calls may block until the dispatcher has answered; the
// implementation hands over, bounds the wait, and ends it at once when the dispatcher stops.
// Errors: Failure::text is shown as it is, behind "ERR "; Errc::not_found where a name, id or chain
// is not known, Errc::no_supervisor when the dispatcher does not answer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/triggers.hpp>
#include <nlohmann/json.hpp>

#include "control/group_broker.hpp"
#include "core/histogram.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

/// `VERIFY`: where every emitted pair (event, trigger) is now.
struct TriggerAccount {
  std::string name{};
  std::uint64_t emitted = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t retry = 0;
  std::uint64_t spooled = 0;
  std::uint64_t dead = 0;
  std::uint64_t shed = 0;
  /// emitted = the sum of the others.
  [[nodiscard]] bool adds_up() const noexcept {
    return emitted == acknowledged + in_flight + retry + spooled + dead + shed;
  }
};

/// How a trigger's runs ended, what they cost and how late they began.
struct TriggerRuns {
  std::string name{};
  std::uint64_t ok = 0;
  std::uint64_t failed = 0;   // = retried + dead
  std::uint64_t retried = 0;  // of them, to be tried again
  std::uint64_t dead = 0;     // of them, given up
  Histogram run_ns{};
  Histogram lag_us{};
  Histogram steps{};
  Histogram memory_bytes{};
  std::map<std::string, double, std::less<>> metrics{};  // sums of cachee.metric, by name
};

class TriggerAdmin {
 public:
  virtual ~TriggerAdmin() = default;

  // Registry. `specs` come with name, pattern, events and options checked; the source is not
  // compiled yet. A spec whose name is registered replaces that trigger atomically.

  /// Compiles, stores and publishes all of them, or none. When it returns without an error every
  /// later operation of every client sees the triggers. A source that does not compile is refused
  /// with Lua's message and line, and the trigger's name when there are several.
  [[nodiscard]] virtual Outcome<void> register_triggers(std::vector<TriggerSpec> specs) = 0;
  /// Highest priority first, then oldest; with source.
  [[nodiscard]] virtual std::vector<TriggerSpec> list_triggers() = 0;
  /// One by its name, with source. The error is "no such trigger: NAME".
  [[nodiscard]] virtual Outcome<TriggerSpec> find_trigger(std::string_view name) = 0;
  [[nodiscard]] virtual Outcome<void> remove_trigger(std::string_view name) = 0;
  [[nodiscard]] virtual Outcome<void> enable_trigger(std::string_view name, bool enabled) = 0;
  [[nodiscard]] virtual Outcome<void> pause_trigger(std::string_view name, bool paused) = 0;

  /// One JSON object of numbers and strings (runs, errors, latencies, last_error, ...).
  [[nodiscard]] virtual Outcome<nlohmann::json> trigger_stats(std::string_view name) = 0;

  /// Runs a handler against an event given as JSON, outside the ring and without carrying out its
  /// effects; returns a JSON text: {"ok":..., "error":..., "matches":[...], "effects":[...],
  /// "steps":..., "memory_bytes":..., "microseconds":...}. `matches`: the registered triggers that
  /// such an event would set off, in the order in which they would run.
  [[nodiscard]] virtual Outcome<std::string> test_trigger(std::string_view name,
                                                              std::string_view event_json) = 0;
  [[nodiscard]] virtual Outcome<std::string> test_source(std::string_view source,
                                                             std::string_view event_json) = 0;

  // Dead letters of triggers and of the outbox; ids as LIST shows them.

  /// Array of objects, oldest first, at most `count_max`.
  [[nodiscard]] virtual Outcome<nlohmann::json> list_dead_letters(std::size_t count_max) = 0;
  /// One object with everything: event, error, traceback.
  [[nodiscard]] virtual Outcome<nlohmann::json> show_dead_letter(std::string_view id) = 0;
  /// No id: all of them. Returns how many.
  [[nodiscard]] virtual Outcome<std::uint64_t> replay_dead_letters(
      std::optional<std::string_view> id) = 0;
  [[nodiscard]] virtual Outcome<std::uint64_t> purge_dead_letters(
      std::optional<std::string_view> id) = 0;

  /// Array of objects: what waits to be sent, oldest first, at most `count_max`.
  [[nodiscard]] virtual Outcome<nlohmann::json> list_outbox(std::size_t count_max) = 0;
  /// Array of objects: every step known of a chain of events, in order.
  [[nodiscard]] virtual Outcome<nlohmann::json> trace_chain(std::string_view chain) = 0;

  /// Hands the events of consumer groups out. Groups are registered, listed, paused and removed as
  /// triggers are.
  [[nodiscard]] virtual GroupBroker& groups() noexcept = 0;

  // Figures.

  /// A row per registered trigger. A row of a settled system adds up at any moment.
  [[nodiscard]] virtual Outcome<std::vector<TriggerAccount>> account() = 0;
  /// Path of the JSON-lines file of a `cachee.log` channel, whether or not it exists yet.
  [[nodiscard]] virtual Outcome<std::string> log_path(std::string_view channel) = 0;
  /// {"path", "settled_bytes", "chain"} of a channel of cachee.log: what its files must end with.
  [[nodiscard]] virtual Outcome<nlohmann::json> log_info(std::string_view channel) = 0;
  /// A row per registered trigger, since this cacheed started.
  [[nodiscard]] virtual Outcome<std::vector<TriggerRuns>> trigger_runs() = 0;
  /// Array of objects: the last runs that took long, youngest first, at most `count_max`:
  /// {"id", "wall_ms", "run_us", "steps", "trigger", "event", "key", "event_id"}.
  [[nodiscard]] virtual Outcome<nlohmann::json> slow_runs(std::size_t count_max) = 0;
  virtual Outcome<void> clear_slow_runs() = 0;
  /// One flat JSON object for the `# Cachee` section of INFO.
  [[nodiscard]] virtual nlohmann::json server_stats() = 0;
};

}  // namespace cachee::daemon
