// What the operations that write share: the intent, the search for a key's slot, admission, expiry on the way.
// The protocol is in keyspace.hpp.
#pragma once

#include "base/bounds.hpp"
#include "base/clock.hpp"
#include "index/probe.hpp"
#include "keyspace/keyspace.hpp"

namespace cachee::shm {

// Each retry means that another operation succeeded; only in a damaged segment do none.
inline constexpr int kTriesMax = base::kWriteTriesMax;

// The intent

inline void begin(Context& context, layout::Act act, std::uint64_t bucket) noexcept {
  context.me->bucket.store_relaxed(bucket);
  context.me->act.store_release(static_cast<std::uint64_t>(act));
}

/// S9, R7: nothing is named any more.
void end(Context& context) noexcept;

/// Ends the operation on every way out.
class Operation {
 public:
  Operation(Context& context, layout::Act act, std::uint64_t bucket) noexcept : context_{context} {
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
bool admit(Context& context, const Interest& interest, EventKind kind) noexcept;

// The search

enum class Lookup {
  absent,   // no slot of the chain has the key; empty_place is the first empty one
  live,     // `slot` holds the key's record, protected by `old`
  moved,    // something changed under the search: look again
  blocked,  // a mark of this key could not be finished: the ring is full
  damaged,  // a slot that may be the key's names no record, or a free one: no reader gets past it
};
struct FoundSlot {
  Lookup what = Lookup::absent;
  Word* slot = nullptr;
  std::uint64_t word = 0;
  int empty_place = -1;
  Heat* heat = nullptr;  // of `slot`
};

/// For whoever needs the key to be there.
inline Errc code_of_absence(Lookup what) noexcept { return what == Lookup::damaged ? Errc::corrupt : Errc::not_found; }

/// Goes through the chain; finishes marks of the same key on the way.
FoundSlot find_in_chain(Context& context, std::uint64_t bucket, std::uint64_t live, KeyView key) noexcept;

/// One live slot whose tag fits: protected, then compared.
[[gnu::always_inline]] inline Lookup look_at(Context& context, Word& slot, std::uint64_t word, KeyView key) noexcept {
  const std::uint64_t unit = layout::Slot::Offset::get(word);
  if (!context.view->is_record(unit)) [[unlikely]] return Lookup::damaged;
  if (!protect_old(context, slot, word)) return Lookup::moved;
  const auto state = layout::Hdr::state(context.view->record_at(unit).hdr.load_acquire());
  if (state == layout::RecordState::free) [[unlikely]] return Lookup::damaged;
  return key_equals(*context.view, unit, key) ? Lookup::live : Lookup::absent;
}

/// Finds the live slot of a key. Most keys that are there are in the head bucket. A live slot and a
/// mark of one key exclude each other: its next record is inserted behind the end of the mark.
[[gnu::always_inline]] inline FoundSlot find_for_write(Context& context, std::uint64_t bucket, std::uint64_t hash,
                                                       KeyView key) noexcept {
  const std::uint64_t live = layout::Slot::live(0, View::tag_of(hash));
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

// Expiry and removal

enum class ExpireOutcome {
  removed,  // it was due and carries its EXP mark, or is gone by it
  alive,    // not due
  changed,  // the slot went on to something else first: look again
  blocked,  // it carries its EXP mark, whose events find no room in the ring
};

/// R1 (protected by the caller) to R6 for a record whose deadline, as it stands in `exp`, has passed.
ExpireOutcome expire_due_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, std::uint64_t exp) noexcept;

/// The same for a record whose deadline may have passed; `now` is the coarse clock, or a better one, where the caller has read it.
template <class... Now>
[[gnu::always_inline]] inline ExpireOutcome expire_slot(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word,
                                                        Now... now) noexcept {
  const Record& record = context.view->record_at(layout::Slot::Offset::get(word));
  const std::uint64_t exp = record.exp.load_acquire();
  if (!deadline_passed(exp, now...)) [[likely]] return ExpireOutcome::alive;
  // R2 freezes the very deadline that has passed [EX-2]: a TOUCH may have set another one since.
  return expire_due_slot(context, bucket, slot, word, exp);
}

/// The least version of what is written now: microseconds since the segment was made.
inline std::uint64_t version_at(const View& view, TimeNs now) noexcept {
  const auto origin = static_cast<TimeNs>(view.created_mono_ns);
  return now <= origin ? 1 : static_cast<std::uint64_t>((now - origin) / base::kNsPerUs) + 1;
}

}  // namespace cachee::shm
