// The outbox: requests that are owed. Batch adds rows, the sender settles them.
#include <algorithm>

#include "core/bytes.hpp"
#include "store/guard.hpp"
#include "store/rows.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uint8_t kHeadersVersion = 1;
constexpr std::size_t kHostsPerCallMax = 1024;

OutboxRow read_row(const sql::Rows& rows) {
  OutboxRow row;
  row.id = rows.integer(0);
  row.event_id = rows.text(1);
  row.trigger = rows.text(2);
  row.n = rows.as<std::uint32_t>(3);
  row.kind = rows.integer(4) == 0 ? OutboxKind::webhook : OutboxKind::warm;
  row.host = rows.text(5);
  row.url = rows.text(6);
  row.method = rows.text(7);
  row.timeout_ms = rows.as<std::uint32_t>(8);
  row.attempts = rows.as<std::uint32_t>(9);
  row.next_attempt_wall_ms = rows.integer(10);
  row.created_wall_ms = rows.integer(11);
  row.last_status = rows.as<std::int32_t>(12);
  row.last_error = rows.text(13);
  if (!rows.is_null(14)) row.ttl_ms = rows.integer(14);
  if (!rows.is_null(15)) row.cost = rows.number(15);
  row.provenance = {rows.as<std::uint64_t>(16), rows.as<std::uint64_t>(17),
                    rows.as<std::uint32_t>(18)};
  row.key = rows.text(19);
  return row;
}
#define CACHEE_OUTBOX_COLUMNS                                                              \
  "id, event_id, trigger, n, kind, host, url, method, timeout_ms, attempts,"               \
  " next_attempt_wall_ms, created_wall_ms, last_status, last_error, ttl_ms, cost, parent," \
  " chain, depth, key"

/// The first host after `host` that has rows to send.
std::optional<std::string> host_after(sql::Connection& db, const std::string& host) {
  auto rows = db.query(
      "SELECT host FROM outbox WHERE state = 0 AND host > ?"
      " ORDER BY host LIMIT 1",
      host);
  if (!rows.next()) return std::nullopt;
  return rows.text(0);
}

void take_due(sql::Connection& db, const std::string& host, std::int64_t now_wall_ms,
              std::size_t count, const std::function<bool(std::int64_t)>& in_flight,
              std::vector<OutboxRow>& due) {
  auto rows = db.query("SELECT " CACHEE_OUTBOX_COLUMNS
                       ", secret, headers, body FROM outbox"
                       " WHERE state = 0 AND host = ? AND next_attempt_wall_ms <= ?"
                       " ORDER BY next_attempt_wall_ms, id",
                       host, now_wall_ms);
  while (count > 0 && rows.next()) {
    if (in_flight && in_flight(rows.integer(0))) continue;
    OutboxRow& row = due.emplace_back(read_row(rows));
    row.secret = rows.text(20);
    row.headers = decode_headers(rows.bytes(21));
    row.body = rows.text(22);
    --count;
  }
}

void settle_one(sql::Connection& db, const OutboxResult& result, std::int64_t now_wall_ms) {
  if (result.verdict != OutboxResult::Verdict::sent) {
    db.run(
        "UPDATE outbox SET state = ?, attempts = ?, next_attempt_wall_ms = ?, last_status = ?,"
        " last_error = ?, changed_wall_ms = ? WHERE id = ? AND state = 0",
        result.verdict == OutboxResult::Verdict::dead ? 1 : 0, result.attempts,
        result.next_attempt_wall_ms, result.status, bounded_text(result.error), now_wall_ms,
        result.id);
    return;
  }
  std::string trigger;
  {
    auto rows = db.query("SELECT trigger FROM outbox WHERE id = ?", result.id);
    if (!rows.next()) return;
    trigger = rows.text(0);
  }
  db.run("DELETE FROM outbox WHERE id = ?", result.id);
  db.run("UPDATE outbox_accounts SET sent = sent + 1 WHERE trigger = ?", trigger);
}

}  // namespace

std::string encode_headers(const Headers& headers) {
  ByteWriter out{kHeadersVersion};
  out.put(static_cast<std::uint32_t>(headers.size()));
  for (const auto& [name, value] : headers) {
    out.put_string(name);
    out.put_string(value);
  }
  return out.finish();
}

Headers decode_headers(std::string_view bytes) {
  ByteReader in{bytes, kHeadersVersion};
  Headers headers;
  const auto count = in.get_count(2 * sizeof(std::uint64_t));
  for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
    std::string name = in.get_string();
    std::string value = in.get_string();
    headers.emplace_back(std::move(name), std::move(value));
  }
  return in.finish() ? headers : Headers{};
}

Outcome<std::vector<OutboxRow>> Store::due_outbox(std::int64_t now_wall_ms, std::size_t count_max,
                                                  const OutboxFilter& filter) {
  return guard([&] {
    std::vector<OutboxRow> due;
    const std::string start = next_host_;
    std::string host = start;
    bool wrapped = false;
    for (std::size_t seen = 0; seen < kHostsPerCallMax && due.size() < count_max; ++seen) {
      auto next = host_after(*db_, host);
      if (!next && !wrapped) {
        wrapped = true;
        next = host_after(*db_, "");
      }
      if (!next || (wrapped && *next > start)) break;  // round once
      host = std::move(*next);
      const std::size_t room = filter.room ? filter.room(host) : count_max;
      take_due(*db_, host, now_wall_ms, std::min(room, count_max - due.size()), filter.in_flight,
               due);
      next_host_ = host;
    }
    return due;
  });
}

Outcome<std::optional<std::int64_t>> Store::next_outbox_wall_ms(std::int64_t now_wall_ms) {
  return guard([&]() -> std::optional<std::int64_t> {
    auto rows = db_->query(
        "SELECT next_attempt_wall_ms FROM outbox WHERE state = 0"
        " AND next_attempt_wall_ms > ? ORDER BY next_attempt_wall_ms LIMIT 1",
        now_wall_ms);
    if (!rows.next()) return std::nullopt;
    return rows.integer(0);
  });
}

Outcome<OutboxQueue> Store::outbox_queue(std::int64_t now_wall_ms) {
  return guard([&] {
    OutboxQueue queue;
    // Of an index alone: a count that costs little also when a service has been down for a day.
    auto rows =
        db_->query("SELECT count(*), min(next_attempt_wall_ms) FROM outbox WHERE state = 0");
    if (!rows.next() || rows.is_null(1)) return queue;
    queue.rows = rows.as<std::uint64_t>(0);
    queue.overdue_ms =
        static_cast<std::uint64_t>(std::max<std::int64_t>(now_wall_ms - rows.integer(1), 0));
    return queue;
  });
}

Outcome<void> Store::settle_outbox(std::span<const OutboxResult> results,
                                   std::int64_t now_wall_ms) {
  return guard([&] {
    sql::Transaction transaction{*db_};
    for (const OutboxResult& result : results) settle_one(*db_, result, now_wall_ms);
    transaction.commit();
  });
}

Outcome<std::vector<OutboxRow>> Store::list_outbox(std::size_t count_max) {
  return guard([&] {
    std::vector<OutboxRow> list;
    auto rows = db_->query("SELECT " CACHEE_OUTBOX_COLUMNS
                           " FROM outbox WHERE state = 0 ORDER BY id LIMIT ?",
                           count_max);
    while (rows.next()) list.push_back(read_row(rows));
    return list;
  });
}

#undef CACHEE_OUTBOX_COLUMNS

}  // namespace cachee::daemon
