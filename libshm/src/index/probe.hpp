// Which slots of a bucket have a tag: all six at once, by SSE2 where there is, else word by word,
// with the same result. All are compared, since which of them it is cannot be predicted, and a
// mispredicted branch costs more than the comparisons.
#pragma once

#include <cstdint>

#include "mem/shared.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

/// True when a slot word is `live` (Slot::live(0, tag)) but for its offset.
[[gnu::always_inline]] inline bool same_tag(std::uint64_t word, std::uint64_t live) noexcept {
  return ((word ^ live) >> layout::kOffsetBits) == 0;
}

/// Bit i: slot i had the tag when it was looked at. Only a hint where to look: whoever follows it
/// loads the slot again; and a key that stays where it is is seen whatever the order of the looks.
[[gnu::always_inline]] inline unsigned matching_slots_by_word(const Bucket& bucket, std::uint64_t live) noexcept {
  unsigned matches = 0;
  for (unsigned i = 0; i < layout::kHeadSlots; ++i) {
    matches |= static_cast<unsigned>(same_tag(bucket.slots[i].load_acquire(), live)) << i;
  }
  return matches;
}

#ifdef CACHEE_SSE2
[[gnu::always_inline]] inline unsigned matching_slots(const Bucket& bucket, std::uint64_t live) noexcept {
  static_assert(layout::kHeadSlots == 6 && offsetof(Bucket, slots) % 16 == 0 && layout::kOffsetBits == 40);
  // The upper halves of the words, whose upper 24 bits are compared, one in each lane.
  const auto upper_halves = [](__m128i a, __m128i b) {
    return _mm_srli_epi32(_mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), _MM_SHUFFLE(3, 1, 3, 1))), 8);
  };
  const __m128i last = mem::load_vector(&bucket.slots[4]);
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(live >> layout::kOffsetBits));
  const __m128i four = _mm_cmpeq_epi32(upper_halves(mem::load_vector(&bucket.slots[0]), mem::load_vector(&bucket.slots[2])), wanted);
  const __m128i two = _mm_cmpeq_epi32(upper_halves(last, last), wanted);
  // Sixteen bits of a lane are enough, and eight: bit i for slot i, the last two twice.
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(four, two), _mm_setzero_si128()))) & 0x3f;
}
#else
[[gnu::always_inline]] inline unsigned matching_slots(const Bucket& bucket, std::uint64_t live) noexcept {
  return matching_slots_by_word(bucket, live);
}
#endif

}  // namespace cachee::shm
