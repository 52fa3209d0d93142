#pragma once

#include <algorithm>

#include "expiry/expiry.hpp"
#include "layout/index_layout.hpp"
#include "mem/crash_point.hpp"

namespace cachee::shm {
namespace detail {

template <class Visit>
class Sweep {
 public:
  Sweep(const View& view, Word& intent, std::uint64_t now_ms, std::uint64_t visits_max, Visit& visit) noexcept
      : view_{view}, intent_{intent}, now_ms_{now_ms}, left_{visits_max}, visit_{visit} {}

  /// Sweeps the node and returns the minimum that was left below it.
  std::uint64_t node(unsigned level, std::uint64_t index) noexcept {
    Word& word = view_.minima[view_.levels.start[level] + index];
    // seq_cst: behind the exchange of the node above.
    if (const std::uint64_t seen = word.load_seq_cst(); seen > now_ms_ || left_ == 0) return seen;
    word.exchange_seq_cst(layout::Link::kNever);  // S1
    CACHEE_CRASH_POINT("expiry.sweep.node");
    std::uint64_t minimum = layout::Link::kNever;
    const std::uint64_t children = level == 0 ? view_.shape.bucket_count : view_.levels.entries[level - 1];
    const std::uint64_t end = std::min(children, (index + 1) * 64);
    for (std::uint64_t child = index * 64; child < end; ++child) {  // S2
      minimum = std::min(minimum, level == 0 ? bucket(child) : node(level - 1, child));
    }
    for (std::uint64_t seen = word.load_seq_cst(); seen > minimum && !word.cas_seq_cst(seen, minimum);) {  // S3
    }
    return minimum;
  }
  std::uint64_t visited() const noexcept { return visited_; }

 private:
  std::uint64_t bucket(std::uint64_t b) noexcept {
    using layout::Link;
    Word& link = view_.buckets[b].link;
    std::uint64_t seen = link.load_seq_cst();
    if (Link::Deadline::get(seen) > now_ms_ || left_ == 0) return Link::Deadline::get(seen);
    --left_;
    ++visited_;
    intent_.store_release(b);  // S0
    const OffsetLook look{view_};
    while (!link.cas_seq_cst(seen, Link::Deadline::set(seen, Link::kNever))) {  // S1
    }
    CACHEE_CRASH_POINT("expiry.sweep.raised");
    const std::uint64_t minimum = visit_(b);  // S2
    for (seen = link.load_seq_cst(); Link::Deadline::get(seen) > minimum;) {    // S3
      if (link.cas_seq_cst(seen, Link::Deadline::set(seen, minimum))) break;
    }
    look.again(b);
    return std::min(minimum, Link::Deadline::get(link.load_seq_cst()));
  }

  const View& view_;
  Word& intent_;
  std::uint64_t now_ms_;
  std::uint64_t left_;
  std::uint64_t visited_ = 0;
  Visit& visit_;
};

}  // namespace detail

template <class Visit>
std::uint64_t sweep_deadlines(const View& view, Word& intent, std::uint64_t now_ms, std::uint64_t visits_max,
                              Visit&& visit) noexcept {
  detail::Sweep<Visit> sweep{view, intent, now_ms, visits_max, visit};
  wake_for_deadline(view, sweep.node(view.levels.count - 1, 0));  // S4
  return sweep.visited();
}

}  // namespace cachee::shm
