// Loop: what an executor process does all day: it pulls the events of its lane from the ring, runs
// their triggers, and reports each run at once, in order.
//
// LOOP PROTOCOL
//   E1 the lane's claim moves over the event (Lane::try_advance)   E2 its triggers are chosen
//   per trigger:  E3 Lane::begin   E4 the run   E5 the report is written   E6 Lane::end
//   Killed between E1 and E3: not run; the event was claimed and comes again as a duplicate.
//   Killed between E3 and E5: running() says what ran, and the supervisor charges the attempt.
//   Killed between E5 and E6: the report counts; running() is older than it.
//   A report that does not fit is written after E6: waiting for the supervisor is no fault of the
//   run, and killed then the event comes again like one that was not run.
//
// [XR-1] Runs of one (key, trigger) happen in the order of their events: after a failed or held one
//        all later ones are held until the supervisor unblocks the pair.
// [XR-2] An event runs the triggers that wanted it when it was decided, as the newest table has them: its source, its
//        limits, and whether they are there at all.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cachee/maintain.hpp>
#include <cachee/triggers.hpp>

#include "executor/channel.hpp"
#include "executor/messages.hpp"
#include "executor/pool.hpp"
#include "executor/rehearsal.hpp"
#include "script/cache_reader.hpp"
#include "script/event_source.hpp"
#include "script/runtime.hpp"

namespace cachee::daemon {

class ExecutorLoop {
 public:
  ExecutorLoop(const ExecutorOptions& options, Cache cache, Lane lane,
               std::unique_ptr<Channel> inbox, std::unique_ptr<Channel> outbox);

  [[noreturn]] void run();
  /// One round of run(): some orders, some events. False: there was nothing to do.
  bool step();

 private:
  struct Loaded {
    std::unique_ptr<Script> script{};
    std::string error{};
  };
  using Pair = std::pair<std::uint64_t, std::uint32_t>;  // key hash, trigger slot

  void refresh_if_changed();
  void refresh();
  Loaded& script_of(const TriggerSpec& spec);

  bool take_orders();
  void obey(const Order& order);
  void run_stored(const Order& order);
  void run_spooled(const Order& order);
  const TriggerSpec* find_trigger(std::uint32_t slot) const;
  void run_test(const Order& order);

  void rehearse();

  bool handle_events();
  [[nodiscard]] bool advance(std::uint64_t to);
  void handle(const EventView& event);
  void handle_for(const EventView& event, const TriggerSpec& spec, RunReport& report);
  void report_damaged(std::uint64_t position);

  RunStatus execute(const Loaded& loaded, const EventSource& source, const RunLimits& limits,
                    RunReport& report);
  void send(const RunReport& report, bool ends_run);
  void look_at_clocks() noexcept;

  const ExecutorOptions options_;
  Cache cache_;
  EventReader reader_;
  Lane lane_;
  std::unique_ptr<Channel> inbox_;
  std::unique_ptr<Channel> outbox_;
  SegmentCacheReader cache_reader_;
  Runtime runtime_;
  std::optional<Rehearsal> rehearsal_{};  // of an executor that spins

  std::uint64_t position_;
  TriggerTable table_{};
  TriggerMatcher matcher_{};
  std::map<std::uint64_t, Loaded> scripts_{};  // by trigger id
  std::vector<Loaded*> scripts_of_table_{};    // by index in the table; null: not loaded yet
  std::map<Pair, std::uint64_t> blocked_{};    // number of the last report that it failed or was held
  std::uint64_t reports_ = 0;                  // sent so far
  std::vector<std::uint32_t> owed_{};          // indices into the table
  std::string message_{};
  TimeNs now_ = 0;                  // monotonic, as of the last look
  std::int64_t wall_ahead_us_ = 0;  // wall clock minus monotonic clock
};

}  // namespace cachee::daemon
