// Store: what must outlive cacheed and a reboot, in one SQLite file: registered triggers, runs that
// wait for a retry, dead letters, log lines on their way to their files, the outbox, and the ledger
// that makes a redelivered event add nothing.
//
// Use:   auto store = Store::open({.directory = "/var/lib/cachee/default"});
//        auto batch = (*store)->begin();
//        batch->add_effects(run, effects, now);      // of many events
//        if (auto done = batch->commit(); !done) retry_later(done.failure());
//
// Threads:  a Store is one connection and belongs to one thread; open one for each. Writers of
//           several connections take turns (busy_ms). fork(): do not use it in the child.
// Failure:  a full disk or an I/O error is a Failure and leaves the file as it was; try again.
//
// Invariants (check() reports them by id)
//   [ST-1] By trigger name: moved_in = acknowledged + purged + stored runs, dead ones included.
//          The counters change only in the transaction that moves the run.
//   [ST-2] The oldest run of a (trigger, key hash) that is not dead is waiting, never held:
//          something always runs next.
//   [ST-3] Every stored run has its event and every stored event its run.
//   [ST-4] By trigger name: outbox rows added = sent + purged + rows, dead ones included.
//
// Exactly once. The effects of a run enter together with a ledger entry (event, trigger), once; a
// run moves from the ring into the store together with another. A redelivered event finds the
// entry and adds nothing, whatever became of the first delivery since. Entries go only when the
// event cannot come again (prune_ledger).
//
// Killed inside a transaction: the next open finds the file as it was before it. Killed after
// commit() returned: everything is there, also after a loss of power (Durability::disk).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/triggers.hpp>

#include "core/outcome.hpp"
#include "script/effects.hpp"
#include "store/effects_ledger.hpp"
#include "store/records.hpp"
#include "store/sqlite.hpp"

namespace cachee::daemon {

inline constexpr std::uint32_t kStoreBusyMsDefault = 5000;

struct StoreOptions {
  std::string directory{};  // `<state>/<name>`; made if missing
  std::uint32_t busy_ms = kStoreBusyMsDefault;
  sql::Durability durability = sql::Durability::disk;  // also of log files and the spool, which go by it
  std::uint64_t file_bytes_max = 0;  // of the database; 0: as large as the disk lets it
  bool verify = true;                // look for damage at open (files up to kVerifyBytesMax)
};
inline constexpr std::uint64_t kVerifyBytesMax = std::uint64_t{64} << 20;

/// Which ledger entries may go: those made before `before_wall_ms` whose event cannot come again.
/// Events of the ring's epoch from `redeliverable_from` on may, and so may those of stored runs.
struct LedgerBound {
  std::int64_t before_wall_ms = 0;
  std::string_view epoch{};              // "5f3a9c1e" of the ids "5f3a9c1e-1234"
  std::uint64_t redeliverable_from = 0;  // first ring position that is not released
};

/// One transaction over many events; a commit is one fsync. Rolls back when it goes uncommitted.
///
/// After a failure other than invalid_argument the whole batch is rolled back, every later call
/// returns that failure, and nothing of it happened: build it again.
class Batch {
 public:
  Batch(Batch&& other) noexcept;
  Batch& operator=(Batch&&) = delete;
  ~Batch();

  /// Stores the log, webhook and warm effects of a run; other kinds are the caller's to carry out.
  /// Call it once per run, with all of them: `n` is the index in the vector.
  ///
  /// @return  true; false: this run's effects were stored by an earlier delivery, nothing was added
  /// @error invalid_argument  an effect breaks a rule (check_effects); the batch is unharmed
  Outcome<bool> add_effects(const RunRef& run, const std::vector<Effect>& effects,
                            std::int64_t now_wall_ms);

  /// Takes a failed or held run over from the ring. Counts `moved_in`.
  Outcome<MoveResult> move_in(const MovedRun& run, const EventData& event,
                              std::int64_t now_wall_ms);
  /// True when the store took this run over at any time: the ring must count it as moved.
  Outcome<bool> was_moved(std::string_view event_id, std::string_view trigger);

  // Stored runs. False: there is no such run that is waiting or held.
  /// Records a failed attempt; the run waits for the next.
  Outcome<bool> fail(std::int64_t id, const RunFailure& failure);
  /// The run succeeded, or its trigger is gone: removes it and counts `acknowledged`.
  Outcome<bool> finish(std::int64_t id, std::int64_t now_wall_ms);
  /// Gives the run up: it becomes a dead letter.
  Outcome<bool> bury(std::int64_t id, const RunFailure& failure, std::int64_t now_wall_ms);

  [[nodiscard]] Outcome<void> commit();

 private:
  friend class Store;
  explicit Batch(sql::Connection& db) noexcept : db_{&db}, ledger_{db} {}
  template <class F>
  auto step(F&& work) -> Outcome<decltype(work())>;

  struct Counts {
    std::uint64_t moved_in = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t outbox_added = 0;
  };
  struct Lines {
    std::string bytes{};
    std::uint64_t count = 0;
  };
  Counts& counts_of(std::string_view trigger);
  std::optional<std::string> check_channels(const std::vector<Effect>& effects);
  void insert_effect(const RunRef& run, const Effect& effect, std::uint32_t n, std::int64_t now_wall_ms);
  void add_line(const RunRef& run, const Effect& effect);
  void write_lines(std::string_view channel, Lines& lines);
  void write_counts();

  sql::Connection* db_;
  std::optional<Failure> failure_{};
  // Written by commit(), one row for many runs:
  EffectsLedger ledger_;
  std::map<std::string, Counts, std::less<>> counts_{};  // for the accounts
  std::map<std::string, Lines, std::less<>> lines_{};    // by log channel; those that were looked for are here
};

class Store {
 public:
  /// Opens or creates `<directory>/cachee.db` and brings its schema up to date.
  /// @error layout_mismatch  written by a newer cacheed; both versions are named
  /// @error corrupt          not a database, or damaged
  [[nodiscard]] static Outcome<std::unique_ptr<Store>> open(const StoreOptions& options);

  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
  [[nodiscard]] sql::Durability durability() const noexcept { return durability_; }
  [[nodiscard]] Outcome<Batch> begin();

  // Registered triggers, every field of TriggerSpec.
  Outcome<void> save_triggers(std::span<const TriggerSpec> triggers);  // replaces all, atomically
  Outcome<void> upsert_trigger(const TriggerSpec& trigger);
  Outcome<bool> remove_trigger(std::string_view name);
  [[nodiscard]] Outcome<std::vector<TriggerSpec>> load_triggers();
  /// 1, 2, ...; never the same twice, also after a crash.
  Outcome<std::uint64_t> next_trigger_id();

  // Runs that wait.
  /// The oldest run of each (trigger, key hash) whose time has come, the longest due first.
  /// `running` says which ids the caller has in hand already.
  [[nodiscard]] Outcome<std::vector<StoredRun>> due_runs(
      std::int64_t now_wall_ms, std::size_t count_max,
      const std::function<bool(std::int64_t id)>& running);
  /// When the next waiting run is due; nullopt: none waits. Runs of consumer groups are not among
  /// those of due_runs(), this and blocked_lanes().
  [[nodiscard]] Outcome<std::optional<std::int64_t>> next_run_wall_ms();
  struct DueLimits {
    std::size_t count_max = 0;
    std::size_t bytes_max = 0;  // of events; the one that reaches it is the last
  };
  /// The same of one consumer group; `in_hand` says which ids consumers have.
  [[nodiscard]] Outcome<std::vector<StoredRun>> due_of_group(
      std::string_view group, std::int64_t now_wall_ms, const DueLimits& limits,
      const std::function<bool(std::int64_t id)>& in_hand);
  /// When the next run of a group becomes due that is not due at `after_wall_ms`; nullopt: none.
  [[nodiscard]] Outcome<std::optional<std::int64_t>> next_of_group(std::string_view group,
                                                                   std::int64_t after_wall_ms);
  /// Of one run; nullopt: the store has none such.
  [[nodiscard]] Outcome<std::optional<RunState>> run_state(std::string_view event_id, std::string_view trigger);
  /// Names under which runs of consumer groups wait, registered or not.
  [[nodiscard]] Outcome<std::vector<std::string>> groups_with_runs();
  /// The youngest run that was moved in; 0: none is left.
  [[nodiscard]] Outcome<std::int64_t> last_run_id();
  /// How many runs of this trigger and key are left that are not dead.
  [[nodiscard]] Outcome<std::uint64_t> count_lane(std::string_view trigger, std::uint64_t key_hash);
  [[nodiscard]] Outcome<std::vector<BlockedLane>> blocked_lanes();
  /// How many runs of an event are left, dead ones included.
  [[nodiscard]] Outcome<std::uint64_t> count_event(std::string_view event_id);
  /// Waiting and held runs, oldest first, without events.
  [[nodiscard]] Outcome<std::vector<StoredRun>> list_runs(std::size_t count_max);

  /// The event of one of them; nullopt: there is none, or its bytes are damaged.
  [[nodiscard]] Outcome<std::optional<EventData>> run_event(std::int64_t id);

  // Accounts.
  [[nodiscard]] Outcome<std::vector<StoreAccount>> accounts();
  [[nodiscard]] Outcome<StoreAccount> account(std::string_view trigger);
  /// Forgets what is done: moved_in becomes the number of stored runs. For a trigger whose
  /// counters in the segment begin anew.
  Outcome<void> reset_account(std::string_view trigger);
  [[nodiscard]] Outcome<std::vector<OutboxAccount>> outbox_accounts();

  // The spool: how far it is worked off.
  /// How far the ring of an epoch had been claimed when a cacheed began, over all that began; 0: none did.
  [[nodiscard]] Outcome<std::uint64_t> ring_claimed(std::string_view epoch);
  [[nodiscard]] Outcome<void> set_ring_claimed(std::string_view epoch, std::uint64_t position);
  [[nodiscard]] Outcome<std::uint64_t> spool_cursor();
  /// Everything before the cursor is over: adds what was acknowledged on the way, by trigger, to
  /// moved_in and acknowledged. A loss of power may undo it; the events are then run again.
  Outcome<void> settle_spool(std::uint64_t cursor, const std::map<std::string, std::uint64_t>& acknowledged);

  // Dead letters, of runs and of the outbox. Unknown ids are Errc::not_found.
  [[nodiscard]] Outcome<std::vector<DeadLetter>> list_dead(std::size_t count_max);
  [[nodiscard]] Outcome<DeadLetter> find_dead(std::string_view id);
  /// Puts them back, attempts at 0. A run takes its old place among those of its trigger and key, and keeps what is left
  /// of its effects. Those whose trigger is not registered stay. @error not_found  also when there are no others
  Outcome<std::uint64_t> replay_dead(std::optional<std::string_view> id, std::int64_t now_wall_ms);
  Outcome<std::uint64_t> purge_dead(std::optional<std::string_view> id);

  // Outbox.
  struct OutboxFilter {
    std::function<std::size_t(std::string_view host)> room{};  // how many more it may have at once
    std::function<bool(std::int64_t id)> in_flight{};
  };
  /// Rows whose time has come, fairly over the hosts.
  [[nodiscard]] Outcome<std::vector<OutboxRow>> due_outbox(std::int64_t now_wall_ms,
                                                           std::size_t count_max,
                                                           const OutboxFilter& filter);
  /// When the next row becomes due that is not due at `now_wall_ms`; nullopt: none.
  [[nodiscard]] Outcome<std::optional<std::int64_t>> next_outbox_wall_ms(std::int64_t now_wall_ms);
  /// How many rows wait, and how long the one that is due longest could have been sent already.
  [[nodiscard]] Outcome<OutboxQueue> outbox_queue(std::int64_t now_wall_ms);
  /// Writes down how requests ended, in one transaction.
  Outcome<void> settle_outbox(std::span<const OutboxResult> results, std::int64_t now_wall_ms);
  /// Rows that wait to be sent, oldest first, without body and secret.
  [[nodiscard]] Outcome<std::vector<OutboxRow>> list_outbox(std::size_t count_max);

  // Log lines on their way.
  [[nodiscard]] Outcome<std::vector<LogChunk>> pending_log(std::string_view channel,
                                                           std::size_t bytes_max);
  [[nodiscard]] Outcome<std::vector<std::string>> pending_channels();
  [[nodiscard]] Outcome<std::vector<LogFile>> log_files();
  /// Before the first byte is written to a file, and when it was replaced from outside.
  Outcome<void> set_log_file(const LogFile& file);
  /// The channel's lines up to `last_id` are in the file, on disk. May be undone by a loss of
  /// power; the lines are then written again over themselves.
  Outcome<void> settle_log(const LogFile& file, std::int64_t last_id);

  // Upkeep.
  Outcome<std::uint64_t> prune_ledger(const LedgerBound& bound, std::size_t count_max);
  /// What is wrong with the file, one sentence each, with the invariant's id; empty: nothing.
  [[nodiscard]] Outcome<std::vector<std::string>> check();

 private:
  explicit Store(const StoreOptions& options) : directory_{options.directory}, durability_{options.durability} {}

  std::string directory_;
  sql::Durability durability_;
  std::unique_ptr<sql::Connection> db_{};
  std::string next_host_{};  // where due_outbox() goes on, so that every host has its turn
};

}  // namespace cachee::daemon
