#include "events/groups.hpp"

#include <algorithm>
#include <future>
#include <utility>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "events/answer.hpp"

namespace cachee::daemon {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kForeverNs = INT64_MAX;
constexpr std::int64_t kLookMs = 1000;        // at least so often
constexpr std::int64_t kStorePauseMs = 200;   // after a failure of the store
constexpr std::size_t kRemovedPerRound = 256;
constexpr std::size_t kShownBytesMax = 64;
constexpr std::chrono::seconds kAnswerMax{30};

std::int64_t after(std::int64_t now_ns, milliseconds duration) noexcept { return now_ns + duration.count() * kNsPerMs; }

Failure no_group(std::string_view name) {
  return {Errc::not_found, fmt::format("no such consumer group: {}", name.substr(0, kShownBytesMax))};
}

const TriggerSpec* find_group(const Registry& registry, std::string_view name) noexcept {
  const TriggerSpec* const spec = registry.find(name);
  return spec != nullptr && spec->is_group ? spec : nullptr;
}

}  // namespace

Groups::Groups(Registry& registry, Store& store, Host host) : registry_{registry}, store_{store}, host_{std::move(host)} {}

// From the control thread

void Groups::read(GroupRead request, ReadDone done) {
  host_.post([this, request = std::move(request), done = std::move(done)]() mutable { take_read(std::move(request), std::move(done)); });
}

void Groups::settle(GroupSettle request, SettleDone done) {
  host_.post([this, request = std::move(request), done = std::move(done)]() mutable { take_settle(std::move(request), std::move(done)); });
}

void Groups::leave(std::uint64_t session) {
  host_.post([this, session] { take_leave(session); });
}

Outcome<nlohmann::json> Groups::describe(std::string_view group) {
  auto promise = std::make_shared<std::promise<Outcome<nlohmann::json>>>();
  auto answer = promise->get_future();
  host_.post([this, promise = std::move(promise), group = std::string{group}] {
    if (find_group(registry_, group) == nullptr) return promise->set_value(no_group(group));
    std::map<std::pair<std::uint64_t, std::string>, std::uint64_t> consumers;
    std::uint64_t waiting = 0;
    for (const Reader& reader : readers_) {
      if (reader.request.group != group) continue;
      ++waiting;
      consumers[{reader.request.session, reader.request.consumer}];
    }
    std::uint64_t in_hand = 0;
    for (const auto& [id, held] : held_) {
      if (held.group != group) continue;
      ++in_hand;
      ++consumers[{held.session, held.consumer}];
    }
    nlohmann::json list = nlohmann::json::array();
    for (const auto& [who, count] : consumers) list.push_back({{"name", who.second}, {"session", who.first}, {"in_hand", count}});
    promise->set_value(nlohmann::json{{"in_hand", in_hand}, {"waiting_readers", waiting}, {"consumers", std::move(list)}});
  });
  auto answered = answer_within(answer, kAnswerMax);
  if (!answered) return no_answer();
  return *std::move(answered);
}

// On the dispatcher's thread

void Groups::take_read(GroupRead request, ReadDone done) {
  if (registry_.is_published() && find_group(registry_, request.group) == nullptr) return done(no_group(request.group));
  const auto mine = by_session_.find(request.session);
  if (mine != by_session_.end() && mine->second.size() >= kGroupInHandMax) {
    return done(Failure{Errc::full, fmt::format("this connection has {} events in hand: acknowledge some before it reads more", mine->second.size())});
  }
  Reader reader{std::move(request), std::move(done), 0};
  const auto& block = reader.request.block;
  if (block) reader.until_ns = block->count() == 0 ? kForeverNs : after(mono_ns(), *block);
  look_at_.erase(reader.request.group);
  readers_.push_back(std::move(reader));
}

void Groups::take_settle(GroupSettle request, SettleDone done) {
  if (registry_.is_published() && find_group(registry_, request.group) == nullptr) return done(no_group(request.group));
  const auto settling = std::make_shared<Settling>();
  settling->done = std::move(done);
  settling->left = 1;  // ours, until all are looked at
  for (const std::string& id : request.ids) {
    const auto known = ids_.find(std::pair{request.group, id});
    const auto at = known == ids_.end() ? held_.end() : held_.find(known->second);
    if (at == held_.end() || at->second.session != request.session || at->second.settling) {
      if (!settling->failure) settling->failure = why_not(request, id, at);
      continue;
    }
    ++settling->left;
    at->second.request = settling;
    const auto delay = request.delay ? std::optional<std::int64_t>{request.delay->count()} : std::nullopt;
    end(at, {.ok = !request.failed, .error = request.failed && request.error.empty() ? "the consumer gave it back" : request.error, .delay_ms = delay});
  }
  if (--settling->left > 0) return;
  if (settling->failure) return settling->done(*settling->failure);
  settling->done(settling->done_count);
}

Failure Groups::why_not(const GroupSettle& request, const std::string& id, HeldMap::iterator at) {
  const auto shown = std::string_view{id}.substr(0, kShownBytesMax);
  const auto say = [&](std::string_view why) {
    return Failure{Errc::stale, fmt::format("event {} is not in the hands of this connection: {}", shown, why)};
  };
  if (at != held_.end() && at->second.settling) return say("it is acknowledged or given back already");
  if (at != held_.end()) return say(fmt::format("consumer {} has it", at->second.consumer));
  const auto state = store_.run_state(id, request.group);
  if (!state) return state.failure();
  if (!*state) return say("the group has no such event; it was acknowledged before, or never was");
  if (**state == RunState::dead) return say("it is a dead letter");
  return say("it was given back, its deadline has passed, or nobody has read it yet");
}

void Groups::take_leave(std::uint64_t session) {
  std::erase_if(readers_, [&](const Reader& reader) { return reader.request.session == session; });
  const auto mine = by_session_.find(session);
  if (mine == by_session_.end()) return;
  const std::set<std::int64_t> stored_ids = mine->second;
  std::uint64_t count = 0;
  std::string consumer;
  for (const std::int64_t id : stored_ids) {
    const auto at = held_.find(id);
    if (at == held_.end() || at->second.settling) continue;
    consumer = at->second.consumer;
    Ending ending{.error = fmt::format("consumer {} went away before it acknowledged", consumer), .duplicate = true};
    if (is_free_loss(id, at->second)) {
      ending.free_of_charge = true;
      ending.delay_ms = 0;
    }
    end(at, std::move(ending));
    ++count;
  }
  if (count > 0) log::info("consumer {} went away with {} events in hand", consumer, count);
}

bool Groups::is_free_loss(std::int64_t stored_id, const Held& held) {
  const TriggerSpec* const spec = find_group(registry_, held.group);
  return spec != nullptr && ++losses_[stored_id] <= spec->retry_attempts;
}

/// G3.
void Groups::end(HeldMap::iterator at, Ending ending) {
  Held& held = at->second;
  held.settling = true;
  const TriggerSpec* const spec = find_group(registry_, held.group);
  const bool over = ending.ok || spec == nullptr || (!ending.free_of_charge && held.attempt >= spec->retry_attempts);
  if (over) losses_.erase(at->first);
  GroupResult result;
  result.stored_id = at->first;
  result.seq = held.seq;
  result.key_hash = held.key_hash;
  result.group = held.group;
  result.attempt = held.attempt;
  result.ok = ending.ok;
  result.error = std::move(ending.error);
  result.delay_ms = ending.delay_ms;
  result.duplicate = ending.duplicate;
  result.free_of_charge = ending.free_of_charge;
  host_.report(std::move(result));
}

void Groups::settled(std::int64_t stored_id) {
  const auto at = held_.find(stored_id);
  if (at == held_.end()) return;
  Held& held = at->second;
  look_at_.erase(held.group);
  ids_.erase(std::pair{held.group, held.event_id});
  deadlines_.erase({held.deadline_ns, stored_id});
  const auto mine = by_session_.find(held.session);
  if (mine != by_session_.end()) {
    mine->second.erase(stored_id);
    if (mine->second.empty()) by_session_.erase(mine);
  }
  const std::shared_ptr<Settling> request = std::move(held.request);
  held_.erase(at);
  if (!request) return;
  ++request->done_count;
  if (--request->left > 0) return;
  if (request->failure) return request->done(*request->failure);
  request->done(request->done_count);
}

void Groups::expire(std::int64_t now_ns) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_ns) {
    const auto at = held_.find(deadlines_.begin()->second);
    deadlines_.erase(deadlines_.begin());
    if (at == held_.end() || at->second.settling) continue;  // its ack is on the way to the disk
    end(at, {.error = fmt::format("consumer {} did not acknowledge in time", at->second.consumer), .duplicate = true});
  }
}

/// Runs of groups that are gone are over, as those of a trigger that is gone.
bool Groups::sweep_removed() {
  if (!registry_.is_published()) return false;
  if (!removed_known_) {
    const auto names = store_.groups_with_runs();
    if (!names) return false;
    for (const std::string& name : *names) {
      if (find_group(registry_, name) == nullptr) removed_.insert(name);
    }
    removed_known_ = true;
  }
  bool worked = false;
  for (auto name = removed_.begin(); name != removed_.end();) {
    if (find_group(registry_, *name) != nullptr) {
      name = removed_.erase(name);
      continue;
    }
    bool left = false;
    for (auto at = held_.begin(); at != held_.end(); ++at) {
      if (at->second.group != *name) continue;
      left = true;
      if (!at->second.settling) end(at, {.ok = true});
    }
    const auto due = store_.due_of_group(*name, INT64_MAX, {kRemovedPerRound, kGroupReadBytesMax},
                                         [this](std::int64_t id) { return held_.contains(id); });
    if (!due) {
      log::error("the store cannot be read: {}", due.failure().text);
      return worked;
    }
    for (const StoredRun& run : *due) {
      Held held;
      held.group = *name;
      held.event_id = run.event_id;
      held.seq = run.seq;
      held.key_hash = run.key_hash;
      end(held_.emplace(run.id, std::move(held)).first, {.ok = true});
      left = worked = true;
    }
    name = left ? std::next(name) : removed_.erase(name);
  }
  return worked;
}

/// G2.
std::optional<std::vector<EventData>> Groups::take_due(const TriggerSpec& spec, const GroupRead& request, WallMs now, std::int64_t now_ns) {
  const auto mine = by_session_.find(request.session);
  const std::size_t room = kGroupInHandMax - (mine == by_session_.end() ? 0 : mine->second.size());
  auto due = store_.due_of_group(spec.name, now, {std::min(request.count_max, room), kGroupReadBytesMax},
                                 [this](std::int64_t id) { return held_.contains(id); });
  if (!due) {
    log::error("the store cannot be read: {}", due.failure().text);
    look_at_[spec.name] = now + kStorePauseMs;
    return std::nullopt;
  }
  std::vector<EventData> events;
  const std::int64_t deadline_ns = after(now_ns, request.deadline.value_or(milliseconds{spec.timeout_ms}));
  for (StoredRun& run : *due) {
    Held held;
    held.group = spec.name;
    held.event_id = run.event_id;
    held.consumer = request.consumer;
    held.session = request.session;
    held.seq = run.seq;
    held.key_hash = run.key_hash;
    held.attempt = run.attempts + 1;
    held.deadline_ns = deadline_ns;
    const auto at = held_.emplace(run.id, std::move(held)).first;
    if (!run.event) {
      at->second.attempt = std::max(spec.retry_attempts, run.attempts + 1);
      end(at, {.error = "the stored event is damaged"});
      continue;
    }
    ids_.emplace(std::pair{spec.name, run.event_id}, run.id);
    by_session_[request.session].insert(run.id);
    deadlines_.emplace(deadline_ns, run.id);
    run.event->attempt = run.attempts + 1;
    run.event->duplicate = run.event->duplicate || run.id <= host_.duplicates_before;
    events.push_back(std::move(*run.event));
  }
  if (!events.empty()) return events;
  const auto next = store_.next_of_group(spec.name, now);
  look_at_[spec.name] = std::min(next && *next ? **next : now + kLookMs, now + kLookMs);
  return std::nullopt;
}

bool Groups::tend(WallMs now) {
  const std::int64_t now_ns = mono_ns();
  expire(now_ns);
  bool worked = sweep_removed();
  for (auto reader = readers_.begin(); reader != readers_.end();) {
    const GroupRead& request = reader->request;
    const TriggerSpec* const spec = find_group(registry_, request.group);
    if (spec == nullptr && registry_.is_published()) {
      reader->done(no_group(request.group));
      reader = readers_.erase(reader);
      worked = true;
      continue;
    }
    std::optional<std::vector<EventData>> events;
    const auto look_at = look_at_.find(request.group);
    const bool look = look_at == look_at_.end() || look_at->second <= now;
    if (spec != nullptr && !spec->paused && look) events = take_due(*spec, request, now, now_ns);
    if (!events && reader->until_ns > now_ns) {
      ++reader;
      continue;
    }
    reader->done(events ? std::move(*events) : std::vector<EventData>{});
    reader = readers_.erase(reader);
    worked = true;
  }
  return worked;
}

}  // namespace cachee::daemon
