// Who is attached, and what the dead leave.
//
// CLIENT SLOT PROTOCOL
//
//   FREE --C1: cas FREE -> LIVE(reg)--> LIVE(reg) --C2: store FREE--> FREE        (the thread ended)
//                                        | lock of reg released by death
//                                        v
//          R1: cas LIVE(reg) -> RECOVERING(reg, by) ... recovery ... R2: store FREE
//          R1': cas RECOVERING(reg, by) -> RECOVERING(reg, by') when `by` is dead too
//
// Invariants
//   [CL-1] A slot that is not FREE belongs to one registration; its owner alone writes the other
//          fields, after its death the winner of R1 alone.
//   [CL-2] `counter` is never reset: uids made from a slot are unique over the segment's life.
//   [CL-3] The intent words of a FREE slot are all zero.
//   [CL-4] clients_used > index of every slot that was ever claimed.
//   [CL-5] The first slots are a supervisor's alone: it can attach and recover the dead even when
//          they hold all the others. Three: its predecessor, which works in two threads, may be among
//          the dead, and it reaps in one before it has two itself.
//
// Orders
//   C1 (acq_rel) pairs with the release of C2/R2: a new owner finds the intent words zero.
//   clients_used is raised (seq_cst) before the first hazard of the slot is stored: a reclaimer that
//   misses the slot has its fence before the owner's, whose validation then fails [HP-2].
//
// Killed between        what is left                        who repairs
//   lock and C1         a lock file                         the reaper removes it
//   C1 and C2           LIVE, lock free                     the reaper: R1
//   R1 and R2           RECOVERING by a dead registration   the next reaper: R1', every step repeats
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include <cachee/result.hpp>
#include <cachee/types.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

/// Blocks that this thread retired and that may still be in use by others.
struct RetiredBlock {
  std::uint64_t unit;
  std::uint64_t hdr;  // exact word when it was retired
  std::uint64_t due;  // not before the ring's head is here: its events are still in it
};

/// The private side of a client slot: what its thread keeps outside the segment. Everything here
/// is a hint; losing it with the process loses no memory (slab.hpp).
struct Context {
  const View* view = nullptr;
  Client* me = nullptr;
  std::uint32_t id = 0;
  std::uint64_t registration = 0;
  std::uint64_t counter = 0;
  std::uint64_t scan_cursor = 0;             // page where the search for free blocks goes on
  std::vector<RetiredBlock> retired{};
  std::size_t reclaim_at = 0;                // blocks in `retired` that are worth another pass
  std::vector<std::uint64_t> hazards{};      // scratch of a reclaim pass
  std::array<std::vector<std::uint64_t>, layout::kClassesMax> free_blocks{};
  std::array<std::uint32_t, layout::kClassesMax> page_of_class{};  // + 1; 0: none
  bool in_operation = false;                 // a callback of an operation may not begin another

  void count(layout::Stat stat, std::uint64_t n = 1) noexcept { me->stats[stat].add_own(n); }
  std::uint64_t next_uid() noexcept {
    const std::uint64_t c = counter++;
    me->counter.store_relaxed(counter);
    return layout::Uid::make(id, c);
  }
};

/// [CL-5]
inline std::uint32_t supervisor_slots(const View& view) noexcept { return view.shape.clients_max >= 8 ? 3 : 0; }

/// C1. @error busy  every slot is taken
[[nodiscard]] Result<Context> claim_client(const View& view, std::uint64_t registration, Role role,
                                           std::string_view name) noexcept;
/// C2. The thread has no operation in progress and no pins it still uses.
void release_client(Context& context) noexcept;

/// The sum of two sums of costs. They are doubles, so that neither a cost of 0.0004 nor one of 1e12 is lost;
/// their words hold the bits. It stays finite.
[[nodiscard]] inline std::uint64_t cost_sum(std::uint64_t a, std::uint64_t b) noexcept {
  return std::bit_cast<std::uint64_t>(std::min(std::bit_cast<double>(a) + std::bit_cast<double>(b), std::numeric_limits<double>::max()));
}
/// Adds a count of a client that left or died to those of all such.
void add_to_gone(const View& view, unsigned stat, std::uint64_t count) noexcept;

/// Tells whether the owner of a registration is dead; injected so that tests decide.
class Liveness {
 public:
  virtual ~Liveness() = default;
  virtual bool is_dead(const Client& client, std::uint64_t registration) const noexcept = 0;
};

}  // namespace cachee::shm
