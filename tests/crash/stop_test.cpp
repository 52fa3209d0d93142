// Goal: a process that is stopped between any two instructions holds nobody up, and when it goes on
// it does what it began, once. Method: a victim is run by the instruction; at each stop a copy of it
// (a fork in its name, at that very instruction) stays stopped while others write, remove, reuse and
// sweep to their end; that must be explained by some order of the calls, with the victim's effect or
// without. Then the copy goes on to its end, and the whole must be explained again.
//
// Between two accesses to the segment nothing meets anybody, so the stops are before the
// instructions that access it: every 31st by default; CACHEE_STOP_STRIDE=1 takes each of them,
// CACHEE_STOP_STRIDE=0 each instruction (long forms).
#include <algorithm>
#include <ctime>

#include <sys/time.h>

#include "crash/calls.hpp"
#include "crash/stage.hpp"

namespace cachee::test {
namespace {

// What others do while a victim is stopped takes less than a millisecond.
constexpr double kOthersSecondsMax = 1.0;
constexpr unsigned kTrialSecondsMax = 120;
constexpr long kStrideDefault = 31;

using Script = std::vector<Step>;
struct Others {
  std::string name;
  Script script;
};

const std::vector<Others>& all_others() {
  using namespace calls;
  static const std::vector<Others> list{
      {"set", {set("k", "other")}},
      {"erase", {erase("k")}},
      {"set_erase_set", {set("k", "one"), erase("k"), set("k", "two")}},
      {"sweep", {help(), expire(), scrub(), get("k")}},
      // The block of k is free by the set of p, and the next one to be used.
      {"reuse", {churn("j"), erase("k"), drain(), set("p", "p"), set("k", "other"), churn("j"), get("k")}},
      {"reuse_wide", {churn("j", 300), erase("k"), drain(), set("p", "p"), set("k", std::string(300, 'w')), get("k")}},
      {"overwrite", {churn("k"), drain(), churn("k"), get("k")}},
      {"neighbour", {set("p", "other"), add("k", "added"), increment("q"), touch("k"), erase("p")}},
      {"room_before", {erase("o0"), set("k", "other"), get("k")}}};
  return list;
}
const std::vector<Step>& victims() {
  using namespace calls;
  static const std::vector<Step> list{set("k", "victim"), add("k", "victim"), erase("k"), get("k"),
                                      pin("k"), increment("k"), append("k", "+"), touch("k")};
  return list;
}
std::string name_of(const Beginning& begin, const Step& step, EventMask events) {
  return begin.name + "_" + step.name.substr(0, step.name.find(' ')) + (events == 0 ? "_without_trigger" : "");
}

struct Totals {
  int situations = 0;
  long instructions = 0, stops = 0, runs = 0, wrong = 0;
};
Totals g_totals;
std::string g_now;  // for the alarm

void on_alarm(int) {
  static_cast<void>(!write(STDERR_FILENO, g_now.data(), g_now.size()));
  abort();
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// One world in which a victim is run; `visit` is called at each stop.
class Ground {
 public:
  Ground(const Beginning& begin, const Step& step, EventMask events)
      : begin_{begin}, step_{step}, world_{small_world(), events} {
    begin.run(world_.cache());
    world_.leave();
    world_.drop_keeper();
    raw_ = std::make_unique<RawSegment>(world_.name());
    registration_ = reinterpret_cast<const layout::SegmentHeader*>(raw_->at())->registrations.load_relaxed();
    lock_ = "/dev/shm/cachee." + world_.name() + ".locks/" + os::registration_file(registration_);
    victim_ = std::make_unique<Stepped>(*raw_, [&](Mark& mark) {
      Cache cache = world_.client("victim");
      static_cast<void>(cache.contains("nothing"));
      allow_copies(*raw_);
      mark.begin();
      mark.end(step_.run(world_, cache));
    });
  }
  Stepped& victim() { return *victim_; }
  World& world() { return world_; }
  RawSegment& raw() { return *raw_; }

  /// Others do their script while a copy of the victim stands where the victim stands; then it
  /// goes on. Everything that is wrong with that; afterwards the memory is as before.
  std::string trial(const Script& others) {
    const RawSegment::Image before = victim_->state();
    std::string wrong;
    {
      Stepped copy = victim_->clone();
      world_.new_keeper();
      Trial trial{begin_, world_.has_trigger()};
      const std::size_t own = trial.begin(step_);
      const double from = cpu_seconds();
      for (const Step& step : others) trial.run(step, world_, world_.cache());
      // What the victim owes is paid in its name; nothing of it is undone.
      static_cast<void>(world_.keeper().help_stalled(monotonic_ns()));
      static_cast<void>(world_.keeper().help_stalled(monotonic_ns() + 1'000'000'000));
      static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1000));
      const double took = cpu_seconds() - from;
      if (took > kOthersSecondsMax) wrong += "others took " + std::to_string(took) + " s\n";
      wrong += findings(world_.keeper().cache());
      trial.read(world_);
      std::string text = trial.unexplained(world_);
      if (!text.empty()) wrong += "while it was stopped: " + text;

      copy.finish();
      trial.end(own, copy.got());
      static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1000));
      wrong += world_.damage();
      wrong += held_back();
      text = trial.unexplained(world_);
      if (!text.empty()) wrong += "at the end: " + text;
    }
    // What it had in lists of its own comes back behind its death.
    move_lock("", ".away");
    wrong += world_.reap();
    world_.drain();
    wrong += world_.history().complaints();
    wrong += world_.leaks();
    world_.leave();
    world_.drop_keeper();
    world_.history() = {};
    move_lock(".away", "");
    raw_->load(before);
    return wrong;
  }

 private:
  /// The ring had room all the time: nobody was told otherwise.
  std::string held_back() {
    std::string text;
    const auto clients = list_clients(world_.keeper().cache());
    for (const ClientInfo& client : *clients) {
      if (client.stats.backpressure != 0) text += client.name + " was held back, but the ring had room\n";
    }
    return text;
  }
  void move_lock(const char* from, const char* to) {
    if (std::rename((lock_ + from).c_str(), (lock_ + to).c_str()) != 0) throw std::runtime_error("rename " + lock_);
  }
  const Beginning& begin_;
  const Step& step_;
  World world_;
  std::unique_ptr<RawSegment> raw_;
  std::uint64_t registration_ = 0;
  std::string lock_;
  std::unique_ptr<Stepped> victim_;
};

using Situation = std::tuple<const Beginning*, const Step*, EventMask>;

class StopTest : public ::testing::TestWithParam<Situation> {
 protected:
  void SetUp() override { std::signal(SIGALRM, on_alarm); }
  void TearDown() override { alarm(0); }
};

TEST_P(StopTest, AStoppedProcessHoldsNobodyUp) {
  const Beginning& begin = *std::get<0>(GetParam());
  const Step& step = *std::get<1>(GetParam());
  const EventMask events = std::get<2>(GetParam());
  const std::string name = name_of(begin, step, events);
  const long stride = setting("CACHEE_STOP_STRIDE", kStrideDefault);
  long number = static_cast<long>(std::hash<std::string>{}(name) % kStrideDefault);
  Ground ground{begin, step, events};
  Stepped& victim = ground.victim();
  long stops = 0;
  long runs = 0;
  int bad = 0;
  for (Stepped::Seen seen; !seen.ended && bad < 3;) {
    if (stride == 0 || (victim.about_to_access() && ++number % stride == 0)) {
      ++stops;
      for (const Others& others : all_others()) {
        const std::string where = name + " stopped behind instruction " + std::to_string(victim.instructions()) + ", others: " + others.name;
        g_now = "no end: " + where + "\n";
        alarm(kTrialSecondsMax);
        const std::string wrong = ground.trial(others.script);
        EXPECT_EQ(wrong, "") << where;
        ++runs;
        bad += wrong.empty() ? 0 : 1;
      }
    }
    seen = victim.step();
  }
  std::printf("%s: %ld instructions, %ld stops, %ld runs\n", name.c_str(), victim.instructions(), stops, runs);
  ++g_totals.situations;
  g_totals.instructions += victim.instructions();
  g_totals.stops += stops;
  g_totals.runs += runs;
  g_totals.wrong += bad;
}

std::vector<Situation> situations() {
  std::vector<Situation> list;
  for (const Beginning& begin : beginnings()) {
    for (const Step& step : victims()) {
      for (const EventMask events : {kAllEvents, EventMask{0}}) list.emplace_back(&begin, &step, events);
    }
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Situations, StopTest, ::testing::ValuesIn(situations()), [](const auto& situation) {
  return name_of(*std::get<0>(situation.param), *std::get<1>(situation.param), std::get<2>(situation.param));
});

// A reader stands still, and so does the writer that reuses the block it reads: what the reader
// returns then must have been there, whether the writer ever goes on or not.
TEST(StopPairs, AReaderNeverSeesWhatWasNotThereYet) {
  using namespace calls;
  std::signal(SIGALRM, on_alarm);
  const long stride = std::max(1L, setting("CACHEE_STOP_STRIDE", kStrideDefault));
  const Beginning& begin = *std::find_if(beginnings().begin(), beginnings().end(), [](const Beginning& b) { return b.name == "present"; });
  const Step before = churn("j");
  const Step removal = erase("k");
  const Step write = set("k", "not yet");
  constexpr long kReaderStride = 4;
  long places = 0;
  long pairs = 0;
  int bad = 0;
  for (const Step& step : {get("k"), pin("k")}) {
    Ground ground{begin, step, 0};  // nothing waits for events: blocks are free at once
    Stepped& reader = ground.victim();
    for (Stepped::Seen seen; !seen.ended; seen = reader.step()) {
      if (!reader.about_to_access() || (stride > 1 && ++places % kReaderStride != 0)) continue;
      const RawSegment::Image image = reader.state();
      {
        Stepped writer{ground.raw(), [&](Mark& mark) {
                         Cache cache = ground.world().client("writer");
                         before.run(ground.world(), cache);
                         removal.run(ground.world(), cache);  // its block is the next one to be used
                         mark.begin();
                         mark.end(write.run(ground.world(), cache));
                       }};
        for (Stepped::Seen at; !at.ended && bad < 3; at = writer.step()) {
          if (!writer.about_to_access() || ++pairs % stride != 0) continue;
          g_now = "no end: reader and writer\n";
          alarm(kTrialSecondsMax);
          Trial trial{begin, false};
          const std::size_t reading = trial.begin(step);
          trial.end(trial.begin(before), "");
          trial.end(trial.begin(removal), "erased 7");
          static_cast<void>(trial.begin(write));
          {
            Stepped copy = reader.clone();
            copy.finish();
            trial.end(reading, copy.got());
          }
          // The writer stands still: what was there for the reader is there now.
          std::string got;
          if (const auto now = ground.world().cache().get("k")) got = now->bytes;
          std::string wrong;
          if (trial.got(reading) == "not yet" && got != "not yet") wrong = "it returned what nobody has written yet\n";
          ground.world().new_keeper();
          static_cast<void>(ground.world().keeper().help_stalled(monotonic_ns()));
          static_cast<void>(ground.world().keeper().help_stalled(monotonic_ns() + 1'000'000'000));
          wrong += trial.unexplained(ground.world());
          EXPECT_EQ(wrong, "") << step.name << " stopped behind " << reader.instructions() << ", the writer behind "
                               << writer.instructions();
          bad += wrong.empty() ? 0 : 1;
          ground.world().leave();
          ground.world().drop_keeper();
          ground.raw().load(writer.state());
        }
      }
      ground.raw().load(image);
    }
  }
  std::printf("readers and writers: %ld pairs of places\n", pairs);
}

class Sum : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf("sum: %d situations, %ld instructions, %ld stops, %ld runs, %ld wrong\n", g_totals.situations,
                g_totals.instructions, g_totals.stops, g_totals.runs, g_totals.wrong);
  }
};
const auto* const g_sum = ::testing::AddGlobalTestEnvironment(new Sum);

}  // namespace
}  // namespace cachee::test
