// Real processes on one segment, stopped and killed at random: callers with their recorded
// histories, and a supervisor that is killed too. One parent forks them all and holds nothing of
// the segment meanwhile.
#pragma once

#include <csignal>
#include <functional>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "linear/judge.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {

struct ChaosPlan {
  std::uint64_t seed = 0;
  std::size_t callers = 4;
  std::chrono::milliseconds duration{8000};
  std::size_t calls_max = 400'000;  // ends the run, too
  KeyPlan keys{};
  SegmentOptions segment{};
  std::function<void(std::uint64_t seed)> in_each_process = [](std::uint64_t) {};
};

class Chaos {
 public:
  explicit Chaos(ChaosPlan plan)
      : plan_{std::move(plan)}, log_{plan_.calls_max, 3 * plan_.calls_max + 100'000}, random_{plan_.seed} {
    plan_.segment.name = unique_name("chaos");
    void* const at = mmap(nullptr, kLivesMax * sizeof(Life), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("mmap of the lives");
    lives_ = static_cast<Life*>(at);
  }
  Chaos(const Chaos&) = delete;
  Chaos& operator=(const Chaos&) = delete;
  ~Chaos() {
    for (const Process& p : processes_) {
      if (p.pid > 0) end(p.pid, SIGKILL);
    }
    munmap(lives_, kLivesMax * sizeof(Life));
    static_cast<void>(remove_segment(plan_.segment.name));
  }

  /// Runs it all. Empty: every history and the segment are sound.
  std::string run() {
    {
      auto keeper = Maintainer::create(plan_.segment);
      if (!keeper) return "create: " + to_string(keeper.error());
      if (!keeper->publish_triggers(watch_all(kBlockMs), std::chrono::milliseconds{1000})) return "publish";
    }
    processes_.resize(plan_.callers + 1);
    for (std::size_t i = 0; i < processes_.size(); ++i) start(i);
    const std::int64_t until = clock_ns() + std::chrono::nanoseconds{plan_.duration}.count();
    while (clock_ns() < until && !log_.full() && lives_used_ + 2 < kLivesMax) disturb();
    std::string wrong = finish();
    auto keeper = Maintainer::create(plan_.segment);
    if (!keeper) return wrong + "create again: " + to_string(keeper.error());
    wrong += settle_and_check(log_, plan_.keys, *keeper);
    judgement_ = judge(log_, plan_.keys, plan_.segment.eviction, plan_.seed, [&](std::uint32_t client) {
      const std::int64_t reaped = lives_[client].reaped_ns.load();
      return reaped == 0 ? kNever : reaped;
    });
    return wrong + judgement_.wrong;
  }
  void report() const {
    const Judgement& j = judgement_;
    std::printf(
        "%llu calls (%llu cut off by death, %llu refused), %llu events (%llu expired, %llu evicted); "
        "%u callers and %u supervisors killed, %u stops; %llu of %llu searched keys undecided, at most %llu steps\n",
        static_cast<unsigned long long>(j.calls), static_cast<unsigned long long>(j.pending),
        static_cast<unsigned long long>(j.refused), static_cast<unsigned long long>(j.events),
        static_cast<unsigned long long>(j.expired), static_cast<unsigned long long>(j.evicted), callers_killed_,
        supervisors_killed_, stops_, static_cast<unsigned long long>(j.undecided),
        static_cast<unsigned long long>(j.searched), static_cast<unsigned long long>(j.steps_most));
  }
  [[nodiscard]] const Judgement& judgement() const { return judgement_; }
  [[nodiscard]] unsigned callers_killed() const { return callers_killed_; }
  [[nodiscard]] unsigned supervisors_killed() const { return supervisors_killed_; }
  [[nodiscard]] unsigned stops() const { return stops_; }

 private:
  static constexpr std::size_t kLivesMax = 60'000;
  static constexpr std::uint32_t kBlockMs = 5;
  struct Life {  // of one caller, from fork to the end of its recovery
    std::atomic<std::int32_t> pid;
    std::atomic<std::int64_t> killed_ns;
    std::atomic<std::int64_t> reaped_ns;
  };
  struct Process {
    pid_t pid = 0;
    std::uint32_t life = 0;
    bool supervisor = false;
    std::int64_t stopped_until = 0;  // 0: runs
  };

  std::int64_t up_to(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n + 1));
  }

  void start(std::size_t index) {
    Process& p = processes_[index];
    p.supervisor = index == plan_.callers;
    p.stopped_until = 0;
    p.life = ++lives_used_;
    const std::uint64_t seed = plan_.seed * 1'000'003 + p.life;
    std::fflush(stdout);
    p.pid = fork();
    if (p.pid != 0) {
      lives_[p.life].pid.store(p.pid);
      return;
    }
    plan_.in_each_process(seed);
    if (p.supervisor) {
      supervise();
    } else {
      call(p.life, seed);
    }
    _exit(0);
  }

  void call(std::uint32_t life, std::uint64_t seed) {
    auto cache = Cache::open({.name = plan_.segment.name, .client_name = "caller"});
    if (!cache) {
      log_.complain("open: " + to_string(cache.error()));
      return;
    }
    Caller caller{log_, plan_.keys, *cache, life, seed};
    while (!log_.stop().load() && caller.step()) {
    }
  }

  void supervise() {
    auto keeper = Maintainer::create(plan_.segment);
    // The one before may not be gone yet for the kernel.
    while (!keeper && keeper.code() == Errc::busy && !log_.stop().load()) {
      std::this_thread::yield();
      keeper = Maintainer::create(plan_.segment);
    }
    if (!keeper) return;
    for (unsigned round = 0; !log_.stop().load(); ++round) {
      const std::int64_t now = clock_ns();
      keeper->heartbeat(now);
      drain_into(log_, plan_.keys, *keeper);
      static_cast<void>(keeper->expire_due(now, 64));
      static_cast<void>(keeper->evict(4));
      static_cast<void>(keeper->help_stalled(now));
      static_cast<void>(keeper->scrub(4));
      if (round % 8 == 0) reap(*keeper);
      if (round % 64 == 63)
        static_cast<void>(keeper->publish_triggers(watch_all(kBlockMs), std::chrono::milliseconds{5}));
    }
  }

  /// Says of whom nothing is left: from then on a call that death cut off has had its effect.
  void reap(Maintainer& keeper) {
    const std::int64_t began = clock_ns();
    static_cast<void>(keeper.reap(kClientsMax));
    const auto clients = list_clients(keeper.cache());
    if (!clients) return;
    const std::uint32_t last = std::min<std::uint32_t>(lives_seen_ + 64, kLivesMax);
    for (std::uint32_t life = lives_seen_; life < last; ++life) {
      const std::int64_t killed = lives_[life].killed_ns.load();
      if (killed == 0 || killed > began || lives_[life].reaped_ns.load() != 0) continue;
      bool there = false;
      for (const auto& c : *clients) there = there || c.pid == lives_[life].pid.load();
      if (!there) lives_[life].reaped_ns.store(clock_ns());
    }
    while (lives_seen_ < kLivesMax - 64 && lives_[lives_seen_].reaped_ns.load() != 0) ++lives_seen_;
  }

  static void end(pid_t pid, int signal) {
    kill(pid, signal);
    kill(pid, SIGCONT);
    int status = 0;
    waitpid(pid, &status, 0);
  }

  /// One thing happens to one process, then a moment passes.
  void disturb() {
    const std::int64_t now = clock_ns();
    for (Process& p : processes_) {
      if (p.stopped_until == 0 || now < p.stopped_until) continue;
      kill(p.pid, SIGCONT);
      p.stopped_until = 0;
    }
    const bool supervisor = up_to(9) == 0;
    const std::size_t index =
        supervisor ? plan_.callers : static_cast<std::size_t>(up_to(static_cast<std::int64_t>(plan_.callers) - 1));
    Process& p = processes_[index];
    if (up_to(2) == 0) {
      end(p.pid, SIGKILL);
      lives_[p.life].killed_ns.store(clock_ns());
      ++(supervisor ? supervisors_killed_ : callers_killed_);
      start(index);
    } else if (p.stopped_until == 0) {
      kill(p.pid, SIGSTOP);
      ++stops_;
      // Mostly for a moment; now and then for long enough that others go a long way.
      p.stopped_until = now + (up_to(9) == 0 ? up_to(200) : up_to(10)) * 1'000'000;
    }
    std::this_thread::sleep_for(std::chrono::microseconds{up_to(6000)});
  }

  /// Everybody ends by itself; who does not has hung.
  std::string finish() {
    std::string wrong;
    log_.stop().store(true);
    for (Process& p : processes_) kill(p.pid, SIGCONT);
    const std::int64_t until = clock_ns() + std::int64_t{30} * 1'000'000'000;
    for (Process& p : processes_) {
      int status = 0;
      pid_t ended = 0;
      while ((ended = waitpid(p.pid, &status, WNOHANG)) == 0 && clock_ns() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
      }
      if (ended == 0) {
        wrong += std::string{p.supervisor ? "the supervisor" : "a caller"} + " hangs\n";
        end(p.pid, SIGKILL);
      } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        wrong += std::string{p.supervisor ? "the supervisor" : "a caller"} + " ended by status " +
                 std::to_string(status) + "\n";
      }
      p.pid = 0;
    }
    return wrong;
  }

  ChaosPlan plan_;
  Log log_;
  std::mt19937_64 random_;
  Life* lives_ = nullptr;
  std::uint32_t lives_used_ = 0;
  std::uint32_t lives_seen_ = 1;
  std::vector<Process> processes_;
  Judgement judgement_;
  unsigned callers_killed_ = 0, supervisors_killed_ = 0, stops_ = 0;
};

}  // namespace cachee::test
