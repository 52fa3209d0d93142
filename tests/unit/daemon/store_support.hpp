// What the tests of the store's users share: short ways to make runs, effects and stores.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "store/store.hpp"

namespace cachee::daemon {

inline std::unique_ptr<Store> open_store(const std::string& directory, StoreOptions options = {}) {
  options.directory = directory;
  auto store = Store::open(options);
  EXPECT_TRUE(store) << (store ? "" : store.failure().text);
  return store ? std::move(*store) : nullptr;
}

inline std::string event_id(std::uint64_t seq) { return "5f3a9c1e-" + std::to_string(seq + 1); }

inline EventData event_data(std::uint64_t seq, std::string key = "k") {
  EventData event;
  event.id = event_id(seq);
  event.seq = seq;
  event.kind = EventKind::write;
  event.key = std::move(key);
  event.value = "value " + std::to_string(seq);
  return event;
}

inline Effect log_effect(std::string channel, std::string line) {
  Effect effect;
  effect.kind = EffectKind::log;
  effect.key = std::move(channel);
  effect.value = std::move(line);
  return effect;
}

inline Effect webhook_effect(std::string url, std::string body = "{\"a\":1}") {
  Effect effect;
  effect.kind = EffectKind::webhook;
  effect.url = std::move(url);
  effect.method = "POST";
  effect.value = std::move(body);
  return effect;
}

inline Effect warm_effect(std::string key, std::string url) {
  Effect effect;
  effect.kind = EffectKind::warm;
  effect.key = std::move(key);
  effect.url = std::move(url);
  return effect;
}

/// Adds effects in a batch of their own; true when they were new.
/// Makes a file of schema version 3 of the one in the directory: as before rows were of many.
inline void unmake_rows_of_many(sql::Connection& db) {
  db.script(
      "ALTER TABLE run_events DROP COLUMN effects;"
      "CREATE TABLE once (id TEXT PRIMARY KEY);"
      "ALTER TABLE triggers DROP COLUMN from_file;"
      "DROP TABLE ledger_blocks; DROP TABLE log_chunks;"
      "CREATE TABLE log_lines (id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, trigger TEXT NOT NULL, n INTEGER NOT NULL,"
      " channel TEXT NOT NULL, line BLOB NOT NULL, UNIQUE (event_id, trigger, n));"
      "CREATE INDEX log_lines_channel ON log_lines (channel, id); PRAGMA user_version = 3");
}

inline bool add_effects(Store& store, std::uint64_t seq, const std::vector<Effect>& effects,
                        std::string_view trigger = "t", std::int64_t now_wall_ms = 1000) {
  auto batch = store.begin();
  EXPECT_TRUE(batch);
  const std::string id = event_id(seq);
  auto added =
      batch->add_effects({.event_id = id, .seq = seq, .trigger = trigger}, effects, now_wall_ms);
  EXPECT_TRUE(added) << (added ? "" : added.failure().text);
  auto done = batch->commit();
  EXPECT_TRUE(done) << (done ? "" : done.failure().text);
  return added && *added;
}

/// Moves a run in; returns its id.
inline std::int64_t move_in(Batch& batch, std::uint64_t seq, std::uint64_t key_hash,
                            RunState state = RunState::waiting, std::string_view trigger = "t",
                            std::int64_t next_wall_ms = 0) {
  const std::string id = event_id(seq);
  auto moved = batch.move_in({.run = {.event_id = id, .seq = seq, .trigger = trigger},
                              .trigger_id = 7,
                              .key_hash = key_hash,
                              .state = state,
                              .attempts = state == RunState::held ? 0u : 1u,
                              .next_attempt_wall_ms = next_wall_ms,
                              .error = "boom",
                              .traceback = "line 1"},
                             event_data(seq), 1000);
  EXPECT_TRUE(moved) << (moved ? "" : moved.failure().text);
  EXPECT_TRUE(moved && moved->added);
  return moved ? moved->id : 0;
}

/// Dead letters are replayed for triggers that are registered.
inline void register_trigger(Store& store, const std::string& name) {
  TriggerSpec trigger;
  trigger.name = trigger.pattern = name;
  EXPECT_TRUE(store.upsert_trigger(trigger));
}

inline void expect_sound(Store& store) {
  auto findings = store.check();
  ASSERT_TRUE(findings) << findings.failure().text;
  for (const std::string& finding : *findings) ADD_FAILURE() << finding;
}

}  // namespace cachee::daemon
