// A segment whose keys expire as they do under cacheed, with the events read as they come.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

#include "workload/keeper.hpp"
#include "workload/report.hpp"

namespace cachee::bench {

inline constexpr TimeNs kMs = 1'000'000;

/// A segment whose expiry runs as in cacheed; its events are taken by a thread of their own.
class Expiring {
 public:
  /// Room for so many keys with short values.
  explicit Expiring(std::uint64_t keys) {
    SegmentOptions options;
    options.name = name_;
    options.fresh = true;
    options.ring_events = 1 << 20;
    options.memory_bytes = kBytesBesides + keys * kBytesPerKey;
    maintainer_.emplace(must(Maintainer::create(options), "segment"));
    TriggerSpec all;
    all.name = "all";
    all.pattern = "*";
    all.source = "return";
    all.events = event_bit(EventKind::expire);
    TriggerTable table;
    table.triggers.push_back(all);
    must(maintainer_->publish_triggers(table, std::chrono::seconds{1}), "trigger");
    sweeper_ = std::jthread{[this](const std::stop_token& stop) { sweep(stop); }};
    reader_ = std::jthread{[this](const std::stop_token& stop) { read(stop); }};
  }
  Expiring(const Expiring&) = delete;
  Expiring& operator=(const Expiring&) = delete;
  ~Expiring() {
    sweeper_ = std::jthread{};
    reader_ = std::jthread{};
    maintainer_.reset();
    static_cast<void>(remove_segment(name_));
  }
  Cache open() const { return must(Cache::open({.name = name_}), "attach"); }
  std::uint64_t events() const noexcept { return events_.load(); }
  double sweep_cpu_s() const noexcept { return static_cast<double>(sweep_cpu_ns_.load()) * 1e-9; }
  /// How late each event was. Ends the reading: to be called when all have come.
  std::vector<std::int64_t> take_lags_us() {
    reader_ = std::jthread{};
    return std::move(lags_us_);
  }

 private:
  static constexpr std::uint64_t kBytesPerKey = 256;
  static constexpr std::uint64_t kBytesBesides = std::uint64_t{128} << 20;  // the ring takes half of it
  static constexpr std::uint64_t kVisitsPerSweep = 20000;
  static constexpr std::uint64_t kEventsPerRelease = 4096;

  void sweep(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const TimeNs now = monotonic_now();
      const std::uint64_t done = maintainer_->expire_due(now, kVisitsPerSweep);
      sweep_cpu_ns_.store(static_cast<std::uint64_t>(cpu_now_s() * 1e9));
      if (done >= kVisitsPerSweep) continue;
      maintainer_->wait_for_deadline(now + 100 * kMs);
    }
  }
  void read(const std::stop_token& stop) {
    const EventReader reader = maintainer_->reader();
    std::uint64_t position = reader.head();
    while (!stop.stop_requested()) {
      const std::uint64_t first = position;
      for (; position - first < kEventsPerRelease; ++position) {
        const auto event = reader.at(EventSeq{position});
        if (!event) break;
        lags_us_.push_back(event->lag_us());
        maintainer_->acknowledge(EventSeq{position});
      }
      if (position == first) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        continue;
      }
      const Maintainer::Delta delta{0, {.emitted = position - first, .acknowledged = position - first}};
      maintainer_->release_through(position, {&delta, 1});
      events_.store(position);
    }
  }

  const std::string name_ = "bench-expiry-" + std::to_string(getpid());
  std::optional<Maintainer> maintainer_{};
  std::vector<std::int64_t> lags_us_{};
  std::atomic<std::uint64_t> events_{0};
  std::atomic<std::uint64_t> sweep_cpu_ns_{0};
  std::jthread sweeper_{};
  std::jthread reader_{};
};

}  // namespace cachee::bench
