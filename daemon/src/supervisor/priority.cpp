#include "supervisor/priority.hpp"

#include <cerrno>

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace cachee::daemon {
namespace {

/// Linux has a nice value for each thread; 0 is the calling one.
std::string raise_nice() {
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, 0);
  if (nice == -1 && errno != 0) return "of unknown priority";
  if (nice <= kRaisedNice) return fmt::format("nice {}", nice);
  if (setpriority(PRIO_PROCESS, 0, kRaisedNice) == 0) return fmt::format("nice {}", kRaisedNice);
  return fmt::format("nice {}, {} is not allowed (RLIMIT_NICE, CAP_SYS_NICE)", nice, kRaisedNice);
}

}  // namespace

std::string raise_thread(bool realtime) {
  if (!realtime) return raise_nice();
  sched_param lowest{};
  lowest.sched_priority = sched_get_priority_min(SCHED_RR);
  // Children of this thread begin like any others.
  if (pthread_setschedparam(pthread_self(), SCHED_RR | SCHED_RESET_ON_FORK, &lowest) == 0) {
    return fmt::format("SCHED_RR {}", lowest.sched_priority);
  }
  return raise_nice() + ", SCHED_RR is not allowed (RLIMIT_RTPRIO, CAP_SYS_NICE)";
}

}  // namespace cachee::daemon
