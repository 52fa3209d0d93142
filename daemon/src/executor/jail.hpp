// The jail of an executor: what a process that runs strangers' code may still ask of the kernel.
#pragma once

#include <initializer_list>

#include "core/outcome.hpp"

namespace cachee::daemon {

/// Closes every descriptor but those kept, lowers the limits, and allows only the system calls that
/// running Lua over mapped memory needs; any other kills the process (SIGSYS). Cannot be undone.
///
/// What stays possible: memory that is neither executable nor a file, waiting, clocks, writing to
/// descriptor 2, ending. No file, socket, process or signal to others.
///
/// @param kept  descriptors to leave open, beside 2 (the log)
[[nodiscard]] Outcome<void> enter_jail(std::initializer_list<int> kept);

}  // namespace cachee::daemon
