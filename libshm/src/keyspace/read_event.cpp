// ON_READ: the event owns a copy of what was read.
#include "eviction/eviction.hpp"
#include "keyspace/operation.hpp"
#include "mem/crash_point.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Act;
using layout::Hdr;
using layout::RecordState;

namespace {

void abort_read(Context& context, Record& record, const Block& block) noexcept {
  const std::uint64_t aborted = Hdr::make(block.uid, RecordState::aborted);
  if (record.hdr.cas(Hdr::make(block.uid, RecordState::ev_pend), aborted)) context.retired.push_back({block.unit, aborted, 0});
}

}  // namespace

Errc emit_read(Context& context, KeyView key, const ReadRecord& read, const Interest& interest) noexcept {
  const View& view = *context.view;
  if (!admit(context, interest, EventKind::read)) return Errc::full;
  Operation operation{context, Act::read_event, view.bucket_of(view.hash(key))};
  const RecordParts parts{key, read.value, read.extension, layout::kReadClone};
  Block block = allocate(context, record_bytes(parts));
  if (block.unit == 0 && make_room(context, record_bytes(parts)) == Room::freed) block = allocate(context, record_bytes(parts));
  if (block.unit == 0) return Errc::no_space;
  Record& record = *view.record(block.unit);
  fill_record(record, parts, read.deadline);
  set_lineage(record, 0, read.version);
  CACHEE_CRASH_POINT("keyspace.read.filled");
  // Ready for helpers: the decision, then the append, as for any creation.
  if (!pay_debt(context, block.unit, &interest)) {
    // A full ring in spite of admission: no cell names the clone, so it may go unseen.
    abort_read(context, record, block);
    return Errc::full;
  }
  record.rm.store_release(layout::EventWord::make(layout::EventWord::kNone, 0, 0));
  retire(context, block.unit);
  return Errc::ok;
}

Result<void> get_and_tell(Context& context, KeyView key, std::uint64_t hash, ReadTarget& target) {
  const View& view = *context.view;
  const Interest interest = match_triggers(view, key);
  if (!interest.wants(EventKind::read)) return get_record(view, &context, key, hash, target);
  std::string value;
  std::string extension;
  ReadTarget whole;
  whole.value = target.value != nullptr ? target.value : &value;
  whole.extension = target.extension != nullptr ? target.extension : &extension;
  if (const auto found = get_record(view, &context, key, hash, whole); !found) return found;
  target.version = whole.version;
  target.deadline = whole.deadline;
  target.record_bytes = whole.record_bytes;
  const Errc told = emit_read(context, key, {*whole.value, *whole.extension, whole.version, whole.deadline}, interest);
  return told == Errc::ok ? Result<void>{} : Result<void>{told};
}

}  // namespace cachee::shm
