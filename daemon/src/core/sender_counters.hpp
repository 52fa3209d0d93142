// What the outbox sender counts, and what the metrics show of it.
#pragma once

#include <cstdint>

#include "core/histogram.hpp"

namespace cachee::daemon {

struct SenderCounters {
  std::uint64_t sent = 0;       // webhooks with a 2xx answer
  std::uint64_t warmed = 0;     // bodies that are in the cache
  std::uint64_t retried = 0;    // attempts that failed and will be repeated
  std::uint64_t dead = 0;       // given up
  std::uint64_t in_flight = 0;  // now
  std::uint64_t store_failures = 0;
  // The queue as the sender last looked, at least once a second.
  std::uint64_t rows = 0;        // requests that are owed
  std::uint64_t overdue_ms = 0;  // how long the one that waits longest could have been sent already
  Histogram request_us{};        // of each attempt: from its start to its end, whatever the answer
  Histogram delivery_ms{};       // from the event's acknowledgement to the 2xx, retries included
};

}  // namespace cachee::daemon
