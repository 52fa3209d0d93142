// The supervisor's side: starts the process, reads its reports, stops it.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "executor/channel.hpp"
#include "executor/executor_main.hpp"
#include "executor/messages.hpp"
#include "executor/pool.hpp"
#include "script/effects.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kOutboxBytes = std::size_t{4} << 20;
// The largest report there can be: effects at their bound, error, traceback and head.
constexpr std::size_t kReportBytesMax = kEffectsBytesMax + (std::size_t{64} << 10);
constexpr std::size_t kInboxBytes = std::size_t{1} << 20;
constexpr std::size_t kBlockOrderBytes = 96;  // more than one takes
constexpr int kFdsFrom = 16;                  // clear of the two fixed descriptors of the child
constexpr std::int64_t kGraceMsMin = 10;  // beyond the limit, and the limit again at most: the run may be about to end by itself
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr TimeNs kLookNsMax = 100 * kNsPerMs;  // between two looks; of a longer pause we are the reason ourselves

/// Moves a channel's descriptor out of the way of dup2 in the child.
int move_up(int fd) noexcept { return fcntl(fd, F_DUPFD_CLOEXEC, kFdsFrom); }

Outcome<pid_t> spawn(const ExecutorOptions& options, int inbox, int outbox) {
  const std::vector<std::string> words = executor_arguments(options, getpid());
  std::vector<char*> argv{const_cast<char*>("cacheed")};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, inbox, kInboxFd);
  posix_spawn_file_actions_adddup2(&actions, outbox, kOutboxFd);
  // A group of its own: Ctrl-C on the terminal is the supervisor's to answer.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  // Nothing of the supervisor's environment is strangers' code's business.
  char* const environment[] = {nullptr};
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, options.executable.c_str(), &actions, &attributes,
                                 argv.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0)
    return Failure{Errc::io, fmt::format("starting an executor ({}): {}", options.executable,
                                         std::strerror(failed))};
  return pid;
}

std::string describe(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGSYS)
      return "it asked the kernel for something that its jail does not allow (SIGSYS)";
    return fmt::format("killed by signal {} ({})", signal, strsignal(signal));
  }
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

class ExecutorProcess final : public Executor {
 public:
  ExecutorProcess(pid_t pid, int pidfd, std::int64_t still_ms_max, Cache cache, Lane lane, std::unique_ptr<Channel> inbox,
                  std::unique_ptr<Channel> outbox)
      : pid_{pid},
        pidfd_{pidfd},
        still_ms_max_{still_ms_max},
        reader_{cache},
        lane_{std::move(lane)},
        inbox_{std::move(inbox)},
        outbox_{std::move(outbox)} {}
  ~ExecutorProcess() override {
    if (!reason_) end("stopped");
    close(pidfd_);
  }

  int poll(int count_max, const std::function<void(const RunReport&)>& sink) override {
    flush_orders();
    int count = 0;
    for (; count < count_max; ++count) {
      const auto message = outbox_->read();
      if (!message) break;
      const auto report = decode_report(*message);
      if (!report) {
        end("it reported what cannot be read");
        break;
      }
      forget_test(report->token);
      sink(*report);
    }
    if (outbox_->broken() && !reason_) end("its queue is damaged");
    return count;
  }

  void wait(std::chrono::microseconds longest) override { outbox_->wait(longest); }
  void wake() override { outbox_->wake(); }

  bool run_stored(std::uint64_t token, std::uint32_t trigger_slot,
                  const EventData& event) override {
    if (reason_ || !inbox_->can_post()) return false;  // before a large event is copied
    Order order;
    order.kind = Order::Kind::run_stored;
    order.token = token;
    order.trigger_slot = trigger_slot;
    order.event = event;
    return send(order);
  }
  bool run_spooled(std::uint64_t token, std::uint32_t trigger_slot, std::uint64_t key_hash,
                   const EventData& event) override {
    if (reason_ || !inbox_->can_post()) return false;  // before a large event is copied
    Order order;
    order.kind = Order::Kind::run_spooled;
    order.token = token;
    order.trigger_slot = trigger_slot;
    order.key_hash = key_hash;
    order.event = event;
    return send(order);
  }
  bool block(std::uint64_t key_hash, std::uint32_t trigger_slot) override {
    Order order;
    order.kind = Order::Kind::block;
    order.key_hash = key_hash;
    order.trigger_slot = trigger_slot;
    return send(order);
  }
  bool unblock(std::uint64_t key_hash, std::uint32_t trigger_slot,
               std::uint64_t reports_seen) override {
    Order order;
    order.kind = Order::Kind::unblock;
    order.key_hash = key_hash;
    order.trigger_slot = trigger_slot;
    order.reports_seen = reports_seen;
    return send(order);
  }
  bool test(std::uint64_t token, const TriggerSpec& spec, const EventData& event) override {
    Order order;
    order.kind = Order::Kind::test;
    order.token = token;
    order.spec = spec;
    order.event = event;
    {
      const std::lock_guard lock{tests_mutex_};
      test_timeouts_ms_[token] = spec.timeout_ms;  // before it may run
    }
    if (send(order)) return true;
    forget_test(token);
    return false;
  }
  void kick() override { lane_.kick(); }

  bool watchdog(TimeNs now, const std::function<std::uint32_t(std::uint32_t)>& timeout_ms) override {
    if (killed_.load()) return true;
    const Lane::Running seen = lane_.running();
    if (seen.since == 0) return ends_when_still(now);
    still_ns_ = 0;
    looked_at_ = now;
    const std::int64_t limit_ms = seen.trigger_slot == RunReport::kNoTriggerSlot
                                      ? test_timeout_ms(seen.token)
                                      : timeout_ms(seen.trigger_slot);
    const std::int64_t grace_ms = std::max(std::min(kGraceMsMin, limit_ms), limit_ms / 2);
    const auto running = running_longer_than(now, (limit_ms + grace_ms) * kNsPerMs);
    if (!running || running->trigger_slot != seen.trigger_slot || running->token != seen.token) return false;
    return kill_it(fmt::format("the handler was stopped: over its wall-clock limit of {} ms", limit_ms));
  }
  std::optional<Lane::Running> running_longer_than(TimeNs now, TimeNs longest) const override {
    const Lane::Running running = lane_.running();
    if (running.since == 0 || now - running.since < longest) return std::nullopt;
    // The words are not read in one step: only what is still there is what runs.
    const Lane::Running again = lane_.running();
    if (again.since != running.since || again.seq != running.seq ||
        again.trigger_slot != running.trigger_slot || again.token != running.token) {
      return std::nullopt;
    }
    return running;
  }
  void stop(std::string reason) override {
    if (!reason_) end(std::move(reason));
  }

  bool was_killed() const noexcept override { return killed_.load(); }

  std::optional<std::string> exited() override {
    if (reason_) return reason_;
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) reason_ = killed_.load() ? kill_reason_ : describe(status);
    if (ended < 0 && errno == ECHILD) reason_ = "it is gone";
    return reason_;
  }

  int pid() const noexcept override { return pid_; }
  std::uint64_t scanned_through() const noexcept override { return lane_.position(); }

 private:
  /// Never waits: the executor may be waiting for us to read its reports.
  bool send(const Order& order) {
    if (reason_ || !inbox_->post(encode(order))) return false;
    flushed_ = inbox_->flush();
    lane_.kick();
    return true;
  }
  void flush_orders() {
    if (flushed_) return;
    flushed_ = inbox_->flush();
    lane_.kick();
  }
  void forget_test(std::uint64_t token) {
    if (token == 0) return;
    const std::lock_guard lock{tests_mutex_};
    test_timeouts_ms_.erase(token);
  }
  [[nodiscard]] std::int64_t test_timeout_ms(std::uint64_t token) const {
    const std::lock_guard lock{tests_mutex_};
    const auto known = test_timeouts_ms_.find(token);
    return known != test_timeouts_ms_.end() ? known->second : TriggerSpec{}.timeout_ms;
  }
  /// [WD-2] What waits for the process, while it says that it runs nothing and its reports are taken.
  [[nodiscard]] bool has_work() const {
    if (!outbox_->drained()) return false;
    if (!inbox_->drained()) return true;
    const std::uint64_t position = lane_.position();
    return !lane_.stopped() && position < reader_.tail() && reader_.at(EventSeq{position}).code() != Errc::would_block;
  }
  bool ends_when_still(TimeNs now) {
    const std::uint64_t position = lane_.position();
    const TimeNs step = std::min(now - looked_at_, kLookNsMax);
    looked_at_ = now;
    if (position != still_at_ || !has_work()) {
      still_ns_ = 0;
      still_at_ = position;
      return false;
    }
    still_ns_ += step;
    if (still_ns_ < still_ms_max_ * kNsPerMs) return false;
    return kill_it(fmt::format("it has not moved for {} ms", still_ms_max_));
  }
  bool kill_it(std::string reason) {
    kill_reason_ = std::move(reason);
    killed_.store(true);  // before the kill: exited() may see its end at once
    syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
    return true;
  }
  void end(std::string reason) {
    kill(pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    reason_ = std::move(reason);
  }

  pid_t pid_;
  int pidfd_;
  std::int64_t still_ms_max_;
  EventReader reader_;
  Lane lane_;
  std::unique_ptr<Channel> inbox_;
  std::unique_ptr<Channel> outbox_;
  bool flushed_ = true;
  std::optional<std::string> reason_{};
  mutable std::mutex tests_mutex_{};
  std::map<std::uint64_t, std::uint32_t> test_timeouts_ms_{};  // by token, until reported; guarded by tests_mutex_

  // The watchdog's.
  TimeNs looked_at_ = 0;
  TimeNs still_ns_ = 0;  // neither move nor run for so long, as far as it saw
  std::uint64_t still_at_ = 0;
  std::string kill_reason_{};  // to be read once `killed_` is set
  std::atomic<bool> killed_{false};
};

}  // namespace

Outcome<std::unique_ptr<Executor>> Executor::start(const ExecutorOptions& options) {
  OpenOptions open;
  open.name = options.segment;
  open.access = Access::read_only;
  auto cache = Cache::open(open);
  if (!cache)
    return Failure{cache.error().code,
                   fmt::format("segment {}: {}", options.segment, to_string(cache.error()))};
  auto lane = Lane::open(*cache, options.lane);
  if (!lane)
    return Failure{lane.error().code,
                   fmt::format("lane {}: {}", options.lane, to_string(lane.error()))};
  auto inbox = Channel::create(std::max(kInboxBytes, options.blocked.size() * kBlockOrderBytes));
  if (!inbox) return inbox.failure();
  auto outbox = Channel::create(kOutboxBytes, kReportBytesMax);
  if (!outbox) return outbox.failure();
  // Before the process starts: the first thing it reads.
  for (const auto& [key_hash, trigger_slot] : options.blocked) {
    Order order;
    order.kind = Order::Kind::block;
    order.key_hash = key_hash;
    order.trigger_slot = trigger_slot;
    if (!(*inbox)->try_write(encode(order)))
      return Failure{Errc::no_space,
                     "an executor's inbox does not hold the keys that wait for a retry"};
  }
  // By us and before it starts: a lane that is stopped meanwhile stays stopped.
  lane->resume(options.start_position);
  if (options.stopped) lane->stop();
  const int inbox_fd = move_up((*inbox)->fd());
  const int outbox_fd = move_up((*outbox)->fd());
  auto pid = spawn(options, inbox_fd, outbox_fd);
  close(inbox_fd);
  close(outbox_fd);
  if (!pid) return pid.failure();
  const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, *pid, 0));
  if (pidfd < 0) {
    const Failure failure{Errc::io, fmt::format("a handle on the executor: {}", std::strerror(errno))};
    kill(*pid, SIGKILL);
    waitpid(*pid, nullptr, 0);
    return failure;
  }
  return std::unique_ptr<Executor>{std::make_unique<ExecutorProcess>(
      *pid, pidfd, options.still_ms_max, std::move(*cache), std::move(*lane), std::move(*inbox), std::move(*outbox))};
}

}  // namespace cachee::daemon
