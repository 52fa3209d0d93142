#include "webhook/address.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace cachee::daemon {
namespace {

struct Range4 {
  std::uint32_t base;
  unsigned bits;
};

// IANA IPv4 special-purpose registry, multicast and reserved space.
constexpr std::array kInside4 = {
    Range4{0x00000000, 8},   // this network
    Range4{0x0a000000, 8},   // private
    Range4{0x64400000, 10},  // shared (carrier NAT)
    Range4{0x7f000000, 8},   // loopback
    Range4{0xa9fe0000, 16},  // link-local, cloud metadata
    Range4{0xac100000, 12},  // private
    Range4{0xc0000000, 24},  // protocol assignments
    Range4{0xc0000200, 24},  // documentation
    Range4{0xc0586300, 24},  // 6to4 relays
    Range4{0xc0a80000, 16},  // private
    Range4{0xc6120000, 15},  // benchmarking
    Range4{0xc6336400, 24},  // documentation
    Range4{0xcb007100, 24},  // documentation
    Range4{0xe0000000, 4},   // multicast
    Range4{0xf0000000, 4},   // reserved, broadcast
};

bool is_inside4(std::uint32_t address) noexcept {
  return std::any_of(kInside4.begin(), kInside4.end(), [&](const Range4& range) {
    return (address ^ range.base) >> (32 - range.bits) == 0;
  });
}

using Bytes6 = std::array<std::uint8_t, 16>;

std::uint32_t ipv4_at(const Bytes6& address, std::size_t at) noexcept {
  return std::uint32_t{address[at]} << 24 | std::uint32_t{address[at + 1]} << 16 |
         std::uint32_t{address[at + 2]} << 8 | std::uint32_t{address[at + 3]};
}

bool starts_with(const Bytes6& address, std::initializer_list<std::uint8_t> prefix) noexcept {
  return std::equal(prefix.begin(), prefix.end(), address.begin());
}

bool is_inside6(const Bytes6& address) noexcept {
  constexpr std::size_t kMappedAt = 12;
  constexpr std::size_t k6to4At = 2;
  if (starts_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) ||     // ::ffff:a.b.c.d
      starts_with(address, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) {  // NAT64
    return is_inside4(ipv4_at(address, kMappedAt));
  }
  if (starts_with(address, {0x20, 0x02})) return is_inside4(ipv4_at(address, k6to4At));
  // Public unicast is 2000::/3; of it, Teredo and other protocol assignments (2001::/23) and the
  // documentation ranges are not.
  const bool global = (address[0] & 0xe0) == 0x20;
  const bool assignments = starts_with(address, {0x20, 0x01}) && (address[2] & 0xfe) == 0;
  return !global || assignments || starts_with(address, {0x20, 0x01, 0x0d, 0xb8}) ||
         (starts_with(address, {0x3f, 0xff}) && (address[2] & 0xf0) == 0);
}

}  // namespace

bool is_private_address(const sockaddr* address) noexcept {
  if (address->sa_family == AF_INET) {
    sockaddr_in inet{};
    std::memcpy(&inet, address, sizeof(inet));
    return is_inside4(ntohl(inet.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 inet6{};
    std::memcpy(&inet6, address, sizeof(inet6));
    Bytes6 bytes;
    std::memcpy(bytes.data(), &inet6.sin6_addr, bytes.size());
    return is_inside6(bytes);
  }
  return true;
}

}  // namespace cachee::daemon
