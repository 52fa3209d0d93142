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

void emit_read(Context& context, KeyView key, const Interest& interest) noexcept {
  const View& view = *context.view;
  if (!admit(context, interest, EventKind::read)) return;
  std::string value;
  std::string extension;
  ReadTarget target;
  target.value = &value;
  target.extension = &extension;
  if (!get_record(view, nullptr, key, target)) return;
  Operation operation{context, Act::read_event, view.bucket_of(view.hash(key))};
  const RecordParts parts{key, value, extension, layout::kReadClone};
  Block block = allocate(context, record_bytes(parts));
  if (block.unit == 0 && make_room(context, record_bytes(parts)) == Room::freed) block = allocate(context, record_bytes(parts));
  if (block.unit == 0) return;
  Record& record = *view.record(block.unit);
  fill_record(record, parts, target.deadline_ms);
  set_lineage(record, 0, target.version);
  CACHEE_CRASH_POINT("keyspace.read.filled");
  // Ready for helpers: the decision, then the append, as for any creation.
  if (!pay_debt(context, block.unit, &interest)) {
    // A full ring in spite of admission: no cell names the clone, so it may go unseen.
    abort_read(context, record, block);
    return;
  }
  record.rm.store_release(layout::EventWord::make(layout::EventWord::kNone, 0, 0));
  retire(context, block.unit);
}

}  // namespace cachee::shm
