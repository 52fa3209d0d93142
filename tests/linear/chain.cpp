#include "linear/chain.hpp"

#include <algorithm>
#include <unordered_map>

namespace cachee::test {
namespace {

constexpr std::int64_t kDeadlineUnitNs = 1'000'000;  // deadlines are rounded up to it

constexpr std::int64_t kBefore = std::numeric_limits<std::int64_t>::min();

bool is_write(Kind kind) noexcept {
  switch (kind) {
    case Kind::set:
    case Kind::add:
    case Kind::replace:
    case Kind::compare_and_set:
    case Kind::increment:
    case Kind::append:
      return true;
    default:
      return false;
  }
}

/// The key between an event and the next one. State 0 is the absence before the first event.
struct Stretch {
  bool present = false;
  std::uint64_t value = 0;
  std::uint64_t version = 0;
  const Account* cause = nullptr;  // the call that began it, if one did
  std::int64_t begin = kBefore;    // of that call
  std::int64_t end = kNever;
  std::int64_t earliest = kBefore;  // of its first moment, given everything before
  std::int64_t latest = kNever;     // of its last moment, given everything behind
  std::int64_t due_from = kNever;
  std::int64_t due_until = kNever;
  std::vector<const Account*> reads{};
};

class ChainCheck {
 public:
  ChainCheck(const std::vector<Account>& calls, const std::vector<Effect>& events, std::int64_t slack)
      : calls_{calls}, events_{events}, slack_{slack} {}

  std::string run() {
    link_events();
    attribute();
    if (wrong_.empty()) place_reads();
    if (wrong_.empty()) order();
    if (wrong_.empty()) place_untold();
    if (wrong_.empty()) deadlines();
    return wrong_;
  }

 private:
  static std::string text_of(const Account& a) {
    return "client " + std::to_string(a.client) + " " + to_string(a.kind) + " -> " + to_string(a.outcome) +
           " version " + std::to_string(a.version_out) + " [" + std::to_string(a.begin) + ", " + std::to_string(a.end) +
           "]";
  }
  static std::string text_of(const Effect& e) {
    static constexpr const char* kNames[] = {"write", "erase", "expire", "evict"};
    return "event " + std::to_string(e.seq) + " " + kNames[static_cast<std::size_t>(e.what)] + " version " +
           std::to_string(e.version);
  }
  void complain(const std::string& what) {
    if (wrong_.size() < 4000) wrong_ += what + "\n";
  }

  /// What the cause of an event must be, given whether the key was there.
  static Effect::Why cause_of(Effect::What what, bool present) noexcept {
    switch (what) {
      case Effect::What::write: return present ? Effect::Why::update : Effect::Why::create;
      case Effect::What::erase: return Effect::Why::call;
      case Effect::What::expire: return Effect::Why::deadline;
      case Effect::What::evict: return Effect::Why::room;
    }
    return Effect::Why::other;
  }

  /// [a]
  void link_events() {
    stretches_.resize(events_.size() + 1);
    std::uint64_t newest = 0;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const Effect& e = events_[i];
      const Stretch& before = stretches_[i];
      Stretch& now = stretches_[i + 1];
      if (e.why != cause_of(e.what, before.present)) complain(text_of(e) + ": says another cause");
      if (e.what == Effect::What::write) {
        const std::uint64_t old = before.present ? before.value : Effect::kNoValue;
        if (e.old != old) complain(text_of(e) + ": its old value is not what was there");
        if (e.version <= newest) complain(text_of(e) + ": not above version " + std::to_string(newest));
        newest = std::max(newest, e.version);
        now.present = true;
        now.value = e.value;
        now.version = e.version;
        by_version_[e.version] = i + 1;
      } else if (!before.present) {
        complain(text_of(e) + ": removes an absent key");
      } else if (before.value != e.value || before.version != e.version) {
        complain(text_of(e) + ": removes another value than was there (version " + std::to_string(before.version) +
                 ")");
      }
    }
  }

  /// [b]
  void attribute() {
    std::unordered_map<std::uint64_t, std::size_t> by_seq;
    std::unordered_map<std::uint64_t, std::size_t> by_value, by_suffix, by_delta;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      by_seq[events_[i].seq] = i;
      if (events_[i].what != Effect::What::write) continue;
      by_value[events_[i].value] = i;
      by_suffix[events_[i].suffix] = i;
      if (events_[i].delta != 0) by_delta[static_cast<std::uint64_t>(events_[i].delta)] = i;
    }
    std::vector<const Account*> pending_erases;
    for (const Account& call : calls_) {
      const bool done = call.outcome == Outcome::ok;
      if (is_write(call.kind)) {
        const auto& index = call.kind == Kind::append ? by_suffix : call.kind == Kind::increment ? by_delta : by_value;
        const auto at = index.find(call.tag);
        if (at == index.end()) {
          if (done) complain(text_of(call) + ": has no event");
          continue;
        }
        const Effect& e = events_[at->second];
        if (!done && call.outcome != Outcome::pending) complain(text_of(call) + ": was refused, and yet " + text_of(e));
        if (call.event != Account::kNoEvent && call.event != e.seq)
          complain(text_of(call) + ": told of another event than " + text_of(e));
        if (call.version_out != 0 && call.version_out != e.version)
          complain(text_of(call) + ": told of another version than " + text_of(e));
        const Stretch& before = stretches_[at->second];
        if (call.kind == Kind::add && before.present) complain(text_of(call) + ": added to a key that was there");
        if (call.kind == Kind::replace && !before.present) complain(text_of(call) + ": replaced an absent key");
        if (call.kind == Kind::compare_and_set && (!before.present || before.version != call.version_in)) {
          complain(text_of(call) + ": replaced version " + std::to_string(before.version) + ", not " +
                   std::to_string(call.version_in));
        }
        own(at->second, call, Effect::What::write);
      } else if (call.kind == Kind::erase) {
        if (call.outcome == Outcome::pending) pending_erases.push_back(&call);
        if (!done) continue;
        const auto at = by_seq.find(call.event);
        if (at == by_seq.end()) {
          complain(text_of(call) + ": has no event");
        } else {
          own(at->second, call, Effect::What::erase);
        }
      }
    }
    // An erase whose caller died: one of the pending ones, the one that had to end first.
    std::sort(pending_erases.begin(), pending_erases.end(), [](auto* a, auto* b) { return a->end < b->end; });
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const Effect& e = events_[i];
      if (e.what == Effect::What::write && stretches_[i + 1].cause == nullptr) complain(text_of(e) + ": nobody's");
      if (e.what != Effect::What::erase || stretches_[i + 1].cause != nullptr) continue;
      // Of those that fit behind what has happened for certain.
      std::int64_t before = kBefore;
      for (std::size_t k = i; k > 0 && before == kBefore; --k) before = stretches_[k].begin;
      auto at = std::find_if(pending_erases.begin(), pending_erases.end(), [&](auto* c) { return c->end >= before; });
      if (at == pending_erases.end()) {
        complain(text_of(e) + ": nobody's");
        continue;
      }
      // Whose of the dead it was is not known: any moment from the first begin on.
      stretches_[i + 1].begin = (*at)->begin;
      for (const Account* c : pending_erases) stretches_[i + 1].begin = std::min(stretches_[i + 1].begin, c->begin);
      pending_erases.erase(at);
    }
  }
  void own(std::size_t event, const Account& call, Effect::What what) {
    Stretch& s = stretches_[event + 1];
    const Effect& e = events_[event];
    if (call.old != 0 && call.old != (what == Effect::What::write ? e.old : e.value)) {
      complain(text_of(call) + ": told of another old value than " + text_of(e));
    }
    if (e.what != what) complain(text_of(call) + ": its event is " + text_of(events_[event]));
    if (s.cause != nullptr)
      complain(text_of(events_[event]) + ": two calls' (" + text_of(call) + ", " + text_of(*s.cause) + ")");
    s.cause = &call;
    s.begin = call.begin;
    s.end = call.end;
  }

  void place_reads() {
    for (const Account& call : calls_) {
      if (call.kind == Kind::get && call.outcome == Outcome::ok) {
        const auto at = by_version_.find(call.version_out);
        if (at == by_version_.end()) {
          complain(text_of(call) + ": a version that was never there");
        } else if (stretches_[at->second].value != call.value) {
          complain(text_of(call) + ": not the value of that version");
        } else {
          stretches_[at->second].reads.push_back(&call);
        }
      } else if (call.outcome == Outcome::not_found) {
        misses_.push_back(&call);
      }
    }
    std::sort(misses_.begin(), misses_.end(), [](auto* a, auto* b) { return a->end < b->end; });
  }

  /// [c]: the earliest moment of everything, in order. A miss belongs to the last absence that can
  /// still have been before its end: there it holds up the least.
  void order() {
    std::int64_t now = kBefore;
    std::size_t miss = 0;
    for (std::size_t i = 0; i < stretches_.size(); ++i) {
      Stretch& s = stretches_[i];
      now = std::max(now, s.begin);
      s.earliest = now;
      if (now > s.end) {
        complain(text_of(events_[i - 1]) + ": cannot have happened before its call ended; " + text_of(*s.cause));
        return;
      }
      if (s.present) {
        for (const Account* read : s.reads) {
          if (read->end < s.earliest) {
            complain(text_of(*read) + ": read what cannot have been there yet");
            return;
          }
          now = std::max(now, read->begin);
        }
        continue;
      }
      std::int64_t next_absence = now;
      std::size_t k = i + 1;
      for (; k < stretches_.size(); ++k) {
        next_absence = std::max(next_absence, stretches_[k].begin);
        if (!stretches_[k].present) break;
        for (const Account* read : stretches_[k].reads) next_absence = std::max(next_absence, read->begin);
      }
      const bool last = k == stretches_.size();
      for (; miss < misses_.size() && (last || misses_[miss]->end < next_absence); ++miss) {
        if (misses_[miss]->end < s.earliest) {
          complain(text_of(*misses_[miss]) + ": missed the key while it was there");
          return;
        }
        now = std::max(now, misses_[miss]->begin);
      }
    }
    if (miss < misses_.size()) complain(text_of(*misses_[miss]) + ": missed the key while it was there");
    std::int64_t latest = kNever;
    for (std::size_t i = stretches_.size(); i-- > 0;) {
      Stretch& s = stretches_[i];
      s.latest = latest;
      for (const Account* read : s.reads) latest = std::min(latest, read->end);
      latest = std::min(latest, s.end);
    }
  }

  /// Calls that found the key present without a version: some stretch fits, each for itself.
  void place_untold() {
    for (const Account& call : calls_) {
      const bool refused =
          call.outcome == Outcome::exists || call.outcome == Outcome::stale || call.outcome == Outcome::unchanged;
      const bool touched = (call.kind == Kind::touch || call.kind == Kind::persist) && call.outcome == Outcome::ok;
      if (!refused && !touched) continue;
      // Stretches that may have begun by the call's end; they are in order of `earliest`.
      auto at = std::upper_bound(stretches_.begin(), stretches_.end(), call.end,
                                 [](std::int64_t end, const Stretch& s) { return end < s.earliest; });
      bool fits = false;
      while (!fits && at != stretches_.begin()) {
        --at;
        if (at->latest < call.begin) break;  // over before the call began, and so are all before
        fits = at->present && !(call.outcome == Outcome::stale && at->version == call.version_in);
      }
      if (!fits) complain(text_of(call) + ": the key was not as it says");
    }
  }

  /// [d]
  void deadlines() {
    // Touches by begin, each with the latest end of all so far.
    std::vector<std::pair<std::int64_t, std::int64_t>> touches;
    for (const Account& call : calls_) {
      if ((call.kind == Kind::touch || call.kind == Kind::persist) &&
          (call.outcome == Outcome::ok || call.outcome == Outcome::pending)) {
        touches.emplace_back(call.begin, call.end);
      }
    }
    std::sort(touches.begin(), touches.end());
    for (std::size_t i = 1; i < touches.size(); ++i)
      touches[i].second = std::max(touches[i].second, touches[i - 1].second);
    const auto touched = [&](const Stretch& s) {
      const auto behind = std::upper_bound(touches.begin(), touches.end(), std::pair{s.latest, kNever});
      return behind != touches.begin() && std::prev(behind)->second >= s.earliest;
    };
    for (std::size_t i = 1; i < stretches_.size(); ++i) {
      Stretch& s = stretches_[i];
      const Stretch& before = stretches_[i - 1];
      const Effect& e = events_[i - 1];
      if (s.present) {
        const Account& call = *s.cause;
        const bool keeps = call.kind == Kind::increment || call.kind == Kind::append;
        if (keeps && before.present) {
          s.due_from = before.due_from;
          s.due_until = before.due_until;
        } else if (call.ttl != 0) {
          s.due_from = call.begin + call.ttl - slack_;
          s.due_until = call.end == kNever ? kNever : call.end + call.ttl + kDeadlineUnitNs + slack_;
        }
        if (touched(s)) {
          s.due_from = kBefore;
          s.due_until = kNever;
        }
        for (const Account* read : s.reads) {
          if (read->begin > s.due_until) complain(text_of(*read) + ": read behind the deadline");
        }
      } else if (e.what == Effect::What::expire) {
        if (before.due_from == kNever) complain(text_of(e) + ": had no deadline");
        if (before.due_from > before.latest) complain(text_of(e) + ": before the deadline");
      }
    }
  }

  const std::vector<Account>& calls_;
  const std::vector<Effect>& events_;
  std::int64_t slack_;
  std::vector<Stretch> stretches_;
  std::unordered_map<std::uint64_t, std::size_t> by_version_;
  std::vector<const Account*> misses_;
  std::string wrong_;
};

}  // namespace

std::uint64_t identity_of(std::string_view bytes) noexcept {
  std::uint64_t h = 0xcbf29ce484222325u ^ bytes.size();
  for (const char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  h ^= h >> 29;
  return h == Effect::kNoValue ? 1 : h;
}

std::string check_chain(const std::vector<Account>& calls, const std::vector<Effect>& events, std::int64_t slack) {
  return ChainCheck{calls, events, slack}.run();
}

}  // namespace cachee::test
