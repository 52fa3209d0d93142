// Little scripts of parties that meet on one key of a one-bucket world.
#pragma once

#include "sim/explore.hpp"

namespace cachee::sim {
namespace steps {

inline Step call(Kind kind, std::string value = {}, std::optional<std::int64_t> ttl = {}) {
  return {.name = test::to_string(kind), .kind = kind, .value = std::move(value), .ttl = ttl};
}
inline Step set(std::string value) { return call(Kind::set, std::move(value)); }
inline Step brief(std::string value) { return call(Kind::set, std::move(value), kMinute); }
inline Step lasting(std::string value) {  // 10 hours by the wall clock
  Step step = call(Kind::set, std::move(value), 10 * kHour);
  step.moment = true;
  return step;
}
inline Step get() { return call(Kind::get); }
inline Step erase() { return call(Kind::erase); }
inline Step touch() { return call(Kind::touch, {}, 10 * kHour); }
inline Step duty(Step::Duty d) { return {.name = "duty", .duty = d}; }
inline Step pin() { return {.name = "pin", .duty = Step::Duty::pin, .kind = Kind::get}; }
inline Step of(std::string key, Step step) {
  step.key = std::move(key);
  return step;
}

}  // namespace steps

inline std::vector<Scenario> pairs() {
  using namespace steps;
  using D = Step::Duty;
  const Script present{set("A-initial-value")};
  const Script brief_one{brief("A-initial-value")};
  const Script expired{brief("A-initial-value"), duty(D::pass_time)};
  const Script frozen{call(Kind::set, "text", 2 * kHour), call(Kind::increment, "1")};
  Script crowded;
  for (int i = 0; i < 6; ++i) crowded.push_back(of("o" + std::to_string(i), set("other" + std::to_string(i))));
  const Step read_on = get();
  std::vector<Scenario> list{
      {"set_set", present, {{set("B-one")}, {set("C-two-longer-value")}}},
      {"set_erase", present, {{set("B-one")}, {erase()}}},
      {"insert_insert", {}, {{set("B-one")}, {set("C-two")}}},
      {"insert_insert_of_others", {}, {{set("B-one")}, {of("j", set("C-two"))}}},
      {"add_add", {}, {{call(Kind::add, "B-one")}, {call(Kind::add, "C-two")}}},
      {"insert_erase", {}, {{set("B-one")}, {erase(), get()}}},
      {"erase_erase", present, {{erase()}, {erase()}}},
      {"erase_insert", present, {{erase(), get()}, {call(Kind::add, "B-one")}}},
      {"reinsert_erase", present, {{erase(), set("B-one")}, {erase()}}},
      {"set_get", present, {{set("B-one"), set("C-two")}, {get(), get()}}},
      {"reuse_get",
       present,
       {{set("B-one-value-xyz"), duty(D::consume), duty(D::reclaim), set("C-one-value-xyz"), duty(D::consume),
         duty(D::reclaim), of("j", set("D-one-value-xyz"))},
        {get()}}},
      {"reuse_pin", present, {{erase(), duty(D::consume), duty(D::reclaim), of("j", set("D-one-value-xyz"))}, {pin()}}},
      {"increment_increment",
       {call(Kind::increment, "1")},
       {{call(Kind::increment, "10")}, {call(Kind::increment, "100")}}},
      {"append_append", {}, {{call(Kind::append, "bb")}, {call(Kind::append, "cccc")}}},
      {"append_erase", present, {{call(Kind::append, "-bb")}, {erase()}}},
      {"replace_erase", present, {{call(Kind::replace, "B-one")}, {erase()}}},
      {"touch_expire", brief_one, {{touch(), get()}, {duty(D::pass_time), get()}}},
      {"touch_tend", brief_one, {{touch()}, {duty(D::pass_time), duty(D::tend)}}},
      {"touch_set", brief_one, {{touch()}, {set("B-one")}}},
      {"touch_increment", {call(Kind::set, "7", kMinute)}, {{touch(), get()}, {call(Kind::increment, "10")}}},
      {"touch_of_frozen", frozen, {{touch()}, {call(Kind::append, "-bb")}}},
      {"persist_expire", brief_one, {{call(Kind::persist), get()}, {duty(D::pass_time), get()}}},
      {"set_of_expired", expired, {{set("B-one")}, {get(), get()}}},
      {"set_expired_by_sweep", expired, {{set("B-one")}, {duty(D::tend)}}},
      {"erase_of_expired", expired, {{erase()}, {duty(D::tend)}}},
      {"brief_set_sweep", present, {{brief("B-one")}, {duty(D::pass_time), duty(D::tend), duty(D::tend)}}},
      {"moment_step", present, {{lasting("B-one")}, {duty(D::step_clock)}}},
      {"moment_step_tend", {lasting("A-initial-value")}, {{lasting("B-one"), get()}, {duty(D::step_clock), duty(D::tend)}}},
      {"moment_of_another_step", {of("j", lasting("J-initial"))}, {{lasting("B-one")}, {duty(D::step_clock), duty(D::tend)}}},
      {"touched_moment_step", {lasting("7")}, {{call(Kind::increment, "10")}, {duty(D::step_clock), duty(D::tend)}}},
      {"sweep_step", {lasting("A-initial-value"), of("j", brief("J-initial")), duty(D::pass_time)},
       {{duty(D::tend)}, {duty(D::step_clock)}}},
      // The sweep raises the bucket between W1 and W2, and V1 passes it by: only O2 is left to tell.
      {"moment_sweep_step", {of("j", brief("J-initial")), duty(D::pass_time)},
       {{lasting("B-one")}, {duty(D::tend)}, {duty(D::step_clock)}}},
      {"set_evict", present, {{set("B-one")}, {duty(D::evict)}}, true, true},
      {"erase_evict", present, {{erase()}, {duty(D::evict)}}, true, true},
      {"insert_evict", {of("j", set("J-initial"))}, {{set("B-one")}, {duty(D::evict)}}, true, true},
      {"evict_of_due", brief_one, {{duty(D::evict)}, {duty(D::pass_time), get(), set("B-one")}}, true, true},
      {"erase_of_due", brief_one, {{erase()}, {duty(D::pass_time), get(), set("B-one")}}},
      {"touch_evict", brief_one, {{touch(), get()}, {duty(D::evict)}}, true, true},
      {"set_consume", present, {{set("B-one"), set("C-two")}, {duty(D::consume)}}},
      {"erase_consume", present, {{erase(), set("C-two")}, {duty(D::consume)}}},
      {"set_scrub", present, {{set("B-one"), duty(D::consume), duty(D::reclaim)}, {duty(D::scrub)}}},
      {"set_drain_page", {}, {{set("B-one")}, {duty(D::drain_page)}}},
      {"set_vacate", present, {{set("B-one")}, {duty(D::vacate)}}},
      {"erase_vacate", present, {{erase(), get()}, {duty(D::vacate)}}},
      {"increment_vacate", {call(Kind::set, "7", kMinute)}, {{call(Kind::increment, "10")}, {duty(D::vacate)}}},
      {"touch_vacate", brief_one, {{touch(), get()}, {duty(D::vacate)}}},
      {"expire_vacate", brief_one, {{duty(D::pass_time), get()}, {duty(D::vacate)}}},
      {"get_vacate", present, {{get(), pin()}, {duty(D::vacate)}}},
      {"vacate_vacate", brief_one, {{duty(D::vacate)}, {duty(D::vacate)}}},
      {"overflow_overflow", crowded, {{set("B-one")}, {of("j", set("C-two"))}}},
      {"compare_compare",
       present,
       {{{.name = "cas", .kind = Kind::compare_and_set, .value = "B", .version_in = 1}},
        {{.name = "cas", .kind = Kind::compare_and_set, .value = "C", .version_in = 1}}}},
  };
  const std::size_t watched = list.size();
  for (std::size_t i = 0; i < watched; ++i) {
    Scenario without = list[i];
    without.name += "_unwatched";
    without.watched = false;
    list.push_back(std::move(without));
  }
  list.push_back({"set_publish", present, {{set("B-one"), set("C-two")}, {duty(D::publish), set("D-three")}}, false});
  list.push_back({"insert_publish", {}, {{set("B-one"), erase(), set("C-two")}, {duty(D::publish)}}, false});
  return list;
}

}  // namespace cachee::sim
