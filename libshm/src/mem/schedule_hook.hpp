// Where tests take over: before every access to a shared word (CACHEE_MODEL), and inside copies of
// values. Nothing in a release build.
#pragma once

namespace cachee::mem {

#ifdef CACHEE_MODEL
/// Set by a test before it starts threads; called before each access to a shared word.
extern void (*schedule_point_hook)() noexcept;
extern void (*copy_hook_function)() noexcept;
/// The access that comes next in this thread: what a hook may want to know.
struct ScheduledAccess {
  const void* at = nullptr;
  bool writes = false;
};
inline thread_local constinit ScheduledAccess scheduled_access{};
inline void schedule_point(const void* at, bool writes) noexcept {
  if (schedule_point_hook == nullptr) return;
  scheduled_access = {at, writes};
  schedule_point_hook();
}
inline void copy_hook() noexcept {
  if (copy_hook_function != nullptr) copy_hook_function();
}
#else
inline void schedule_point(const void*, bool) noexcept {}
inline void copy_hook() noexcept {}
#endif

}  // namespace cachee::mem
