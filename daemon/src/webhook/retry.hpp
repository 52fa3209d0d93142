// What becomes of a request after an attempt, and when the next is due. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "store/records.hpp"
#include "webhook/settings.hpp"

namespace cachee::daemon {

/// How one attempt went.
struct Attempt {
  std::int32_t status = 0;  // HTTP status; 0: none came
  std::string error{};      // empty: the exchange itself went well
  bool final = false;       // trying again cannot help: bad URL, refused address, body too large
  std::optional<std::int64_t> retry_after_ms{};  // what the receiver asked for
  std::uint64_t took_us = 0;  // from its start, waiting for a connection included
};

/// The wait after attempt number `attempt` (1, 2, ...): doubling, between half and all of it at
/// random (`jitter` from 0 to 1), at least what the receiver asked for.
[[nodiscard]] std::int64_t backoff_ms(const SenderSettings& settings, std::uint32_t attempt,
                                      double jitter, std::optional<std::int64_t> retry_after_ms);

/// 2xx: sent. No answer, 408, 429 and 5xx: again, up to attempts_max. Anything else: given up.
[[nodiscard]] OutboxResult judge(const SenderSettings& settings, const OutboxRow& row,
                                 const Attempt& attempt, std::int64_t now_wall_ms, double jitter);

}  // namespace cachee::daemon
