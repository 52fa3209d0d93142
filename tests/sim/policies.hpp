// Which schedules are tried: all with few preemptions, or random ones.
#pragma once

#include <algorithm>
#include <random>
#include <unordered_map>

#include "sim/scheduler.hpp"

namespace cachee::sim {

/// Words that two parties use, one of them writing: only there does the order of two steps matter.
/// Learned over the runs of a scenario; whoever explores repeats until nothing new is learned.
class Conflicts {
 public:
  void note(const Moment& m) {
    Use& use = uses_[m.at];
    const std::uint32_t bit = 1u << m.running;
    const Use before = use;
    use.all |= bit;
    if (m.writes) use.writers |= bit;
    if (use.all != before.all || use.writers != before.writers) grown_ = true;
  }
  /// By what had been learned when the exploration began: the tree of choices must not change.
  bool matters(const Moment& m) const {
    const auto at = active_.find(m.at);
    if (at == active_.end()) return false;
    const std::uint32_t others = ~(1u << m.running);
    return ((m.writes ? at->second.all : at->second.writers) & others) != 0;
  }
  /// Uses what was learned. False: nothing new since the last time.
  bool activate() {
    if (!std::exchange(grown_, false)) return false;
    active_ = uses_;
    return true;
  }

 private:
  struct Use {
    std::uint32_t all = 0, writers = 0;
  };
  std::unordered_map<const void*, Use> uses_, active_;
  bool grown_ = false;
};

struct Budget {
  unsigned preemptions = 2;
  unsigned kills = 0;
};

/// Every schedule with at most so many preemptions and kills, one after the other (depth first).
class Exhaustive final : public Policy {
 public:
  Exhaustive(Conflicts& conflicts, Budget budget, std::function<bool(std::size_t)> mortal)
      : conflicts_{conflicts}, budget_{budget}, mortal_{std::move(mortal)} {}

  /// Before each run. False: all have been tried.
  bool begin() {
    if (started_) {
      while (!tree_.empty() && tree_.back().taken + 1 == tree_.back().options) tree_.pop_back();
      if (tree_.empty()) return false;
      ++tree_.back().taken;
    }
    started_ = true;
    depth_ = 0;
    preemptions_ = kills_ = 0;
    return true;
  }
  std::size_t first(const std::vector<bool>& runnable) override {
    return nth(runnable, runnable.size(), choose(count(runnable, runnable.size())));
  }
  Decision decide(const Moment& m, const std::vector<bool>& runnable) override {
    if (m.ended) return {false, nth(runnable, runnable.size(), choose(count(runnable, runnable.size())))};
    conflicts_.note(m);
    if (!conflicts_.matters(m)) return {false, m.running};
    const std::size_t others = count(runnable, m.running);
    const bool may_switch = preemptions_ < budget_.preemptions && others > 0;
    // A death makes its recovery runnable: there is always somebody to go on.
    const bool may_kill = kills_ < budget_.kills && mortal_(m.running);
    if (!may_switch && !may_kill) return {false, m.running};
    std::size_t taken = choose(1 + (may_switch ? others : 0) + (may_kill ? 1 : 0));
    if (taken == 0) return {false, m.running};
    if (may_switch && taken <= others) {
      ++preemptions_;
      return {false, nth(runnable, m.running, taken - 1)};
    }
    ++kills_;
    return {true, others > 0 ? nth(runnable, m.running, 0) : runnable.size() - 1};
  }

 private:
  struct Node {
    std::size_t taken, options;
  };
  static std::size_t count(const std::vector<bool>& runnable, std::size_t but) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < runnable.size(); ++i) n += i != but && runnable[i] ? 1 : 0;
    return n;
  }
  static std::size_t nth(const std::vector<bool>& runnable, std::size_t but, std::size_t n) {
    for (std::size_t i = 0; i < runnable.size(); ++i) {
      if (i != but && runnable[i] && n-- == 0) return i;
    }
    return 0;
  }
  std::size_t choose(std::size_t options) {
    if (depth_ == tree_.size()) tree_.push_back({0, options});
    return tree_[depth_++].taken;
  }
  Conflicts& conflicts_;
  Budget budget_;
  std::function<bool(std::size_t)> mortal_;
  std::vector<Node> tree_;
  std::size_t depth_ = 0;
  unsigned preemptions_ = 0, kills_ = 0;
  bool started_ = false;
};

/// A random one of the schedules that Exhaustive tries.
class Sample final : public Policy {
 public:
  /// `moments`: about how many of the moments that matter a run has.
  Sample(Conflicts& conflicts, Budget budget, std::uint64_t seed, std::uint64_t moments,
         std::function<bool(std::size_t)> mortal)
      : conflicts_{conflicts}, mortal_{std::move(mortal)}, random_{seed} {
    for (unsigned i = 0; i < budget.preemptions; ++i) switches_.push_back(random_() % moments);
    for (unsigned i = 0; i < budget.kills; ++i) kills_.push_back(random_() % moments);
  }
  std::size_t first(const std::vector<bool>& runnable) override { return any(runnable, runnable.size()); }
  Decision decide(const Moment& m, const std::vector<bool>& runnable) override {
    if (m.ended) return {false, any(runnable, runnable.size())};
    conflicts_.note(m);
    if (!conflicts_.matters(m)) return {false, m.running};
    const std::uint64_t now = moments_++;
    const auto due = [&](const std::vector<std::uint64_t>& at) {
      return std::find(at.begin(), at.end(), now) != at.end();
    };
    if (mortal_(m.running) && due(kills_)) return {true, any(runnable, m.running)};
    if (due(switches_)) return {false, any(runnable, m.running)};
    return {false, m.running};
  }
  std::uint64_t moments() const { return moments_; }

 private:
  /// Another one that can run; when there is none, the last: the recoverer of whoever dies now.
  std::size_t any(const std::vector<bool>& runnable, std::size_t but) {
    std::vector<std::size_t> others;
    for (std::size_t i = 0; i < runnable.size(); ++i) {
      if (i != but && runnable[i]) others.push_back(i);
    }
    if (!others.empty()) return others[random_() % others.size()];
    return but < runnable.size() && runnable[but] ? but : runnable.size() - 1;
  }
  Conflicts& conflicts_;
  std::function<bool(std::size_t)> mortal_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> switches_, kills_;
  std::uint64_t moments_ = 0;
};

/// Probabilistic concurrency testing: the runnable party of the highest priority runs; at depth - 1
/// random steps the running one falls below all others (for ever: that is a stop, the others go to
/// their ends first). At one step more, perhaps, the running one dies.
class RandomPriorities final : public Policy {
 public:
  RandomPriorities(std::uint64_t seed, std::size_t parties, std::uint64_t steps_expected,
                   std::function<bool(std::size_t)> mortal)
      : random_{seed}, mortal_{std::move(mortal)} {
    for (std::size_t i = 0; i < parties; ++i) priorities_.push_back(static_cast<std::int64_t>(100 + i));
    std::shuffle(priorities_.begin(), priorities_.end(), random_);
    const std::size_t depth = 3 + random_() % 3;
    for (std::size_t i = 1; i < depth; ++i) changes_.push_back(1 + random_() % steps_expected);
    if (random_() % 2 == 0) kill_at_ = 1 + random_() % steps_expected;
  }
  std::size_t first(const std::vector<bool>& runnable) override { return highest(runnable); }
  Decision decide(const Moment& m, const std::vector<bool>& runnable) override {
    if (!m.ended && m.step >= kill_at_ && mortal_(m.running)) {
      kill_at_ = ~std::uint64_t{0};
      auto left = runnable;
      left[m.running] = false;
      const bool any = std::find(left.begin(), left.end(), true) != left.end();
      return {true, any ? highest(left) : runnable.size() - 1};
    }
    for (const std::uint64_t change : changes_) {
      if (change == m.step) priorities_[m.running] = --lowest_;
    }
    return {false, highest(runnable)};
  }

 private:
  std::size_t highest(const std::vector<bool>& runnable) const {
    std::size_t best = runnable.size();
    for (std::size_t i = 0; i < runnable.size(); ++i) {
      if (runnable[i] && (best == runnable.size() || priorities_[i] > priorities_[best])) best = i;
    }
    return best;
  }
  std::mt19937_64 random_;
  std::function<bool(std::size_t)> mortal_;
  std::vector<std::int64_t> priorities_;
  std::vector<std::uint64_t> changes_;
  std::uint64_t kill_at_ = ~std::uint64_t{0};
  std::int64_t lowest_ = 100;
};

}  // namespace cachee::sim
