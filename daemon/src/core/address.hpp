// "127.0.0.1:6380": where a TCP listener is to be, as settings spell it. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cachee::daemon {

struct ListenAddress {
  bool ipv6 = false;
  std::array<std::uint8_t, 16> bytes{};  // network order; the first four for IPv4
  std::uint16_t port = 0;                // 0: the kernel chooses
  /// 127.0.0.0/8 or ::1: only processes of this host come in.
  [[nodiscard]] bool is_loopback() const noexcept;
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

/// "127.0.0.1:PORT", "[::1]:PORT" or "localhost:PORT" (which is 127.0.0.1). Other names are
/// refused: which address they stand for may change.
[[nodiscard]] std::optional<ListenAddress> parse_listen_address(std::string_view text);
[[nodiscard]] std::string format_address(const ListenAddress& address);

}  // namespace cachee::daemon
