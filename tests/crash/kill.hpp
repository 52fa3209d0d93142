// Children that die where a test says: at a crash point, or before an access to a shared word.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/crash_point.hpp"
#include "mem/schedule_hook.hpp"

namespace cachee::test {

/// Where a child dies; empty: it lives.
struct KillPlan {
  std::string point{};  // name of a crash point ...
  long nth = 1;         // ... passed so many times
  long access = 0;      // or: before this access, from 1
};

/// What a child passed, in memory that outlives it.
struct Passed {
  static constexpr unsigned kNamesMax = 128;
  long accesses = 0;
  unsigned names = 0;
  struct Entry {
    char name[60];
    unsigned count;
  } entries[kNamesMax] = {};
};

namespace detail {
inline Passed* g_passed = nullptr;
inline KillPlan g_plan;

inline void die() noexcept {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}
inline void at_point(const char* name) noexcept {
  unsigned i = 0;
  while (i < g_passed->names && std::strcmp(g_passed->entries[i].name, name) != 0) ++i;
  if (i == Passed::kNamesMax) return;
  if (i == g_passed->names) {
    std::snprintf(g_passed->entries[i].name, sizeof g_passed->entries[i].name, "%s", name);
    ++g_passed->names;
  }
  const auto count = static_cast<long>(++g_passed->entries[i].count);
  if (count == g_plan.nth && g_plan.point == name) die();
}
inline void at_access() noexcept {
  if (++g_passed->accesses == g_plan.access) die();
}
}  // namespace detail

/// From here on a child counts what it passes and dies by its plan.
inline void arm() {
  mem::crash_point_hook = detail::at_point;
  mem::schedule_point_hook = detail::at_access;
}
inline void disarm() {
  mem::crash_point_hook = nullptr;
  mem::schedule_point_hook = nullptr;
}

enum class ChildEnd { finished, killed, failed };

/// Runs `body` in a forked child; it calls arm() when its interesting part begins.
inline ChildEnd run_child(const KillPlan& plan, Passed& passed, const std::function<void()>& body) {
  void* const memory = mmap(nullptr, sizeof(Passed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return ChildEnd::failed;
  auto* const shared = new (memory) Passed;
  const pid_t child = fork();
  if (child == 0) {
    detail::g_passed = shared;
    detail::g_plan = plan;
    try {
      body();
    } catch (...) {
      _exit(3);
    }
    _exit(0);
  }
  int status = 0;
  const bool waited = child > 0 && waitpid(child, &status, 0) == child;
  passed = *shared;
  munmap(memory, sizeof(Passed));
  if (waited && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return ChildEnd::killed;
  return waited && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ChildEnd::finished : ChildEnd::failed;
}

}  // namespace cachee::test
