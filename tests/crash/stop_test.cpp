// Goal: a process that is stopped between any two instructions holds nobody up, and when it goes on
// it does what it began, once. Method: a victim is run by the instruction; at each stop a copy of it
// (a fork in its name, at that very instruction) stays stopped while others write, remove, reuse and
// sweep to their end; that must be explained by some order of the calls, with the victim's effect or
// without. Then the copy goes on to its end, and the whole must be explained again.
//
// Between two accesses to the segment nothing meets anybody, so the stops are before the
// instructions that access it: every 17th by default; CACHEE_STOP_STRIDE=1 takes each of them,
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

using Script = std::vector<Step>;
struct Others {
  std::string name;
  Script script;
};

std::vector<Others> all_others() {
  using namespace calls;
  return {{"set", {set("k", "other")}},
          {"erase", {erase("k")}},
          {"set_erase_set", {set("k", "one"), erase("k"), set("k", "two")}},
          {"sweep", {help(), expire(), scrub(), get("k")}},
          {"reuse", {erase("k"), churn("j"), set("k", "other"), churn("j"), erase("k"), set("k", "last")}},
          {"overwrite", {churn("k"), get("k")}},
          {"neighbour", {set("p", "other"), add("k", "added"), increment("q"), touch("k"), erase("p")}}};
}
std::vector<Step> victims() {
  using namespace calls;
  return {set("k", "victim"), add("k", "victim"), erase("k"), get("k"), pin("k"), increment("k"), append("k", "+"), touch("k")};
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

class StopTest : public ::testing::TestWithParam<Beginning> {
 protected:
  void SetUp() override { std::signal(SIGALRM, on_alarm); }
  void TearDown() override { alarm(0); }

  /// One world in which a victim is run; `visit` is called at each stop.
  class Ground {
   public:
    Ground(const Beginning& begin, const Step& step) : begin_{begin}, step_{step}, world_{small_world(), kAllEvents} {
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

    /// Others do their script while a copy of the victim stands where the victim stands; then it
    /// goes on. Everything that is wrong with that; afterwards the memory is as before.
    std::string trial(const Script& others) {
      const RawSegment::Image before = victim_->state();
      std::string wrong;
      {
        Stepped copy = victim_->clone();
        world_.new_keeper();
        Trial trial{begin_};
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
        std::string text = trial.unexplained(world_);
        if (!text.empty()) wrong += "while it was stopped: " + text;

        copy.finish();
        trial.end(own, copy.got());
        static_cast<void>(world_.keeper().expire_due(monotonic_ns(), 1000));
        wrong += world_.damage();
        text = trial.unexplained(world_);
        if (!text.empty()) wrong += "at the end: " + text;
      }
      // What it had in lists of its own comes back behind its death.
      move_lock("", ".away");
      wrong += world_.reap();
      world_.history() = {};
      world_.drain();
      wrong += world_.leaks();
      world_.leave();
      world_.drop_keeper();
      move_lock(".away", "");
      raw_->load(before);
      return wrong;
    }

   private:
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
};

TEST_P(StopTest, AStoppedProcessHoldsNobodyUp) {
  const Beginning& begin = GetParam();
  const long stride = setting("CACHEE_STOP_STRIDE", 17);
  const std::vector<Others> others = all_others();
  long number = static_cast<long>(begin.name.size());
  for (const Step& step : victims()) {
    Ground ground{begin, step};
    Stepped& victim = ground.victim();
    long stops = 0;
    long runs = 0;
    int bad = 0;
    for (Stepped::Seen seen; !seen.ended && bad < 3;) {
      if (stride == 0 || (victim.about_to_access() && ++number % stride == 0)) {
        ++stops;
        for (const Others& other : others) {
          g_now = "no end: " + begin.name + ", " + step.name + " stopped behind " + std::to_string(victim.instructions()) +
                  ", others: " + other.name + "\n";
          alarm(kTrialSecondsMax);
          const std::string wrong = ground.trial(other.script);
          EXPECT_EQ(wrong, "") << begin.name << ", " << step.name << " stopped behind instruction " << victim.instructions()
                               << ", others: " << other.name;
          ++runs;
          bad += wrong.empty() ? 0 : 1;
        }
      }
      seen = victim.step();
    }
    std::printf("%s, %s: %ld instructions, %ld stops, %ld runs\n", begin.name.c_str(), step.name.c_str(), victim.instructions(),
                stops, runs);
    ++g_totals.situations;
    g_totals.instructions += victim.instructions();
    g_totals.stops += stops;
    g_totals.runs += runs;
    g_totals.wrong += bad;
  }
}

INSTANTIATE_TEST_SUITE_P(Beginnings, StopTest, ::testing::ValuesIn(beginnings()),
                         [](const auto& begin) { return begin.param.name; });

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
