// The registry: TriggerSpec rows.
#include "store/guard.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

void put_trigger(sql::Connection& db, const TriggerSpec& trigger) {
  db.run(
      "INSERT OR REPLACE INTO triggers (name, pattern, events, source, priority, on_full,"
      " block_ms, retry_attempts, backoff_min_ms, backoff_max_ms, timeout_ms, memory_bytes,"
      " steps, sample, depth_max, enabled, paused, slot, id, registered_wall_ms, is_group, from_file)"
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      trigger.name, trigger.pattern, trigger.events, trigger.source, trigger.priority,
      trigger.on_full, trigger.block_ms, trigger.retry_attempts, trigger.backoff_min_ms,
      trigger.backoff_max_ms, trigger.timeout_ms, trigger.memory_bytes, trigger.steps,
      trigger.sample, trigger.depth_max, trigger.enabled, trigger.paused, trigger.slot, trigger.id,
      trigger.registered_wall_ms, trigger.is_group, trigger.from_file);
}

TriggerSpec read_trigger(const sql::Rows& rows) {
  TriggerSpec trigger;
  int column = 0;
  trigger.name = rows.text(column++);
  trigger.pattern = rows.text(column++);
  trigger.events = rows.as<EventMask>(column++);
  trigger.source = rows.text(column++);
  trigger.priority = rows.as<std::int32_t>(column++);
  trigger.on_full = rows.integer(column++) == 0 ? OnFull::block : OnFull::shed;
  trigger.block_ms = rows.as<std::uint32_t>(column++);
  trigger.retry_attempts = rows.as<std::uint32_t>(column++);
  trigger.backoff_min_ms = rows.as<std::uint32_t>(column++);
  trigger.backoff_max_ms = rows.as<std::uint32_t>(column++);
  trigger.timeout_ms = rows.as<std::uint32_t>(column++);
  trigger.memory_bytes = rows.as<std::uint64_t>(column++);
  trigger.steps = rows.as<std::uint64_t>(column++);
  trigger.sample = rows.as<std::uint32_t>(column++);
  trigger.depth_max = rows.as<std::uint32_t>(column++);
  trigger.enabled = rows.integer(column++) != 0;
  trigger.paused = rows.integer(column++) != 0;
  trigger.slot = rows.as<std::uint32_t>(column++);
  trigger.id = rows.as<std::uint64_t>(column++);
  trigger.registered_wall_ms = rows.as<std::uint64_t>(column++);
  trigger.is_group = rows.integer(column++) != 0;
  trigger.from_file = rows.integer(column++) != 0;
  return trigger;
}

}  // namespace

Outcome<void> Store::save_triggers(std::span<const TriggerSpec> triggers) {
  return guard([&] {
    sql::Transaction transaction{*db_};
    db_->run("DELETE FROM triggers");
    for (const TriggerSpec& trigger : triggers) put_trigger(*db_, trigger);
    transaction.commit();
  });
}

Outcome<void> Store::upsert_trigger(const TriggerSpec& trigger) {
  return guard([&] {
    sql::Transaction transaction{*db_};
    put_trigger(*db_, trigger);
    transaction.commit();
  });
}

Outcome<bool> Store::remove_trigger(std::string_view name) {
  return guard([&] {
    sql::Transaction transaction{*db_};
    const bool removed = db_->run("DELETE FROM triggers WHERE name = ?", name) == 1;
    transaction.commit();
    return removed;
  });
}

Outcome<std::vector<TriggerSpec>> Store::load_triggers() {
  return guard([&] {
    std::vector<TriggerSpec> triggers;
    auto rows = db_->query(
        "SELECT name, pattern, events, source, priority, on_full, block_ms, retry_attempts,"
        " backoff_min_ms, backoff_max_ms, timeout_ms, memory_bytes, steps, sample, depth_max,"
        " enabled, paused, slot, id, registered_wall_ms, is_group, from_file FROM triggers"
        " ORDER BY priority DESC, id");
    while (rows.next()) triggers.push_back(read_trigger(rows));
    return triggers;
  });
}

Outcome<std::uint64_t> Store::next_trigger_id() {
  return guard([&] {
    sql::Transaction transaction{*db_};
    db_->run(
        "INSERT INTO meta (name, value) VALUES ('next_trigger_id', 1)"
        " ON CONFLICT (name) DO UPDATE SET value = value + 1");
    const auto id = db_->integer("SELECT value FROM meta WHERE name = 'next_trigger_id'");
    transaction.commit();
    return static_cast<std::uint64_t>(id);
  });
}

}  // namespace cachee::daemon
