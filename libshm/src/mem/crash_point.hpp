// CACHEE_CRASH_POINT("module.step"): a place to die in tests, nothing in a release build. In a
// build with CACHEE_CRASH_POINTS a process whose environment has CACHEE_CRASH_AT=<name>[:<n>]
// kills itself (SIGKILL) the n-th time it passes there. A test in the same process sets
// crash_point_hook instead.
#pragma once

#ifdef CACHEE_CRASH_POINTS
namespace cachee::mem {
extern void (*crash_point_hook)(const char* name) noexcept;
void crash_point(const char* name) noexcept;
}
#define CACHEE_CRASH_POINT(name) ::cachee::mem::crash_point(name)
#else
#define CACHEE_CRASH_POINT(name) static_cast<void>(0)
#endif
