// What the store keeps, as plain values. A "run" is one event for one trigger.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cachee/options.hpp>
#include <cachee/types.hpp>

#include "core/event_data.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kErrorTextBytesMax = 8192;  // longer errors and tracebacks are cut

/// Which event for which trigger. Borrows for the call.
struct RunRef {
  std::string_view event_id{};
  std::uint64_t seq = 0;
  std::string_view trigger{};  // its name
  Provenance effects{};        // what cache writes of this run carry: parent, chain, depth
};

/// Where a stored run stands. Values are part of the schema.
enum class RunState : std::uint8_t {
  waiting = 0,  // runs when its time has come and it is the oldest of its trigger and key
  held = 1,     // has not run: an older one of its trigger and key has to go first
  dead = 2,     // given up: a dead letter
};

/// A run that leaves the ring for the store.
struct MovedRun {
  RunRef run{};
  std::uint64_t trigger_id = 0;
  std::uint64_t key_hash = 0;
  bool for_group = false;  // a consumer takes it, no executor
  RunState state = RunState::waiting;
  std::uint32_t attempts = 0;  // done so far
  std::int64_t next_attempt_wall_ms = 0;
  std::string_view error{};
  std::string_view traceback{};
  std::string_view effects{};  // encoded; what is left to do of a run whose handler succeeded. Empty: run the handler
};

/// What move_in() made of it. `added` false: the store had taken this run over before (and may be
/// done with it by now), so nothing was added.
struct MoveResult {
  bool added = false;
  std::int64_t id = 0;  // of the stored run; 0 when the store is done with it
};

/// How a failed attempt changes a stored run.
struct RunFailure {
  std::uint32_t attempts = 0;
  std::int64_t next_attempt_wall_ms = 0;
  std::string_view error{};
  std::string_view traceback{};
  std::string_view effects{};  // what is left now; empty: as it was
  bool duplicate = false;  // its event says so from now on
};

struct StoredRun {
  std::int64_t id = 0;  // ascending in the order of arrival; kept for life, also as a dead letter
  std::string event_id{};
  std::uint64_t seq = 0;
  std::string trigger{};
  std::uint64_t trigger_id = 0;
  std::uint64_t key_hash = 0;
  RunState state = RunState::waiting;
  std::uint32_t attempts = 0;
  std::int64_t next_attempt_wall_ms = 0;
  std::string error{};
  std::string traceback{};
  std::int64_t moved_wall_ms = 0;    // when it left the ring
  std::optional<EventData> event{};  // none: its stored bytes are damaged; bury the run
  std::string effects{};             // of due_runs(): see MovedRun
};

/// A trigger and key that have runs in the store: the executor must hold back newer ones.
struct BlockedLane {
  std::string trigger{};
  std::uint64_t key_hash = 0;
  std::uint64_t count = 0;
};

/// Where every run went that the store took over from the ring, by trigger name.
struct StoreAccount {
  std::string trigger{};
  std::uint64_t moved_in = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t purged = 0;
  std::uint64_t retry = 0;  // counted in the rows, not kept
  std::uint64_t dead = 0;   // likewise
  [[nodiscard]] bool adds_up() const noexcept {
    return moved_in == acknowledged + purged + retry + dead;
  }
};

/// One thing that was given up: a run ("e17") or an outbox row ("o5").
struct DeadLetter {
  std::string id{};
  std::string event_id{};
  std::string trigger{};
  std::string what{};  // "event", "webhook" or "warm"
  std::uint32_t attempts = 0;
  std::string error{};
  std::string traceback{};
  std::string url{};                 // outbox rows
  std::int64_t wall_ms = 0;          // when it was given up
  std::optional<EventData> event{};  // of runs, only from find_dead()
  std::string body{};                // of webhooks, only from find_dead()
  std::string effects{};             // of runs, only from find_dead(): see MovedRun
};

/// Values are part of the schema.
enum class OutboxKind : std::uint8_t { webhook = 0, warm = 1 };

/// A request that is owed to somebody.
struct OutboxRow {
  std::int64_t id = 0;
  std::string event_id{};
  std::string trigger{};
  std::uint32_t n = 0;  // which effect of the run it is
  OutboxKind kind = OutboxKind::webhook;
  std::string host{};  // "name:port" in lower case; rows of one host share its limit
  std::string url{};
  std::string method{};
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  std::string secret{};                  // empty in list_outbox()
  std::uint32_t timeout_ms = 0;          // 0: the sender's default
  std::string key{};                     // warm: where the body goes
  std::optional<std::int64_t> ttl_ms{};  // warm
  std::optional<double> cost{};          // warm
  Provenance provenance{};               // warm: what the write carries
  std::uint32_t attempts = 0;            // done so far
  std::int64_t next_attempt_wall_ms = 0;
  std::int64_t created_wall_ms = 0;
  std::int32_t last_status = 0;  // HTTP status; 0: none came
  std::string last_error{};
};

/// How a request ended.
struct OutboxResult {
  enum class Verdict { sent, retry, dead };
  std::int64_t id = 0;
  Verdict verdict = Verdict::sent;
  std::uint32_t attempts = 0;
  std::int64_t next_attempt_wall_ms = 0;
  std::int32_t status = 0;
  std::string error{};
};

/// Account of the outbox, by trigger name: added = sent + purged + pending + dead.
struct OutboxQueue {
  std::uint64_t rows = 0;
  std::uint64_t overdue_ms = 0;
};

struct OutboxAccount {
  std::string trigger{};
  std::uint64_t added = 0;
  std::uint64_t sent = 0;
  std::uint64_t purged = 0;
  std::uint64_t pending = 0;  // counted
  std::uint64_t dead = 0;     // counted
  [[nodiscard]] bool adds_up() const noexcept { return added == sent + purged + pending + dead; }
};

/// A committed log line that may not be in its file yet; `line` ends in a line feed.
struct LogChunk {
  std::int64_t id = 0;
  std::uint64_t line_count = 0;
  std::string lines{};  // each with its line feed
};

/// How many bytes of a channel's file are settled: everything behind them is a torn write.
struct LogFile {
  std::string channel{};
  std::uint64_t settled_bytes = 0;
  std::string chain{};             // hash of the last settled line; empty: it has none
  std::int64_t begun_wall_ms = 0;  // when the file got its first line; 0: it has none, or it is not known
};

}  // namespace cachee::daemon
