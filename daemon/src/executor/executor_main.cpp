#include "executor/executor_main.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <ctime>

#include <sys/prctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/log.hpp"
#include "executor/channel.hpp"
#include "executor/jail.hpp"
#include "executor/loop.hpp"

namespace cachee::daemon {
namespace {

constexpr int kExitCannotBegin = 3;
constexpr std::size_t kNumbers = 6;

bool parse(std::string_view text, std::uint64_t& out) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

int refuse(std::string_view why) {
  log::error("cannot begin: {}", why);
  return kExitCannotBegin;
}

}  // namespace

std::vector<std::string> executor_arguments(const ExecutorOptions& options, int parent_pid) {
  return {std::string{kExecutorArgument},
          options.segment,
          std::to_string(options.lane),
          std::to_string(options.lane_count),
          std::to_string(options.start_position),
          std::to_string(options.duplicate_before),
          options.spin ? "1" : "0",
          std::to_string(parent_pid)};
}

int executor_main(std::span<char* const> arguments) {
  constexpr std::string_view kByHand = "an executor is started by cacheed, not by hand";
  // Goes with its supervisor, whatever happens to it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  ExecutorOptions options;
  std::uint64_t numbers[kNumbers] = {};
  bool understood = arguments.size() == kNumbers + 2 && arguments[0] == kExecutorArgument;
  for (std::size_t i = 0; understood && i < kNumbers; ++i) {
    understood = parse(arguments[i + 2], numbers[i]);
  }
  if (!understood || numbers[1] == 0 || numbers[0] >= numbers[1] || numbers[1] > kExecutorsMax) {
    return refuse(kByHand);
  }
  options.segment = arguments[1];
  options.lane = static_cast<std::uint32_t>(numbers[0]);
  options.lane_count = static_cast<std::uint32_t>(numbers[1]);
  options.start_position = numbers[2];
  options.duplicate_before = numbers[3];
  options.spin = numbers[4] != 0;
  if (static_cast<std::uint64_t>(getppid()) != numbers[5]) return refuse("the supervisor is gone");
  log::set_process(fmt::format("executor {}", options.lane));
  tzset();  // the log's clock: its file cannot be read from inside the jail

  auto inbox = Channel::map(kInboxFd);
  auto outbox = Channel::map(kOutboxFd);
  if (!inbox || !outbox) return refuse(kByHand);
  OpenOptions open;
  open.name = options.segment;
  open.access = Access::read_only;
  auto cache = Cache::open(open);
  if (!cache)
    return refuse(fmt::format("segment {}: {}", options.segment, to_string(cache.error())));
  auto lane = Lane::open(*cache, options.lane);
  if (!lane) return refuse(fmt::format("lane {}: {}", options.lane, to_string(lane.error())));
  ExecutorLoop loop{options, std::move(*cache), std::move(*lane), std::move(*inbox),
                    std::move(*outbox)};
  if (auto jailed = enter_jail({}); !jailed) return refuse(jailed.failure().text);
  loop.run();
}

}  // namespace cachee::daemon
