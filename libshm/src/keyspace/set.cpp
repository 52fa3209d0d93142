#include <algorithm>
#include <cmath>

#include "base/bounds.hpp"
#include "base/refusal.hpp"
#include "eviction/eviction.hpp"
#include "expiry/expiry.hpp"
#include "keyspace/operation.hpp"
#include "mem/backoff.hpp"
#include "mem/crash_point.hpp"
#include "os/wait.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Act;
using layout::Exp;
using layout::Ins;
using layout::Slot;

namespace {

using base::kRoomRoundsMax;

/// Asks for the line of the record that find_for_write() will most likely look at.
[[gnu::always_inline]] inline void prefetch_old(const View& view, std::uint64_t bucket, std::uint64_t hash) noexcept {
  Bucket& head = view.buckets[bucket];
  const unsigned matches = matching_slots(head, Slot::live(0, View::tag_of(hash)));
  if (matches == 0) return;
  const std::uint64_t unit = Slot::Offset::get(head.slots[__builtin_ctz(matches)].load_relaxed());
  if (view.is_record(unit)) __builtin_prefetch(&view.record_at(unit), 1);
}

/// Bounded waiting for memory that events still hold: until some are released.
class RoomWait {
 public:
  explicit RoomWait(const View& view) noexcept : view_{view} {}
  /// Sleeps a moment; false when the whole time is over.
  bool slice() noexcept {
    const TimeNs now = base::now_ns();
    if (until_ == 0) until_ = now + base::kRoomWaitNs;
    if (now >= until_) return false;
    SegmentHeader& header = *view_.header;
    const std::uint32_t seen = header.space_wake.load_seq_cst();
    header.space_wanted.store_seq_cst(1);
    os::wait_on(header.space_wake, seen, std::chrono::milliseconds{1});
    return true;
  }

 private:
  const View& view_;
  TimeNs until_ = 0;
};

/// Freezes the deadline so that a concurrent TOUCH cannot be lost. Returns the frozen word.
std::uint64_t freeze_deadline(Record& record) noexcept {
  std::uint64_t exp = record.exp.load_acquire();
  while ((exp & Exp::kFrozen) == 0 && !record.exp.cas_acq_rel(exp, exp | Exp::kFrozen)) {
  }
  return exp;
}

/// SET: the parts are the caller's and the same at each try.
class PlainSet {
 public:
  static constexpr bool touch_copy = false;
  static constexpr bool same_parts = true;
  static constexpr bool makes_room = true;

  PlainSet(KeyView key, ValueView value, const SetOptions& options)
      : parts_{key, value, {}, 0}, options_{options}, keeps_deadline{options.keep_ttl} {
    if (needs_extension(options.cost, options.provenance, options.metadata, options.depends_on)) [[unlikely]] {
      extension_ = encode_extension(options.cost, options.provenance, options.metadata, options.depends_on);
      parts_.extension = extension_;
    }
    if (options.deadline_wall_ms) {
      deadline_ = deadline_at(*options.deadline_wall_ms);
    } else if (options.ttl) {
      deadline_ = deadline_after(*options.ttl);
    }
  }
  PlainSet(const PlainSet&) = delete;
  PlainSet& operator=(const PlainSet&) = delete;

  const RecordParts& parts() const noexcept { return parts_; }
  Errc prepare(const View& view, std::uint64_t old_unit, Deadline old_deadline, RecordParts& parts,
               Deadline& deadline) noexcept {
    const bool present = old_unit != 0;
    if (options_.condition != Condition::always || options_.if_version) [[unlikely]] {
      if (options_.condition == Condition::absent && present) return Errc::exists;
      if (options_.condition == Condition::present && !present) return Errc::not_found;
      if (options_.if_version && (!present || version_of(view.record_at(old_unit)) != *options_.if_version)) {
        return present ? Errc::stale : Errc::not_found;
      }
    }
    parts = parts_;
    deadline = keeps_deadline ? old_deadline : deadline_;
    return Errc::ok;
  }
  /// The bytes, and that they are written, do not depend on the old record: prepare() may come first.
  bool independent() const noexcept {
    return !keeps_deadline && options_.condition == Condition::always && !options_.if_version;
  }
  TimeNs now() const noexcept { return base::now_coarse_ns(); }
  void show_old(const View& view, std::uint64_t old_unit) {
    if (old_value != nullptr) *old_value = value_in_place(view, old_unit);
  }

 private:
  RecordParts parts_;
  const SetOptions& options_;
  std::string extension_{};
  Deadline deadline_{};

 public:
  const bool keeps_deadline;
  std::string* old_value = nullptr;
};

/// SET without any option, as most are, or with a TTL and nothing else.
template <bool kTimed>
class BareSet {
 public:
  static constexpr bool touch_copy = false;
  static constexpr bool same_parts = true;
  static constexpr bool makes_room = true;
  static constexpr bool keeps_deadline = false;

  BareSet(KeyView key, ValueView value, Ttl ttl) noexcept : key_{key}, value_{value}, ttl_{ttl} {}
  RecordParts parts() const noexcept { return {key_, value_, {}, 0}; }
  Errc prepare(const View&, std::uint64_t, Deadline, RecordParts& parts, Deadline& deadline) noexcept {
    parts = {key_, value_, {}, 0};
    if constexpr (kTimed) {
      now_ = base::now_ns();  // while the line of the bucket is on its way
      deadline = deadline_after(ttl_, static_cast<std::uint64_t>(now_ / base::kNsPerUs));
    } else {
      deadline = {};
    }
    return Errc::ok;
  }
  static constexpr bool independent() noexcept { return true; }
  TimeNs now() const noexcept { return kTimed ? now_ : base::now_coarse_ns(); }
  void show_old(const View&, std::uint64_t) noexcept {}

 private:
  KeyView key_;
  ValueView value_;
  Ttl ttl_;
  TimeNs now_ = 0;
};
/// A TTL does not count.
bool without_options(const SetOptions& o) noexcept {
  return !o.deadline_wall_ms && !o.keep_ttl && o.condition == Condition::always && !o.if_version &&
         !o.return_old && !needs_extension(o.cost, o.provenance, o.metadata, o.depends_on);
}

Errc check_sizes(const View& view, const RecordParts& parts) noexcept {
  if (parts.key.size() > kKeyBytesMax || parts.value.size() > view.shape.value_bytes_max) return Errc::invalid_argument;
  if (parts.extension.size() > kMetadataBytesMax + sizeof(layout::ExtensionHeader)) return Errc::invalid_argument;
  return Errc::ok;
}
/// What check_sizes() found, with the limit.
[[gnu::cold]] Error size_refusal(const View& view, const RecordParts& parts) noexcept {
  if (parts.key.size() > kKeyBytesMax) return base::refusal(base::Rule::key_bytes, kKeyBytesMax);
  if (parts.value.size() > view.shape.value_bytes_max) return base::refusal(base::Rule::value_bytes, view.shape.value_bytes_max);
  return base::refusal(base::Rule::extra_bytes, kMetadataBytesMax);
}

/// One write on its way: what its steps know, so that the rare ones stand in functions of their own
/// and cost the usual ones nothing.
struct Write {
  Context& context;
  const View& view;
  KeyView key;
  std::uint64_t bucket;
  Act act;
  Block block{};                  // S1, kept over lost races
  std::uint64_t block_bytes = 0;  // of what it was claimed for
  int rooms = 0;                  // times that room had to be made
  RoomWait room_wait;

  /// Every way out without a write.
  [[gnu::noinline]] Errc give_up(Errc code) noexcept {
    if (block.unit != 0) abort_block(context, block.unit, block.uid);
    return code;
  }
  /// No block for these parts.
  [[gnu::noinline]] Error refused(Errc code, const RecordParts& parts) const noexcept {
    if (code == Errc::invalid_argument) return size_refusal(view, parts);
    return {code, 0, code == Errc::no_space ? record_bytes(parts) : 0};
  }
  /// S1 without the bytes: a block that fits. would_block: there is room now, try again.
  [[gnu::always_inline]] Errc claim(const RecordParts& parts, bool makes_room) noexcept {
    if (const Errc why = check_sizes(view, parts); why != Errc::ok) [[unlikely]] return give_up(why);
    const std::uint64_t bytes = record_bytes(parts);
    if (block.unit != 0) [[unlikely]] {
      if (block_bytes_for(view, bytes) == block_bytes) return Errc::ok;
      abort_block(context, block.unit, block.uid);
    }
    block = allocate(context, bytes);
    block_bytes = block_bytes_for(view, bytes);
    if (block.unit == 0) [[unlikely]] return makes_room && make_room_for(bytes) == Errc::ok ? Errc::would_block : Errc::no_space;
    return Errc::ok;
  }
  [[gnu::always_inline]] void fill(const RecordParts& parts, Deadline deadline) noexcept {
    fill_record(view.record_at(block.unit), parts, deadline);
    CACHEE_CRASH_POINT("keyspace.set.filled");
  }
  /// Memory is short. Errc::ok: try again.
  [[gnu::noinline]] Errc make_room_for(std::uint64_t bytes) noexcept {
    if (++rooms > kRoomRoundsMax) return Errc::no_space;
    clear_old(context);
    const Room room = make_room(context, bytes);
    begin(context, act, bucket);
    return room == Room::none || (room == Room::pending && !room_wait.slice()) ? Errc::no_space : Errc::ok;
  }
  /// Every slot of the chain is taken. Errc::ok: try again.
  [[gnu::noinline]] Errc make_place() noexcept {
    if (extend_chain(context, bucket)) return Errc::ok;
    // The chain is as long as it may get: something in it has to go.
    if (++rooms > kRoomRoundsMax) return Errc::no_space;
    const bool evicted = evict_in_chain(context, bucket);
    begin(context, act, bucket);
    return evicted ? Errc::ok : Errc::no_space;
  }
  /// N1-N3. False: the announcement was not ours to make.
  [[gnu::noinline]] bool announce(std::uint64_t idle, int place, std::uint64_t hash, std::string_view extension) noexcept {
    const std::uint64_t busy = Ins::make(static_cast<std::uint64_t>(place), View::tag_of(hash), block.unit);
    if (!view.buckets[bucket].ins.cas_seq_cst(idle, busy)) return false;  // N1
    CACHEE_CRASH_POINT("keyspace.set.announced");
    help_insert(context, bucket, busy);  // LINEARIZES in N2, whoever does it
    ChainWalk walk{view, bucket};
    while (walk.next()) {
      if (static_cast<int>(walk.place()) != place) continue;
      walk.heat().store_relaxed(first_heat(context, hash, extension));
      break;
    }
    context.count(layout::kInserts);
    context.count(layout::kInsertBytes, block_bytes);
    return true;
  }
  [[gnu::noinline]] void lost_race(mem::Backoff& backoff) noexcept {
    context.count(layout::kRetries);
    backoff.pause();
  }
};

/// What came of a write, before it is dressed up for the caller.
struct Written {
  std::uint64_t version;
  std::uint64_t event_word;  // ev of the new record
  bool created;
  std::optional<EventSeq> event() const noexcept {
    if (layout::EventWord::state(event_word) != layout::EventWord::kConfirmed) return std::nullopt;
    return EventSeq{event_position(event_word)};
  }
};

/// S0-S8, once for every kind of plan (keyspace.hpp, WritePlan).
template <class Plan>
[[gnu::always_inline]] inline Result<Written> write_by(Context& context, KeyView key, Plan& plan) noexcept {
  const View& view = *context.view;
  const std::uint64_t hash = view.hash(key);
  const std::uint64_t bucket = view.bucket_of(hash);
  Word& ins = view.buckets[bucket].ins;
  __builtin_prefetch(&ins, 1);
  __builtin_prefetch(&view.heat[bucket * layout::kHeatPerBucket]);  // wanted behind the CAS, where nothing hides its miss
  const Interest interest = match_triggers(view, key);
  if (interest.wanted != 0 && !plan.touch_copy && !admit(context, interest, EventKind::write)) return Errc::full;  // S0

  const Act act = plan.touch_copy ? Act::touch : Act::set;
  Operation operation{context, act, bucket};
  Write write{context, view, key, bucket, act, {}, 0, 0, RoomWait{view}};
  RecordParts parts;
  Deadline deadline{};
  mem::Backoff backoff;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    if (plan.independent() && write.block.unit == 0) {
      // S1 before S2, so that the lines of the bucket and of the old record are on their way meanwhile: the locked
      // instructions of a claim and of a hazard would otherwise wait one by one for what they order.
      if (plan.prepare(view, 0, Deadline{}, parts, deadline) != Errc::ok) return write.give_up(Errc::corrupt);
      if (const Errc why = write.claim(parts, plan.makes_room); why != Errc::ok) [[unlikely]] {
        if (why == Errc::would_block) continue;
        return write.refused(why, parts);
      }
      prefetch_old(view, bucket, hash);
      write.fill(parts, deadline);
    }
    const std::uint64_t idle = ins.load_seq_cst();
    if (Ins::busy(idle)) [[unlikely]] {
      help_insert(context, bucket, idle);
      continue;
    }
    const FoundSlot found = find_for_write(context, bucket, hash, key);  // S2
    if (found.what == Lookup::moved) [[unlikely]] continue;
    if (found.what == Lookup::blocked) [[unlikely]] return write.give_up(Errc::full);
    if (found.what == Lookup::damaged) [[unlikely]] return write.give_up(Errc::corrupt);
    const TimeNs now = plan.now();
    std::uint64_t old_unit = 0;
    Deadline old_deadline{};
    std::uint64_t version = 0;
    if (found.what == Lookup::live) [[likely]] {
      if (const std::uint64_t busy = ins.load_seq_cst(); Ins::busy(busy)) [[unlikely]] {  // [IX-3]
        help_insert(context, bucket, busy);
        continue;
      }
      old_unit = Slot::Offset::get(found.word);
      Record& old = view.record_at(old_unit);
      if (const ExpireOutcome expired = expire_slot(context, bucket, *found.slot, found.word, now);
          expired != ExpireOutcome::alive) [[unlikely]] {
        if (expired == ExpireOutcome::blocked) return write.give_up(Errc::full);
        continue;
      }
      if (!pay_debt(context, old_unit, nullptr)) [[unlikely]] {  // [KS-1]
        lower_deadline(view, bucket, 0);
        return write.give_up(Errc::full);
      }
      old_deadline = Exp::deadline(plan.keeps_deadline ? freeze_deadline(old) : old.exp.load_acquire());
      version = version_of(old);
    }
    if (!plan.independent()) {
      if (const Errc why = plan.prepare(view, old_unit, old_deadline, parts, deadline); why != Errc::ok) [[unlikely]] {
        return write.give_up(why);
      }
      // S1. Again after a lost race only when the bytes depend on the old record.
      if (write.block.unit == 0 || !plan.same_parts || plan.keeps_deadline) [[likely]] {
        if (const Errc why = write.claim(parts, plan.makes_room); why != Errc::ok) [[unlikely]] {
          if (why == Errc::would_block) continue;
          return write.refused(why, parts);
        }
        write.fill(parts, deadline);
      }
    }
    Record& record = view.record_at(write.block.unit);
    if (old_unit == 0) {
      // Behind S2, which saw that the key is gone: later than any removal of it (raise_version_floor).
      version = std::max(version_at(view, base::now_ns()), view.header->version_floor.load_acquire());
    } else if (!plan.touch_copy) {
      version = std::max(version + 1, version_at(view, now));
    }
    set_lineage(record, plan.touch_copy ? 0 : old_unit, version);
    if (deadline.is_set()) lower_before(view, bucket, deadline);  // S3
    CACHEE_CRASH_POINT("keyspace.set.ready");
    if (old_unit != 0) [[likely]] {
      std::uint64_t expected = found.word;
      if (!found.slot->cas_seq_cst(expected, Slot::live(write.block.unit, View::tag_of(hash)))) [[unlikely]] {  // X1. LINEARIZES
        write.lost_race(backoff);
        continue;
      }
      CACHEE_CRASH_POINT("keyspace.set.installed");
      if (!plan.touch_copy) touch_overwritten(view, *found.heat, parts.extension);
    } else if (found.empty_place < 0) {
      if (const Errc why = write.make_place(); why != Errc::ok) return write.give_up(why);
      continue;
    } else if (!write.announce(idle, found.empty_place, hash, parts.extension)) {
      write.lost_race(backoff);
      continue;
    }
    if (!pay_own_debt(context, write.block.unit, write.block.uid, interest)) lower_deadline(view, bucket, 0);  // S5, S6
    const Written written{version, record.ev.load_acquire(), old_unit == 0};
    if (old_unit != 0) [[likely]] {
      plan.show_old(view, old_unit);
      if (plan.touch_copy) {
        // The value lives on in the copy: nothing ended here.
        view.record_at(old_unit).rm.store_release(layout::EventWord::make(layout::EventWord::kNone, 0, 0));
        retire(context, old_unit);
      } else {
        retire_replaced(context, old_unit, write.block.unit);  // S7
      }
    }
    if (deadline.is_set()) lower_behind(view, bucket, deadline);  // S8
    if (!plan.touch_copy) context.count(layout::kSets);
    return written;
  }
  return write.give_up(Errc::corrupt);
}

}  // namespace

namespace {

/// The caller's result of a write.
Result<WriteResult> result_of(const Result<Written>& written) noexcept {
  if (!written) [[unlikely]] return written.error();
  return Result<WriteResult>{std::in_place, written->version, written->event(), written->created, std::nullopt};
}

template <bool kTimed>
[[gnu::noinline]] Result<WriteResult> set_bare(Context& context, KeyView key, ValueView value, Ttl ttl) noexcept {
  BareSet<kTimed> plan{key, value, ttl};
  if (check_sizes(*context.view, plan.parts()) != Errc::ok) [[unlikely]] return size_refusal(*context.view, plan.parts());
  return result_of(write_by(context, key, plan));
}

[[gnu::noinline]] Result<WriteResult> set_with_options(Context& context, KeyView key, ValueView value,
                                                       const SetOptions& options) noexcept {
  // An infinite cost would outlive every other key, and spoil every sum it gets into.
  if (options.cost && !(*options.cost > 0 && std::isfinite(*options.cost))) return base::refusal(base::Rule::cost);
  if (options.metadata.size() > kMetadataFieldsMax) return base::refusal(base::Rule::fields, kMetadataFieldsMax);
  if (options.depends_on.size() > kDependenciesMax) return base::refusal(base::Rule::parents, kDependenciesMax);
  // The one cycle that can be seen without a walk through other keys.
  if (std::find(options.depends_on.begin(), options.depends_on.end(), key) != options.depends_on.end()) {
    return base::refusal(base::Rule::own_parent);
  }
  PlainSet plan{key, value, options};
  if (check_sizes(*context.view, plan.parts()) != Errc::ok) return size_refusal(*context.view, plan.parts());
  std::string old_value;
  if (options.return_old) plan.old_value = &old_value;
  Result<WriteResult> result = result_of(write_by(context, key, plan));
  if (options.return_old && result && !result->created) result->old_value = std::move(old_value);
  return result;
}

}  // namespace

Result<WriteResult> write_record(Context& context, KeyView key, WritePlan& plan) noexcept {
  return result_of(write_by(context, key, plan));
}

Result<WriteResult> set_record(Context& context, KeyView key, ValueView value, const SetOptions& options) noexcept {
  if (!without_options(options)) return set_with_options(context, key, value, options);
  if (options.ttl) return set_bare<true>(context, key, value, *options.ttl);
  return set_bare<false>(context, key, value, Ttl{});
}

}  // namespace cachee::shm
