#include "eviction/reuse.hpp"

#include <algorithm>
#include <cmath>

#include "eviction/eviction.hpp"

namespace cachee::shm {

using layout::kSampleRange;
using layout::kSampleWords;

namespace {

constexpr double kReadsKept = 1 << 24;   // then old ones count for half
constexpr std::uint32_t kRateMax = kSampleRange / 8;
constexpr unsigned kCalmCollections = 512;  // without a loss, until more are sampled again: a second of the supervisor's
constexpr std::uint64_t kSizesCovered = 4;  // times the keys that the index is made for

double rate_of(std::uint32_t below) noexcept { return static_cast<double>(below) / static_cast<double>(kSampleRange); }

}  // namespace

void ReuseSampler::set_threshold(std::uint32_t below) {
  below_ = below;
  std::erase_if(last_, [&](const auto& entry) {
    const bool out = layout::sample_bits(entry.first) >= below;
    if (out) add(entry.second, -1);
    return out;
  });
}

void ReuseSampler::recover_threshold() {
  calm_ = 0;
  // Twice the keys, and room for as many again: it is not to go up and down.
  if (below_ < below_max_ && last_.size() <= kKeysMax / 4) below_ = std::min(2 * below_, below_max_);
}

void ReuseSampler::add(std::size_t at, int by) noexcept {
  for (std::size_t i = at + 1; i <= kTimes; i += i & (~i + 1)) tree_[i] += by;
}

std::uint64_t ReuseSampler::later_than(std::size_t at) const noexcept {
  std::int64_t until = 0;
  for (std::size_t i = at + 1; i > 0; i -= i & (~i + 1)) until += tree_[i];
  return last_.size() - static_cast<std::uint64_t>(until);
}

void ReuseSampler::renumber() {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> order;
  for (const auto& [hash, when] : last_) order.emplace_back(when, hash);
  std::sort(order.begin(), order.end());
  std::fill(tree_.begin(), tree_.end(), 0);
  now_ = 0;
  for (const auto& [when, hash] : order) {
    last_[hash] = now_;
    add(now_++, 1);
  }
}

unsigned ReuseSampler::bin_of(double distance) noexcept {
  return std::min(kBins - 1, static_cast<unsigned>(std::log2(distance + 1) * kBinsPerOctave));
}

void ReuseSampler::take(std::uint64_t hash) {
  if (layout::sample_bits(hash) >= below_) return;
  if (now_ == kTimes) renumber();
  const double weight = 1 / rate_of(below_);
  reads_ += weight;
  const auto [at, is_new] = last_.try_emplace(hash, now_);
  if (!is_new) {
    reuses_[bin_of(static_cast<double>(later_than(at->second)) * weight)] += weight;
    add(at->second, -1);
    at->second = now_;
  }
  add(now_++, 1);
  if (last_.size() > kKeysMax) set_threshold(below_ / 2);
  if (reads_ < kReadsKept / rate_of(std::max(1u, below_))) return;
  reads_ /= 2;
  all_reads_ /= 2;
  for (double& count : reuses_) count /= 2;
}

void ReuseSampler::collect(const View& view) {
  SegmentHeader& header = *view.header;
  if (below_ == 0) {
    const double keys = static_cast<double>(view.shape.bucket_count) * 4 * kSizesCovered;
    below_ = static_cast<std::uint32_t>(std::clamp(kKeysMax / keys, rate_of(1), rate_of(kRateMax)) * static_cast<double>(kSampleRange));
    below_max_ = below_;
    seen_.resize(view.shape.clients_max);
  }
  double reads = 0;
  const auto count_reads = [&](const Word* stats) {
    reads += static_cast<double>(stats[layout::kHits].load_relaxed() + stats[layout::kMisses].load_relaxed());
  };
  count_reads(header.gone_stats);
  bool lost = false;
  const std::uint64_t used = std::min<std::uint64_t>(header.clients_used.load_acquire(), view.shape.clients_max);
  for (std::uint64_t c = 0; c < used; ++c) {
    count_reads(view.clients[c].stats);
    const std::uint64_t count = view.clients[c].stats[layout::kSampled].load_acquire();
    std::uint64_t& seen = seen_[c];
    if (count < seen) seen = 0;  // the slot has another owner
    lost = lost || count - seen > kSampleWords;
    if (count - seen > kSampleWords) seen = count - kSampleWords;
    for (; seen < count; ++seen) take(view.samples[c * kSampleWords + seen % kSampleWords].load_relaxed());
  }
  if (reads_seen_ >= 0 && header.sample_below.load_relaxed() != 0) note_reads(std::max(0.0, reads - reads_seen_));
  reads_seen_ = reads;
  if (lost && below_ > 1) set_threshold(below_ / 2);
  calm_ = lost ? 0 : calm_ + 1;
  if (calm_ >= kCalmCollections) recover_threshold();
  if (header.sample_below.load_relaxed() != below_) header.sample_below.store_relaxed(below_);
}

double ReuseSampler::miss_ratio(double keys) const noexcept {
  if (reads_ <= 0 || all_reads_ <= 0) return 1;
  double hits = 0;
  const unsigned end = bin_of(keys);
  for (unsigned bin = 0; bin < end; ++bin) hits += reuses_[bin];
  return std::clamp((reads_ - hits) / all_reads_, 0.0, 1.0);
}

void ReuseSampler::publish(const View& view, std::uint64_t keys, double missed) const noexcept {
  const double here = miss_ratio(static_cast<double>(keys));
  std::uint64_t word = 0;
  for (unsigned i = 0; i < layout::kMissEstimates; ++i) {
    const double there = miss_ratio(static_cast<double>(keys) * layout::kMissEstimateSizes[i]);
    const double scaled = here > 0 ? std::min(1.0, missed * there / here) : 0;
    word |= static_cast<std::uint64_t>(std::lround(scaled * layout::kMissEstimateOne)) << (16 * i);
  }
  // 0 says that there is none.
  view.header->miss_estimates.store_relaxed(reads_ <= 0 ? 0 : std::max<std::uint64_t>(1, word));
}

void keep_sample(Context& context, std::uint64_t hash) noexcept {
  const View& view = *context.view;
  Word& count = context.me->stats[layout::kSampled];
  const std::uint64_t n = count.load_relaxed();
  view.samples[std::uint64_t{context.id} * kSampleWords + n % kSampleWords].store_relaxed(hash);
  count.store_release(n + 1);  // the hash before the count: pairs with the acquire of collect()
}

}  // namespace cachee::shm
