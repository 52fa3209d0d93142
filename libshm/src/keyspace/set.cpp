#include <algorithm>

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

constexpr int kRoomRoundsMax = 4096;
// Each retry means that another operation succeeded; only in a damaged segment do none.
constexpr int kTriesMax = 1 << 22;

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
};

/// One live slot whose tag fits: protected, then compared.
Lookup look_at(Context& context, Word& slot, std::uint64_t word, KeyView key) noexcept {
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

/// Finds the live slot of a key. Finishes marks of the same key on the way.
FoundSlot find_for_write(Context& context, std::uint64_t bucket, std::uint64_t hash, KeyView key) noexcept {
  const View& view = *context.view;
  const std::uint64_t live = Slot::live(0, View::tag_of(hash));
  // Most keys that are there are in the head bucket. A live slot and a mark of one key exclude each
  // other: the next record of a key is inserted behind the end of the mark.
  if (const unsigned matches = matching_slots(view.buckets[bucket], live); matches != 0) [[likely]] {
    Word& slot = view.buckets[bucket].slots[__builtin_ctz(matches)];
    const std::uint64_t word = slot.load_seq_cst();
    if (same_tag(word, live) && look_at(context, slot, word, key) == Lookup::live) return {Lookup::live, &slot, word, -1};
  }
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
        return {what, &walk.slot(), word, found.empty_place};
      }
      if (Slot::occupied(walk.slot().load_relaxed())) continue;
    }
    if (found.empty_place < 0) found.empty_place = static_cast<int>(walk.place());
  }
  clear_old(context);
  return found;
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
  if (context.retired.size() >= kRetiredBatch) reclaim_retired(context);
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
    if (until_ == 0) until_ = now + kRoomWaitNs;
    if (now >= until_) return false;
    SegmentHeader& header = *view_.header;
    const std::uint32_t seen = header.space_wake.load_seq_cst();
    header.space_wanted.store_seq_cst(1);
    os::wait_on(header.space_wake, seen, std::chrono::milliseconds{1});
    return true;
  }

 private:
  static constexpr TimeNs kRoomWaitNs = base::kNsPerS;
  const View& view_;
  TimeNs until_ = 0;
};

std::uint64_t version_now(const View& view) noexcept {
  const TimeNs now = base::now_coarse_ns();
  const auto origin = static_cast<TimeNs>(view.created_mono_ns);
  return now <= origin ? 1 : static_cast<std::uint64_t>((now - origin) / base::kNsPerUs) + 1;
}

/// A new key must not meet a version that this key had before: removals of records that are ahead
/// of the clock raise the floor first.
void raise_version_floor(const View& view, std::uint64_t version) noexcept {
  if (version < version_now(view)) return;
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

/// How used the record in a slot is: the eviction word beside the slot.
std::uint64_t frequency_of(const View& view, const Word& slot) noexcept {
  const auto at = static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&slot) - view.base);
  const auto index_of = [&](const void* first) {
    return (at - static_cast<std::uint64_t>(static_cast<const std::byte*>(first) - view.base)) / sizeof(Word);
  };
  // Both kinds of bucket are eight words long.
  const std::uint64_t index = reinterpret_cast<const std::byte*>(&slot) < reinterpret_cast<const std::byte*>(view.overflow)
                                  ? index_of(view.buckets)
                                  : index_of(view.overflow) + std::uint64_t{view.shape.bucket_count} * 8;
  return layout::HeatWord::frequency(view.heat[index].load_relaxed());
}

enum class ExpireOutcome {
  removed,  // it was due and carries its EXP mark, or is gone by it
  alive,    // not due
  changed,  // the slot went on to something else first: look again
  blocked,  // the ring is full
};

/// R1 (protected by the caller) to R6 for a record whose deadline has passed.
ExpireOutcome expire_due_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word) noexcept {
  const View& view = *context.view;
  const std::uint64_t unit = Slot::Offset::get(word);
  Record& record = *view.record(unit);
  std::uint64_t exp = record.exp.load_acquire();
  if (!pay_debt(context, unit, nullptr)) {
    lower_deadline(view, bucket, 0);
    return ExpireOutcome::blocked;
  }
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

/// The same for a record whose deadline may have passed.
ExpireOutcome expire_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word) noexcept {
  const Record& record = context.view->record_at(Slot::Offset::get(word));
  if (!deadline_passed(record.exp.load_acquire())) [[likely]] return ExpireOutcome::alive;
  return expire_due_slot(context, bucket, slot, word);
}

/// Removes a protected record with a mark. False: the slot had changed.
bool remove_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, Mark mark, Cause cause,
                 bool admitted) noexcept {
  const View& view = *context.view;
  const std::uint64_t unit = Slot::Offset::get(word);
  raise_version_floor(view, version_of(*view.record(unit)));
  const std::uint64_t marked = 
      Slot::marked(unit, mark, static_cast<std::uint64_t>(cause), context.id, frequency_of(view, slot));
  std::uint64_t expected = word;
  if (!slot.cas_seq_cst(expected, marked)) return false;  // X2. LINEARIZES
  CACHEE_CRASH_POINT("keyspace.remove.marked");
  finish_remove(context, bucket, slot, marked, admitted);
  return true;
}

struct PlainSet final : WritePlan {
  PlainSet(KeyView k, ValueView v, const SetOptions& o) : key{k}, value{v}, options{o} {
    same_parts = true;
    keeps_deadline = o.keep_ttl;
    if (needs_extension(o.cost, o.provenance, o.metadata, o.depends_on)) {
      extension = encode_extension(o.cost, o.provenance, o.metadata, o.depends_on);
    }
    if (o.deadline_wall_ms) {
      fixed_deadline_ms = deadline_in(us_until(*o.deadline_wall_ms));
    } else if (o.ttl) {
      fixed_deadline_ms = deadline_in((o.ttl->count() + base::kNsPerUs - 1) / base::kNsPerUs);
    }
  }
  Errc prepare(const View& view, std::uint64_t old_unit, std::uint64_t old_deadline_ms, RecordParts& parts,
               std::uint64_t& deadline_ms) override {
    const bool present = old_unit != 0;
    if (options.condition == Condition::absent && present) return Errc::exists;
    if (options.condition == Condition::present && !present) return Errc::not_found;
    if (options.if_version && (!present || version_of(*view.record(old_unit)) != *options.if_version)) {
      return present ? Errc::stale : Errc::not_found;
    }
    parts = {key, value, extension, 0};
    deadline_ms = options.keep_ttl ? old_deadline_ms : fixed_deadline_ms;
    return Errc::ok;
  }
  KeyView key;
  ValueView value;
  const SetOptions& options;
  std::string extension;
  std::uint64_t fixed_deadline_ms = 0;
};

Errc check_sizes(const View& view, KeyView key, std::uint64_t value_bytes, std::uint64_t extension_bytes) noexcept {
  if (key.size() > kKeyBytesMax || value_bytes > view.shape.value_bytes_max) return Errc::invalid_argument;
  if (extension_bytes > kMetadataBytesMax + sizeof(layout::ExtensionHeader)) return Errc::invalid_argument;
  return Errc::ok;
}

}  // namespace

Result<WriteResult> write_record(Context& context, KeyView key, WritePlan& plan) noexcept {
  const View& view = *context.view;
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  Word& ins = view.buckets[bucket].ins;
  const Interest interest = match_triggers(view, key);
  if (!plan.touch_copy && !admit(context, interest, EventKind::write)) return Errc::full;  // S0

  Operation operation{context, plan.touch_copy ? Act::touch : Act::set, bucket};
  RecordParts parts;
  Block block;
  std::uint64_t block_bytes = 0;
  std::uint64_t deadline_ms = 0;
  const auto give_up = [&](Errc code) -> Result<WriteResult> {
    if (block.unit != 0) abort_block(context, block.unit, block.uid);
    return code;
  };
  mem::Backoff backoff;
  RoomWait room_wait{view};
  int rooms = 0;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const std::uint64_t idle = ins.load_seq_cst();
    if (Ins::busy(idle)) {
      help_insert(context, bucket, idle);
      continue;
    }
    const FoundSlot found = find_for_write(context, bucket, hash, key);  // S2
    if (found.what == Lookup::moved) continue;
    if (found.what == Lookup::blocked) return give_up(Errc::full);
    std::uint64_t old_unit = 0;
    std::uint64_t old_deadline_ms = 0;
    std::uint64_t version = 0;
    if (found.what == Lookup::live) {
      if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) {  // [IX-3]
        help_insert(context, bucket, busy);
        continue;
      }
      old_unit = Slot::Offset::get(found.word);
      Record& old = *view.record(old_unit);
      const ExpireOutcome expired = expire_slot(context, bucket, *found.slot, found.word);
      if (expired == ExpireOutcome::blocked) return give_up(Errc::full);
      if (expired != ExpireOutcome::alive) continue;
      if (!pay_debt(context, old_unit, nullptr)) {  // [KS-1]
        lower_deadline(view, bucket, 0);
        return give_up(Errc::full);
      }
      old_deadline_ms = Exp::Deadline::get(plan.keeps_deadline ? freeze_deadline(old) : old.exp.load_acquire());
      version = version_of(old);
    }
    // S1. Again after a lost race only when the bytes depend on the old record.
    if (block.unit == 0 || !plan.same_parts || plan.keeps_deadline) {
      if (const Errc why = plan.prepare(view, old_unit, old_deadline_ms, parts, deadline_ms); why != Errc::ok) {
        return give_up(why);
      }
      if (const Errc why = check_sizes(view, key, parts.value.size(), parts.extension.size()); why != Errc::ok) {
        return give_up(why);
      }
      const std::uint64_t bytes = record_bytes(parts);
      if (block.unit != 0 && block_bytes_for(view, bytes) != block_bytes) {
        abort_block(context, block.unit, block.uid);
        block = {};
      }
      if (block.unit == 0) {
        block = allocate(context, bytes);
        block_bytes = block_bytes_for(view, bytes);
      }
      if (block.unit == 0) {
        if (++rooms > kRoomRoundsMax) return Error{Errc::no_space, 0, bytes};
        clear_old(context);
        const Room room = make_room(context, bytes);
        begin(context, plan.touch_copy ? Act::touch : Act::set, bucket);
        if (room == Room::none || (room == Room::pending && !room_wait.slice())) return Error{Errc::no_space, 0, bytes};
        continue;
      }
      fill_record(*view.record(block.unit), parts, deadline_ms);
      CACHEE_CRASH_POINT("keyspace.set.filled");
    } else if (const Errc why = plan.prepare(view, old_unit, old_deadline_ms, parts, deadline_ms); why != Errc::ok) {
      return give_up(why);
    }
    Record& record = *view.record(block.unit);
    const bool created = old_unit == 0;
    if (created) {
      version = std::max(version_now(view), view.header->version_floor.load_acquire());
    } else if (!plan.touch_copy) {
      version = std::max(version + 1, version_now(view));
    }
    set_lineage(record, plan.touch_copy ? 0 : old_unit, version);
    if (deadline_ms != 0) lower_deadline(view, bucket, summary_ms(view, deadline_ms));  // S3
    CACHEE_CRASH_POINT("keyspace.set.ready");
    const std::uint64_t live = Slot::live(block.unit, View::tag_of(hash));
    if (!created) {
      std::uint64_t expected = found.word;
      if (!found.slot->cas_seq_cst(expected, live)) {  // X1. LINEARIZES
        context.count(layout::kRetries);
        backoff.pause();
        continue;
      }
      CACHEE_CRASH_POINT("keyspace.set.installed");
    } else {
      if (found.empty_place < 0) {
        if (extend_chain(context, bucket)) continue;
        // The chain is as long as it may get: something in it has to go.
        if (++rooms > kRoomRoundsMax) return give_up(Errc::no_space);
        bool evicted = false;
        ChainWalk walk{view, bucket};
        while (!evicted && walk.next()) {
          const std::uint64_t word = walk.slot().load_acquire();
          evicted = Slot::occupied(word) && Slot::mark(word) == Mark::live &&
                    view.header->evict_policy.load_relaxed() != 0 && evict_slot(context, bucket, walk.slot(), word);
        }
        begin(context, Act::set, bucket);
        if (!evicted) return give_up(Errc::no_space);
        continue;
      }
      const std::uint64_t busy = Ins::make(static_cast<std::uint64_t>(found.empty_place), View::tag_of(hash), block.unit);
      std::uint64_t expected = idle;
      if (!ins.cas_seq_cst(expected, busy)) {  // N1
        context.count(layout::kRetries);
        backoff.pause();
        continue;
      }
      CACHEE_CRASH_POINT("keyspace.set.announced");
      help_insert(context, bucket, busy);  // LINEARIZES in N2, whoever does it
      ChainWalk walk{view, bucket};
      while (walk.next()) {
        if (static_cast<int>(walk.place()) != found.empty_place) continue;
        walk.heat().store_relaxed(layout::HeatWord::make(0, false, view.header->evict_epoch.load_relaxed()));
        break;
      }
      context.count(layout::kInserts);
    }
    // S5, S6
    WriteResult result;
    result.created = created;
    result.version = version;
    if (!pay_debt(context, block.unit, &interest)) lower_deadline(view, bucket, 0);
    const std::uint64_t ev = record.ev.load_acquire();
    if (layout::EventWord::state(ev) == layout::EventWord::kConfirmed) result.event = EventSeq{event_position(ev)};
    if (!created) {
      if (plan.old_value != nullptr) *plan.old_value = value_in_place(view, old_unit);
      if (plan.touch_copy) {
        // The value lives on in the copy: nothing ended here.
        view.record(old_unit)->rm.store_release(layout::EventWord::make(layout::EventWord::kNone, 0, 0));
        retire(context, old_unit);
      } else {
        retire_replaced(context, old_unit, block.unit);  // S7
      }
    }
    if (deadline_ms != 0) lower_deadline(view, bucket, summary_ms(view, deadline_ms));  // S8
    if (!plan.touch_copy) context.count(layout::kSets);
    return result;
  }
  return give_up(Errc::corrupt);
}

Result<WriteResult> set_record(Context& context, KeyView key, ValueView value, const SetOptions& options) noexcept {
  if (options.cost && !(*options.cost > 0)) return Errc::invalid_argument;
  if (options.metadata.size() > kMetadataFieldsMax || options.depends_on.size() > kDependenciesMax) {
    return Errc::invalid_argument;
  }
  PlainSet plan{key, value, options};
  if (const Errc why = check_sizes(*context.view, key, value.size(), plan.extension.size()); why != Errc::ok) return why;
  if (!options.return_old) [[likely]] return write_record(context, key, plan);
  std::string old_value;
  plan.old_value = &old_value;
  Result<WriteResult> result = write_record(context, key, plan);
  if (result && !result->created) result->old_value = std::move(old_value);
  return result;
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
    if (!remove_slot(context, bucket, *found.slot, found.word, Mark::del, options.cause, true)) {
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
      if (*wanted != 0) lower_deadline(view, bucket, summary_ms(view, *wanted));  // T1
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
  context.me->bucket.store_release(bucket);  // before `old`: recovery looks for `old` in this chain
  if (!protect_old(context, slot, word)) return false;
  const std::uint64_t unit = Slot::Offset::get(word);
  bool evicted = false;
  const Interest interest = match_triggers(view, key_in_place(view, unit));
  const bool admitted = !interest.wants(EventKind::evict) || ring_admits(view, Role::sweep);  // [EV-3]
  const bool announced = Ins::busy(view.buckets[bucket].ins.load_seq_cst());                  // [IX-3]
  if (!announced && Slot::mark(word) == Mark::live) {
    const ExpireOutcome expired = expire_slot(context, bucket, slot, word);  // [EV-2]
    evicted = expired == ExpireOutcome::removed;
    if (expired == ExpireOutcome::alive && admitted && pay_debt(context, unit, nullptr) &&
        remove_slot(context, bucket, slot, word, Mark::evict, Cause::explicit_, true)) {
      context.count(layout::kEvicted);
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
    if (!pay_debt(context, unit, nullptr)) {
      earliest = 0;
      continue;
    }
    const std::uint64_t exp = record.exp.load_seq_cst();  // S2
    if (Exp::Deadline::get(exp) == 0) continue;
    if (!deadline_passed(exp)) {
      earliest = std::min(earliest, summary_ms(view, Exp::Deadline::get(exp)));
      continue;
    }
    if (Ins::busy(ins.load_seq_cst())) {  // [IX-3]
      earliest = 0;
      continue;
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
  if (record.hdr.cas(Hdr::make(block.uid, RecordState::ev_pend), aborted)) context.retired.push_back({block.unit, aborted});
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
