#include "eviction/gaps.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "slab/slab.hpp"

namespace cachee::shm {

using layout::PageWord;

namespace {

constexpr double kTakenWeight = 1.0 / 16;          // of the last steps
constexpr std::uint64_t kStepsKept = 8;            // what is taken in so many steps is kept free
constexpr std::uint64_t kShareMax = 32;            // but no more of all pages
constexpr double kRunShareMin = 1.0 / 16;          // of the bytes that are written: where there are fewer, they make their own room
constexpr double kRunShareWeight = 1.0 / 16;       // of the last epoch
constexpr std::uint64_t kPauseMax = 256;           // steps between two attempts that fail
constexpr double kRunsRemembered = 64;             // about so many steps with shorter runs, and the longest is forgotten

}  // namespace

void Gaps::note_runs(const View& view, std::uint64_t steps) noexcept {
  const std::uint64_t taken = view.header->run_pages_taken.exchange_seq_cst(0);
  const std::uint64_t longest = view.header->run_pages_longest.exchange_seq_cst(0);
  taken_ += taken;
  taken_per_step_ += kTakenWeight * (static_cast<double>(taken) / static_cast<double>(std::max<std::uint64_t>(1, steps)) - taken_per_step_);
  if (longest == 0) return;
  const auto length = static_cast<double>(longest);
  longest_ = std::max(length, longest_ - (longest_ - length) / kRunsRemembered);
  run_pages_ = static_cast<std::uint64_t>(std::lround(longest_));
}

void Gaps::note_epoch(const View& view, std::uint64_t bytes) noexcept {
  const auto runs = static_cast<double>(std::exchange(taken_, 0) * view.shape.page_bytes);
  share_ += kRunShareWeight * (std::min(1.0, runs / static_cast<double>(std::max<std::uint64_t>(1, bytes))) - share_);
}

std::uint64_t Gaps::wanted(const View& view) const noexcept {
  const std::uint64_t most = view.shape.page_count / kShareMax;
  if (run_pages_ == 0 || run_pages_ > most || share_ < kRunShareMin) return 0;
  return std::max<std::uint64_t>(1, std::min(static_cast<std::uint64_t>(taken_per_step_ * kStepsKept), most) / run_pages_);
}

std::uint64_t Gaps::make(Context& context, EvictionPolicy policy, std::uint64_t count_max) noexcept {
  const View& view = *context.view;
  const std::uint64_t goal = wanted(view);
  // Remainders of other lengths, or of another load.
  if (kept_ > goal * run_pages_ + view.shape.page_count / kShareMax) {
    give_back(view);
    return 0;
  }
  if (pause_left_ > 0) {
    --pause_left_;
    return 0;
  }
  const Word& count = context.me->stats[layout::kEvicted];
  const std::uint64_t before = count.load_relaxed();
  while (gaps_ < goal && count.load_relaxed() - before < count_max) {
    const auto hole = make_hole(context, policy, run_pages_);
    if (!hole) {
      // What went waits for its event, or for who holds it. To empty more pages meanwhile would empty the cache.
      pause_ = std::min(kPauseMax, 2 * pause_ + 1);
      pause_left_ = pause_;
      break;
    }
    pause_ = 0;
    for (std::uint64_t page = *hole; page < *hole + run_pages_; ++page) keep_page(view, page, true);
    ++gaps_;
  }
  return count.load_relaxed() - before;
}

void Gaps::give_back(const View& view) noexcept {
  for (std::uint64_t page = 0; page < view.shape.page_count; ++page) {
    if (PageWord::is_kept(view.pages[page].load_relaxed())) keep_page(view, page, false);
  }
  begin_count();
}

}  // namespace cachee::shm
