// Runs that wait or are held: reading. Batch changes them.
#include "store/guard.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

// Columns 0 to 11 of every query below, in the order of read_run().
#define CACHEE_RUN_COLUMNS                                                             \
  "r.id, r.event_id, r.seq, r.trigger, r.trigger_id, r.key_hash, r.state, r.attempts," \
  " r.next_attempt_wall_ms, r.error, r.traceback, r.moved_wall_ms"
constexpr int kEventColumn = 12;
constexpr int kEffectsColumn = 13;

StoredRun read_run(const sql::Rows& rows) {
  StoredRun run;
  run.id = rows.integer(0);
  run.event_id = rows.text(1);
  run.seq = rows.as<std::uint64_t>(2);
  run.trigger = rows.text(3);
  run.trigger_id = rows.as<std::uint64_t>(4);
  run.key_hash = rows.as<std::uint64_t>(5);
  run.state = rows.as<RunState>(6);
  run.attempts = rows.as<std::uint32_t>(7);
  run.next_attempt_wall_ms = rows.integer(8);
  run.error = rows.text(9);
  run.traceback = rows.text(10);
  run.moved_wall_ms = rows.integer(11);
  return run;
}

}  // namespace

Outcome<std::vector<StoredRun>> Store::due_runs(
    std::int64_t now_wall_ms, std::size_t count_max,
    const std::function<bool(std::int64_t id)>& running) {
  return guard([&] {
    std::vector<StoredRun> due;
    auto rows = db_->query("SELECT " CACHEE_RUN_COLUMNS
                           ", e.event, e.effects FROM runs r LEFT JOIN run_events e ON e.id = r.id"
                           " WHERE r.state = 0 AND r.for_group = 0 AND r.next_attempt_wall_ms <= ?"
                           " AND NOT EXISTS (SELECT 1 FROM runs o INDEXED BY runs_lane WHERE o.trigger = r.trigger"
                           "  AND o.key_hash = r.key_hash AND o.state < 2 AND o.id < r.id)"
                           " ORDER BY r.next_attempt_wall_ms, r.id",
                           now_wall_ms);
    while (due.size() < count_max && rows.next()) {
      if (running && running(rows.integer(0))) continue;
      due.push_back(read_run(rows));
      due.back().event = decode_event(rows.bytes(kEventColumn));
      due.back().effects = rows.text(kEffectsColumn);
    }
    return due;
  });
}

Outcome<std::optional<std::int64_t>> Store::next_run_wall_ms() {
  return guard([&]() -> std::optional<std::int64_t> {
    auto rows = db_->query(
        "SELECT next_attempt_wall_ms FROM runs WHERE state = 0 AND for_group = 0"
        " ORDER BY next_attempt_wall_ms LIMIT 1");
    if (!rows.next()) return std::nullopt;
    return rows.integer(0);
  });
}

Outcome<std::int64_t> Store::last_run_id() {
  return guard([&] { return db_->integer("SELECT coalesce(max(id), 0) FROM runs"); });
}

Outcome<std::vector<StoredRun>> Store::due_of_group(std::string_view group, std::int64_t now_wall_ms, const DueLimits& limits,
                                                    const std::function<bool(std::int64_t id)>& in_hand) {
  return guard([&] {
    std::vector<StoredRun> due;
    std::size_t bytes = 0;
    auto rows = db_->query("SELECT " CACHEE_RUN_COLUMNS
                           " FROM runs r INDEXED BY runs_ready"
                           " WHERE r.state = 0 AND r.for_group = 1 AND r.trigger = ?"
                           " AND r.next_attempt_wall_ms <= ?"
                           " AND NOT EXISTS (SELECT 1 FROM runs o INDEXED BY runs_lane WHERE o.trigger = r.trigger"
                           "  AND o.key_hash = r.key_hash AND o.state < 2 AND o.id < r.id)"
                           " ORDER BY r.next_attempt_wall_ms, r.id",
                           group, now_wall_ms);
    while (due.size() < limits.count_max && bytes < limits.bytes_max && rows.next()) {
      if (in_hand && in_hand(rows.integer(0))) continue;
      StoredRun& run = due.emplace_back(read_run(rows));
      // Apart: those in hand are passed over without a look at their events.
      auto events = db_->query("SELECT event FROM run_events WHERE id = ?", run.id);
      if (!events.next()) continue;
      bytes += events.bytes(0).size();
      run.event = decode_event(events.bytes(0));
    }
    return due;
  });
}

Outcome<std::optional<std::int64_t>> Store::next_of_group(std::string_view group, std::int64_t after_wall_ms) {
  return guard([&]() -> std::optional<std::int64_t> {
    auto rows = db_->query(
        "SELECT next_attempt_wall_ms FROM runs INDEXED BY runs_ready"
        " WHERE state = 0 AND for_group = 1 AND trigger = ?"
        " AND next_attempt_wall_ms > ? ORDER BY next_attempt_wall_ms LIMIT 1",
        group, after_wall_ms);
    if (!rows.next()) return std::nullopt;
    return rows.integer(0);
  });
}

Outcome<std::optional<RunState>> Store::run_state(std::string_view event_id, std::string_view trigger) {
  return guard([&]() -> std::optional<RunState> {
    auto rows = db_->query("SELECT state FROM runs WHERE event_id = ? AND trigger = ?", event_id, trigger);
    if (!rows.next()) return std::nullopt;
    return rows.as<RunState>(0);
  });
}

Outcome<std::vector<std::string>> Store::groups_with_runs() {
  return guard([&] {
    std::vector<std::string> names;
    auto rows = db_->query("SELECT DISTINCT trigger FROM runs INDEXED BY runs_ready WHERE state = 0 AND for_group = 1");
    while (rows.next()) names.push_back(rows.text(0));
    return names;
  });
}

Outcome<std::uint64_t> Store::count_lane(std::string_view trigger, std::uint64_t key_hash) {
  return guard([&] {
    return static_cast<std::uint64_t>(
        db_->integer("SELECT count(*) FROM runs INDEXED BY runs_lane WHERE trigger = ? AND key_hash = ? AND state < 2",
                     trigger, key_hash));
  });
}

Outcome<std::uint64_t> Store::count_event(std::string_view event_id) {
  return guard([&] {
    return static_cast<std::uint64_t>(db_->integer("SELECT count(*) FROM runs WHERE event_id = ?", event_id));
  });
}

Outcome<std::vector<BlockedLane>> Store::blocked_lanes() {
  return guard([&] {
    std::vector<BlockedLane> lanes;
    auto rows = db_->query(
        "SELECT trigger, key_hash, count(*) FROM runs WHERE state < 2 AND for_group = 0"
        " GROUP BY trigger, key_hash");
    while (rows.next()) {
      lanes.push_back({rows.text(0), rows.as<std::uint64_t>(1), rows.as<std::uint64_t>(2)});
    }
    return lanes;
  });
}

Outcome<std::vector<StoredRun>> Store::list_runs(std::size_t count_max) {
  return guard([&] {
    std::vector<StoredRun> runs;
    auto rows = db_->query("SELECT " CACHEE_RUN_COLUMNS
                           " FROM runs r WHERE r.state < 2 ORDER BY r.id LIMIT ?",
                           count_max);
    while (rows.next()) runs.push_back(read_run(rows));
    return runs;
  });
}

Outcome<std::optional<EventData>> Store::run_event(std::int64_t id) {
  return guard([&]() -> std::optional<EventData> {
    auto rows = db_->query("SELECT event FROM run_events WHERE id = ?", id);
    if (!rows.next()) return std::nullopt;
    return decode_event(rows.bytes(0));
  });
}

#undef CACHEE_RUN_COLUMNS

}  // namespace cachee::daemon
