// Rehearsal: a run for an event that never was.
//
// An executor that spins (`--idle spin`) waits in a loop of a few hundred instructions, and meanwhile the processor's
// caches, address translations and branch predictions forget the thousands that handle an event. Rehearsing now and then
// keeps them; a handler then begins after a third of the time. Nothing comes of it: the script is our own, reads two
// fields and the clock, and has no effects, reports or counts.
//
// Threads: one, that of the Runtime.
#pragma once

#include <memory>

#include "core/event_data.hpp"
#include "script/runtime.hpp"

namespace cachee::daemon {

class Rehearsal {
 public:
  /// The runtime must outlive it.
  explicit Rehearsal(const Runtime& runtime);
  /// Bounded, some 600 ns. False: the script did not run to its end.
  bool run(TimeNs now);
  [[nodiscard]] const EventData& event() const noexcept { return event_; }

 private:
  const Runtime& runtime_;
  std::unique_ptr<Script> script_;
  EventData event_{};
};

}  // namespace cachee::daemon
