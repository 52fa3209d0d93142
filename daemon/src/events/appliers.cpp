#include "events/appliers.hpp"

#include <chrono>

#include <fmt/format.h>

#include "core/log.hpp"

namespace cachee::daemon {
namespace {

constexpr int kRaceTriesMax = 100;

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

/// Adds parents to a key's own list: same value, deadline and fields, unless another write came
/// between, then again.
Error add_parents(Cache& cache, const Effect& effect, const Provenance& from) {
  for (int tries = 0; tries < kRaceTriesMax; ++tries) {
    const auto entry = cache.inspect(effect.key);
    if (!entry) return entry.error();
    SetOptions options;
    options.keep_ttl = true;
    options.cost = entry->cost;
    options.metadata = entry->metadata;
    options.depends_on = entry->depends_on;
    for (const std::string& parent : effect.depends_on) options.depends_on.push_back(parent);
    options.if_version = entry->version;
    options.provenance = from;
    const auto written = cache.set(effect.key, entry->value, options);
    if (written || written.code() != Errc::stale) return written.error();
  }
  return Error{Errc::busy, 0, 0};
}

Error apply_one(Cache& cache, const Effect& effect, const Provenance& from) {
  switch (effect.kind) {
    case EffectKind::set: return cache.set(effect.key, effect.value, options_of(effect, from)).error();
    case EffectKind::del: return cache.erase(effect.key, {.cause = Cause::trigger, .provenance = from}).error();
    case EffectKind::invalidate: return cache.erase(effect.key, {.cause = Cause::invalidate, .provenance = from}).error();
    case EffectKind::incr: return cache.increment(effect.key, effect.delta, {.provenance = from}).error();
    case EffectKind::expire: return cache.touch(effect.key, std::chrono::milliseconds{effect.ttl_ms.value_or(0)}).error();
    case EffectKind::depends_on: return add_parents(cache, effect, from);
    case EffectKind::once: {
      SetOptions options;
      options.condition = Condition::absent;
      if (effect.ttl_ms) options.ttl = std::chrono::milliseconds{*effect.ttl_ms};
      options.provenance = from;
      return cache.set(std::string{kOnceKeyPrefix} + effect.key, "1", options).error();
    }
    case EffectKind::log:
    case EffectKind::webhook:
    case EffectKind::warm:
    case EffectKind::metric: return {};
  }
  return {};
}

/// Outcomes that are an answer and not a failure of the run: the key was not there, was there
/// already, or the condition of the write did not hold.
bool is_settled(const Error& error) noexcept {
  switch (error.code) {
    case Errc::ok:
    case Errc::not_found:
    case Errc::exists:
    case Errc::stale: return true;
    default: return false;
  }
}

}  // namespace

bool is_cache_effect(const Effect& effect) noexcept {
  return !is_store_effect(effect) && effect.kind != EffectKind::metric;
}

bool is_store_effect(const Effect& effect) noexcept {
  return effect.kind == EffectKind::log || effect.kind == EffectKind::webhook || effect.kind == EffectKind::warm;
}

std::optional<Refusal> apply_effects(Cache& cache, std::span<const Effect> effects, const Provenance& from) {
  for (const Effect& effect : effects) {
    const Error error = apply_one(cache, effect, from);
    if (is_settled(error)) continue;
    const bool for_room = error.code == Errc::full;
    return Refusal{fmt::format("{}: writing key \"{}\" into the cache: {}", for_room ? "BACKPRESSURE" : "error", effect.key,
                               to_string(error)),
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
