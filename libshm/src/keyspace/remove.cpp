// How a value's life ends: DEL, expiry, eviction, and the sweep that tends a bucket.
#include <algorithm>

#include "eviction/eviction.hpp"
#include "expiry/expiry.hpp"
#include "keyspace/operation.hpp"
#include "mem/backoff.hpp"
#include "mem/crash_point.hpp"

namespace cachee::shm {

using layout::Act;
using layout::Exp;
using layout::Ins;
using layout::Mark;
using layout::Slot;

namespace {

/// A new key must not meet a version that this key had before. A new key's is the clock's of a moment behind the
/// removal; removals of records that are ahead of the clock, or too near for two threads' clocks to tell, raise the
/// floor first.
void raise_version_floor(const View& view, std::uint64_t version) noexcept {
  constexpr TimeNs kTooNearNs = 10 * base::kClockErrorNs;
  if (version < version_at(view, base::now_coarse_ns() - kTooNearNs)) [[likely]] return;
  if (version < version_at(view, base::now_ns() - kTooNearNs)) return;
  Word& floor = view.header->version_floor;
  for (std::uint64_t seen = floor.load_acquire(); seen <= version && !floor.cas_acq_rel(seen, version + 1);) {
  }
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

/// Removes a protected record with a mark. False: the slot had changed, or the record is due by now.
bool remove_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, Mark mark, Cause cause,
                 bool admitted, const Provenance& from = {}) noexcept {
  const View& view = *context.view;
  const std::uint64_t unit = Slot::Offset::get(word);
  const Record& record = *view.record(unit);
  raise_version_floor(view, version_of(record));
  const bool noted = from != Provenance{};
  if (noted) {  // before X2, which publishes it; it stays until the event has its place [RG-9]
    context.me->note[layout::kNoteParent].store_relaxed(from.parent);
    context.me->note[layout::kNoteChain].store_relaxed(from.chain);
    context.me->note[layout::kNoteDepth].store_relaxed(from.depth);
  }
  const std::uint64_t marked =
      Slot::marked(unit, mark, static_cast<std::uint64_t>(cause), context.id, frequency_of(view, slot), noted);
  CACHEE_CRASH_POINT("keyspace.remove.ready");
  // Again, as the caller's look is some time ago: it has paid since. From here on whoever sees the deadline pass sets
  // the EXP mark, and X2 fails; if nobody sees it, the removal was before [EV-2].
  if (deadline_passed(record.exp.load_acquire())) return false;
  std::uint64_t expected = word;
  if (!slot.cas_seq_cst(expected, marked)) return false;  // X2. LINEARIZES
  CACHEE_CRASH_POINT("keyspace.remove.marked");
  finish_remove(context, bucket, slot, marked, admitted);
  return true;
}

}  // namespace

ExpireOutcome expire_due_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word,
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
    if (found.what != Lookup::live) return code_of_absence(found.what);
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
    ExpireOutcome expired = expire_slot(context, bucket, slot, word);  // [EV-2]
    if (expired == ExpireOutcome::alive && admitted && pay_debt(context, unit, nullptr)) {
      if (remove_slot(context, bucket, slot, word, Mark::evict, Cause::explicit_, true)) {
        context.count(layout::kEvicted);
        remember_evicted(context, hash, heat, cost);
        evicted = true;
      } else {
        expired = expire_slot(context, bucket, slot, word);
      }
    }
    if (expired == ExpireOutcome::removed) evicted = true;
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
    if (!Exp::deadline(exp).is_set()) continue;
    if (!deadline_passed(exp)) {
      earliest = std::min(earliest, summary_ms(view, Exp::deadline(exp)));
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

std::uint64_t tend_and_lower(Context& context, std::uint64_t bucket) noexcept {
  const View& view = *context.view;
  std::uint64_t expired = 0;
  const OffsetLook look{view};
  const std::uint64_t earliest = tend_bucket(context, bucket, expired);
  if (earliest != layout::Link::kNever) lower_deadline(view, bucket, earliest);
  look.again(bucket);
  return expired;
}

}  // namespace cachee::shm
