// Goal: the oracle that takes the order of effects from the events is right. Method: true histories
// made at random, as they are and with a planted fault of each kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "linear/chain.hpp"
#include "support/seed.hpp"

namespace cachee::test {
namespace {

/// A true history of one key with its events: what the chain oracle gets.
class TrueChain {
 public:
  explicit TrueChain(std::uint64_t seed) : random_{seed} {
    for (int i = 0; i < 400; ++i) step();
  }
  std::vector<Account> calls;
  std::vector<Effect> events;

 private:
  std::int64_t up_to(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n + 1));
  }
  void step() {
    now_ += 5 + up_to(10);
    Account a;
    a.kind = static_cast<Kind>(up_to(9));
    a.client = static_cast<std::uint32_t>(up_to(3));
    a.begin = now_ - up_to(25);
    a.end = now_ + up_to(25);
    a.outcome = Outcome::ok;
    const bool there = value_ != 0;
    const std::uint64_t fresh = 1000 + calls.size();
    switch (a.kind) {
      case Kind::get:
      case Kind::touch:
      case Kind::persist:
        if (!there) a.outcome = Outcome::not_found;
        if (there && a.kind == Kind::get) {
          a.value = value_;
          a.version_out = version_;
        }
        if (there && a.kind == Kind::persist) a.outcome = Outcome::unchanged;
        if (there && a.kind == Kind::touch) a.ttl = 1 << 20;
        break;
      case Kind::add:
        if (there) a.outcome = Outcome::exists;
        break;
      case Kind::replace:
      case Kind::erase:
        if (!there) a.outcome = Outcome::not_found;
        break;
      case Kind::compare_and_set:
        a.version_in = there ? version_ : 7;
        if (!there) a.outcome = Outcome::not_found;
        if (there && up_to(2) == 0) {
          a.version_in = version_ - 1;
          a.outcome = Outcome::stale;
        }
        break;
      default:
        break;
    }
    const bool writes =
        a.kind != Kind::get && a.kind != Kind::touch && a.kind != Kind::persist && a.kind != Kind::erase;
    if (writes) a.tag = fresh;
    if (writes && a.outcome == Outcome::ok) {
      Effect e;
      e.seq = seq_++;
      e.version = ++version_;
      e.value = fresh + 100000;
      if (a.kind == Kind::append) e.suffix = fresh;
      if (a.kind == Kind::increment) e.delta = static_cast<std::int64_t>(fresh);
      if (a.kind != Kind::append && a.kind != Kind::increment) {
        e.value = fresh;
        a.event = e.seq;
        a.version_out = version_;
      }
      e.old = value_;
      e.why = there ? Effect::Why::update : Effect::Why::create;
      value_ = e.value;
      events.push_back(e);
    }
    if (a.kind == Kind::erase && a.outcome == Outcome::ok) {
      a.event = seq_;
      a.old = value_;
      remove(Effect::What::erase, Effect::Why::call);
    }
    if (up_to(12) == 0) {  // the caller died: with or without effect
      a.outcome = Outcome::pending;
      a.end = up_to(1) == 0 ? kNever : a.end;
      a.version_out = a.value = a.old = 0;
      a.event = Account::kNoEvent;
    }
    calls.push_back(a);
    if (value_ != 0 && up_to(15) == 0) remove(Effect::What::evict, Effect::Why::room);
  }
  void remove(Effect::What what, Effect::Why why) {
    events.push_back({what, why, seq_++, version_, value_, 0, 0, 0});
    value_ = 0;
  }
  std::mt19937_64 random_;
  std::int64_t now_ = 1000;
  std::uint64_t value_ = 0;
  std::uint64_t version_ = 10;
  std::uint64_t seq_ = 0;
};

TEST(Chain, AcceptsTrueHistories) {
  const std::uint64_t seed = print_seed("ChainTest");
  for (std::uint64_t i = 0; i < 500; ++i) {
    const TrueChain chain{seed + i};
    ASSERT_EQ(check_chain(chain.calls, chain.events), "") << "seed " << seed + i;
  }
}

struct Planted {
  std::string name;
  std::function<bool(TrueChain&, std::size_t)> plant;  // false: not possible at this call or event
};
void PrintTo(const Planted& p, std::ostream* out) { *out << p.name; }

std::vector<Planted> faults() {
  const auto at_call = [](auto matches, auto change) {
    return [=](TrueChain& c, std::size_t i) {
      if (i >= c.calls.size() || !matches(c.calls[i])) return false;
      change(c, c.calls[i]);
      return true;
    };
  };
  const auto at_event = [](auto change) {
    return [=](TrueChain& c, std::size_t i) { return i < c.events.size() && change(c, i); };
  };
  const auto read = [](const Account& a) { return a.kind == Kind::get && a.outcome == Outcome::ok; };
  const auto wrote = [](const Account& a) { return a.kind == Kind::set && a.outcome == Outcome::ok; };
  return {
      {"stale_read", at_call(read,
                             [](TrueChain& c, Account& a) {
                               a.begin += 200;
                               a.end = a.begin + 1;
                               // Unless nothing followed: then it is no fault, and the caller wants one.
                               c.calls.push_back(a);
                               const auto behind = std::find_if(c.events.begin(), c.events.end(), [&](const Effect& e) {
                                 return e.version > a.version_out;
                               });
                               if (behind == c.events.end()) a.value ^= 1;
                             })},
      {"read_before_it_was_written", at_call(read,
                                             [](TrueChain&, Account& a) {
                                               a.begin -= 300;
                                               a.end = a.begin + 1;
                                             })},
      {"torn_value", at_call(read, [](TrueChain&, Account& a) { a.value ^= 0xff00; })},
      {"read_of_unwritten", at_call(read, [](TrueChain&, Account& a) { a.version_out += 100000; })},
      {"lost_event", at_event([](TrueChain& c, std::size_t i) {
         c.events.erase(c.events.begin() + static_cast<std::ptrdiff_t>(i));
         return true;
       })},
      {"event_twice", at_event([](TrueChain& c, std::size_t i) {
         c.events.insert(c.events.begin() + static_cast<std::ptrdiff_t>(i), c.events[i]);
         return true;
       })},
      {"events_of_a_key_swapped", at_event([](TrueChain& c, std::size_t i) {
         if (i + 1 >= c.events.size()) return false;
         std::swap(c.events[i], c.events[i + 1]);
         return true;
       })},
      {"effect_of_a_refused_call", at_call(wrote, [](TrueChain&, Account& a) { a.outcome = Outcome::exists; })},
      {"write_without_event", at_call(wrote, [](TrueChain&, Account& a) { a.tag ^= 1 << 30; })},
      {"told_another_event", at_call(wrote, [](TrueChain&, Account& a) { ++a.event; })},
      {"told_another_version", at_call(wrote, [](TrueChain&, Account& a) { ++a.version_out; })},
      {"write_after_its_call", at_call(wrote,
                                       [](TrueChain&, Account& a) {
                                         a.begin -= 600;
                                         a.end = a.begin + 1;
                                       })},
      {"old_value_of_another", at_event([](TrueChain& c, std::size_t i) {
         if (c.events[i].what != Effect::What::write) return false;
         c.events[i].old ^= 0xff00;
         return true;
       })},
      {"another_cause", at_event([](TrueChain& c, std::size_t i) {
         Effect::Why& why = c.events[i].why;
         why = why == Effect::Why::create ? Effect::Why::update : why == Effect::Why::room ? Effect::Why::deadline : Effect::Why::create;
         return true;
       })},
      {"expired_without_deadline", at_event([](TrueChain& c, std::size_t i) {
         const bool touched = std::any_of(c.calls.begin(), c.calls.end(), [](const Account& a) {
           return a.kind == Kind::touch || a.kind == Kind::persist;
         });
         if (c.events[i].what != Effect::What::evict) return false;
         if (touched)
           std::erase_if(c.calls, [](const Account& a) { return a.kind == Kind::touch || a.kind == Kind::persist; });
         c.events[i].what = Effect::What::expire;
         c.events[i].why = Effect::Why::deadline;
         return true;
       })},
      {"missed_what_was_there", at_call(read,
                                        [](TrueChain& c, Account& a) {
                                          // Between two reads of one version, well inside.
                                          Account before = a, between = a, behind = a;
                                          const std::int64_t at = a.end + 1;
                                          before.begin = before.end = at;
                                          between.begin = between.end = at + 1;
                                          behind.begin = behind.end = at + 2;
                                          between.outcome = Outcome::not_found;
                                          between.version_out = between.value = 0;
                                          c.calls.insert(c.calls.end(), {before, between, behind});
                                        })},
  };
}

class PlantedFaults : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedFaults, AreFound) {
  const std::uint64_t seed = print_seed("PlantedTest");
  int planted = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    TrueChain chain{seed + i};
    if (!GetParam().plant(chain, static_cast<std::size_t>(30 + i % 100))) continue;
    ++planted;
    EXPECT_NE(check_chain(chain.calls, chain.events), "") << "seed " << seed + i;
  }
  std::printf("%d planted\n", planted);
  EXPECT_GE(planted, 10);
}
INSTANTIATE_TEST_SUITE_P(Chain, PlantedFaults, ::testing::ValuesIn(faults()),
                         [](const auto& p) { return p.param.name; });

TEST(Chain, MillionCallsTakeSeconds) {
  std::vector<Account> calls;
  std::vector<Effect> events;
  for (std::uint64_t i = 0; i < 500000; ++i) {
    const auto at = static_cast<std::int64_t>(10 * i);
    calls.push_back({.kind = Kind::set,
                     .outcome = Outcome::ok,
                     .begin = at,
                     .end = at + 25,
                     .tag = i + 1,
                     .version_out = i + 1,
                     .event = i});
    events.push_back({.why = i == 0 ? Effect::Why::create : Effect::Why::update, .seq = i, .version = i + 1, .value = i + 1, .old = i, .suffix = 0, .delta = 0});
    calls.push_back({.kind = Kind::get,
                     .outcome = Outcome::ok,
                     .begin = at + 5,
                     .end = at + 30,
                     .value = i + 1,
                     .version_out = i + 1});
  }
  EXPECT_EQ(check_chain(calls, events), "");
}

}  // namespace
}  // namespace cachee::test
