// Goal: a value ends by its deadline and by nothing else, in every order of operations. Method: random
// operations of all kinds on few keys; a model says for each event which kind, cause, value and order
// are possible. Time is real, so where an operation and a deadline overlap the model allows both; a
// value that is read behind its deadline or expires ahead of it is an error whatever the overlap. Half of the deadlines are
// moments of the wall clock, which is stepped to and fro.
//
//   CACHEE_MODEL_OPERATIONS=100000000 build/test/tests/expiry_test --gtest_filter='Expiry.Model*'
//
// runs the long form; CACHEE_MODEL_SEED repeats one. And sessions by the million (15 s, 420 MiB):
//
//   CACHEE_EXPIRY_SESSIONS=1000000 build/test/tests/expiry_test --gtest_filter='Expiry.Sessions*'
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <map>
#include <random>

#include "api/handle.hpp"
#include "crash/world.hpp"
#include "expiry/expiry.hpp"
#include "keyspace/keyspace.hpp"
#include "support/stepped_clock.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

constexpr TimeNs kNsPerMs = 1'000'000;
// A deadline is kept in whole ms of the same clock, and the coarse clock lags.
constexpr TimeNs kGrainNs = 2 * kNsPerMs;
constexpr TimeNs kNever = std::numeric_limits<TimeNs>::max() / 2;  // leaves room for a grain on top

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Held {
  std::string value{};
  TimeNs earliest = kNever;  // when the deadline may pass, at the earliest ...
  TimeNs latest = kNever;    // ... and at the latest
  bool may_be_moment = false;  // of the wall clock: steps move it
  bool is_moment = false;      // else it may have been over when it was named, and ended for good
};
/// Of CLOCK_REALTIME.
TimeNs wall_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return TimeNs{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Everything that may be true of the keys, moved on by the events.
class Model {
 public:
  std::map<std::string, Held> keys{};
  std::string complaints{};

  /// What the operation that is under way says it does, so that its own event is known.
  struct Pending {
    std::string key{};
    EventKind kind = EventKind::none;  // write, del
    Cause cause = Cause::unknown;
    std::string value{};
    Held promised{};
    bool keeps_deadline = false;
  };

  /// The wall clock was set.
  void step(TimeNs by) {
    for (auto& [key, held] : keys) {
      if (held.is_moment || (held.may_be_moment && by > 0)) held.earliest -= by;
      if (held.is_moment || (held.may_be_moment && by < 0)) held.latest -= by;
    }
  }

  void take(const EventView& event, std::optional<Pending>& pending, TimeNs before, TimeNs after) {
    const std::string key{event.key};
    const auto at = keys.find(key);
    const Held* const held = at == keys.end() ? nullptr : &at->second;
    switch (event.kind) {
      case EventKind::write: {
        if (!pending || pending->kind != EventKind::write || pending->key != key) return complain(event, "nobody wrote this");
        if (event.value != pending->value) complain(event, "another value than was written");
        if (event.cause != (held == nullptr ? Cause::create : Cause::update)) complain(event, "cause does not fit what was there");
        const auto old = event.old_value();
        if (old.has_value() != (held != nullptr) || (held != nullptr && *old != held->value)) complain(event, "old value is not the one before");
        if (held != nullptr && before > held->latest + kGrainNs) complain(event, "replaced a value that had expired");
        Held next = pending->keeps_deadline && held != nullptr ? *held : pending->promised;
        next.value = pending->value;
        keys[key] = next;
        pending.reset();
        return;
      }
      case EventKind::del:
        if (!pending || pending->kind != EventKind::del || pending->key != key) return complain(event, "nobody deleted this");
        if (event.cause != pending->cause) complain(event, "another cause than was given");
        if (held != nullptr && before > held->latest + kGrainNs) complain(event, "deleted a value that had expired");
        pending.reset();
        break;
      case EventKind::expire:
        if (event.cause != Cause::ttl) complain(event, "expires for another cause than its deadline");
        if (held != nullptr && after + kGrainNs < held->earliest) complain(event, "expired ahead of its deadline");
        if (event.lag_us() < 0) complain(event, "says that it is early");
        break;
      case EventKind::evict:
        if (event.cause != Cause::capacity) complain(event, "is evicted for another cause than room");
        if (held != nullptr && before > held->latest + kGrainNs) complain(event, "was evicted behind its deadline");
        break;
      default: return complain(event, "is of no kind that was asked for");
    }
    if (held == nullptr) return complain(event, "ends a value that was not there");
    if (event.value != held->value) complain(event, "ends with another value than it had");
    keys.erase(at);
  }

 private:
  void complain(const EventView& event, const std::string& what) {
    if (complaints.size() > 2000) return;
    complaints += std::to_string(event.seq.value) + " " + to_string(event.kind) + " (" + to_string(event.cause) + ") " +
                  std::string{event.key} + ": " + what + "\n";
  }
};

class Operator {
 public:
  Operator(World& world, std::uint64_t seed) : world_{world}, random_{seed} {}

  void operate() {
    if (random_() % 500 == 0) step();
    const std::string key = "k" + std::to_string(random_() % 60);
    const TimeNs before = monotonic_ns();
    std::optional<Model::Pending> pending;
    const auto choice = random_() % 100;
    if (choice < 40) {
      write(key, before, pending);
    } else if (choice < 55) {
      erase(key, pending);
    } else if (choice < 70) {
      touch(key);
      return;
    } else if (choice < 90) {
      read(key, before);
    } else if (choice < 95) {
      static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1 + random_() % 20));
    } else if (choice < 98) {
      static_cast<void>(world_.keeper().evict(8));
    } else {
      fill(before);
      return;
    }
    drain(pending, before);
    if (pending && pending->kind == EventKind::write) model_.complaints += "a write of " + pending->key + " made no event\n";
  }
  const std::string& complaints() const { return model_.complaints; }
  Model& model() { return model_; }
  std::uint64_t events() const { return events_; }
  void drain(std::optional<Model::Pending>& pending, TimeNs before) {
    const EventReader reader = world_.keeper().reader();
    std::uint64_t position = reader.head();
    const std::uint64_t first = position;
    for (;; ++position) {
      const auto event = reader.at(EventSeq{position});
      if (!event) break;
      model_.take(*event, pending, before, monotonic_ns());
      ++events_;
      world_.keeper().acknowledge(EventSeq{position});
    }
    const Maintainer::Delta delta{0, {.emitted = position - first, .acknowledged = position - first}};
    world_.keeper().release_through(position, {&delta, 1});
  }

 private:
  std::string value() { return std::to_string(++values_) + std::string(random_() % 1800, 'v'); }

  /// A TTL of the kinds that matter: past, at once, soon, far, centuries.
  std::optional<Ttl> ttl() {
    switch (random_() % 8) {
      case 0: return Ttl{-1h};
      case 1: return Ttl{0};
      case 2: return Ttl{std::chrono::microseconds{1 + random_() % 3000}};
      case 3: return Ttl{std::chrono::milliseconds{1 + random_() % 20}};
      case 4: return Ttl{1h};
      case 5: return Ttl{std::chrono::hours{24 * 365 * 250}};
      default: return std::nullopt;
    }
  }
  /// Of a moment that is named between `before` and `after`, `left` ahead.
  static Held promise_of_moment(TimeNs left, TimeNs before, TimeNs after) {
    Held held = promise(Ttl{left}, before, after);
    held.may_be_moment = left > -kGrainNs;
    held.is_moment = left > after - before + kGrainNs;
    return held;
  }
  static Held promise(const std::optional<Ttl>& ttl, TimeNs before, TimeNs after) {
    Held held;
    if (!ttl) return held;
    const TimeNs left = std::max<TimeNs>(0, ttl->count());
    held.earliest = before > kNever - left ? kNever : before + left;
    held.latest = after > kNever - left ? kNever : after + left;
    return held;
  }
  void step() {
    TimeNs by = std::chrono::nanoseconds{1h}.count();
    if (random_() % 2 == 0) by = static_cast<TimeNs>(random_() % 50) * kNsPerMs;
    if (stepped_ > 0) by = -by;
    stepped_ += by;
    clock_.step_wall(std::chrono::nanoseconds{by});
    model_.step(by);
  }

  void write(const std::string& key, TimeNs before, std::optional<Model::Pending>& pending) {
    if (random_() % 4 == 0) static_cast<void>(world_.keeper().evict(8));
    drain(pending, before);
    SetOptions options;
    options.ttl = ttl();
    const bool moment = options.ttl && random_() % 2 == 0;
    const TimeNs left = moment ? name(*options.ttl, options.deadline_wall_ms.emplace()) : 0;
    options.keep_ttl = random_() % 10 == 0;
    if (random_() % 8 == 0) options.condition = random_() % 2 == 0 ? Condition::absent : Condition::present;
    const std::string bytes = value();
    const auto written = world_.cache().set(key, bytes, options);
    if (!written) {
      // no_space: what went for room is held by events that only we could release.
      const Errc code = written.code();
      if (code != Errc::exists && code != Errc::not_found && code != Errc::no_space) model_.complaints += "set: " + to_string(written.error()) + "\n";
      return;
    }
    pending = Model::Pending{.key = key, .kind = EventKind::write, .value = bytes, .keeps_deadline = options.keep_ttl};
    const TimeNs after = monotonic_ns();
    if (!options.keep_ttl) pending->promised = moment ? promise_of_moment(left, before, after) : promise(options.ttl, before, after);
  }

  void erase(const std::string& key, std::optional<Model::Pending>& pending) {
    const Cause cause = random_() % 4 == 0 ? Cause::invalidate : Cause::explicit_;
    const auto erased = world_.cache().erase(key, {.cause = cause});
    if (erased) pending = Model::Pending{.key = key, .kind = EventKind::del, .cause = cause};
  }

  void touch(const std::string& key) {
    const TimeNs before = monotonic_ns();
    const auto wanted = ttl();
    const bool moment = wanted && random_() % 2 == 0;
    std::int64_t moment_ms = 0;
    const TimeNs left = moment ? name(*wanted, moment_ms) : 0;
    const auto touched = moment   ? world_.cache().touch_at(key, moment_ms)
                         : wanted ? world_.cache().touch(key, *wanted)
                                  : world_.cache().persist(key);
    // The removal that it may have made comes first.
    std::optional<Model::Pending> nothing;
    drain(nothing, before);
    if (!touched || !*touched) return;
    const auto at = model_.keys.find(key);
    if (at == model_.keys.end()) {
      model_.complaints += "touched " + key + ", which is not there\n";
      return;
    }
    if (before > at->second.latest + kGrainNs) model_.complaints += "touched " + key + " behind its deadline\n";
    const TimeNs after = monotonic_ns();
    Held next = moment ? promise_of_moment(left, before, after) : promise(wanted, before, after);
    next.value = at->second.value;
    at->second = next;
  }

  void read(const std::string& key, TimeNs before) {
    const auto got = world_.cache().get(key);
    const TimeNs after = monotonic_ns();
    std::optional<Model::Pending> nothing;
    const auto at = model_.keys.find(key);
    if (got) {
      if (at == model_.keys.end() || at->second.value != got->bytes) model_.complaints += "read of " + key + " what it has not\n";
      if (at != model_.keys.end() && before > at->second.latest + kGrainNs) model_.complaints += "read of " + key + " behind its deadline\n";
    } else if (at != model_.keys.end() && after + kGrainNs < at->second.earliest) {
      model_.complaints += "a miss of " + key + " ahead of its deadline\n";
    }
    drain(nothing, before);
  }

  /// Many writes at once, so that keys go for room.
  void fill(TimeNs before) {
    for (int i = 0; i < 20; ++i) {
      std::optional<Model::Pending> pending;
      write("f" + std::to_string(random_() % 2000), before, pending);
      drain(pending, before);
    }
  }

  /// The moment at the end of a TTL that begins now, in whole ms, and in what time that is.
  static TimeNs name(Ttl ttl, std::int64_t& moment_ms) {
    const TimeNs now = wall_ns();
    moment_ms = (now + std::min<TimeNs>(ttl.count(), kNever)) / kNsPerMs;
    return moment_ms * kNsPerMs - now;
  }

  World& world_;
  SteppedClock clock_;
  TimeNs stepped_ = 0;
  std::mt19937_64 random_;
  Model model_;
  std::uint64_t values_ = 0;
  std::uint64_t events_ = 0;
};

SegmentOptions little(std::uint32_t buckets) {
  SegmentOptions options = small_world(buckets);
  options.ring_events = 1024;
  return options;
}

TEST(Expiry, ModelOfRandomOperationsAgreesWithEveryEvent) {
  const std::uint64_t operations = number_from("CACHEE_MODEL_OPERATIONS", 1'000'000);
  const std::uint64_t seed = number_from("CACHEE_MODEL_SEED", std::random_device{}());
  SCOPED_TRACE("CACHEE_MODEL_SEED=" + std::to_string(seed));
  World world{little(64), kAllEvents};
  Operator run{world, seed};
  for (std::uint64_t n = 0; n < operations && run.complaints().empty(); ++n) run.operate();
  EXPECT_EQ(run.complaints(), "");
  EXPECT_GT(run.events(), operations / 3);
  // What is left has not expired, and is what the events add up to.
  static_cast<void>(world.keeper().expire_due(monotonic_ns(), 1 << 20));
  std::optional<Model::Pending> nothing;
  run.drain(nothing, monotonic_ns());
  for (const auto& [key, value] : world.state()) {
    const auto at = run.model().keys.find(key);
    ASSERT_NE(at, run.model().keys.end()) << key;
    EXPECT_EQ(at->second.value, value) << key;
  }
  EXPECT_EQ(world.damage(), "");
}

TEST(Expiry, ATtlInThePastEndsTheValueAtOnceWithItsEvents) {
  World world{little(64), kAllEvents};
  ASSERT_TRUE(world.cache().set("k", "gone", {.ttl = Ttl{-5s}}));
  EXPECT_EQ(world.cache().get("k").code(), Errc::not_found);
  const EventReader reader = world.keeper().reader();
  const auto write = reader.at(EventSeq{0});
  const auto expire = reader.at(EventSeq{1});
  ASSERT_TRUE(write && expire);
  EXPECT_EQ(write->kind, EventKind::write);
  EXPECT_EQ(expire->kind, EventKind::expire);
  EXPECT_EQ(expire->value, "gone");
  ASSERT_TRUE(world.cache().set("k", "here"));
  ASSERT_TRUE(*world.cache().touch("k", Ttl{-1s}));
  EXPECT_EQ(world.cache().get("k").code(), Errc::not_found);
}

TEST(Expiry, DeadlinesCenturiesAwayStayAndDoNotWrap) {
  World world{little(64), kAllEvents};
  ASSERT_TRUE(world.cache().set("ttl", "v", {.ttl = std::chrono::hours{24 * 365 * 290}}));
  ASSERT_TRUE(world.cache().set("longest", "v", {.ttl = Ttl::max()}));
  const std::int64_t year_9999_ms = 253402300799000;
  ASSERT_TRUE(world.cache().set("at", "v", {.deadline_wall_ms = year_9999_ms}));
  EXPECT_EQ(world.keeper().expire_due(monotonic_ns(), 1 << 20), 0u);
  for (const char* key : {"ttl", "longest", "at"}) {
    EXPECT_TRUE(world.cache().get(key)) << key;
    const auto left = world.cache().ttl(key);
    ASSERT_TRUE(left && *left) << key;
    EXPECT_GT(**left, std::chrono::hours{24 * 365 * 280}) << key;
  }
  EXPECT_EQ(world.damage(), "");
}

TEST(Expiry, AWallClockDeadlineIsTheMomentThatWasNamed) {
  World world{little(64), kAllEvents};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const std::int64_t in_an_hour = (now.tv_sec + 3600) * 1000 + now.tv_nsec / 1000000;
  ASSERT_TRUE(world.cache().set("k", "v", {.deadline_wall_ms = in_an_hour}));
  const auto left = world.cache().ttl("k");
  ASSERT_TRUE(left && *left);
  EXPECT_NEAR(static_cast<double>((*left)->count()), 3600e3, 2000);
  EXPECT_EQ(**world.cache().deadline_wall_ms("k"), in_an_hour);
  ASSERT_TRUE(world.cache().set("ttl", "v", {.ttl = 1h}));
  EXPECT_NEAR(static_cast<double>(**world.cache().deadline_wall_ms("ttl") - in_an_hour), 0, 2000);
  ASSERT_TRUE(world.cache().set("never", "v"));
  EXPECT_FALSE(*world.cache().deadline_wall_ms("never"));
  EXPECT_EQ(world.cache().deadline_wall_ms("absent").code(), Errc::not_found);
  ASSERT_TRUE(world.cache().set("past", "v", {.deadline_wall_ms = in_an_hour - 7200 * 1000}));
  EXPECT_EQ(world.cache().get("past").code(), Errc::not_found);
}

TEST(Expiry, ABudgetStopsTheSweepAndTheNextOneGoesOn) {
  SegmentOptions options;
  options.memory_bytes = 8 << 20;
  World world{options, 0};
  constexpr int kKeys = 5000;
  for (int i = 0; i < kKeys; ++i) ASSERT_TRUE(world.cache().set("k" + std::to_string(i), "v", {.ttl = 1ms}));
  const TimeNs due = monotonic_ns() + 3 * kNsPerMs;
  while (monotonic_ns() < due) {
  }
  std::uint64_t gone = 0;
  int calls = 0;
  while (gone < kKeys && calls < kKeys) {
    const std::uint64_t now = world.keeper().expire_due(monotonic_ns(), 100);
    ASSERT_LE(now, 100u * 125) << "at most 100 chains";
    gone += now;
    ++calls;
  }
  EXPECT_EQ(gone, kKeys);
  EXPECT_GT(calls, 5);
  EXPECT_EQ(*world.cache().size(), 0u);
  EXPECT_EQ(world.keeper().next_deadline(), 0);
  EXPECT_EQ(world.damage(), "");
}

/// What the sweep does in the hour after sessions of 30 minutes were made, if every so often all of them are renewed. The
/// hour is told to the sweep and to the deadlines, not waited for.
struct Hour {
  std::uint64_t visits = 0;          // of buckets
  std::uint64_t buckets = 0;
  std::uint64_t renewals = 0;
  std::uint64_t blocks = 0;          // that hold a record or wait to be free, at the end
  std::uint64_t pages_before = 0, pages = 0;
  double visit_ms = 0;               // of all looks of the sweep
};
Hour renew_for_an_hour(std::uint64_t sessions, std::chrono::minutes every) {
  SegmentOptions options;
  options.memory_bytes = (16 << 20) + 400 * sessions;
  TempSegment segment{options};
  Cache cache = segment.client();
  shm::Context& context = **cache.handle()->context();
  const auto name_of = [](std::uint64_t i) { return "session:" + std::to_string(i); };
  const auto pages = [&] {
    std::uint64_t count = 0;
    const auto slabs = list_slabs(cache);
    for (const auto& slab : *slabs) count += slab.pages;
    return count;
  };
  Hour hour;
  for (std::uint64_t i = 0; i < sessions; ++i) {
    EXPECT_TRUE(cache.set(name_of(i), "who, and what is in the basket", {.ttl = 30min}));
  }
  hour.pages_before = pages();
  for (auto since = every; since <= 60min; since += every) {
    for (std::uint64_t i = 0; i < sessions; ++i) hour.renewals += cache.touch(name_of(i), since + 30min).value_or(false) ? 1 : 0;
    const auto begin = std::chrono::steady_clock::now();
    std::uint64_t expired = 0;
    hour.visits += shm::sweep_deadlines(
        *context.view, context.me->bucket, context.view->ms_since_created(monotonic_ns() + std::chrono::nanoseconds{since}.count()),
        context.view->shape.bucket_count, [&](std::uint64_t bucket) { return shm::tend_bucket(context, bucket, expired); });
    hour.visit_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_EQ(expired, 0u);
  }
  hour.pages = pages();
  hour.buckets = context.view->shape.bucket_count;
  const auto slabs = list_slabs(cache);
  for (const auto& slab : *slabs) hour.blocks += slab.live + slab.waiting;
  EXPECT_EQ(*cache.size(), sessions);
  EXPECT_EQ(findings(cache), "");
  std::printf("%llu sessions renewed every %d min for an hour: %llu renewals, %llu visits of %llu buckets in %.0f ms, %llu pages before and %llu after\n",
              static_cast<unsigned long long>(sessions), static_cast<int>(every.count()), static_cast<unsigned long long>(hour.renewals),
              static_cast<unsigned long long>(hour.visits), static_cast<unsigned long long>(hour.buckets), hour.visit_ms, static_cast<unsigned long long>(hour.pages_before),
              static_cast<unsigned long long>(hour.pages));
  return hour;
}

TEST(Expiry, SessionsThatAreRenewedTakeNoMemoryAndOneVisitForEachTtl) {
  const std::uint64_t sessions = number_from("CACHEE_EXPIRY_SESSIONS", 100'000);
  const Hour seldom = renew_for_an_hour(sessions, 15min);
  const Hour often = renew_for_an_hour(sessions, 3min);
  EXPECT_EQ(seldom.renewals, 4 * sessions);
  EXPECT_EQ(often.renewals, 20 * sessions);
  for (const Hour& hour : {seldom, often}) {
    EXPECT_EQ(hour.blocks, sessions) << "a renewal took memory";
    EXPECT_EQ(hour.pages, hour.pages_before);
    // Deadlines that were the earliest of their bucket pass twice within the hour, however often they were put off.
    EXPECT_GT(hour.visits, hour.buckets / 2);
    EXPECT_LE(hour.visits, 2 * hour.buckets) << "looked at for every renewal";
  }
}

}  // namespace
}  // namespace cachee::test
