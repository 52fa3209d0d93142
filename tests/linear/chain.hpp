// The cheap oracle for long histories of one key that a trigger watches: its events, in the order
// of the ring, are the order of the effects. Then nothing has to be searched: O(n log n).
//
// Checked:
//   [a] each event fits the one before: old value, removed value, growing versions, and its cause what it is;
//   [b] each write and erase that returned has exactly one event, and each event exactly one call
//       that returned or died in it (expiry and eviction have none);
//   [c] moments in the order of the events, and of the reads between them, exist within the calls;
//   [d] nothing expires that has no deadline, or before it; nothing is read behind its deadline.
// A call that found the key present but was not told a version (add refused, touch, ...) is placed
// alone, not together with all others: check_linearizable() is exact there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "linear/history.hpp"

namespace cachee::test {

/// One event of the key.
struct Effect {
  enum class What : std::uint8_t { write, erase, expire, evict };
  enum class Why : std::uint8_t { other, create, update, call, deadline, room };
  static constexpr std::uint64_t kNoValue = 0;
  What what = What::write;
  Why why = Why::other;
  std::uint64_t seq = 0;  // position in the ring
  std::uint64_t version = 0;
  std::uint64_t value = 0;       // identity of the bytes written or removed
  std::uint64_t old = kNoValue;  // write: identity of the bytes before; kNoValue: none
  std::uint64_t suffix = 0;      // write: identity of what the value has more than the old one
  std::int64_t delta = 0;        // write: the new number less the old one, if they are numbers
};

/// What a caller did. `tag` says which write is whose: identity of the value (set, add, replace,
/// compare_and_set) or of the suffix (append), or the delta (increment), never used twice on a key.
struct Account {
  static constexpr std::uint64_t kNoEvent = ~std::uint64_t{0};
  Kind kind = Kind::get;
  Outcome outcome = Outcome::pending;
  std::uint32_t client = 0;
  std::int64_t begin = 0;
  std::int64_t end = kNever;
  std::uint64_t tag = 0;
  std::uint64_t value = 0;         // get: identity of the bytes
  std::uint64_t old = 0;           // set, erase: identity of what was there; 0: not told
  std::uint64_t version_in = 0;    // compare_and_set
  std::uint64_t version_out = 0;   // 0: not told
  std::uint64_t event = kNoEvent;  // as told
  std::int64_t ttl = 0;            // 0: none
};

/// Never Effect::kNoValue.
[[nodiscard]] std::uint64_t identity_of(std::string_view bytes) noexcept;

/// Empty: the calls and the events agree. `slack` is how far off a deadline may be.
[[nodiscard]] std::string check_chain(const std::vector<Account>& calls, const std::vector<Effect>& events,
                                      std::int64_t slack = 1000);

}  // namespace cachee::test
