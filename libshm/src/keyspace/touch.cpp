// TOUCH: another deadline for the same value.
#include "expiry/expiry.hpp"
#include "keyspace/operation.hpp"
#include "mem/crash_point.hpp"

namespace cachee::shm {

using layout::Act;
using layout::Exp;
using layout::Ins;
using layout::Slot;

namespace {

/// The way of TOUCH when the deadline is frozen by a read-modify-write in flight: a copy of the
/// record with the new deadline competes for the slot.
struct TouchCopy final : WritePlan {
  TouchCopy(KeyView k, TouchPlan& t) : key{k}, touch{t} {
    keeps_deadline = true;
    touch_copy = true;
  }
  Errc prepare(const View& view, std::uint64_t old_unit, Deadline old_deadline, RecordParts& parts,
               Deadline& deadline) override {
    if (old_unit == 0) return Errc::not_found;
    const auto wanted = touch.decide(old_deadline);
    if (!wanted) return Errc::would_block;
    parts = {key, value_in_place(view, old_unit), extension_in_place(view, old_unit), layout::kTouchCopy};
    deadline = *wanted;
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
      if (found.what != Lookup::live) return code_of_absence(found.what);  // T0: else it is protected
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
      const auto wanted = plan.decide(Exp::deadline(exp));
      if (!wanted) return false;
      if (wanted->is_set()) lower_before(view, bucket, *wanted);  // T1
      // T2. LINEARIZES, or just before the slot changed if it did meanwhile.
      if (!record.exp.cas_seq_cst(exp, Exp::with(exp, *wanted))) continue;
      CACHEE_CRASH_POINT("keyspace.touched");
      if (wanted->is_set()) lower_behind(view, bucket, *wanted);  // T3
      return true;
    }
  }
  TouchCopy copy{key, plan};
  const auto written = write_record(context, key, copy);
  if (written) return true;
  if (written.code() == Errc::would_block) return false;
  return written.error();
}

}  // namespace cachee::shm
