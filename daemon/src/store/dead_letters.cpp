// Dead letters: runs and outbox rows that were given up. Their ids are "e" or "o" and the row's id.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "store/guard.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

constexpr std::int64_t kRowsPerTransaction = 500;  // other connections wait meanwhile
constexpr char kRunMark = 'e';
constexpr char kOutboxMark = 'o';

struct DeadId {
  char mark = kRunMark;
  std::int64_t row = 0;
};

std::optional<DeadId> parse_dead_id(std::string_view id) noexcept {
  if (id.size() < 2 || (id[0] != kRunMark && id[0] != kOutboxMark)) return std::nullopt;
  DeadId parsed{id[0], 0};
  const auto* const end = id.data() + id.size();
  const auto [stop, error] = std::from_chars(id.data() + 1, end, parsed.row);
  if (error != std::errc{} || stop != end || parsed.row <= 0) return std::nullopt;
  return parsed;
}

Failure unknown(std::string_view id) {
  return {Errc::not_found, fmt::format("no such dead letter: {}", id.substr(0, 64))};
}

DeadLetter read_run(const sql::Rows& rows) {
  DeadLetter letter;
  letter.id = kRunMark + std::to_string(rows.integer(0));
  letter.event_id = rows.text(1);
  letter.trigger = rows.text(2);
  letter.what = "event";
  letter.attempts = rows.as<std::uint32_t>(3);
  letter.wall_ms = rows.integer(4);
  letter.error = rows.text(5);
  letter.traceback = rows.text(6);
  return letter;
}
#define CACHEE_DEAD_RUN \
  "SELECT id, event_id, trigger, attempts, changed_wall_ms, error, traceback FROM runs"

DeadLetter read_request(const sql::Rows& rows) {
  DeadLetter letter;
  letter.id = kOutboxMark + std::to_string(rows.integer(0));
  letter.event_id = rows.text(1);
  letter.trigger = rows.text(2);
  letter.attempts = rows.as<std::uint32_t>(3);
  letter.wall_ms = rows.integer(4);
  letter.error = rows.text(5);
  letter.url = rows.text(6);
  letter.what = rows.integer(7) == 0 ? "webhook" : "warm";
  return letter;
}
#define CACHEE_DEAD_REQUEST \
  "SELECT id, event_id, trigger, attempts, changed_wall_ms, last_error, url, kind FROM outbox"

// Each of these changes the rows of one kind with after < id <= last, some at a time, and returns
// how many; `after` moves on.

/// Those of a trigger that is gone have nobody who would run them: what is due of it counts as over.
std::int64_t replay_runs(sql::Connection& db, std::int64_t after, std::int64_t last,
                         std::int64_t now_wall_ms) {
  return db.run(
      "UPDATE runs SET state = 0, attempts = 0, next_attempt_wall_ms = ?"
      " WHERE state = 2 AND id > ? AND id <= ? AND EXISTS"
      " (SELECT 1 FROM triggers t WHERE t.name = runs.trigger AND t.is_group = runs.for_group)",
      now_wall_ms, after, last);
}

std::int64_t replay_requests(sql::Connection& db, std::int64_t after, std::int64_t last,
                             std::int64_t now_wall_ms) {
  return db.run(
      "UPDATE outbox SET state = 0, attempts = 0, next_attempt_wall_ms = ?"
      " WHERE state = 1 AND id > ? AND id <= ?",
      now_wall_ms, after, last);
}

std::int64_t purge_runs(sql::Connection& db, std::int64_t after, std::int64_t last, std::int64_t) {
  db.run(
      "UPDATE accounts SET purged = purged + (SELECT count(*) FROM runs WHERE state = 2"
      " AND id > ?1 AND id <= ?2 AND runs.trigger = accounts.trigger) WHERE trigger IN"
      " (SELECT trigger FROM runs WHERE state = 2 AND id > ?1 AND id <= ?2)",
      after, last);
  db.run(
      "DELETE FROM run_events WHERE id IN"
      " (SELECT id FROM runs WHERE state = 2 AND id > ? AND id <= ?)",
      after, last);
  return db.run("DELETE FROM runs WHERE state = 2 AND id > ? AND id <= ?", after, last);
}

std::int64_t purge_requests(sql::Connection& db, std::int64_t after, std::int64_t last,
                            std::int64_t) {
  db.run(
      "UPDATE outbox_accounts SET purged = purged + (SELECT count(*) FROM outbox"
      " WHERE state = 1 AND id > ?1 AND id <= ?2 AND outbox.trigger = outbox_accounts.trigger)"
      " WHERE trigger IN (SELECT trigger FROM outbox WHERE state = 1 AND id > ?1 AND id <= ?2)",
      after, last);
  return db.run("DELETE FROM outbox WHERE state = 1 AND id > ? AND id <= ?", after, last);
}

using Change = std::int64_t (*)(sql::Connection&, std::int64_t after, std::int64_t last,
                                std::int64_t now_wall_ms);

struct Kind {
  char mark;
  const char* last_dead;   // newest dead row
  const char* chunk_last;  // the last of the next kRowsPerTransaction dead rows
  Change replay;
  Change purge;
};

constexpr Kind kKinds[] = {
    {kRunMark, "SELECT max(id) FROM runs WHERE state = 2",
     "SELECT max(id) FROM (SELECT id FROM runs WHERE state = 2 AND id > ? ORDER BY id LIMIT ?)",
     replay_runs, purge_runs},
    {kOutboxMark, "SELECT max(id) FROM outbox WHERE state = 1",
     "SELECT max(id) FROM (SELECT id FROM outbox WHERE state = 1 AND id > ? ORDER BY id LIMIT ?)",
     replay_requests, purge_requests},
};

/// All that are dead at the call; what dies meanwhile again is left alone, so that this ends.
std::uint64_t change_all(sql::Connection& db, const Kind& kind, Change change,
                         std::int64_t now_wall_ms) {
  std::uint64_t changed = 0;
  const std::int64_t end = db.integer(kind.last_dead);
  for (std::int64_t after = 0; after < end;) {
    sql::Transaction transaction{db};
    const std::int64_t chunk = db.integer(kind.chunk_last, after, kRowsPerTransaction);
    const std::int64_t last = chunk == 0 ? end : std::min(chunk, end);
    changed += static_cast<std::uint64_t>(change(db, after, last, now_wall_ms));
    transaction.commit();
    after = last;
  }
  return changed;
}

Outcome<std::uint64_t> change_dead(sql::Connection& db, std::optional<std::string_view> id,
                                   Change Kind::*what, std::int64_t now_wall_ms) {
  const auto parsed = id ? parse_dead_id(*id) : std::nullopt;
  if (id && !parsed) return unknown(*id);
  return guard([&] {
    std::uint64_t count = 0;
    for (const Kind& kind : kKinds) {
      if (!parsed) {
        count += change_all(db, kind, kind.*what, now_wall_ms);
      } else if (parsed->mark == kind.mark) {
        sql::Transaction transaction{db};
        count +=
            static_cast<std::uint64_t>((kind.*what)(db, parsed->row - 1, parsed->row, now_wall_ms));
        transaction.commit();
      }
    }
    return count;
  });
}

}  // namespace

Outcome<std::vector<DeadLetter>> Store::list_dead(std::size_t count_max) {
  return guard([&] {
    std::vector<DeadLetter> letters;
    {
      auto rows = db_->query(CACHEE_DEAD_RUN " WHERE state = 2 ORDER BY id LIMIT ?", count_max);
      while (rows.next()) letters.push_back(read_run(rows));
    }
    auto rows = db_->query(CACHEE_DEAD_REQUEST " WHERE state = 1 ORDER BY id LIMIT ?", count_max);
    while (rows.next()) letters.push_back(read_request(rows));
    std::stable_sort(letters.begin(), letters.end(), [](const auto& left, const auto& right) {
      return left.wall_ms < right.wall_ms;
    });
    if (letters.size() > count_max) letters.resize(count_max);
    return letters;
  });
}

Outcome<DeadLetter> Store::find_dead(std::string_view id) {
  const auto parsed = parse_dead_id(id);
  if (!parsed) return unknown(id);
  auto found = guard([&]() -> std::optional<DeadLetter> {
    if (parsed->mark == kRunMark) {
      auto rows = db_->query(CACHEE_DEAD_RUN " WHERE state = 2 AND id = ?", parsed->row);
      if (!rows.next()) return std::nullopt;
      DeadLetter letter = read_run(rows);
      auto event = db_->query("SELECT event, effects FROM run_events WHERE id = ?", parsed->row);
      if (event.next()) {
        letter.event = decode_event(event.bytes(0));
        letter.effects = event.text(1);
      }
      return letter;
    }
    auto rows = db_->query(CACHEE_DEAD_REQUEST " WHERE state = 1 AND id = ?", parsed->row);
    if (!rows.next()) return std::nullopt;
    DeadLetter letter = read_request(rows);
    auto body = db_->query("SELECT body FROM outbox WHERE id = ?", parsed->row);
    if (body.next()) letter.body = body.text(0);
    return letter;
  });
  if (!found) return found.failure();
  if (!*found) return unknown(id);
  return std::move(**found);
}

Outcome<std::uint64_t> Store::replay_dead(std::optional<std::string_view> id,
                                          std::int64_t now_wall_ms) {
  auto replayed = change_dead(*db_, id, &Kind::replay, now_wall_ms);
  if (!replayed || *replayed > 0) return replayed;
  std::string trigger;  // of a letter that nobody is there for
  if (id) {
    const auto letter = find_dead(*id);
    if (!letter) return letter.failure();
    trigger = letter->trigger;
  } else {
    const auto left = list_dead(1);
    if (!left) return left.failure();
    if (left->empty()) return replayed;
    trigger = left->front().trigger;
  }
  return Failure{Errc::not_found, fmt::format("trigger {} is not registered any more: register it again, or purge its dead letters", trigger)};
}

Outcome<std::uint64_t> Store::purge_dead(std::optional<std::string_view> id) {
  auto purged = change_dead(*db_, id, &Kind::purge, 0);
  if (purged && id && *purged == 0) return unknown(*id);
  return purged;
}

#undef CACHEE_DEAD_RUN
#undef CACHEE_DEAD_REQUEST

}  // namespace cachee::daemon
