// Which slots of a bucket have a tag: all six at once, by SSE2 where there is, else word by word,
// with the same result. All are compared, since which of them it is cannot be predicted, and a
// mispredicted branch costs more than the comparisons.
#pragma once

#include <cstdint>

#include "segment/view.hpp"

#if defined(__SSE2__) && !defined(CACHEE_MODEL) && !defined(__SANITIZE_THREAD__)
#define CACHEE_PROBE_SSE2
#include <emmintrin.h>
#endif

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

#ifdef CACHEE_PROBE_SSE2
[[gnu::always_inline]] inline unsigned matching_slots(const Bucket& bucket, std::uint64_t live) noexcept {
  static_assert(layout::kHeadSlots == 6 && offsetof(Bucket, slots) % 16 == 0);
  // Two slots a load, each half of which is one access of the processor. The C++ model knows no such
  // load; asm keeps it outside the model, and the order of acquire is the processor's.
  const auto pair = [&](unsigned i) {
    __m128i words;
    asm volatile("movdqa %1, %0" : "=x"(words) : "m"(*reinterpret_cast<const char(*)[16]>(&bucket.slots[i])));
    return words;
  };
  // The upper 24 bits of a word, compared in the lower half of each lane.
  const __m128i wanted = _mm_set1_epi64x(static_cast<long long>(live >> layout::kOffsetBits));
  const auto equal = [&](__m128i words) { return _mm_cmpeq_epi32(_mm_srli_epi64(words, layout::kOffsetBits), wanted); };
  const __m128 first = _mm_castsi128_ps(equal(pair(0)));
  const __m128 second = _mm_castsi128_ps(equal(pair(2)));
  const __m128 third = _mm_castsi128_ps(equal(pair(4)));
  const int four = _mm_movemask_ps(_mm_shuffle_ps(first, second, _MM_SHUFFLE(2, 0, 2, 0)));
  const int two = _mm_movemask_ps(_mm_shuffle_ps(third, third, _MM_SHUFFLE(2, 0, 2, 0))) & 3;
  return static_cast<unsigned>(four | two << 4);
}
#else
[[gnu::always_inline]] inline unsigned matching_slots(const Bucket& bucket, std::uint64_t live) noexcept {
  return matching_slots_by_word(bucket, live);
}
#endif

}  // namespace cachee::shm
