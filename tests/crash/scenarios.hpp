// Operations of a client, each in a situation that takes another way through the protocol.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "crash/world.hpp"

namespace cachee::test {

struct Scenario {
  std::string name;
  SegmentOptions options = small_world();
  EventMask events = 0;
  std::function<void(World&)> prepare;
  std::function<void(Cache&)> act{};
  std::function<void(Maintainer&)> duty{};  // instead of `act`: the victim is the supervisor
  bool many_effects = false;    // more than one key's state may change, one after another
  bool attaches = false;        // the client's own attaching and leaving are part of it
  const char* key = "k";        // what the operation is about
  bool lengthy = false;         // takes minutes by the instruction
  bool copies_much = false;     // of the states in the middle of a copy only some are looked at, in the long form too
  bool without_events = false;  // events would keep the memory that the act reuses
};

inline void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

inline std::int64_t wall_ms_in(std::chrono::milliseconds time) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return (std::chrono::duration_cast<std::chrono::milliseconds>(now) + time).count();
}

/// A key whose deadline has passed and that nobody has removed yet.
inline void set_expired(Cache& cache, std::string_view key, std::string_view value) {
  using namespace std::chrono_literals;
  ASSERT_TRUE(cache.set(key, value, {.ttl = 1us}));
  std::this_thread::sleep_for(1ms);  // the deadline is CLOCK_MONOTONIC's
}

inline void fill(Cache& cache, std::size_t value_bytes) {
  for (int i = 0; i < 4000; ++i) {
    const auto set = cache.add("fill" + std::to_string(i), std::string(value_bytes, 'f'));
    if (!set && set.code() != Errc::exists) break;
    const auto info = segment_info(cache);
    if (info->pages_free == 0) break;
  }
}

inline std::vector<Scenario> client_scenarios() {
  using namespace std::chrono_literals;
  const std::string small(20, 's');
  const std::string medium(300, 'm');
  const std::string large(20000, 'L');
  SegmentOptions no_eviction = small_world();
  no_eviction.eviction = EvictionPolicy::none;
  std::vector<Scenario> list{
      {.name = "new_key", .prepare = [](World&) {}, .act = [=](Cache& c) { c.set("k", small); }},
      {.name = "attach_set_leave", .prepare = [](World&) {}, .act = [=](Cache& c) { c.set("k", small); }, .attaches = true},
      {.name = "new_key_beside_others",
       .prepare = [=](World& w) { for (int i = 0; i < 4; ++i) w.cache().set("o" + std::to_string(i), small); },
       .act = [=](Cache& c) { c.set("k", small); }},
      {.name = "new_key_after_erase",
       .prepare = [=](World& w) {
         w.cache().set("k", small);
         w.cache().erase("k");
       },
       .act = [=](Cache& c) { c.set("k", medium); }},
      {.name = "overwrite", .prepare = [=](World& w) { w.cache().set("k", "old"); },
       .act = [=](Cache& c) { c.set("k", small, {.return_old = true}); }},
      {.name = "overwrite_other_size", .prepare = [=](World& w) { w.cache().set("k", small); },
       .act = [=](Cache& c) { c.set("k", medium); }},
      {.name = "overwrite_with_deadline", .prepare = [=](World& w) { w.cache().set("k", "old", {.ttl = 2h}); },
       .act = [=](Cache& c) { c.set("k", small, {.ttl = 1h, .metadata = {{"limit", "5"}}}); }},
      {.name = "overwrite_keeping_deadline", .prepare = [=](World& w) { w.cache().set("k", "old", {.ttl = 2h}); },
       .act = [=](Cache& c) { c.set("k", small, {.keep_ttl = true}); }},
      {.name = "overwrite_with_moment", .prepare = [=](World& w) { w.cache().set("k", "old"); },
       .act = [=](Cache& c) { c.set("k", small, {.deadline_wall_ms = wall_ms_in(1h)}); }},
      {.name = "overwrite_keeping_moment", .prepare = [=](World& w) { w.cache().set("k", "old", {.deadline_wall_ms = wall_ms_in(2h)}); },
       .act = [=](Cache& c) { c.set("k", small, {.keep_ttl = true}); }},
      {.name = "overwrite_many_times", .prepare = [=](World& w) { w.cache().set("k", "0"); },
       .act = [=](Cache& c) { for (int i = 1; i < 80; ++i) c.set("k", std::to_string(i)); }, .many_effects = true, .lengthy = true},
      {.name = "overwrite_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.set("k", small); }, .many_effects = true},
      {.name = "get_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.get("k"); }},
      {.name = "erase", .prepare = [=](World& w) { w.cache().set("k", small); },
       .act = [=](Cache& c) { c.erase("k", {.cause = Cause::invalidate, .return_old = true}); }},
      {.name = "erase_of_a_handler", .prepare = [=](World& w) { w.cache().set("k", small); },
       .act = [=](Cache& c) { c.erase("k", {.cause = Cause::trigger, .provenance = kHandler}); }},
      {.name = "erase_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.erase("k"); }},
      {.name = "erase_absent", .prepare = [=](World&) {}, .act = [=](Cache& c) { c.erase("k"); }},
      {.name = "compare_and_set", .prepare = [=](World& w) { w.cache().set("k", "old"); },
       .act = [=](Cache& c) { c.compare_and_set("k", c.get("k")->version, small); }},
      {.name = "compare_and_set_stale", .prepare = [=](World& w) { w.cache().set("k", "old"); },
       .act = [=](Cache& c) { c.compare_and_set("k", 1, small); }},
      {.name = "compare_and_set_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.compare_and_set("k", 1, small); }},
      {.name = "compare_and_set_absent", .prepare = [=](World&) {}, .act = [=](Cache& c) { c.compare_and_set("k", 1, small); }},
      {.name = "replace", .prepare = [=](World& w) { w.cache().set("k", "old", {.ttl = 2h}); },
       .act = [=](Cache& c) { c.replace("k", small); }},
      {.name = "replace_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.replace("k", small); }},
      {.name = "replace_absent", .prepare = [=](World&) {}, .act = [=](Cache& c) { c.replace("k", small); }},
      // An overwrite, a new key, a value of another class, and one of the key that the batch has written itself.
      {.name = "set_many", .prepare = [=](World& w) { w.cache().set("k", "old"); },
       .act = [=](Cache& c) {
         const KeyValue items[] = {{"k", small}, {"j", small}, {"i", medium}, {"j", "again"}};
         c.set_many(items, {.ttl = 1h});
       },
       .many_effects = true},
      {.name = "add_refused", .prepare = [=](World& w) { w.cache().set("k", "old"); },
       .act = [=](Cache& c) { c.add("k", small); }},
      {.name = "increment", .prepare = [=](World& w) { w.cache().set("k", "41"); },
       .act = [=](Cache& c) { c.increment("k"); }},
      {.name = "increment_refused", .prepare = [=](World& w) { w.cache().set("k", "text", {.ttl = 1h}); },
       .act = [=](Cache& c) { c.increment("k"); }},
      {.name = "increment_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "41"); },
       .act = [=](Cache& c) { c.increment("k"); }, .many_effects = true},
      {.name = "increment_absent", .prepare = [=](World&) {}, .act = [=](Cache& c) { c.increment("k", 2, {.initial = 40}); }},
      {.name = "update", .prepare = [=](World& w) { w.cache().set("k", "old", {.ttl = 2h, .metadata = {{"limit", "5"}}}); },
       .act = [=](Cache& c) { c.update("k", [](std::optional<ValueView> old) { return std::optional{std::string{*old} + "er"}; }); }},
      {.name = "update_that_leaves", .prepare = [=](World& w) { w.cache().set("k", "old", {.ttl = 2h}); },
       .act = [=](Cache& c) { c.update("k", [](std::optional<ValueView>) { return std::optional<std::string>{}; }); }},
      {.name = "append_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.append("k", small); }, .many_effects = true},
      {.name = "append_absent", .prepare = [=](World&) {}, .act = [=](Cache& c) { c.append("k", small); }},
      {.name = "append_to_larger_class", .prepare = [=](World& w) { w.cache().set("k", small); },
       .act = [=](Cache& c) { c.append("k", medium); }},
      {.name = "touch", .prepare = [=](World& w) { w.cache().set("k", small, {.ttl = 2h}); },
       .act = [=](Cache& c) { c.touch("k", 1h); }},
      {.name = "touch_at", .prepare = [=](World& w) { w.cache().set("k", small, {.ttl = 2h}); },
       .act = [=](Cache& c) { c.touch_at("k", wall_ms_in(1h), ExpireCondition::less); }},
      {.name = "touch_at_the_past", .prepare = [=](World& w) { w.cache().set("k", small); },
       .act = [=](Cache& c) { c.touch_at("k", 1); }, .many_effects = true},
      {.name = "touch_first_deadline", .prepare = [=](World& w) { w.cache().set("k", small); },
       .act = [=](Cache& c) { c.touch("k", 1h); }},
      {.name = "touch_expired", .prepare = [=](World& w) { set_expired(w.cache(), "k", "old"); },
       .act = [=](Cache& c) { c.touch("k", 1h); }},
      {.name = "touch_frozen",
       .prepare = [=](World& w) {
         w.cache().set("k", "text", {.ttl = 2h});
         w.cache().increment("k");  // refused, but it froze the deadline
       },
       .act = [=](Cache& c) { c.touch("k", 1h); }},
      {.name = "persist", .prepare = [=](World& w) { w.cache().set("k", small, {.ttl = 2h}); },
       .act = [=](Cache& c) { c.persist("k"); }},
      {.name = "first_overflow_bucket",
       .prepare = [=](World& w) { for (int i = 0; i < 6; ++i) w.cache().set("o" + std::to_string(i), small); },
       .act = [=](Cache& c) { c.set("k", small); }},
      {.name = "second_overflow_bucket",
       .prepare = [=](World& w) { for (int i = 0; i < 13; ++i) w.cache().set("o" + std::to_string(i), small); },
       .act = [=](Cache& c) { c.set("k", small); }},
      {.name = "overwrite_in_overflow_bucket",
       .prepare = [=](World& w) { for (int i = 0; i < 20; ++i) w.cache().set("o" + std::to_string(i), small); },
       .act = [=](Cache& c) { c.set("o18", medium); }, .key = "o18"},
      {.name = "longest_chain_evicts",
       .prepare = [=](World& w) {
         for (int i = 0; i < 62; ++i) {
           w.cache().set("o" + std::to_string(i), small);
           w.cache().set("p" + std::to_string(i), small);
           w.drain();
         }
       },
       .act = [=](Cache& c) { for (int i = 0; i < 3; ++i) c.set("k" + std::to_string(i), small); }, .many_effects = true},
      {.name = "large_new", .prepare = [=](World&) {}, .act = [=](Cache& c) { c.set("k", large); }},
      {.name = "large_overwrite", .prepare = [=](World& w) { w.cache().set("k", large); },
       .act = [=](Cache& c) { c.set("k", large + "2"); }},
      {.name = "large_erase_and_reuse", .prepare = [=](World& w) { w.cache().set("k", large); },
       .act = [=](Cache& c) {
         c.erase("k");
         for (int i = 0; i < 70; ++i) c.set("j", large + std::to_string(i));
       },
       .many_effects = true, .lengthy = true, .copies_much = true, .without_events = true},
      {.name = "large_without_room", .options = small_world(4),
       .prepare = [=](World& w) {
         for (int i = 0; i < 16; ++i) w.cache().set("o" + std::to_string(i), std::string(60000, 'o'));
         w.drain();
       },
       .act = [=](Cache& c) { c.set("k", std::string(90000, 'k')); }, .many_effects = true, .lengthy = true, .copies_much = true},
      {.name = "evicts_of_its_class", .options = small_world(64),
       .prepare = [=](World& w) {
         for (int i = 0; i < 600; ++i) {
           w.cache().set("fill" + std::to_string(i), std::string(1500, 'f'));
           w.drain();
         }
       },
       .act = [=](Cache& c) { for (int i = 0; i < 3; ++i) c.set("k" + std::to_string(i), std::string(1500, 'k')); },
       .many_effects = true},
      {.name = "empties_a_page_for_another_class", .options = small_world(64),
       .prepare = [=](World& w) {
         for (int i = 0; i < 600; ++i) {
           w.cache().set("fill" + std::to_string(i), std::string(1500, 'f'));
           w.drain();
         }
       },
       .act = [=](Cache& c) { c.set("k", small); }, .many_effects = true, .lengthy = true},
      {.name = "no_room_and_no_eviction", .options = no_eviction,
       .prepare = [=](World& w) {
         // 14 pages each of some 225: the rest is too little for the act, and enough for what is small.
         for (int i = 0; i < 15; ++i) {
           w.cache().set("o" + std::to_string(i), std::string(56000, 'o'));
           w.drain();
         }
       },
       .act = [=](Cache& c) { c.set("k", std::string(90000, 'k')); }, .lengthy = true},
      {.name = "pinned_view", .prepare = [=](World& w) { w.cache().set("k", large); },
       .act = [=](Cache& c) {
         const auto pinned = c.view("k");
         c.set("k", "new");
         c.set("j", "other");
       },
       .many_effects = true},
      {.name = "clear",
       .prepare = [=](World& w) { for (int i = 0; i < 10; ++i) w.cache().set("o" + std::to_string(i), small); },
       .act = [=](Cache& c) { c.clear(); }, .many_effects = true},
  };
  const std::size_t plain = list.size();
  for (std::size_t i = 0; i < plain; ++i) {
    if (list[i].without_events) continue;
    Scenario with = list[i];
    with.name += "_with_trigger";
    with.events = kAllEvents;
    list.push_back(std::move(with));
  }
  const auto read_event = [&](const char* name, std::function<void(Cache&)> act) {
    list.push_back({.name = name, .events = kReadEvents, .prepare = [=](World& w) { w.cache().set("k", medium); }, .act = std::move(act)});
  };
  read_event("read_event", [](Cache& c) { c.get("k"); });
  read_event("read_event_of_view", [](Cache& c) { c.view("k"); });
  read_event("read_event_of_get_into", [](Cache& c) {
    char buffer[512];
    c.get_into("k", buffer);
  });
  read_event("read_event_of_get_many", [](Cache& c) {
    const KeyView keys[] = {"k", "absent"};
    c.get_many(keys, [](std::size_t, std::optional<ValueView>) {});
  });
  list.push_back({.name = "expires_into_a_full_ring", .events = kAllEvents,
                  .prepare = [=](World& w) {
                    set_expired(w.cache(), "k", "old");
                    while (w.cache().set("o", small)) {
                    }
                  },
                  .act = [=](Cache& c) { c.get("k"); }});
  list.push_back({.name = "set_into_the_last_place", .events = kAllEvents,
                  .prepare = [=](World& w) {
                    w.cache().set("o", small);
                    for (;;) {
                      const auto ring = segment_info(w.cache())->ring;
                      if (ring.tail - ring.head + 1 >= ring.admission_limit) break;
                      w.cache().set("k", small);
                    }
                  },
                  .act = [=](Cache& c) { c.set("k", medium); }});
  list.push_back({.name = "set_into_a_full_ring", .events = kAllEvents,
                  .prepare = [=](World& w) { while (w.cache().set("k", small)) {} },
                  .act = [=](Cache& c) { c.set("k", medium); }});
  return list;
}

}  // namespace cachee::test
