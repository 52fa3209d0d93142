// What bench/expiry_cacheed.py lets happen in the segment of a real cacheed, which it measures meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <string>

#include <cachee/cachee.hpp>

#include "workload/keeper.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {

struct Attached {
  std::string name{};  // of the segment
  std::uint64_t keys = 0;
  std::uint64_t ttl_ms = 0;     // after the start of the loading
  std::uint64_t spread_ms = 1;  // and up to so much later
  std::uint64_t pace_us = 0;    // between two keys
};

/// Sets the keys, each with its deadline. Returns when the first of them is due.
inline TimeNs load(const Attached& plan) {
  Cache cache = must(Cache::open({.name = plan.name}), "attach");
  std::mt19937_64 random{1};
  const TimeNs first = monotonic_now() + static_cast<TimeNs>(plan.ttl_ms) * 1'000'000;
  for (std::uint64_t i = 0; i < plan.keys; ++i) {
    const TimeNs due = first + static_cast<TimeNs>(random() % plan.spread_ms) * 1'000'000;
    static_cast<void>(must(cache.set(view(make_key(i)), "v", {.ttl = Ttl{due - monotonic_now()}}), "set"));
  }
  return first;
}

/// Few keys with a short TTL each, one after the other.
inline void trickle(const Attached& plan) {
  Cache cache = must(Cache::open({.name = plan.name}), "attach");
  TimeNs next = monotonic_now();
  for (std::uint64_t i = 0; i < plan.keys; ++i) {
    const auto key = "due:" + std::to_string(i);
    static_cast<void>(must(cache.set(key, "v", {.ttl = std::chrono::milliseconds{plan.ttl_ms}}), "set"));
    for (next += static_cast<TimeNs>(plan.pace_us) * 1000; monotonic_now() < next;) std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
}

/// New keys all the time, none of which expires: all memory is evicted again and again.
inline std::uint64_t storm(const Attached& plan, std::uint64_t seconds) {
  Cache cache = must(Cache::open({.name = plan.name}), "attach");
  const std::string value(200, 'v');
  const TimeNs end = monotonic_now() + static_cast<TimeNs>(seconds) * 1'000'000'000;
  std::uint64_t written = 0;
  for (; monotonic_now() < end; ++written) static_cast<void>(cache.set("storm:" + std::to_string(written), value));
  return written;
}

}  // namespace cachee::bench
