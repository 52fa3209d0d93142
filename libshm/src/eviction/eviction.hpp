// Which record goes when memory is short.
//
// Epoch window sweep: a reader stores one small word per slot (epoch, saturating count), and only
// the first time the key is hit in an epoch. The sweep looks at windows of neighbouring slots
// (hash order, so a random sample) and evicts the one of lowest score:
//
//   score = log2(f + 1/4) + 2[returned] - (log2 age + log2 recency) / 2 - log2 size + g log2 cost
//
//   [EV-1] Eviction words live in memory that is never anything else: readers store unprotected.
//   [EV-2] A record whose deadline has passed is never evicted: it expires.
//   [EV-3] A record is evicted only when its EVICT event, if one is owed, is admitted.
#pragma once

#include <cstdint>
#include <optional>

#include <cachee/maintain.hpp>

#include "clients/clients.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

inline constexpr std::uint64_t kWindowSlots = 32;

struct Victim {
  std::uint64_t bucket = 0;
  Word* slot = nullptr;
  std::uint64_t word = 0;
};

/// The lowest score in the next window. `size_class`: only records of that class, or any.
[[nodiscard]] std::optional<Victim> choose_victim(Context& context, EvictionPolicy policy,
                                                  std::optional<unsigned> size_class) noexcept;

/// What came of an attempt to make room.
enum class Room : std::uint8_t {
  freed,    // try again
  pending,  // evicted, but events that are not acknowledged hold the memory still
  none,     // nothing may be evicted
};

/// Frees room for a record of `record_bytes`: evicts of its class, or empties pages. Called by the
/// allocator's slow path.
Room make_room(Context& context, std::uint64_t record_bytes) noexcept;

/// Evicts every record of a page and gives the page back. False: something in it is in use.
bool empty_page(Context& context, std::uint64_t page) noexcept;

}  // namespace cachee::shm
