#include "events/registry.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/clock.hpp"

namespace cachee::daemon {
namespace {

// Whoever stands still between deciding an event and appending it is helped within a part of this.
constexpr std::int64_t kLateEventNs = 2'000'000'000;

/// High priority first, then oldest.
void sort_triggers(std::vector<TriggerSpec>& triggers) {
  std::stable_sort(triggers.begin(), triggers.end(), [](const TriggerSpec& a, const TriggerSpec& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.id < b.id;
  });
}

Failure ring_too_full() {
  return {Errc::timed_out, "the event ring stayed too full to register safely: try again when it has drained"};
}

bool same_interest(const TriggerSpec& left, const TriggerSpec& right) noexcept {
  return left.pattern == right.pattern && left.events == right.events && left.sample == right.sample && left.enabled == right.enabled;
}

/// `next` takes the place of `before` in the table of a generation: what that is owed stays owed.
void follow(TriggerSpec& next, const TriggerSpec& before, std::uint64_t generation) {
  next.slot = before.slot;
  next.past = before.past;
  next.since_generation = before.since_generation;
  if (same_interest(next, before)) return;
  next.since_generation = generation;
  if (!before.enabled || before.since_generation == generation) return;
  next.past.push_back({before.pattern, before.events, before.sample, before.since_generation, generation});
}

}  // namespace

Outcome<void> Registry::load() {
  auto stored = store_.load_triggers();
  if (!stored) return stored.failure();
  auto seen = read_triggers(keeper_.cache());
  if (!seen) return Failure{seen.error().code, "the segment's trigger table: " + to_string(seen.error())};
  for (TriggerSpec& spec : *stored) {
    const auto at = std::find_if(seen->triggers.begin(), seen->triggers.end(),
                                 [&](const TriggerSpec& t) { return t.name == spec.name && t.slot == spec.slot; });
    if (at != seen->triggers.end()) {
      follow(spec, *at, seen->generation + 1);
      continue;
    }
    // The segment does not know it: a new segment, or we were killed before we could publish.
    spec.since_generation = seen->generation + 1;
    if (auto begun = begin_account(spec); !begun) return begun;
  }
  sort_triggers(*stored);
  // Nothing to tell the clients: the ring may be full of events that only a running dispatcher drains.
  if (*stored == seen->triggers) {
    adopt(std::move(*seen));
    return {};
  }
  unpublished_ = std::move(*stored);
  adopt(std::move(*seen));
  return {};
}

void Registry::catch_up() {
  if (!unpublished_) return;
  TriggerTable next;
  next.triggers = *unpublished_;
  if (const auto published = keeper_.publish_triggers(next, std::chrono::milliseconds{0}); !published) return;
  next.generation = trigger_generation(keeper_.cache());
  unpublished_.reset();
  adopt(std::move(next));
}

/// Behind the last event that is in the ring now.
std::uint64_t Registry::ring_end() const {
  const EventReader reader = keeper_.reader();
  const std::uint64_t tail = reader.tail();
  return reader.at(EventSeq{tail}).code() == Errc::would_block ? tail : tail + 1;  // it may lag by one
}

void Registry::adopt(TriggerTable table) {
  const TriggerTable before = std::exchange(table_, std::move(table));
  matcher_ = TriggerMatcher{table_};
  by_slot_.clear();
  for (std::uint32_t index = 0; index < table_.triggers.size(); ++index) {
    const std::uint32_t slot = table_.triggers[index].slot;
    if (slot >= by_slot_.size()) by_slot_.resize(std::size_t{slot} + 1, kNoIndex);
    by_slot_[slot] = index;
  }
  const std::uint64_t end = ring_end();
  published_.push_back({table_.generation, end, mono_ns()});
  for (const TriggerSpec& t : before.triggers) {
    if (find_slot(t.slot) == nullptr) removed_.push_back({t.slot, t.name, end});
  }
}

Outcome<void> Registry::begin_account(const TriggerSpec& spec) {
  // What the store and the spool still hold under this name was emitted once and moved there.
  if (auto reset = store_.reset_account(spec.name); !reset) return reset;
  const auto account = store_.account(spec.name);
  if (!account) return account.failure();
  Counters initial;
  initial.emitted = initial.moved = account->moved_in + spooled_(spec.name);
  keeper_.reset_counters(spec.slot, initial);
  return {};
}

void Registry::free_slots() {
  const std::uint64_t head = keeper_.reader().head();
  std::erase_if(removed_, [&](const Removed& gone) { return gone.ring_end <= head && !in_hand_(gone.slot, gone.trigger); });
}

std::optional<std::uint32_t> Registry::free_slot(const TriggerTable& next) const {
  std::set<std::uint32_t> used;
  for (const Removed& gone : removed_) used.insert(gone.slot);
  for (const TriggerSpec& t : next.triggers) used.insert(t.slot);
  for (std::uint32_t slot = 0; slot < keeper_.trigger_slots_max(); ++slot) {
    if (!used.contains(slot)) return slot;
  }
  return std::nullopt;
}

Outcome<void> Registry::put(std::vector<TriggerSpec> specs) {
  free_slots();
  TriggerTable next = table_;
  std::vector<std::string> fresh;
  for (TriggerSpec& spec : specs) {
    spec.registered_wall_ms = static_cast<std::uint64_t>(wall_ms());
    const auto at = std::find_if(next.triggers.begin(), next.triggers.end(),
                                 [&](const TriggerSpec& t) { return t.name == spec.name; });
    if (at != next.triggers.end() && at->is_group != spec.is_group) {
      return Failure{Errc::exists, fmt::format("{} is the name of a {}: remove that first, or choose another name", spec.name,
                                               at->is_group ? "consumer group" : "trigger")};
    }
    if (at != next.triggers.end()) {
      spec.paused = spec.paused || at->paused;
      follow(spec, *at, table_.generation + 1);
      *at = spec;
      continue;
    }
    const auto slot = free_slot(next);
    if (!slot) {
      return Failure{Errc::no_space, fmt::format("the trigger table is full ({} triggers, {} of them removed with runs on their way): "
                                                 "remove some, or give the segment more memory",
                                                 keeper_.trigger_slots_max(), removed_.size())};
    }
    spec.slot = *slot;
    spec.since_generation = table_.generation + 1;
    fresh.push_back(spec.name);
    next.triggers.push_back(spec);
  }
  if (auto ready = prepare(next); !ready) return ready;
  for (const TriggerSpec& put : specs) {
    TriggerSpec& spec = *std::find_if(next.triggers.begin(), next.triggers.end(), [&](const TriggerSpec& t) { return t.name == put.name; });
    const auto id = store_.next_trigger_id();
    if (!id) return id.failure();
    spec.id = *id;
    if (std::find(fresh.begin(), fresh.end(), spec.name) == fresh.end()) continue;
    if (auto begun = begin_account(spec); !begun) return begun;
  }
  return publish(std::move(next));
}

Outcome<void> Registry::remove(std::string_view name) {
  if (find(name) == nullptr) return Failure{Errc::not_found, fmt::format("no such trigger: {}", name)};
  TriggerTable next = table_;
  std::erase_if(next.triggers, [&](const TriggerSpec& t) { return t.name == name; });
  if (auto ready = prepare(next); !ready) return ready;
  return publish(std::move(next));
}

Outcome<void> Registry::change(std::string_view name, const std::function<void(TriggerSpec&)>& apply) {
  if (find(name) == nullptr) return Failure{Errc::not_found, fmt::format("no such trigger: {}", name)};
  TriggerTable next = table_;
  for (TriggerSpec& t : next.triggers) {
    if (t.name != name) continue;
    const TriggerSpec before = t;
    apply(t);
    follow(t, before, table_.generation + 1);
  }
  if (auto ready = prepare(next); !ready) return ready;
  return publish(std::move(next));
}

Outcome<void> Registry::set_enabled(std::string_view name, bool enabled) {
  return change(name, [&](TriggerSpec& t) { t.enabled = enabled; });
}

Outcome<void> Registry::set_paused(std::string_view name, bool paused) {
  return change(name, [&](TriggerSpec& t) { t.paused = paused; });
}

/// Whether a table can be published now, looked at before anything is written to the disk: it may be asked often. Drops
/// the past interests that no event can be of any more.
Outcome<void> Registry::prepare(TriggerTable& next) {
  if (unpublished_) return Failure{Errc::busy, "the triggers of the last start are not published yet: the event ring is too full; try again"};
  const std::uint64_t head = keeper_.reader().head();
  while (!published_.empty() && published_.front().ring_end <= head && mono_ns() - published_.front().at_ns > kLateEventNs) {
    passed_ = published_.front().generation;
    published_.pop_front();
  }
  for (TriggerSpec& t : next.triggers) {
    std::erase_if(t.past, [&](const PastInterest& past) { return past.until_generation <= passed_; });
    if (t.past.size() <= kPastInterestsMax) continue;
    return Failure{Errc::timed_out, fmt::format("{} was changed {} times while events of before wait: try again when they are handled", t.name, kPastInterestsMax)};
  }
  if (!keeper_.can_publish(next)) return ring_too_full();
  return {};
}

Outcome<void> Registry::publish(TriggerTable next) {
  sort_triggers(next.triggers);
  if (auto saved = store_.save_triggers(next.triggers); !saved) return saved;
  if (const auto published = keeper_.publish_triggers(next, std::chrono::milliseconds{0}); !published) {
    static_cast<void>(store_.save_triggers(table_.triggers));
    switch (published.code()) {
      case Errc::no_space:
        return Failure{Errc::no_space, "the segment's trigger table has no room for this: shorten sources, remove triggers, or start with more --memory"};
      case Errc::timed_out: return ring_too_full();
      default: return Failure{published.code(), "publishing the trigger table: " + to_string(published.error())};
    }
  }
  next.generation = trigger_generation(keeper_.cache());
  adopt(std::move(next));
  return {};
}

std::vector<std::string> Registry::who_would_run(EventKind kind, std::string_view key) const {
  std::vector<std::uint32_t> indices;
  matcher_.match(kind, key, [&](std::uint32_t index) { indices.push_back(index); });
  std::sort(indices.begin(), indices.end());  // the table is in the order of priority
  std::vector<std::string> names;
  for (const std::uint32_t index : indices) names.push_back(table_.triggers[index].name);
  return names;
}

const TriggerSpec* Registry::find(std::string_view name) const noexcept {
  const auto at = std::find_if(table_.triggers.begin(), table_.triggers.end(), [&](const TriggerSpec& t) { return t.name == name; });
  return at == table_.triggers.end() ? nullptr : &*at;
}

const TriggerSpec* Registry::find_slot(std::uint32_t slot) const noexcept {
  const std::uint32_t index = slot < by_slot_.size() ? by_slot_[slot] : kNoIndex;
  return index == kNoIndex ? nullptr : &table_.triggers[index];
}

}  // namespace cachee::daemon
