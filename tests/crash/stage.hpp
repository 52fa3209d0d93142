// Where a victim is run by the instruction and its leavings are judged: a world of its own, and
// copies of that world's memory in other segments, in which the victim is alive or dead as a test
// needs it.
#pragma once

#include <cerrno>
#include <memory>
#include <vector>

#include "crash/scenarios.hpp"
#include "crash/stepper.hpp"
#include "crash/world.hpp"
#include "layout/segment_header.hpp"
#include "os/process.hpp"

namespace cachee::test {

/// A registration counts as alive while its lock file lies in its place, locked: behind a rename it
/// is dead for everybody, and alive again behind another one.
inline std::string path_of_lock(const World& world, const std::string& file) {
  return "/dev/shm/cachee." + world.name() + ".locks/" + file;
}
inline void move_lock_file(const World& world, std::uint64_t registration, const char* from, const char* to) {
  const std::string path = path_of_lock(world, os::registration_file(registration));
  if (std::rename((path + from).c_str(), (path + to).c_str()) != 0) throw std::runtime_error("rename " + path);
}

/// Whoever leaves removes its lock file; when it was a copy's end, the copied process has it still.
class KeptLockFile {
 public:
  KeptLockFile(const World& world, std::uint64_t registration)
      : path_{path_of_lock(world, os::registration_file(registration))}, kept_{path_ + ".kept"} {
    exists_ = ::link(path_.c_str(), kept_.c_str()) == 0;
  }
  KeptLockFile(const KeptLockFile&) = delete;
  KeptLockFile& operator=(const KeptLockFile&) = delete;
  ~KeptLockFile() {
    // Two names of one file: a rename would leave both.
    if (exists_) {
      ::unlink(path_.c_str());
      std::rename(kept_.c_str(), path_.c_str());
    }
  }

 private:
  std::string path_;
  std::string kept_;
  bool exists_ = false;
};

/// A world whose bytes come from another one of the same shape. The victim holds a lock file here,
/// too: as long as it lies in its place, everybody takes the victim for alive.
class Copy {
 public:
  Copy(const SegmentOptions& options, EventMask events) : world_{options, events} {
    world_.drop_keeper();
    raw_ = std::make_unique<RawSegment>(world_.name());
  }
  /// Ends whoever is attached and makes the memory that of `image`.
  void load(const RawSegment::Image& image, const History& history) {
    world_.leave();
    world_.drop_keeper();
    raw_->load(image);
    world_.history() = history;
  }
  /// In the victim: says that it lives.
  void hold(std::uint64_t registration) {
    auto lock = os::hold_lock(world_.name(), os::registration_file(registration), 0660);
    if (!lock) _exit(4);
    static std::vector<os::HeldLock> held;
    held.push_back(std::move(*lock));
  }
  void declare_dead(std::uint64_t registration) { move_lock_file(world_, registration, "", ".away"); }
  void declare_alive(std::uint64_t registration) { move_lock_file(world_, registration, ".away", ""); }
  World& world() { return world_; }
  RawSegment& raw() { return *raw_; }

 private:
  World world_;
  std::unique_ptr<RawSegment> raw_;
};

/// What happens between a death and its discovery.
enum class Between { nothing, set, erase, reuse, drain, help };
inline constexpr int kBetweenCount = 6;
inline const char* to_string(Between between) {
  const char* const names[] = {"nothing", "set", "erase", "reuse", "drain", "help"};
  return names[static_cast<int>(between)];
}

struct Judgement {
  std::string wrong{};    // empty: nothing
  std::string outcome{};  // what the operation came to: keys, values, deadlines, events
};

class Stage {
 public:
  explicit Stage(const Scenario& scenario)
      : scenario_{scenario}, world_{scenario.options, scenario.events}, judge_{scenario.options, scenario.events} {
    scenario.prepare(world_);
    world_.leave();
    world_.drop_keeper();
    raw_ = std::make_unique<RawSegment>(world_.name());
    base_ = raw_->image();
    history_ = world_.history();
    registration_ = reinterpret_cast<const layout::SegmentHeader*>(raw_->at())->registrations.load_relaxed();
  }

  /// The victim at the beginning of its operation, in a world as it was then.
  Stepped victim(std::vector<Copy*> copies) {
    copies.push_back(&judge_);
    raw_->load(base_);
    return Stepped{*raw_, [this, copies](Mark& mark) {
                     for (Copy* copy : copies) {
                       copy->hold(registration_);
                       copy->declare_dead(registration_);
                     }
                     if (scenario_.duty) {
                       if (scenario_.attaches) mark.begin();
                       Maintainer keeper = world_.make_keeper();
                       static_cast<void>(keeper.cache().contains("nothing"));
                       if (!scenario_.attaches) mark.begin();
                       scenario_.duty(keeper);
                       mark.end();
                       return;
                     }
                     if (scenario_.attaches) mark.begin();
                     Cache cache = world_.client("victim");
                     if (!scenario_.attaches) {
                       static_cast<void>(cache.contains("nothing"));  // takes the client slot
                       mark.begin();
                     }
                     scenario_.act(cache);
                     mark.end();
                   }};
  }
  /// Of a victim that nobody stops: how many stops there can be.
  long count_accesses() {
    long accesses = 0;
    Stepped whole = victim({});
    for (Stepped::Seen seen; !seen.ended;) {
      seen = whole.step();
      accesses += seen.accessed ? 1 : 0;
    }
    return accesses;
  }

  /// The victim is dead in this state of the memory: everything that is wrong with what follows.
  Judgement judge(const RawSegment::Image& image, Between between) {
    judge_.load(image, history_);
    World& world = judge_.world();
    Judgement out;
    const std::string key{scenario_.key};
    bool done = false;  // what came in between
    switch (between) {
      case Between::nothing: break;
      case Between::set: done = world.cache().set(key, "other").has_value(); break;
      case Between::erase: {
        const auto erased = world.cache().erase(key);
        done = erased || erased.code() == Errc::not_found;
        break;
      }
      case Between::reuse:
        done = true;
        for (int i = 0; i < 80 && done; ++i) {  // a full ring makes each of them wait
          static_cast<void>(world.cache().set("j", std::string(i % 2 == 0 ? 300 : 20, 'r')));
          done = world.cache().set(key, "other" + std::to_string(i)).has_value();
          if (i == 40 && scenario_.events != 0) static_cast<void>(world.cache().erase("j"));
        }
        break;
      case Between::drain:
      case Between::help:
        judge_.declare_alive(registration_);
        world.new_keeper();
        if (between == Between::help) {
          static_cast<void>(world.keeper().help_stalled(monotonic_ns()));
          static_cast<void>(world.keeper().help_stalled(monotonic_ns() + 1'000'000'000));
        }
        world.drain();
        judge_.declare_dead(registration_);
        break;
    }
    if (between != Between::drain && between != Between::help) world.new_keeper();
    out.wrong = finish(world, out.outcome);
    if (done && !scenario_.many_effects) {
      const auto got = world.cache().get(key);
      const std::string expected = between == Between::set ? "other" : between == Between::reuse ? "other79" : "";
      if (got ? got->bytes != expected : !expected.empty()) {
        out.wrong += "a later " + std::string{to_string(between)} + " was lost: " + (got ? got->bytes.substr(0, 20) : "absent") + "\n";
      }
    }
    out.wrong += rest(world);
    return out;
  }

  /// Recovers, checks, and says what there is.
  std::string finish(World& world, std::string& outcome) {
    std::string wrong = world.verdict();
    for (const auto& [key, value] : world.state()) {
      outcome += key + "=" + value.substr(0, 24) + "(" + std::to_string(value.size()) + ")";
      // Deadlines of the scenarios are hours away or none.
      if (const auto ttl = world.cache().ttl(key); ttl && *ttl) outcome += "@" + std::to_string(((*ttl)->count() + 1'800'000) / 3'600'000) + "h";
      outcome += " ";
    }
    outcome += "| " + world.history().log().substr(history_.log().size());
    return wrong;
  }
  /// The world goes on, and every block comes back.
  static std::string rest(World& world) {
    std::string wrong = world.stuck();
    wrong += world.damage();
    wrong += world.history().complaints();
    return wrong += world.leaks();
  }

  /// For the world itself, while a living victim stands still there; a supervisor gives up its place as well.
  void declare_dead() { move_locks("", ".away"); }
  void declare_alive() { move_locks(".away", ""); }

  World& world() { return world_; }
  RawSegment& raw() { return *raw_; }
  Copy& judging() { return judge_; }
  const History& history() const { return history_; }
  std::uint64_t registration() const { return registration_; }

 private:
  void move_locks(const char* from, const char* to) {
    if (!scenario_.duty) return move_lock_file(world_, registration_, from, to);
    for (const std::string& file : {os::registration_file(registration_), std::string{os::kSupervisorFile}}) {
      const std::string path = path_of_lock(world_, file);
      const bool moved = std::rename((path + from).c_str(), (path + to).c_str()) == 0;
      // Whoever stands still in its attaching may have none yet.
      if (!moved && !(scenario_.attaches && errno == ENOENT)) throw std::runtime_error("rename " + path);
    }
  }

  const Scenario& scenario_;
  World world_;
  Copy judge_;
  std::unique_ptr<RawSegment> raw_;
  RawSegment::Image base_;
  History history_;
  std::uint64_t registration_ = 0;
};

/// The scenarios that a run steps through: all in the long form.
inline std::vector<Scenario> stepped_scenarios(bool long_form) {
  std::vector<Scenario> list = client_scenarios();
  if (!long_form) std::erase_if(list, [](const Scenario& s) { return s.lengthy; });
  return list;
}

/// Chooses states to judge: writes that go on where the one before ended (a value being filled in)
/// count as one state, except every n-th.
class Choice {
 public:
  explicit Choice(bool all) : all_{all} {}
  bool take(const Stepped::Seen& seen) {
    run_ = seen.first == end_ ? run_ + 1 : 0;
    end_ = seen.end;
    return all_ || run_ % kRunStride == 0;
  }

 private:
  static constexpr long kRunStride = 64;
  bool all_;
  std::size_t end_ = 0;
  long run_ = 0;
};

}  // namespace cachee::test
