#include "base/bounds.hpp"
#include "keyspace/get_inl.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::Mark;
using layout::RecordState;
using layout::Slot;

namespace {

using detail::note_hit;
using detail::note_miss;
using detail::Outcome;
using detail::read_slot;

// Lock-free without a bound: each restart means that another operation succeeded. In a damaged
// segment nothing succeeds, so the bound tells damage from contention.
constexpr int kRestartsMax = base::kReadRestartsMax;
// An expired record is marked, then looked for again. Still there unmarked: another record of the key
// came and expired in between, once a round; or the segment is damaged.
constexpr int kExpiredRoundsMax = 2;

/// Step 7 for a record that has expired: absent by its mark, not by this reader's clock alone, since
/// a TOUCH may have won [KS-5]. False: it is absent; true: look again.
[[gnu::noinline]] bool after_expired(Context* context, std::uint64_t bucket, int& rounds) noexcept {
  if (context == nullptr || ++rounds > kExpiredRoundsMax) return false;
  std::uint64_t expired = 0;
  tend_bucket(*context, bucket, expired);
  return true;
}

/// Whether eviction, the counts and the estimate of other sizes learn of it.
enum class Use { read, none };

/// Everything that a GET may meet: overflow buckets, tags that are alike, expired records, restarts. `hits`: what
/// the eviction word had counted before.
template <Use kUse = Use::read, class Take>
[[gnu::noinline]] Result<Hit> find_with_care(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                             Take take, std::uint32_t* hits = nullptr) noexcept {
  Context* const reader = kUse == Use::read ? context : nullptr;
  const std::uint64_t bucket = view.bucket_of(hash);
  const std::uint64_t live = Slot::live(0, View::tag_of(hash));
  int expired_rounds = 0;
  for (int restarts = 0; restarts < kRestartsMax; ++restarts) {
    Hit hit;
    Outcome outcome = Outcome::other_key;
    ChainWalk walk{view, bucket};
    while (outcome == Outcome::other_key && walk.next()) {
      const std::uint64_t word = walk.slot().load_acquire();
      if (same_tag(word, live)) outcome = read_slot(view, walk.slot(), word, key, take, hit);
    }
    if (outcome == Outcome::restart) continue;
    if (outcome == Outcome::expired && after_expired(context, bucket, expired_rounds)) continue;
    if (outcome == Outcome::hit) {
      if (hits != nullptr) *hits = layout::HeatWord::frequency(walk.heat().load_relaxed());
      if (reader != nullptr) note_hit(view, *reader, walk.heat(), hash);
      return hit;
    }
    if (reader != nullptr) note_miss(*reader, hash);
    return Errc::not_found;
  }
  return Error{Errc::corrupt, 0, static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(&view.buckets[bucket]) - view.base)};
}

/// What encode_extension() made, if the record has it and it lies inside the data.
void copy_extension(const View& view, const Hit& hit, const Word* from, std::string& out) {
  out.clear();
  const auto left = static_cast<std::uint64_t>(view.data_limit - reinterpret_cast<const std::byte*>(from));
  if ((layout::Lens::Flags::get(hit.lens) & layout::kHasExtension) == 0 || left < sizeof(Word)) return;
  const std::uint64_t bytes = from->load_relaxed() & 0xffffffffu;
  if (bytes > kMetadataBytesMax * 2 || bytes > left) return;
  out.resize(bytes);
  mem::copy_out(out.data(), from, bytes);
}

/// Whatever a ReadTarget asks for.
struct IntoTarget {
  const View& view;
  ReadTarget& target;
  void operator()(const Record& record, const Word* value, std::uint64_t value_bytes, const Hit& hit) const {
    if (target.value != nullptr) {
      target.value->resize(value_bytes);
      mem::copy_out(target.value->data(), value, value_bytes);
    }
    target.version = version_from(record.link.load_relaxed(), hit.exp, hit.lens);
    const Word* const extension = value + base::align_up(value_bytes, 8) / 8;
    target.record_bytes = static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(extension) -
                                                     reinterpret_cast<const std::byte*>(&record));
    if (target.extension == nullptr) return;
    copy_extension(view, hit, extension, *target.extension);
    target.record_bytes += target.extension->size();
  }
};

}  // namespace

Result<void> get_record(const View& view, Context* context, KeyView key, std::uint64_t hash, ReadTarget& target) noexcept {
  const IntoTarget take{view, target};
  Hit hit;
  switch (detail::find_quickly(view, context, key, hash, take, hit)) {
    case detail::Quick::hit: break;
    case detail::Quick::miss: return Errc::not_found;
    case detail::Quick::unsure:
      const auto found = find_with_care(view, context, key, hash, take);
      if (!found) return found.error();
      hit = *found;
      break;
  }
  target.deadline = layout::Exp::deadline(hit.exp);
  return {};
}

Result<void> look_at_record(const View& view, Context* context, KeyView key, ReadTarget& target) noexcept {
  const auto found = find_with_care<Use::none>(view, context, key, view.hash(key), IntoTarget{view, target});
  if (!found) return found.error();
  target.deadline = layout::Exp::deadline(found->exp);
  return {};
}

Result<Deadline> peek_record(const View& view, KeyView key, std::uint32_t& hits) noexcept {
  const auto found = find_with_care<Use::none>(
      view, nullptr, key, view.hash(key), [](const Record&, const Word*, std::uint64_t, const Hit&) {}, &hits);
  if (!found) return found.error();
  return layout::Exp::deadline(found->exp);
}

Result<std::size_t> detail::get_value_with_care(const View& view, Context* context, KeyView key, std::uint64_t hash,
                                                IntoSpan take) noexcept {
  const auto hit = find_with_care(view, context, key, hash, take);
  if (!hit) return hit.error();
  return layout::Lens::Value::get(hit->lens);
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
      restart = record == nullptr || walk.slot().load_seq_cst() != word ||  // H3. LINEARIZES
                Hdr::state(record->hdr.load_acquire()) == RecordState::free;  // under a protection: damage
      if (restart || !key_equals(view, unit, key)) continue;
      if (deadline_passed(record->exp.load_acquire())) {
        hazard.store_release(0);
        if (++expired_rounds > kExpiredRoundsMax) {
          note_miss(context, hash);
          return Errc::not_found;
        }
        std::uint64_t expired = 0;
        tend_bucket(context, bucket, expired);
        restart = true;
        continue;
      }
      note_hit(view, context, walk.heat(), hash);
      return Pinned{unit, pin};
    }
    if (!restart) {
      hazard.store_release(0);
      note_miss(context, hash);
      return Errc::not_found;
    }
  }
  hazard.store_release(0);
  return Errc::corrupt;
}

}  // namespace cachee::shm
