// Cache: the handle on a shared keyspace.
//
// Use:   auto cache = cachee::Cache::open({.name = "orders"});
//        if (!cache) die(to_string(cache.error()));
//        auto set = cache->set("session:42", bytes, {.ttl = 30min});   // a refused write is told
//        auto value = cache->get("session:42");           // Result<Value>
//
// Threads: one handle serves any number of threads; each thread that writes takes one client slot
// of the segment at its first operation and returns it when it ends.
// fork():  the child must open its own handle; calls on the inherited one say Errc::closed.
// Limits:  keys to kKeyBytesMax bytes, values to the segment's value_bytes_max.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/options.hpp>
#include <cachee/pinned_value.hpp>
#include <cachee/result.hpp>
#include <cachee/subscription.hpp>
#include <cachee/types.hpp>

namespace cachee {

/// A value copied out of the cache.
struct Value {
  std::string bytes{};
  std::uint64_t version = 0;
  [[nodiscard]] std::string_view view() const noexcept { return bytes; }
};

/// Everything that is stored with a key.
struct Entry {
  std::string value{};
  std::uint64_t version = 0;
  double cost = kCostDefault;
  Metadata metadata{};
  std::vector<std::string> depends_on{};
  std::optional<std::chrono::milliseconds> ttl{};  // remaining; none: no deadline
  std::optional<std::int64_t> deadline_wall_ms{};   // the moment that was named (EXAT); none: a TTL or no deadline
  std::chrono::milliseconds age{};
  std::uint64_t bytes = 0;                          // of memory: the block that holds the record
};

struct Peek {
  /// How used the key is, as eviction counts it, 0 to 31. Not how often it was read: the first read or overwrite in each
  /// 1/64 of a turnover of the cache adds one, however many follow; eviction halves it as time goes by. An overwrite
  /// keeps it. A new key begins with 0, one that was evicted not long ago with what it had.
  std::uint32_t hits = 0;
  std::optional<std::chrono::milliseconds> ttl{};  // remaining; none: no deadline
};

struct ScanResult {
  std::uint64_t cursor = 0;  // 0: the scan is complete
};

class Cache {
 public:
  /// Attaches to the segment of that name.
  /// @error no_segment       there is none: start cacheed
  /// @error layout_mismatch  made by another version
  /// @error permission, invalid_argument, corrupt
  [[nodiscard]] static Result<Cache> open(const OpenOptions& options = {}) noexcept;

  Cache(Cache&&) noexcept;
  Cache& operator=(Cache&&) noexcept;
  ~Cache();

  /// Copies the value of a key.
  /// @error not_found  absent or expired
  /// @error full, no_space  get(), get_into(), get_many(), view(): a trigger wants ON_READ of the key and its event finds no
  ///                        room in the ring (after the trigger's ON_FULL time) or no memory; nothing was read
  /// @progress lock-free; waits for nobody, alive or dead
  [[nodiscard]] Result<Value> get(KeyView key) const noexcept;
  /// Copies into the caller's memory; no allocation. Returns the size of the value; when it is
  /// larger than the span nothing is copied and the size says how much is needed.
  [[nodiscard]] Result<std::size_t> get_into(KeyView key, std::span<char> out) const noexcept;
  /// Reads many keys with their memory accesses overlapped; the sink is called once per key in
  /// order with its index and the value or none.
  using ManySink = std::function<void(std::size_t index, std::optional<ValueView> value)>;
  Result<void> get_many(std::span<const KeyView> keys, const ManySink& sink) const noexcept;
  /// Zero-copy: valid and unchanged until the PinnedValue goes.
  [[nodiscard]] Result<PinnedValue> view(KeyView key) const noexcept;
  /// What is known of a key's use and time; to ask is no use of the key.
  [[nodiscard]] Result<Peek> peek(KeyView key) const noexcept;
  /// Value, version, cost, metadata, dependencies, TTL, age. No use of the key either, and not counted.
  [[nodiscard]] Result<Entry> inspect(KeyView key) const noexcept;
  /// This and ttl() count as hits and misses, and are no use of the key: it does not stay longer for them.
  [[nodiscard]] Result<bool> contains(KeyView key) const noexcept;
  /// Remaining time; nullopt inside the result: the key has no deadline.
  [[nodiscard]] Result<std::optional<std::chrono::milliseconds>> ttl(KeyView key) const noexcept;
  /// When it ends, in ms since 1970: the moment that was named (EXAT), or what is left of a TTL from now on, which a step
  /// of the wall clock moves. nullopt inside the result: never. Counts as ttl() does.
  [[nodiscard]] Result<std::optional<std::int64_t>> deadline_wall_ms(KeyView key) const noexcept;

  /// Stores a value.
  /// @error exists, not_found  the condition did not hold
  /// @error stale      if_version did not match
  /// @error full       BACKPRESSURE: a trigger wants the event and the ring stayed full; nothing applied
  /// @error no_space   no memory and nothing may be evicted
  Result<WriteResult> set(KeyView key, ValueView value, const SetOptions& options = {}) noexcept;
  Result<WriteResult> add(KeyView key, ValueView value, SetOptions options = {}) noexcept;
  Result<WriteResult> replace(KeyView key, ValueView value, SetOptions options = {}) noexcept;
  Result<WriteResult> compare_and_set(KeyView key, std::uint64_t version, ValueView value,
                                      SetOptions options = {}) noexcept;
  /// Stores many values with the same options and their memory accesses overlapped. Each is a set()
  /// of its own, in order, not one transaction: the sink is called once for each that was stored,
  /// with its index; the first failure ends the call and is its result, and what was stored stays.
  using StoredSink = std::function<void(std::size_t index, const WriteResult& written)>;
  Result<void> set_many(std::span<const KeyValue> items, const SetOptions& options = {},
                        const StoredSink& sink = {}) noexcept;
  /// Adds to a decimal integer, keeping the key's TTL, cost and metadata; returns the new value.
  /// @error not_a_number, overflow
  Result<std::int64_t> increment(KeyView key, std::int64_t delta = 1,
                                 const IncrementOptions& options = {}) noexcept;
  /// Appends to the value (or creates it), keeping TTL, cost and metadata; returns the new length.
  Result<std::size_t> append(KeyView key, ValueView suffix) noexcept;
  /// Any read-modify-write: `change` receives the entry's value (none: absent) and returns the new
  /// one, or none to leave the key alone (Errc::would_block is then the result). May run it again
  /// when another client was faster. TTL, cost and metadata are kept. In `change` this handle may
  /// read; its other operations say Errc::busy.
  using Change = std::function<std::optional<std::string>(std::optional<ValueView> old)>;
  Result<WriteResult> update(KeyView key, const Change& change, const Provenance& from = {}) noexcept;

  /// Sets a new deadline in place; no event. True when it was applied, false when the condition
  /// did not hold.
  Result<bool> touch(KeyView key, Ttl ttl, ExpireCondition condition = ExpireCondition::always) noexcept;
  /// The same for a moment of the wall clock, as SetOptions::deadline_wall_ms. Where the key's deadline is a TTL, a
  /// condition compares them by the clocks as they are now.
  Result<bool> touch_at(KeyView key, std::int64_t deadline_wall_ms,
                        ExpireCondition condition = ExpireCondition::always) noexcept;
  /// Removes the deadline; false when there was none.
  Result<bool> persist(KeyView key) noexcept;

  /// Removes a key. @error not_found, stale, full
  Result<EraseResult> erase(KeyView key, const EraseOptions& options = {}) noexcept;
  /// Erases every key that is there during the whole call; returns how many.
  Result<std::uint64_t> clear(Cause cause = Cause::flush) noexcept;

  /// Visits keys from a cursor (0: start). Every key that is there during a whole scan is seen at
  /// least once. Visits whole buckets until at least `count` keys were seen.
  using KeySink = std::function<void(KeyView key)>;
  Result<ScanResult> scan(std::uint64_t cursor, std::size_t count, const KeySink& sink) const noexcept;
  /// Number of keys; counts the index, O(buckets).
  [[nodiscard]] Result<std::uint64_t> size() const noexcept;
  /// A key chosen about uniformly. @error not_found  the cache is empty
  [[nodiscard]] Result<std::string> random_key() const noexcept;

  /// Waits until every trigger that the event of an operation is owed to has acknowledged it,
  /// also one that is paused, fails and is tried again, or works off a backlog on disk.
  /// @error timed_out  not within the time, or there is no supervisor to tell. A read-only handle
  ///                   knows only of events that are still in the ring.
  Result<void> wait_acknowledged(EventSeq event, std::chrono::milliseconds timeout) const noexcept;

  /// Joins a consumer group, and makes it when there is none of that name: subscription.hpp. A group that
  /// is there must have the same pattern, events and options; with an empty pattern it only joins.
  /// @error no_supervisor     cacheed is not running, or its socket is elsewhere
  /// @error exists            a group of that name has another pattern, other events or options
  /// @error not_found         the pattern is empty and there is no such group
  /// @error invalid_argument  cacheed refuses the name, the pattern, the events or an option
  /// @error permission, busy, io
  [[nodiscard]] Result<Subscription> subscribe(SubscribeOptions options) noexcept;
  /// The same, and what cacheed said when it refused: "ERR bad pattern ..."; empty: it said nothing.
  [[nodiscard]] Result<Subscription> subscribe(SubscribeOptions options, std::string& refusal) noexcept;

  /// False when no cacheed holds the segment.
  [[nodiscard]] bool supervisor_alive() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;

  /// For libraries of this project: inspect.hpp, maintain.hpp, triggers.hpp.
  [[nodiscard]] const std::shared_ptr<shm::Handle>& handle() const noexcept { return handle_; }

 private:
  friend class Maintainer;
  explicit Cache(std::shared_ptr<shm::Handle> handle) noexcept;
  std::shared_ptr<shm::Handle> handle_;
};

}  // namespace cachee
