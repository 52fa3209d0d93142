// How much a record is worth keeping, from its eviction word and the size of its block alone.
//
//   score = log2(f + 1/2) + [returned] - 7/16 log2 age - 9/16 log2 recency - log2 block bytes
//           + 37/64 log2 cost  (policy `cost`)
//
// A window of slots is scored for each eviction: logarithms come from a table of 4 KiB.
#pragma once

#include <array>
#include <cstdint>

#include <cachee/maintain.hpp>

#include "layout/index_layout.hpp"

namespace cachee::shm {

inline constexpr int kScoreOctave = 256;  // a factor of two

namespace detail {

/// kScoreOctave log2(x), rounded down; x >= 1.
constexpr int exact_log(double x) noexcept {
  int log = 0;
  for (; x >= 2; x /= 2) ++log;
  for (int bit = 1; bit < kScoreOctave; bit *= 2) {
    x *= x;
    log *= 2;
    if (x >= 2) {
      x /= 2;
      ++log;
    }
  }
  return log;
}

constexpr unsigned kLogBits = layout::HeatWord::kEpochBits;
constexpr auto make_logs() noexcept {
  std::array<std::uint16_t, std::size_t{1} << kLogBits> logs{};
  for (std::size_t i = 0; i < logs.size(); ++i) logs[i] = static_cast<std::uint16_t>(exact_log(static_cast<double>(i + 1)));
  return logs;
}
inline constexpr auto kLogs = make_logs();  // of index + 1

constexpr auto make_frequencies() noexcept {
  std::array<std::int16_t, layout::HeatWord::kFrequencyMax + 1> logs{};
  for (std::size_t f = 0; f < logs.size(); ++f) {
    logs[f] = static_cast<std::int16_t>(exact_log(2 * static_cast<double>(f) + 1) - kScoreOctave);
  }
  return logs;
}
inline constexpr auto kFrequencyLogs = make_frequencies();

constexpr int kSixteenths = 16;
constexpr int kAgeWeight = 7;
constexpr int kRecencyWeight = kSixteenths - kAgeWeight;
constexpr int kReturnedBonus = kScoreOctave;
constexpr int kCostWeight = kScoreOctave * 37 / 64;  // of an octave

/// kScoreOctave log2(x), within one; x >= 1.
constexpr int log_of(std::uint64_t x) noexcept {
  constexpr int kTop = kLogBits - 1;
  const int top = 63 - __builtin_clzll(x);
  const int shift = top > kTop ? top - kTop : 0;
  return shift * kScoreOctave + kLogs[(x >> shift) - 1];
}
static_assert(log_of(1) == 0 && log_of(2) == 256 && log_of(1024) == 2560 && log_of(3) == 405 && log_of(std::uint64_t{3} << 40) == 405 + 40 * 256);

}  // namespace detail

/// How often it is used in an epoch: kScoreOctave log2 of it.
inline int use_log(std::uint32_t heat, std::uint64_t epoch) noexcept {
  using layout::HeatWord;
  return detail::kFrequencyLogs[HeatWord::frequency(heat)] + (HeatWord::returned(heat) ? detail::kReturnedBonus : 0) -
         (detail::kAgeWeight * detail::kLogs[HeatWord::age(heat, epoch)] + detail::kRecencyWeight * detail::kLogs[HeatWord::recency(heat, epoch)]) /
             detail::kSixteenths;
}

/// `block_bytes` >= 1. Policy `lru` goes by the last use, then by age.
inline std::int32_t score_of(std::uint32_t heat, std::uint64_t epoch, std::uint64_t block_bytes, EvictionPolicy policy) noexcept {
  using layout::HeatWord;
  if (policy == EvictionPolicy::lru) {
    return -static_cast<std::int32_t>(HeatWord::recency(heat, epoch) * (HeatWord::kEpochMask + 1) + HeatWord::age(heat, epoch));
  }
  std::int32_t score = use_log(heat, epoch) - detail::log_of(block_bytes);
  if (policy == EvictionPolicy::cost) {
    score += detail::kCostWeight * (static_cast<int>(HeatWord::cost_class(heat)) - static_cast<int>(HeatWord::kCostClassOne));
  }
  return score;
}

}  // namespace cachee::shm
