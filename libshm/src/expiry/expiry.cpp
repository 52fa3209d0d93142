#include "expiry/expiry.hpp"

#include <limits>

#include "base/clock.hpp"
#include "mem/crash_point.hpp"
#include "os/wait.hpp"

namespace cachee::shm {

using layout::Link;

namespace {

using layout::WallOffset;

// What estimates and clocks may differ by: less than the grain of a deadline.
constexpr std::int64_t kOffsetGrainUs = 500;
constexpr std::uint64_t kBucketsPerStep = std::uint64_t{1} << 16;  // that are looked at in one step of a revision

/// Where the wall clock minus CLOCK_MONOTONIC lies now, in us. The clocks are read one after another: however long this
/// thread is interrupted in between, it lies between these.
class OffsetNow {
 public:
  OffsetNow() noexcept {
    constexpr int kTriesMax = 8;
    constexpr TimeNs kNarrowNs = 20 * base::kNsPerUs;
    TimeNs narrowest = std::numeric_limits<TimeNs>::max();
    for (int tries = 0; tries < kTriesMax && narrowest > kNarrowNs; ++tries) {
      const TimeNs before = base::read_clock(CLOCK_MONOTONIC);
      const TimeNs wall = base::wall_ns();
      const TimeNs behind = base::read_clock(CLOCK_MONOTONIC);
      if (behind - before >= narrowest) continue;
      narrowest = behind - before;
      low_us_ = (wall - behind) / base::kNsPerUs;
      high_us_ = (wall - before) / base::kNsPerUs;
    }
  }
  std::int64_t middle_us() const noexcept { return low_us_ + (high_us_ - low_us_) / 2; }
  bool agrees_with(std::uint64_t word) const noexcept {
    const std::int64_t us = WallOffset::us(word);
    return us >= low_us_ - kOffsetGrainUs && us <= high_us_ + kOffsetGrainUs;
  }

 private:
  std::int64_t low_us_ = 0;
  std::int64_t high_us_ = 0;
};

void lower_node(const View& view, unsigned level, std::uint64_t bucket, std::uint64_t ms) noexcept {
  Word& word = view.minima[view.levels.start[level] + (bucket >> (6 * (level + 1)))];
  for (std::uint64_t seen = word.load_seq_cst(); seen > ms && !word.cas_seq_cst(seen, ms);) {
  }
}

}  // namespace

void detail::lower_nodes(const View& view, std::uint64_t bucket, std::uint64_t ms) noexcept {
  // Root first: a writer that stops half-way leaves a node too low above, never too high [EX-1].
  for (unsigned level = view.levels.count; level-- > 0;) {
    lower_node(view, level, bucket, ms);
    CACHEE_CRASH_POINT("expiry.lower.level");
  }
  Word& link = view.buckets[bucket].link;
  for (std::uint64_t seen = link.load_seq_cst(); Link::Deadline::get(seen) > ms;) {
    if (link.cas_seq_cst(seen, Link::Deadline::set(seen, ms))) break;
  }
  // Upwards again, each node behind its child: a sweep that came in between may have raised a node
  // that was low enough for another bucket's sake, before it could see this child lowered.
  for (unsigned level = 0; level < view.levels.count; ++level) lower_node(view, level, bucket, ms);
}

std::uint64_t detail::reckoned_ms(const View& view, layout::Deadline deadline, std::uint64_t offset) noexcept {
  if (offset == 0) return 0;
  const auto wall_us = static_cast<std::int64_t>(deadline.ms()) * 1000;
  const auto origin_us = static_cast<std::int64_t>(view.created_mono_ns / base::kNsPerUs);
  const std::int64_t us = wall_us - WallOffset::us(offset) - origin_us;
  return us <= 0 ? 0 : std::min(static_cast<std::uint64_t>(us) / 1000, Link::kDeadlineMax);
}

void detail::note_offset(const View& view) noexcept {
  Word& word = view.header->wall_offset;
  std::uint64_t seen = word.load_seq_cst();
  if (seen != 0) [[likely]] return;
  word.cas_seq_cst(seen, WallOffset::make(OffsetNow{}.middle_us(), 0, 0));  // or another writer's
}

void OffsetLook::again(std::uint64_t bucket) const noexcept {
  CACHEE_CRASH_POINT("expiry.offset.lowered");
  if (view_.header->wall_offset.load_seq_cst() != offset_) [[unlikely]] lower_deadline(view_, bucket, 0);  // O2
}

bool offset_is_stale(const View& view) noexcept {
  const std::uint64_t word = view.header->wall_offset.load_seq_cst();
  return word != 0 && ((word & WallOffset::kRevising) != 0 || !OffsetNow{}.agrees_with(word));
}

void OffsetRevision::step(const View& view, std::uint64_t buckets_max) noexcept {
  Word& offset = view.header->wall_offset;
  std::uint64_t seen = offset.load_seq_cst();
  if (seen == 0) return;
  const OffsetNow now;
  const bool revising = (seen & WallOffset::kRevising) != 0;
  if (!now.agrees_with(seen) || (revising && seen != word_)) {  // a step, or a supervisor that died in V1
    const std::uint64_t next = WallOffset::make(now.middle_us(), WallOffset::Count::get(seen) + 1, WallOffset::kRevising);
    if (!offset.cas_seq_cst(seen, next)) return;  // V0
    CACHEE_CRASH_POINT("expiry.offset.revising");
    word_ = next;
    bucket_ = 0;
  } else if (!revising) {
    return;
  }
  std::uint64_t lowered = 0;
  for (std::uint64_t looks = 0; bucket_ < view.shape.bucket_count; ++bucket_, ++looks) {  // V1
    if (lowered >= buckets_max || looks == kBucketsPerStep) return;
    if (Link::Deadline::get(view.buckets[bucket_].link.load_seq_cst()) == Link::kNever) continue;
    lower_deadline(view, bucket_, 0);
    CACHEE_CRASH_POINT("expiry.offset.revisit");
    ++lowered;
  }
  offset.cas_seq_cst(word_, word_ & ~WallOffset::kRevising);  // V2
  word_ = 0;
}

void detail::wake_sweeper(const View& view) noexcept {
  view.header->deadline_wake.fetch_add(1);
  os::wake_all(view.header->deadline_wake);
}

std::uint64_t earliest_deadline(const View& view) noexcept {
  return view.minima[view.levels.start[view.levels.count - 1]].load_acquire();
}

void rebuild_summary(const View& view) noexcept {
  for (std::uint64_t b = 0; b < view.shape.bucket_count; ++b) {
    const std::uint64_t ms = Link::Deadline::get(view.buckets[b].link.load_relaxed());
    if (ms != Link::kNever) lower_deadline(view, b, ms);
  }
}

}  // namespace cachee::shm
