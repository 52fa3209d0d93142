#include "recovery/recovery.hpp"

#include "expiry/expiry.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "mem/crash_point.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::ClientState;
using layout::Hdr;
using layout::Mark;
using layout::RecordState;
using layout::Slot;

namespace {

/// The slot of the chain that names a block, with its word.
struct Linked {
  Word* slot = nullptr;
  std::uint64_t word = 0;
};
Linked find_linked(const View& view, std::uint64_t bucket, std::uint64_t unit) noexcept {
  ChainWalk walk{view, bucket};
  while (walk.next()) {
    const std::uint64_t word = walk.slot().load_seq_cst();
    if (Slot::occupied(word) && Slot::Offset::get(word) == unit) return {&walk.slot(), word};
  }
  return {};
}

bool recover_new(Context& context, std::uint64_t bucket, std::uint64_t unit, std::uint64_t uid, std::uint64_t old_unit,
                 bool old_valid, bool& installed) noexcept {
  const View& view = *context.view;
  Record* record = view.record(unit);
  if (record == nullptr) return true;
  // The block was never taken, or left us. No claim has uid 0.
  if (uid == 0 || Hdr::Uid::get(record->hdr.load_acquire()) != uid) return true;
  Word& ins = view.buckets[bucket].ins;
  const std::uint64_t busy = ins.load_seq_cst();
  if (layout::Ins::busy(busy) && layout::Ins::Offset::get(busy) == unit) help_insert(context, bucket, busy);
  CACHEE_CRASH_POINT("recovery.helped");
  const Linked linked = find_linked(view, bucket, unit);  // before the state
  const std::uint64_t hdr = record->hdr.load_acquire();
  if (Hdr::Uid::get(hdr) != uid) return true;
  const RecordState state = Hdr::state(hdr);
  const bool clone = (layout::Lens::Flags::get(record->lens.load_relaxed()) & layout::kReadClone) != 0;
  if (linked.slot != nullptr) {
    installed = true;
    if (!pay_debt(context, unit, nullptr)) return false;
    CACHEE_CRASH_POINT("recovery.paid");
    if (old_valid && old_unit != 0) retire_replaced(context, old_unit, unit);
    return true;
  }
  if (state == RecordState::priv) {
    abort_block(context, unit, uid);
    publish_hint(view, unit);
    return true;
  }
  if (state == RecordState::aborted) {
    publish_hint(view, unit);
    return true;
  }
  if (clone) {
    if (state == RecordState::ev_pend && !pay_debt(context, unit, nullptr)) return false;
    retire(context, unit);
    return true;
  }
  installed = true;
  if (old_valid && old_unit != 0) retire_replaced(context, old_unit, unit);
  return true;
}

bool recover_old(Context& context, std::uint64_t bucket, std::uint64_t unit) noexcept {
  const View& view = *context.view;
  Record* record = view.record(unit);
  if (record == nullptr) return true;
  const Linked linked = find_linked(view, bucket, unit);  // before rm
  if (linked.slot != nullptr) {
    if (Slot::mark(linked.word) == Mark::live) return true;
    return finish_remove(context, bucket, *linked.slot, linked.word, false);
  }
  if (layout::EventWord::state(record->rm.load_acquire()) != layout::EventWord::kUnset) retire(context, unit);
  return true;
}

}  // namespace

bool claim_recovery(const View& view, std::uint32_t victim, std::uint64_t by, const Liveness& liveness) noexcept {
  Client& client = view.clients[victim];
  std::uint64_t seen = client.state.load_acquire();
  const std::uint64_t registration = ClientState::Registration::get(seen);
  switch (ClientState::state(seen)) {
    case ClientState::kLive:
      if (!liveness.is_dead(client, registration)) return false;
      break;
    case ClientState::kRecovering:
      if (ClientState::By::get(seen) == by) return true;
      if (!liveness.is_dead(client, ClientState::By::get(seen))) return false;
      break;
    default: return false;
  }
  return client.state.cas_acq_rel(seen, ClientState::make(ClientState::kRecovering, registration, by));
}

bool recover_client(Context& context, std::uint32_t victim) noexcept {
  const View& view = *context.view;
  Client& dead = view.clients[victim];
  const std::uint64_t bucket = dead.bucket.load_acquire();
  if (bucket < view.shape.bucket_count) {
    const std::uint64_t unit = dead.nw.load_acquire();
    const std::uint64_t uid = dead.nw_uid.load_acquire();
    const std::uint64_t old_unit = dead.old.load_acquire();
    const bool old_valid = dead.old_valid.load_acquire() != 0 && view.record(old_unit) != nullptr;
    bool installed = false;
    if (unit != 0 && !recover_new(context, bucket, unit, uid, old_unit, old_valid, installed)) return false;
    CACHEE_CRASH_POINT("recovery.new");
    if (!installed && old_valid && old_unit != 0 && !recover_old(context, bucket, old_unit)) return false;
    CACHEE_CRASH_POINT("recovery.old");
  }
  slab_repair_after(view, victim);
  index_repair_after(view, victim);
  CACHEE_CRASH_POINT("recovery.pages");
  if (bucket < view.shape.bucket_count) static_cast<void>(tend_and_lower(context, bucket));
  // It may have died inside a sweep for room, between S1 and S3.
  if (static_cast<layout::Act>(dead.act.load_relaxed()) == layout::Act::evict) rebuild_summary(view);
  CACHEE_CRASH_POINT("recovery.tended");
  for (unsigned i = 0; i < layout::kStatCount; ++i) {
    add_to_gone(view, i, dead.stats[i].exchange_seq_cst(0));
  }
  for (Word* w : {&dead.act, &dead.old_valid, &dead.old, &dead.nw, &dead.nw_uid, &dead.hz, &dead.bucket, &dead.overflow,
                  &dead.page}) {
    w->store_relaxed(0);
  }
  for (Word& pin : dead.pins) pin.store_relaxed(0);
  CACHEE_CRASH_POINT("recovery.cleared");
  dead.state.store_release(0);  // R2: pairs with the acquire of C1
  return true;
}

void redo_journal(const View& view) noexcept {
  layout::Journal& journal = *view.journal;
  if (journal.valid.load_acquire() == 0) return;
  const std::uint64_t head = view.header->ring_head.load_acquire();
  const std::uint64_t end = journal.end.load_relaxed();
  // Written over a whole ring of events: it stays for fsck to name.
  if (end > head && end - head > view.shape.ring_events) return;
  const std::uint64_t count = std::min<std::uint64_t>(journal.count.load_relaxed(), layout::kJournalEntriesMax);
  for (std::uint64_t i = 0; i < count; ++i) {
    const layout::JournalEntry& entry = journal.entries[i];
    const std::uint64_t slot = entry.slot.load_relaxed();
    if (slot >= view.shape.trigger_slots) continue;
    layout::TriggerCounters& counters = view.counters[slot];
    counters.emitted.store_relaxed(entry.emitted.load_relaxed());
    counters.acknowledged.store_relaxed(entry.acknowledged.load_relaxed());
    counters.moved.store_relaxed(entry.moved.load_relaxed());
    counters.shed.store_relaxed(entry.shed.load_relaxed());
  }
  CACHEE_CRASH_POINT("ring.journal.counters");
  const std::uint64_t counted = std::min<std::uint64_t>(journal.counted.load_relaxed(), view.shape.trigger_slots);
  if (end == head && counted != 0) {
    mem::Word& status = view.cell(head).status;
    status.store_relaxed(layout::CellStatus::CountedBelow::set(status.load_relaxed(), counted));
    CACHEE_CRASH_POINT("ring.journal.counted");
  }
  for (std::uint64_t p = head; p < end; ++p) release_cell(view, p);
  journal.valid.store_release(0);
}

}  // namespace cachee::shm
