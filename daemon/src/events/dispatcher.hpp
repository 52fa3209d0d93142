// Dispatcher: from what executors report to acknowledged events.
//
// DISPATCH PROTOCOL
//
//   for a batch of reports (a run = one event for one trigger):
//     D1  one store transaction: log lines and outbox rows of runs that succeeded; failed and held
//         runs move in (with their event), and those of consumer groups (groups.hpp); results of
//         stored runs                                                    (Batch::commit, one fsync)
//     D2  log lines reach their files, fdatasync                        (LogWriter::flush)
//     D3  cache effects are applied
//     D1' like D1, if D2 or D3 refused something or a stored run succeeded: what is left of the refused runs
//         moves in or is kept with its stored run, and what failed or was held behind one of them moves in;
//         stored runs that are carried out are finished
//     D4  the event is marked acknowledged in the segment; a prefix of acknowledged events is
//         released together with the triggers' counters                (Maintainer::release_through;
//         an event of more triggers than that can count is counted ahead: Maintainer::count_ahead)
//
//   [DP-1] An event is acknowledged only when every run it owed is done (D1-D3) or moved in.
//   [DP-2] Runs of one (trigger, key) happen in the order of their events: after a failure the
//          executor reports later ones `held`, they queue in the store, and it is unblocked only
//          when the store has none left and it has reported no further held one. When a run is refused that the
//          executor had reported as well done, later ones that it reports so are turned away and held like those,
//          before D1; of those whose D1 is over, what is left queues behind what is left of it.
//   [DP-3] Account, by trigger: emitted = acknowledged + moved + shed, counted when released; and
//          moved (released or not) = what the store says moved in + what the spool still has.
//
// BACKLOG PROTOCOL (backlog.cpp): above a watermark of events or of pinned bytes the backlog leaves the
// ring for the spool (spool.hpp), and executors get it from there until they have caught up.
//
//   B1 every lane is stopped: executors finish what they claimed and take nothing more from the ring
//   B2 events behind the lanes' claims go to the spool, one frame and fsync for many      (Spool::append)
//   B3 their cells are acknowledged as moved (or shed) and released like any other
//   B4 what was spooled goes to the executors' inboxes in order; a run that fails or is held moves into
//      the store, as from the ring; the cursor passes what is over           (Store::settle_spool)
//   B5 the spool is empty and the ring below the watermark: the lanes go on behind the last spooled event
//
//   [DP-4] What of a key was claimed before B1 is over, or in the store, before anything of it is run from
//          the spool; what is spooled is handed over before B5. So the order of the key is kept.
//   [DP-5] A trigger that asked for ON_FULL SHED has its runs shed in B2 instead of spooled; one gap event
//          for each frame says how many and which. A run that a cacheed before this one may have begun is spooled: a
//          kill between D1 and D4 left its log line.
//   [DP-6] A run that another cacheed may have begun, or that an executor died in, says duplicate = true from then on,
//          wherever its event has got to since: the ring, the spool or the store, and however many executors died
//          over it. So does one that a consumer had in hand which is gone or let its deadline pass.
//   [DP-8] A run whose effects cannot all be applied, as far as a look tells (examiner.hpp), fails before D1: nothing of
//          it is stored or applied. Other programs may write between the look and D3: [DP-9].
//   [DP-9] A run whose D1 is over is never run again by this cacheed or, once D1' is over, by any: what D2 or D3 refused of
//          it is kept, encoded, with its stored run, and each attempt goes on with the write that was refused. Its dead
//          letter keeps it, and a replay goes on with it as well.
//   [DP-10] A run that is set aside (aside.cpp) was seen by nobody: no attempt, no effect, nothing reported. It is in the
//          store before its event leaves the ring, and its pair is held back there.
//   [DP-11] What is reported, counted or stored of a trigger is never taken for another's: the slot of a removed one is
//          not given away while a report, a position or a run may name it (registry.hpp). A run that is reported after
//          the removal is over, as those that wait.
//
//   Killed between   what is left                         what the next start does
//   before D1        nothing                              the event runs again, duplicate = true
//   D1 and D4        ledger entries, lines, rows,         the event runs again, duplicate = true; the ledger lets
//                    stored runs, some or all writes      nothing in twice, a moved run is found moved and not spooled;
//                                                         all of its writes are applied (again)
//   D3 and D1' of    what was left before this attempt    goes on from there: the writes of this attempt are applied
//   a kept run                                            again
//   D1' and D4       what is left, with the stored run    goes on with it; the event is found moved
//   D4 (ack) and     an acknowledged cell, perhaps        its runs are counted by was_moved, but for
//   the release      counted ahead in part                those of triggers that were counted ahead
//   B2 and B3        events in the spool and the ring     the spool's records say which cells left; what was
//                                                         claimed before them goes to the store first
//   B4 (run) and     events that ran, before the cursor   they are run again, duplicate = true
//   its cursor
//
// Threads: start() makes the dispatcher's own; everything of TriggerAdmin may be called from the
// control thread and is carried out on the dispatcher's.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <cachee/maintain.hpp>

#include "compliance/log_writer.hpp"
#include "control/admin.hpp"
#include "core/clock.hpp"
#include "core/event_data.hpp"
#include "core/outcome.hpp"
#include "events/examiner.hpp"
#include "events/figures.hpp"
#include "events/groups.hpp"
#include "events/registry.hpp"
#include "events/spool.hpp"
#include "executor/pool.hpp"
#include "script/effects.hpp"
#include "store/store.hpp"

namespace cachee::daemon {

struct DispatcherOptions {
  std::string segment{};
  std::string executable = "/proc/self/exe";
  std::uint32_t executors = 1;
  bool spin = false;
  std::int64_t still_ms_max = kStillMsMax;  // [WD-2] of executors
  StoreOptions store{};
  std::function<void()> outbox_wake{};  // there may be new outbox rows
  // The backlog goes to disk above these; 0: a share of the segment's own bounds.
  std::uint64_t backlog_events_max = 0;
  std::uint64_t pinned_bytes_max = 0;
  SpoolOptions spool{};                 // an empty directory: "spool" in the store's
  LogRules log{};
};

class Dispatcher final : public TriggerAdmin {
 public:
  [[nodiscard]] static Outcome<std::unique_ptr<Dispatcher>> make(Maintainer& keeper, DispatcherOptions options);
  ~Dispatcher() override;

  /// Starts the executors and the dispatcher's thread.
  Outcome<void> start();
  /// Goes on until nothing is left in the ring or the patience is over, then stops everything.
  void stop(std::chrono::milliseconds patience);

  // TriggerAdmin
  Outcome<void> register_triggers(std::vector<TriggerSpec> specs) override;
  std::vector<TriggerSpec> list_triggers() override;
  Outcome<TriggerSpec> find_trigger(std::string_view name) override;
  Outcome<void> remove_trigger(std::string_view name) override;
  Outcome<void> enable_trigger(std::string_view name, bool enabled) override;
  Outcome<void> pause_trigger(std::string_view name, bool paused) override;
  Outcome<nlohmann::json> trigger_stats(std::string_view name) override;
  Outcome<std::string> test_trigger(std::string_view name, std::string_view event_json) override;
  Outcome<std::string> test_source(std::string_view source, std::string_view event_json) override;
  Outcome<nlohmann::json> list_dead_letters(std::size_t count_max) override;
  Outcome<nlohmann::json> show_dead_letter(std::string_view id) override;
  Outcome<std::uint64_t> replay_dead_letters(std::optional<std::string_view> id) override;
  Outcome<std::uint64_t> purge_dead_letters(std::optional<std::string_view> id) override;
  Outcome<nlohmann::json> list_outbox(std::size_t count_max) override;
  Outcome<nlohmann::json> trace_chain(std::string_view chain) override;
  Outcome<std::vector<TriggerAccount>> account() override;
  Outcome<std::string> log_path(std::string_view channel) override;
  Outcome<nlohmann::json> log_info(std::string_view channel) override;
  Outcome<std::vector<TriggerRuns>> trigger_runs() override;
  Outcome<nlohmann::json> slow_runs(std::size_t count_max) override;
  Outcome<void> clear_slow_runs() override;
  /// From now on; see SlowLog.
  void set_slow_log(std::int64_t over_ns, std::size_t runs_max);
  nlohmann::json server_stats() override;
  GroupBroker& groups() noexcept override { return *groups_; }

 private:
  using WallMs = std::int64_t;
  /// Tokens of runs from here on are tests; below, spooled runs, and below them ids of stored runs.
  static constexpr std::uint64_t kTestTokens = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kSpoolTokens = std::uint64_t{1} << 61;
  static constexpr int kReportsPerRound = 8192;  // they share two fsyncs when they wait anyway
  static constexpr std::int64_t kStorePauseMs = 200;  // after a failure of the store
  static constexpr WallMs kLogRetryMs = 1000;         // of runs whose log file cannot be written
  static constexpr unsigned kSpoolTriggerBits = 14;  // of a token: which trigger of the record
  static_assert(kTriggerSlotsMax <= 1u << kSpoolTriggerBits);

  /// How far a run is carried out.
  enum class Step : std::uint8_t { fresh, apply, finish, done };
  /// A run that is over and was part of a chain: its event came of another, or it wrote keys itself.
  struct TraceStep {
    std::uint64_t number = 0;  // of its event
    Provenance of_event{};
    EventKind kind = EventKind::none;
    std::string key{};
    std::string trigger{};
    const char* where = "handled";
    WallMs wall_ms = 0;
  };
  static constexpr std::size_t kTraceStepsMax = 16384;
  /// One report, kept until it is carried out.
  struct Run {
    EventSeq seq{};
    std::int64_t stored_id = 0;  // 0: a run of a ring event or a spooled one
    std::uint64_t spool_token = 0;  // 0: not spooled
    std::string spool_trigger{};    // of a spooled one
    bool of_group = false;          // a stored one that a consumer had
    std::uint64_t key_hash = 0;
    std::uint32_t trigger_slot = RunReport::kNoTriggerSlot;
    RunStatus status = RunStatus::skipped;
    bool last = true;
    bool duplicate = false;
    std::uint32_t attempt = 1;
    std::string error{};
    std::string traceback{};
    std::vector<Effect> effects{};
    Provenance from{};           // what its cache writes carry
    std::optional<TraceStep> trace{};
    Step step = Step::fresh;
    bool moved = false;          // the store took it over
    std::optional<WallMs> delay_ms{};  // until the next attempt; none: the trigger's BACKOFF
    bool free_of_charge = false;  // failed for want of room in the ring, or lost with its consumer: no attempt
    bool give_up = false;         // failed in a way that no further attempt could mend
    bool carried = false;         // its D1 is over and `effects` are what is left of them [DP-9]
    [[nodiscard]] bool of_ring() const noexcept { return stored_id == 0 && spool_token == 0; }
  };
  using Pair = std::pair<std::uint64_t, std::uint32_t>;  // key hash, trigger slot
  /// One spooled event that is next in line, from the cursor on.
  struct Spooled {
    enum class State : std::uint8_t { waiting, running, over, moved };
    SpoolRecord record{};
    std::vector<State> states{};  // by trigger of the record
    std::uint64_t bytes = 0;
  };
  struct SpooledRun {
    Spooled* spooled = nullptr;
    std::size_t trigger = 0;  // which of the record's
    [[nodiscard]] const std::string& name() const { return spooled->record.triggers[trigger]; }
    [[nodiscard]] Spooled::State& state() const { return spooled->states[trigger]; }
  };
  /// Deltas of one position, one for each trigger: nearly always one, which is kept in place.
  class Deltas {
   public:
    void push_back(const Maintainer::Delta& delta) {
      if (count_ == 1) more_.push_back(first_);
      if (count_ == 0) first_ = delta;
      else more_.push_back(delta);
      ++count_;
    }
    void drop_below(std::uint32_t slot) {
      std::vector<Maintainer::Delta> kept;
      for (const Maintainer::Delta& delta : *this) {
        if (delta.trigger_slot >= slot) kept.push_back(delta);
      }
      *this = {};
      for (const Maintainer::Delta& delta : kept) push_back(delta);
    }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] const Maintainer::Delta* begin() const noexcept { return count_ > 1 ? more_.data() : &first_; }
    [[nodiscard]] const Maintainer::Delta* end() const noexcept { return begin() + count_; }

   private:
    Maintainer::Delta first_{};
    std::vector<Maintainer::Delta> more_{};  // all of them, from the second on
    std::size_t count_ = 0;
  };
  /// What is known of one ring position that is not released.
  struct Position {
    Deltas deltas{};
    std::uint64_t moved = 0;
    bool done = false;
    void add(std::uint32_t slot, const Counters& counters) {
      deltas.push_back({slot, counters});
      moved += counters.moved;
    }
  };
  /// One executor with what the dispatcher knows of it.
  struct Worker {
    std::uint32_t lane = 0;
    std::unique_ptr<Executor> process{};
    std::uint64_t next = 0;           // first position it has not reported fully
    std::uint64_t stopped_at = 0;     // while spooling: from here on the ring is not its own
    std::uint64_t reports = 0;        // taken from this process
    std::map<Pair, std::uint64_t> held{};  // blocked pairs: the last report that says so
    std::chrono::steady_clock::time_point restart_at{};
    int restarts = 0;
  };

  /// An executor beside the lanes, for one slow run at a time. Its lane word is one that no lane uses, and is stopped:
  /// it takes nothing from the ring.
  struct Aside {
    Worker worker{};
    std::int64_t run = 0;  // stored run it has in hand; 0: none
    std::chrono::steady_clock::time_point idle_since{};
  };

  Dispatcher(Maintainer& keeper, DispatcherOptions options);
  Outcome<void> recover_ring();
  Outcome<void> recover_spool();
  Outcome<void> take_over_claimed();
  [[nodiscard]] ExecutorOptions options_of_executor(std::uint32_t lane) const;
  Outcome<void> start_worker(Worker& worker, std::uint64_t from);
  void loop();
  bool run_tasks();
  bool collect();
  [[nodiscard]] bool has_in_hand(std::uint32_t slot, std::string_view trigger) const;
  [[nodiscard]] std::optional<std::string> objection_to(const std::vector<Effect>& effects, const TriggerSpec& spec,
                                                        const Provenance& from) const;
  void answer_test(const RunReport& report);
  void take_report(Worker& worker, const RunReport& report);
  static void note_run(TriggerFigures& figures, const RunReport& report);
  bool settle_at_once(Worker& worker, const RunReport& report);
  void carry_out();
  [[nodiscard]] static Pair pair_of(const Run& run) noexcept { return {run.key_hash, run.trigger_slot}; }
  [[nodiscard]] Examiner examiner() const;
  [[nodiscard]] std::string too_deep_text(const TriggerSpec& spec, std::uint64_t chain) const;
  bool turn_away(Run& run, Examiner& examiner);
  static void hold(Run& run);
  void complain_of_logs(const std::vector<UnwrittenChannel>& unwritten, WallMs now);
  [[nodiscard]] static bool needs_store(const Run& run);
  [[nodiscard]] static bool moves_in(const Run& run);
  [[nodiscard]] static Step step_after_store(const Run& run);
  Outcome<void> commit_runs(WallMs now);
  Outcome<Step> commit_run(Batch& batch, Run& run, WallMs now);
  /// Of a failed run: it becomes a dead letter. A run whose trigger was removed has nobody left to be run for.
  static bool is_given_up(const Run& run, const TriggerSpec* spec);
  Outcome<Step> commit_failed(Batch& batch, Run& run, const TriggerSpec* spec, WallMs now);
  void apply_runs(const std::vector<UnwrittenChannel>& unwritten);
  [[nodiscard]] std::string event_id_of(const Run& run);
  [[nodiscard]] std::string trigger_of(const Run& run);
  void refuse(Run& run, std::string error, bool give_up);
  void leave(Run& run, std::vector<Effect> left, std::string error);
  void settle_runs();
  void answer_waits();
  bool is_over(EventSeq seq);
  void take_group_result(GroupResult result);
  void post(std::function<void()> task);
  void count_run(const Run& run, const TriggerSpec* spec);
  void keep_slow_run(const RunReport& report, const Run& run, const TraceStep& step);
  void keep_trace(Run& run, const TriggerSpec* spec);
  void count_ahead(Position& position);
  void release();
  void unblock_pairs();
  static void take_up(Run& run, const StoredRun& stored);
  bool feed_stored();

  // backlog.cpp
  bool tend_backlog();
  void measure_backlog();
  [[nodiscard]] std::uint64_t first_unclaimed() const;
  void stop_lanes();
  void resume_lanes();
  bool spool_events();
  struct TakenRun {
    std::uint64_t seq;
    std::uint32_t trigger_slot;
  };
  Outcome<void> spool_event(const EventView& event, std::vector<SpoolRecord>& records, std::vector<TakenRun>& taken,
                            std::optional<Batch>& ledger);
  void add_gaps(std::vector<SpoolRecord>& records);
  static void tell_of_gaps(std::span<const SpoolRecord> records);
  void settle_frame(std::span<const SpoolRecord> records);
  void count_spooled(const SpoolRecord& record);
  void note_spooled(const SpoolRecord& record);
  [[nodiscard]] Spooled make_spooled(SpoolRecord record) const;
  void push_spooled(Spooled spooled);
  bool feed_spooled();
  bool send_spooled();
  bool send_runs(Worker& worker, Spooled& spooled, bool& sent);
  void advance_cursor();
  std::optional<SpooledRun> spooled_of(std::uint64_t token);
  void hand_back_claimed(Worker& worker);
  [[nodiscard]] bool in_spool(EventSeq seq) const;
  Outcome<std::uint64_t> moved_of_unhandled(const TriggerSpec& spec);
  [[nodiscard]] std::uint64_t spooled_of_trigger(std::string_view trigger) const;
  void prune_ledger(WallMs now);
  void watch();
  /// Hands a process over to the watchdog, and takes the one before away from it.
  void set_process(Worker& worker, std::unique_ptr<Executor> process);
  static void restart_at_once(Worker& worker);
  bool look_after_workers();
  /// What becomes of the run that an executor had in hand.
  enum class Charge : std::uint8_t {
    attempt,  // it failed
    aside,    // it took too long for its lane: it begins anew elsewhere, at no charge
  };
  void bury_worker(Worker& worker, const std::string& reason, Charge how);
  /// What a dead executor had in hand, but reported before: its run is among those to be carried out.
  [[nodiscard]] bool is_stored_reported(std::int64_t id) const;
  [[nodiscard]] bool is_spooled_reported(std::uint64_t token) const;
  void charge(Worker& worker, const Lane::Running& running, const std::string& reason, Charge how);
  void charge_run(Worker& worker, const Lane::Running& running, const std::string& reason, Charge how);

  // aside.cpp
  bool set_slow_run_aside(Worker& worker);
  bool run_aside(const StoredRun& stored, std::uint32_t trigger_slot);
  [[nodiscard]] Aside* free_aside();
  [[nodiscard]] bool is_aside(std::int64_t stored_id) const;
  int collect_aside();
  bool look_after_asides();
  void end_aside(Aside& aside, const std::string& reason);
  Position* position_of(std::uint64_t seq);
  [[nodiscard]] bool may_have_run(EventSeq seq) const noexcept { return seq.value < duplicates_before_.ring; }
  [[nodiscard]] std::string id_of(EventSeq seq) const { return epoch_ + std::to_string(seq.value + 1); }
  [[nodiscard]] Worker& worker_of(std::uint64_t key_hash) { return workers_[key_hash % workers_.size()]; }
  void idle(bool worked);
  Outcome<std::string> test(const TriggerSpec& spec, std::string_view event_json);

  /// Runs `work` on the dispatcher's thread and waits for it; Errc::no_supervisor when it does not
  /// answer. `work` must own what it uses: it may still run after the wait was given up.
  template <class F>
  auto ask(F work) -> std::invoke_result_t<F>;
  /// The same for a change of the registry. One that finds the ring too full is tried again for a while, and the
  /// dispatcher goes on meanwhile: nobody else makes room.
  Outcome<void> change_registry(std::function<Outcome<void>()> make);
  void make_changes();
  void refuse_changes();
  void block_stored_pairs();

  Maintainer& keeper_;
  const DispatcherOptions options_;
  EventReader reader_;
  const std::string epoch_;          // how ids of this segment's events begin
  std::unique_ptr<Store> store_{};
  std::unique_ptr<LogWriter> log_{};
  std::optional<Cache> cache_{};     // Role::trigger: applies effects
  std::uint64_t value_bytes_max_ = 0;  // of the segment
  std::unique_ptr<Registry> registry_{};
  std::unique_ptr<Groups> groups_{};
  std::vector<Worker> workers_{};
  std::vector<Aside> asides_{};
  std::set<std::pair<std::string, std::string>> slow_runs_{};  // (event, trigger) of runs that were set aside and are not over
  std::uint64_t set_aside_ = 0;  // runs, since the start

  /// [DP-6] What was there when this cacheed began, and may have been run by the one before it.
  struct DuplicatesBefore {
    std::uint64_t ring = 0;     // events below this position had been claimed
    std::uint64_t spooled = 0;  // records below this index
    std::int64_t stored = 0;    // runs up to this id
  };
  DuplicatesBefore duplicates_before_{};
  std::uint64_t base_ = 0;           // ring position of positions_.front()
  std::deque<Position> positions_{};
  std::vector<Run> runs_{};          // reports that are not settled yet, in order
  std::unordered_set<std::int64_t> running_{};   // stored runs an executor has in hand
  std::unordered_map<std::int64_t, StoredRun> in_hand_{};
  std::set<Pair> unblock_due_{};  // pairs that may be free again
  std::set<Pair> refused_{};      // pairs of which the executor may report later runs as well done [DP-2]
  std::map<std::uint32_t, TriggerFigures> figures_{};
  SlowLog slow_log_{};
  std::deque<TraceStep> trace_{};    // the last kTraceStepsMax
  /// A TRIGGER TEST that an executor has in hand.
  struct Test {
    std::uint32_t lane = 0;
    std::promise<std::string> answer{};
    TriggerSpec spec{};
    Provenance from{};  // what cache writes of the run would carry
    std::vector<std::string> would_run{};  // triggers that such an event sets off, in order
  };
  std::map<std::uint64_t, Test> tests_{};  // by token
  /// A change of the registry that is not made yet.
  struct Change {
    std::function<Outcome<void>()> make{};
    std::promise<Outcome<void>> answer{};
    std::chrono::steady_clock::time_point until{};
  };
  std::deque<Change> changes_{};
  std::chrono::steady_clock::time_point changes_at_{};  // when those that wait are tried again
  std::uint64_t next_test_ = 0;
  const WallMs started_wall_ms_ = wall_ms();  // since then the figures count
  bool waits_open_ = false;          // a WAIT asked and got no answer yet
  bool waits_look_ = false;          // something was settled since
  std::unique_ptr<Spool> spool_{};
  bool spooling_ = false;            // the lanes are stopped (B1)
  std::uint64_t spool_next_ = 0;     // the ring position that B2 looks at next
  std::uint64_t cursor_ = 0;         // number of spooled_.front()
  std::deque<Spooled> spooled_{};    // handed to executors, or next to be
  std::uint64_t spooled_bytes_ = 0;  // of them
  std::size_t send_at_ = 0;          // of spooled_: all before have been sent
  std::map<std::string, std::uint64_t, std::less<>> spooled_runs_{};  // by trigger: in the spool and not over
  std::deque<std::uint64_t> spool_seqs_{};  // positions of this epoch's spooled events that are not over, ascending
  std::multiset<std::uint64_t> spool_gap_seqs_{};  // gaps that are not over: of the youngest event that each names
  std::deque<std::uint32_t> pinned_{};      // of unreleased ring positions from base_ on, in units of 64 bytes
  std::uint64_t pinned_units_ = 0;
  std::uint64_t pinned_units_max_ = 0;
  std::uint64_t high_events_ = 0;
  std::uint64_t frame_events_ = 1;          // of the next frame, at most
  bool disk_short_ = false;                 // it had no room for an event: the next frame has only what is shed
  std::uint64_t foreign_end_ = 0;           // spooled events below may be of another epoch
  std::vector<SpoolRecord> recovered_{};    // of cells that the ring still has, at the start
  std::uint64_t shed_since_start_ = 0;
  WallMs prune_at_ms_ = 0;
  WallMs spool_pause_until_ms_ = 0;  // the disk was full
  WallMs store_look_ms_ = 0;         // when stored runs may be due
  WallMs store_pause_until_ms_ = 0;  // the store failed: not before
  WallMs log_complaint_ms_ = 0;      // that a log file is not written is not said before
  bool backed_up_ = false;           // the store did not take the last round's results
  int idle_rounds_ = 0;
  std::minstd_rand random_{std::random_device{}()};

  std::mutex tasks_mutex_;
  std::deque<std::function<void()>> tasks_{};
  bool stopped_ = false;             // nobody takes tasks any more; guarded by tasks_mutex_
  Executor* idle_at_ = nullptr;      // whose reports the dispatcher sleeps for; guarded by tasks_mutex_
  std::atomic<bool> stopping_{false};
  std::atomic<bool> drained_{false};
  std::thread thread_{};

  // The watchdog's thread: it sees what the processes run, and kills [WD-1], [WD-2]; executor/pool.hpp.
  std::mutex watch_mutex_;           // held while a Worker's process is replaced, and while one is looked at
  std::vector<Executor*> watched_{};  // guarded by watch_mutex_
  std::condition_variable watch_over_{};
  bool watching_ = false;            // guarded by watch_mutex_
  std::thread watch_thread_{};
};

}  // namespace cachee::daemon
