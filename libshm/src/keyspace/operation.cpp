#include "keyspace/operation.hpp"

#include <algorithm>

#include "index/index.hpp"
#include "mem/crash_point.hpp"
#include "reclaim/reclaim.hpp"
#include "ring/ring.hpp"

namespace cachee::shm {

using layout::Mark;
using layout::Slot;

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

bool detail::wall_deadline_passed(Deadline deadline) noexcept {
  const auto deadline_us = static_cast<std::int64_t>(deadline.ms()) * 1000;
  // A step shows in the coarse clock at once, so it is as good here as for a TTL.
  const std::int64_t coarse_us = base::wall_coarse_ns() / base::kNsPerUs;
  if (coarse_us + base::kCoarseLagNs / base::kNsPerUs < deadline_us) return false;
  return coarse_us >= deadline_us || base::wall_ns() / base::kNsPerUs >= deadline_us;
}

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

namespace {

/// The same for a marked one, which is finished when it is of this key: under `old`, so that
/// recovery knows of it when we die in between.
Lookup finish_mark_of(Context& context, std::uint64_t bucket, Word& slot, std::uint64_t word, KeyView key) noexcept {
  const Lookup what = look_at(context, slot, word, key);
  if (what == Lookup::damaged) return Lookup::absent;  // readers pass over marks of any key
  if (what != Lookup::live) return what;
  const bool finished = finish_remove(context, bucket, slot, word, false);
  clear_old(context);
  return finished ? Lookup::absent : Lookup::blocked;
}

}  // namespace

FoundSlot find_in_chain(Context& context, std::uint64_t bucket, std::uint64_t live, KeyView key) noexcept {
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

}  // namespace cachee::shm
