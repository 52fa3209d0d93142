// View: the mapped bytes as typed regions. The only place that turns an offset of the segment into
// an address; it checks range and alignment, since another process wrote the offset.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "layout/geometry.hpp"
#include "layout/index_layout.hpp"
#include "layout/record_layout.hpp"
#include "layout/ring_layout.hpp"
#include "layout/segment_header.hpp"
#include "layout/slab_layout.hpp"
#include "layout/trigger_layout.hpp"

namespace cachee::shm {

using layout::Bucket;
using layout::Cell;
using layout::Client;
using layout::Deadline;
using layout::Heat;
using layout::OverflowBucket;
using layout::Record;
using layout::SegmentHeader;
using mem::Word;

struct View {
  std::byte* base = nullptr;
  SegmentHeader* header = nullptr;
  layout::Shape shape{};  // private copy: checked once at attach
  Client* clients = nullptr;
  Bucket* buckets = nullptr;
  OverflowBucket* overflow = nullptr;
  Word* overflow_owners = nullptr;
  Heat* heat = nullptr;
  layout::Ghost* ghost = nullptr;
  Word* samples = nullptr;
  Word* minima = nullptr;
  layout::LanePage* lanes = nullptr;
  Cell* ring = nullptr;
  Word* tables[2] = {nullptr, nullptr};
  layout::TriggerCounters* counters = nullptr;
  layout::Journal* journal = nullptr;
  Word* pages = nullptr;
  Word* free_bits = nullptr;
  Word* hint_bits = nullptr;
  Word* available = nullptr;
  std::uint64_t data_begin = 0;  // in units of 8 bytes
  std::uint64_t data_end = 0;
  std::uint64_t record_span = 0;      // units from the first to the last place where a record fits
  const std::byte* data_limit = nullptr;  // address of data_end
  unsigned page_unit_bits = 0;        // a page has 2^page_unit_bits units
  std::uint64_t bit_words = 0;        // per page
  std::uint64_t available_words = 0;  // per class
  std::uint64_t hash_seed = 0;
  std::uint64_t created_mono_ns = 0;
  layout::MinimaLevels levels{};
  bool writable = false;

  /// Fills everything from a header that attach() found good.
  void bind(std::byte* at, const layout::Shape& checked, bool can_write) noexcept;

  std::uint64_t hash(std::string_view key) const noexcept { return base::hash_bytes(key, hash_seed); }
  std::uint64_t bucket_of(std::uint64_t hash_value) const noexcept {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(hash_value) * shape.bucket_count) >> 64);
  }
  static std::uint64_t tag_of(std::uint64_t hash_value) noexcept { return hash_value & 0xffff; }

  /// False for an offset that no record can have.
  bool is_record(std::uint64_t unit) const noexcept { return unit - data_begin <= record_span; }
  /// nullptr for an offset that no record can have.
  Record* record(std::uint64_t unit) const noexcept {
    return is_record(unit) ? &record_at(unit) : nullptr;
  }
  /// For a unit that is_record(), or that comes from page and block numbers of this shape.
  Record& record_at(std::uint64_t unit) const noexcept {
    return *reinterpret_cast<Record*>(base + unit * layout::kOffsetUnit);
  }
  std::uint64_t unit_of(const Record* r) const noexcept {
    return static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(r) - base) / layout::kOffsetUnit;
  }
  /// Bytes from a record to the end of the data: no read may pass them.
  std::uint64_t bytes_after(std::uint64_t unit) const noexcept { return (data_end - unit) * layout::kOffsetUnit; }
  std::uint64_t page_of(std::uint64_t unit) const noexcept {
    return (unit - data_begin) >> page_unit_bits;
  }
  std::uint64_t page_unit(std::uint64_t page) const noexcept {
    return data_begin + (page << page_unit_bits);
  }
  Cell& cell(std::uint64_t position) const noexcept { return ring[position & (shape.ring_events - 1)]; }
  std::uint64_t ms_since_created(TimeNs mono) const noexcept {
    const auto origin = static_cast<TimeNs>(created_mono_ns);
    return mono <= origin ? 0 : static_cast<std::uint64_t>((mono - origin) / base::kNsPerMs);
  }
};

}  // namespace cachee::shm
