// The trigger table as bytes: two buffers used in turn by generation, a counter line per trigger,
// and the redo journal that makes counters and ring release one step.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.hpp"
#include "mem/shared.hpp"

namespace cachee::layout {

using base::Field;
using mem::Word;

/// Trigger word of the header: generation (40) | kinds that any trigger wants (24).
struct TriggerWord {
  using Generation = Field<24, 40>;
  using Mask = Field<0, 24>;
};

/// A buffer is an array of words: TableHeader, prefix lengths, filter, hash heads, items, text.
/// Text of an item: name, pattern, source, at `text` (byte offset in the buffer). Behind a trigger's item come those of
/// its past interests, which are in no chain: no writer looks at them.
enum TableHeader : unsigned {
  kTableBytes,
  kTableItems,
  kTableLengths,
  kTableFilter,  // words of the filter, a power of two
  kTableHeads,
  kTableHeaderWords
};

enum TableItem : unsigned {
  kItemNext,        // item index + 1 with the same prefix hash head, 0: none
  kItemPrefixHash,
  kItemPrefixBytes,
  kItemEvents,      // EventMask | enabled << 32 | paused << 33 | on_full << 34 | shape << 35 | is_group << 37 | from_file << 38 | past << 39
  kItemText,        // byte offset of the text
  kItemNameBytes,
  kItemPatternBytes,
  kItemSourceBytes,
  kItemSlot,
  kItemId,          // of a past interest: the generation that ended it
  kItemSince,       // generation at which it was registered
  kItemBlockMs,     // block_ms | retry_attempts << 32
  kItemBackoff,     // min | max << 32
  kItemTimeout,     // timeout_ms | sample << 32
  kItemMemory,
  kItemSteps,
  kItemPriority,    // priority (as u32) | depth_max << 32
  kItemRegistered,  // wall ms
  kItemWords
};
inline constexpr unsigned kPrefixLengthsMax = 64;

/// A bit for the hash of each prefix, and of each prefix's beginning that is as long as the shortest of all: a key
/// that no pattern wants mostly meets a zero in its first look. With 16 bits to an item few ones are by chance.
inline constexpr std::uint64_t kFilterBitsPerItem = 16;
inline constexpr unsigned kTableFilterAt = kTableHeaderWords + kPrefixLengthsMax;
inline constexpr std::uint64_t kTableBytesMin = 32 * 1024;
/// First word of the items.
constexpr std::uint64_t table_items_at(std::uint64_t filter_words, std::uint64_t heads) noexcept {
  return kTableFilterAt + filter_words + heads;
}

struct alignas(64) TriggerCounters {
  Word emitted;       //  0
  Word acknowledged;  //  8
  Word moved;         // 16
  Word shed;          // 24
  Word reserved[4];   // 32
};
static_assert(sizeof(TriggerCounters) == 64);

inline constexpr unsigned kJournalEntriesMax = 256;
struct JournalEntry {
  Word slot;          //  0
  Word emitted;       //  8 absolute values: redoing is harmless
  Word acknowledged;  // 16
  Word moved;         // 24
  Word shed;          // 32
};
struct alignas(64) Journal {
  Word valid;    //  0
  Word end;      //  8 events below are released by this step
  Word count;    // 16
  Word counted;  // 24 0, or CountedBelow of the head's event, which this step does not release
  Word reserved[4];
  JournalEntry entries[kJournalEntriesMax];
};
static_assert(sizeof(JournalEntry) == 40);

}  // namespace cachee::layout
