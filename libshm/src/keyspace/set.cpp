#include <algorithm>
#include <cmath>

#include "base/bounds.hpp"
#include "base/refusal.hpp"
#include "eviction/eviction.hpp"
#include "expiry/expiry.hpp"
#include "index/probe.hpp"
#include "keyspace/keyspace.hpp"
#include "mem/backoff.hpp"
#include "mem/crash_point.hpp"
#include "os/wait.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Act;
using layout::Exp;
using layout::Hdr;
using layout::Ins;
using layout::Mark;
using layout::RecordState;
using layout::Slot;

namespace {

using base::kRoomRoundsMax;
// Each retry means that another operation succeeded; only in a damaged segment do none.
constexpr int kTriesMax = base::kWriteTriesMax;

enum class Lookup {
  absent,   // no slot of the chain has the key; empty_place is the first empty one
  live,     // `slot` holds the key's record, protected by `old`
  moved,    // something changed under the search: look again
  blocked,  // a mark of this key could not be finished: the ring is full
};
struct FoundSlot {
  Lookup what = Lookup::absent;
  Word* slot = nullptr;
  std::uint64_t word = 0;
  int empty_place = -1;
  Heat* heat = nullptr;  // of `slot`
};

/// One live slot whose tag fits: protected, then compared.
[[gnu::always_inline]] inline Lookup look_at(Context& context, Word& slot, std::uint64_t word, KeyView key) noexcept {
  const std::uint64_t unit = Slot::Offset::get(word);
  if (!context.view->is_record(unit)) return Lookup::absent;
  if (!protect_old(context, slot, word)) return Lookup::moved;
  return key_equals(*context.view, unit, key) ? Lookup::live : Lookup::absent;
}

/// The same for a marked one, which is finished when it is of this key: under `old`, so that
/// recovery knows of it when we die in between.
Lookup finish_mark_of(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, KeyView key) noexcept {
  const Lookup what = look_at(context, slot, word, key);
  if (what != Lookup::live) return what;
  const bool finished = finish_remove(context, bucket, slot, word, false);
  clear_old(context);
  return finished ? Lookup::absent : Lookup::blocked;
}

/// Goes through the chain; finishes marks of the same key on the way.
[[gnu::noinline]] FoundSlot find_in_chain(Context& context, std::uint64_t bucket, std::uint64_t live, KeyView key) noexcept {
  const View& view = *context.view;
  FoundSlot found;
  ChainWalk walk{view, bucket};
  while (walk.next()) {
    const std::uint64_t word = walk.slot().load_seq_cst();
    if (Slot::occupied(word)) {
      const bool marked = Slot::mark(word) != Mark::live;
      if (!marked && !same_tag(word, live)) continue;
      const Lookup what = marked ? finish_mark_of(context, bucket, walk.slot(), word, key)
                                 : look_at(context, walk.slot(), word, key);
      if (what != Lookup::absent) {
        if (what != Lookup::live) clear_old(context);
        return {what, &walk.slot(), word, found.empty_place, &walk.heat()};
      }
      if (Slot::occupied(walk.slot().load_relaxed())) continue;
    }
    if (found.empty_place < 0) found.empty_place = static_cast<int>(walk.place());
  }
  clear_old(context);
  return found;
}

/// Finds the live slot of a key. Most keys that are there are in the head bucket. A live slot and a
/// mark of one key exclude each other: its next record is inserted behind the end of the mark.
[[gnu::always_inline]] inline FoundSlot find_for_write(Context& context, std::uint64_t bucket, std::uint64_t hash,
                                                       KeyView key) noexcept {
  const std::uint64_t live = Slot::live(0, View::tag_of(hash));
  Bucket& head = context.view->buckets[bucket];
  if (const unsigned matches = matching_slots(head, live); matches != 0) [[likely]] {
    const auto i = static_cast<unsigned>(__builtin_ctz(matches));
    Word& slot = head.slots[i];
    const std::uint64_t word = slot.load_seq_cst();
    if (same_tag(word, live) && look_at(context, slot, word, key) == Lookup::live) [[likely]] {
      return {Lookup::live, &slot, word, -1, context.view->heat + bucket * layout::kHeatPerBucket + i};
    }
  }
  return find_in_chain(context, bucket, live, key);
}

/// Asks for the line of the record that find_for_write() will most likely look at.
[[gnu::always_inline]] inline void prefetch_old(const View& view, std::uint64_t bucket, std::uint64_t hash) noexcept {
  Bucket& head = view.buckets[bucket];
  const unsigned matches = matching_slots(head, Slot::live(0, View::tag_of(hash)));
  if (matches == 0) return;
  const std::uint64_t unit = Slot::Offset::get(head.slots[__builtin_ctz(matches)].load_relaxed());
  if (view.is_record(unit)) __builtin_prefetch(&view.record_at(unit), 1);
}

void begin(Context& context, Act act, std::uint64_t bucket) noexcept {
  context.me->bucket.store_relaxed(bucket);
  context.me->act.store_release(static_cast<std::uint64_t>(act));
}

/// S9, R7: nothing is named any more.
void end(Context& context) noexcept {
  Client& me = *context.me;
  me.act.store_release(0);
  me.old_valid.store_release(0);
  me.old.store_release(0);
  me.hz.store_release(0);
  me.nw.store_release(0);
  me.nw_uid.store_release(0);
  CACHEE_CRASH_POINT("keyspace.ended");
  // So many more than the last pass had to keep: while the events of many are not handled, a pass for each
  // operation would look at all of them each time.
  if (context.retired.size() >= std::max(kRetiredBatch, context.reclaim_at)) reclaim_retired(context);
}

/// Ends the operation on every way out.
class Operation {
 public:
  Operation(Context& context, Act act, std::uint64_t bucket) noexcept : context_{context} {
    context.in_operation = true;
    begin(context, act, bucket);
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() {
    end(context_);
    context_.in_operation = false;
  }

 private:
  Context& context_;
};

/// S0: bounded waiting for an event that would block. False: BACKPRESSURE.
bool admit(Context& context, const Interest& interest, EventKind kind) noexcept {
  if (!interest.wants(kind)) return true;
  const View& view = *context.view;
  const auto role = static_cast<Role>(context.me->role.load_relaxed());
  __builtin_prefetch(&view.cell(view.header->ring_tail.load_relaxed()), 1);  // where the event most likely goes
  if (ring_admits(view, role)) return true;
  context.count(layout::kBackpressure);
  // What handlers write never waits: the room may be theirs to make.
  if (role != Role::client && role != Role::control) return false;
  return wait_for_space(view, role, std::chrono::milliseconds{interest.block_ms});
}

/// Bounded waiting for memory that events still hold: until some are released.
class RoomWait {
 public:
  explicit RoomWait(const View& view) noexcept : view_{view} {}
  /// Sleeps a moment; false when the whole time is over.
  bool slice() noexcept {
    const TimeNs now = base::now_ns();
    if (until_ == 0) until_ = now + base::kRoomWaitNs;
    if (now >= until_) return false;
    SegmentHeader& header = *view_.header;
    const std::uint32_t seen = header.space_wake.load_seq_cst();
    header.space_wanted.store_seq_cst(1);
    os::wait_on(header.space_wake, seen, std::chrono::milliseconds{1});
    return true;
  }

 private:
  const View& view_;
  TimeNs until_ = 0;
};

std::uint64_t version_at(const View& view, TimeNs coarse_now) noexcept {
  const auto origin = static_cast<TimeNs>(view.created_mono_ns);
  return coarse_now <= origin ? 1 : static_cast<std::uint64_t>((coarse_now - origin) / base::kNsPerUs) + 1;
}

/// A new key must not meet a version that this key had before: removals of records that are ahead
/// of the clock raise the floor first.
void raise_version_floor(const View& view, std::uint64_t version) noexcept {
  if (version < version_at(view, base::now_coarse_ns())) return;
  Word& floor = view.header->version_floor;
  for (std::uint64_t seen = floor.load_acquire(); seen <= version && !floor.cas_acq_rel(seen, version + 1);) {
  }
}

/// Freezes the deadline so that a concurrent TOUCH cannot be lost. Returns the frozen word.
std::uint64_t freeze_deadline(Record& record) noexcept {
  std::uint64_t exp = record.exp.load_acquire();
  while ((exp & Exp::kFrozen) == 0 && !record.exp.cas_acq_rel(exp, exp | Exp::kFrozen)) {
  }
  return exp;
}

/// The eviction word beside a slot.
std::uint32_t heat_of(const View& view, const Word& slot) noexcept {
  const auto at = static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&slot) - view.base);
  const auto index_of = [&](const void* first) {
    return (at - static_cast<std::uint64_t>(static_cast<const std::byte*>(first) - view.base)) / sizeof(Word);
  };
  // Both kinds of bucket are eight words long.
  const std::uint64_t index = reinterpret_cast<const std::byte*>(&slot) < reinterpret_cast<const std::byte*>(view.overflow)
                                  ? index_of(view.buckets)
                                  : index_of(view.overflow) + std::uint64_t{view.shape.bucket_count} * 8;
  return view.heat[index].load_relaxed();
}

/// How used the record in a slot is.
std::uint64_t frequency_of(const View& view, const Word& slot) noexcept {
  return layout::HeatWord::frequency(heat_of(view, slot));
}

enum class ExpireOutcome {
  removed,  // it was due and carries its EXP mark, or is gone by it
  alive,    // not due
  changed,  // the slot went on to something else first: look again
  blocked,  // it carries its EXP mark, whose events find no room in the ring
};

/// R1 (protected by the caller) to R6 for a record whose deadline, as it stands in `exp`, has passed.
[[gnu::noinline]] ExpireOutcome expire_due_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word,
                                                std::uint64_t exp) noexcept {
  const View& view = *context.view;
  const std::uint64_t unit = Slot::Offset::get(word);
  Record& record = *view.record(unit);
  // Without room in the ring the mark comes first and finish_remove pays: who is told that the value
  // is gone must be able to rely on it [KS-5].
  static_cast<void>(pay_debt(context, unit, nullptr));
  while ((exp & Exp::kFrozen) == 0) {  // R2
    if (record.exp.cas_acq_rel(exp, exp | Exp::kFrozen)) break;
    if (!deadline_passed(exp)) return ExpireOutcome::alive;  // touched meanwhile
  }
  CACHEE_CRASH_POINT("keyspace.expire.frozen");
  raise_version_floor(view, version_of(record));
  const std::uint64_t marked = Slot::marked(unit, Mark::exp, 0, context.id, frequency_of(view, slot));
  std::uint64_t expected = word;
  if (!slot.cas_seq_cst(expected, marked)) return ExpireOutcome::changed;  // X2. LINEARIZES
  CACHEE_CRASH_POINT("keyspace.expire.marked");
  context.count(layout::kExpired);
  return finish_remove(context, bucket, slot, marked, false) ? ExpireOutcome::removed : ExpireOutcome::blocked;
}

/// The same for a record whose deadline may have passed; `now` is the coarse clock where the caller has read it.
template <class... Now>
[[gnu::always_inline]] inline ExpireOutcome expire_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word,
                                                        Now... now) noexcept {
  const Record& record = context.view->record_at(Slot::Offset::get(word));
  const std::uint64_t exp = record.exp.load_acquire();
  if (!deadline_passed(exp, now...)) [[likely]] return ExpireOutcome::alive;
  // R2 freezes the very deadline that has passed [EX-2]: a TOUCH may have set another one since.
  return expire_due_slot(context, bucket, slot, word, exp);
}

/// Removes a protected record with a mark. False: the slot had changed.
bool remove_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, Mark mark, Cause cause,
                 bool admitted, const Provenance& from = {}) noexcept {
  const View& view = *context.view;
  const std::uint64_t unit = Slot::Offset::get(word);
  raise_version_floor(view, version_of(*view.record(unit)));
  const bool noted = from != Provenance{};
  if (noted) {  // before X2, which publishes it; it stays until the event has its place [RG-9]
    context.me->note[layout::kNoteParent].store_relaxed(from.parent);
    context.me->note[layout::kNoteChain].store_relaxed(from.chain);
    context.me->note[layout::kNoteDepth].store_relaxed(from.depth);
  }
  const std::uint64_t marked =
      Slot::marked(unit, mark, static_cast<std::uint64_t>(cause), context.id, frequency_of(view, slot), noted);
  std::uint64_t expected = word;
  if (!slot.cas_seq_cst(expected, marked)) return false;  // X2. LINEARIZES
  CACHEE_CRASH_POINT("keyspace.remove.marked");
  finish_remove(context, bucket, slot, marked, admitted);
  return true;
}

/// SET: the parts are the caller's and the same at each try.
class PlainSet {
 public:
  static constexpr bool touch_copy = false;
  static constexpr bool same_parts = true;
  static constexpr bool makes_room = true;

  PlainSet(KeyView key, ValueView value, const SetOptions& options)
      : parts_{key, value, {}, 0}, options_{options}, keeps_deadline{options.keep_ttl} {
    if (needs_extension(options.cost, options.provenance, options.metadata, options.depends_on)) [[unlikely]] {
      extension_ = encode_extension(options.cost, options.provenance, options.metadata, options.depends_on);
      parts_.extension = extension_;
    }
    if (options.deadline_wall_ms) {
      deadline_ms_ = deadline_in(us_until(*options.deadline_wall_ms));
    } else if (options.ttl) {
      deadline_ms_ = deadline_after(*options.ttl);
    }
  }
  PlainSet(const PlainSet&) = delete;
  PlainSet& operator=(const PlainSet&) = delete;

  const RecordParts& parts() const noexcept { return parts_; }
  Errc prepare(const View& view, std::uint64_t old_unit, std::uint64_t old_deadline_ms, RecordParts& parts,
               std::uint64_t& deadline_ms) noexcept {
    const bool present = old_unit != 0;
    if (options_.condition != Condition::always || options_.if_version) [[unlikely]] {
      if (options_.condition == Condition::absent && present) return Errc::exists;
      if (options_.condition == Condition::present && !present) return Errc::not_found;
      if (options_.if_version && (!present || version_of(view.record_at(old_unit)) != *options_.if_version)) {
        return present ? Errc::stale : Errc::not_found;
      }
    }
    parts = parts_;
    deadline_ms = keeps_deadline ? old_deadline_ms : deadline_ms_;
    return Errc::ok;
  }
  /// The bytes, and that they are written, do not depend on the old record: prepare() may come first.
  bool independent() const noexcept {
    return !keeps_deadline && options_.condition == Condition::always && !options_.if_version;
  }
  void show_old(const View& view, std::uint64_t old_unit) {
    if (old_value != nullptr) *old_value = value_in_place(view, old_unit);
  }

 private:
  RecordParts parts_;
  const SetOptions& options_;
  std::string extension_{};
  std::uint64_t deadline_ms_ = 0;

 public:
  const bool keeps_deadline;
  std::string* old_value = nullptr;
};

/// SET without any option, as most are, or with a TTL and nothing else.
template <bool kTimed>
class BareSet {
 public:
  static constexpr bool touch_copy = false;
  static constexpr bool same_parts = true;
  static constexpr bool makes_room = true;
  static constexpr bool keeps_deadline = false;

  BareSet(KeyView key, ValueView value, Ttl ttl) noexcept : key_{key}, value_{value}, ttl_{ttl} {}
  RecordParts parts() const noexcept { return {key_, value_, {}, 0}; }
  Errc prepare(const View&, std::uint64_t, std::uint64_t, RecordParts& parts, std::uint64_t& deadline_ms) noexcept {
    parts = {key_, value_, {}, 0};
    // The clock is read while the line of the bucket is on its way.
    deadline_ms = kTimed ? deadline_after(ttl_) : 0;
    return Errc::ok;
  }
  static constexpr bool independent() noexcept { return true; }
  void show_old(const View&, std::uint64_t) noexcept {}

 private:
  KeyView key_;
  ValueView value_;
  Ttl ttl_;
};
/// A TTL does not count.
bool without_options(const SetOptions& o) noexcept {
  return !o.deadline_wall_ms && !o.keep_ttl && o.condition == Condition::always && !o.if_version &&
         !o.return_old && !needs_extension(o.cost, o.provenance, o.metadata, o.depends_on);
}

Errc check_sizes(const View& view, const RecordParts& parts) noexcept {
  if (parts.key.size() > kKeyBytesMax || parts.value.size() > view.shape.value_bytes_max) return Errc::invalid_argument;
  if (parts.extension.size() > kMetadataBytesMax + sizeof(layout::ExtensionHeader)) return Errc::invalid_argument;
  return Errc::ok;
}
/// What check_sizes() found, with the limit.
[[gnu::cold]] Error size_refusal(const View& view, const RecordParts& parts) noexcept {
  if (parts.key.size() > kKeyBytesMax) return base::refusal(base::Rule::key_bytes, kKeyBytesMax);
  if (parts.value.size() > view.shape.value_bytes_max) return base::refusal(base::Rule::value_bytes, view.shape.value_bytes_max);
  return base::refusal(base::Rule::extra_bytes, kMetadataBytesMax);
}

/// One write on its way: what its steps know, so that the rare ones stand in functions of their own
/// and cost the usual ones nothing.
struct Write {
  Context& context;
  const View& view;
  KeyView key;
  std::uint64_t bucket;
  Act act;
  Block block{};                  // S1, kept over lost races
  std::uint64_t block_bytes = 0;  // of what it was claimed for
  int rooms = 0;                  // times that room had to be made
  RoomWait room_wait;

  /// Every way out without a write.
  [[gnu::noinline]] Errc give_up(Errc code) noexcept {
    if (block.unit != 0) abort_block(context, block.unit, block.uid);
    return code;
  }
  /// No block for these parts.
  [[gnu::noinline]] Error refused(Errc code, const RecordParts& parts) const noexcept {
    if (code == Errc::invalid_argument) return size_refusal(view, parts);
    return {code, 0, code == Errc::no_space ? record_bytes(parts) : 0};
  }
  /// S1 without the bytes: a block that fits. would_block: there is room now, try again.
  [[gnu::always_inline]] Errc claim(const RecordParts& parts, bool makes_room) noexcept {
    if (const Errc why = check_sizes(view, parts); why != Errc::ok) [[unlikely]] return give_up(why);
    const std::uint64_t bytes = record_bytes(parts);
    if (block.unit != 0) [[unlikely]] {
      if (block_bytes_for(view, bytes) == block_bytes) return Errc::ok;
      abort_block(context, block.unit, block.uid);
    }
    block = allocate(context, bytes);
    block_bytes = block_bytes_for(view, bytes);
    if (block.unit == 0) [[unlikely]] return makes_room && make_room_for(bytes) == Errc::ok ? Errc::would_block : Errc::no_space;
    return Errc::ok;
  }
  [[gnu::always_inline]] void fill(const RecordParts& parts, std::uint64_t deadline_ms) noexcept {
    fill_record(view.record_at(block.unit), parts, deadline_ms);
    CACHEE_CRASH_POINT("keyspace.set.filled");
  }
  /// Memory is short. Errc::ok: try again.
  [[gnu::noinline]] Errc make_room_for(std::uint64_t bytes) noexcept {
    if (++rooms > kRoomRoundsMax) return Errc::no_space;
    clear_old(context);
    const Room room = make_room(context, bytes);
    begin(context, act, bucket);
    return room == Room::none || (room == Room::pending && !room_wait.slice()) ? Errc::no_space : Errc::ok;
  }
  /// Every slot of the chain is taken. Errc::ok: try again.
  [[gnu::noinline]] Errc make_place() noexcept {
    if (extend_chain(context, bucket)) return Errc::ok;
    // The chain is as long as it may get: something in it has to go.
    if (++rooms > kRoomRoundsMax) return Errc::no_space;
    const bool evicted = evict_in_chain(context, bucket);
    begin(context, act, bucket);
    return evicted ? Errc::ok : Errc::no_space;
  }
  /// N1-N3. False: the announcement was not ours to make.
  [[gnu::noinline]] bool announce(std::uint64_t idle, int place, std::uint64_t hash, std::string_view extension) noexcept {
    const std::uint64_t busy = Ins::make(static_cast<std::uint64_t>(place), View::tag_of(hash), block.unit);
    if (!view.buckets[bucket].ins.cas_seq_cst(idle, busy)) return false;  // N1
    CACHEE_CRASH_POINT("keyspace.set.announced");
    help_insert(context, bucket, busy);  // LINEARIZES in N2, whoever does it
    ChainWalk walk{view, bucket};
    while (walk.next()) {
      if (static_cast<int>(walk.place()) != place) continue;
      walk.heat().store_relaxed(first_heat(context, hash, extension));
      break;
    }
    context.count(layout::kInserts);
    return true;
  }
  [[gnu::noinline]] void lost_race(mem::Backoff& backoff) noexcept {
    context.count(layout::kRetries);
    backoff.pause();
  }
};

/// What came of a write, before it is dressed up for the caller.
struct Written {
  std::uint64_t version;
  std::uint64_t event_word;  // ev of the new record
  bool created;
  std::optional<EventSeq> event() const noexcept {
    if (layout::EventWord::state(event_word) != layout::EventWord::kConfirmed) return std::nullopt;
    return EventSeq{event_position(event_word)};
  }
};

/// S0-S8, once for every kind of plan (keyspace.hpp, WritePlan).
template <class Plan>
[[gnu::always_inline]] inline Result<Written> write_by(Context& context, KeyView key, Plan& plan) noexcept {
  const View& view = *context.view;
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  Word& ins = view.buckets[bucket].ins;
  __builtin_prefetch(&ins, 1);
  const Interest interest = match_triggers(view, key);
  if (interest.wanted != 0 && !plan.touch_copy && !admit(context, interest, EventKind::write)) return Errc::full;  // S0

  const Act act = plan.touch_copy ? Act::touch : Act::set;
  Operation operation{context, act, bucket};
  Write write{context, view, key, bucket, act, {}, 0, 0, RoomWait{view}};
  RecordParts parts;
  std::uint64_t deadline_ms = 0;
  mem::Backoff backoff;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    if (plan.independent() && write.block.unit == 0) {
      // S1 before S2, so that the lines of the bucket and of the old record are on their way meanwhile: the locked
      // instructions of a claim and of a hazard would otherwise wait one by one for what they order.
      if (plan.prepare(view, 0, 0, parts, deadline_ms) != Errc::ok) return write.give_up(Errc::corrupt);
      if (const Errc why = write.claim(parts, plan.makes_room); why != Errc::ok) [[unlikely]] {
        if (why == Errc::would_block) continue;
        return write.refused(why, parts);
      }
      prefetch_old(view, bucket, hash);
      write.fill(parts, deadline_ms);
    }
    const std::uint64_t idle = ins.load_seq_cst();
    if (Ins::busy(idle)) [[unlikely]] {
      help_insert(context, bucket, idle);
      continue;
    }
    const FoundSlot found = find_for_write(context, bucket, hash, key);  // S2
    if (found.what == Lookup::moved) [[unlikely]] continue;
    if (found.what == Lookup::blocked) [[unlikely]] return write.give_up(Errc::full);
    const TimeNs now = base::now_coarse_ns();
    std::uint64_t old_unit = 0;
    std::uint64_t old_deadline_ms = 0;
    std::uint64_t version = 0;
    if (found.what == Lookup::live) [[likely]] {
      if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) [[unlikely]] {  // [IX-3]
        help_insert(context, bucket, busy);
        continue;
      }
      old_unit = Slot::Offset::get(found.word);
      Record& old = view.record_at(old_unit);
      if (const ExpireOutcome expired = expire_slot(context, bucket, *found.slot, found.word, now);
          expired != ExpireOutcome::alive) [[unlikely]] {
        if (expired == ExpireOutcome::blocked) return write.give_up(Errc::full);
        continue;
      }
      if (!pay_debt(context, old_unit, nullptr)) [[unlikely]] {  // [KS-1]
        lower_deadline(view, bucket, 0);
        return write.give_up(Errc::full);
      }
      old_deadline_ms = Exp::Deadline::get(plan.keeps_deadline ? freeze_deadline(old) : old.exp.load_acquire());
      version = version_of(old);
    }
    if (!plan.independent()) {
      if (const Errc why = plan.prepare(view, old_unit, old_deadline_ms, parts, deadline_ms); why != Errc::ok) [[unlikely]] {
        return write.give_up(why);
      }
      // S1. Again after a lost race only when the bytes depend on the old record.
      if (write.block.unit == 0 || !plan.same_parts || plan.keeps_deadline) [[likely]] {
        if (const Errc why = write.claim(parts, plan.makes_room); why != Errc::ok) [[unlikely]] {
          if (why == Errc::would_block) continue;
          return write.refused(why, parts);
        }
        write.fill(parts, deadline_ms);
      }
    }
    Record& record = view.record_at(write.block.unit);
    if (old_unit == 0) {
      version = std::max(version_at(view, now), view.header->version_floor.load_acquire());
    } else if (!plan.touch_copy) {
      version = std::max(version + 1, version_at(view, now));
    }
    set_lineage(record, plan.touch_copy ? 0 : old_unit, version);
    if (deadline_ms != 0) lower_minima(view, bucket, summary_ms(view, deadline_ms));  // S3
    CACHEE_CRASH_POINT("keyspace.set.ready");
    if (old_unit != 0) [[likely]] {
      std::uint64_t expected = found.word;
      if (!found.slot->cas_seq_cst(expected, Slot::live(write.block.unit, View::tag_of(hash)))) [[unlikely]] {  // X1. LINEARIZES
        write.lost_race(backoff);
        continue;
      }
      CACHEE_CRASH_POINT("keyspace.set.installed");
      if (!plan.touch_copy) touch_overwritten(view, *found.heat, parts.extension);
    } else if (found.empty_place < 0) {
      if (const Errc why = write.make_place(); why != Errc::ok) return write.give_up(why);
      continue;
    } else if (!write.announce(idle, found.empty_place, hash, parts.extension)) {
      write.lost_race(backoff);
      continue;
    }
    if (!pay_own_debt(context, write.block.unit, write.block.uid, interest)) lower_deadline(view, bucket, 0);  // S5, S6
    const Written written{version, record.ev.load_acquire(), old_unit == 0};
    if (old_unit != 0) [[likely]] {
      plan.show_old(view, old_unit);
      if (plan.touch_copy) {
        // The value lives on in the copy: nothing ended here.
        view.record_at(old_unit).rm.store_release(layout::EventWord::make(layout::EventWord::kNone, 0, 0));
        retire(context, old_unit);
      } else {
        retire_replaced(context, old_unit, write.block.unit);  // S7
      }
    }
    if (deadline_ms != 0) lower_deadline(view, bucket, summary_ms(view, deadline_ms));  // S8
    if (!plan.touch_copy) context.count(layout::kSets);
    return written;
  }
  return write.give_up(Errc::corrupt);
}

}  // namespace

namespace {

/// The caller's result of a write.
Result<WriteResult> result_of(const Result<Written>& written) noexcept {
  if (!written) [[unlikely]] return written.error();
  return Result<WriteResult>{std::in_place, written->version, written->event(), written->created, std::nullopt};
}

template <bool kTimed>
[[gnu::noinline]] Result<WriteResult> set_bare(Context& context, KeyView key, ValueView value, Ttl ttl) noexcept {
  BareSet<kTimed> plan{key, value, ttl};
  if (check_sizes(*context.view, plan.parts()) != Errc::ok) [[unlikely]] return size_refusal(*context.view, plan.parts());
  return result_of(write_by(context, key, plan));
}

[[gnu::noinline]] Result<WriteResult> set_with_options(Context& context, KeyView key, ValueView value,
                                                       const SetOptions& options) noexcept {
  // An infinite cost would outlive every other key, and spoil every sum it gets into.
  if (options.cost && !(*options.cost > 0 && std::isfinite(*options.cost))) return base::refusal(base::Rule::cost);
  if (options.metadata.size() > kMetadataFieldsMax) return base::refusal(base::Rule::fields, kMetadataFieldsMax);
  if (options.depends_on.size() > kDependenciesMax) return base::refusal(base::Rule::parents, kDependenciesMax);
  // The one cycle that can be seen without a walk through other keys.
  if (std::find(options.depends_on.begin(), options.depends_on.end(), key) != options.depends_on.end()) {
    return base::refusal(base::Rule::own_parent);
  }
  PlainSet plan{key, value, options};
  if (check_sizes(*context.view, plan.parts()) != Errc::ok) return size_refusal(*context.view, plan.parts());
  std::string old_value;
  if (options.return_old) plan.old_value = &old_value;
  Result<WriteResult> result = result_of(write_by(context, key, plan));
  if (options.return_old && result && !result->created) result->old_value = std::move(old_value);
  return result;
}

}  // namespace

Result<WriteResult> write_record(Context& context, KeyView key, WritePlan& plan) noexcept {
  return result_of(write_by(context, key, plan));
}

Result<WriteResult> set_record(Context& context, KeyView key, ValueView value, const SetOptions& options) noexcept {
  if (!without_options(options)) return set_with_options(context, key, value, options);
  if (options.ttl) return set_bare<true>(context, key, value, *options.ttl);
  return set_bare<false>(context, key, value, Ttl{});
}

Result<EraseResult> erase_record(Context& context, KeyView key, const EraseOptions& options) noexcept {
  const View& view = *context.view;
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  Word& ins = view.buckets[bucket].ins;
  const Interest interest = match_triggers(view, key);
  if (interest.wants(EventKind::del) && !ring_admits(view, static_cast<Role>(context.me->role.load_relaxed()))) {
    // A miss owes no event: it need not wait for room.
    ReadTarget probe;
    if (const auto there = get_record(view, nullptr, key, probe); there.code() == Errc::not_found) return Errc::not_found;
  }
  if (!admit(context, interest, EventKind::del)) return Errc::full;
  Operation operation{context, Act::erase, bucket};
  mem::Backoff backoff;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) {
      help_insert(context, bucket, busy);
      continue;
    }
    const FoundSlot found = find_for_write(context, bucket, hash, key);
    if (found.what == Lookup::moved) continue;
    if (found.what != Lookup::live) return Errc::not_found;
    if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) {
      help_insert(context, bucket, busy);
      continue;
    }
    const std::uint64_t unit = Slot::Offset::get(found.word);
    Record& record = *view.record(unit);
    const ExpireOutcome expired = expire_slot(context, bucket, *found.slot, found.word);
    if (expired == ExpireOutcome::changed) continue;
    if (expired != ExpireOutcome::alive) return Errc::not_found;
    if (options.if_version && version_of(record) != *options.if_version) return Errc::stale;
    if (!pay_debt(context, unit, nullptr)) {
      lower_deadline(view, bucket, 0);
      return Errc::full;
    }
    if (!remove_slot(context, bucket, *found.slot, found.word, Mark::del, options.cause, true, options.provenance)) {
      context.count(layout::kRetries);
      backoff.pause();
      continue;
    }
    EraseResult result;
    const std::uint64_t rm = record.rm.load_acquire();
    if (layout::EventWord::state(rm) == layout::EventWord::kConfirmed) result.event = EventSeq{event_position(rm)};
    if (options.return_old) result.old_value = std::string{value_in_place(view, unit)};
    context.count(layout::kDeletes);
    return result;
  }
  return Errc::corrupt;
}

namespace {

/// The way of TOUCH when the deadline is frozen by a read-modify-write in flight: a copy of the
/// record with the new deadline competes for the slot.
struct TouchCopy final : WritePlan {
  TouchCopy(KeyView k, TouchPlan& t) : key{k}, touch{t} {
    keeps_deadline = true;
    touch_copy = true;
  }
  Errc prepare(const View& view, std::uint64_t old_unit, std::uint64_t old_deadline_ms, RecordParts& parts,
               std::uint64_t& deadline_ms) override {
    if (old_unit == 0) return Errc::not_found;
    const auto wanted = touch.decide(old_deadline_ms);
    if (!wanted) return Errc::would_block;
    parts = {key, value_in_place(view, old_unit), extension_in_place(view, old_unit), layout::kTouchCopy};
    deadline_ms = *wanted;
    return Errc::ok;
  }
  KeyView key;
  TouchPlan& touch;
};

}  // namespace

Result<bool> touch_record(Context& context, KeyView key, TouchPlan& plan) noexcept {
  const View& view = *context.view;
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  Word& ins = view.buckets[bucket].ins;
  {
    Operation operation{context, Act::touch, bucket};
    bool frozen = false;
    for (int tries = 0; !frozen; ++tries) {
      if (tries == kTriesMax) return Errc::corrupt;
      if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) {
        help_insert(context, bucket, busy);
        continue;
      }
      const FoundSlot found = find_for_write(context, bucket, hash, key);
      if (found.what == Lookup::moved) continue;
      if (found.what != Lookup::live) return Errc::not_found;  // T0: else it is protected
      if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) {  // [IX-3]: it may expire below
        help_insert(context, bucket, busy);
        continue;
      }
      const std::uint64_t unit = Slot::Offset::get(found.word);
      Record& record = *view.record(unit);
      const ExpireOutcome expired = expire_slot(context, bucket, *found.slot, found.word);
      if (expired == ExpireOutcome::changed) continue;
      if (expired != ExpireOutcome::alive) return Errc::not_found;
      std::uint64_t exp = record.exp.load_acquire();
      frozen = (exp & Exp::kFrozen) != 0;
      if (frozen) break;
      const auto wanted = plan.decide(Exp::Deadline::get(exp));
      if (!wanted) return false;
      if (*wanted != 0) lower_minima(view, bucket, summary_ms(view, *wanted));  // T1
      // T2. LINEARIZES, or just before the slot changed if it did meanwhile.
      if (!record.exp.cas_seq_cst(exp, Exp::Deadline::set(exp, *wanted))) continue;
      CACHEE_CRASH_POINT("keyspace.touched");
      if (*wanted != 0) lower_deadline(view, bucket, summary_ms(view, *wanted));  // T3
      return true;
    }
  }
  TouchCopy copy{key, plan};
  const auto written = write_record(context, key, copy);
  if (written) return true;
  if (written.code() == Errc::would_block) return false;
  return written.error();
}

bool evict_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word) noexcept {
  const View& view = *context.view;
  if (view.record(Slot::Offset::get(word)) == nullptr) return false;
  context.me->bucket.store_release(bucket);  // before `old`: recovery looks for `old` in this chain
  if (!protect_old(context, slot, word)) {
    clear_old(context);
    return false;
  }
  const std::uint64_t unit = Slot::Offset::get(word);
  bool evicted = false;
  const KeyView key = key_in_place(view, unit);
  const std::uint64_t hash = view.hash(key);
  const std::uint32_t heat = heat_of(view, slot);
  const double cost = extension_cost(extension_in_place(view, unit));
  const Interest interest = match_triggers(view, key);
  const bool admitted = !interest.wants(EventKind::evict) || ring_admits(view, Role::sweep);  // [EV-3]
  const bool announced = Ins::busy(view.buckets[bucket].ins.load_seq_cst());                  // [IX-3]
  if (!announced && Slot::mark(word) == Mark::live) {
    const ExpireOutcome expired = expire_slot(context, bucket, slot, word);  // [EV-2]
    evicted = expired == ExpireOutcome::removed;
    if (expired == ExpireOutcome::alive && admitted && pay_debt(context, unit, nullptr) &&
        remove_slot(context, bucket, slot, word, Mark::evict, Cause::explicit_, true)) {
      context.count(layout::kEvicted);
      remember_evicted(context, hash, heat, cost);
      evicted = true;
    }
  }
  clear_old(context);
  return evicted;
}

std::uint64_t tend_bucket(Context& context, std::uint64_t bucket, std::uint64_t& expired) noexcept {
  const View& view = *context.view;
  context.me->bucket.store_relaxed(bucket);
  Word& ins = view.buckets[bucket].ins;
  if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) help_insert(context, bucket, busy);
  std::uint64_t earliest = layout::Link::kNever;
  ChainWalk walk{view, bucket};
  while (walk.next()) {
    const std::uint64_t word = walk.slot().load_seq_cst();
    if (!Slot::occupied(word) || view.record(Slot::Offset::get(word)) == nullptr) continue;
    if (!protect_old(context, walk.slot(), word)) {
      earliest = 0;  // it changed under us: look again soon
      continue;
    }
    const std::uint64_t unit = Slot::Offset::get(word);
    Record& record = *view.record(unit);
    if (Slot::mark(word) != Mark::live) {
      if (!finish_remove(context, bucket, walk.slot(), word, false)) earliest = 0;
      continue;
    }
    if (!pay_debt(context, unit, nullptr)) earliest = 0;
    const std::uint64_t exp = record.exp.load_seq_cst();  // S2
    if (Exp::Deadline::get(exp) == 0) continue;
    if (!deadline_passed(exp)) {
      earliest = std::min(earliest, summary_ms(view, Exp::Deadline::get(exp)));
      continue;
    }
    // [IX-3]. Only an announcement of this very record stands in the way, and only until it is over: a
    // reader must not find an expired record unmarked because its neighbours are busy [KS-5].
    if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy) && Ins::Offset::get(busy) == unit) {
      help_insert(context, bucket, busy);
    }
    switch (expire_slot(context, bucket, walk.slot(), word)) {
      case ExpireOutcome::removed: ++expired; break;
      default: earliest = 0; break;
    }
  }
  clear_old(context);
  context.me->hz.store_release(0);
  return earliest;
}

namespace {

void abort_read(Context& context, Record& record, const Block& block) noexcept {
  const std::uint64_t aborted = Hdr::make(block.uid, RecordState::aborted);
  if (record.hdr.cas(Hdr::make(block.uid, RecordState::ev_pend), aborted)) context.retired.push_back({block.unit, aborted, 0});
}

}  // namespace

void emit_read(Context& context, KeyView key, const Interest& interest) noexcept {
  const View& view = *context.view;
  if (!admit(context, interest, EventKind::read)) return;
  std::string value;
  std::string extension;
  ReadTarget target;
  target.value = &value;
  target.extension = &extension;
  if (!get_record(view, nullptr, key, target)) return;
  Operation operation{context, Act::read_event, view.bucket_of(view.hash(key))};
  const RecordParts parts{key, value, extension, layout::kReadClone};
  Block block = allocate(context, record_bytes(parts));
  if (block.unit == 0 && make_room(context, record_bytes(parts)) == Room::freed) block = allocate(context, record_bytes(parts));
  if (block.unit == 0) return;
  Record& record = *view.record(block.unit);
  fill_record(record, parts, target.deadline_ms);
  set_lineage(record, 0, target.version);
  CACHEE_CRASH_POINT("keyspace.read.filled");
  // Ready for helpers: the decision, then the append, as for any creation.
  if (!pay_debt(context, block.unit, &interest)) {
    // A full ring in spite of admission: no cell names the clone, so it may go unseen.
    abort_read(context, record, block);
    return;
  }
  record.rm.store_release(layout::EventWord::make(layout::EventWord::kNone, 0, 0));
  retire(context, block.unit);
}

}  // namespace cachee::shm
