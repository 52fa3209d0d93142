// What the tests of daemon/src/script share: an event, a cache of a few keys, a run in one line.
#pragma once

#include <time.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "script/effects.hpp"
#include "script/runtime.hpp"

namespace cachee::daemon::test {

class FakeCache final : public CacheReader {
 public:
  struct Entry {
    std::string value{};
    std::optional<std::int64_t> ttl_ms{};
  };
  [[nodiscard]] Result<std::size_t> get(KeyView key, std::span<char> room) override {
    const auto found = entries.find(std::string{key});
    if (broken) return Errc::corrupt;
    if (found == entries.end()) return Errc::not_found;
    const std::string& value = found->second.value;
    if (value.size() <= room.size()) std::copy(value.begin(), value.end(), room.begin());
    return value.size();
  }
  [[nodiscard]] Result<std::optional<std::int64_t>> ttl_ms(KeyView key) override {
    const auto found = entries.find(std::string{key});
    if (broken) return Errc::corrupt;
    if (found == entries.end()) return Errc::not_found;
    return found->second.ttl_ms;
  }
  std::map<std::string, Entry> entries{};
  bool broken = false;
};

[[nodiscard]] inline EventData sample_event() {
  EventData event;
  event.id = "5f3a9c1e-1235";
  event.seq = 1234;
  event.kind = EventKind::write;
  event.cause = Cause::update;
  event.key = "session:42";
  event.value = "new";
  event.old_value = "old";
  event.metadata = {{"user", "42"}, {"limit", "100"}};
  event.cost = 12.5;
  event.version = 7;
  event.timestamp_wall_us = 1'700'000'000'250'000;
  event.deadline_wall_us = 1'700'000'060'250'000;
  event.ttl_ms = 60'000;
  event.lag_us = 1500;
  event.age_ms = 99;
  event.hits = 5;
  event.attempt = 2;
  event.duplicate = true;
  event.provenance = {.parent = 1200, .chain = 1100, .depth = 2};
  event.origin_role = Role::client;
  event.origin_pid = 4711;
  event.origin_client = "web";
  event.origin_instance = "host-a";
  return event;
}

/// Processor time of this thread: what a limit can promise on a busy machine.
[[nodiscard]] inline double thread_cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

/// A runtime, a cache and an event; each run() loads the source anew.
struct ScriptWorld {
  FakeCache cache{};
  Runtime runtime{cache};
  EventData event = sample_event();
  RunLimits limits{};
  std::vector<Effect> effects{};  // of the last run

  [[nodiscard]] std::unique_ptr<Script> load(std::string_view source) {
    TriggerSpec spec;
    spec.name = "test";
    spec.source = source;
    auto loaded = runtime.load(spec);
    load_error = loaded.error;
    return std::move(loaded.script);
  }
  RunResult run(Script& script) {
    const DataEvent source{event};
    RunResult result = runtime.run(script, source, limits);
    effects.clear();
    if (!result.effects.empty()) {
      auto decoded = decode_effects(result.effects);
      if (!decoded) {
        result.ok = false;
        result.error = "effects that the decoder refuses";
      } else {
        effects = std::move(*decoded);
      }
    }
    return result;
  }
  RunResult run(std::string_view source) {
    const auto script = load(source);
    if (!script) {
      RunResult result;
      result.error = "load: " + load_error;
      return result;
    }
    return run(*script);
  }
  /// The error of a source that must fail; "" when it did not.
  std::string error_of(std::string_view source) { return run(source).error; }
  /// What `return <expression>` would give, as text.
  std::string eval(std::string_view expression) {
    const RunResult result = run("cachee.set('r', tostring((" + std::string{expression} + ")))");
    return result.ok && effects.size() == 1 ? effects[0].value : "error: " + result.error;
  }
  std::string load_error{};
};

}  // namespace cachee::daemon::test
