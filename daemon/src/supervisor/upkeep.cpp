#include "supervisor/upkeep.hpp"

#include "core/log.hpp"

namespace cachee::daemon {

int Reaper::do_work(TimeNs now, int items_max) noexcept {
  keeper_.heartbeat(now);
  const std::uint64_t reaped = keeper_.reap(static_cast<std::uint64_t>(items_max));
  if (reaped > 0) log::info("cleaned up after {} client thread(s) that died", reaped);
  return static_cast<int>(reaped);
}

}  // namespace cachee::daemon
