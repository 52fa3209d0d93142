// How often values of which size occurred, in constant memory: four buckets a doubling, so that a percentile
// is at most a quarter too high. The idea is that of G. Tene's HdrHistogram.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace cachee::daemon {

class Histogram {
 public:
  void add(std::uint64_t value) noexcept {
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  /// The upper end of the bucket that this share of the values does not pass, never above the largest; 0: no values.
  [[nodiscard]] std::uint64_t percentile(double share) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
    std::uint64_t seen = 0;
    for (std::size_t n = 0; n < buckets_.size(); ++n) {
      seen += buckets_[n];
      if (seen >= std::max<std::uint64_t>(wanted, 1)) return std::min(max_, last_of(n));
    }
    return 0;
  }
  /// Values in buckets that end at or below `bound`.
  [[nodiscard]] std::uint64_t count_through(std::uint64_t bound) const noexcept {
    std::uint64_t seen = 0;
    for (std::size_t n = 0; n < buckets_.size() && last_of(n) <= bound; ++n) seen += buckets_[n];
    return seen;
  }

 private:
  static constexpr unsigned kStepBits = 2;  // of a doubling
  static constexpr std::uint64_t kSteps = 1u << kStepBits;
  static constexpr std::size_t kBuckets = (64 - kStepBits + 1) * kSteps;
  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < kSteps) return static_cast<std::size_t>(value);
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - kStepBits - 1;
    return static_cast<std::size_t>((shift + 1) * kSteps + ((value >> shift) & (kSteps - 1)));
  }
  static constexpr std::uint64_t last_of(std::size_t bucket) noexcept {
    if (bucket < kSteps) return bucket;
    const std::size_t shift = bucket / kSteps - 1;
    return ((kSteps + bucket % kSteps) << shift) + ((std::uint64_t{1} << shift) - 1);
  }

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace cachee::daemon
