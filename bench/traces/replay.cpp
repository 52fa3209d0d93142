#include "traces/replay.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

#include <cachee/cachee.hpp>
#include <cachee/inspect.hpp>

#include "workload/keeper.hpp"
#include "workload/report.hpp"

namespace cachee::bench {
namespace {

constexpr std::uint64_t kFixedBytes = std::uint64_t{320} << 10;  // about what a small segment is besides data
constexpr std::uint64_t kSizingRoundsMax = 12;
constexpr int kEvictionsPerStep = 1 << 20;

std::string_view key_of(const std::uint32_t& number) noexcept {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

/// A segment that the replay itself keeps: evictions happen between requests, in a fixed order.
class Segment {
 public:
  Segment() = default;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment() { drop(); }

  void make(std::uint64_t memory, std::uint32_t page_bytes, std::uint32_t buckets, EvictionPolicy policy) {
    drop();
    SegmentOptions options;
    options.name = "bench-traces-" + std::to_string(getpid());
    options.fresh = true;
    options.memory_bytes = std::max(memory, kSegmentBytesMin);
    options.page_bytes = page_bytes;
    options.bucket_count = buckets;
    options.ring_events = kRingEventsMin;
    options.clients_max = 8;
    options.eviction = policy;
    name_ = options.name;
    maintainer_.emplace(must(Maintainer::create(options), "segment"));
    cache_.emplace(must(Cache::open({.name = name_}), "attach"));
  }
  Cache& cache() { return *cache_; }
  Maintainer& maintainer() { return *maintainer_; }
  SegmentInfo info() const { return must(segment_info(*cache_), "info"); }

 private:
  void drop() {
    cache_.reset();
    maintainer_.reset();
    if (!name_.empty()) static_cast<void>(remove_segment(name_));
  }
  std::string name_{};
  std::optional<Maintainer> maintainer_{};
  std::optional<Cache> cache_{};
};

/// Memory that gives exactly this many pages, or the nearest.
void make_with_pages(Segment& segment, std::uint64_t pages, std::uint32_t page_bytes, std::uint32_t buckets, EvictionPolicy policy) {
  std::uint64_t memory = pages * page_bytes + kFixedBytes + std::uint64_t{buckets} * 160;
  for (std::uint64_t round = 0; round < kSizingRoundsMax; ++round) {
    segment.make(memory, page_bytes, buckets, policy);
    const std::uint64_t got = segment.info().pages;
    if (got == pages) return;
    const auto off = static_cast<std::int64_t>(pages - got) * static_cast<std::int64_t>(page_bytes);
    memory = static_cast<std::uint64_t>(static_cast<std::int64_t>(memory) + (round < 6 ? off : off / 2));
  }
  die("no segment has " + std::to_string(pages) + " pages of " + std::to_string(page_bytes));
}

struct Blocks {
  std::uint32_t page_bytes = 0;
  std::uint64_t pages = 0;
  std::uint64_t block_bytes = 0;
  double error = 1;
};

/// Pages and blocks for a number of equal objects: the mean of what is resident is to be `objects`,
/// when a reserve of free blocks moves between 1/200 and 1/100.
Blocks choose_blocks(std::uint64_t objects) {
  const double blocks = objects < 200 ? static_cast<double>(objects) + 0.5 : static_cast<double>(objects) * (1 + 0.0075);
  Blocks best;
  for (const std::uint32_t page : {4096u, 16384u, 65536u}) {
    for (std::uint64_t base = 256; base <= page / 2; base *= 2) {
      for (std::uint64_t eighth = 8; eighth < 16; ++eighth) {
        const std::uint64_t block = base * eighth / 8;
        const std::uint64_t each = page / block;
        if (block > page / 2 || each < 2) continue;
        const auto pages = static_cast<std::uint64_t>(std::llround(blocks / static_cast<double>(each)));
        if (pages < 8 || pages * page + kFixedBytes / 2 < kSegmentBytesMin) continue;
        const double error = std::abs(static_cast<double>(pages * each) / blocks - 1);
        const bool smaller = best.pages * best.page_bytes > pages * page;
        if (error < best.error - 1e-4 || (error < best.error + 1e-4 && smaller)) best = {page, pages, block, error};
      }
    }
  }
  if (best.pages == 0) die("no segment for " + std::to_string(objects) + " objects");
  return best;
}

}  // namespace

ReplayResult replay(const Trace& trace, const ReplayOptions& options) {
  Segment segment;
  ReplayResult result;
  // How long a value must be so that its record has a given size.
  const std::uint32_t probe = ~std::uint32_t{0};
  SetOptions set;
  if (!options.cost.empty()) set.cost = 1.0;
  segment.make(kSegmentBytesMin * 2, 0, 0, options.policy);
  static_cast<void>(must(segment.cache().set(key_of(probe), "", set), "probe"));
  const std::uint64_t overhead = must(segment.cache().inspect(key_of(probe)), "probe").bytes;

  std::uint64_t object_value_bytes = 0;
  std::uint64_t step_every = 1;
  if (trace.sized) {
    const std::uint32_t page_bytes = options.capacity < (std::uint64_t{8} << 20) ? 4096 : options.capacity < (std::uint64_t{64} << 20) ? 16384 : 65536;
    const std::uint64_t pages = options.capacity / page_bytes;
    const auto buckets = static_cast<std::uint32_t>(std::max<std::uint64_t>(64, options.capacity / 200 / 4));
    make_with_pages(segment, pages, page_bytes, buckets, options.policy);
    result.capacity_got = segment.info().data_bytes;
  } else {
    const Blocks blocks = choose_blocks(options.capacity);
    make_with_pages(segment, blocks.pages, blocks.page_bytes,
                    static_cast<std::uint32_t>(std::max<std::uint64_t>(4, options.capacity / 3)), options.policy);
    object_value_bytes = blocks.block_bytes - overhead;
    result.capacity_got = blocks.pages * (blocks.page_bytes / blocks.block_bytes);
    step_every = std::max<std::uint64_t>(1, options.capacity / 400);
  }

  Cache& cache = segment.cache();
  const std::string bytes(std::max<std::uint64_t>(std::uint64_t{1} << 26, object_value_bytes), 'v');
  std::vector<char> sink(64);
  std::uint64_t resident_sum = 0;
  std::uint64_t resident_samples = 0;
  std::uint64_t sets = 0;
  const auto tend = [&] {
    const double before = cpu_now_s();
    while (segment.maintainer().evict(kEvictionsPerStep) >= kEvictionsPerStep) {
    }
    result.sweep_cpu_s += cpu_now_s() - before;
  };
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    const Request& r = trace.requests[i];
    const double cost = cost_of(options.cost, r.key, r.size);
    result.cost_all += cost;
    ++result.requests;
    if (i >= trace.requests.size() / 2 && i % std::max<std::size_t>(1, trace.requests.size() / 100) == 0) {
      resident_sum += must(cache.size(), "size");
      ++resident_samples;
    }
    if (cache.get_into(key_of(r.key), sink)) continue;
    ++result.misses;
    result.cost_missed += cost;
    if (!options.cost.empty()) set.cost = cost;
    std::uint64_t value_bytes = object_value_bytes;
    if (trace.sized) value_bytes = options.overhead_on_top ? r.size : r.size > overhead ? r.size - overhead : 0;
    const auto written = cache.set(key_of(r.key), std::string_view{bytes}.substr(0, value_bytes), set);
    if (!written) {
      if (written.code() != Errc::invalid_argument && written.code() != Errc::no_space) die("set: " + to_string(written.error()));
      ++result.refused;
    }
    if (++sets % step_every == 0) tend();
  }
  const SegmentInfo info = segment.info();
  result.evicted = info.totals.evicted;
  result.writers_evicted = info.totals.waited_for_room;
  result.resident_mean = resident_samples == 0 ? 0 : resident_sum / resident_samples;
  if (info.keys > 0) result.block_bytes_mean = info.used_bytes / info.keys;
  return result;
}

}  // namespace cachee::bench
