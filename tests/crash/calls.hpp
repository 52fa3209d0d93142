// Calls of several parties on a few keys, with a model of each: what it returns and which events it
// makes when it happens at one moment. explained() looks for an order of the calls, within the
// times they took, that gives what everybody got, the events per key, and the state.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "crash/world.hpp"

namespace cachee::test {

/// The keyspace as it would be if one thing happened at a time.
struct Model {
  struct Entry {
    std::string value;
    bool brief = false;  // has the short deadline that passes during the run
  };
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> events;  // per key, as text

  void write(const std::string& key, std::string value, bool brief = false) {
    events[key] += "write " + value.substr(0, 8) + ", ";
    entries[key] = {std::move(value), brief};
  }
  void remove(const std::string& key, const char* how) {
    events[key] += std::string{how} + " " + entries[key].value.substr(0, 8) + ", ";
    entries.erase(key);
  }
  /// The short deadline passes.
  void pass() {
    std::vector<std::string> due;
    for (const auto& [key, entry] : entries) {
      if (entry.brief) due.push_back(key);
    }
    for (const auto& key : due) remove(key, "expire");
  }
  State state() const {
    State out;
    for (const auto& [key, entry] : entries) out[key] = entry.value;
    return out;
  }
  friend bool operator==(const Model& a, const Model& b) { return a.events == b.events && a.state() == b.state(); }
};

struct Step {
  std::string name;
  std::function<std::string(World&, Cache&)> run;   // returns what the caller got
  std::function<std::string(Model&)> model;         // the same, at one moment
};

struct Call {
  std::size_t party = 0;
  const Step* step = nullptr;
  std::string got{};
  long begin = 0;
  long end = std::numeric_limits<long>::max();
};

inline constexpr std::chrono::milliseconds kBriefTtl{3};

namespace calls {

using namespace std::chrono_literals;

inline std::string text_of(const Result<WriteResult>& r) {
  if (!r) return to_string(r.code());
  return std::string{r->created ? "created" : "updated"} + (r->old_value ? " over " + *r->old_value : "");
}
inline std::optional<long> number_of(const std::string& text) {
  char* end = nullptr;
  const long n = std::strtol(text.c_str(), &end, 10);
  return end != text.c_str() && *end == '\0' ? std::optional{n} : std::nullopt;
}

inline Step set(std::string key, std::string value) {
  return {"set " + key, [=](World&, Cache& c) { return text_of(c.set(key, value, {.return_old = true})); },
          [=](Model& m) {
            const auto at = m.entries.find(key);
            std::string got = at == m.entries.end() ? "created" : "updated over " + at->second.value;
            m.write(key, value);
            return got;
          }};
}
inline Step add(std::string key, std::string value) {
  return {"add " + key, [=](World&, Cache& c) { return text_of(c.add(key, value)); },
          [=](Model& m) -> std::string {
            if (m.entries.contains(key)) return "exists";
            m.write(key, value);
            return "created";
          }};
}
inline Step erase(std::string key) {
  return {"erase " + key,
          [=](World&, Cache& c) {
            const auto r = c.erase(key, {.return_old = true});
            return r ? "erased " + r->old_value.value_or("?") : std::string{to_string(r.code())};
          },
          [=](Model& m) -> std::string {
            const auto at = m.entries.find(key);
            if (at == m.entries.end()) return "not_found";
            std::string got = "erased " + at->second.value;
            m.remove(key, "delete");
            return got;
          }};
}
inline std::string read_model(const Model& m, const std::string& key) {
  const auto at = m.entries.find(key);
  return at == m.entries.end() ? "not_found" : at->second.value;
}
inline Step get(std::string key) {
  return {"get " + key,
          [=](World&, Cache& c) {
            const auto r = c.get(key);
            return r ? r->bytes : std::string{to_string(r.code())};
          },
          [=](Model& m) { return read_model(m, key); }};
}
inline Step pin(std::string key) {
  return {"pin " + key,
          [=](World&, Cache& c) {
            const auto r = c.view(key);
            return r ? std::string{r->bytes()} : std::string{to_string(r.code())};
          },
          [=](Model& m) { return read_model(m, key); }};
}
inline Step increment(std::string key) {
  return {"increment " + key,
          [=](World&, Cache& c) {
            const auto r = c.increment(key);
            return r ? std::to_string(*r) : std::string{to_string(r.code())};
          },
          [=](Model& m) -> std::string {
            const auto at = m.entries.find(key);
            const auto old = at == m.entries.end() ? std::optional<long>{0} : number_of(at->second.value);
            if (!old) return "not_a_number";
            m.write(key, std::to_string(*old + 1), at != m.entries.end() && at->second.brief);
            return std::to_string(*old + 1);
          }};
}
inline Step append(std::string key, std::string suffix) {
  return {"append " + key,
          [=](World&, Cache& c) {
            const auto r = c.append(key, suffix);
            return r ? std::to_string(*r) : std::string{to_string(r.code())};
          },
          [=](Model& m) {
            const auto at = m.entries.find(key);
            const bool there = at != m.entries.end();
            std::string value = (there ? at->second.value : "") + suffix;
            m.write(key, value, there && at->second.brief);
            return std::to_string(value.size());
          }};
}
inline Step touch(std::string key) {
  return {"touch " + key,
          [=](World&, Cache& c) {
            const auto r = c.touch(key, 1h);
            return r ? std::string{*r ? "touched" : "left"} : std::string{to_string(r.code())};
          },
          [=](Model& m) -> std::string {
            const auto at = m.entries.find(key);
            if (at == m.entries.end()) return "not_found";
            at->second.brief = false;
            return "touched";
          }};
}
/// Runs a duty of the supervisor; nothing that a caller could see.
inline Step duty(std::string name, std::function<void(Maintainer&)> body) {
  return {std::move(name),
          [body = std::move(body)](World& w, Cache&) {
            body(w.keeper());
            return std::string{};
          },
          [](Model&) { return std::string{}; }};
}
inline Step expire() {
  return duty("expire", [](Maintainer& keeper) { static_cast<void>(keeper.expire_due(monotonic_ns(), 1000)); });
}
inline Step help() {
  return duty("help", [](Maintainer& keeper) {
    static_cast<void>(keeper.help_stalled(monotonic_ns()));
    static_cast<void>(keeper.help_stalled(monotonic_ns() + 1'000'000'000));
  });
}
inline Step scrub() {
  return duty("scrub", [](Maintainer& keeper) { static_cast<void>(keeper.scrub(1 << 20)); });
}
/// Lets the short deadline pass.
inline Step pass_time() {
  return duty("pass_time", [](Maintainer&) { std::this_thread::sleep_for(kBriefTtl + 1ms); });
}

}  // namespace calls

/// How a run begins.
struct Beginning {
  std::string name;
  std::function<void(Cache&)> run;
  std::function<void(Model&)> model;
};
inline const std::vector<Beginning>& beginnings() {
  using namespace std::chrono_literals;
  static const std::vector<Beginning> list{
      {"absent", [](Cache&) {}, [](Model&) {}},
      {"present", [](Cache& c) { static_cast<void>(c.set("k", "7")); }, [](Model& m) { m.write("k", "7"); }},
      {"expired",
       [](Cache& c) {
         static_cast<void>(c.set("k", "7", {.ttl = 1us}));
         std::this_thread::sleep_for(1ms);
       },
       [](Model& m) {
         m.write("k", "7", true);
         m.pass();
       }},
      {"brief", [](Cache& c) { static_cast<void>(c.set("k", "7", {.ttl = kBriefTtl})); }, [](Model& m) { m.write("k", "7", true); }},
      {"frozen",
       [](Cache& c) {
         static_cast<void>(c.set("k", "7x", {.ttl = 2h}));
         static_cast<void>(c.increment("k"));
       },
       [](Model& m) { m.write("k", "7x"); }},
      {"sixth",
       [](Cache& c) { for (int i = 0; i < 6; ++i) static_cast<void>(c.set("o" + std::to_string(i), "o")); },
       [](Model& m) { for (int i = 0; i < 6; ++i) m.write("o" + std::to_string(i), "o"); }},
  };
  return list;
}

/// A world with parties that make calls, one after the other or woven into each other by the caller.
class Play {
 public:
  Play(const Beginning& begin, std::size_t parties) : world_{small_world(), kAllEvents}, begin_{begin} {
    for (std::size_t i = 0; i < parties; ++i) {
      clients_.push_back(std::make_unique<Cache>(world_.client("party")));
      static_cast<void>(clients_.back()->contains("nothing"));
    }
    begin.run(world_.cache());
    settled_ns_ = monotonic_ns() + std::chrono::nanoseconds{kBriefTtl}.count() + 1'000'000;
  }
  void call(std::size_t party, const Step& step) {
    const std::size_t at = calls_.size();
    calls_.push_back({.party = party, .step = &step, .begin = ++clock_});
    std::string got = step.run(world_, *clients_[party]);
    calls_[at].got = std::move(got);
    calls_[at].end = ++clock_;
  }

  /// Everything that is wrong with how it ended. `leaks` looks for lost blocks too.
  std::string verdict(bool leaks) {
    std::string wrong = world_.damage();
    while (monotonic_ns() < settled_ns_) std::this_thread::sleep_for(std::chrono::microseconds{100});
    static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1000));
    Model end;
    const EventReader reader = world_.keeper().reader();
    for (std::uint64_t p = reader.head();; ++p) {
      const auto event = reader.at(EventSeq{p});
      if (!event) break;
      end.events[std::string{event->key}] += std::string{to_string(event->kind)} + " " + std::string{event->value.substr(0, 8)} + ", ";
    }
    world_.drain();
    wrong += world_.disagreement();
    for (const auto& [key, value] : world_.state()) end.entries[key] = {value, false};
    Model start;
    begin_.model(start);
    std::vector<bool> placed(calls_.size());
    if (!explained(start, end, placed, false)) {
      wrong += "no order of the calls explains\n";
      for (const Call& c : calls_) {
        wrong += "  party " + std::to_string(c.party) + " " + c.step->name + " -> " + c.got.substr(0, 40) + "  [" +
                 std::to_string(c.begin) + ", " + std::to_string(c.end) + "]\n";
      }
      for (const auto& [key, events] : end.events) wrong += "  events of " + key + ": " + events + "\n";
      wrong += "  state " + World::describe(end.state()) + "\n";
    }
    clients_.clear();
    if (leaks) wrong += world_.leaks();
    return wrong;
  }
  World& world() { return world_; }

 private:
  /// Some order of what is not placed yet leads from `now` to `end`.
  bool explained(const Model& now, const Model& end, std::vector<bool>& placed, bool passed) const {
    long first_end = std::numeric_limits<long>::max();
    bool done = true;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (placed[i]) continue;
      done = false;
      first_end = std::min(first_end, calls_[i].end);
    }
    if (done && (passed || begin_.name != "brief")) return now == end;
    if (!passed && begin_.name == "brief") {
      Model next = now;
      next.pass();
      if (explained(next, end, placed, true)) return true;
    }
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (placed[i] || calls_[i].begin > first_end) continue;  // another one had ended before
      Model next = now;
      if (calls_[i].step->model(next) != calls_[i].got) continue;
      placed[i] = true;
      if (explained(next, end, placed, passed)) return true;
      placed[i] = false;
    }
    return false;
  }

  World world_;
  const Beginning& begin_;
  std::vector<std::unique_ptr<Cache>> clients_;
  std::vector<Call> calls_;
  long clock_ = 0;
  TimeNs settled_ns_ = 0;
};

}  // namespace cachee::test
