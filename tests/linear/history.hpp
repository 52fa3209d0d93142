// What callers of one key did and got, with the times between which each call must have taken
// effect. Times are of one monotonic clock (or a simulation's steps); equal times count as at the
// same moment.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace cachee::test {

enum class Kind : std::uint8_t { get, set, add, replace, compare_and_set, increment, append, touch, persist, erase };
[[nodiscard]] const char* to_string(Kind kind) noexcept;

enum class Outcome : std::uint8_t {
  pending,  // the caller died in the call: it took effect once or never
  ok,
  unchanged,  // persist of a key without deadline
  not_found,
  exists,
  stale,
  refused,  // full ring or no memory: nothing was applied, nothing is told of the key
};
[[nodiscard]] const char* to_string(Outcome outcome) noexcept;

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

/// One call on one key.
struct Operation {
  Kind kind = Kind::get;
  Outcome outcome = Outcome::pending;
  std::uint32_t client = 0;
  std::int64_t begin = 0;
  std::int64_t end = kNever;          // of a pending call: when its recovery ended, if it did
  std::string value{};                // written (set ...), appended, or the increment's delta
  std::string got{};                  // get: the value; increment, append: the new value or length
  std::optional<std::string> old{};   // set, erase: what was there, if the caller asked
  std::optional<bool> created{};      // set ...: as told
  std::uint64_t version_in = 0;       // compare_and_set
  std::uint64_t version_out = 0;      // read or written; 0: not told
  std::optional<std::int64_t> ttl{};  // set, touch
};

/// A readable table of a history, in the order of the begins.
[[nodiscard]] std::string describe(const std::vector<Operation>& history);

}  // namespace cachee::test
