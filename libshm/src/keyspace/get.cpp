#include <algorithm>
#include <cstring>

#include "keyspace/keyspace.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::Mark;
using layout::RecordState;
using layout::Slot;

namespace {

// Lock-free without a bound: each restart means that another operation succeeded. In a damaged
// segment nothing succeeds, so the bound tells damage from contention.
constexpr int kRestartsMax = 1 << 20;
// An expired record is marked, then looked for again; still there and expired: its mark is blocked
// by a full ring.
constexpr int kExpiredRoundsMax = 2;

enum class Outcome { hit, other_key, restart, expired };

/// Steps 2-7 of GET for one slot (protocol.md B.5): uid, slot again, copy, uid again.
Outcome read_slot(const View& view, const Word& slot, std::uint64_t word, KeyView key, ReadTarget& target) noexcept {
  const std::uint64_t unit = Slot::Offset::get(word);
  const Record* record = view.record(unit);
  if (record == nullptr) return Outcome::restart;
  const std::uint64_t hdr = record->hdr.load_acquire();
  if (Hdr::state(hdr) == RecordState::free) return Outcome::restart;
  // This instance was linked at this moment. LINEARIZES a hit.
  if (slot.load_acquire() != word) return Outcome::restart;
  const RecordBounds b = bounds_of(view, unit, record->lens.load_relaxed());
  const std::uint64_t exp = record->exp.load_relaxed();
  bool same_key = false;
  if (b.fits && b.key_bytes == key.size()) {
    const Word* payload = record->payload();
    same_key = mem::equal_bytes(payload, key.data(), key.size());
    if (same_key) {
      const Word* value = payload + b.value_at / 8;
      if (target.value != nullptr) {
        target.value->resize(b.value_bytes);
        mem::copy_out(target.value->data(), value, b.value_bytes);
      } else if (b.value_bytes <= target.into.size()) {
        mem::copy_out(target.into.data(), value, b.value_bytes);
      }
      if (target.version_wanted) {
        target.version = version_of(*record);
        target.birth_ms = birth_ms_of(*record);
      }
      if (target.extension != nullptr) {
        target.extension->clear();
        const std::uint64_t at = sizeof(Record) + b.extension_at;
        if ((b.flags & layout::kHasExtension) != 0 && at + 8 <= view.bytes_after(unit)) {
          const Word* from = payload + b.extension_at / 8;
          const std::uint64_t bytes = from->load_relaxed() & 0xffffffffu;
          if (bytes <= kMetadataBytesMax * 2 && at + bytes <= view.bytes_after(unit)) {
            target.extension->resize(bytes);
            mem::copy_out(target.extension->data(), from, bytes);
          }
        }
      }
    }
  }
  // Behind the copies: if the uid stands, every byte was of this instance.
  mem::fence_acquire();
  const std::uint64_t after = record->hdr.load_relaxed();
  if (Hdr::Uid::get(after) != Hdr::Uid::get(hdr) || Hdr::state(after) == RecordState::free) return Outcome::restart;
  if (!same_key) return Outcome::other_key;
  if (deadline_passed(exp)) return Outcome::expired;
  target.value_bytes = b.value_bytes;
  target.deadline_us = layout::Exp::Deadline::get(exp);
  target.record_bytes = sizeof(Record) + b.extension_at + (target.extension != nullptr ? target.extension->size() : 0);
  return Outcome::hit;
}

/// At most one relaxed store per hit, none when this epoch's is there.
void touch_heat(const View& view, Heat& heat) noexcept {
  const std::uint64_t epoch = view.header->evict_epoch.load_relaxed();
  const std::uint16_t w = heat.load_relaxed();
  if (layout::HeatWord::epoch(w) == (epoch & layout::HeatWord::kEpochMask)) return;
  const unsigned f = std::min(layout::HeatWord::frequency(w) + 1, layout::HeatWord::kFrequencyMax);
  heat.store_relaxed(layout::HeatWord::make(f, layout::HeatWord::returned(w), epoch));
}

}  // namespace

void prefetch_bucket(const View& view, std::uint64_t hash) noexcept {
  __builtin_prefetch(&view.buckets[view.bucket_of(hash)]);
}

void prefetch_record(const View& view, std::uint64_t hash) noexcept {
  const Bucket& bucket = view.buckets[view.bucket_of(hash)];
  const std::uint64_t live = Slot::live(0, View::tag_of(hash));
  for (const Word& slot : bucket.slots) {
    const std::uint64_t word = slot.load_relaxed();
    if ((word & ~Slot::Offset::kMask) != live) continue;
    if (const Record* record = view.record(Slot::Offset::get(word))) {
      __builtin_prefetch(&record->hdr);
      __builtin_prefetch(reinterpret_cast<const char*>(record) + 96);
    }
    return;
  }
}

Result<void> get_record(const View& view, Context* context, KeyView key, ReadTarget& target) noexcept {
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  const std::uint64_t live = Slot::live(0, View::tag_of(hash));
  int expired_rounds = 0;
  for (int restarts = 0; restarts < kRestartsMax; ++restarts) {
    bool restart = false;
    ChainWalk walk{view, bucket};
    while (!restart && walk.next()) {
      const std::uint64_t word = walk.slot().load_acquire();
      if ((word & ~Slot::Offset::kMask) != live) continue;
      switch (read_slot(view, walk.slot(), word, key, target)) {
        case Outcome::other_key: break;
        case Outcome::restart: restart = true; break;
        case Outcome::expired: {
          if (context == nullptr) return Errc::not_found;
          if (++expired_rounds > kExpiredRoundsMax) {
            context->count(layout::kMisses);
            return Errc::not_found;
          }
          // [KS-5] absent by the mark, not by this reader's clock alone: a TOUCH may have won.
          std::uint64_t expired = 0;
          tend_bucket(*context, bucket, expired);
          restart = true;
          break;
        }
        case Outcome::hit:
          if (context != nullptr) {
            touch_heat(view, walk.heat());
            context->count(layout::kHits);
          }
          return {};
      }
    }
    if (!restart) {
      if (context != nullptr) context->count(layout::kMisses);
      return Errc::not_found;
    }
  }
  return Error{Errc::corrupt, 0, static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(&view.buckets[bucket]) - view.base)};
}

Result<Pinned> pin_record(Context& context, KeyView key) noexcept {
  const View& view = *context.view;
  unsigned pin = 0;
  while (pin < layout::kClientPins && context.me->pins[pin].load_relaxed() != 0) ++pin;
  if (pin == layout::kClientPins) return Errc::would_block;
  Word& hazard = context.me->pins[pin];
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  const std::uint64_t live = Slot::live(0, View::tag_of(hash));
  int expired_rounds = 0;
  for (int restarts = 0; restarts < kRestartsMax; ++restarts) {
    bool restart = false;
    ChainWalk walk{view, bucket};
    while (!restart && walk.next()) {
      const std::uint64_t word = walk.slot().load_acquire();
      if ((word & ~Slot::Offset::kMask) != live) continue;
      const std::uint64_t unit = Slot::Offset::get(word);
      Record* record = view.record(unit);
      hazard.store_release(unit);                        // H1
      mem::fence_seq_cst();                              // H2
      restart = record == nullptr || walk.slot().load_seq_cst() != word;  // H3. LINEARIZES
      if (restart || key_in_place(view, unit) != key) continue;
      if (deadline_passed(record->exp.load_acquire())) {
        hazard.store_release(0);
        if (++expired_rounds > kExpiredRoundsMax) {
          context.count(layout::kMisses);
          return Errc::not_found;
        }
        std::uint64_t expired = 0;
        tend_bucket(context, bucket, expired);
        restart = true;
        continue;
      }
      touch_heat(view, walk.heat());
      context.count(layout::kHits);
      return Pinned{unit, pin};
    }
    if (!restart) {
      hazard.store_release(0);
      context.count(layout::kMisses);
      return Errc::not_found;
    }
  }
  hazard.store_release(0);
  return Errc::corrupt;
}

}  // namespace cachee::shm
