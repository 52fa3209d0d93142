// Executor: the supervisor's side of one executor process.
//
// Use:   auto executor = Executor::start({...});
//        executor->poll(512, [&](const RunReport& run) { ... });   // in the order of the runs
//        if (executor->exited()) { poll() once more for what it had reported; start a new one }
//        executor->watchdog(now, timeout_ms);                      // on another thread: kills, no more
//
// Nothing that comes from the process is trusted: reports are decoded with bounds, and a queue
// whose bytes make no sense ends the process (exited() then says so).
//
// WATCHDOG
//   [WD-1] A run that is over its wall-clock limit is killed within twice the limit, whatever the dispatcher does
//          meanwhile: watchdog() has a thread of its own, and touches neither the store nor a queue's position.
//   [WD-2] So is a process without a run that has not moved for still_ms_max although events or orders wait for it.
//          One that waits for room in its outbox waits for us, and one behind a cell of the ring that its writer has
//          not finished waits for that: neither counts.
//   watchdog() sends SIGKILL by a pidfd: the pid may be reaped, and another's, by then. All that follows is done by
//   the dispatcher, which finds exited(): what ran is in Lane::running(), as after any other end of the process.
//
// Threads: one, the dispatcher's; watchdog() and wake() on any, while the object lives.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cachee/maintain.hpp>
#include <cachee/triggers.hpp>

#include "core/event_data.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

enum class RunStatus : std::uint8_t {
  ok = 1,       // effects are to be carried out
  failed = 2,   // error, traceback; no effects. The pair (key, trigger) is now blocked
  held = 3,     // not run: the pair is blocked, or the trigger is paused
  skipped = 4,  // not run and not owed: no such trigger any more
  handed = 5,   // for a consumer group: the store takes it over, behind what it has of the key
};

/// One run of one event for one trigger. Borrows for the sink's call.
struct RunReport {
  EventSeq seq{};
  std::uint64_t token = 0;  // of run_stored(), run_spooled() or test(); 0: an event of the ring
  std::uint64_t key_hash = 0;
  std::uint32_t trigger_slot = kNoTriggerSlot;
  std::uint64_t trigger_id = 0;
  RunStatus status = RunStatus::skipped;
  bool last = true;  // no more runs of this event follow
  std::uint32_t attempt = 1;
  bool duplicate = false;
  std::string_view error{};
  std::string_view traceback{};
  std::string_view effects{};  // encoded; decode_effects()
  std::uint64_t steps = 0;
  std::uint64_t memory_peak = 0;
  std::uint64_t run_ns = 0;
  std::int64_t lag_us = 0;  // from the event's timestamp to the start of the run
  static constexpr std::uint32_t kNoTriggerSlot = 0xffffffff;
};

inline constexpr std::int64_t kStillMsMax = 3000;

struct ExecutorOptions {
  std::string executable = "/proc/self/exe";
  std::string segment{};
  std::uint32_t lane = 0;
  std::uint32_t lane_count = 1;        // it handles keys with key_hash % lane_count == lane
  std::uint64_t start_position = 0;    // first ring position to look at
  std::uint64_t duplicate_before = 0;  // events below may have been run before a crash
  std::vector<std::pair<std::uint64_t, std::uint32_t>> blocked{};  // (key_hash, trigger_slot)
  bool spin = false;                                               // --idle spin
  std::int64_t still_ms_max = kStillMsMax;  // [WD-2]
  bool stopped = false;  // its lane begins stopped: it only runs what its inbox has until that is resumed
};

class Executor {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Executor>> start(const ExecutorOptions& options);
  virtual ~Executor() = default;  // kills the process if it still runs

  /// Up to `count_max` reports, in order. Returns how many.
  virtual int poll(int count_max, const std::function<void(const RunReport&)>& sink) = 0;
  /// Sleeps until there is a report, the process ends, wake() is called, or the time is over.
  virtual void wait(std::chrono::microseconds longest) = 0;
  /// Ends a wait(); on any thread.
  virtual void wake() = 0;

  // Inbox. False: it is full, try again later.
  virtual bool run_stored(std::uint64_t token, std::uint32_t trigger_slot,
                          const EventData& event) = 0;
  /// Like an event of the ring, but from here: held while its pair is blocked or its trigger paused.
  virtual bool run_spooled(std::uint64_t token, std::uint32_t trigger_slot, std::uint64_t key_hash,
                           const EventData& event) = 0;
  virtual bool block(std::uint64_t key_hash, std::uint32_t trigger_slot) = 0;
  /// Obeyed only if none of the executor's reports behind the first `reports_seen` says that a run of
  /// the pair failed or was held; otherwise such a report is on its way, and it is asked again later.
  virtual bool unblock(std::uint64_t key_hash, std::uint32_t trigger_slot,
                       std::uint64_t reports_seen) = 0;
  /// Runs a source that need not be registered; the report has this token.
  virtual bool test(std::uint64_t token, const TriggerSpec& spec, const EventData& event) = 0;
  virtual void kick() = 0;  // look at the trigger table and the ring again

  /// Kills the process when its current run is over the wall-clock limit of its trigger, or when it stands still.
  /// True: it did, now or before. To be called every few milliseconds.
  virtual bool watchdog(TimeNs now, const std::function<std::uint32_t(std::uint32_t trigger_slot)>& timeout_ms) = 0;
  /// The current run, when it has taken longer than that.
  [[nodiscard]] virtual std::optional<Lane::Running> running_longer_than(TimeNs now, TimeNs longest) const = 0;
  /// Kills the process; exited() then has this reason.
  virtual void stop(std::string reason) = 0;
  /// Whether it was the watchdog that ended the process; once exited().
  [[nodiscard]] virtual bool was_killed() const noexcept = 0;
  /// Why the process ended, once it has.
  [[nodiscard]] virtual std::optional<std::string> exited() = 0;
  [[nodiscard]] virtual int pid() const noexcept = 0;
  /// Every ring position below has been looked at (and reported if it was this lane's).
  [[nodiscard]] virtual std::uint64_t scanned_through() const noexcept = 0;
};

}  // namespace cachee::daemon
