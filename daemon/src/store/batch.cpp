#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "store/effect_rules.hpp"
#include "store/guard.hpp"
#include "store/rows.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

// "what" of an entry in the table `ledger`. Entries for effects are in `ledger_blocks`.
constexpr std::int64_t kMoved = 1;
constexpr std::size_t kChunkBytes = std::size_t{1} << 20;  // of log lines in one row

/// Notes that the store took the run over; true when it had not before.
bool enter_moved(sql::Connection& db, const RunRef& run, std::int64_t now_wall_ms) {
  return db.run(
             "INSERT OR IGNORE INTO ledger (event_id, trigger, what, seq, wall_ms)"
             " VALUES (?, ?, ?, ?, ?)",
             run.event_id, run.trigger, kMoved, run.seq, now_wall_ms) == 1;
}

struct Lane {
  std::string trigger{};
  std::int64_t key_hash = 0;
};

/// The lane of a run that is waiting or held.
std::optional<Lane> find_lane(sql::Connection& db, std::int64_t id) {
  auto rows = db.query("SELECT trigger, key_hash FROM runs WHERE id = ? AND state < 2", id);
  if (!rows.next()) return std::nullopt;
  return Lane{rows.text(0), rows.integer(1)};
}

/// Lets the oldest run of a lane go when it was held [ST-2].
void promote_next(sql::Connection& db, const Lane& lane, std::int64_t now_wall_ms) {
  db.run(
      "UPDATE runs SET state = 0, next_attempt_wall_ms = ? WHERE state = 1 AND id ="
      " (SELECT min(id) FROM runs INDEXED BY runs_lane WHERE trigger = ? AND key_hash = ? AND state < 2)",
      now_wall_ms, lane.trigger, lane.key_hash);
}

/// The event of a stored run says from now on that it may have been run before.
void mark_duplicate(sql::Connection& db, std::int64_t id) {
  std::optional<EventData> event;
  {
    auto rows = db.query("SELECT event FROM run_events WHERE id = ?", id);
    if (rows.next()) event = decode_event(rows.bytes(0));
  }
  if (!event || event->duplicate) return;
  event->duplicate = true;
  const std::string bytes = encode(*event);
  db.run("UPDATE run_events SET event = ? WHERE id = ?", sql::Blob{bytes}, id);
}

void keep_effects(sql::Connection& db, std::int64_t id, std::string_view effects) {
  if (!effects.empty()) db.run("UPDATE run_events SET effects = ? WHERE id = ?", sql::Blob{effects}, id);
}

}  // namespace

Batch::Batch(Batch&& other) noexcept
    : db_{std::exchange(other.db_, nullptr)},
      failure_{std::move(other.failure_)},
      ledger_{std::move(other.ledger_)},
      counts_{std::move(other.counts_)},
      lines_{std::move(other.lines_)} {}

Batch::~Batch() {
  if (db_ != nullptr) db_->rollback();
}

template <class F>
auto Batch::step(F&& work) -> Outcome<decltype(work())> {
  if (db_ == nullptr) return Failure{Errc::closed, "the batch is committed already"};
  if (failure_) return *failure_;
  auto outcome = guard(std::forward<F>(work));
  if (!outcome) {
    failure_ = outcome.failure();
    db_->rollback();
  }
  return outcome;
}

/// The files of log channels stay for ever, so their number has a bound.
std::optional<std::string> Batch::check_channels(const std::vector<Effect>& effects) {
  for (const Effect& effect : effects) {
    if (effect.kind != EffectKind::log || lines_.contains(effect.key)) continue;
    if (db_->integer("SELECT count(*) FROM log_files WHERE channel = ?", effect.key) == 0) {
      if (db_->integer("SELECT count(*) FROM log_files") >= kLogChannelsMax) {
        return fmt::format("cachee.log: channel \"{}\" would be one more than {}; remove unused ones",
                           effect.key, kLogChannelsMax);
      }
      db_->run("INSERT INTO log_files (channel, settled_bytes) VALUES (?, NULL)", effect.key);
    }
    lines_.try_emplace(effect.key);
  }
  return std::nullopt;
}

void Batch::add_line(const RunRef& run, const Effect& effect) {
  Lines& lines = lines_.find(effect.key)->second;
  append_log_line(effect.value, run.event_id, lines.bytes);
  ++lines.count;
  if (lines.bytes.size() >= kChunkBytes) write_lines(effect.key, lines);
}

void Batch::write_lines(std::string_view channel, Lines& lines) {
  if (lines.count == 0) return;
  db_->run("INSERT INTO log_chunks (channel, line_count, lines) VALUES (?, ?, ?)", channel, lines.count, sql::Blob{lines.bytes});
  lines = {};
}

void Batch::insert_effect(const RunRef& run, const Effect& effect, std::uint32_t n,
                          std::int64_t now_wall_ms) {
  if (effect.kind == EffectKind::log) return add_line(run, effect);
  const bool webhook = effect.kind == EffectKind::webhook;
  const std::string headers = encode_headers(effect.headers);
  const std::string_view method = webhook ? std::string_view{effect.method} : "GET";
  const auto added = db_->run(
      "INSERT OR IGNORE INTO outbox (event_id, trigger, n, kind, state, host, url, method,"
      " timeout_ms, attempts, next_attempt_wall_ms, created_wall_ms, changed_wall_ms, last_status,"
      " last_error, ttl_ms, cost, parent, chain, depth, key, secret, headers, body)"
      " VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, 0, ?, ?, ?, 0, '', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      run.event_id, run.trigger, n, webhook ? OutboxKind::webhook : OutboxKind::warm,
      url_host(effect.url), effect.url, method, effect.timeout_ms, now_wall_ms, now_wall_ms,
      now_wall_ms, effect.ttl_ms, effect.cost, run.effects.parent, run.effects.chain,
      run.effects.depth, sql::Blob{webhook ? std::string_view{} : effect.key},
      sql::Blob{effect.secret}, sql::Blob{headers},
      sql::Blob{webhook ? std::string_view{effect.value} : std::string_view{}});
  counts_of(run.trigger).outbox_added += static_cast<std::uint64_t>(added);
}

Outcome<bool> Batch::add_effects(const RunRef& run, const std::vector<Effect>& effects,
                                 std::int64_t now_wall_ms) {
  const auto stored = [](const Effect& effect) {
    return effect.kind == EffectKind::log || effect.kind == EffectKind::webhook ||
           effect.kind == EffectKind::warm;
  };
  if (std::none_of(effects.begin(), effects.end(), stored)) return true;
  if (auto problem = check_effects(effects)) return Failure{Errc::invalid_argument, *problem};
  const auto refused = step([&] { return check_channels(effects); });
  if (!refused) return refused.failure();
  if (*refused) return Failure{Errc::invalid_argument, **refused};
  return step([&] {
    if (!ledger_.enter(run, now_wall_ms)) return false;
    for (std::size_t n = 0; n < effects.size(); ++n) {
      if (stored(effects[n])) {
        insert_effect(run, effects[n], static_cast<std::uint32_t>(n), now_wall_ms);
      }
    }
    return true;
  });
}

Outcome<MoveResult> Batch::move_in(const MovedRun& moved, const EventData& event,
                                   std::int64_t now_wall_ms) {
  return step([&] {
    const RunRef& run = moved.run;
    if (!enter_moved(*db_, run, now_wall_ms)) {
      return MoveResult{false,
                        db_->integer("SELECT id FROM runs WHERE event_id = ? AND trigger = ?",
                                     run.event_id, run.trigger)};
    }
    // A held run with nothing in front of it would be held for ever: what it waited for has
    // finished between the executor's report and now [ST-2].
    RunState state = moved.state;
    std::int64_t next_wall_ms = moved.next_attempt_wall_ms;
    if (state == RunState::held &&
        db_->integer("SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_lane WHERE trigger = ? AND key_hash = ?"
                     " AND state < 2 LIMIT 1)",
                     run.trigger, moved.key_hash) == 0) {
      state = RunState::waiting;
      next_wall_ms = now_wall_ms;
    }
    db_->run(
        "INSERT INTO runs (event_id, seq, trigger, trigger_id, key_hash, state, attempts,"
        " next_attempt_wall_ms, moved_wall_ms, changed_wall_ms, error, traceback, for_group)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        run.event_id, run.seq, run.trigger, moved.trigger_id, moved.key_hash, state, moved.attempts,
        next_wall_ms, now_wall_ms, now_wall_ms, bounded_text(moved.error),
        bounded_text(moved.traceback), moved.for_group);
    const std::int64_t id = db_->last_id();
    db_->run("INSERT INTO run_events (id, event, effects) VALUES (?, ?, ?)", id, sql::Blob{encode(event)}, sql::Blob{moved.effects});
    ++counts_of(run.trigger).moved_in;
    return MoveResult{true, id};
  });
}

Outcome<bool> Batch::was_moved(std::string_view event_id, std::string_view trigger) {
  return step([&] {
    return db_->integer(
               "SELECT count(*) FROM ledger WHERE event_id = ? AND trigger = ?"
               " AND what = ?",
               event_id, trigger, kMoved) != 0;
  });
}

Outcome<bool> Batch::fail(std::int64_t id, const RunFailure& failure) {
  return step([&] {
    if (failure.duplicate) mark_duplicate(*db_, id);
    keep_effects(*db_, id, failure.effects);
    return db_->run(
               "UPDATE runs SET state = 0, attempts = ?, next_attempt_wall_ms = ?, error = ?,"
               " traceback = ? WHERE id = ? AND state < 2",
               failure.attempts, failure.next_attempt_wall_ms, bounded_text(failure.error),
               bounded_text(failure.traceback), id) == 1;
  });
}

Outcome<bool> Batch::finish(std::int64_t id, std::int64_t now_wall_ms) {
  return step([&] {
    const auto lane = find_lane(*db_, id);
    if (!lane) return false;
    db_->run("DELETE FROM runs WHERE id = ?", id);
    db_->run("DELETE FROM run_events WHERE id = ?", id);
    ++counts_of(lane->trigger).acknowledged;
    promote_next(*db_, *lane, now_wall_ms);
    return true;
  });
}

Outcome<bool> Batch::bury(std::int64_t id, const RunFailure& failure, std::int64_t now_wall_ms) {
  return step([&] {
    const auto lane = find_lane(*db_, id);
    if (!lane) return false;
    if (failure.duplicate) mark_duplicate(*db_, id);
    keep_effects(*db_, id, failure.effects);
    db_->run(
        "UPDATE runs SET state = 2, attempts = ?, error = ?, traceback = ?,"
        " changed_wall_ms = ? WHERE id = ?",
        failure.attempts, bounded_text(failure.error), bounded_text(failure.traceback), now_wall_ms,
        id);
    promote_next(*db_, *lane, now_wall_ms);
    return true;
  });
}

Batch::Counts& Batch::counts_of(std::string_view trigger) {
  const auto at = counts_.find(trigger);
  return at != counts_.end() ? at->second : counts_.emplace(trigger, Counts{}).first->second;
}

void Batch::write_counts() {
  for (const auto& [trigger, counts] : counts_) {
    if (counts.moved_in != 0 || counts.acknowledged != 0) {
      db_->run(
          "INSERT INTO accounts (trigger, moved_in, acknowledged) VALUES (?, ?, ?)"
          " ON CONFLICT (trigger) DO UPDATE SET moved_in = moved_in + excluded.moved_in,"
          " acknowledged = acknowledged + excluded.acknowledged",
          trigger, counts.moved_in, counts.acknowledged);
    }
    if (counts.outbox_added != 0) {
      db_->run(
          "INSERT INTO outbox_accounts (trigger, added) VALUES (?, ?)"
          " ON CONFLICT (trigger) DO UPDATE SET added = added + excluded.added",
          trigger, counts.outbox_added);
    }
  }
}

Outcome<void> Batch::commit() {
  auto outcome = step([&] {
    ledger_.write();
    for (auto& [channel, lines] : lines_) write_lines(channel, lines);
    write_counts();
    db_->run("COMMIT");
  });
  if (outcome) db_ = nullptr;
  return outcome;
}

}  // namespace cachee::daemon
