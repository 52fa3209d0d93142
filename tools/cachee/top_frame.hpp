// What `stat`, `top` and `slabs` show: samples of a segment, rates between two of them, one frame of text.
// Rendering is pure, so that it can be tested without a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <cachee/cachee.hpp>

#include "output.hpp"

namespace cachee::cli {

struct Sample {
  SegmentInfo info{};
  std::vector<SlabClassInfo> slabs{};
  std::vector<ClientInfo> clients{};
  std::int64_t lag_ms = 0;  // age of the oldest event that is not handled
  std::chrono::steady_clock::time_point at{};
};
/// Failure{no} when the segment cannot be read.
[[nodiscard]] Sample take_sample(const Cache& cache);

/// Per second, between two samples.
struct Rates {
  double gets = 0, hits = 0, misses = 0, sets = 0, deletes = 0;
  double expired = 0, evicted = 0, events = 0, backpressure = 0;
};
[[nodiscard]] Rates rates_between(const Sample& before, const Sample& after) noexcept;
/// Share of reads that hit, in percent; 0 without reads.
[[nodiscard]] double hit_percent(std::uint64_t hits, std::uint64_t misses) noexcept;

/// How much of the blocks that hold a record no record asked for, in percent; 0 without any.
[[nodiscard]] double fragmentation_percent(std::uint64_t live_bytes,
                                           std::uint64_t requested_bytes) noexcept;
/// Everything that `slabs` prints.
[[nodiscard]] Value slabs_value(const std::vector<SlabClassInfo>& slabs);
/// Everything that `stat` prints.
[[nodiscard]] Value stat_value(const Sample& sample, const Rates& rates);

struct FrameOptions {
  std::size_t columns = 80;
  std::size_t rows = 24;
  bool colour = false;
  bool utf8 = true;  // blocks of eighths; else ASCII
};
/// One frame of `top`: at most `rows` lines, each at most `columns` wide. The history ends with
/// the newest rates.
[[nodiscard]] std::vector<std::string> render_frame(const Sample& sample,
                                                    const std::deque<Rates>& history,
                                                    const FrameOptions& options);

/// One character a value, as high as the value is of `top`. The newest `width` values.
[[nodiscard]] std::string sparkline(const std::vector<double>& values, double top,
                                    std::size_t width, bool utf8);
/// A horizontal bar of `width` columns.
[[nodiscard]] std::string bar(double share, std::size_t width, bool utf8);

}  // namespace cachee::cli
