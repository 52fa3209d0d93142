// The counts of all clients, of those that left or died, too.
#pragma once

#include <algorithm>
#include <cstdint>

#include "segment/view.hpp"

namespace cachee::shm {

/// Calls f(stats), with layout::kStatCount words, for all that left together and for each slot that was ever used.
template <class F>
void for_each_stats(const View& view, F&& f) noexcept {
  f(static_cast<const Word*>(view.header->gone_stats));
  const std::uint64_t used = std::min<std::uint64_t>(view.header->clients_used.load_acquire(), view.shape.clients_max);
  for (std::uint64_t c = 0; c < used; ++c) f(static_cast<const Word*>(view.clients[c].stats));
}

}  // namespace cachee::shm
