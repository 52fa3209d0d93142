#include "core/address.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include "core/units.hpp"

namespace cachee::daemon {

bool ListenAddress::is_loopback() const noexcept {
  if (!ipv6) return bytes[0] == 127;
  return std::all_of(bytes.begin(), bytes.end() - 1, [](auto byte) { return byte == 0; }) &&
         bytes.back() == 1;
}

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_integer(text.substr(colon + 1));
  if (!port || *port < 0 || *port > 65535) return std::nullopt;
  ListenAddress address;
  address.port = static_cast<std::uint16_t>(*port);
  std::string host{text.substr(0, colon)};
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    address.ipv6 = true;
    host = host.substr(1, host.size() - 2);
  }
  if (host.find('\0') != std::string::npos) return std::nullopt;
  const int family = address.ipv6 ? AF_INET6 : AF_INET;
  if (inet_pton(family, host.c_str(), address.bytes.data()) != 1) return std::nullopt;
  return address;
}

std::string format_address(const ListenAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.ipv6 ? AF_INET6 : AF_INET, address.bytes.data(), text, sizeof(text));
  const std::string host = address.ipv6 ? "[" + std::string{text} + "]" : std::string{text};
  return host + ":" + std::to_string(address.port);
}

}  // namespace cachee::daemon
