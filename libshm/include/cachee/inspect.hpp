// Statistics and lists read from the segment; works with the supervisor dead or alive and changes
// nothing. Figures of running clients are snapshots: each is true, their sum may be a moment off.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <cachee/result.hpp>
#include <cachee/types.hpp>

namespace cachee {

class Cache;

struct ClientStats {
  std::uint64_t hits = 0, misses = 0, sets = 0, deletes = 0;
  std::uint64_t expired = 0, evicted = 0, events = 0, backpressure = 0, retries = 0;
  std::uint64_t inserts = 0;          // keys that were new
  std::uint64_t returned = 0;         // of them: evicted not long before
  std::uint64_t waited_for_room = 0;  // writes that had to evict themselves: the supervisor was behind, or dead
  double evicted_cost = 0;            // sum of the costs of what was evicted
};

struct ClientInfo {
  ClientId id{};
  std::uint64_t registration = 0;  // one per handle; several threads share it
  std::int32_t pid = 0;            // as its own PID namespace numbers it
  Role role = Role::client;
  std::string name{};
  bool alive = false;
  bool recovering = false;
  std::string operation{};         // "idle", "set", ...
  std::uint32_t pins = 0;
  std::uint64_t attached_wall_ms = 0;
  ClientStats stats{};
};

struct SlabClassInfo {
  std::uint64_t block_bytes = 0;
  std::uint64_t pages = 0, blocks = 0, free = 0, live = 0, waiting = 0;  // waiting: retired, not yet free
  std::uint64_t page_bytes = 0;  // of all its pages together
  /// What the live records need: header, key, value and what they carry beside it, each padded to 8 bytes. The rest of
  /// live * block_bytes is lost to others; what is lost to the class is the rest of its pages.
  std::uint64_t requested_bytes = 0;
  friend bool operator==(const SlabClassInfo&, const SlabClassInfo&) = default;
};

struct RingInfo {
  std::uint64_t capacity = 0, head = 0, tail = 0;  // depth = tail - head
  std::uint64_t admission_limit = 0;               // clients are held back above this depth
};

struct SegmentInfo {
  std::string name{};
  std::string layout{};            // "1.0"
  std::string epoch{};             // 32 hex digits
  std::uint64_t segment_bytes = 0, data_bytes = 0, used_bytes = 0;
  std::uint64_t page_bytes = 0, pages = 0, pages_free = 0;
  std::uint64_t buckets = 0, overflow_buckets = 0, overflow_used = 0;
  std::uint64_t value_bytes_max = 0;
  std::uint64_t keys = 0;
  std::uint64_t clients = 0, clients_max = 0;
  std::uint64_t triggers = 0, trigger_generation = 0;
  std::int32_t supervisor_pid = 0;  // 0: none
  std::uint64_t supervisor_heartbeat_age_ms = 0;
  std::uint64_t uptime_ms = 0;
  std::string eviction_policy{};
  /// Estimated misses per read with 1/2, 1, 2 and 4 times the memory, if the mix of keys and sizes
  /// stays; all 0 until the supervisor has seen enough reads.
  std::array<double, 4> miss_ratios{};
  /// Cost of what was evicted in the last minute, to a second; since the supervisor started, if that is later. The
  /// minute moves with its heartbeat: without one, or when that is old, it is so much longer.
  double evicted_cost_minute = 0;
  ClientStats totals{};             // of all clients, living and gone
  RingInfo ring{};
};

/// One event that is in the ring, for `cachee ring` and `cachee events`.
struct PendingEvent {
  EventSeq seq{};
  EventKind kind{};
  Cause cause{};
  std::string key{};
  std::uint64_t version = 0;
  std::uint32_t attempts = 0;
  bool acknowledged = false;
  std::int64_t timestamp_wall_us = 0;
};

[[nodiscard]] Result<SegmentInfo> segment_info(const Cache& cache);
[[nodiscard]] Result<std::vector<ClientInfo>> list_clients(const Cache& cache);
[[nodiscard]] Result<std::vector<SlabClassInfo>> list_slabs(const Cache& cache);
[[nodiscard]] Result<std::vector<PendingEvent>> list_events(const Cache& cache, std::size_t count_max);

/// How the segment is backed, as far as this process has entered it into its page table.
struct MemoryInfo {
  std::uint64_t resident_bytes = 0;
  std::uint64_t huge_bytes = 0;    // in huge pages
  std::uint64_t locked_bytes = 0;  // by this process's mlock
  std::string huge_page_policy{};  // what this machine says of huge pages in /dev/shm
};
/// Touches a byte of every 2 MiB and reads /proc/self/smaps.
[[nodiscard]] Result<MemoryInfo> memory_info(const Cache& cache);

struct FsckFinding {
  std::string invariant{};  // "[IX-3]"
  std::string text{};
  std::uint64_t offset = 0;
};
struct FsckReport {
  std::vector<FsckFinding> findings{};
  std::uint64_t findings_total = 0;   // `findings` keeps the first thousand
  std::uint64_t records = 0, blocks = 0, buckets = 0, events = 0;
  std::uint64_t blocks_unlisted = 0;  // free, and a client's to claim or hidden until a scrub finds them; no damage
  bool quiescent = true;              // false: clients were running, transient states were skipped
};

/// Checks every numbered invariant that can be seen in the bytes. Read-only.
[[nodiscard]] Result<FsckReport> fsck(const Cache& cache);

/// Names of all segments on this host.
[[nodiscard]] std::vector<std::string> list_segments();

}  // namespace cachee
