// cacheed: the supervisor of one segment. The only file that knows all parts: build, wire, run, stop.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <unistd.h>

#include <cachee/maintain.hpp>
#include <fmt/format.h>

#include "config/config.hpp"
#include "control/socket.hpp"
#include "core/clock.hpp"
#include "core/clock_watch.hpp"
#include "core/log.hpp"
#include "core/runner.hpp"
#include "events/appliers.hpp"
#include "events/dispatcher.hpp"
#include "executor/executor_main.hpp"
#include "metrics/exporter.hpp"
#include "supervisor/notify.hpp"
#include "supervisor/priority.hpp"
#include "supervisor/trigger_folder.hpp"
#include "supervisor/upkeep.hpp"
#include "sweep/sweeps.hpp"
#include "webhook/sender.hpp"

namespace cachee::daemon {
namespace {

using namespace std::chrono_literals;

constexpr int kExitFailed = 1;
constexpr auto kDrainPatience = 5s;  // interface.md: what can be drained within
constexpr TimeNs kMs = 1'000'000;
constexpr TimeNs kDeadlineWaitMax = 100 * kMs;  // a writer may die between a deadline and the wake of the sweeper

SegmentOptions segment_options(const Settings& settings) {
  SegmentOptions options;
  options.name = settings.name;
  options.memory_bytes = settings.memory_bytes;
  options.ring_events = settings.ring_events;
  options.clients_max = settings.clients_max;
  options.value_bytes_max = settings.value_bytes_max;
  options.eviction = settings.eviction;
  options.mode = settings.mode;
  options.group = settings.group;
  options.huge_pages = settings.huge_pages;
  options.prefault = settings.prefault;
  options.lock_memory = settings.lock_memory;
  options.fresh = settings.fresh;
  return options;
}

/// What to tell the person who started us when there is no segment to be had.
std::string explain(const Settings& settings, const Error& error) {
  const std::string& name = settings.name;
  switch (error.code) {
    case Errc::busy:
      return fmt::format("the name '{}' is taken: another cacheed with pid {} runs it; stop that one, or choose another --name",
                         name, error.detail == 0 ? "unknown" : std::to_string(static_cast<std::int64_t>(error.detail)));
    case Errc::layout_mismatch:
      return fmt::format("segment '{}': {}; start the cacheed that made it, or discard it with --fresh", name, to_string(error));
    case Errc::no_space:
      return fmt::format("segment '{}': /dev/shm has no room for --memory {} bytes: give less, remove other segments, or enlarge /dev/shm",
                         name, settings.memory_bytes);
    case Errc::permission:
      if (settings.lock_memory && error.detail != 0) {
        return fmt::format("--lock-memory: {} bytes may not be locked ({}); raise LimitMEMLOCK= (ulimit -l) or give CAP_IPC_LOCK",
                           error.detail, to_string(error));
      }
      return fmt::format("segment '{}': {}; it belongs to another user, or /dev/shm may not be written", name, to_string(error));
    case Errc::corrupt:
      return fmt::format("segment '{}': {}; keep a copy of /dev/shm/cachee.{} for a report and discard it with --fresh", name, to_string(error), name);
    case Errc::invalid_argument:
      return fmt::format("segment '{}': --memory {} is too small for its ring (--ring-events {}) and clients (--max-clients {})",
                         name, settings.memory_bytes, settings.ring_events, settings.clients_max);
    default: return fmt::format("segment '{}': {}", name, to_string(error));
  }
}

int fail(const std::string& text) {
  std::fprintf(stderr, "cacheed: %s\n", text.c_str());
  return kExitFailed;
}

/// Everything that runs, in the order in which it is built.
class Supervisor {
 public:
  explicit Supervisor(Settings settings, std::vector<std::string> words) : settings_{std::move(settings)}, words_{std::move(words)} {}

  int run(const sigset_t& signals) {
    if (auto built = build(); !built) return fail(built.failure().text);
    log::info("ready: segment '{}', {}, {} bytes, control socket {}", settings_.name,
              keeper_->warm() ? "re-attached" : "created", keeper_->memory_bytes(), socket_path(settings_));
    notify_manager("READY=1");
    for (;;) {
      const int signal = sigwaitinfo(&signals, nullptr);
      if (signal == SIGHUP) {
        notify_manager("RELOADING=1");
        reload();
        notify_manager("READY=1");
      } else if (signal == SIGTERM || signal == SIGINT) {
        log::info("stopping on {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
        break;
      }
    }
    notify_manager("STOPPING=1");
    stop();
    log::info("stopped");
    return 0;
  }

 private:
  /// Whether huge pages come is for the machine to say; asking for them in vain is not an error.
  void tell_huge_pages() const {
    const auto memory = memory_info(keeper_->cache());
    if (!memory) return;
    if (memory->huge_bytes > 0) {
      log::info("huge pages: {} of {} bytes of the segment", memory->huge_bytes, keeper_->memory_bytes());
    } else {
      log::warn("--huge-pages: the segment has none, it runs on small pages: {}; see `mount -o remount,huge=advise /dev/shm`, "
                "and make the segment anew with --fresh", memory->huge_page_policy);
    }
  }

  /// A segment that was there keeps the size that it has, whatever the settings say.
  void tell_fixed() const {
    const Settings there = with_figures(settings_, keeper_->figures());
    const Settings asked = with_figures(settings_, keeper_->figures_asked());
    for (const SettingChange& change : changes_between(there, asked)) {
      log::warn("the segment's {} is {}, not {}; it {}", change.name, change.before, change.after, change.hindrance);
    }
  }
  /// Of what was asked for and what the segment has the larger.
  [[nodiscard]] std::uint64_t value_bytes_max() const noexcept {
    return std::max(settings_.value_bytes_max, keeper_->figures().value_bytes_max);
  }

  Outcome<void> build() {
    auto keeper = Maintainer::create(segment_options(settings_));
    if (!keeper) return Failure{keeper.error().code, explain(settings_, keeper.error())};
    keeper_.emplace(std::move(*keeper));
    tell_fixed();
    if (settings_.huge_pages) tell_huge_pages();

    StoreOptions store;
    store.directory = state_folder(settings_);
    store.durability = settings_.fsync ? sql::Durability::disk : sql::Durability::process;
    if (auto made = make_folder(store.directory, 0700, "--state-dir"); !made) return made;
    if (auto made = make_folder(std::filesystem::path{socket_path(settings_)}.parent_path(), 0755, "--runtime-dir"); !made) return made;

    auto warm_cache = keeper_->client(Role::trigger, "warm");
    if (!warm_cache) return Failure{warm_cache.error().code, "the sender's handle: " + to_string(warm_cache.error())};
    warm_cache_.emplace(std::move(*warm_cache));
    SenderSettings sender;
    sender.concurrency = settings_.webhook.concurrency;
    sender.concurrency_per_host = settings_.webhook.per_host;
    sender.timeout_ms = static_cast<std::uint32_t>(settings_.webhook.timeout.count());
    sender.backoff_min_ms = static_cast<std::uint32_t>(settings_.webhook.backoff_min.count());
    sender.backoff_max_ms = static_cast<std::uint32_t>(settings_.webhook.backoff_max.count());
    sender.attempts_max = settings_.webhook.attempts;
    sender.allow_hosts = settings_.webhook.allow_hosts;
    sender.allow_private = settings_.webhook.allow_private;
    sender.warm_bytes_max = value_bytes_max();
    auto made_sender = Sender::make(store, sender, [this](const WarmedValue& v) {
      return apply_warmed(*warm_cache_, v.key, v.body, v.ttl_ms, v.cost, v.provenance);
    });
    if (!made_sender) return made_sender.failure();
    sender_ = std::move(*made_sender);

    DispatcherOptions options;
    options.segment = settings_.name;
    options.executors = settings_.executors;
    options.spin = settings_.idle == Idle::spin;
    options.store = store;
    options.log = {settings_.log.rotate_bytes, settings_.log.rotate_after.count(), settings_.log.keep, settings_.log.hash_chain};
    options.outbox_wake = [this] { sender_->wake(); };
    auto dispatcher = Dispatcher::make(*keeper_, std::move(options));
    if (!dispatcher) return dispatcher.failure();
    dispatcher_ = std::move(*dispatcher);
    apply_settings();  // before the first run
    if (auto started = dispatcher_->start(); !started) return started;
    sender_->start();

    start_upkeep();
    load_folder();
    if (auto started = start_metrics(); !started) return started;
    return start_control();
  }

  Outcome<void> start_metrics() {
    if (!settings_.metrics) return {};
    auto cache = keeper_->client(Role::control, "metrics");
    if (!cache) return Failure{cache.error().code, "the exporter's handle: " + to_string(cache.error())};
    auto exporter = MetricsExporter::start(*settings_.metrics, {std::move(*cache), *dispatcher_, [this] { return sender_->counters(); },
                                                                [this] { return upkeep_figures(); },
                                                                [this] { return keeper_->slab_census(); }});
    if (!exporter) return exporter.failure();
    metrics_ = std::move(*exporter);
    return {};
  }

  static Outcome<void> make_folder(const std::filesystem::path& folder, mode_t mode, const char* option) {
    std::error_code error;
    if (std::filesystem::create_directories(folder, error)) {
      std::filesystem::permissions(folder, static_cast<std::filesystem::perms>(mode), error);
    }
    if (std::filesystem::is_directory(folder) && access(folder.c_str(), W_OK | X_OK) == 0) return {};
    return Failure{Errc::permission, fmt::format("{} cannot be used ({}): choose another with {}", folder.string(),
                                                 error ? error.message() : std::strerror(errno), option)};
  }

  Runner::Part part(const char* name, std::unique_ptr<DutyCycle> cycle, TimeNs every, TimeNs every_max, int items_max) {
    cycles_.push_back(std::move(cycle));
    return {name, cycles_.back().get(), every, every_max, items_max};
  }

  /// Deadlines have a thread of their own: one step of eviction may take longer than an event may be late.
  void start_upkeep() {
    const bool spin = settings_.idle == Idle::spin;
    runners_[0] = std::make_unique<Runner>(
        "expiry", std::vector{part("expiry", std::make_unique<ExpirySweep>(*keeper_), 0, 0, 20000)}, [this] { raise_expiry(); },
        [this, spin](TimeNs) {
          if (!spin) keeper_->wait_for_deadline(mono_ns() + kDeadlineWaitMax);
        });
    std::vector parts{part("eviction", std::make_unique<EvictionSweep>(*keeper_), 2 * kMs, 10 * kMs, 2000),
                      part("estimate", std::make_unique<MissEstimate>(*keeper_), 2 * kMs, 10 * kMs, 2),
                      part("stalls", std::make_unique<StallHelper>(*keeper_), 10 * kMs, 0, 1 << 20),
                      part("reaper", std::make_unique<Reaper>(*keeper_), 50 * kMs, 0, 16),
                      part("scrub", std::make_unique<Scrubber>(*keeper_), 20 * kMs, 0, 64)};
    // At most 1,024 headers of blocks, each a cache miss at worst: a tenth of a millisecond.
    if (settings_.metrics) parts.push_back(part("slabs", std::make_unique<SlabCensusTaker>(*keeper_), 20 * kMs, 0, 1024));
    runners_[1] = std::make_unique<Runner>("upkeep", std::move(parts), nullptr, [](TimeNs until) {
      std::this_thread::sleep_for(std::chrono::nanoseconds{until - mono_ns()});
    });
    for (const auto& runner : runners_) runner->start();
    auto watch = ClockWatch::start([this] { keeper_->note_clock_step(); });
    if (watch) {
      clock_watch_ = std::move(*watch);
    } else {
      log::warn("{}; a step of it is noticed within {} ms", watch.failure().text, kDeadlineWaitMax / kMs);
    }
  }

  void raise_expiry() const {
    if (settings_.expiry_priority == Priority::normal) return;
    log::info("expiry: {}", raise_thread(settings_.expiry_priority == Priority::realtime));
  }

  [[nodiscard]] std::vector<Runner::Figures> upkeep_figures() const {
    std::vector<Runner::Figures> all;
    for (const auto& runner : runners_) {
      for (Runner::Figures& figures : runner->figures()) all.push_back(std::move(figures));
    }
    return all;
  }

  Outcome<void> start_control() {
    ControlOptions options;
    options.socket_path = socket_path(settings_);
    options.mode = settings_.mode;
    options.group = settings_.group;
    options.listen = settings_.listen;
    options.value_bytes_max = value_bytes_max();
    if (!settings_.password_file.empty()) {
      auto password = read_password(settings_.password_file);
      if (!password) return password.failure();
      options.password = std::move(*password);
    }
    // What comes over the socket is a client's doing, in our name.
    auto cache = keeper_->client(Role::client, "cacheed");
    if (!cache) return Failure{cache.error().code, "the control socket's handle: " + to_string(cache.error())};
    ControlHooks hooks;
    hooks.list_settings = [this] {
      std::lock_guard lock{settings_mutex_};
      return list_settings(with_figures(settings_, keeper_->figures()));
    };
    hooks.change_settings = [this](std::span<const SettingWords> changes) -> std::optional<SettingRefusal> {
      std::lock_guard lock{settings_mutex_};
      Settings next = settings_;
      for (std::size_t i = 0; i < changes.size(); ++i) {
        if (auto changed = change_setting(next, changes[i].name, changes[i].value); !changed) {
          return SettingRefusal{i, changed.failure()};
        }
      }
      settings_ = std::move(next);
      apply_settings();
      return std::nullopt;
    };
    hooks.shutdown = [] { kill(getpid(), SIGTERM); };
    auto control = ControlServer::start(std::move(options), std::move(*cache), *dispatcher_, std::move(hooks));
    if (!control) return control.failure();
    control_ = std::move(*control);
    return {};
  }

  /// Settings that may change while we run: at the start, and at each change.
  void apply_settings() {
    log::set_level(settings_.log_level);
    keeper_->set_eviction_policy(settings_.eviction);
    dispatcher_->set_slow_log(std::chrono::nanoseconds{settings_.slow_run}.count(), settings_.slow_runs_max);
  }

  void load_folder() {
    const std::string folder = triggers_folder(settings_);
    if (folder.empty()) return;
    const FolderReport report = load_trigger_folder(folder, *dispatcher_);
    for (const std::string& error : report.errors) log::error("{}", error);
    if (report.registered > 0) log::info("{} trigger(s) registered from {}", report.registered, folder);
    for (const std::string& name : report.removed) log::info("trigger {} removed: its file in {} is gone", name, folder);
  }

  void reload() {
    std::vector<const char*> words;
    for (const std::string& word : words_) words.push_back(word.c_str());
    const auto loaded = load_settings(words, process_environment());
    if (const auto* wrong = std::get_if<EarlyExit>(&loaded)) {
      log::error("reload: {}; the settings stay as they are", wrong->text);
    } else {
      std::lock_guard lock{settings_mutex_};
      const auto& next = std::get<Settings>(loaded);
      for (const SettingChange& change : changes_between(settings_, next)) {
        if (!change.hindrance.empty()) {
          log::warn("reload: {} stays {}, not {}; it {}", change.name, change.before, change.after, change.hindrance);
        } else if (auto changed = change_setting(settings_, change.name, change.after); changed) {
          log::info("reload: {} = {}", change.name, change.after);
        }
      }
      apply_settings();
    }
    load_folder();
    log::info("reloaded");
  }

  /// In the order of need: no new commands, then the events, then what they left to be sent.
  void stop() {
    if (control_) control_->stop();
    metrics_.reset();
    if (dispatcher_) dispatcher_->stop(kDrainPatience);
    if (sender_) sender_->stop(1s);
    clock_watch_.reset();
    for (const auto& runner : runners_) {
      if (runner) runner->stop();
    }
  }

  Settings settings_;
  std::vector<std::string> words_;
  std::mutex settings_mutex_;
  std::optional<Maintainer> keeper_;
  std::optional<Cache> warm_cache_;
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::vector<std::unique_ptr<DutyCycle>> cycles_;
  std::array<std::unique_ptr<Runner>, 2> runners_;
  std::unique_ptr<ClockWatch> clock_watch_;
  std::unique_ptr<MetricsExporter> metrics_;
  std::unique_ptr<ControlServer> control_;
};

/// SIGTERM, SIGINT and SIGHUP are taken by sigwaitinfo() in main and by nobody else.
sigset_t block_signals() noexcept {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

int supervisor_main(std::span<char* const> arguments) {
  const sigset_t signals = block_signals();
  auto loaded = load_settings({const_cast<const char* const*>(arguments.data()), arguments.size()}, process_environment());
  if (const auto* exit = std::get_if<EarlyExit>(&loaded)) {
    std::fputs(exit->text.c_str(), exit->code == 0 ? stdout : stderr);
    return exit->code;
  }
  Settings settings = std::get<Settings>(std::move(loaded));
  log::set_level(settings.log_level);
  Supervisor supervisor{std::move(settings), {arguments.begin(), arguments.end()}};
  return supervisor.run(signals);
}

}  // namespace
}  // namespace cachee::daemon

int main(int argc, char** argv) {
  const std::span<char* const> arguments{argv, static_cast<std::size_t>(argc)};
  if (argc > 1 && arguments[1] == cachee::daemon::kExecutorArgument) return cachee::daemon::executor_main(arguments.subspan(1));
  try {
    return cachee::daemon::supervisor_main(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cacheed: %s\n", error.what());
    return 1;
  }
}
