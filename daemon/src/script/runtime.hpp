// Runtime: runs triggers' Lua.
//
// Use:   Runtime runtime{cache_reader};
//        auto loaded = runtime.load(spec);                    // compiled once per registration
//        if (!loaded.script) return report(loaded.error);
//        RunResult result = runtime.run(*loaded.script, event, limits_of(spec));
//        if (result.ok) send(result.effects);                 // bytes: effects.hpp
//
// Each script has a Lua state of its own, so that scripts share nothing and one's garbage is never
// another's work. Between two runs nothing is kept: globals are dropped, and a state in which a
// limit was hit is made anew.
//
// Limits hold inside every function a script can reach, with these exceptions, which the
// supervisor's watchdog ends: a garbage collection of a heap made costly on purpose, and the
// compilation of a source of kTriggerSourceBytesMax.
//
// Threads: one thread per Runtime. fork(): not meant for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <cachee/triggers.hpp>

#include "script/cache_reader.hpp"
#include "script/event_source.hpp"
#include "script/limits.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kErrorBytesMax = 4096;  // of an error message; longer ones are cut
/// `goto break and or elseif ::` of one source together, wherever they stand: Lua's compiler walks all that
/// are open at each of them.
inline constexpr std::size_t kBranchWordsMax = 4096;

struct RunResult {
  bool ok = false;
  Limit exceeded = Limit::none;
  std::string error{};
  std::string traceback{};
  std::uint64_t steps = 0;        // in units of up to 100 unless exact_steps
  std::uint64_t memory_peak = 0;  // bytes above what the state held at the start
  std::uint64_t run_ns = 0;
  std::string_view effects{};  // encoded, empty when there are none; valid until the next run
};

/// One compiled trigger.
class Script {
 public:
  ~Script();
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;

 private:
  friend class Runtime;
  struct Impl;
  explicit Script(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

class Runtime {
 public:
  explicit Runtime(CacheReader& cache) noexcept : cache_{cache} {}

  struct Loaded {
    std::unique_ptr<Script> script{};  // null: `error` says why
    std::string error{};
  };
  /// Compiles a trigger's source. The error is Lua's message: name, line, what is wrong.
  [[nodiscard]] Loaded load(const TriggerSpec& spec) const;
  /// Runs it for one event. Never throws; what goes wrong is in the result.
  [[nodiscard]] RunResult run(Script& script, const EventSource& event,
                              const RunLimits& limits) const;
  /// The same for a caller that has just looked at the monotonic clock: its limit and run_ns count from `now`.
  [[nodiscard]] RunResult run(Script& script, const EventSource& event, const RunLimits& limits,
                              TimeNs now) const;

  /// Compiles without running, for registration: Lua's message, or nothing when it compiles. What would take
  /// the compiler long is refused: beyond kTriggerSourceBytesMax or kBranchWordsMax.
  [[nodiscard]] static std::optional<std::string> check(std::string_view name,
                                                        std::string_view source);

 private:
  CacheReader& cache_;
  std::shared_ptr<script::SmallBlocks> blocks_ = std::make_shared<script::SmallBlocks>();
};

}  // namespace cachee::daemon
