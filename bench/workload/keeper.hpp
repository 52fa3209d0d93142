// Keeper: a segment for a benchmark with its upkeep running, as cacheed would run it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <time.h>
#include <unistd.h>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

#include "workload/report.hpp"

namespace cachee::bench {

[[nodiscard]] inline TimeNs monotonic_now() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return TimeNs{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

[[noreturn]] inline void die(const std::string& text) {
  std::fprintf(stderr, "bench: %s\n", text.c_str());
  std::exit(1);
}

template <class T>
[[nodiscard]] T must(Result<T> result, const char* what) {
  if (!result) die(std::string{what} + ": " + to_string(result.error()));
  return std::move(result).value();
}
inline void must(const Result<void>& result, const char* what) {
  if (!result) die(std::string{what} + ": " + to_string(result.error()));
}

class Keeper {
 public:
  explicit Keeper(SegmentOptions options) {
    options.name = "bench-" + std::to_string(getpid());
    options.fresh = true;
    name_ = options.name;
    maintainer_.emplace(must(Maintainer::create(options), "segment"));
    upkeep_ = std::jthread{[this](const std::stop_token& stop) { keep(stop); }};
  }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  ~Keeper() {
    upkeep_ = std::jthread{};
    maintainer_.reset();
    static_cast<void>(remove_segment(name_));
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Maintainer& maintainer() noexcept { return *maintainer_; }
  [[nodiscard]] Cache open() const { return must(Cache::open({.name = name_}), "attach"); }
  /// CPU time of all upkeep until now.
  [[nodiscard]] double upkeep_cpu_s() const noexcept { return upkeep_cpu_s_.load(); }

 private:
  void keep(const std::stop_token& stop) noexcept {
    while (!stop.stop_requested()) {
      const TimeNs now = monotonic_now();
      maintainer_->heartbeat(now);
      static_cast<void>(maintainer_->expire_due(now, 1000));
      maintainer_->estimate();
      static_cast<void>(maintainer_->evict(1000));
      static_cast<void>(maintainer_->reap(4));
      static_cast<void>(maintainer_->help_stalled(now));
      upkeep_cpu_s_.store(cpu_now_s());
      std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
  }

  std::string name_;
  std::optional<Maintainer> maintainer_{};
  std::atomic<double> upkeep_cpu_s_{0};
  std::jthread upkeep_{};
};

}  // namespace cachee::bench
