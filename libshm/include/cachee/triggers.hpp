// Triggers: which events of which keys concern whom. The table lives in the segment; cacheed alone
// changes it (maintain.hpp), everybody may read it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/result.hpp>
#include <cachee/types.hpp>

namespace cachee {

class Cache;

inline constexpr std::size_t kPatternBytesMax = 1024;
inline constexpr std::size_t kTriggerNameBytesMax = 1536;
inline constexpr std::size_t kTriggerSourceBytesMax = 256 * 1024;
inline constexpr std::uint32_t kTriggerSlotsMax = 16384;  // of the largest segments

enum class OnFull : std::uint8_t { block = 0, shed = 1 };

/// What a trigger wanted before it was changed or disabled: events that were decided then are still owed to it.
struct PastInterest {
  std::string pattern{};
  EventMask events = 0;
  std::uint32_t sample = 1;
  std::uint64_t since_generation = 0;
  std::uint64_t until_generation = 0;  // of the table that ended it
  friend bool operator==(const PastInterest&, const PastInterest&) = default;
};
inline constexpr std::size_t kPastInterestsMax = 64;  // of one trigger

/// One registered trigger, as `TRIGGER REGISTER` describes it, or one consumer group (`GROUP CREATE`):
/// then programs take its events (subscription.hpp) and there is no source.
struct TriggerSpec {
  std::string name{};
  std::string pattern{};             // Redis glob
  EventMask events = 0;
  std::string source{};              // Lua text
  std::int32_t priority = 0;         // high first, then oldest first
  OnFull on_full = OnFull::block;
  std::uint32_t block_ms = 1000;
  std::uint32_t retry_attempts = 5;  // attempts in all
  std::uint32_t backoff_min_ms = 50;
  std::uint32_t backoff_max_ms = 30000;
  std::uint32_t timeout_ms = 100;    // of one run; of a group: how long a consumer has for its ack
  std::uint64_t memory_bytes = std::uint64_t{16} << 20;
  std::uint64_t steps = 1000000;
  std::uint32_t sample = 1;
  std::uint32_t depth_max = 4;
  bool enabled = true;
  bool paused = false;
  bool is_group = false;
  bool from_file = false;            // of triggers.d: goes when its file goes
  // Set by the registry:
  std::uint32_t slot = 0;            // dense index of the trigger, stable while it is registered
  std::uint64_t id = 0;              // never reused: tells a re-registration from its predecessor
  std::uint64_t registered_wall_ms = 0;
  std::uint64_t since_generation = 0;  // table generation from which on its events are owed
  std::vector<PastInterest> past{};    // oldest first, for as long as the ring may have events of then
  friend bool operator==(const TriggerSpec&, const TriggerSpec&) = default;
};

/// Redis glob: `* ? [a-z] [^x] \`. Linear in pattern × key at worst, no recursion.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text) noexcept;

/// A private, decoded copy of the segment's trigger table.
struct TriggerTable {
  std::uint64_t generation = 0;
  std::vector<TriggerSpec> triggers{};  // by priority, high first, then oldest
};

/// Copies the table. Lock-free; never sees half of a change.
[[nodiscard]] Result<TriggerTable> read_triggers(const Cache& cache);
/// Generation of the table now; changes whenever the table does.
[[nodiscard]] std::uint64_t trigger_generation(const Cache& cache) noexcept;

}  // namespace cachee
