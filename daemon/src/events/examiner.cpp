#include "events/examiner.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/units.hpp"
#include "events/appliers.hpp"

namespace cachee::daemon {
namespace {

using Numbers = std::unordered_map<std::string_view, std::optional<std::int64_t>>;

/// `numbers` has the keys that the run wrote before; none: it wrote a value itself, and has seen what that is.
std::optional<Objection> look_at_sum(const Cache& cache, const Effect& effect, Numbers& numbers) {
  const auto [at, first] = numbers.try_emplace(effect.key, 0);
  std::optional<std::int64_t>& number = at->second;
  if (first) {
    const auto value = cache.get(effect.key);
    if (value) number = parse_integer(value->bytes);
    if (!number) return Objection{fmt::format("cachee.incr: the value of \"{}\" is not an integer or out of range", effect.key)};
  }
  if (number && __builtin_add_overflow(*number, effect.delta, &*number)) {
    return Objection{fmt::format("cachee.incr: adding to \"{}\" would overflow", effect.key)};
  }
  return std::nullopt;
}

/// One effect as the graph of dependencies will have it.
Outcome<void> plan_one(DependencyGraph& graph, const Effect& effect) {
  switch (effect.kind) {
    case EffectKind::set:
      if (auto sound = graph.check(effect.key, effect.depends_on); !sound) return sound;
      // Whether a condition holds is not known before it is applied: the key may keep the parents it has. It never has
      // both lists, so it does not matter how many they are together.
      if (effect.only_absent || effect.only_present) {
        static_cast<void>(graph.add(effect.key, effect.depends_on));
      } else {
        graph.replace(effect.key, effect.depends_on);
      }
      return {};
    case EffectKind::depends_on:
      if (auto sound = graph.check(effect.key, effect.depends_on); !sound) return sound;
      return graph.add(effect.key, effect.depends_on);
    case EffectKind::del:
    case EffectKind::invalidate:
      graph.replace(effect.key, {});
      return {};
    default: return {};
  }
}

}  // namespace

std::optional<Objection> Examiner::look_at(std::span<const Effect> effects) {
  if (auto objection = look_at_writes(effects)) return objection;
  if (auto objection = look_at_claims(effects)) return objection;
  return look_at_dependencies(effects);
}

std::optional<Objection> Examiner::look_at_writes(std::span<const Effect> effects) const {
  Numbers numbers;
  const bool adds = std::any_of(effects.begin(), effects.end(), [](const Effect& effect) { return effect.kind == EffectKind::incr; });
  for (const Effect& effect : effects) {
    if (effect.kind == EffectKind::set && effect.value.size() > value_bytes_max_) {
      return Objection{fmt::format("cachee.set: the value of \"{}\" has {} bytes, a value has at most {} (max_value)", effect.key,
                                   effect.value.size(), value_bytes_max_)};
    }
    if (!adds || !is_cache_effect(effect)) continue;
    if (effect.kind != EffectKind::incr) {
      numbers.insert_or_assign(effect.key, std::nullopt);
    } else if (auto objection = look_at_sum(cache_, effect, numbers)) {
      return objection;
    }
  }
  return std::nullopt;
}

std::optional<Objection> Examiner::look_at_claims(std::span<const Effect> effects) {
  const auto is_claim = [](const Effect& effect) { return effect.kind == EffectKind::once; };
  for (const Effect& effect : effects) {
    if (!is_claim(effect)) continue;
    const auto before = claims_.find(effect.key);
    const auto mark = cache_.get(std::string{kOnceKeyPrefix} + effect.key);
    if ((before != claims_.end() && before->second != effect.value) || (mark && mark->bytes != effect.value)) {
      return Objection{.text = fmt::format("cachee.once: \"{}\" went to another run in the meantime", effect.key), .was_beaten = true};
    }
  }
  for (const Effect& effect : effects) {
    if (is_claim(effect)) claims_.insert_or_assign(effect.key, effect.value);
  }
  return std::nullopt;
}

std::optional<Objection> Examiner::look_at_dependencies(std::span<const Effect> effects) {
  if (!dependencies_) return std::nullopt;
  DependencyGraph planned = graph_;
  for (const Effect& effect : effects) {
    if (auto sound = plan_one(planned, effect); !sound) return Objection{.text = sound.failure().text, .for_good = true};
  }
  graph_ = std::move(planned);
  return std::nullopt;
}

bool has_dependencies(std::span<const Effect> effects) noexcept {
  return std::any_of(effects.begin(), effects.end(), [](const Effect& effect) { return !effect.depends_on.empty(); });
}

bool is_too_deep(std::span<const Effect> effects, std::uint32_t depth, std::uint32_t depth_max) noexcept {
  return depth > depth_max && std::any_of(effects.begin(), effects.end(), [](const Effect& effect) {
           return is_cache_effect(effect) || effect.kind == EffectKind::warm;
         });
}

}  // namespace cachee::daemon
