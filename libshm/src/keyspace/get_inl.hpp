// The hot path of GET, inlined into the public functions: get_value() and what it shares with
// get.cpp. Where each cache line and branch of it goes: doc/hot-path.md.
#pragma once

#include <cstdint>

#include "index/probe.hpp"
#include "keyspace/keyspace.hpp"

namespace cachee::shm {

/// What a hit saw of its record, beside the bytes that were copied.
struct Hit {
  std::uint64_t exp = 0;
  std::uint64_t lens = 0;
};

namespace detail {

enum class Outcome { hit, other_key, restart, expired };

/// Steps 2-7 of GET for one slot (protocol.md B.5): uid, slot again, copy, uid again. `take` copies
/// what the reader wants of the record; its copy counts only when the outcome is a hit.
template <class Take>
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
  const std::uint64_t key_bytes = layout::Lens::Key::get(hit.lens);
  const Word* const value = record.payload() + base::align_up(key_bytes, 8) / 8;
  const std::uint64_t value_bytes = layout::Lens::Value::get(hit.lens);
  // The lengths were another process's: what they span must lie inside the data.
  const bool fits = reinterpret_cast<const std::byte*>(value) + base::align_up(value_bytes, 8) <= view.data_limit;
  const bool same_key =
      key_bytes == key.size() && fits && mem::equal_bytes(record.payload(), key.data(), key.size());
  if (same_key) [[likely]] take(record, value, value_bytes, hit);
  // Behind the copies: if the uid stands, every byte was of this instance.
  mem::fence_acquire();
  const std::uint64_t after = record.hdr.load_relaxed();
  if (layout::Hdr::Uid::get(after) != layout::Hdr::Uid::get(hdr) ||
      layout::Hdr::state(after) == layout::RecordState::free) [[unlikely]] {
    return Outcome::restart;
  }
  if (!same_key) [[unlikely]] return Outcome::other_key;
  return deadline_passed(hit.exp) ? Outcome::expired : Outcome::hit;
}

/// At most one relaxed store per hit, none when this epoch's is there.
[[gnu::always_inline]] inline void touch_heat(const View& view, Heat& heat) noexcept {
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  const std::uint16_t w = heat.load_relaxed();
  if (layout::HeatWord::epoch(w) == (epoch & layout::HeatWord::kEpochMask)) [[likely]] return;
  const unsigned f = std::min(layout::HeatWord::frequency(w) + 1, layout::HeatWord::kFrequencyMax);
  heat.store_relaxed(layout::HeatWord::make(f, layout::HeatWord::returned(w), epoch));
}

[[gnu::always_inline]] inline void note_hit(const View& view, Context& context, Heat& heat) noexcept {
  touch_heat(view, heat);
  context.count(layout::kHits);
}

/// What the straight way found; `unsure` has to begin again with care.
enum class Quick { hit, miss, unsure };

/// GET. What nearly every key needs stands here, straight; whatever else is met begins again in a
/// function of its own, so that a rare step costs the usual ones no register. `take` is small and
/// goes by value: a reference would keep it in memory.
template <class Take>
[[gnu::always_inline]] inline Quick find_quickly(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                                 Take take, Hit& hit) noexcept {
  const std::uint64_t at = view.bucket_of(hash);
  const std::uint64_t live = layout::Slot::live(0, View::tag_of(hash));
  const Bucket& bucket = view.buckets[at];
  Heat* const heats = view.heat + at * layout::kHeatPerBucket;
  // Its address is known now and its line is wanted at the end: fetched beside the bucket's.
  __builtin_prefetch(heats, 1);
  if (const unsigned matches = matching_slots(bucket, live); matches != 0) [[likely]] {
    const auto i = static_cast<unsigned>(__builtin_ctz(matches));
    const std::uint64_t word = bucket.slots[i].load_acquire();
    if (!same_tag(word, live)) [[unlikely]] return Quick::unsure;
    if (read_slot(view, bucket.slots[i], word, key, take, hit) != Outcome::hit) [[unlikely]] return Quick::unsure;
    if (context != nullptr) [[likely]] note_hit(view, *context, heats[i]);
    return Quick::hit;
  }
  if (layout::Link::Overflow::get(bucket.link.load_acquire()) != 0) [[unlikely]] return Quick::unsure;
  if (context != nullptr) [[likely]] context->count(layout::kMisses);
  return Quick::miss;
}

/// The value alone, if the caller's memory holds it.
struct IntoSpan {
  char* out;
  std::size_t out_bytes;
  void operator()(const Record&, const Word* value, std::uint64_t value_bytes, const Hit&) const noexcept {
    if (value_bytes <= out_bytes) [[likely]] mem::copy_out(out, value, value_bytes);
  }
};
/// get_value() for all that find_quickly() leaves.
Result<std::size_t> get_value_with_care(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                        IntoSpan take) noexcept;

}  // namespace detail

/// The value alone, into memory of the caller: the shortest way to it. `context` as in get_record().
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

}  // namespace cachee::shm
