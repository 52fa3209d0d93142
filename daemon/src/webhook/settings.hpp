// How requests leave the machine: limits, patience, and where they may go.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cachee::daemon {

inline constexpr std::uint32_t kRequestMsMax = 600'000;  // no request is waited for any longer

struct SenderSettings {
  std::uint32_t concurrency = 32;          // requests at once
  std::uint32_t concurrency_per_host = 4;  // of them to one host and port
  std::uint32_t timeout_ms = 10'000;       // of one request, unless the handler gave one
  std::uint32_t connect_timeout_ms = 5'000;
  std::uint32_t attempts_max = 8;                // in all, then the dead letters
  std::uint32_t backoff_min_ms = 500;            // doubling from here, jittered,
  std::uint32_t backoff_max_ms = 300'000;        // up to here
  std::uint32_t retry_after_max_ms = 3'600'000;  // a receiver cannot put a request off longer
  std::uint64_t warm_bytes_max = std::uint64_t{64} << 20;  // of a fetched body: max-value
  /// Globs of host names that may be reached, in lower case; empty: any.
  std::vector<std::string> allow_hosts{};
  /// Loopback, private and other special addresses are refused unless this says otherwise. It is
  /// the address of the connection that counts, whatever the name or a DNS server says.
  bool allow_private = false;
};

}  // namespace cachee::daemon
