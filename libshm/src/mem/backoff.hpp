// Bounded spin, then yield. Every retry loop of the keyspace is lock-free without it; it only
// lowers the heat of a contended line.
#pragma once

#include <sched.h>

namespace cachee::mem {

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Backoff {
 public:
  void pause() noexcept {
    if (++rounds_ < kSpinRoundsMax) {
      for (int i = 0; i < (1 << rounds_); ++i) cpu_relax();
    } else {
      sched_yield();
    }
  }
  /// Rounds so far; loops that give up compare it with a named bound.
  int rounds() const noexcept { return rounds_; }

 private:
  static constexpr int kSpinRoundsMax = 6;
  int rounds_ = 0;
};

}  // namespace cachee::mem
