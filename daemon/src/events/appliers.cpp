#include "events/appliers.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "core/dependencies.hpp"
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

Outcome<void> mark(Cache& cache, const Effect& once, std::string_view value, Condition condition, const Provenance& from) {
  SetOptions options;
  options.condition = condition;
  if (once.ttl_ms) options.ttl = std::chrono::milliseconds{*once.ttl_ms};
  options.provenance = from;
  return settle(cache.set(std::string{kOnceKeyPrefix} + once.key, value, options).error());
}

Outcome<void> apply_one(Cache& cache, const Effect& effect, const Provenance& from) {
  switch (effect.kind) {
    case EffectKind::set: return settle(cache.set(effect.key, effect.value, options_of(effect, from)).error());
    case EffectKind::del: return settle(cache.erase(effect.key, {.cause = Cause::trigger, .provenance = from}).error());
    case EffectKind::invalidate: return settle(cache.erase(effect.key, {.cause = Cause::invalidate, .provenance = from}).error());
    case EffectKind::incr: return settle(cache.increment(effect.key, effect.delta, {.provenance = from}).error());
    case EffectKind::expire:
      // A deadline that is over deletes, as in Redis; left to the sweep, the event would not know whose doing it is.
      if (effect.ttl_ms.value_or(0) <= 0) return settle(cache.erase(effect.key, {.cause = Cause::trigger, .provenance = from}).error());
      return settle(cache.touch(effect.key, std::chrono::milliseconds{*effect.ttl_ms}).error());
    case EffectKind::depends_on: {
      auto added = add_dependencies(cache, effect.key, effect.depends_on, from);
      return added || is_settled(added.failure().code) ? Outcome<void>{} : added;
    }
    case EffectKind::once: return mark(cache, effect, effect.value, Condition::absent, from);
    case EffectKind::log:
    case EffectKind::webhook:
    case EffectKind::warm:
    case EffectKind::metric: return {};
  }
  return {};
}

Refusal refusal_of(const Failure& failure, std::span<const Effect> effects, std::size_t index) {
  const bool for_room = failure.code == Errc::full;
  return {fmt::format("{}: writing key \"{}\" into the cache: {}", for_room ? "BACKPRESSURE" : "error", effects[index].key, failure.text),
          for_room, effects_left(effects, index)};
}

}  // namespace

bool is_cache_effect(const Effect& effect) noexcept {
  return !is_store_effect(effect) && effect.kind != EffectKind::metric;
}

bool is_store_effect(const Effect& effect) noexcept {
  return effect.kind == EffectKind::log || effect.kind == EffectKind::webhook || effect.kind == EffectKind::warm;
}

std::vector<Effect> effects_left(std::span<const Effect> effects, std::size_t applied) {
  std::vector<Effect> left;
  for (std::size_t i = 0; i < effects.size(); ++i) {
    const bool counts_in_the_end = effects[i].kind == EffectKind::once || effects[i].kind == EffectKind::metric;
    if (counts_in_the_end || (i >= applied && is_cache_effect(effects[i]))) left.push_back(effects[i]);
  }
  return left;
}

std::optional<Refusal> apply_effects(Cache& cache, std::span<const Effect> effects, const Provenance& from) {
  for (std::size_t i = 0; i < effects.size(); ++i) {
    if (auto applied = apply_one(cache, effects[i], from); !applied) return refusal_of(applied.failure(), effects, i);
  }
  for (const Effect& effect : effects) {
    if (effect.kind != EffectKind::once) continue;
    auto marked = mark(cache, effect, kOnceOver, Condition::present, from);
    if (!marked) return refusal_of(marked.failure(), effects, effects.size() - 1);
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
