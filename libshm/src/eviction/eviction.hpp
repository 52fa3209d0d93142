// Which record goes when memory is short, and how memory moves between size classes.
//
// Epoch window sweep: a reader stores one small word per slot (epoch, saturating count), and only
// the first time the key is hit in an epoch. The sweep looks at windows of neighbouring slots
// (hash order, so a random sample) and evicts those of lowest score (score.hpp): no record is touched.
// Ages are in epochs; the supervisor begins one every 1/64 of a turnover of the keys or every 1/32 of one of the
// bytes, whatever comes first: large values, too, make small ones old. A key that was evicted leaves its
// fingerprint, f and last epoch in the ghost; when it comes back it goes on from there.
//
//   [EV-1] Eviction words live in memory that is never anything else: readers store unprotected. A
//          lost race loses one count.
//   [EV-2] A record whose deadline has passed is never evicted: it expires. The last look at the clock is right in front
//          of X2, which fails when anybody has seen the deadline pass since.
//   [EV-3] A record is evicted only when its EVICT event, if one is owed, is admitted.
//   [EV-4] Heat and ghost are hints: any value is safe, and no invariant of another module reads them.
//
// In the steady state the supervisor keeps a reserve of free blocks in every size class (Evictor),
// so that writers need make_room() only when they are faster than it, or it is dead. That a class as a
// whole is dead no record of it tells: calibration.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include <cachee/maintain.hpp>

#include "clients/clients.hpp"
#include "eviction/candidates.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

inline constexpr std::uint64_t kEpochsPerTurnover = 64;  // expiry-eviction.md: 16 to 256 give about the same

/// Octave of a recomputation cost, clamped: one absurd cost must not pin a record for ever.
[[nodiscard]] unsigned cost_class_of(double cost) noexcept;
/// That of the cost in a record's extension.
[[nodiscard]] unsigned cost_class_in(std::string_view extension) noexcept;
/// First word of a key that was just inserted; what the ghost knows of it is taken over.
[[nodiscard]] std::uint32_t first_heat(Context& context, std::uint64_t hash, std::string_view extension) noexcept;
/// An overwrite is a use, and may bring another cost.
inline void touch_overwritten(const View& view, Heat& heat, std::string_view extension) noexcept {
  const std::uint32_t w = heat.load_relaxed();
  const unsigned cost_class = extension.empty() ? layout::HeatWord::kCostClassOne : cost_class_in(extension);
  const std::uint32_t touched = layout::HeatWord::touched(w, view.header->evict_epoch.load_relaxed());
  if (const std::uint32_t now = layout::HeatWord::with_cost_class(touched, cost_class); now != w) heat.store_relaxed(now);
}
/// Takes a key that was just evicted into the ghost, and its cost into the counts.
void remember_evicted(Context& context, std::uint64_t hash, std::uint32_t heat, double cost) noexcept;

/// Leaves a read to the supervisor's estimate of other sizes, if its key is of the sample.
void keep_sample(Context& context, std::uint64_t hash) noexcept;
[[nodiscard]] inline bool is_sampled(const View& view, std::uint64_t hash) noexcept {
  return layout::sample_bits(hash) < view.header->sample_below.load_relaxed();
}
inline void sample_read(Context& context, std::uint64_t hash) noexcept {
  if (is_sampled(*context.view, hash)) [[unlikely]] keep_sample(context, hash);
}

/// Where a record is linked, found by its own key; slot is null when it is not, or its key is torn.
struct Linked {
  std::uint64_t bucket = 0;
  Word* slot = nullptr;
  std::uint64_t word = 0;
  Heat* heat = nullptr;
};
[[nodiscard]] Linked find_by_key(const View& view, std::uint64_t unit) noexcept;

/// What came of an attempt to make room.
enum class Room : std::uint8_t {
  freed,    // try again
  pending,  // evicted, but events that are not acknowledged hold the memory still
  none,     // nothing may be evicted
};

/// Frees room for a record of `record_bytes`: evicts of its class, or empties pages. Called by the
/// allocator's slow path, inside an operation.
Room make_room(Context& context, std::uint64_t record_bytes) noexcept;

/// Evicts the lowest score of one chain, whose slots are all taken. False: nothing in it may go now.
bool evict_in_chain(Context& context, std::uint64_t bucket) noexcept;

/// Evicts every record of a page and gives the page back. False: something in it is in use.
bool empty_page(Context& context, std::uint64_t page) noexcept;
/// Empties neighbouring pages for a run: those whose contents are worth least together. The first of them, when
/// all are free.
std::optional<std::uint64_t> make_hole(Context& context, EvictionPolicy policy, std::uint64_t pages) noexcept;
/// Moves every record of a slab page to other free blocks of its class and gives the page back. Not
/// inside an operation. False: something in it is in use, or there are too few free blocks.
bool vacate_page(Context& context, std::uint64_t page) noexcept;

}  // namespace cachee::shm
