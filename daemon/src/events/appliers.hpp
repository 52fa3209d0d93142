// Carries out the cache effects of handlers that succeeded: set, del, incr, ... The rest (log lines,
// outbox rows) went into the store's batch before.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cachee/cache.hpp>

#include "core/outcome.hpp"
#include "script/effects.hpp"
#include "store/records.hpp"

namespace cachee::daemon {

/// Why a write of a handler could not be applied.
struct Refusal {
  std::string text{};
  bool for_room = false;       // the ring was full: not the handler's fault
  std::vector<Effect> left{};  // what is still to be applied, in order; the one that was refused is the first write
};

/// A write to the cache: applied in D3. The others are rows of the store (D1), or figures.
[[nodiscard]] bool is_cache_effect(const Effect& effect) noexcept;
[[nodiscard]] bool is_store_effect(const Effect& effect) noexcept;

/// What cache writes of a run carry.
[[nodiscard]] inline Provenance next_provenance(const Provenance& of_event, std::uint64_t event_number) noexcept {
  return {event_number, of_event.chain != 0 ? of_event.chain : event_number, of_event.depth + 1};
}

/// What is left to do of effects of which the first `applied` are in the cache and the store has those that are its. A
/// claim of `once` is left until all is done, and so are figures.
[[nodiscard]] std::vector<Effect> effects_left(std::span<const Effect> effects, std::size_t applied);

/// Applies effects in order. The writes carry `from`, so that events they set off know their parent.
///
/// A claim of `once` is a key that holds whose it is from its place in the order on, and kOnceOver when all the rest is
/// applied. So a run that a crash ended half-way finds its own claim and does all of it again, one that was whole finds that
/// it is over, and to others the id is claimed in both cases.
///
/// @return  nothing, or why something is left to be tried again: the ring is full, or there is no memory.
[[nodiscard]] std::optional<Refusal> apply_effects(Cache& cache, std::span<const Effect> effects,
                                                   const Provenance& from);

/// A fetched value (`cachee.warm`). False: try again later.
[[nodiscard]] bool apply_warmed(Cache& cache, std::string_view key, std::string_view body,
                                std::optional<std::int64_t> ttl_ms, std::optional<double> cost,
                                const Provenance& from);

}  // namespace cachee::daemon
