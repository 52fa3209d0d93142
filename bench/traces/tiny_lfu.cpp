#include <algorithm>
#include <bit>

#include "traces/queue.hpp"
#include "traces/reference.hpp"

namespace cachee::bench {
namespace {

/// Counts how often keys were used of late: a count-min sketch of 4-bit counters that are halved
/// when ten uses for each resident key have been counted.
class Sketch {
 public:
  explicit Sketch(std::uint32_t keys) : counters_(std::bit_ceil(std::max(keys, 64u)) * kRows), mask_{std::bit_ceil(std::max(keys, 64u)) - 1} {}

  [[nodiscard]] unsigned count(std::uint32_t key) const noexcept {
    std::uint8_t least = kMax;
    for (unsigned row = 0; row < kRows; ++row) least = std::min(least, counters_[place(key, row)]);
    return least;
  }
  void add(std::uint32_t key, std::uint64_t resident_keys) noexcept {
    const unsigned least = count(key);
    if (least == kMax) return;
    for (unsigned row = 0; row < kRows; ++row) {
      std::uint8_t& counter = counters_[place(key, row)];
      if (counter == least) ++counter;
    }
    if (++added_ < kUsesPerKey * std::max<std::uint64_t>(resident_keys, 1)) return;
    added_ /= 2;
    for (std::uint8_t& counter : counters_) counter /= 2;
  }

 private:
  static constexpr unsigned kRows = 4;
  static constexpr std::uint8_t kMax = 15;
  static constexpr std::uint64_t kUsesPerKey = 10;
  [[nodiscard]] std::size_t place(std::uint32_t key, unsigned row) const noexcept {
    std::uint64_t x = (key + 1) * (0x9e3779b97f4a7c15ull + 2 * row * 0xbf58476d1ce4e5b9ull);
    x = (x ^ x >> 31) * 0x94d049bb133111ebull;
    return std::size_t{row} * (mask_ + 1) + ((x ^ x >> 29) & mask_);
  }
  std::vector<std::uint8_t> counters_;
  std::uint64_t mask_;
  std::uint64_t added_ = 0;
};

/// W-TinyLFU (Einziger, Friedman and Manes, TOS 2017): a window of 1 %, a segmented LRU behind it
/// (protected: 80 %), and only who was used more often than what it would replace goes there.
class TinyLfu final : public Reference {
 public:
  TinyLfu(std::uint64_t capacity, std::uint32_t keys)
      : capacity_{capacity}, window_max_{std::max<std::uint64_t>(1, capacity / 100)},
        protected_max_{(capacity - window_max_) * 4 / 5}, sketch_{keys}, window_{keys}, probation_{keys}, protected_{keys},
        where_(keys) {}

  bool access(std::uint32_t key, std::uint64_t size) override {
    sketch_.add(key, resident_keys_);
    switch (where_[key]) {
      case kWindow: window_.push(key, window_.remove(key)); return true;
      case kProtected: protected_.push(key, protected_.remove(key)); return true;
      case kProbation: promote(key); return true;
      default: break;
    }
    if (size > capacity_ - window_max_) return false;
    window_.push(key, size);
    where_[key] = kWindow;
    ++resident_keys_;
    while (window_.size() > window_max_) leave_window();
    return false;
  }

 private:
  enum : std::uint8_t { kOut, kWindow, kProbation, kProtected };

  void promote(std::uint32_t key) {
    protected_.push(key, probation_.remove(key));
    where_[key] = kProtected;
    while (protected_.size() > protected_max_) {
      const std::uint32_t oldest = protected_.tail();
      probation_.push(oldest, protected_.remove(oldest));
      where_[oldest] = kProbation;
    }
  }
  void leave_window() {
    const std::uint32_t candidate = window_.tail();
    const std::uint64_t size = window_.remove(candidate);
    const unsigned uses = sketch_.count(candidate);
    while (probation_.size() + protected_.size() + size > capacity_ - window_max_) {
      Queue& from = probation_.empty() ? protected_ : probation_;
      const std::uint32_t victim = from.tail();
      if (uses <= sketch_.count(victim)) {
        where_[candidate] = kOut;
        --resident_keys_;
        return;
      }
      from.remove(victim);
      where_[victim] = kOut;
      --resident_keys_;
    }
    probation_.push(candidate, size);
    where_[candidate] = kProbation;
  }

  std::uint64_t capacity_, window_max_, protected_max_;
  std::uint64_t resident_keys_ = 0;
  Sketch sketch_;
  Queue window_, probation_, protected_;
  std::vector<std::uint8_t> where_;
};

}  // namespace

std::unique_ptr<Reference> make_tiny_lfu(std::uint64_t capacity, std::uint32_t keys) { return std::make_unique<TinyLfu>(capacity, keys); }

}  // namespace cachee::bench
