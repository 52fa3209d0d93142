// Maintenance of a segment: what cacheed and its executors may do beyond an ordinary client. A
// short list of bounded steps; the segment stays right when whoever does them dies in between.
//
// Use:   auto keeper = cachee::Maintainer::create({.name = "orders", .memory_bytes = 256 << 20});
//        for (;;) { keeper->expire_due(now, 1000); keeper->evict(1000); keeper->reap(4); ... }
//
// Threads: Maintainer methods may be called from several threads unless they say otherwise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <cachee/cache.hpp>
#include <cachee/inspect.hpp>
#include <cachee/options.hpp>
#include <cachee/result.hpp>
#include <cachee/triggers.hpp>
#include <cachee/types.hpp>

namespace cachee {

inline constexpr std::uint32_t kExecutorsMax = 16;

enum class EvictionPolicy : std::uint8_t { none = 0, balanced = 1, lru = 2, cost = 3 };
[[nodiscard]] const char* to_string(EvictionPolicy policy) noexcept;
[[nodiscard]] std::optional<EvictionPolicy> parse_eviction_policy(std::string_view text) noexcept;

struct SegmentOptions {
  std::string name = "default";
  std::uint64_t memory_bytes = kSegmentBytesDefault;  // whole segment, everything counted
  std::uint32_t ring_events = kRingEventsDefault;     // rounded up to a power of two
  std::uint32_t clients_max = kClientsDefault;
  std::uint64_t value_bytes_max = kValueBytesMaxDefault;
  EvictionPolicy eviction = EvictionPolicy::balanced;
  std::uint32_t mode = 0660;                          // permission bits
  std::optional<std::uint32_t> group{};               // gid
  bool huge_pages = false;                            // asked for; memory_info() says what came of it
  bool prefault = false;                              // enter every page of the segment at once
  bool lock_memory = false;                           // mlock; @error permission when the limit is too low
  bool fresh = false;                                 // discard an existing segment
  std::uint32_t bucket_count = 0;                     // 0: from memory_bytes; tests use small worlds
  std::uint32_t page_bytes = 0;                       // 0: from memory_bytes
};

/// What is fixed when a segment is made: SegmentOptions, rounded and limited to what fits.
struct SegmentFigures {
  std::uint64_t memory_bytes = 0;
  std::uint64_t value_bytes_max = 0;
  std::uint32_t ring_events = 0;
  std::uint32_t clients_max = 0;
};

/// What a handler reads of one event, in place. Borrowed from the segment: valid until the event
/// is released (Maintainer::release_through) or the segment unmapped.
class EventView {
 public:
  EventSeq seq{};
  EventKind kind = EventKind::none;
  Cause cause = Cause::unknown;
  KeyView key{};
  ValueView value{};
  std::uint64_t key_hash = 0;
  std::uint32_t generation = 0;  // trigger generation that decided the event, modulo kGenerationModulus

  [[nodiscard]] std::optional<ValueView> old_value() const noexcept;  // write events of a replaced key
  [[nodiscard]] Metadata metadata() const;
  /// The same in place; empty when its bytes make no sense.
  void metadata_views(MetadataViews& out) const;
  /// One metadata field, without building the rest.
  [[nodiscard]] std::optional<std::string_view> metadata_field(std::string_view field) const noexcept;
  [[nodiscard]] std::vector<std::string> depends_on() const;
  [[nodiscard]] double cost() const noexcept;
  [[nodiscard]] std::uint64_t version() const noexcept;
  [[nodiscard]] std::int64_t timestamp_wall_us() const noexcept;      // when it happened
  [[nodiscard]] std::optional<std::int64_t> deadline_wall_us() const noexcept;
  [[nodiscard]] std::optional<std::int64_t> ttl_ms() const noexcept;  // remaining at the event
  [[nodiscard]] std::int64_t lag_us() const noexcept;                 // expire: how late it fired
  [[nodiscard]] std::uint64_t age_ms() const noexcept;                // since the value was written
  [[nodiscard]] std::uint64_t hits() const noexcept;                  // evict, expire: Peek::hits
  [[nodiscard]] std::uint64_t size() const noexcept;                  // bytes of the value
  [[nodiscard]] Provenance provenance() const noexcept;               // write, delete: of the operation; else none
  [[nodiscard]] Role origin_role() const noexcept;
  [[nodiscard]] std::int32_t origin_pid() const noexcept;
  [[nodiscard]] std::string origin_client() const;
  [[nodiscard]] std::uint32_t attempts() const noexcept;              // started before this one
  [[nodiscard]] bool acknowledged() const noexcept;

 private:
  friend class EventReader;
  const shm::Handle* handle_ = nullptr;
  std::uint64_t record_ = 0;
  std::uint32_t origin_ = 0;
};
inline constexpr std::uint32_t kGenerationModulus = 8192;

/// The generation that decided an event, whole. `table_generation` is one that was read after the event, so that the
/// event's own is the nearest one not above it.
[[nodiscard]] constexpr std::uint64_t generation_of(std::uint32_t event_generation, std::uint64_t table_generation) noexcept {
  const std::uint64_t back = (table_generation - event_generation) % kGenerationModulus;
  return table_generation - std::min(back, table_generation);
}

/// Whether an event is one of those that `SAMPLE n` takes. By a hash, since operations that take turns would put all
/// events of one kind on positions that n divides, or none.
[[nodiscard]] constexpr bool is_sampled(EventSeq seq, std::uint32_t sample) noexcept {
  if (sample <= 1) return true;
  std::uint64_t h = (seq.value ^ seq.value >> 30) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ h >> 27) * 0x94d049bb133111ebull;
  return (h ^ h >> 31) % sample == 0;
}

/// Reads events by position. Works on a read-only handle; changes nothing.
class EventReader {
 public:
  explicit EventReader(const Cache& cache) noexcept;
  [[nodiscard]] std::uint64_t head() const noexcept;  // first event that is not released
  [[nodiscard]] std::uint64_t tail() const noexcept;  // may lag one behind a filled cell
  /// @error would_block  nothing there yet
  /// @error lapped       released already
  /// @error corrupt
  [[nodiscard]] Result<EventView> at(EventSeq seq) const noexcept;
  /// For lookers-on, who hold no event back: what can be told of one, copied. @error as of at()
  [[nodiscard]] Result<PendingEvent> look_at(EventSeq seq) const;
  /// Asks for the memory of an event that is read soon, if it is there: its lines come from another core.
  void prefetch(EventSeq seq) const noexcept;
  /// How much memory the event keeps from reuse: the block of its record, and that of the record it replaced.
  [[nodiscard]] std::uint64_t pinned_bytes(EventSeq seq) const noexcept;
  /// Where the events are from: events' `origin.instance`.
  [[nodiscard]] const std::string& segment_name() const noexcept;
  /// 32 hex digits; the first eight open every event id.
  [[nodiscard]] std::string epoch() const;
  /// "5f3a9c1e-1234": unique over all lives of all segments.
  [[nodiscard]] std::string event_id(std::uint64_t id) const;  // id = seq + 1

 private:
  /// All but what is read in place: key and value.
  [[nodiscard]] Result<EventView> find(EventSeq seq) const noexcept;
  std::shared_ptr<shm::Handle> handle_;
};

/// One executor's place in the ring: how far it has claimed, what it runs right now. Lives in the
/// segment, so that attempts are known after both the executor and the supervisor were killed.
///
/// Lane protocol [LN-*]: `claim` = STOP bit | position. The executor moves it forward by CAS and
/// owns the events it passed; the supervisor sets STOP to take over everything from there, and
/// resumes by storing a position without STOP while the executor may not advance.
class Lane {
 public:
  struct Running {
    EventSeq seq{};
    std::uint32_t trigger_slot = 0;
    TimeNs since = 0;          // 0: idle
    std::uint64_t token = 0;   // of a stored event (retry), 0 for a ring event
  };
  Lane() noexcept = default;
  /// Executor side: maps the lane words writable (the rest of the segment may be read-only).
  [[nodiscard]] static Result<Lane> open(const Cache& cache, std::uint32_t index) noexcept;

  // Executor
  [[nodiscard]] bool try_advance(std::uint64_t from, std::uint64_t to) noexcept;
  void begin(const Running& running) noexcept;
  void end() noexcept;
  /// Sleeps until an event may have been appended at `position` or something was kicked.
  void wait_for_event(std::uint64_t position, std::chrono::microseconds timeout) noexcept;

  // Supervisor
  [[nodiscard]] std::uint64_t position() const noexcept;
  [[nodiscard]] bool stopped() const noexcept;
  std::uint64_t stop() noexcept;
  void resume(std::uint64_t position) noexcept;
  [[nodiscard]] Running running() const noexcept;
  /// Wakes a sleeping executor (an inbox has something for it).
  void kick() noexcept;

 private:
  std::shared_ptr<shm::Handle> handle_;
  std::shared_ptr<void> mapping_;
  void* words_ = nullptr;
  void* shared_ = nullptr;
};

struct Counters {  // of one trigger, kept in the segment, exact through crashes
  std::uint64_t emitted = 0;       // pairs (event, trigger) that left the ring
  std::uint64_t acknowledged = 0;  // of them: handled, or skipped since the trigger is gone
  std::uint64_t moved = 0;         // of them: taken over by the retry store, spool or dead letters
  std::uint64_t shed = 0;
};

/// What count_slabs() found in its last round.
struct SlabCensus {
  std::vector<SlabClassInfo> classes{};  // as list_slabs() has them
  TimeNs since = 0;                      // when the round began; 0: none is over yet
  bool sampled = false;                  // in some class only a part of the pages was looked at
};

class Maintainer {
 public:
  /// Creates the segment or re-attaches to it (warm restart), and becomes its supervisor.
  /// @error busy  another supervisor holds the name; detail = its pid
  /// @error layout_mismatch  an existing segment is of another version (use fresh)
  /// @error no_space  /dev/shm has no room for it
  [[nodiscard]] static Result<Maintainer> create(const SegmentOptions& options) noexcept;
  Maintainer(Maintainer&&) noexcept;
  Maintainer& operator=(Maintainer&&) noexcept;
  ~Maintainer();

  [[nodiscard]] bool warm() const noexcept;  // re-attached to an existing segment
  [[nodiscard]] SegmentFigures figures() const noexcept;
  /// What the options of create() would make. A segment that was there already may have other figures(); it keeps them.
  [[nodiscard]] SegmentFigures figures_asked() const noexcept;
  /// An ordinary handle in this process with the given role, over the keeper's own mapping.
  [[nodiscard]] Result<Cache> client(Role role, std::string_view name) noexcept;
  [[nodiscard]] const Cache& cache() const noexcept;

  // Duty cycles: each does a bounded amount and returns how much.
  /// Shows that the supervisor lives, and moves the minute of SegmentInfo::evicted_cost_minute on. To be called at least
  /// once a second.
  void heartbeat(TimeNs now) noexcept;
  /// Removes up to `count_max` expired keys, each with its event. Notices when the wall clock was stepped, or the machine
  /// slept, and then looks at every key that has a deadline.
  [[nodiscard]] std::uint64_t expire_due(TimeNs now, std::uint64_t count_max) noexcept;
  /// When the next deadline may pass (0: none known).
  [[nodiscard]] TimeNs next_deadline() const noexcept;
  /// Sleeps until expire_due() may have something to do: the next deadline, also one that is set meanwhile, or room in
  /// the ring for the events of what is due. At most until `until`. One thread only.
  void wait_for_deadline(TimeNs until) noexcept;
  /// Ends wait_for_deadline(): somebody has set the wall clock, and expire_due() is to look at it. Any thread.
  void note_clock_step() noexcept;
  /// Evicts down to the low watermark once above the high one; at most `count_max` keys.
  [[nodiscard]] std::uint64_t evict(std::uint64_t count_max) noexcept;
  /// Takes in the sampled reads and says what other sizes would miss (SegmentInfo::miss_ratios). To
  /// be called some hundred times a second while there are reads; what clients read faster is sampled less. False: there
  /// was none since the last call.
  bool estimate() noexcept;
  /// Recovers up to `count_max` dead clients. Returns how many.
  [[nodiscard]] std::uint64_t reap(std::uint64_t count_max) noexcept;
  /// Pays the debts of clients that have not moved for 10 ms (stopped ones); undoes nothing.
  [[nodiscard]] std::uint64_t help_stalled(TimeNs now) noexcept;
  /// Walks some pages: hands back what is free or retired but in nobody's list. Reads every block's header.
  [[nodiscard]] std::uint64_t scrub(std::uint64_t pages_max) noexcept;
  /// A client has died, and scrub() has not been at every page since: what it lost waits to be found.
  [[nodiscard]] bool scrub_is_urgent() const noexcept;
  /// Hands back what clients marked as retired, in some pages. Reads a few words of a page where nothing is marked.
  [[nodiscard]] std::uint64_t reclaim_hinted(std::uint64_t pages_max) noexcept;
  /// Counts what list_slabs() does, in steps: looks at some blocks more. A round begins 5 s after the end of the one
  /// before it at the earliest. Of a size class it looks at about half a million blocks, evenly, and takes the others to be like
  /// them. True: a round is over.
  bool count_slabs(TimeNs now, std::uint64_t blocks_max) noexcept;
  /// From any thread; waits for no duty.
  [[nodiscard]] SlabCensus slab_census() const;
  void set_eviction_policy(EvictionPolicy policy) noexcept;

  // Events. One thread only.
  [[nodiscard]] EventReader reader() const noexcept;
  /// How many unreleased events there may be before a client's write has to wait.
  [[nodiscard]] std::uint64_t ring_room() const noexcept;
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept;  // of the whole segment
  [[nodiscard]] Result<Lane> lane(std::uint32_t index) noexcept;
  /// Counts a start of the event's handler, before it runs.
  void count_attempt(EventSeq seq) noexcept;
  /// Marks one event as handled (out of order); wakes WAITers. `moved`: some of its runs are not
  /// over, the disk has them.
  void acknowledge(EventSeq seq, bool moved = false) noexcept;
  /// True once after a WAIT has asked whether an event is over.
  [[nodiscard]] bool waits_asked() noexcept;
  /// Tells WAITs of every event that is over, in the ring and on disk. True when some wait on.
  bool answer_waits(const std::function<bool(EventSeq)>& is_over);
  [[nodiscard]] bool acknowledged(EventSeq seq) const noexcept;
  /// Adds the deltas to the triggers' counters and releases every event below `end`, in one step
  /// as far as a crash can tell. All of them must be acknowledged. At most kReleaseDeltasMax deltas.
  struct Delta {
    std::uint32_t trigger_slot = 0;
    Counters add{};
  };
  static constexpr std::size_t kReleaseDeltasMax = 256;
  void release_through(std::uint64_t end, std::span<const Delta> deltas) noexcept;
  /// For the first event that is not released, when it concerns more triggers than one step can count: adds the
  /// deltas, of triggers whose slot is below `slots_below`, and notes that with the event, in one step as far as a crash
  /// can tell. In ascending steps; release_through() then takes the rest.
  void count_ahead(std::uint32_t slots_below, std::span<const Delta> deltas) noexcept;
  /// How far count_ahead() had come with the first event that is not released.
  [[nodiscard]] std::uint32_t counted_ahead() const noexcept;
  [[nodiscard]] Counters counters(std::uint32_t trigger_slot) const noexcept;

  // Triggers. One thread only.
  /// Publishes a new table; when it returns every later operation of every client sees it.
  /// @error no_space   the table does not fit
  /// @error timed_out  the ring stayed too full for a registration
  Result<void> publish_triggers(const TriggerTable& table, std::chrono::milliseconds timeout) noexcept;
  /// Whether publish_triggers() would not have to wait. A table that wants no event which the present one does not,
  /// be it that a trigger is paused, disabled or removed, needs no room.
  [[nodiscard]] bool can_publish(const TriggerTable& table) const noexcept;
  [[nodiscard]] std::uint32_t trigger_slots_max() const noexcept;
  /// For a slot that begins anew: its counters become `initial`.
  void reset_counters(std::uint32_t trigger_slot, const Counters& initial = {}) noexcept;

  /// Repairs what fsck finds and can be rebuilt (hints, summaries). Returns how much.
  Result<std::uint64_t> repair() noexcept;

 private:
  struct Impl;
  explicit Maintainer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Removes a segment and its lock files. @error busy  a supervisor or client is attached
Result<void> remove_segment(std::string_view name) noexcept;

/// Fast matching of one key against a table: literal prefixes first, then the glob.
class TriggerMatcher {
 public:
  TriggerMatcher() = default;
  explicit TriggerMatcher(const TriggerTable& table);
  /// Calls the sink with the index into table.triggers of every enabled trigger that wants this
  /// kind of event of this key, in table order.
  template <class Sink>
  void match(EventKind kind, KeyView key, Sink&& sink) const {
    for_each(kind, key, [&](const Item& item) {
      if (item.until == kNoEnd) sink(item.index);
    });
  }
  /// The same of every trigger that an event is owed to: one that wanted it when it was decided, whatever has become of
  /// the trigger since. `table_generation`: of the table.
  template <class Sink>
  void match_owed(const EventView& event, std::uint64_t table_generation, Sink&& sink) const {
    const std::uint64_t decided = generation_of(event.generation, table_generation);
    for_each(event.kind, event.key, [&](const Item& item) {
      if (item.since <= decided && decided < item.until && is_sampled(event.seq, item.sample)) sink(item.index);
    });
  }

 private:
  static constexpr std::uint64_t kNoEnd = ~std::uint64_t{0};
  /// One interest of a trigger: events decided from `since` on and before `until`. Those of one trigger do not overlap.
  struct Item {
    std::uint32_t index;
    EventMask events;
    std::uint32_t sample;
    std::uint64_t since;
    std::uint64_t until;
    std::string pattern;
  };
  template <class F>
  void for_each(EventKind kind, KeyView key, F&& f) const {
    for (const auto& group : groups_) {
      if (key.size() < group.prefix.size() || key.compare(0, group.prefix.size(), group.prefix) != 0) continue;
      for (const auto& item : group.items) {
        if ((item.events & event_bit(kind)) != 0 && glob_match(item.pattern, key)) f(item);
      }
    }
  }
  void add(Item item);
  struct Group {
    std::string prefix;
    std::vector<Item> items;
  };
  std::vector<Group> groups_;
};

}  // namespace cachee
