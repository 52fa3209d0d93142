// Carries out the cache effects of handlers that succeeded: set, del, incr, ... The rest (log lines,
// outbox rows) went into the store's batch before.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cachee/cache.hpp>

#include "core/dependencies.hpp"
#include "core/outcome.hpp"
#include "script/effects.hpp"
#include "store/records.hpp"

namespace cachee::daemon {

/// Why a write of a handler could not be applied.
struct Refusal {
  std::string text{};
  bool for_room = false;    // the ring was full: not the handler's fault
  std::size_t applied = 0;  // effects before the one that was refused
};

/// A write to the cache: applied in D3. The others are rows of the store (D1), or figures.
[[nodiscard]] bool is_cache_effect(const Effect& effect) noexcept;
[[nodiscard]] bool is_store_effect(const Effect& effect) noexcept;

/// Of `set{depends_on=}` or `depends_on`.
[[nodiscard]] bool has_dependencies(std::span<const Effect> effects) noexcept;

/// Takes into the graph what these effects will make of it. Fails, with the graph as it was, when one of them would
/// close a cycle.
[[nodiscard]] Outcome<void> plan_dependencies(DependencyGraph& graph, std::span<const Effect> effects);

/// Applies effects in order. The writes carry `from`, so that events they set off know their parent.
///
/// @return  nothing, or why the run has to be tried again: the ring is full, or there is no memory.
///          What was applied before stays: the next attempt begins behind it.
[[nodiscard]] std::optional<Refusal> apply_effects(Cache& cache, std::span<const Effect> effects,
                                                   const Provenance& from);

/// A fetched value (`cachee.warm`). False: try again later.
[[nodiscard]] bool apply_warmed(Cache& cache, std::string_view key, std::string_view body,
                                std::optional<std::int64_t> ttl_ms, std::optional<double> cost,
                                const Provenance& from);

}  // namespace cachee::daemon
