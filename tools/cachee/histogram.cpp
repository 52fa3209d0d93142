#include "histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cachee::cli {

std::size_t Histogram::bucket_of(std::uint64_t value) noexcept {
  const auto width = static_cast<unsigned>(std::bit_width(value));
  if (width <= kSubBits) return static_cast<std::size_t>(value);
  const unsigned shift = width - kSubBits;
  // value >> shift is in [kHalf, 2 * kHalf): the half below belongs to smaller powers of two.
  return static_cast<std::size_t>(value >> shift) + shift * kHalf;
}

std::uint64_t Histogram::bucket_end(std::size_t bucket) noexcept {
  if (bucket < 2 * kHalf) return bucket;
  const auto shift = static_cast<unsigned>(bucket / kHalf - 1);
  const std::uint64_t start = std::uint64_t{bucket - shift * kHalf} << shift;
  return start + ((std::uint64_t{1} << shift) - 1);
}

void Histogram::record(std::uint64_t value) noexcept {
  ++buckets_[bucket_of(value)];
  ++count_;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::merge(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

double Histogram::mean() const noexcept {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

std::uint64_t Histogram::percentile(double percent) const noexcept {
  // 99.9 % of 1000 is 999, whatever the last bit of the product says.
  constexpr double kRounding = 1e-6;
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const double wanted = std::ceil(share * static_cast<double>(count_) - kRounding);
  const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min(bucket_end(i), max_);
  }
  return max_;
}

}  // namespace cachee::cli
