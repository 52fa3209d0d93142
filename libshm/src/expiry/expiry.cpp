#include "expiry/expiry.hpp"

#include "mem/crash_point.hpp"
#include "os/wait.hpp"

namespace cachee::shm {

using layout::Link;

std::uint64_t summary_ms(const View& view, std::uint64_t deadline_ms) noexcept {
  const std::uint64_t origin_ms = view.created_mono_ns / base::kNsPerMs;
  return deadline_ms <= origin_ms ? 0 : std::min(deadline_ms - origin_ms, Link::kDeadlineMax);
}

namespace {

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
