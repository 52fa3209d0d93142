#include "linear/checker.hpp"

#include <algorithm>
#include <charconv>
#include <unordered_map>

namespace cachee::test {

const char* to_string(Kind kind) noexcept {
  static constexpr const char* kNames[] = {"get",       "set",    "add",   "replace", "compare_and_set",
                                           "increment", "append", "touch", "persist", "erase"};
  return kNames[static_cast<std::size_t>(kind)];
}
const char* to_string(Outcome outcome) noexcept {
  static constexpr const char* kNames[] = {"pending", "ok", "unchanged", "not_found", "exists", "stale", "refused"};
  return kNames[static_cast<std::size_t>(outcome)];
}

namespace {

std::string shorten(const std::string& text) {
  if (text.size() <= 28) return text;
  return text.substr(0, 24) + "..(" + std::to_string(text.size()) + ")";
}

std::string describe(const Operation& o, std::int64_t origin) {
  std::string text = "[" + std::to_string(o.begin - origin) + ", " +
                     (o.end == kNever ? "-" : std::to_string(o.end - origin)) + "] client " + std::to_string(o.client) +
                     " " + to_string(o.kind);
  if (!o.value.empty()) text += " \"" + shorten(o.value) + "\"";
  if (o.version_in != 0) text += " if version " + std::to_string(o.version_in);
  if (o.ttl) text += " ttl " + std::to_string(*o.ttl);
  text += std::string{" -> "} + to_string(o.outcome);
  if (!o.got.empty()) text += " \"" + shorten(o.got) + "\"";
  if (o.version_out != 0) text += " version " + std::to_string(o.version_out);
  if (o.created) text += *o.created ? " created" : " updated";
  if (o.old) text += " over \"" + shorten(*o.old) + "\"";
  return text;
}

std::optional<std::int64_t> number_of(const std::string& text) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return n;
}

/// The key is gone; what comes next has a higher version.
KeyState removed(const KeyState& state) {
  KeyState next;
  next.floor = std::max(state.floor, state.version);
  return next;
}

/// A read told this version of what is there.
bool learn_version(KeyState& state, std::uint64_t told) {
  if (told == 0) return true;
  if (state.version != 0) return state.version == told;
  if (told <= state.floor) return false;
  state.version = told;
  return true;
}

/// The state behind a write of `value`; false when what the caller was told does not fit.
bool write(KeyState& state, const Operation& call, std::string value, bool keeps_deadline, const Rules& rules) {
  if (call.created && *call.created == state.present) return false;
  if (call.old && (!state.present || *call.old != state.value)) return false;
  const std::uint64_t floor = std::max(state.floor, state.version);
  if (call.version_out != 0 && call.version_out <= floor) return false;
  KeyState next;
  next.present = true;
  next.value = std::move(value);
  next.version = call.version_out;
  next.floor = floor;
  if (keeps_deadline && state.present) {
    next.due_from = state.due_from;
    next.due_until = state.due_until;
  } else if (call.ttl) {
    next.due_from = call.begin + *call.ttl - rules.clock_slack;
    next.due_until = call.end == kNever ? kNever : call.end + *call.ttl + rules.deadline_unit + rules.clock_slack;
  }
  state = std::move(next);
  return true;
}

/// The call at one moment of a key that nobody removes just then. False: it cannot be.
bool happen(KeyState& state, const Operation& call, const Rules& rules) {
  const bool told = call.outcome != Outcome::pending;
  const auto missing = [&] { return !told || call.outcome == Outcome::not_found; };
  const auto done = [&] { return !told || call.outcome == Outcome::ok; };
  switch (call.kind) {
    case Kind::get:
      if (!told) return true;
      if (!state.present) return call.outcome == Outcome::not_found;
      return call.outcome == Outcome::ok && state.value == call.got && learn_version(state, call.version_out);
    case Kind::set:
      return done() && write(state, call, call.value, false, rules);
    case Kind::add:
      if (state.present) return !told || call.outcome == Outcome::exists;
      return done() && write(state, call, call.value, false, rules);
    case Kind::replace:
      if (!state.present) return missing();
      return done() && write(state, call, call.value, false, rules);
    case Kind::compare_and_set:
      if (!state.present) return missing();
      if (told && call.outcome == Outcome::stale) return state.version == 0 || state.version != call.version_in;
      if (!learn_version(state, call.version_in)) return !told;
      return done() && write(state, call, call.value, false, rules);
    case Kind::increment: {
      const auto before = state.present ? number_of(state.value) : std::optional<std::int64_t>{0};
      const auto delta = number_of(call.value);
      if (!before || !delta) return !told;
      const std::string now = std::to_string(*before + *delta);
      return done() && (!told || call.got == now) && write(state, call, now, true, rules);
    }
    case Kind::append: {
      std::string now = (state.present ? state.value : std::string{}) + call.value;
      return done() && (!told || call.got == std::to_string(now.size())) &&
             write(state, call, std::move(now), true, rules);
    }
    case Kind::touch:
      if (!state.present) return missing();
      if (!done()) return false;
      state.due_from = call.begin + call.ttl.value_or(0) - rules.clock_slack;
      state.due_until = call.end == kNever ? kNever : call.end + call.ttl.value_or(0) + rules.deadline_unit + rules.clock_slack;
      return true;
    case Kind::persist:
      if (!state.present) return missing();
      if (state.due_from == kNever) return !told || call.outcome == Outcome::unchanged;
      if (!done()) return false;
      state.due_from = state.due_until = kNever;
      return true;
    case Kind::erase:
      if (!state.present) return missing();
      if (!done() || (call.old && *call.old != state.value)) return false;
      state = removed(state);
      return true;
  }
  return false;
}

struct Configuration {
  std::size_t done_words = 0;          // all calls of so many words of the set are placed
  std::vector<std::uint64_t> words{};  // the words behind
  KeyState state{};
  friend bool operator==(const Configuration&, const Configuration&) = default;
};

std::size_t hash_of(const Configuration& c) {
  std::size_t h = std::hash<std::string>{}(c.state.value) ^ (c.state.present ? 0x9e3779b97f4a7c15u : 0);
  const auto mix = [&](std::uint64_t v) { h = (h ^ v) * 0xff51afd7ed558ccdu + (h >> 29); };
  mix(c.done_words);
  for (const std::uint64_t w : c.words) mix(w);
  mix(c.state.version);
  mix(c.state.floor);
  mix(static_cast<std::uint64_t>(c.state.due_from));
  mix(static_cast<std::uint64_t>(c.state.due_until));
  return h;
}

class Search {
 public:
  Search(std::vector<Operation> calls, const Rules& rules) : calls_{std::move(calls)}, rules_{rules} {
    std::stable_sort(calls_.begin(), calls_.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    const std::size_t n = calls_.size();
    placed_.assign((n + 63) / 64, 0);
    struct Moment {
      std::int64_t at;
      bool is_end;
      std::size_t entry;
    };
    std::vector<Moment> moments;
    for (std::size_t i = 0; i < n; ++i) {
      moments.push_back({calls_[i].begin, false, 2 * i});
      moments.push_back({calls_[i].end, true, 2 * i + 1});
    }
    std::stable_sort(moments.begin(), moments.end(),
                     [](const auto& a, const auto& b) { return a.at != b.at ? a.at < b.at : !a.is_end && b.is_end; });
    next_.resize(2 * n + 1);
    previous_.resize(2 * n + 1);
    std::size_t last = head();
    for (const Moment& m : moments) {
      next_[last] = m.entry;
      previous_[m.entry] = last;
      last = m.entry;
    }
    next_[last] = kEnd;
  }

  Verdict run() {
    std::size_t entry = first();
    unsigned way = 0;
    while (first() != kEnd) {
      if (++verdict_.steps > rules_.steps_max) {
        verdict_.answer = Answer::undecided;
        return verdict_;
      }
      const std::size_t call = entry / 2;
      const bool is_end = entry % 2 == 1;
      if (!is_end) {
        if (place(call, way)) {
          entry = first();
        } else {
          entry = next_[entry];
        }
        way = 0;
        continue;
      }
      // The end of a call without a place: a pending one may have had no effect.
      if (calls_[call].outcome == Outcome::pending && leave_out(call)) {
        entry = first();
        way = 0;
        continue;
      }
      if (steps_.size() >= deepest_) {
        deepest_ = steps_.size();
        stuck_ = call;
        stuck_state_ = state_;
      }
      for (;;) {
        if (steps_.empty()) return fail();
        const Step step = take_back();
        if (step.way == kLeftOut) continue;  // its only way from there
        entry = 2 * step.call;
        way = step.way + 1;
        break;
      }
    }
    return verdict_;
  }

 private:
  static constexpr std::size_t kEnd = ~std::size_t{0};
  static constexpr unsigned kLeftOut = ~0u;
  struct Step {
    std::size_t call;
    unsigned way;
    KeyState before;
  };
  std::size_t head() const { return 2 * calls_.size(); }
  std::size_t first() const { return next_[head()]; }
  void unlink(std::size_t entry) {
    next_[previous_[entry]] = next_[entry];
    if (next_[entry] != kEnd) previous_[next_[entry]] = previous_[entry];
  }
  void relink(std::size_t entry) {
    next_[previous_[entry]] = entry;
    if (next_[entry] != kEnd) previous_[next_[entry]] = entry;
  }
  void mark(std::size_t call, bool on) {
    const std::uint64_t bit = std::uint64_t{1} << (call % 64);
    placed_[call / 64] = on ? placed_[call / 64] | bit : placed_[call / 64] & ~bit;
  }
  /// Goes to a configuration unless the search has been there.
  bool enter(std::size_t call, unsigned way, const KeyState& next) {
    mark(call, true);
    Configuration c;
    while (c.done_words < placed_.size() && placed_[c.done_words] == ~std::uint64_t{0}) ++c.done_words;
    std::size_t last = placed_.size();
    while (last > c.done_words && placed_[last - 1] == 0) --last;
    c.words.assign(placed_.begin() + static_cast<std::ptrdiff_t>(c.done_words),
                   placed_.begin() + static_cast<std::ptrdiff_t>(last));
    c.state = next;
    auto& bucket = seen_[hash_of(c)];
    if (std::find(bucket.begin(), bucket.end(), c) != bucket.end()) {
      mark(call, false);
      return false;
    }
    bucket.push_back(std::move(c));
    steps_.push_back({call, way, std::move(state_)});
    state_ = next;
    unlink(2 * call);
    unlink(2 * call + 1);
    return true;
  }
  bool place(std::size_t call, unsigned way) {
    const auto ways = successors(state_, calls_[call], rules_);
    for (; way < ways.size(); ++way) {
      if (enter(call, way, ways[way])) return true;
    }
    return false;
  }
  bool leave_out(std::size_t call) { return enter(call, kLeftOut, KeyState{state_}); }
  Step take_back() {
    Step step = std::move(steps_.back());
    steps_.pop_back();
    state_ = step.before;
    mark(step.call, false);
    relink(2 * step.call + 1);
    relink(2 * step.call);
    return step;
  }
  Verdict fail() {
    verdict_.answer = Answer::violation;
    const std::int64_t origin = calls_.front().begin;
    const Operation& stuck = calls_[stuck_];
    verdict_.why = "no moment fits\n  " + describe(stuck, origin) + "\nat best the key was then " +
                   (stuck_state_.present
                        ? "\"" + shorten(stuck_state_.value) + "\" version " + std::to_string(stuck_state_.version)
                        : "absent") +
                   "\n";
    // What could have to do with it; all of a short history.
    constexpr std::size_t kShownAround = 24;
    const std::size_t from = stuck_ > kShownAround ? stuck_ - kShownAround : 0;
    for (std::size_t i = from; i < std::min(calls_.size(), stuck_ + kShownAround); ++i) {
      verdict_.why += (i == stuck_ ? "> " : "  ") + describe(calls_[i], origin) + "\n";
    }
    return verdict_;
  }

  std::vector<Operation> calls_;
  const Rules& rules_;
  std::vector<std::size_t> next_, previous_;
  std::vector<std::uint64_t> placed_;
  std::unordered_map<std::size_t, std::vector<Configuration>> seen_;
  std::vector<Step> steps_;
  KeyState state_;
  Verdict verdict_;
  std::size_t deepest_ = 0;
  std::size_t stuck_ = 0;
  KeyState stuck_state_;
};

}  // namespace

std::string describe(const std::vector<Operation>& history) {
  auto sorted = history;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::string text;
  for (const auto& o : sorted) text += "  " + describe(o, sorted.front().begin) + "\n";
  return text;
}

std::vector<KeyState> successors(const KeyState& state, const Operation& call, const Rules& rules) {
  std::vector<KeyState> ways;
  if (call.outcome == Outcome::refused) return {state};
  // As it stands: only before the deadline has passed for certain.
  if (!state.present || call.begin <= state.due_until) {
    KeyState next = state;
    if (happen(next, call, rules)) ways.push_back(std::move(next));
  }
  // Or the deadline, or eviction, has removed it just before.
  if (state.present && (rules.evicts || (state.due_from != kNever && call.end >= state.due_from))) {
    KeyState next = removed(state);
    if (happen(next, call, rules) && (ways.empty() || ways.front() != next)) ways.push_back(std::move(next));
  }
  return ways;
}

Verdict check_linearizable(std::vector<Operation> history, const Rules& rules) {
  if (history.empty()) return {};
  return Search{std::move(history), rules}.run();
}

}  // namespace cachee::test
