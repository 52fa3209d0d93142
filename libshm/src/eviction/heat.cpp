#include <algorithm>
#include <bit>
#include <cmath>

#include "eviction/eviction.hpp"
#include "keyspace/keyspace.hpp"

namespace cachee::shm {

using layout::GhostWord;
using layout::HeatWord;

namespace {

Heat* ghost_set(const View& view, std::uint64_t hash) noexcept {
  const std::uint64_t sets = layout::ghost_sets(view.shape.bucket_count);
  const auto set = static_cast<std::uint64_t>((static_cast<unsigned __int128>(hash) * sets) >> 64);
  return view.ghost + set * layout::kGhostWays;
}
/// Not 0, so that no entry is taken for an empty one.
std::uint32_t fingerprint_of(std::uint64_t hash) noexcept {
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(View::tag_of(hash)));
}

}  // namespace

unsigned cost_class_of(double cost) noexcept {
  if (!(cost > 0)) return 0;
  constexpr int kLast = static_cast<int>(HeatWord::kCostClasses) - 1;
  const double bounded = std::min(cost, std::ldexp(1.0, kLast));  // the largest numbers have no octave above
  const int octave = std::ilogb(bounded * std::sqrt(2.0));        // rounded to the nearest
  return static_cast<unsigned>(std::clamp(octave + static_cast<int>(HeatWord::kCostClassOne), 0, kLast));
}

unsigned cost_class_in(std::string_view extension) noexcept { return cost_class_of(extension_cost(extension)); }

std::uint32_t first_heat(Context& context, std::uint64_t hash, std::string_view extension) noexcept {
  const View& view = *context.view;
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  const unsigned cost_class = extension.empty() ? HeatWord::kCostClassOne : cost_class_in(extension);
  if (view.header->ghost_used.load_relaxed() != 0) {
    const std::uint32_t fingerprint = fingerprint_of(hash);
    layout::Ghost* const set = ghost_set(view, hash);
    for (unsigned way = 0; way < layout::kGhostWays; ++way) {
      const std::uint32_t w = set[way].load_relaxed();
      if (w == 0 || GhostWord::fingerprint(w) != fingerprint) continue;
      set[way].store_relaxed(0);
      context.count(layout::kReturned);
      // It was away since its last hit; half of that time counts as its age.
      const std::uint32_t away = (static_cast<std::uint32_t>(epoch) - GhostWord::hit_epoch(w)) & HeatWord::kEpochMask;
      const std::uint32_t f = std::min(GhostWord::frequency(w) + 1, HeatWord::kFrequencyMax);
      return HeatWord::make(f, true, cost_class, epoch, epoch - away / 2);
    }
  }
  return HeatWord::make(0, false, cost_class, epoch, epoch);
}

void remember_evicted(Context& context, std::uint64_t hash, std::uint32_t heat, double cost) noexcept {
  const View& view = *context.view;
  if (cost > 0) {
    Word& sum = context.me->stats[layout::kEvictedCost];  // one writer
    sum.store_relaxed(cost_sum(sum.load_relaxed(), std::bit_cast<std::uint64_t>(cost)));
  }
  if (view.header->ghost_used.load_relaxed() == 0) view.header->ghost_used.store_relaxed(1);
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  layout::Ghost* const set = ghost_set(view, hash);
  unsigned oldest = 0;
  std::uint32_t oldest_away = 0;
  for (unsigned way = 0; way < layout::kGhostWays; ++way) {
    const std::uint32_t w = set[way].load_relaxed();
    const std::uint32_t away =
        w == 0 ? ~std::uint32_t{0} : (static_cast<std::uint32_t>(epoch) - GhostWord::hit_epoch(w)) & HeatWord::kEpochMask;
    if (away < oldest_away) continue;
    oldest = way;
    oldest_away = away;
  }
  set[oldest].store_relaxed(GhostWord::make(fingerprint_of(hash), HeatWord::frequency(heat), HeatWord::hit_epoch(heat)));
}

std::uint32_t halved(std::uint32_t heat, std::uint64_t epoch) noexcept {
  const std::uint32_t age = HeatWord::age(heat, epoch);
  const std::uint32_t recency = std::min(HeatWord::recency(heat, epoch), age / 2);
  return HeatWord::make(HeatWord::frequency(heat) / 2, HeatWord::returned(heat), HeatWord::cost_class(heat), epoch - recency,
                        epoch - age / 2);
}

}  // namespace cachee::shm
