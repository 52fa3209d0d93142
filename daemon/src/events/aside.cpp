// Slow runs: set aside, so that they hold back their own key and nothing else.
//
// A lane handles one event at a time, and the ring releases its cells in order: a handler that takes seconds would hold
// up every key of its lane, and when the ring is full behind it, every writer. So a run that takes longer than kSlow is
// ended, at no charge: nothing of it has been seen by anybody. It moves into the store like a run that is held, with a copy of
// its event, and begins anew in an executor that has no lane; until it is over there, the store holds back what comes
// behind it for the same key and trigger [DP-2]. Triggers whose TIMEOUT is not much longer are left to the watchdog, and a
// run that was under way when its trigger was registered anew ends where it is.
//
// Killed: the run is in the store, waiting. The next cacheed tries it in its lane first, and sets it aside again.
#include <algorithm>

#include <fmt/format.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "events/dispatcher.hpp"

namespace cachee::daemon {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kSlowMs = 100;
constexpr std::int64_t kWorthItMs = 4 * kSlowMs;  // of TIMEOUT
constexpr std::size_t kAsidesMax = 4;
constexpr std::chrono::seconds kAsideIdle{30};

}  // namespace

bool Dispatcher::set_slow_run_aside(Worker& worker) {
  const auto running = worker.process->running_longer_than(mono_ns(), kSlowMs * kNsPerMs);
  if (!running || options_.executors >= kExecutorsMax) return false;
  const TriggerSpec* const spec = registry_->find_slot(running->trigger_slot);
  if (spec == nullptr || spec->timeout_ms < kWorthItMs) return false;
  // Begun before its trigger was registered anew: it ends on the old code, which nobody has any more.
  const WallMs began_wall_ms = wall_ms() - (mono_ns() - running->since) / kNsPerMs;
  if (began_wall_ms < static_cast<WallMs>(spec->registered_wall_ms)) return false;
  ++set_aside_;
  const std::string reason =
      fmt::format("trigger {} takes longer than {} ms with event {}, which goes on apart", spec->name, kSlowMs, id_of(running->seq));
  worker.process->stop(reason);
  bury_worker(worker, reason, Charge::aside);
  restart_at_once(worker);
  return true;
}

bool Dispatcher::is_aside(std::int64_t stored_id) const {
  return std::any_of(asides_.begin(), asides_.end(), [&](const Aside& aside) { return aside.run == stored_id; });
}

/// False: not now.
bool Dispatcher::run_aside(const StoredRun& stored, std::uint32_t trigger_slot) {
  Aside* const aside = free_aside();
  if (aside == nullptr) return false;
  if (!aside->worker.process->run_stored(static_cast<std::uint64_t>(stored.id), trigger_slot, *stored.event)) return false;
  aside->run = stored.id;
  return true;
}

/// One that has nothing in hand; null: all are busy.
Dispatcher::Aside* Dispatcher::free_aside() {
  const auto idle = std::find_if(asides_.begin(), asides_.end(), [](const Aside& aside) { return aside.run == 0; });
  if (idle != asides_.end()) return &*idle;
  if (asides_.size() >= std::min<std::size_t>(kAsidesMax, kExecutorsMax - options_.executors)) return nullptr;
  // A lane word that no other aside has.
  std::uint32_t lane = options_.executors;
  const auto taken = [&](const Aside& aside) { return aside.worker.lane == lane; };
  while (std::any_of(asides_.begin(), asides_.end(), taken)) ++lane;
  ExecutorOptions options = options_of_executor(lane);
  options.lane_count = kExecutorsMax;
  options.start_position = base_;
  options.stopped = true;
  auto started = Executor::start(options);
  if (!started) {
    log::error("an executor for a slow run does not start: {}", started.failure().text);
    return nullptr;
  }
  Aside& aside = asides_.emplace_back();
  aside.worker.lane = lane;
  aside.idle_since = std::chrono::steady_clock::now();
  set_process(aside.worker, std::move(*started));
  return &aside;
}

int Dispatcher::collect_aside() {
  int reports = 0;
  for (Aside& aside : asides_) {
    reports += aside.worker.process->poll(kReportsPerRound, [&](const RunReport& report) {
      take_report(aside.worker, report);
      aside.run = 0;
      aside.idle_since = std::chrono::steady_clock::now();
    });
  }
  return reports;
}

bool Dispatcher::look_after_asides() {
  if (asides_.empty()) return false;
  const auto now = std::chrono::steady_clock::now();
  const std::size_t before = asides_.size();
  std::erase_if(asides_, [&](Aside& aside) {
    const auto reason = aside.worker.process->exited();
    if (reason) end_aside(aside, *reason);
    const bool over = reason || (aside.run == 0 && now - aside.idle_since > kAsideIdle);
    if (over) set_process(aside.worker, nullptr);
    return over;
  });
  return asides_.size() != before;
}

/// Its process is dead: what it had in hand failed, or had not begun and is due again.
void Dispatcher::end_aside(Aside& aside, const std::string& reason) {
  while (aside.worker.process->poll(kReportsPerRound, [&](const RunReport& report) {
    take_report(aside.worker, report);
    aside.run = 0;
  }) > 0) {
  }
  log::warn("the executor of a slow run (pid {}) ended: {}", aside.worker.process->pid(), reason);
  auto lane = keeper_.lane(aside.worker.lane);
  if (lane) {
    if (const Lane::Running running = lane->running(); running.since != 0) charge(aside.worker, running, reason, Charge::attempt);
    lane->end();
  }
  if (aside.run != 0 && !is_stored_reported(aside.run)) {
    running_.erase(aside.run);
    in_hand_.erase(aside.run);
    store_look_ms_ = 0;
  }
  aside.run = 0;
}

}  // namespace cachee::daemon
