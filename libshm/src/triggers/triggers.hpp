// Which keys concern whom.
//
// TRIGGER TABLE PROTOCOL
//
//   publish  G0 the ring has room for one late debt of each client: an operation that was admitted without, since
//               nobody wanted its event, may find it wanted when it settles. A table that wants nothing new needs none.
//            G1 write the buffer of generation g+1 (the one generation g does not use)
//            G2 store trigger_word := g+1 | mask (seq_cst)          // LINEARIZES a registration
//   match    M1 load trigger_word (seq_cst)   M2 read that generation's buffer
//            M3 load trigger_word again; another generation: from M1
//
// Invariants
//   [TR-1] The buffer of the current generation does not change.
//   [TR-2] Only the supervisor publishes.
//   [TR-3] A match is decided by one generation, which was current at some moment after M1.
//
// Orders
//   G2 publishes G1; M1's acquire sees it. M3 comes behind an acquire fence, so reads of M2 that saw
//   a later publish (two generations on, same buffer) also see its generation there.
//   A writer's slot CAS and M1 are seq_cst, and so is G2: an operation whose CAS came after G2 loads
//   the new table when it settles (the registration fence, protocol.md B.11).
//
// Killed between G1 and G2: the old generation stands. Readers bound every loop and offset, since
// M2 may read a buffer that is being rewritten.
#pragma once

#include <cstdint>
#include <string_view>

#include <cachee/result.hpp>
#include <cachee/triggers.hpp>
#include <cachee/types.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

/// Who wants the events of one key, decided at one generation.
struct Interest {
  std::uint64_t word = ~std::uint64_t{0};  // trigger_word it was decided at
  EventMask wanted = 0;                    // kinds that some enabled trigger wants
  std::uint32_t block_ms = 0;              // how long a writer waits for room: the longest among them

  [[nodiscard]] bool wants(EventKind kind) const noexcept { return (wanted & event_bit(kind)) != 0; }
  [[nodiscard]] std::uint64_t generation() const noexcept { return layout::TriggerWord::Generation::get(word); }
};

/// M1-M3, when some trigger wants something.
[[nodiscard]] Interest match_table(const View& view, KeyView key) noexcept;
/// M1-M3. One load when nobody wants anything.
[[nodiscard]] inline Interest match_triggers(const View& view, KeyView key) noexcept {
  const std::uint64_t word = view.header->trigger_word.load_seq_cst();  // M1
  if (layout::TriggerWord::Mask::get(word) == 0) [[likely]] return Interest{.word = word};
  return match_table(view, key);
}

/// True when no table has been published since.
inline bool still_current(const View& view, const Interest& interest) noexcept {
  return view.header->trigger_word.load_seq_cst() == interest.word;
}

/// G0: whether every event that `table` wants is wanted already.
[[nodiscard]] bool wants_nothing_new(const View& view, const TriggerTable& table);
/// G1, G2. @error no_space
Result<void> publish_table(const View& view, const TriggerTable& table) noexcept;
/// A private copy, of one generation. @error corrupt
[[nodiscard]] Result<TriggerTable> read_table(const View& view);

}  // namespace cachee::shm
