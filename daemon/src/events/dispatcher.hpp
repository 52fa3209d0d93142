// Dispatcher: from what executors report to acknowledged events.
//
// DISPATCH PROTOCOL
//
//   for a batch of reports (a run = one event for one trigger):
//     D1  one store transaction: log lines and outbox rows of runs that succeeded; failed and held
//         runs move in (with their event); results of stored runs        (Batch::commit, one fsync)
//     D2  log lines reach their files, fdatasync                        (LogWriter::flush)
//     D3  cache effects are applied
//     D4  the event is marked acknowledged in the segment; a prefix of acknowledged events is
//         released together with the triggers' counters                (Maintainer::release_through)
//
//   [DP-1] An event is acknowledged only when every run it owed is done (D1-D3) or moved in.
//   [DP-2] Runs of one (trigger, key) happen in the order of their events: after a failure the
//          executor reports later ones `held`, they queue in the store, and it is unblocked only
//          when the store has none left and it has reported no further held one.
//   [DP-3] Account, by trigger: emitted = acknowledged + moved (+ shed), counted when released; and
//          moved (released or not) = what the store says moved in.
//
//   Killed between   what is left                         what the next start does
//   before D1        nothing                              the event runs again, duplicate = true
//   D1 and D4        ledger entries, lines, rows,         the event runs again; the ledger lets nothing
//                    stored runs                          in twice, a moved run is found moved
//   D4 (ack) and     an acknowledged cell                 its runs are counted by was_moved
//   the release
//
// Threads: start() makes the dispatcher's own; everything of TriggerAdmin may be called from the
// control thread and is carried out on the dispatcher's.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
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
#include "core/event_data.hpp"
#include "core/outcome.hpp"
#include "events/registry.hpp"
#include "executor/pool.hpp"
#include "script/effects.hpp"
#include "store/store.hpp"

namespace cachee::daemon {

struct DispatcherOptions {
  std::string segment{};
  std::string executable = "/proc/self/exe";
  std::uint32_t executors = 1;
  bool spin = false;
  StoreOptions store{};
  std::function<void()> outbox_wake{};  // there may be new outbox rows
};

/// Figures of one trigger since this cacheed started; what a crash must not lose is in the account.
struct TriggerFigures {
  std::uint64_t ok = 0, failed = 0, held = 0, dead = 0, retried = 0;
  std::uint64_t steps = 0, run_ns = 0, run_ns_max = 0, memory_peak = 0;
  std::int64_t lag_us_max = 0, lag_us_total = 0;
  std::string last_error{};
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
  nlohmann::json server_stats() override;

 private:
  using WallMs = std::int64_t;
  /// Tokens of runs from here on are tests; below, ids of stored runs.
  static constexpr std::uint64_t kTestTokens = std::uint64_t{1} << 62;

  /// How far a run is carried out.
  enum class Step : std::uint8_t { fresh, apply, finish, done };
  /// One report, kept until it is carried out.
  struct Run {
    EventSeq seq{};
    std::int64_t stored_id = 0;  // 0: a run of a ring event
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
    Step step = Step::fresh;
    bool moved = false;          // the store took it over
  };
  /// What is known of one ring position that is not released.
  struct Position {
    std::vector<Maintainer::Delta> deltas{};
    std::uint64_t moved = 0;
    bool done = false;
  };
  /// One executor with what the dispatcher knows of it.
  struct Worker {
    std::uint32_t lane = 0;
    std::unique_ptr<Executor> process{};
    std::uint64_t next = 0;           // first position it has not reported fully
    std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint64_t> held{};  // blocked pairs: end of what it reported of them
    std::chrono::steady_clock::time_point restart_at{};
    int restarts = 0;
  };

  Dispatcher(Maintainer& keeper, DispatcherOptions options);
  Outcome<void> recover_ring();
  Outcome<void> start_worker(Worker& worker, std::uint64_t from);
  void loop();
  bool run_tasks();
  bool collect();
  void answer_test(const RunReport& report);
  void take_report(Worker& worker, const RunReport& report);
  void carry_out();
  Outcome<void> commit_runs(WallMs now);
  Outcome<Step> commit_run(Batch& batch, Run& run, WallMs now);
  Outcome<Step> commit_failed(Batch& batch, Run& run, const TriggerSpec* spec, WallMs now);
  bool apply_runs();
  void refuse(Run& run, std::string error, bool give_up);
  void settle_runs();
  void count_run(const Run& run, const TriggerSpec* spec);
  void release();
  void unblock_pairs();
  bool feed_stored();
  bool look_after_workers();
  void bury_worker(Worker& worker, const std::string& reason);
  void charge(Worker& worker, const Lane::Running& running, const std::string& reason);
  Position* position_of(std::uint64_t seq);
  [[nodiscard]] std::string id_of(EventSeq seq) const { return reader_.event_id(seq.value + 1); }
  [[nodiscard]] Worker& worker_of(std::uint64_t key_hash) { return workers_[key_hash % workers_.size()]; }
  void idle(bool worked);
  Outcome<std::string> test(const TriggerSpec& spec, std::string_view event_json);

  /// Runs `work` on the dispatcher's thread and waits for it; Errc::no_supervisor when it does not
  /// answer. `work` must own what it uses: it may still run after the wait was given up.
  template <class F>
  auto ask(F work) -> std::invoke_result_t<F>;
  void block_stored_pairs();

  Maintainer& keeper_;
  const DispatcherOptions options_;
  EventReader reader_;
  std::unique_ptr<Store> store_{};
  std::unique_ptr<LogWriter> log_{};
  std::optional<Cache> cache_{};     // Role::trigger: applies effects
  std::unique_ptr<Registry> registry_{};
  std::vector<Worker> workers_{};

  std::uint64_t base_ = 0;           // ring position of positions_.front()
  std::deque<Position> positions_{};
  std::vector<Run> runs_{};          // reports that are not settled yet, in order
  std::unordered_set<std::int64_t> running_{};   // stored runs an executor has in hand
  std::unordered_map<std::int64_t, StoredRun> in_hand_{};
  std::set<std::pair<std::uint64_t, std::uint32_t>> unblock_due_{};  // pairs that may be free again
  std::map<std::uint32_t, TriggerFigures> figures_{};
  std::map<std::uint64_t, std::promise<std::string>> tests_{};
  std::uint64_t next_test_ = 0;
  WallMs store_look_ms_ = 0;         // when stored runs may be due
  WallMs store_pause_until_ms_ = 0;  // the store failed: not before
  int idle_rounds_ = 0;
  std::minstd_rand random_{std::random_device{}()};

  std::mutex tasks_mutex_;
  std::deque<std::function<void()>> tasks_{};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> drained_{false};
  std::thread thread_{};
};

}  // namespace cachee::daemon
