// Histogram: latencies in nanoseconds with at most 1.6 % error, in bounded memory. One thread
// records; histograms of several threads are merged afterwards.
#pragma once

#include <array>
#include <cstdint>

namespace cachee::cli {

class Histogram {
 public:
  void record(std::uint64_t value) noexcept;
  void merge(const Histogram& other) noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  [[nodiscard]] std::uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] double mean() const noexcept;
  /// The smallest recorded value that at least `percent` of all do not exceed, rounded up to the
  /// end of its bucket, and never above max(). 0 when nothing was recorded.
  [[nodiscard]] std::uint64_t percentile(double percent) const noexcept;

 private:
  // Values below 2^kSubBits have a bucket each; above, each power of two has 2^(kSubBits-1).
  static constexpr unsigned kSubBits = 7;
  static constexpr std::size_t kHalf = std::size_t{1} << (kSubBits - 1);
  static constexpr std::size_t kBuckets = (64 - kSubBits + 2) * kHalf;
  [[nodiscard]] static std::size_t bucket_of(std::uint64_t value) noexcept;
  [[nodiscard]] static std::uint64_t bucket_end(std::size_t bucket) noexcept;  // its largest value

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t min_ = ~std::uint64_t{0};
  std::uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace cachee::cli
