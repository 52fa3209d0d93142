// Shared<T>: one word of the segment. The only home of std::atomic: each access names its order,
// and model tests take over scheduling here (schedule_hook.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "mem/schedule_hook.hpp"

// Where SSE2 may look at several words at once. The C++ model knows no such load; asm keeps it outside the
// model. Each eight bytes are one access of the processor, whose order of loads is that of acquire.
#if defined(__SSE2__) && !defined(CACHEE_MODEL) && !defined(__SANITIZE_THREAD__)
#define CACHEE_SSE2
#include <emmintrin.h>
#endif

namespace cachee::mem {

template <class T>
class Shared {
 public:
  T load_relaxed() const noexcept { return reads(), ref().load(std::memory_order_relaxed); }
  T load_acquire() const noexcept { return reads(), ref().load(std::memory_order_acquire); }
  T load_seq_cst() const noexcept { return reads(), ref().load(std::memory_order_seq_cst); }
  void store_relaxed(T v) noexcept { writes(), ref().store(v, std::memory_order_relaxed); }
  void store_release(T v) noexcept { writes(), ref().store(v, std::memory_order_release); }
  void store_seq_cst(T v) noexcept { writes(), ref().store(v, std::memory_order_seq_cst); }
  /// Acquire-release; on failure `seen` gets what is there (acquire).
  bool cas_acq_rel(T& seen, T want) noexcept {
    writes();
    return ref().compare_exchange_strong(seen, want, std::memory_order_acq_rel,
                                         std::memory_order_acquire);
  }
  bool cas_seq_cst(T& seen, T want) noexcept {
    writes();
    return ref().compare_exchange_strong(seen, want, std::memory_order_seq_cst,
                                         std::memory_order_seq_cst);
  }
  /// One try from a known value, when nobody needs what was seen instead.
  bool cas(T from, T want) noexcept { return cas_acq_rel(from, want); }
  T exchange_seq_cst(T v) noexcept { return writes(), ref().exchange(v, std::memory_order_seq_cst); }
  T fetch_add(T v) noexcept { return writes(), ref().fetch_add(v, std::memory_order_acq_rel); }
  T fetch_or(T v) noexcept { return writes(), ref().fetch_or(v, std::memory_order_seq_cst); }
  T fetch_and(T v) noexcept { return writes(), ref().fetch_and(v, std::memory_order_seq_cst); }
  /// For a word with one writer: no read-modify-write instruction.
  void add_own(T v) noexcept { store_relaxed(static_cast<T>(ref().load(std::memory_order_relaxed) + v)); }
  /// Address for the futex calls of os/wait.hpp.
  const void* address() const noexcept { return &raw_; }

 private:
  static_assert(std::atomic_ref<T>::is_always_lock_free, "a hidden lock would not be shared");
  void reads() const noexcept { schedule_point(&raw_, false); }
  void writes() const noexcept { schedule_point(&raw_, true); }
  std::atomic_ref<T> ref() const noexcept { return std::atomic_ref<T>{raw_}; }
  alignas(std::atomic_ref<T>::required_alignment) mutable T raw_;
};

inline void fence_seq_cst() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void fence_acquire() noexcept { std::atomic_thread_fence(std::memory_order_acquire); }
inline void fence_release() noexcept { std::atomic_thread_fence(std::memory_order_release); }

using Word = Shared<std::uint64_t>;

/// Words copied between two looks at how many are left: a cache line. The compiler may not widen or
/// unroll atomic accesses itself.
inline constexpr std::size_t kWordsAtOnce = 8;

template <std::size_t kWords>
[[gnu::always_inline]] inline void copy_words_out(char*& to, const Word*& from, std::size_t& bytes) noexcept {
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kWords; ++i) {
    const std::uint64_t w = from[i].load_relaxed();
    std::memcpy(to + i * sizeof w, &w, sizeof w);
  }
  to += kWords * sizeof(std::uint64_t);
  from += kWords;
  bytes -= kWords * sizeof(std::uint64_t);
}
template <std::size_t kWords>
[[gnu::always_inline]] inline void copy_words_in(Word*& to, const char*& from, std::size_t& bytes) noexcept {
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kWords; ++i) {
    std::uint64_t w;
    std::memcpy(&w, from + i * sizeof w, sizeof w);
    to[i].store_relaxed(w);
  }
  to += kWords;
  from += kWords * sizeof(std::uint64_t);
  bytes -= kWords * sizeof(std::uint64_t);
}

#ifdef CACHEE_SSE2
inline constexpr std::size_t kVectorBytes = 16;
/// Two words as they are at this moment, each for itself.
[[gnu::always_inline]] inline __m128i load_vector(const void* at) noexcept {
  __m128i v;
  asm volatile("movdqu %1, %0" : "=x"(v) : "m"(*static_cast<const char(*)[kVectorBytes]>(at)));
  return v;
}
template <std::size_t kVectors>
[[gnu::always_inline]] inline void copy_vectors_out(char*& to, const char*& from) noexcept {
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kVectors; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i_u*>(to + i * kVectorBytes), load_vector(from + i * kVectorBytes));
  }
  to += kVectors * kVectorBytes;
  from += kVectors * kVectorBytes;
}
/// copy_out() for 16 bytes and more: the last vector may overlap what was copied before.
[[gnu::always_inline]] inline void copy_out_by_vectors(char* to, const Word* words, std::size_t bytes) noexcept {
  const char* from = reinterpret_cast<const char*>(words);
  for (std::size_t left = bytes / 64; left > 0; --left) copy_vectors_out<4>(to, from);
  if ((bytes & 63) == 0) return;
  if ((bytes & 32) != 0) copy_vectors_out<2>(to, from);
  if ((bytes & 16) != 0) copy_vectors_out<1>(to, from);
  if (const std::size_t rest = bytes & 15; rest != 0) {
    to -= kVectorBytes - rest;
    from -= kVectorBytes - rest;
    copy_vectors_out<1>(to, from);
  }
}
#endif

/// Copies bytes out of the segment by relaxed words: a writer may reuse the block meanwhile, and
/// the caller discards the copy then. `from` is 8-byte aligned and readable to the next multiple.
inline void copy_out(char* to, const Word* from, std::size_t bytes) noexcept {
#ifdef CACHEE_SSE2
  if (bytes >= kVectorBytes) [[likely]] return copy_out_by_vectors(to, from, bytes);
#endif
  while (bytes >= kWordsAtOnce * sizeof(std::uint64_t)) copy_words_out<kWordsAtOnce>(to, from, bytes);
  while (bytes >= sizeof(std::uint64_t)) copy_words_out<1>(to, from, bytes);
  if (bytes > 0) {
    const std::uint64_t w = from->load_relaxed();
    std::memcpy(to, &w, bytes);
  }
  copy_hook();
}
/// Stores bytes into a block that is private to the caller; the last word is padded with zeros.
inline void copy_in(Word* to, const char* from, std::size_t bytes) noexcept {
  while (bytes >= kWordsAtOnce * sizeof(std::uint64_t)) copy_words_in<kWordsAtOnce>(to, from, bytes);
  while (bytes >= sizeof(std::uint64_t)) copy_words_in<1>(to, from, bytes);
  if (bytes > 0) {
    std::uint64_t w = 0;
    std::memcpy(&w, from, bytes);
    to->store_relaxed(w);
  }
}
/// Compares bytes of the segment with private ones, by relaxed words. What is behind them does not matter.
inline bool equal_bytes(const Word* at, const char* with, std::size_t bytes) noexcept {
  if (bytes > 8 && bytes <= 16) [[likely]] {  // as most keys are: no loop, one branch
    std::uint64_t first;
    std::uint64_t last;
    std::memcpy(&first, with, sizeof first);
    std::memcpy(&last, with + bytes - sizeof last, sizeof last);
    const std::size_t behind = 8 * (16 - bytes);  // bits of the second word that are not compared
    return ((at[0].load_relaxed() ^ first) | (at[1].load_relaxed() ^ last >> behind) << behind) == 0;
  }
  while (bytes >= sizeof(std::uint64_t)) {
    std::uint64_t w;
    std::memcpy(&w, with, sizeof w);
    if (at->load_relaxed() != w) return false;
    ++at;
    with += sizeof w;
    bytes -= sizeof w;
  }
  if (bytes == 0) return true;
  const std::uint64_t w = at->load_relaxed();
  return std::memcmp(&w, with, bytes) == 0;
}

}  // namespace cachee::mem
