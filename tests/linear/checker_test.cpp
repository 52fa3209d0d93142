// Goal: the search for linearizations is right. Method: histories made by hand, good ones and ones
// with a planted fault of each kind; then many small random histories, where the search must say
// what trying every order says.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "linear/checker.hpp"
#include "support/seed.hpp"

namespace cachee::test {
namespace {

Operation call(Kind kind, std::int64_t begin, std::int64_t end, Outcome outcome = Outcome::ok) {
  Operation o;
  o.kind = kind;
  o.begin = begin;
  o.end = end;
  o.outcome = outcome;
  return o;
}
Operation set(std::string value, std::int64_t begin, std::int64_t end, std::uint64_t version = 0) {
  Operation o = call(Kind::set, begin, end);
  o.value = std::move(value);
  o.version_out = version;
  return o;
}
Operation get(std::string value, std::int64_t begin, std::int64_t end, std::uint64_t version = 0) {
  Operation o = call(Kind::get, begin, end);
  o.got = std::move(value);
  o.version_out = version;
  return o;
}
Operation miss(std::int64_t begin, std::int64_t end) { return call(Kind::get, begin, end, Outcome::not_found); }
Operation erase(std::int64_t begin, std::int64_t end) { return call(Kind::erase, begin, end); }
Operation increment(std::string delta, std::string now, std::int64_t begin, std::int64_t end) {
  Operation o = call(Kind::increment, begin, end);
  o.value = std::move(delta);
  o.got = std::move(now);
  return o;
}
Operation append(std::string suffix, std::size_t length, std::int64_t begin, std::int64_t end) {
  Operation o = call(Kind::append, begin, end);
  o.value = std::move(suffix);
  o.got = std::to_string(length);
  return o;
}
Operation lost(Operation o, std::int64_t end = kNever) {
  o.outcome = Outcome::pending;
  o.end = end;
  o.got.clear();
  o.version_out = 0;
  return o;
}

struct Sample {
  std::string name;
  std::vector<Operation> history;
  bool good;
  Rules rules{};
};
void PrintTo(const Sample& sample, std::ostream* out) { *out << sample.name; }

std::vector<Sample> samples() {
  const auto with_ttl = [](Operation o, std::int64_t ttl) {
    o.ttl = ttl;
    return o;
  };
  const auto if_version = [](Operation o, std::uint64_t version) {
    o.kind = Kind::compare_and_set;
    o.version_in = version;
    return o;
  };
  const auto as = [](Operation o, Kind kind) {
    o.kind = kind;
    return o;
  };
  const auto over = [](Operation o, std::string old) {
    o.old = std::move(old);
    return o;
  };
  return {
      {"empty", {}, true},
      {"one_after_the_other", {set("a", 1, 2, 10), get("a", 3, 4, 10), set("b", 5, 6, 11), get("b", 7, 8, 11)}, true},
      {"stale_read", {set("a", 1, 2), set("b", 3, 4), get("a", 5, 6)}, false},
      {"overlapping_read_sees_either_new", {set("a", 1, 2), set("b", 3, 9), get("b", 4, 5)}, true},
      {"overlapping_read_sees_either_old", {set("a", 1, 2), set("b", 3, 9), get("a", 4, 5)}, true},
      {"new_then_old_read", {set("a", 1, 2), set("b", 3, 20), get("b", 4, 5), get("a", 6, 7)}, false},
      {"read_of_unwritten", {set("a", 1, 2), get("x", 3, 4)}, false},
      {"read_before_the_write_began", {get("a", 1, 2), set("a", 3, 4)}, false},
      {"torn_value", {set("aaaa", 1, 2), set("bbbb", 3, 6), get("bbaa", 4, 5)}, false},
      {"miss_of_what_is_there", {set("a", 1, 2), miss(3, 4)}, false},
      {"miss_while_evicting", {set("a", 1, 2), miss(3, 4)}, true, {.evicts = true}},
      {"evicted_and_back", {set("a", 1, 2), miss(3, 4), get("a", 5, 6)}, false, {.evicts = true}},
      {"resurrected_after_erase", {set("a", 1, 2), erase(3, 4), get("a", 5, 6)}, false},
      {"erase_of_another_value", {set("a", 1, 2), over(erase(3, 4), "b")}, false},
      {"erased_twice", {set("a", 1, 2), erase(3, 8), erase(4, 9)}, false},
      {"one_of_two_erases", {set("a", 1, 2), erase(3, 8), call(Kind::erase, 4, 9, Outcome::not_found)}, true},
      {"lost_update", {increment("1", "1", 1, 2), increment("1", "2", 3, 9), increment("1", "2", 4, 8)}, false},
      {"counted_right",
       {increment("1", "1", 1, 2), increment("1", "3", 3, 9), increment("1", "2", 4, 8), get("3", 10, 11)},
       true},
      {"duplicate_increment", {increment("1", "1", 1, 2), increment("1", "2", 3, 4), get("3", 5, 6)}, false},
      {"duplicate_append", {append("x", 1, 1, 2), append("y", 2, 3, 4), get("xyy", 5, 6)}, false},
      {"appended_in_other_order", {append("x", 2, 1, 9), append("y", 1, 2, 8), get("yx", 10, 11)}, true},
      {"added_twice", {as(set("a", 1, 6), Kind::add), as(set("b", 2, 5), Kind::add)}, false},
      {"add_refused_by_nothing", {call(Kind::add, 1, 2, Outcome::exists)}, false},
      {"replaced_nothing", {as(set("a", 1, 2), Kind::replace)}, false},
      {"compared_right", {set("a", 1, 2, 5), if_version(set("b", 3, 4, 6), 5), get("b", 5, 6, 6)}, true},
      {"two_winners", {set("a", 1, 2, 5), if_version(set("b", 3, 8, 6), 5), if_version(set("c", 4, 9, 7), 5)}, false},
      {"stale_for_no_reason",
       {set("a", 1, 2, 5),
        [] {
          Operation o = call(Kind::compare_and_set, 3, 4, Outcome::stale);
          o.version_in = 5;
          return o;
        }()},
       false},
      {"version_came_back", {set("a", 1, 2, 5), erase(3, 4), set("b", 5, 6, 5)}, false},
      {"version_went_down", {set("a", 1, 2, 5), set("b", 3, 4, 4)}, false},
      {"told_updated_but_absent",
       {[] {
         Operation o = set("a", 1, 2);
         o.created = false;
         return o;
       }()},
       false},
      {"old_value_of_another", {set("a", 1, 2), over(set("b", 3, 4), "x")}, false},
      {"pending_took_effect", {set("a", 1, 2), lost(set("b", 3, 4)), get("a", 5, 6), get("b", 7, 8)}, true},
      {"pending_never_did", {set("a", 1, 2), lost(set("b", 3, 4)), get("a", 5, 6), get("a", 7, 8)}, true},
      {"pending_took_effect_and_back", {set("a", 1, 2), lost(set("b", 3, 4)), get("b", 5, 6), get("a", 7, 8)}, false},
      {"pending_twice", {lost(increment("1", "", 1, 2)), get("1", 3, 4), get("2", 5, 6)}, false},
      {"pending_after_its_recovery", {set("a", 1, 2), lost(set("b", 3, 4), 6), get("a", 7, 8), get("b", 9, 10)}, false},
      {"pending_before_it_began", {set("a", 1, 2), get("b", 3, 4), lost(set("b", 5, 6))}, false},
      {"pending_erase", {set("a", 1, 2), lost(erase(3, 4)), miss(5, 6), miss(7, 8)}, true},
      {"expired", {with_ttl(set("a", 1, 2), 10), get("a", 5, 6), miss(13, 14)}, true},
      {"expired_too_early", {with_ttl(set("a", 1, 2), 10), miss(5, 6)}, false},
      {"read_behind_the_deadline", {with_ttl(set("a", 1, 2), 10), get("a", 13, 14)}, false},
      {"read_in_doubt", {with_ttl(set("a", 1, 2), 10), get("a", 10, 14)}, true},
      {"touched",
       {with_ttl(set("a", 1, 2), 10), with_ttl(call(Kind::touch, 3, 4), 100), get("a", 50, 51), miss(110, 111)},
       true},
      {"touched_after_a_miss",
       {with_ttl(set("a", 1, 2), 10), miss(12, 13), with_ttl(call(Kind::touch, 14, 15), 100)},
       false},
      {"touch_forgotten", {with_ttl(set("a", 1, 2), 10), with_ttl(call(Kind::touch, 3, 4), 100), miss(13, 14)}, false},
      {"persisted", {with_ttl(set("a", 1, 2), 10), call(Kind::persist, 3, 4), get("a", 50, 51)}, true},
      {"nothing_to_persist", {set("a", 1, 2), call(Kind::persist, 3, 4)}, false},
      {"deadline_kept_by_increment",
       {with_ttl(set("1", 1, 2), 10), increment("1", "2", 3, 4), get("2", 13, 14)},
       false},
      {"deadline_dropped_by_set", {with_ttl(set("a", 1, 2), 10), set("b", 3, 4), get("b", 13, 14)}, true},
      {"began_at_the_others_end", {set("a", 1, 2), set("b", 2, 3), get("a", 3, 4)}, true},
  };
}

class Samples : public ::testing::TestWithParam<Sample> {};

TEST_P(Samples, AreJudgedRight) {
  const Sample& sample = GetParam();
  const Verdict v = check_linearizable(sample.history, sample.rules);
  EXPECT_EQ(v.answer, sample.good ? Answer::linearizable : Answer::violation) << v.why << describe(sample.history);
  EXPECT_EQ(v.why.empty(), sample.good);
}
INSTANTIATE_TEST_SUITE_P(Checker, Samples, ::testing::ValuesIn(samples()), [](const auto& s) { return s.param.name; });

// A second opinion, written another way: every order of the calls, every choice of the pending
// ones, over a register of small numbers.
struct Register {
  std::optional<int> value;
  int version = 0;
};

bool fits(Register& r, const Operation& o) {
  const bool pending = o.outcome == Outcome::pending;
  const auto put = [&](int v) {
    r.value = v;
    if (o.version_out == 0) return true;
    const bool grows = static_cast<int>(o.version_out) > r.version;
    r.version = static_cast<int>(o.version_out);
    return grows;
  };
  switch (o.kind) {
    case Kind::get:
      return o.outcome == Outcome::not_found ? !r.value : r.value && std::to_string(*r.value) == o.got;
    case Kind::set:
      return put(std::stoi(o.value));
    case Kind::add:
      if (o.outcome == Outcome::exists) return r.value.has_value();
      return !r.value ? put(std::stoi(o.value)) : pending;
    case Kind::increment: {
      const int sum = r.value.value_or(0) + std::stoi(o.value);
      return (pending || std::to_string(sum) == o.got) && put(sum);
    }
    case Kind::erase:
      if (o.outcome == Outcome::not_found) return !r.value;
      if (!r.value) return pending;
      r.value.reset();
      return true;
    default:
      return false;
  }
}

bool some_order_fits(const std::vector<Operation>& calls, std::vector<bool>& used, const Register& now) {
  bool left = false;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (used[i]) continue;
    left = left || calls[i].outcome != Outcome::pending;
    const bool too_late = std::any_of(calls.begin(), calls.end(), [&](const Operation& other) {
      return !used[static_cast<std::size_t>(&other - calls.data())] && other.end < calls[i].begin;
    });
    used[i] = true;
    // A pending call whose time is over without effect is one that never had any.
    if (calls[i].outcome == Outcome::pending && some_order_fits(calls, used, now)) return true;
    Register next = now;
    if (!too_late && fits(next, calls[i]) && some_order_fits(calls, used, next)) return true;
    used[i] = false;
  }
  return !left;
}

TEST(Checker, AgreesWithTryingEveryOrder) {
  const std::uint64_t seed = print_seed("CheckerTest");
  std::mt19937_64 random{seed};
  const auto up_to = [&](int n) { return static_cast<int>(random() % static_cast<std::uint64_t>(n + 1)); };
  int good = 0;
  int bad = 0;
  for (int round = 0; round < 30000; ++round) {
    std::vector<Operation> calls;
    const int count = 3 + up_to(3);
    // Run them on a register at random moments, so that many are right; then falsify some.
    Register truth;
    int version = 0;
    std::int64_t now = 0;
    for (int i = 0; i < count; ++i) {
      now += 2 + up_to(4);
      Operation o = call(static_cast<Kind>(std::array{Kind::get, Kind::set, Kind::add, Kind::increment,
                                                      Kind::erase}[static_cast<std::size_t>(up_to(4))]),
                         now - up_to(9), now + up_to(9));
      o.value = std::to_string(1 + up_to(2));
      switch (o.kind) {
        case Kind::get:
          o.outcome = truth.value ? Outcome::ok : Outcome::not_found;
          if (truth.value) o.got = std::to_string(*truth.value);
          break;
        case Kind::add:
          if (truth.value) {
            o.outcome = Outcome::exists;
            break;
          }
          [[fallthrough]];
        case Kind::set:
          truth.value = std::stoi(o.value);
          o.version_out = static_cast<std::uint64_t>(++version);
          break;
        case Kind::increment:
          truth.value = truth.value.value_or(0) + std::stoi(o.value);
          o.got = std::to_string(*truth.value);
          break;
        default:
          o.outcome = truth.value ? Outcome::ok : Outcome::not_found;
          truth.value.reset();
          break;
      }
      if (up_to(5) == 0) o = lost(o, up_to(1) == 0 ? kNever : o.end);
      calls.push_back(std::move(o));
    }
    if (up_to(1) == 0) {
      Operation& o = calls[static_cast<std::size_t>(up_to(count - 1))];
      if (!o.got.empty()) o.got = std::to_string(1 + up_to(3));
      o.begin += up_to(6);
      o.end = std::max(o.end, o.begin);
    }
    std::vector<bool> used(calls.size());
    const bool expected = some_order_fits(calls, used, {});
    const Verdict v = check_linearizable(calls);
    ASSERT_EQ(v.answer == Answer::linearizable, expected) << "seed " << seed << " round " << round << "\n"
                                                          << describe(calls) << v.why;
    ++(expected ? good : bad);
  }
  std::printf("%d good and %d bad histories, both judges agree\n", good, bad);
  EXPECT_GT(good, 3000);
  EXPECT_GT(bad, 1500);
}

TEST(Checker, LongHistoryOfFewOverlapsIsLinear) {
  std::vector<Operation> calls;
  for (int i = 0; i < 50000; ++i) {
    const std::int64_t at = 10 * i;
    calls.push_back(set(std::to_string(i), at, at + 14, static_cast<std::uint64_t>(i + 1)));
    calls.push_back(get(std::to_string(i), at + 12, at + 19));
  }
  const Verdict v = check_linearizable(std::move(calls));
  EXPECT_EQ(v.answer, Answer::linearizable) << v.why;
  EXPECT_LT(v.steps, 600000u);
}

TEST(Checker, SaysUndecidedWhenItGivesUp) {
  std::vector<Operation> calls;
  for (int i = 0; i < 40; ++i) calls.push_back(set(std::to_string(i), 1, 100));
  calls.push_back(get("x", 101, 102));
  EXPECT_EQ(check_linearizable(std::move(calls), {.steps_max = 1000}).answer, Answer::undecided);
}

}  // namespace
}  // namespace cachee::test
