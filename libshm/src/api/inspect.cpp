#include <algorithm>
#include <bit>
#include <cstring>

#include <cachee/cache.hpp>
#include <cachee/inspect.hpp>
#include <cachee/maintain.hpp>
#include <cachee/version.hpp>

#include "api/handle.hpp"
#include "fsck/fsck.hpp"
#include "index/index.hpp"
#include "ring/ring.hpp"
#include "slab/census.hpp"
#include "triggers/triggers.hpp"

namespace cachee {

using layout::PageWord;
using layout::Stat;
using shm::View;

namespace {

void add_stats(ClientStats& to, const mem::Word* stats) noexcept {
  const auto get = [&](Stat s) { return stats[s].load_relaxed(); };
  to.hits += get(layout::kHits);
  to.misses += get(layout::kMisses);
  to.sets += get(layout::kSets);
  to.deletes += get(layout::kDeletes);
  to.expired += get(layout::kExpired);
  to.evicted += get(layout::kEvicted);
  to.events += get(layout::kEvents);
  to.backpressure += get(layout::kBackpressure);
  to.retries += get(layout::kRetries);
  to.inserts += get(layout::kInserts);
  to.returned += get(layout::kReturned);
  to.waited_for_room += get(layout::kWaitedForRoom);
  to.evicted_cost += std::bit_cast<double>(get(layout::kEvictedCost));
}

const char* act_name(std::uint64_t act) noexcept {
  constexpr const char* kNames[] = {"idle", "set", "erase", "expire", "evict", "touch", "read"};
  return act < std::size(kNames) ? kNames[act] : "unknown";
}

RingInfo ring_info(const View& view) noexcept {
  RingInfo ring;
  ring.capacity = view.shape.ring_events;
  ring.head = view.header->ring_head.load_acquire();
  ring.tail = std::max(ring.head, view.header->ring_tail.load_acquire());
  ring.admission_limit = shm::admission_limit(view, Role::client);
  return ring;
}

}  // namespace

Result<SegmentInfo> segment_info(const Cache& cache) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  const View& view = cache.handle()->view();
  const auto& header = *view.header;
  SegmentInfo info;
  info.name = cache.name();
  info.layout = std::to_string(header.layout_major) + "." + std::to_string(header.layout_minor);
  info.epoch = EventReader{cache}.epoch();
  info.segment_bytes = view.shape.segment_bytes;
  info.page_bytes = view.shape.page_bytes;
  info.pages = view.shape.page_count;
  info.data_bytes = info.pages * info.page_bytes;
  for (std::uint64_t p = 0; p < info.pages; ++p) info.pages_free += PageWord::kind(view.pages[p].load_relaxed()) == PageWord::kFree ? 1 : 0;
  const auto slabs = list_slabs(cache);
  for (const SlabClassInfo& c : *slabs) info.used_bytes += (c.live + c.waiting) * c.block_bytes;
  info.buckets = view.shape.bucket_count;
  info.overflow_buckets = view.shape.overflow_count;
  for (std::uint64_t o = 0; o < info.overflow_buckets; ++o) info.overflow_used += view.overflow_owners[o].load_relaxed() != 0 ? 1 : 0;
  info.value_bytes_max = view.shape.value_bytes_max;
  info.keys = shm::count_live(view);
  info.clients_max = view.shape.clients_max;
  add_stats(info.totals, header.gone_stats);
  for (std::uint64_t i = 0; i < view.shape.clients_max; ++i) {
    const auto& client = view.clients[i];
    if (layout::ClientState::state(client.state.load_acquire()) == layout::ClientState::kFree) continue;
    ++info.clients;
    add_stats(info.totals, client.stats);
  }
  // A client that leaves adds its counts to those of the gone a moment before it clears them.
  info.evicted_cost_minute = std::max(0.0, info.totals.evicted_cost - std::bit_cast<double>(header.evicted_cost_before.load_relaxed()));
  info.trigger_generation = trigger_generation(cache);
  if (const auto table = shm::read_table(view)) info.triggers = table->triggers.size();
  const bool alive = cache.supervisor_alive();
  info.supervisor_pid = alive ? static_cast<std::int32_t>(header.supervisor_pid.load_relaxed()) : 0;
  const TimeNs now = base::now_ns();
  const std::uint64_t beat = header.supervisor_heartbeat.load_relaxed();
  const auto now_unsigned = static_cast<std::uint64_t>(now);
  info.supervisor_heartbeat_age_ms = now_unsigned > beat ? (now_unsigned - beat) / base::kNsPerMs : 0;
  info.uptime_ms = view.ms_since_created(now);
  info.eviction_policy = to_string(static_cast<EvictionPolicy>(header.evict_policy.load_relaxed() & 3));
  if (const std::uint64_t word = header.miss_estimates.load_relaxed(); word != 0) {
    for (unsigned i = 0; i < layout::kMissEstimates; ++i) {
      info.miss_ratios[i] = static_cast<double>(word >> (16 * i) & 0xffff) / layout::kMissEstimateOne;
    }
  }
  info.ring = ring_info(view);
  return info;
}

Result<MemoryInfo> memory_info(const Cache& cache) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  auto backing = os::backing_of(cache.handle()->mapping());
  return MemoryInfo{backing.resident_bytes, backing.huge_bytes, backing.locked_bytes, std::move(backing.policy)};
}

Result<std::vector<ClientInfo>> list_clients(const Cache& cache) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  const View& view = cache.handle()->view();
  const shm::LockLiveness liveness{cache.name()};
  std::vector<ClientInfo> clients;
  for (std::uint32_t i = 0; i < view.shape.clients_max; ++i) {
    const auto& c = view.clients[i];
    const std::uint64_t state = c.state.load_acquire();
    if (layout::ClientState::state(state) == layout::ClientState::kFree) continue;
    ClientInfo info;
    info.id = ClientId{i};
    info.registration = layout::ClientState::Registration::get(state);
    info.pid = static_cast<std::int32_t>(c.pid.load_relaxed());
    info.role = static_cast<Role>(c.role.load_relaxed() & 7);
    char name[layout::kClientNameBytes];
    mem::copy_out(name, c.name, sizeof name);
    info.name.assign(name, strnlen(name, sizeof name));
    info.recovering = layout::ClientState::state(state) == layout::ClientState::kRecovering;
    info.alive = !info.recovering && !liveness.is_dead(c, info.registration);
    info.operation = act_name(c.act.load_relaxed());
    for (const auto& pin : c.pins) info.pins += pin.load_relaxed() != 0 ? 1 : 0;
    info.attached_wall_ms = c.attached_wall_ms.load_relaxed();
    add_stats(info.stats, c.stats);
    clients.push_back(std::move(info));
  }
  return clients;
}

Result<std::vector<SlabClassInfo>> list_slabs(const Cache& cache) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  shm::SlabCounter counter{cache.handle()->view(), shm::SlabCounter::kAllBlocks};
  static_cast<void>(counter.step(shm::SlabCounter::kAllBlocks));
  return counter.classes();
}

Result<std::vector<PendingEvent>> list_events(const Cache& cache, std::size_t count_max) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  const EventReader reader{cache};
  std::vector<PendingEvent> events;
  const std::uint64_t head = reader.head();
  const std::uint64_t capacity = cache.handle()->view().shape.ring_events;
  for (std::uint64_t p = head; p - head < capacity && events.size() < count_max; ++p) {
    auto event = reader.look_at(EventSeq{p});
    if (event.code() == Errc::lapped) continue;
    if (!event) break;
    events.push_back(std::move(*event));
  }
  return events;
}

Result<FsckReport> fsck(const Cache& cache) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  return shm::check_segment(cache.handle()->view());
}

std::vector<std::string> list_segments() { return os::list_mappings(); }

}  // namespace cachee
