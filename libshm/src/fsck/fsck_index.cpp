// fsck: slots, chains, announcements, and the records that slots name.
#include "fsck/checker.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "record/record.hpp"

namespace cachee::shm {

using layout::EventWord;
using layout::Hdr;
using layout::Ins;
using layout::Link;
using layout::Mark;
using layout::RecordState;
using layout::Slot;

void Checker::check_index() {
  for (std::uint64_t b = 0; b < view_.shape.bucket_count; ++b) check_chain(b);
  for (std::uint64_t b = 0; b < view_.shape.bucket_count; ++b) check_announcement(b);
  for (std::uint64_t o = 0; report_.quiescent && o < view_.shape.overflow_count; ++o) {
    if (view_.overflow_owners[o].load_acquire() != 0 && !chained_[o]) {
      find("[IX-6]", &view_.overflow_owners[o], "an overflow bucket is owned but in no chain");
    }
  }
}

void Checker::check_chain(std::uint64_t bucket) {
  ++report_.buckets;
  std::unordered_set<std::string> keys;
  for (const Word& slot : view_.buckets[bucket].slots) check_slot(bucket, slot, keys);
  std::uint64_t o = Link::Overflow::get(view_.buckets[bucket].link.load_acquire());
  for (unsigned n = 1; o != 0; ++n) {
    if (o > view_.shape.overflow_count || n >= layout::kChainBucketsMax || chained_[o - 1]) {
      return find("[IX-6]", &view_.buckets[bucket].link, "the chain of bucket " + std::to_string(bucket) + " is damaged");
    }
    chained_[o - 1] = true;
    const Word& owner = view_.overflow_owners[o - 1];
    if (layout::OverflowOwner::BucketPlusOne::get(owner.load_acquire()) != bucket + 1) {
      find("[IX-6]", &owner, "an overflow bucket's owner is not its chain");
    }
    for (const Word& slot : view_.overflow[o - 1].slots) check_slot(bucket, slot, keys);
    o = Link::Overflow::get(view_.overflow[o - 1].link.load_acquire());
  }
}

void Checker::check_slot(std::uint64_t bucket, const Word& slot, std::unordered_set<std::string>& keys) {
  const std::uint64_t word = slot.load_acquire();
  if (!Slot::occupied(word)) {
    // 0: never used. Else the uid of what went last.
    if (word != 0 && !given_out(word)) find("[IX-4]", &slot, "an empty slot's word is no uid");
    return;
  }
  const std::uint64_t unit = Slot::Offset::get(word);
  std::uint64_t block_bytes = 0;
  if (!is_block(unit, block_bytes)) return find("[IX-5]", &slot, "slot names no block");
  if (!linked_.insert(unit)) find("[IX-1]", &slot, "a record stands in two slots");
  const Record& r = *view_.record(unit);
  if (Slot::mark(word) != Mark::live) return check_marked(bucket, slot, word, r);
  check_linked(bucket, r);
  check_record(bucket, unit, slot, block_bytes, keys);
}

void Checker::check_marked(std::uint64_t bucket, const Word& slot, std::uint64_t word, const Record& r) {
  marked_.insert(Slot::Offset::get(word));
  const std::uint64_t exp = r.exp.load_acquire();
  if (slot.load_acquire() != word) return;  // it went on: what was read may be of another record
  if (Slot::mark(word) == Mark::exp) {
    if ((exp & layout::Exp::kFrozen) == 0) find("[RC-3]", &r, "an expired record's deadline may still change");
    // The wall clock may have been set back since.
    if (!layout::Exp::deadline(exp).is_wall() && !deadline_passed(exp)) find("[EX-2]", &slot, "a record expired before its deadline");
  }
  if (!report_.quiescent) return;
  const auto removal = EventWord::state(r.rm.load_acquire());
  // An EXP mark may wait for room for the record's own event first [KS-1].
  const bool creation_waits = Slot::mark(word) == Mark::exp && removal == EventWord::kUnset &&
                              Hdr::state(r.hdr.load_acquire()) == RecordState::ev_pend;
  if (removal != EventWord::kPending && removal != EventWord::kProposed && !creation_waits) {
    find("[KS-3]", &slot, "a removal was left unfinished");
  } else if (Link::Deadline::get(view_.buckets[bucket].link.load_acquire()) != 0) {
    find("[KS-6]", &view_.buckets[bucket].link, "no sweep will look at an unpaid removal");
  }
}

void Checker::check_linked(std::uint64_t bucket, const Record& r) {
  const RecordState state = Hdr::state(r.hdr.load_acquire());
  const auto creation = EventWord::state(r.ev.load_acquire());
  const bool settled = state == RecordState::clean || state == RecordState::ev_done;
  const bool owes = state == RecordState::ev_pend;
  if (!settled && !owes && state != RecordState::priv) {
    // Retired as well: that a running client is about to unlink it, only a moment of quiet excludes.
    if (report_.quiescent || state == RecordState::aborted) {
      find("[KS-1]", &r, "a linked record is in state " + std::to_string(static_cast<int>(state)));
    }
    return;
  }
  if (state == RecordState::ev_done && creation != EventWord::kConfirmed) {
    find("[RC-4]", &r, "a record's event is done but has no place");
  }
  if (!report_.quiescent) return;
  if (state == RecordState::priv) find("[KS-2]", &r, "nobody decided whether a record owes an event");
  if (state == RecordState::clean && (creation == EventWord::kProposed || creation == EventWord::kConfirmed)) {
    find("[KS-2]", &r, "a record that owes no event has a place in the ring");
  }
  if (owes && Link::Deadline::get(view_.buckets[bucket].link.load_acquire()) != 0) {
    find("[KS-6]", &view_.buckets[bucket].link, "no sweep will look at an unpaid event");
  }
  if (settled && EventWord::state(r.rm.load_acquire()) != EventWord::kUnset) find("[KS-3]", &r, "a live record has a removal");
}

void Checker::check_record(std::uint64_t bucket, std::uint64_t unit, const Word& slot, std::uint64_t block_bytes,
                           std::unordered_set<std::string>& keys) {
  const std::uint64_t word = slot.load_acquire();
  const Record& r = *view_.record(unit);
  const RecordBounds b = bounds_of(view_, unit, r.lens.load_relaxed());
  if (!b.fits || sizeof(Record) + b.extension_at > block_bytes) return find("[RC-1]", &r, "a record's lengths exceed its block");
  if ((b.flags & layout::kHasExtension) != 0) {
    const std::string extension = extension_copy(view_, unit);
    const bool inside = sizeof(Record) + b.extension_at + extension.size() <= block_bytes;
    if ((extension.empty() || !inside || !decode_extension(extension)) && slot.load_acquire() == word) {
      find("[RC-1]", &r, "what a record carries beside its value cannot be read");
    }
  }
  const std::string key{KeyCopy{view_, unit}.view()};
  if (slot.load_acquire() != word) return;  // replaced meanwhile: the bytes may be another record's
  const std::uint64_t hash = view_.hash(key);
  if (view_.bucket_of(hash) != bucket || View::tag_of(hash) != Slot::Tag::get(word)) find("[IX-5]", &slot, "tag or bucket is not that of the key");
  if (!keys.insert(key).second) find("[IX-1]", &slot, "a key stands twice in its chain");
  ++report_.records;
}

void Checker::check_announcement(std::uint64_t bucket) {
  const Word& ins = view_.buckets[bucket].ins;
  const std::uint64_t word = ins.load_acquire();
  if (!Ins::busy(word)) {
    if (word != 0 && !given_out(word)) find("[IX-4]", &ins, "an idle announcement's word is no uid");
    return;
  }
  if (report_.quiescent) find("[IX-2]", &ins, "an insertion was left announced");
  ChainWalk walk{view_, bucket};
  while (walk.next()) {
    const std::uint64_t slot = walk.slot().load_acquire();
    const bool marked = Slot::occupied(slot) && Slot::mark(slot) != Mark::live;
    if (marked && Slot::Offset::get(slot) == Ins::Offset::get(word) && ins.load_acquire() == word) {
      find("[IX-3]", &walk.slot(), "a record was removed while its insertion was announced");
    }
  }
}

}  // namespace cachee::shm
