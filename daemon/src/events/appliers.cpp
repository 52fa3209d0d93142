#include "events/appliers.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "core/log.hpp"

namespace cachee::daemon {
namespace {

SetOptions options_of(const Effect& effect, const Provenance& from) {
  SetOptions options;
  if (effect.ttl_ms) options.ttl = std::chrono::milliseconds{*effect.ttl_ms};
  options.cost = effect.cost;
  options.metadata = effect.metadata;
  options.depends_on = effect.depends_on;
  if (effect.only_absent) options.condition = Condition::absent;
  if (effect.only_present) options.condition = Condition::present;
  options.provenance = from;
  return options;
}

/// Outcomes that are an answer and not a failure of the run: the key was not there, was there
/// already, or the condition of the write did not hold.
bool is_settled(Errc code) noexcept {
  return code == Errc::ok || code == Errc::not_found || code == Errc::exists || code == Errc::stale;
}

Outcome<void> settle(const Error& error) {
  if (is_settled(error.code)) return {};
  return Failure{error.code, to_string(error)};
}

Outcome<void> apply_one(Cache& cache, const Effect& effect, const Provenance& from) {
  switch (effect.kind) {
    case EffectKind::set: return settle(cache.set(effect.key, effect.value, options_of(effect, from)).error());
    case EffectKind::del: return settle(cache.erase(effect.key, {.cause = Cause::trigger, .provenance = from}).error());
    case EffectKind::invalidate: return settle(cache.erase(effect.key, {.cause = Cause::invalidate, .provenance = from}).error());
    case EffectKind::incr: return settle(cache.increment(effect.key, effect.delta, {.provenance = from}).error());
    case EffectKind::expire: return settle(cache.touch(effect.key, std::chrono::milliseconds{effect.ttl_ms.value_or(0)}).error());
    case EffectKind::depends_on: {
      auto added = add_dependencies(cache, effect.key, effect.depends_on, from);
      return added || is_settled(added.failure().code) ? Outcome<void>{} : added;
    }
    case EffectKind::once: {
      SetOptions options;
      options.condition = Condition::absent;
      if (effect.ttl_ms) options.ttl = std::chrono::milliseconds{*effect.ttl_ms};
      options.provenance = from;
      return settle(cache.set(std::string{kOnceKeyPrefix} + effect.key, "1", options).error());
    }
    case EffectKind::log:
    case EffectKind::webhook:
    case EffectKind::warm:
    case EffectKind::metric: return {};
  }
  return {};
}

/// One effect as the graph of dependencies will have it.
Outcome<void> plan_one(DependencyGraph& graph, const Effect& effect) {
  switch (effect.kind) {
    case EffectKind::set:
      if (auto sound = graph.check(effect.key, effect.depends_on); !sound) return sound;
      // Whether a condition holds is not known before it is applied: the key may keep the parents it has.
      if (effect.only_absent || effect.only_present) {
        graph.add(effect.key, effect.depends_on);
      } else {
        graph.replace(effect.key, effect.depends_on);
      }
      return {};
    case EffectKind::depends_on:
      if (auto sound = graph.check(effect.key, effect.depends_on); !sound) return sound;
      graph.add(effect.key, effect.depends_on);
      return {};
    case EffectKind::del:
    case EffectKind::invalidate:
      graph.replace(effect.key, {});
      return {};
    default: return {};
  }
}

}  // namespace

bool is_cache_effect(const Effect& effect) noexcept {
  return !is_store_effect(effect) && effect.kind != EffectKind::metric;
}

bool is_store_effect(const Effect& effect) noexcept {
  return effect.kind == EffectKind::log || effect.kind == EffectKind::webhook || effect.kind == EffectKind::warm;
}

bool has_dependencies(std::span<const Effect> effects) noexcept {
  return std::any_of(effects.begin(), effects.end(), [](const Effect& effect) { return !effect.depends_on.empty(); });
}

Outcome<void> plan_dependencies(DependencyGraph& graph, std::span<const Effect> effects) {
  DependencyGraph planned = graph;
  for (const Effect& effect : effects) {
    if (auto sound = plan_one(planned, effect); !sound) return sound;
  }
  graph = std::move(planned);
  return {};
}

std::optional<Refusal> apply_effects(Cache& cache, std::span<const Effect> effects, const Provenance& from) {
  for (const Effect& effect : effects) {
    const auto applied = apply_one(cache, effect, from);
    if (applied) continue;
    const bool for_room = applied.failure().code == Errc::full;
    return Refusal{fmt::format("{}: writing key \"{}\" into the cache: {}", for_room ? "BACKPRESSURE" : "error", effect.key,
                               applied.failure().text),
                   for_room, static_cast<std::size_t>(&effect - effects.data())};
  }
  return std::nullopt;
}

bool apply_warmed(Cache& cache, std::string_view key, std::string_view body, std::optional<std::int64_t> ttl_ms,
                  std::optional<double> cost, const Provenance& from) {
  SetOptions options;
  if (ttl_ms) options.ttl = std::chrono::milliseconds{*ttl_ms};
  options.cost = cost;
  options.provenance = from;
  const auto written = cache.set(key, body, options);
  if (written) return true;
  log::warn("warming key \"{}\": {}", key, to_string(written.error()));
  return written.code() == Errc::invalid_argument;  // it will never fit: do not try for ever
}

}  // namespace cachee::daemon
