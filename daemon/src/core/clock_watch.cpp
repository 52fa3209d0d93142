#include "core/clock_watch.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace cachee::daemon {
namespace {

/// Never due; from now on the next step cancels it. False: the kernel has no such timer.
bool arm(int timer) noexcept {
  itimerspec never{};
  never.it_value.tv_sec = std::int64_t{1} << 33;  // the year 2242
  // ECANCELED: there was a step since the last time, which read() has told or the caller is about to.
  return timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) == 0 || errno == ECANCELED;
}

}  // namespace

ClockWatch::ClockWatch(int timer, int stop, std::function<void()> stepped) noexcept
    : timer_{timer}, stop_{stop}, stepped_{std::move(stepped)} {}

Outcome<std::unique_ptr<ClockWatch>> ClockWatch::start(std::function<void()> stepped) {
  const int timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  const int stop = eventfd(0, EFD_CLOEXEC);
  std::unique_ptr<ClockWatch> watch{new ClockWatch{timer, stop, std::move(stepped)}};
  if (timer < 0 || stop < 0 || !arm(timer)) return Failure{Errc::unsupported, std::string{"a timer of the wall clock: "} + std::strerror(errno)};
  watch->thread_ = std::thread{[it = watch.get()] {
    pthread_setname_np(pthread_self(), "clock");
    it->loop();
  }};
  return watch;
}

ClockWatch::~ClockWatch() {
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    static_cast<void>(write(stop_, &one, sizeof one));
    thread_.join();
  }
  if (timer_ >= 0) close(timer_);
  if (stop_ >= 0) close(stop_);
}

void ClockWatch::loop() noexcept {
  for (;;) {
    pollfd waits[] = {{timer_, POLLIN, 0}, {stop_, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents != 0) return;
    if (waits[0].revents == 0) continue;
    std::uint64_t expirations = 0;
    // Fails with ECANCELED behind a step. It is armed again first, so that a step from here on is told, too.
    const bool due = read(timer_, &expirations, sizeof expirations) > 0;
    if (!due && errno == EAGAIN) continue;
    if (!arm(timer_) || due) return;  // and then steps are noticed at the next deadline
    stepped_();
  }
}

}  // namespace cachee::daemon
