// What a larger or smaller cache would miss: reuse distances of sampled keys.
//
// SHARDS (Waldspurger et al., FAST 2015) with a bounded number of keys: a read is sampled when some
// bits of its key's hash are below a threshold, so that all reads of a key are sampled or none. The
// reader leaves the hash in a few words of its own (one relaxed store; two for the count); the
// supervisor reads them, keeps the order in which keys were read last, and counts how many other
// sampled keys came between two reads of one. Scaled by the rate this is the number of keys that an
// LRU cache must hold to hit. The threshold falls when there are too many keys or when readers are
// faster than the supervisor reads, and rises again when they have not been for a while.
//
// The estimate is of keys, not bytes: it takes the mean record for all. LRU's curve is then scaled to
// what really missed at the present size, since the policy is not LRU.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "clients/clients.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

class ReuseSampler {
 public:
  static constexpr std::size_t kKeysMax = 8192;

  /// Takes in what readers left since the last call, and lowers the threshold when it must,
  /// or raises it again when it may.
  void collect(const View& view);
  /// Counts one read, if its key is of the sample.
  void take(std::uint64_t hash);
  /// Says how many reads there were in all. What the sample has too few or too many (because a hot
  /// key is not in it, or is) are reads that hit at any size (SHARDS-adj).
  void note_reads(double count) noexcept { all_reads_ += count; }
  /// Share of the reads that an LRU cache of so many keys would miss; 1 without reads.
  [[nodiscard]] double miss_ratio(double keys) const noexcept;
  /// Writes the estimates for 1/2, 1, 2 and 4 times the keys that are there, for `stat`.
  void publish(const View& view, std::uint64_t keys, double missed) const noexcept;

  [[nodiscard]] std::uint32_t threshold() const noexcept { return below_; }
  void set_threshold(std::uint32_t below);

 private:
  static constexpr std::size_t kTimes = 4 * kKeysMax;
  static constexpr unsigned kBinsPerOctave = 8;
  static constexpr unsigned kBins = 40 * kBinsPerOctave;

  /// What a burst took from the sample comes back, step by step, while nothing is lost.
  void recover_threshold();
  void add(std::size_t at, int by) noexcept;
  [[nodiscard]] std::uint64_t later_than(std::size_t at) const noexcept;
  void renumber();
  static unsigned bin_of(double distance) noexcept;

  std::unordered_map<std::uint64_t, std::uint32_t> last_{};  // hash -> when it was read last
  std::vector<std::int32_t> tree_ = std::vector<std::int32_t>(kTimes + 1);  // Fenwick: keys by that time
  std::array<double, kBins> reuses_{};
  double reads_ = 0;      // sampled, scaled to all
  double all_reads_ = 0;
  std::uint32_t now_ = 0;
  std::uint32_t below_ = 0;
  std::uint32_t below_max_ = 0;  // where it began
  unsigned calm_ = 0;            // collections without a loss
  double reads_seen_ = -1;  // of the segment, at the last call
  std::vector<std::uint64_t> seen_{};  // by client: samples taken so far
};

}  // namespace cachee::shm
