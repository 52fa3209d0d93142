// Calls of several parties on a few keys, with a model of each: what it returns and which events it
// makes when it happens at one moment. Trial::unexplained() looks for an order of the calls, within
// the times they took, that gives what everybody got, the events per key, and the state.
#pragma once

#include <cerrno>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "crash/world.hpp"

namespace cachee::test {

/// The keyspace as it would be if one thing happened at a time.
struct Model {
  State entries;
  std::map<std::string, std::string> events;  // per key, as text
  std::set<std::string> brief;                // keys whose deadline passes during the run
  std::set<std::string> timed;                // keys whose deadline is hours away
  std::set<std::string> rewritten;            // keys that have not the version they had at the beginning

  void write(const std::string& key, std::string value, bool keeps_deadline = false) {
    events[key] += "write " + value.substr(0, 8) + ", ";
    entries[key] = std::move(value);
    rewritten.insert(key);
    if (!keeps_deadline) forget_deadline(key);
  }
  void remove(const std::string& key, const char* how) {
    events[key] += std::string{how} + " " + entries[key].substr(0, 8) + ", ";
    entries.erase(key);
    forget_deadline(key);
  }
  /// True when it had one.
  bool forget_deadline(const std::string& key) { return brief.erase(key) + timed.erase(key) != 0; }
  /// The deadlines pass.
  void pass() {
    for (const std::string& key : std::set<std::string>{brief}) remove(key, "expire");
  }
  bool same_end(const Model& other) const { return entries == other.entries && events == other.events; }
};

struct Step {
  std::string name;
  std::function<std::string(World&, Cache&)> run;   // returns what the caller got
  std::function<std::string(Model&)> model;         // the same, at one moment
  std::function<void(World&)> ready{};              // of a victim: before it begins
  /// Instead of `run`: the victim has no handle yet, attaches and leaves.
  std::function<std::string(World&)> run_alone{};
};

namespace calls {

using namespace std::chrono_literals;

inline std::string text_of(const Result<WriteResult>& r) {
  if (!r) return to_string(r.code());
  return std::string{r->created ? "created" : "updated"} + (r->old_value ? " over " + *r->old_value : "");
}
inline std::optional<long> number_of(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const long n = std::strtol(text.c_str(), &end, 10);
  return end != text.c_str() && *end == '\0' && errno == 0 ? std::optional{n} : std::nullopt;
}

inline Step set(std::string key, std::string value) {
  return {"set " + key, [=](World&, Cache& c) { return text_of(c.set(key, value, {.return_old = true})); },
          [=](Model& m) {
            const auto at = m.entries.find(key);
            std::string got = at == m.entries.end() ? "created" : "updated over " + at->second;
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
            std::string got = "erased " + at->second;
            m.remove(key, "delete");
            return got;
          }};
}
inline std::string read_model(const Model& m, const std::string& key) {
  const auto at = m.entries.find(key);
  return at == m.entries.end() ? "not_found" : at->second;
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
            const auto old = at == m.entries.end() ? std::optional<long>{0} : number_of(at->second);
            if (!old) return "not_a_number";
            m.write(key, std::to_string(*old + 1), true);
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
            std::string value = (at != m.entries.end() ? at->second : "") + suffix;
            m.write(key, value, true);
            return std::to_string(value.size());
          }};
}
inline Step replace(std::string key, std::string value) {
  return {"replace " + key, [=](World&, Cache& c) { return text_of(c.replace(key, value, {.return_old = true})); },
          [=](Model& m) -> std::string {
            const auto at = m.entries.find(key);
            if (at == m.entries.end()) return "not_found";
            std::string got = "updated over " + at->second;
            m.write(key, value);
            return got;
          }};
}
/// Over the version that the key had before the victim began.
inline Step compare_and_set(std::string key, std::string value) {
  const auto version = std::make_shared<std::uint64_t>(0);
  return {"compare_and_set " + key,
          [=](World&, Cache& c) { return text_of(c.compare_and_set(key, *version, value, {.return_old = true})); },
          [=](Model& m) -> std::string {
            const auto at = m.entries.find(key);
            if (at == m.entries.end()) return "not_found";
            if (m.rewritten.contains(key)) return "stale";
            std::string got = "updated over " + at->second;
            m.write(key, value);
            return got;
          },
          [=](World& w) {
            // A reader without a slot: it leaves an expired record to the call.
            const auto reader = Cache::open({.name = w.name(), .access = Access::read_only});
            if (const auto there = reader->get(key)) *version = there->version;
          }};
}
inline Step persist(std::string key) {
  return {"persist " + key,
          [=](World&, Cache& c) {
            const auto r = c.persist(key);
            return r ? std::string{*r ? "persisted" : "left"} : std::string{to_string(r.code())};
          },
          [=](Model& m) -> std::string {
            if (!m.entries.contains(key)) return "not_found";
            return m.forget_deadline(key) ? "persisted" : "left";
          }};
}
/// A value that takes a run of pages.
inline constexpr std::size_t kRunPages = 2;
inline Step set_run(std::string key) {
  Step step = set(std::move(key), std::string(5000, 'r'));
  step.name = "set_run" + step.name.substr(step.name.find(' '));
  return step;
}
/// A client comes, sets, and goes.
inline Step visit(std::string key, std::string value) {
  const Step one = set(std::move(key), std::move(value));
  Step step{"visit" + one.name.substr(one.name.find(' ')), {}, one.model};
  step.run_alone = [one](World& w) {
    Cache visitor = w.client("visitor");
    return one.run(w, visitor);
  };
  return step;
}
inline Step touch(std::string key) {
  return {"touch " + key,
          [=](World&, Cache& c) {
            const auto r = c.touch(key, 1h);
            return r ? std::string{*r ? "touched" : "left"} : std::string{to_string(r.code())};
          },
          [=](Model& m) -> std::string {
            if (!m.entries.contains(key)) return "not_found";
            m.forget_deadline(key);
            m.timed.insert(key);
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
/// Writes a key many times. So many retired blocks make their writer look which ones are free again
/// (kRetiredBatch): what it retires next is what it uses next.
inline constexpr int kChurnTimes = 64;
inline Step churn(std::string key, std::size_t value_bytes = 0) {
  const auto value = [=](int i) {
    std::string text = std::to_string(i);
    text.resize(std::max(text.size(), value_bytes), '.');
    return text;
  };
  return {"churn " + key,
          [=](World&, Cache& c) {
            std::string got;
            for (int i = 0; i < kChurnTimes; ++i) {
              if (const auto r = c.set(key, value(i)); !r) got += to_string(r.code());
            }
            return got;
          },
          [=](Model& m) {
            for (int i = 0; i < kChurnTimes; ++i) m.write(key, value(i));
            return std::string{};
          }};
}
/// Deadlines pass: nobody calls it, but everything is before it or behind it.
inline Step pass() {
  return {"the deadline", [](World&, Cache&) { return std::string{}; },
          [](Model& m) {
            m.pass();
            return std::string{};
          }};
}
/// Handles every event there is and makes room in the ring.
inline Step drain() {
  return {"drain",
          [](World& w, Cache&) {
            w.drain();
            return std::string{};
          },
          [](Model&) { return std::string{}; }};
}

/// Erases all there is.
inline Step empty() {
  return {"empty",
          [](World& w, Cache& c) {
            std::string wrong;
            for (State now = w.state(); !now.empty() && wrong.empty(); now = w.state()) {
              for (const auto& [key, value] : now) {
                if (const auto gone = c.erase(key); !gone && gone.code() != Errc::not_found) wrong = to_string(gone.code());
              }
            }
            return wrong;
          },
          [](Model& m) {
            for (const auto& [key, value] : State{m.entries}) m.remove(key, "delete");
            return std::string{};
          }};
}
/// Of an empty cache: a stopped process withholds the blocks that it names (nw, old, hz and its pins), and of
/// pages the one that it is claiming or those of a run. Everything else is free for all.
inline Step withheld() {
  constexpr std::uint64_t kNames = 3;
  return {"withheld",
          [](World& w, Cache&) {
            w.leave();  // what its own thread retired becomes hints
            for (int rounds = 0; rounds < 2; ++rounds) static_cast<void>(w.keeper().scrub(1 << 20));
            const Cache& cache = w.keeper().cache();
            std::uint64_t names = kNames;
            const auto clients = list_clients(cache);
            for (const ClientInfo& client : *clients) names += client.pins;
            std::uint64_t blocks = 0;
            const auto info = segment_info(cache);
            std::uint64_t pages = info->pages - info->pages_free;
            const auto slabs = list_slabs(cache);
            for (const SlabClassInfo& slab : *slabs) {
              blocks += slab.live + slab.waiting;
              pages -= slab.pages;
            }
            std::string text;
            if (blocks > names) text += std::to_string(blocks) + " blocks, but at most " + std::to_string(names) + " names; ";
            if (pages > kRunPages) text += std::to_string(pages) + " pages; ";
            return text;
          },
          [](Model&) { return std::string{}; }};
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
         m.write("k", "7");
         m.remove("k", "expire");
       }},
      {"frozen",
       [](Cache& c) {
         static_cast<void>(c.set("k", "7x", {.ttl = 2h}));
         static_cast<void>(c.increment("k"));
       },
       [](Model& m) {
         m.write("k", "7x");
         m.timed.insert("k");
       }},
      {"wide", [](Cache& c) { static_cast<void>(c.set("k", std::string(300, '7'))); },
       [](Model& m) { m.write("k", std::string(300, '7')); }},
      {"sixth",
       [](Cache& c) { for (int i = 0; i < 6; ++i) static_cast<void>(c.set("o" + std::to_string(i), "o")); },
       [](Model& m) { for (int i = 0; i < 6; ++i) m.write("o" + std::to_string(i), "o"); }},
  };
  return list;
}

/// The calls of one run and how it ended.
class Trial {
 public:
  /// Without a trigger there are no events to compare.
  explicit Trial(const Beginning& begin, bool has_trigger = true) : begin_{begin}, has_trigger_{has_trigger} {}
  /// A call begins; it is open until end().
  std::size_t begin(const Step& step) {
    calls_.push_back({&step, {}, ++clock_});
    return calls_.size() - 1;
  }
  void end(std::size_t call, std::string got) {
    calls_[call].got = std::move(got);
    calls_[call].end = ++clock_;
  }
  const std::string& got(std::size_t call) const { return calls_[call].got; }
  void run(const Step& step, World& world, Cache& cache) {
    read(world);
    const std::size_t call = begin(step);
    end(call, step.run(world, cache));
  }

  /// Reads the events that were not read yet. Before they are released.
  void read(World& world) {
    const EventReader reader = world.events();
    for (;; ++next_) {
      const auto event = reader.at(EventSeq{next_});
      if (!event) break;
      end_.events[std::string{event->key}] += std::string{to_string(event->kind)} + " " + std::string{event->value.substr(0, 8)} + ", ";
    }
  }

  /// Empty: some order of the calls explains the events and the state. An open call may have taken
  /// effect or not.
  std::string unexplained(World& world) {
    read(world);
    Model& end = end_;
    end.entries = world.state();
    Model start;
    begin_.model(start);
    start.rewritten.clear();
    std::vector<bool> placed(calls_.size());
    if (explained(start, end, placed)) return {};
    std::string text = "no order of the calls explains\n";
    for (const Call& c : calls_) {
      text += "  " + c.step->name + " -> " + (c.open() ? "(open)" : c.got.substr(0, 40)) + "  from " + std::to_string(c.begin) + "\n";
    }
    for (const auto& [key, events] : end.events) {
      text += "  events of " + key + ": " + (events.size() > 300 ? "... " + events.substr(events.size() - 300) : events) + "\n";
    }
    return text + "  state " + World::describe(end.entries) + "\n";
  }

 private:
  struct Call {
    const Step* step;
    std::string got;
    long begin;
    long end = std::numeric_limits<long>::max();
    bool open() const { return end == std::numeric_limits<long>::max(); }
  };
  /// Some order of what is not placed yet leads from `now` to `end`.
  bool explained(const Model& now, const Model& end, std::vector<bool>& placed) const {
    long first_end = std::numeric_limits<long>::max();
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (!placed[i]) first_end = std::min(first_end, calls_[i].end);
    }
    const bool same = has_trigger_ ? now.same_end(end) : now.entries == end.entries;
    if (first_end == std::numeric_limits<long>::max() && same) return true;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (placed[i] || calls_[i].begin > first_end) continue;  // another one had ended before
      Model next = now;
      if (calls_[i].step->model(next) != calls_[i].got && !calls_[i].open()) continue;
      placed[i] = true;
      if (explained(next, end, placed)) return true;
      placed[i] = false;
    }
    return false;
  }

  const Beginning& begin_;
  bool has_trigger_;
  std::vector<Call> calls_;
  long clock_ = 0;
  std::uint64_t next_ = 0;  // event to read next
  Model end_;
};

}  // namespace cachee::test
