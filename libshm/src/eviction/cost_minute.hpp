// What evictions had cost in all, a minute ago.
//
// The supervisor notes the sum once a second and publishes the one of a minute ago; who asks what the
// last minute's evictions cost takes it from the sum of now. So the answer is exact to a second of the
// window, and has what went a moment ago.
#pragma once

#include <array>
#include <cstddef>

#include "base/clock.hpp"

namespace cachee::shm {

class CostMinute {
 public:
  static constexpr TimeNs kWindowNs = 60'000 * base::kNsPerMs;
  static constexpr TimeNs kStepNs = 1000 * base::kNsPerMs;

  /// Whether note() would keep the sum of now.
  [[nodiscard]] bool is_due(TimeNs now) const noexcept { return count_ == 0 || now - at(count_ - 1).when >= kStepNs; }
  /// Keeps the sum of now. Returns the latest that is a minute old, or the first one while none is.
  double note(TimeNs now, double sum) noexcept {
    if (is_due(now)) {
      if (count_ == kNotesMax) drop();
      at(count_++) = {now, sum};
    }
    while (count_ > 1 && now - at(1).when >= kWindowNs) drop();
    return at(0).sum;
  }

 private:
  // Those inside the window, and the one before it.
  static constexpr std::size_t kNotesMax = kWindowNs / kStepNs + 2;
  struct Note {
    TimeNs when = 0;
    double sum = 0;
  };
  Note& at(std::size_t nth) noexcept { return notes_[(first_ + nth) % kNotesMax]; }
  [[nodiscard]] const Note& at(std::size_t nth) const noexcept { return notes_[(first_ + nth) % kNotesMax]; }
  void drop() noexcept {
    first_ = (first_ + 1) % kNotesMax;
    --count_;
  }
  std::array<Note, kNotesMax> notes_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace cachee::shm
