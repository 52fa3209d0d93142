#include "store/migrations.hpp"

#include <array>

#include <fmt/format.h>

namespace cachee::daemon {
namespace {

constexpr std::int64_t kApplicationId = 0x43616368;  // "Cach"

constexpr const char* kVersion1 = R"(
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE triggers (
  name TEXT PRIMARY KEY, pattern TEXT NOT NULL, events INTEGER NOT NULL, source TEXT NOT NULL,
  priority INTEGER NOT NULL, on_full INTEGER NOT NULL, block_ms INTEGER NOT NULL,
  retry_attempts INTEGER NOT NULL, backoff_min_ms INTEGER NOT NULL, backoff_max_ms INTEGER NOT NULL,
  timeout_ms INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, steps INTEGER NOT NULL,
  sample INTEGER NOT NULL, depth_max INTEGER NOT NULL, enabled INTEGER NOT NULL,
  paused INTEGER NOT NULL, slot INTEGER NOT NULL, id INTEGER NOT NULL,
  registered_wall_ms INTEGER NOT NULL) WITHOUT ROWID;

-- state: 0 waiting, 1 held, 2 dead. An id is never used again: its order is that of arrival.
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, seq INTEGER NOT NULL,
  trigger TEXT NOT NULL, trigger_id INTEGER NOT NULL, key_hash INTEGER NOT NULL,
  state INTEGER NOT NULL, attempts INTEGER NOT NULL, next_attempt_wall_ms INTEGER NOT NULL,
  moved_wall_ms INTEGER NOT NULL, changed_wall_ms INTEGER NOT NULL,
  error TEXT NOT NULL, traceback TEXT NOT NULL);
CREATE UNIQUE INDEX runs_event ON runs (event_id, trigger);
CREATE INDEX runs_lane ON runs (trigger, key_hash, id) WHERE state < 2;
CREATE INDEX runs_due ON runs (next_attempt_wall_ms, id) WHERE state = 0;
CREATE INDEX runs_state ON runs (trigger, state);
CREATE INDEX runs_dead ON runs (id) WHERE state = 2;

-- Apart from its run, because events may be large and runs change often.
CREATE TABLE run_events (id INTEGER PRIMARY KEY, event BLOB NOT NULL);

CREATE TABLE accounts (
  trigger TEXT PRIMARY KEY, moved_in INTEGER NOT NULL DEFAULT 0,
  acknowledged INTEGER NOT NULL DEFAULT 0, purged INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;

-- what: 0 the effects of the run are stored, 1 the store took the run over from the ring.
CREATE TABLE ledger (
  event_id TEXT NOT NULL, trigger TEXT NOT NULL, what INTEGER NOT NULL, seq INTEGER NOT NULL,
  wall_ms INTEGER NOT NULL, PRIMARY KEY (event_id, trigger, what)) WITHOUT ROWID;
CREATE INDEX ledger_age ON ledger (wall_ms);

CREATE TABLE once (
  id TEXT PRIMARY KEY, event_id TEXT NOT NULL, trigger TEXT NOT NULL,
  expires_wall_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX once_age ON once (expires_wall_ms);

CREATE TABLE log_lines (
  id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, trigger TEXT NOT NULL, n INTEGER NOT NULL,
  channel TEXT NOT NULL, line BLOB NOT NULL, UNIQUE (event_id, trigger, n));
CREATE INDEX log_lines_channel ON log_lines (channel, id);
-- settled_bytes: NULL until the writer has looked at the file for the first time.
CREATE TABLE log_files (channel TEXT PRIMARY KEY, settled_bytes INTEGER) WITHOUT ROWID;

-- state: 0 pending, 1 dead. kind: 0 webhook, 1 warm.
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, trigger TEXT NOT NULL,
  n INTEGER NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL, host TEXT NOT NULL,
  url TEXT NOT NULL, method TEXT NOT NULL, timeout_ms INTEGER NOT NULL, attempts INTEGER NOT NULL,
  next_attempt_wall_ms INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL,
  changed_wall_ms INTEGER NOT NULL, last_status INTEGER NOT NULL, last_error TEXT NOT NULL,
  ttl_ms INTEGER, cost REAL, parent INTEGER NOT NULL, chain INTEGER NOT NULL,
  depth INTEGER NOT NULL, key BLOB NOT NULL, secret BLOB NOT NULL, headers BLOB NOT NULL,
  body BLOB NOT NULL, UNIQUE (event_id, trigger, n));
CREATE INDEX outbox_host ON outbox (host, next_attempt_wall_ms, id) WHERE state = 0;
CREATE INDEX outbox_due ON outbox (next_attempt_wall_ms) WHERE state = 0;
CREATE INDEX outbox_state ON outbox (trigger, state);
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 1;
CREATE TABLE outbox_accounts (
  trigger TEXT PRIMARY KEY, added INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0,
  purged INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
)";

// Log files that are rotated, and chains of hashes through their lines.
constexpr const char* kLogChains = R"(
ALTER TABLE log_files ADD COLUMN chain TEXT NOT NULL DEFAULT '';
ALTER TABLE log_files ADD COLUMN begun_wall_ms INTEGER NOT NULL DEFAULT 0;
)";


// Consumer groups. Their runs wait for whoever asks and have an index of their own, so that a million
// of them cost nothing where runs for executors are looked for.
constexpr const char* kGroups = R"(
ALTER TABLE triggers ADD COLUMN is_group INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN for_group INTEGER NOT NULL DEFAULT 0;
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (next_attempt_wall_ms, id) WHERE state = 0 AND for_group = 0;
CREATE INDEX runs_ready ON runs (trigger, next_attempt_wall_ms, id) WHERE state = 0 AND for_group = 1;
)";

// One row for what a transaction adds: to a block of the ledger of effects (effects_ledger.hpp; an entry is
// the event's id and the trigger's name, each with its length in front), and to a log channel.
constexpr const char* kRowsOfMany = R"(
CREATE TABLE ledger_blocks (
  id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, block INTEGER NOT NULL, seq_last INTEGER NOT NULL,
  wall_ms INTEGER NOT NULL, entries BLOB NOT NULL);
CREATE INDEX ledger_blocks_place ON ledger_blocks (epoch, block);
CREATE INDEX ledger_blocks_age ON ledger_blocks (wall_ms);
INSERT INTO ledger_blocks (epoch, block, seq_last, wall_ms, entries)
  SELECT substr(event_id, 1, max(instr(event_id, '-') - 1, 0)), seq / 1024, seq, wall_ms,
    CAST(length(CAST(event_id AS BLOB)) || ':' || event_id || length(CAST(trigger AS BLOB)) || ':' || trigger AS BLOB)
  FROM ledger WHERE what = 0;
DELETE FROM ledger WHERE what = 0;
CREATE TABLE log_chunks (
  id INTEGER PRIMARY KEY, channel TEXT NOT NULL, line_count INTEGER NOT NULL, lines BLOB NOT NULL);
CREATE INDEX log_chunks_channel ON log_chunks (channel, id);
INSERT INTO log_chunks (channel, line_count, lines) SELECT channel, 1, line FROM log_lines ORDER BY id;
DROP TABLE log_lines;
)";

// Triggers that came from a file of triggers.d go with it.
constexpr const char* kTriggerFiles = "ALTER TABLE triggers ADD COLUMN from_file INTEGER NOT NULL DEFAULT 0;";

// What is left of the effects of a run whose handler succeeded. Marks of `cachee.once` are keys of the cache.
constexpr const char* kEffectsLeft = R"(
ALTER TABLE run_events ADD COLUMN effects BLOB NOT NULL DEFAULT x'';
DROP TABLE once;
)";

constexpr std::array kMigrations = {kVersion1, kLogChains, kGroups, kRowsOfMany, kTriggerFiles, kEffectsLeft};
static_assert(kMigrations.size() == kSchemaVersion);

}  // namespace

void migrate(sql::Connection& db, const std::string& path) {
  if (db.integer("PRAGMA user_version") == kSchemaVersion &&
      db.integer("PRAGMA application_id") == kApplicationId) {
    return;
  }
  sql::Transaction transaction{db};
  const std::int64_t version = db.integer("PRAGMA user_version");  // again, under the lock
  const std::int64_t application = db.integer("PRAGMA application_id");
  if (version == kSchemaVersion && application == kApplicationId) return;
  if (application != kApplicationId &&
      (application != 0 || version != 0 || db.integer("SELECT count(*) FROM sqlite_master") != 0)) {
    throw sql::Error{Errc::layout_mismatch,
                     fmt::format("{} is not a Cachee database: move it away", path)};
  }
  if (version > kSchemaVersion) {
    throw sql::Error{Errc::layout_mismatch,
                     fmt::format("{} has schema version {}, this cacheed knows versions up to {}: "
                                 "install the newer cacheed, or move the file away to start afresh",
                                 path, version, kSchemaVersion)};
  }
  for (auto step = version; step < kSchemaVersion; ++step) {
    db.script(kMigrations[static_cast<std::size_t>(step)]);
  }
  db.script(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId,
                        kSchemaVersion));
  transaction.commit();
}

}  // namespace cachee::daemon
