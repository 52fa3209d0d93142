#include "mem/crash_point.hpp"

#include "mem/schedule_hook.hpp"

#ifdef CACHEE_MODEL
namespace cachee::mem {
void (*schedule_point_hook)() noexcept = nullptr;
void (*copy_hook_function)() noexcept = nullptr;
}  // namespace cachee::mem
#endif

#ifdef CACHEE_CRASH_POINTS
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

namespace cachee::mem {

void (*crash_point_hook)(const char* name) noexcept = nullptr;

namespace {

struct Plan {
  std::string name{};
  long countdown = 0;
};

const Plan& read_plan() {
  static const Plan plan = [] {
    Plan made;
    if (const char* text = std::getenv("CACHEE_CRASH_AT")) {
      made.name = text;
      made.countdown = 1;
      if (const auto colon = made.name.find(':'); colon != std::string::npos) {
        made.countdown = std::strtol(made.name.c_str() + colon + 1, nullptr, 10);
        made.name.resize(colon);
      }
    }
    return made;
  }();
  return plan;
}

}  // namespace

void crash_point(const char* name) noexcept {
  if (crash_point_hook != nullptr) crash_point_hook(name);
  static thread_local long passed = 0;
  const Plan& plan = read_plan();
  if (plan.name.empty() || plan.name != name) return;
  if (++passed == plan.countdown) kill(getpid(), SIGKILL);
}

}  // namespace cachee::mem
#endif
