// How the kernel ranks a thread among others that want to run.
#pragma once

#include <string>

namespace cachee::daemon {

inline constexpr int kRaisedNice = -10;

/// Raises the calling thread, as far as this process may: with `realtime` before everything that is not (SCHED_RR, its
/// lowest priority), else, or when that is not allowed, to nice kRaisedNice. Never lowers it.
/// Returns what came of it, for the log: "nice -10", "nice 0, -10 is not allowed (RLIMIT_NICE, CAP_SYS_NICE)".
[[nodiscard]] std::string raise_thread(bool realtime);

}  // namespace cachee::daemon
