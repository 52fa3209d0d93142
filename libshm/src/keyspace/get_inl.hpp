// The hot path of GET, inlined into the public functions: get_value() and what it shares with
// get.cpp. Where each cache line and branch of it goes: doc/hot-path.md.
#pragma once

#include <cstdint>

#include "eviction/eviction.hpp"
#include "index/probe.hpp"
#include "keyspace/keyspace.hpp"

namespace cachee::shm {

/// What a hit saw of its record, beside the bytes that were copied.
struct Hit {
  std::uint64_t exp = 0;
  std::uint64_t lens = 0;
};

namespace detail {

enum class Outcome { hit, other_key, restart, expired, timed };

/// Steps 2-7 of GET for one slot (protocol.md B.5): uid, slot again, copy, uid again. `take` copies
/// what the reader wants of the record; its copy counts only when the outcome is a hit. With `kUntimed` a
/// record that has a deadline is left alone (timed): to read the clock is a call.
template <bool kUntimed = false, class Take>
[[gnu::always_inline]] inline Outcome read_slot(const View& view, const Word& slot, std::uint64_t word, KeyView key,
                                                const Take& take, Hit& hit) noexcept {
  const std::uint64_t unit = layout::Slot::Offset::get(word);
  if (!view.is_record(unit)) [[unlikely]] return Outcome::restart;
  const Record& record = view.record_at(unit);
  const std::uint64_t hdr = record.hdr.load_acquire();
  // This instance was linked at this moment. LINEARIZES a hit.
  if (layout::Hdr::state(hdr) == layout::RecordState::free || slot.load_acquire() != word) [[unlikely]] {
    return Outcome::restart;
  }
  hit.lens = record.lens.load_relaxed();
  hit.exp = record.exp.load_relaxed();
  if (kUntimed && layout::Exp::deadline(hit.exp).is_set()) return Outcome::timed;
  // From the key that is asked for, not from the record's length of it: so the value's line is fetched beside
  // the record's first one and not behind it.
  const Word* const value = record.payload() + base::align_up(key.size(), 8) / 8;
  const std::uint64_t value_bytes = layout::Lens::Value::get(hit.lens);
  // The lengths were another process's: what they span must lie inside the data.
  const bool fits = reinterpret_cast<const std::byte*>(value) + value_bytes <= view.data_limit;
  const bool same_key = layout::Lens::Key::get(hit.lens) == key.size() && fits &&
                        mem::equal_bytes(record.payload(), key.data(), key.size());
  if (kUntimed && !same_key) [[unlikely]] return Outcome::other_key;
  if (same_key) [[likely]] take(record, value, value_bytes, hit);
  // Behind the copies: if the uid stands, every byte was of this instance.
  mem::fence_acquire();
  const std::uint64_t after = record.hdr.load_relaxed();
  if (after != hdr) [[unlikely]] {
    if (kUntimed) return Outcome::restart;
    if (layout::Hdr::Uid::get(after) != layout::Hdr::Uid::get(hdr) ||
        layout::Hdr::state(after) == layout::RecordState::free) {
      return Outcome::restart;
    }
  }
  if (!same_key) [[unlikely]] return Outcome::other_key;
  return !kUntimed && deadline_passed(hit.exp) ? Outcome::expired : Outcome::hit;
}

/// At most one relaxed store per hit, none when this epoch's is there.
[[gnu::always_inline]] inline void touch_heat(const View& view, Heat& heat) noexcept {
  const std::uint32_t w = heat.load_relaxed();
  const std::uint32_t touched = layout::HeatWord::touched(w, view.header->evict_epoch.load_relaxed());
  if (touched != w) [[unlikely]] heat.store_relaxed(touched);
}

/// `kUnsampled`: the caller has seen already that the key is not of the sample.
template <bool kUnsampled = false>
[[gnu::always_inline]] inline void note_hit(const View& view, Context& context, Heat& heat, std::uint64_t hash) noexcept {
  touch_heat(view, heat);
  context.count(layout::kHits);
  if constexpr (!kUnsampled) sample_read(context, hash);
}

template <bool kUnsampled = false>
[[gnu::always_inline]] inline void note_miss(Context& context, std::uint64_t hash) noexcept {
  context.count(layout::kMisses);
  if constexpr (!kUnsampled) sample_read(context, hash);
}

/// What the straight way found; `unsure` has to begin again with care.
enum class Quick { hit, miss, unsure };

/// Where a key is looked for, and then the slot that fits it: what the steps of a GET leave for each other, so
/// that those of several keys can take turns.
struct Place {
  const Bucket* bucket;
  Heat* heats;
  std::uint64_t live;  // what its slot would say, but for the offset
  unsigned slot;       // of the bucket, when `word` is not 0
  std::uint64_t word;

  [[gnu::always_inline]] static Place of(const View& view, std::uint64_t hash) noexcept {
    const std::uint64_t at = view.bucket_of(hash);
    return {view.buckets + at, view.heat + at * layout::kHeatPerBucket, layout::Slot::live(0, View::tag_of(hash)), 0, 0};
  }
  [[gnu::always_inline]] void look() noexcept {
    const unsigned matches = matching_slots(*bucket, live);
    if (matches == 0) [[unlikely]] return;
    slot = static_cast<unsigned>(__builtin_ctz(matches));
    word = bucket->slots[slot].load_acquire();
  }
};

/// The rest of a GET from a place that was looked at. What nearly every key needs stands here, straight;
/// whatever else is met begins again in a function of its own, so that a rare step costs the usual ones no
/// register. `take` is small and goes by value: a reference would keep it in memory.
template <bool kUntimed = false, class Take>
[[gnu::always_inline]] inline Quick read_place(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                               const Place& place, Take take, Hit& hit) noexcept {
  // To leave a sample is a call, as the clock is: the way with care does it.
  if (kUntimed && is_sampled(view, hash)) [[unlikely]] return Quick::unsure;
  if (place.word != 0) [[likely]] {
    if (!same_tag(place.word, place.live)) [[unlikely]] return Quick::unsure;
    if (read_slot<kUntimed>(view, place.bucket->slots[place.slot], place.word, key, take, hit) != Outcome::hit) [[unlikely]] {
      return Quick::unsure;
    }
    if (context != nullptr) [[likely]] note_hit<kUntimed>(view, *context, place.heats[place.slot], hash);
    return Quick::hit;
  }
  if (layout::Link::Overflow::get(place.bucket->link.load_acquire()) != 0) [[unlikely]] return Quick::unsure;
  if (context != nullptr) [[likely]] note_miss<kUntimed>(*context, hash);
  return Quick::miss;
}

template <bool kUntimed = false, class Take>
[[gnu::always_inline]] inline Quick find_quickly(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                                 Take take, Hit& hit) noexcept {
  Place place = Place::of(view, hash);
  // Its address is known now and its line is wanted at the end: fetched beside the bucket's.
  __builtin_prefetch(place.heats, 1);
  place.look();
  return read_place<kUntimed>(view, context, key, hash, place, take, hit);
}

/// The value alone, if the caller's memory holds it.
struct IntoSpan {
  char* out;
  std::size_t out_bytes;
  void operator()(const Record&, const Word* value, std::uint64_t value_bytes, const Hit&) const noexcept {
    if (value_bytes <= out_bytes) [[likely]] mem::copy_out(out, value, value_bytes);
  }
};
/// The same for memory that grows with what is found.
struct IntoString {
  std::string& out;
  void operator()(const Record&, const Word* value, std::uint64_t value_bytes, const Hit&) const {
    out.resize(value_bytes);
    mem::copy_out(out.data(), value, value_bytes);
  }
};
/// get_value() for all that find_quickly() leaves.
Result<std::size_t> get_value_with_care(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                        IntoSpan take) noexcept;

}  // namespace detail

/// get_value() for a key of 9 to 16 bytes whose record has no deadline, the shortest way of all; nothing, and
/// nothing counted, for whatever else it meets. Not a call in it, so that it needs next to no frame.
[[nodiscard]] constexpr bool is_short(KeyView key) noexcept { return key.size() - 9 <= 7; }
[[gnu::always_inline]] inline detail::Quick get_short(const View& view, Context& context, KeyView key, std::span<char> out,
                                                      std::size_t& value_bytes) noexcept {
  if (!is_short(key)) __builtin_unreachable();  // so that the compiler leaves out what other keys need
  Hit hit;
  const auto quick = detail::find_quickly<true>(view, &context, key, view.hash(key), detail::IntoSpan{out.data(), out.size()}, hit);
  value_bytes = layout::Lens::Value::get(hit.lens);
  return quick;
}

/// The value alone, into memory of the caller: a short way to it. `context` as in get_record().
/// Returns the value's size; nothing is copied when that is more than `out` holds.
[[gnu::always_inline]] inline Result<std::size_t> get_value(const View& view, Context* context, KeyView key,
                                                            std::span<char> out) noexcept {
  const std::uint64_t hash = view.hash(key);
  const detail::IntoSpan take{out.data(), out.size()};
  Hit hit;
  switch (detail::find_quickly(view, context, key, hash, take, hit)) {
    [[likely]] case detail::Quick::hit: return layout::Lens::Value::get(hit.lens);
    case detail::Quick::miss: return Errc::not_found;
    default: return detail::get_value_with_care(view, context, key, hash, take);
  }
}

/// What operations on many keys do first, so that their cache misses overlap: one Seek each, and every step
/// for all before the next.
class Seek {
 public:
  Seek() noexcept = default;
  [[gnu::always_inline]] Seek(const View& view, KeyView key) noexcept : hash_{view.hash(key)}, place_{detail::Place::of(view, hash_)} {
    __builtin_prefetch(place_.bucket);
    __builtin_prefetch(place_.heats, 1);
  }
  /// Fetches the record that the bucket names.
  [[gnu::always_inline]] void fetch_record(const View& view) noexcept {
    place_.look();
    const std::uint64_t unit = layout::Slot::Offset::get(place_.word);
    if (!view.is_record(unit)) [[unlikely]] return;
    const char* const record = reinterpret_cast<const char*>(&view.record_at(unit));
    __builtin_prefetch(record);
    __builtin_prefetch(record + base::kCacheLineBytes);
  }
  [[gnu::always_inline]] detail::Quick read(const View& view, Context* context, KeyView key, std::string& value) const noexcept {
    Hit hit;
    return detail::read_place(view, context, key, hash_, place_, detail::IntoString{value}, hit);
  }
  std::uint64_t hash() const noexcept { return hash_; }

 private:
  std::uint64_t hash_;
  detail::Place place_;
};

}  // namespace cachee::shm
