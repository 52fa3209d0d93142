// Whether the records of a size class are used as often as their scores foretell.
//
// A score knows one record. That a record which was not used for long may still be used is worth something, and a
// thousand times that is worth more than one large record - but when none of the thousand was used, they are dead.
// So for each class what was used lately is set against what the scores foretold, as a factor of the worth of all
// its records: (used + 1) / (foretold + 1), the mean of a gamma prior of weight 1 (empirical Bayes). Who writes only
// and never reads has no class punished for it: to be born counts as half a use, as in the score.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "eviction/candidates.hpp"
#include "eviction/score.hpp"
#include "layout/slab_layout.hpp"

namespace cachee::shm {

class Calibration {
 public:
  /// A record that the hand met.
  void note(unsigned size_class, std::uint32_t heat, std::uint64_t epoch) noexcept {
    using layout::HeatWord;
    Class& c = classes_[size_class];
    const std::uint32_t age = HeatWord::age(heat, epoch);
    const std::uint32_t recency = HeatWord::recency(heat, epoch);
    // The epoch of birth is known to two: a use in the first of them is not told from it.
    const bool used = recency < kEpochs && recency + 1 < age;
    ++noted_;
    c.used_now += used ? 1.0F : age < kEpochs ? 0.5F : 0.0F;
    const int expected = use_log(heat, epoch) + detail::log_of(std::min(age, kEpochs - 1) + 1);
    c.foretold_now += expected >= 0 ? 1.0F : kPowers[std::min<std::size_t>(static_cast<unsigned>(-expected) / kPowerStep, kPowers.size() - 1)];
  }
  /// An epoch or more is over, in which `looks` records should have been met. What was met beside them, for the sake
  /// of evictions, counts in their place: a storm must not outweigh what comes after it.
  void advance(std::uint64_t epochs, std::uint64_t looks) noexcept {
    const auto kept = static_cast<float>(std::pow(kKept, static_cast<double>(epochs)));
    const auto kept_rare = static_cast<float>(std::pow(kKeptRare, static_cast<double>(epochs)));
    const float share = noted_ > looks ? static_cast<float>(looks) / static_cast<float>(noted_) : 1.0F;
    for (Class& c : classes_) {
      const float of_class = c.used >= kUsesKept ? kept : kept_rare;
      c.used = of_class * c.used + share * c.used_now;
      c.foretold = of_class * c.foretold + share * c.foretold_now;
      c.used_now = c.foretold_now = 0;
    }
    noted_ = 0;
  }
  /// What to add to the scores of the class.
  [[nodiscard]] int weight(unsigned size_class) const noexcept {
    const Class& c = classes_[size_class];
    const auto log = static_cast<int>(kScoreOctave * std::log2((c.used + kPrior) / (c.foretold + kPrior)));
    return std::clamp(kSlope * (log + kSlack), kClassWeightMin, 0);
  }

 private:
  static constexpr std::uint32_t kEpochs = 16;  // "lately"
  // Forgotten in an epoch, but for a class of which so few uses are known: the longer that lasts, the more it says.
  static constexpr double kKept = 7.0 / 8;
  static constexpr double kKeptRare = 255.0 / 256;
  static constexpr float kUsesKept = 4;
  static constexpr float kPrior = 1;
  // Scores are right to a few octaves, and are tuned as they are: what is within three says nothing. What is far
  // beyond says that all of the class is dead, and no number of dead records is worth a living one.
  static constexpr int kSlack = 3 * kScoreOctave;
  static constexpr int kSlope = 3;
  static constexpr unsigned kPowerStep = 32;
  static constexpr std::array<float, 256> kPowers = [] {
    std::array<float, 256> powers{};
    float power = 1;
    constexpr float kRoot = 0.917004043F;  // 2^(-1/8)
    for (float& p : powers) {
      p = power;
      power *= kRoot;
    }
    return powers;
  }();
  struct Class {
    float used = 0, foretold = 0;
    float used_now = 0, foretold_now = 0;  // in this epoch
  };
  std::array<Class, layout::kClassesMax + 1> classes_{};  // last: runs
  std::uint64_t noted_ = 0;
};

}  // namespace cachee::shm
