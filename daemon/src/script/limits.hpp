// Limits: what one run may use, and the meter that stops it.
//
// Three budgets: steps, memory, wall clock. Steps are VM instructions (a count hook) plus the work
// that library functions report for themselves, so that no loop inside C is free. Memory is what
// the allocator hands out above what the loaded script takes, plus what our own buffers hold: text
// under construction, effects, what the run's writes made of the keys.
//
// Once a budget is spent the meter says so for good (`exceeded`), the hook fires at every further
// instruction, and the error travels as Lua's own memory error: Lua calls no message handler for it
// and our pcall and xpcall hand it on, so a script can neither catch nor outlast it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <cachee/triggers.hpp>
#include <cachee/types.hpp>

#include "script/small_blocks.hpp"

struct lua_State;

namespace cachee::daemon {

struct RunLimits {
  std::uint64_t steps = 1'000'000;
  std::uint64_t memory_bytes = std::uint64_t{16} << 20;
  std::uint32_t timeout_ms = 100;
  bool exact_steps = false;  // count every instruction: for TRIGGER TEST, slower
};
[[nodiscard]] RunLimits limits_of(const TriggerSpec& spec) noexcept;

enum class Limit : std::uint8_t { none = 0, steps, memory, time };

namespace script {

inline constexpr int kHookStepsMax = 100;  // instructions between two looks at the clock
inline constexpr std::size_t kBlockBytesFine = std::size_t{64}
                                               << 10;  // larger blocks: look oftener

class Meter {
 public:
  Meter() = default;
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  /// Where small blocks of runs come from; must outlive the Lua state.
  void use_blocks(SmallBlocks& blocks) noexcept { blocks_ = &blocks; }
  void attach(lua_State* lua) noexcept { lua_ = lua; }
  /// Makes what is allocated now the floor above which a run is charged.
  void set_floor() noexcept { floor_ = used_; }
  /// @param code_steps  instructions that the run's code cannot exceed, if that is known: it is not counted
  ///                    when no count would come due
  void begin(const RunLimits& limits, TimeNs now, std::optional<std::uint64_t> code_steps = {}) noexcept;
  void end() noexcept;

  [[nodiscard]] Limit exceeded() const noexcept { return exceeded_; }
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
  [[nodiscard]] std::uint64_t peak() const noexcept { return peak_ - start_; }
  [[nodiscard]] std::uint64_t used_above_floor() const noexcept {
    return used_ > floor_ ? used_ - floor_ : 0;
  }
  [[nodiscard]] std::string message() const;
  [[nodiscard]] const char* traceback() const noexcept { return traceback_; }

  /// Reports work done outside of the VM. Raises a Lua error when a budget is spent.
  void charge(std::uint64_t steps) {
    steps_ += steps;
    uncounted_ += steps;
    if (uncounted_ >= static_cast<std::uint64_t>(kHookStepsMax)) check();
  }
  /// Takes memory for our own buffers. Raises when the budget is spent even after a collection.
  void take(std::size_t bytes);
  void give_back(std::size_t bytes) noexcept { used_ -= bytes; }

  [[noreturn]] void raise(Limit limit);
  /// Marks a limit that Lua itself reported (a memory error).
  void note(Limit limit) noexcept;

  // What Lua calls.
  static void* allocate(void* meter, void* block, std::size_t old_bytes, std::size_t bytes);
  void on_hook();

 private:
  void check();
  [[nodiscard]] bool would_exceed(std::size_t more) const noexcept {
    return used_ + more > ceiling_;
  }
  void set_hook(int count) noexcept;
  void clear_hook() noexcept;
  [[nodiscard]] bool allows_large_block(std::size_t bytes) noexcept;
  [[nodiscard]] void* change_block(void* block, std::size_t old_bytes, std::size_t bytes) noexcept;
  [[nodiscard]] void* make_block(void* block, std::size_t old_bytes, std::size_t bytes) noexcept;
  void free_block(void* block, std::size_t bytes) noexcept;

  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  static constexpr std::size_t kTracebackBytes = 2048;

  lua_State* lua_ = nullptr;
  SmallBlocks* blocks_ = nullptr;
  std::uint64_t used_ = 0;
  std::uint64_t ceiling_ = kUnlimited;
  std::uint64_t peak_ = 0;
  std::uint64_t start_ = 0;
  std::uint64_t floor_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t steps_max_ = kUnlimited;
  std::uint64_t uncounted_ = 0;
  TimeNs deadline_ = 0;
  int hook_count_ = 0;
  bool running_ = false;
  bool denied_ = false;  // the last request for more was refused
  Limit exceeded_ = Limit::none;
  RunLimits limits_{};
  char traceback_[kTracebackBytes] = {};
};

/// The call stack as text, without allocating: usable where memory has run out.
void write_traceback(lua_State* lua, int level, char* out, std::size_t bytes) noexcept;

}  // namespace script
}  // namespace cachee::daemon
