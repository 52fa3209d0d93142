// Tells the service manager how far we are (the sd_notify protocol: a datagram to $NOTIFY_SOCKET).
#pragma once

#include <string_view>

namespace cachee::daemon {

/// `state` as in sd_notify(3): "READY=1", "RELOADING=1", "STOPPING=1". Nothing without a manager.
void notify_manager(std::string_view state) noexcept;

}  // namespace cachee::daemon
