// Replays a trace through a real segment with the real sweep.
#pragma once

#include <cstdint>
#include <string>

#include <cachee/maintain.hpp>

#include "traces/trace.hpp"

namespace cachee::bench {

struct ReplayOptions {
  std::uint64_t capacity = 0;  // objects; bytes for a trace with sizes
  EvictionPolicy policy = EvictionPolicy::balanced;
  std::string cost{};          // model of cost_of(); empty: no cost is stored
  /// Sized traces: the size of a request is the whole record, header and key included (false), or the
  /// value alone, with our own header and key on top (true).
  bool overhead_on_top = false;
};

struct ReplayResult {
  std::uint64_t requests = 0, misses = 0;
  double cost_all = 0, cost_missed = 0;
  std::uint64_t capacity_got = 0;    // blocks, or bytes of data
  std::uint64_t resident_mean = 0;   // objects, over the second half
  std::uint64_t record_bytes_mean = 0;
  std::uint64_t block_bytes_mean = 0;
  std::uint64_t evicted = 0;
  std::uint64_t writers_evicted = 0;  // times a writer had to make room itself
  std::uint64_t refused = 0;          // values that the cache did not take
  double sweep_cpu_s = 0;             // in Maintainer::evict
  [[nodiscard]] double miss_ratio() const noexcept { return static_cast<double>(misses) / static_cast<double>(requests); }
};

[[nodiscard]] ReplayResult replay(const Trace& trace, const ReplayOptions& options);

}  // namespace cachee::bench
