// What the dispatcher counts of triggers, and the runs that took long.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include <cachee/types.hpp>

#include "core/histogram.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kTriggerMetricsMax = 256;  // names of one trigger; further ones are not counted

/// Figures of one trigger since this cacheed started; what a crash must not lose is in the account.
struct TriggerFigures {
  std::uint64_t ok = 0, failed = 0, held = 0, dead = 0, retried = 0;
  Histogram run_ns{};
  Histogram lag_us{};
  Histogram steps{};         // VM instructions of each run
  Histogram memory_bytes{};  // the most that each run held
  std::string last_error{};
  std::map<std::string, double, std::less<>> metrics{};  // sums of cachee.metric
};

/// A run that took longer than the slow log's bound.
struct SlowRun {
  std::uint64_t id = 0;
  std::int64_t wall_ms = 0;
  std::uint64_t run_ns = 0;
  std::uint64_t steps = 0;
  std::string trigger{};
  std::string event{};  // "expire"
  std::string key{};
  std::string event_id{};
};

/// The last runs that were slow, as Redis keeps commands. One thread.
class SlowLog {
 public:
  /// Negative `over_ns`: nothing is kept. Zero: every run.
  void set_rules(std::int64_t over_ns, std::size_t runs_max) {
    over_ns_ = over_ns;
    runs_max_ = runs_max;
    shorten();
  }
  [[nodiscard]] bool wants(std::uint64_t run_ns) const noexcept {
    return over_ns_ >= 0 && run_ns >= static_cast<std::uint64_t>(over_ns_) && runs_max_ > 0;
  }
  void add(SlowRun run) {
    run.id = next_id_++;
    runs_.push_front(std::move(run));
    shorten();
  }
  void clear() noexcept { runs_.clear(); }
  /// Youngest first.
  [[nodiscard]] const std::deque<SlowRun>& runs() const noexcept { return runs_; }

 private:
  void shorten() {
    if (runs_.size() > runs_max_) runs_.resize(runs_max_);
  }
  std::int64_t over_ns_ = -1;
  std::size_t runs_max_ = 0;
  std::uint64_t next_id_ = 0;
  std::deque<SlowRun> runs_{};
};

}  // namespace cachee::daemon
