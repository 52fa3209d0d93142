// Which IP addresses belong to the inside of a network, so that a webhook must not reach them
// unless the operator says so.
#pragma once

struct sockaddr;

namespace cachee::daemon {

/// True for anything but a public unicast address: loopback, private, link-local (cloud metadata
/// services among them), shared, documentation, multicast and reserved ranges, IPv6 forms that
/// embed such an IPv4 address, and unknown families.
[[nodiscard]] bool is_private_address(const sockaddr* address) noexcept;

}  // namespace cachee::daemon
