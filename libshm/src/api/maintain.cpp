#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include <cachee/maintain.hpp>
#include <cachee/segment_name.hpp>

#include "api/handle.hpp"
#include "base/refusal.hpp"
#include "clients/stats.hpp"
#include "eviction/cost_minute.hpp"
#include "eviction/evictor.hpp"
#include "eviction/reuse.hpp"
#include "expiry/expiry.hpp"
#include "fsck/fsck.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "mem/crash_point.hpp"
#include "os/wait.hpp"
#include "reclaim/reclaim.hpp"
#include "recovery/recovery.hpp"
#include "ring/ring.hpp"
#include "segment/segment.hpp"
#include "slab/census.hpp"
#include "slab/slab.hpp"

namespace cachee {

using layout::CellStatus;
using layout::PageWord;
using shm::Context;
using shm::View;

namespace {

constexpr std::uint32_t kClientsOfSmallSegments = 32;
constexpr std::uint32_t kRingOfSmallSegments = 1024;
constexpr std::uint64_t kSmallSegmentBytes = std::uint64_t{16} << 20;
constexpr std::uint64_t kReadsPerEstimate = 10000;
constexpr TimeNs kCensusPauseNs = 5000 * base::kNsPerMs;
constexpr TimeNs kStallNs = 10 * base::kNsPerMs;

layout::ShapeRequest request_of(const SegmentOptions& options) noexcept {
  const bool small = options.memory_bytes < kSmallSegmentBytes;
  // The defaults are for segments of some size; a small one must not be all ring and client slots.
  const std::uint32_t clients = small ? std::min(options.clients_max, kClientsOfSmallSegments) : options.clients_max;
  std::uint32_t ring = small ? std::min(options.ring_events, kRingOfSmallSegments) : options.ring_events;
  ring = std::max(ring, 4 * clients + 64);
  return {options.memory_bytes, options.value_bytes_max, ring, clients, options.bucket_count, options.page_bytes};
}

struct Totals {
  std::uint64_t hits = 0, misses = 0, keys = 0;
};
Totals segment_totals(const View& view) noexcept {
  Totals totals;
  std::uint64_t gone = 0;
  shm::for_each_stats(view, [&](const mem::Word* stats) {
    totals.hits += stats[layout::kHits].load_relaxed();
    totals.misses += stats[layout::kMisses].load_relaxed();
    totals.keys += stats[layout::kInserts].load_relaxed();
    gone += stats[layout::kDeletes].load_relaxed() + stats[layout::kExpired].load_relaxed() + stats[layout::kEvicted].load_relaxed();
  });
  totals.keys -= std::min(totals.keys, gone);
  return totals;
}

double evicted_cost(const View& view) noexcept {
  std::uint64_t sum = 0;
  shm::for_each_stats(view, [&](const mem::Word* stats) { sum = shm::cost_sum(sum, stats[layout::kEvictedCost].load_relaxed()); });
  return std::bit_cast<double>(sum);
}

TimeNs time_of_deadline(const View& view, std::uint64_t ms) noexcept {
  return static_cast<TimeNs>(view.created_mono_ns) + static_cast<TimeNs>(std::min(ms, layout::Link::kDeadlineMax)) * base::kNsPerMs;
}

/// What is due and was left by the sweep just now: an event found no room, or a chain changed under it. Sleeps until
/// there may be room, or over the change, but not as if nothing were due.
void wait_for_leftovers(const View& view, TimeNs longest) noexcept {
  constexpr TimeNs kChangeNs = base::kNsPerMs;
  if (!shm::ring_admits(view, Role::sweep)) {
    static_cast<void>(shm::wait_for_space(view, Role::sweep, std::chrono::milliseconds{longest / base::kNsPerMs}));
    return;
  }
  auto& wake = view.header->deadline_wake;
  os::wait_on(wake, wake.load_relaxed(), std::chrono::nanoseconds{std::min(longest, kChangeNs)});
}

/// What one client's intent was when it was last looked at.
struct Watch {
  std::uint64_t act = 0, nw = 0, old = 0;
  std::uint64_t activity = 0;
  TimeNs since = 0;
  bool helped = false;
};

}  // namespace

struct Maintainer::Impl {
  os::HeldLock lock;
  std::shared_ptr<shm::Handle> handle;
  std::unique_ptr<Cache> cache;
  std::unique_ptr<shm::LockLiveness> liveness;
  SegmentOptions options;
  layout::Shape asked{};  // of a segment by `options`
  bool warm = false;
  // A duty is one thread's at a time: a recovery by two threads of one registration would not know
  // of the other [CL-3].
  std::mutex duty;
  std::vector<Watch> watches;
  std::uint64_t reap_cursor = 0;
  std::uint64_t scrub_cursor = 0;
  std::uint64_t scrub_owed = 0;   // pages until every one was walked since the last death
  std::uint64_t hint_cursor = 0;
  std::mutex clocks;
  shm::OffsetRevision revision;   // under `clocks`
  shm::Evictor evictor;
  shm::ReuseSampler sampler;
  shm::CostMinute cost_minute;
  std::optional<shm::SlabCounter> slabs{};
  bool counting = false;      // a round of it
  TimeNs counting_since = 0, counted_at = 0;
  std::mutex census_lock;     // for the next one only: who asks waits for no duty
  SlabCensus census;
  std::uint64_t hits_seen = 0;    // at the last publication
  std::uint64_t misses_seen = 0;
  std::uint64_t reads_collected = 0;  // at the last look at the samples

  const View& view() const noexcept { return handle->view(); }
  /// In a forked child, which has neither the mapping nor the parent's threads.
  bool closed() const noexcept { return handle->in_forked_child(); }
  Context* context() const noexcept {
    const auto claimed = handle->context();
    return claimed ? *claimed : nullptr;
  }
};

namespace {

SegmentFigures figures_of(const layout::Shape& shape) noexcept {
  return {shape.segment_bytes, shape.value_bytes_max, shape.ring_events, shape.clients_max};
}

Result<os::Mapping> make_segment(const SegmentOptions& options, const layout::Shape& shape) noexcept {
  auto mapping = os::create_mapping(options.name, shape.segment_bytes, options.mode, options.group, options.huge_pages);
  if (!mapping) return mapping;
  shm::format_segment(mapping->data(), shape);
  return mapping;
}

}  // namespace

Maintainer::Maintainer(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Maintainer::Maintainer(Maintainer&&) noexcept = default;
Maintainer& Maintainer::operator=(Maintainer&&) noexcept = default;
Maintainer::~Maintainer() {
  if (!impl_ || impl_->handle->in_forked_child()) return;
  impl_->view().header->supervisor_pid.store_release(0);
  impl_->cache.reset();
  impl_->handle.reset();
}

Result<Maintainer> Maintainer::create(const SegmentOptions& options) noexcept {
  if (!is_segment_name(options.name)) return base::refusal(base::Rule::segment_name);
  if (options.memory_bytes < kSegmentBytesMin || options.clients_max < 1 ||
      options.clients_max > kClientsMax || options.ring_events > kRingEventsMax) {
    return Errc::invalid_argument;
  }
  try {
    auto lock = os::hold_lock(options.name, os::kSupervisorFile, options.mode);
    if (!lock) return lock.error();
    const auto shape = layout::compute_shape(request_of(options));
    if (!shape) return Error{Errc::invalid_argument, 0, options.memory_bytes};
    if (options.fresh) os::unlink_mapping(options.name);

    auto impl = std::make_unique<Impl>();
    impl->options = options;
    impl->asked = *shape;
    auto mapping = os::open_mapping(options.name, true);
    impl->warm = mapping.has_value();
    if (mapping.code() == Errc::no_segment) mapping = make_segment(options, *shape);
    if (!mapping) return mapping.error();
    auto view = shm::attach_segment(mapping->data(), mapping->bytes(), true);
    // A creator that was killed before it published the magic left nothing worth keeping.
    const auto* magic = reinterpret_cast<const mem::Word*>(mapping->data());
    if (!view && impl->warm && magic->load_acquire() == 0) {
      os::unlink_mapping(options.name);
      impl->warm = false;
      mapping = make_segment(options, *shape);
      if (!mapping) return mapping.error();
      view = shm::attach_segment(mapping->data(), mapping->bytes(), true);
    }
    if (!view) return view.error();
    if (options.prefault) os::prefault(*mapping, true);
    if (options.lock_memory) {
      if (const auto locked = os::lock_memory(*mapping); !locked) {
        if (!impl->warm) os::unlink_mapping(options.name);
        return locked.error();
      }
    }
    OpenOptions open;
    open.name = options.name;
    open.role = Role::sweep;
    open.client_name = "cacheed";
    auto handle = shm::Handle::adopt(std::move(*mapping), *view, open);
    if (!handle) return handle.error();
    impl->handle = std::move(*handle);
    impl->lock = std::move(*lock);
    impl->liveness = std::make_unique<shm::LockLiveness>(options.name);
    impl->watches.resize(view->shape.clients_max);

    auto& header = *impl->view().header;
    header.supervisor_pid.store_release(static_cast<std::uint64_t>(os::own_identity().pid));
    header.supervisor_start.store_relaxed(static_cast<std::uint64_t>(base::wall_ns() / base::kNsPerMs));
    header.evict_policy.store_relaxed(static_cast<std::uint64_t>(options.eviction));
    Maintainer made{std::move(impl)};
    made.impl_->cache.reset(new Cache(made.impl_->handle));
    made.heartbeat(base::now_ns());
    if (made.impl_->warm) {
      shm::redo_journal(made.impl_->view());
      static_cast<void>(made.reap(view->shape.clients_max));
      shm::rebuild_summary(made.impl_->view());
      static_cast<void>(made.scrub(view->shape.page_count));
      made.impl_->handle->leave_thread();  // [CL-5]: the slots are for the threads that work from now on
    }
    return made;
  } catch (...) {
    return Error{Errc::no_space, ENOMEM, 0};
  }
}

bool Maintainer::warm() const noexcept { return impl_->warm; }
SegmentFigures Maintainer::figures() const noexcept { return figures_of(impl_->view().shape); }
SegmentFigures Maintainer::figures_asked() const noexcept { return figures_of(impl_->asked); }
const Cache& Maintainer::cache() const noexcept { return *impl_->cache; }

Result<Cache> Maintainer::client(Role role, std::string_view name) noexcept {
  OpenOptions open;
  open.name = impl_->options.name;
  open.role = role;
  open.client_name = std::string{name};
  auto handle = impl_->handle->share(open);
  if (!handle) return handle.error();
  return Cache{std::move(*handle)};
}

void Maintainer::heartbeat(TimeNs now) noexcept {
  if (impl_->closed()) return;
  impl_->view().header->supervisor_heartbeat.store_relaxed(static_cast<std::uint64_t>(now));
  const std::lock_guard duty{impl_->duty};
  if (!impl_->cost_minute.is_due(now)) return;
  const double before = impl_->cost_minute.note(now, evicted_cost(impl_->view()));
  impl_->view().header->evicted_cost_before.store_relaxed(std::bit_cast<std::uint64_t>(before));
}

std::uint64_t Maintainer::expire_due(TimeNs now, std::uint64_t count_max) noexcept {
  Context* const context = impl_->context();
  if (context == nullptr) return 0;
  const View& view = impl_->view();
  std::uint64_t expired = 0;
  // For fsck: between S1 and S3 of a sweep that stands still the summary is no damage [EX-1].
  context->me->act.store_release(static_cast<std::uint64_t>(layout::Act::expire));
  // Not more than what this call's sweep gets to, so that other deadlines are not late for a step of the clock.
  if (const std::unique_lock clocks{impl_->clocks, std::try_to_lock}) impl_->revision.step(view, count_max / 2 + 1);
  shm::sweep_deadlines(view, context->me->bucket, view.ms_since_created(now), count_max,
                       [&](std::uint64_t bucket) { return shm::tend_bucket(*context, bucket, expired); });
  context->me->act.store_release(0);
  if (!context->retired.empty()) shm::reclaim_retired(*context);
  return expired;
}

TimeNs Maintainer::next_deadline() const noexcept {
  if (impl_->closed()) return 0;
  const std::uint64_t ms = shm::earliest_deadline(impl_->view());
  if (ms >= layout::Link::kDeadlineMax) return 0;
  return time_of_deadline(impl_->view(), ms);
}

void Maintainer::wait_for_deadline(TimeNs until) noexcept {
  if (impl_->closed()) return;
  const View& view = impl_->view();
  const TimeNs now = base::now_ns();
  if (until <= now) return;
  const std::uint64_t earliest = shm::earliest_deadline(view);
  if (earliest <= view.ms_since_created(now)) return wait_for_leftovers(view, until - now);
  auto& header = *view.header;
  const std::uint32_t seen = header.deadline_wake.load_seq_cst();
  // Behind that load: note_clock_step() comes behind the step, so either it ends our sleep or we see the step here.
  if (shm::offset_is_stale(view)) return;
  const std::uint64_t until_ms = std::min(earliest, view.ms_since_created(until));
  header.sweep_until_ms.store_relaxed(until_ms);
  header.deadline_wanted.store_seq_cst(1);
  // A writer lowers the root, then reads deadline_wanted; we the other way round.
  const TimeNs left = std::min(until, time_of_deadline(view, earliest)) - now;
  if (shm::earliest_deadline(view) >= until_ms) os::wait_on(header.deadline_wake, seen, std::chrono::nanoseconds{left});
  header.deadline_wanted.store_relaxed(0);
}

void Maintainer::note_clock_step() noexcept {
  if (!impl_->closed()) shm::detail::wake_sweeper(impl_->view());
}

std::uint64_t Maintainer::evict(std::uint64_t count_max) noexcept {
  Context* const context = impl_->context();
  if (context == nullptr) return 0;
  const std::lock_guard duty{impl_->duty};
  return impl_->evictor.step(*context, count_max);
}

bool Maintainer::estimate() noexcept {
  if (impl_->closed()) return false;
  const std::lock_guard duty{impl_->duty};
  const View& view = impl_->view();
  const auto info = segment_totals(view);
  const bool any = info.hits + info.misses != std::exchange(impl_->reads_collected, info.hits + info.misses);
  try {
    impl_->sampler.collect(view);
    const std::uint64_t hits = info.hits - impl_->hits_seen;
    const std::uint64_t misses = info.misses - impl_->misses_seen;
    if (hits + misses < kReadsPerEstimate) return any;
    impl_->hits_seen = info.hits;
    impl_->misses_seen = info.misses;
    const double missed = static_cast<double>(misses) / static_cast<double>(hits + misses);
    impl_->sampler.publish(view, info.keys, missed);
  } catch (...) {
    // No memory for it now: the last estimate stands.
  }
  return any;
}

std::uint64_t Maintainer::reap(std::uint64_t count_max) noexcept {
  Context* const context = impl_->context();
  if (context == nullptr) return 0;
  const std::lock_guard duty{impl_->duty};
  const View& view = impl_->view();
  std::uint64_t reaped = 0;
  for (std::uint64_t n = 0; n < view.shape.clients_max && reaped < count_max; ++n) {
    const auto victim = static_cast<std::uint32_t>(impl_->reap_cursor++ % view.shape.clients_max);
    const std::uint64_t state = view.clients[victim].state.load_acquire();
    if (victim == context->id || layout::ClientState::state(state) == layout::ClientState::kFree) continue;
    if (!shm::claim_recovery(view, victim, context->registration, *impl_->liveness)) continue;
    if (!shm::recover_client(*context, victim)) continue;
    ++reaped;
    impl_->scrub_owed = view.shape.page_count;
    const std::uint64_t registration = layout::ClientState::Registration::get(state);
    bool shared = false;  // other threads of the same dead process still wait for their turn
    for (std::uint64_t i = 0; i < view.shape.clients_max && !shared; ++i) {
      const std::uint64_t other = view.clients[i].state.load_acquire();
      shared = layout::ClientState::state(other) != layout::ClientState::kFree &&
               layout::ClientState::Registration::get(other) == registration;
    }
    if (!shared) os::remove_lock_file(impl_->options.name, os::registration_file(registration));
  }
  return reaped;
}

std::uint64_t Maintainer::help_stalled(TimeNs now) noexcept {
  Context* const context = impl_->context();
  if (context == nullptr) return 0;
  const std::lock_guard duty{impl_->duty};
  const View& view = impl_->view();
  std::uint64_t helped = 0;
  const std::uint64_t used = std::min<std::uint64_t>(view.header->clients_used.load_acquire(), view.shape.clients_max);
  for (std::uint64_t i = 0; i < used; ++i) {
    const auto& client = view.clients[i];
    Watch& watch = impl_->watches[i];
    Watch seen;
    seen.act = client.act.load_acquire();
    seen.nw = client.nw.load_relaxed();
    seen.old = client.old.load_relaxed();
    seen.activity = client.counter.load_relaxed() + client.stats[layout::kRetries].load_relaxed();
    if (seen.act == 0 || i == context->id || seen.act != watch.act || seen.nw != watch.nw || seen.old != watch.old ||
        seen.activity != watch.activity) {
      seen.since = now;
      watch = seen;
      continue;
    }
    const std::uint64_t bucket = client.bucket.load_relaxed();
    if (now - watch.since < kStallNs || bucket >= view.shape.bucket_count) continue;
    // Forward only: what is installed is settled, appended and put into the deadline summary; the
    // stopped client finds its steps done when it goes on.
    static_cast<void>(shm::tend_and_lower(*context, bucket));
    // Stopped inside a sweep for room: the deadlines it is looking at are not in the summary.
    if (!watch.helped && static_cast<layout::Act>(seen.act) == layout::Act::evict) shm::rebuild_summary(view);
    watch.helped = true;
    watch.since = now;  // and again: it may have gone on to another step of the same operation
    ++helped;
  }
  return helped;
}

std::uint64_t Maintainer::scrub(std::uint64_t pages_max) noexcept {
  Context* const context = impl_->context();
  if (context == nullptr) return 0;
  const std::lock_guard duty{impl_->duty};
  const View& view = impl_->view();
  const std::uint64_t pages = std::min<std::uint64_t>(pages_max, view.shape.page_count);
  std::uint64_t found = 0;
  for (std::uint64_t n = 0; n < pages; ++n) {
    const std::uint64_t page = impl_->scrub_cursor++ % view.shape.page_count;
    found += shm::reclaim_page(*context, page, true);
    found += shm::refresh_page_bits(view, page);
  }
  impl_->scrub_owed -= std::min(pages, impl_->scrub_owed);
  return found;
}

bool Maintainer::scrub_is_urgent() const noexcept {
  const std::lock_guard duty{impl_->duty};
  return impl_->scrub_owed != 0;
}

std::uint64_t Maintainer::reclaim_hinted(std::uint64_t pages_max) noexcept {
  Context* const context = impl_->context();
  if (context == nullptr) return 0;
  const std::lock_guard duty{impl_->duty};
  const View& view = impl_->view();
  std::uint64_t freed = 0;
  for (std::uint64_t n = 0; n < std::min<std::uint64_t>(pages_max, view.shape.page_count); ++n) {
    freed += shm::reclaim_page(*context, impl_->hint_cursor++ % view.shape.page_count, false);
  }
  return freed;
}

bool Maintainer::count_slabs(TimeNs now, std::uint64_t blocks_max) noexcept {
  if (impl_->closed()) return false;
  const std::lock_guard duty{impl_->duty};
  try {
    if (!impl_->slabs) {
      impl_->slabs.emplace(impl_->view(), shm::SlabCounter::kBlocksSampled);
    } else if (!impl_->counting && now - impl_->counted_at < kCensusPauseNs) {
      return false;
    }
    if (!std::exchange(impl_->counting, true)) impl_->counting_since = now;
    if (!impl_->slabs->step(blocks_max)) return false;
    impl_->counting = false;
    impl_->counted_at = now;
    SlabCensus census{impl_->slabs->classes(), impl_->counting_since, impl_->slabs->sampled()};
    const std::lock_guard lock{impl_->census_lock};
    impl_->census = std::move(census);
  } catch (...) {
    return false;  // no memory for it now: the last census stands
  }
  return true;
}

SlabCensus Maintainer::slab_census() const {
  const std::lock_guard lock{impl_->census_lock};
  return impl_->census;
}

void Maintainer::set_eviction_policy(EvictionPolicy policy) noexcept {
  if (impl_->closed()) return;
  impl_->view().header->evict_policy.store_relaxed(static_cast<std::uint64_t>(policy));
}

std::uint64_t Maintainer::ring_room() const noexcept { return shm::admission_limit(impl_->view(), Role::client); }
std::uint64_t Maintainer::memory_bytes() const noexcept { return impl_->view().shape.segment_bytes; }
EventReader Maintainer::reader() const noexcept { return EventReader{*impl_->cache}; }
Result<Lane> Maintainer::lane(std::uint32_t index) noexcept { return Lane::open(*impl_->cache, index); }

void Maintainer::count_attempt(EventSeq seq) noexcept {
  if (impl_->closed()) return;
  auto& status = impl_->view().cell(seq.value).status;
  const std::uint64_t w = status.load_relaxed();
  status.store_release(CellStatus::Attempts::set(w, std::min(CellStatus::Attempts::get(w) + 1, CellStatus::Attempts::kMax)));
}

void Maintainer::acknowledge(EventSeq seq, bool moved) noexcept {
  if (impl_->closed()) return;
  const View& view = impl_->view();
  auto& status = view.cell(seq.value).status;
  const std::uint64_t w = CellStatus::Moved::set(status.load_relaxed(), moved ? 1 : 0);
  status.store_release(CellStatus::Acknowledged::set(w, 1));
  auto& header = *view.header;
  mem::fence_seq_cst();  // the store of status against the load of ack_wanted: a WAITer does it the other way round
  if (header.ack_wanted.load_relaxed() == 0) return;
  header.ack_wanted.store_relaxed(0);
  header.ack_wake.fetch_add(1);
  os::wake_all(header.ack_wake);
}

bool Maintainer::waits_asked() noexcept {
  if (impl_->closed()) return false;
  auto& asked = impl_->view().header->wait_asked;
  if (asked.load_relaxed() == 0) return false;
  asked.store_seq_cst(0);  // before the slots are read: a question behind it raises it again
  return true;
}

bool Maintainer::answer_waits(const std::function<bool(EventSeq)>& is_over) {
  if (impl_->closed()) return false;
  return shm::answer_waits(impl_->view(), is_over);
}

bool Maintainer::acknowledged(EventSeq seq) const noexcept {
  if (impl_->closed()) return false;
  return CellStatus::Acknowledged::get(impl_->view().cell(seq.value).status.load_relaxed()) != 0;
}

namespace {

/// K1-K4.
void take_step(const View& view, std::uint64_t end, std::uint64_t counted, std::span<const Maintainer::Delta> deltas) noexcept {
  auto& journal = *view.journal;
  std::uint64_t count = 0;
  for (const Maintainer::Delta& delta : deltas) {
    if (delta.trigger_slot >= view.shape.trigger_slots) continue;
    const auto& counters = view.counters[delta.trigger_slot];
    auto& entry = journal.entries[count++];
    entry.slot.store_relaxed(delta.trigger_slot);
    entry.emitted.store_relaxed(counters.emitted.load_relaxed() + delta.add.emitted);
    entry.acknowledged.store_relaxed(counters.acknowledged.load_relaxed() + delta.add.acknowledged);
    entry.moved.store_relaxed(counters.moved.load_relaxed() + delta.add.moved);
    entry.shed.store_relaxed(counters.shed.load_relaxed() + delta.add.shed);
  }
  journal.count.store_relaxed(count);
  journal.end.store_relaxed(end);
  journal.counted.store_relaxed(counted);
  CACHEE_CRASH_POINT("ring.journal.written");
  journal.valid.store_release(1);  // K1
  CACHEE_CRASH_POINT("ring.journal.valid");
  shm::redo_journal(view);         // K2-K4
}

}  // namespace

void Maintainer::release_through(std::uint64_t end, std::span<const Delta> deltas) noexcept {
  if (impl_->closed()) return;
  const View& view = impl_->view();
  auto& header = *view.header;
  const std::uint64_t head = header.ring_head.load_acquire();
  if (end <= head || end - head > view.shape.ring_events || deltas.size() > kReleaseDeltasMax) return;
  for (std::uint64_t p = head; p < end; ++p) shm::confirm_cell(view, p);  // [RG-3]
  take_step(view, end, 0, deltas);
  mem::fence_seq_cst();  // the head against the load of space_wanted: a waiter does it the other way round
  if (header.space_wanted.load_relaxed() != 0) {
    header.space_wanted.store_relaxed(0);
    header.space_wake.fetch_add(1);
    os::wake_all(header.space_wake);
  }
}

void Maintainer::count_ahead(std::uint32_t slots_below, std::span<const Delta> deltas) noexcept {
  if (impl_->closed() || deltas.size() > kReleaseDeltasMax) return;
  const View& view = impl_->view();
  const std::uint64_t head = view.header->ring_head.load_acquire();
  if (slots_below == 0 || slots_below > view.shape.trigger_slots || !acknowledged(EventSeq{head})) return;
  take_step(view, head, slots_below, deltas);
}

std::uint32_t Maintainer::counted_ahead() const noexcept {
  if (impl_->closed()) return 0;
  const View& view = impl_->view();
  const std::uint64_t status = view.cell(view.header->ring_head.load_acquire()).status.load_relaxed();
  return static_cast<std::uint32_t>(CellStatus::CountedBelow::get(status));
}

Counters Maintainer::counters(std::uint32_t trigger_slot) const noexcept {
  if (impl_->closed()) return {};
  const View& view = impl_->view();
  if (trigger_slot >= view.shape.trigger_slots) return {};
  const auto& c = view.counters[trigger_slot];
  return {c.emitted.load_relaxed(), c.acknowledged.load_relaxed(), c.moved.load_relaxed(), c.shed.load_relaxed()};
}

void Maintainer::reset_counters(std::uint32_t trigger_slot, const Counters& initial) noexcept {
  if (impl_->closed()) return;
  const View& view = impl_->view();
  if (trigger_slot >= view.shape.trigger_slots) return;
  auto& c = view.counters[trigger_slot];
  c.emitted.store_relaxed(initial.emitted);
  c.acknowledged.store_relaxed(initial.acknowledged);
  c.moved.store_relaxed(initial.moved);
  c.shed.store_relaxed(initial.shed);
}

std::uint32_t Maintainer::trigger_slots_max() const noexcept { return impl_->view().shape.trigger_slots; }

Result<void> Maintainer::publish_triggers(const TriggerTable& table, std::chrono::milliseconds timeout) noexcept {
  if (impl_->closed()) return Errc::closed;
  try {
    if (!can_publish(table) && !shm::wait_for_space(impl_->view(), Role::client, timeout)) return Errc::timed_out;
    return shm::publish_table(impl_->view(), table);
  } catch (...) {
    return Error{Errc::no_space, ENOMEM, 0};
  }
}

bool Maintainer::can_publish(const TriggerTable& table) const noexcept {
  if (impl_->closed()) return false;
  const View& view = impl_->view();
  if (shm::ring_admits(view, Role::client)) return true;
  try {
    return shm::wants_nothing_new(view, table);
  } catch (...) {
    return false;  // no memory to tell
  }
}

Result<std::uint64_t> Maintainer::repair() noexcept {
  if (impl_->closed()) return Errc::closed;
  const View& view = impl_->view();
  std::uint64_t repaired = reap(view.shape.clients_max) + scrub(view.shape.page_count);
  shm::rebuild_summary(view);
  Context* const context = impl_->context();
  if (context == nullptr) return Errc::busy;
  for (std::uint64_t b = 0; b < view.shape.bucket_count; ++b) repaired += shm::tend_and_lower(*context, b);
  return repaired;
}

Result<void> remove_segment(std::string_view name) noexcept {
  if (!is_segment_name(name)) return base::refusal(base::Rule::segment_name);
  {
    const auto lock = os::hold_lock(name, os::kSupervisorFile, 0660);
    if (!lock) return lock.error();
    const bool existed = os::unlink_mapping(name);
    os::remove_lock_folder(name);
    if (!existed) return Errc::no_segment;
  }
  return {};
}

}  // namespace cachee
