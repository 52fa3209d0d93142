// Bytes of one version of one key: how they are built in private, and read with care.
//
// RECORD PROTOCOL
//   [RC-1] A record's key, value and extension are written while it is PRIV and unlinked, and never
//          change until its block is FREE again. `link` and the parts of the version too.
//   [RC-2] hdr: FREE -> PRIV(uid) -> {CLEAN | EV_PEND -> EV_DONE} -> RETIRED -> FREE, or PRIV ->
//          ABORTED -> FREE. The uid changes at FREE -> PRIV only and never comes back.
//   [RC-3] exp changes by CAS while linked, never once FROZEN.
//   [RC-4] EV_DONE => ev is CONFIRMED.
// Lengths read from the segment are clamped before use: another process wrote them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <cachee/options.hpp>
#include <cachee/types.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

/// What a record is built from; borrows everything.
struct RecordParts {
  KeyView key{};
  ValueView value{};
  std::string_view extension{};  // encode_extension(), or the bytes of another record's
  std::uint64_t flags = 0;
};

struct Extension {
  double cost = kCostDefault;
  Provenance provenance{};
  Metadata metadata{};
  std::vector<std::string> parents{};
};

/// False when everything has its default.
inline bool needs_extension(std::optional<double> cost, const Provenance& provenance, const Metadata& metadata,
                            const std::vector<std::string>& parents) noexcept {
  return cost || provenance.parent != 0 || provenance.chain != 0 || provenance.depth != 0 || !metadata.empty() ||
         !parents.empty();
}
/// Empty when everything has its default.
[[nodiscard]] std::string encode_extension(std::optional<double> cost, const Provenance& provenance,
                                           const Metadata& metadata, const std::vector<std::string>& parents);
/// nullopt for bytes that encode_extension() did not make.
[[nodiscard]] std::optional<Extension> decode_extension(std::string_view bytes);
[[nodiscard]] Provenance extension_provenance(std::string_view bytes) noexcept;
[[nodiscard]] double extension_cost(std::string_view bytes) noexcept;
/// Its metadata, in place. False for bytes that encode_extension() did not make.
[[nodiscard]] bool extension_fields(std::string_view bytes, MetadataViews& out);
[[nodiscard]] std::optional<std::string_view> extension_field(std::string_view bytes, std::string_view field) noexcept;

[[nodiscard]] inline std::uint64_t record_bytes(const RecordParts& parts) noexcept {
  return sizeof(Record) + base::align_up(parts.key.size(), 8) + base::align_up(parts.value.size(), 8) +
         base::align_up(parts.extension.size(), 8);
}
/// A4: everything but hdr; set_lineage() follows.
inline void fill_record(Record& record, const RecordParts& parts, layout::Deadline deadline) noexcept {
  record.ev.store_relaxed(0);
  record.rm.store_relaxed(0);
  record.exp.store_relaxed(layout::Exp::make(deadline));
  const std::uint64_t flags = parts.flags | (parts.extension.empty() ? 0 : layout::kHasExtension);
  record.lens.store_relaxed(layout::Lens::Key::make(parts.key.size()) | layout::Lens::Value::make(parts.value.size()) |
                            layout::Lens::Flags::make(flags));
  Word* payload = record.payload();
  mem::copy_in(payload, parts.key.data(), parts.key.size());
  payload += base::align_up(parts.key.size(), 8) / 8;
  mem::copy_in(payload, parts.value.data(), parts.value.size());
  payload += base::align_up(parts.value.size(), 8) / 8;
  mem::copy_in(payload, parts.extension.data(), parts.extension.size());
}

/// Versions grow by key: at least by one a write, and they follow the time since the segment was
/// made, in us. So a version also says when its value was written; it runs ahead only for a key
/// that is written more than a million times a second.
inline constexpr unsigned kVersionBits = 52;
/// What of the old record the event of a new one shows, and the version; in private like fill_record().
inline void set_lineage(Record& record, std::uint64_t prev_unit, std::uint64_t version) noexcept {
  record.link.store_relaxed(layout::LinkWord::Prev::make(prev_unit) |
                            layout::LinkWord::VersionMiddle::make(version >> 16));
  record.exp.store_relaxed(layout::Exp::VersionLow::set(record.exp.load_relaxed(), version));
  record.lens.store_relaxed(layout::Lens::VersionHigh::set(record.lens.load_relaxed(), version >> 40));
}
inline std::uint64_t prev_of(const Record& r) noexcept { return layout::LinkWord::Prev::get(r.link.load_relaxed()); }
inline std::uint64_t version_from(std::uint64_t link, std::uint64_t exp, std::uint64_t lens) noexcept {
  return layout::Exp::VersionLow::get(exp) | layout::LinkWord::VersionMiddle::get(link) << 16 |
         layout::Lens::VersionHigh::get(lens) << 40;
}
inline std::uint64_t version_of(const Record& r) noexcept {
  return version_from(r.link.load_relaxed(), r.exp.load_relaxed(), r.lens.load_relaxed());
}
/// When the value was written, in us since the segment was made.
inline std::uint64_t birth_us_of(const Record& r) noexcept { return version_of(r); }

/// Where the parts of a record are, clamped to the data region.
struct RecordBounds {
  std::uint64_t key_bytes = 0;
  std::uint64_t value_bytes = 0;
  std::uint64_t flags = 0;
  std::uint64_t value_at = 0;      // bytes from the payload
  std::uint64_t extension_at = 0;  // bytes from the payload
  bool fits = false;               // false: the lengths cannot be true
};
inline RecordBounds bounds_of(const View& view, std::uint64_t unit, std::uint64_t lens) noexcept {
  RecordBounds b;
  b.key_bytes = layout::Lens::Key::get(lens);
  b.value_bytes = layout::Lens::Value::get(lens);
  b.flags = layout::Lens::Flags::get(lens);
  b.value_at = base::align_up(b.key_bytes, 8);
  b.extension_at = b.value_at + base::align_up(b.value_bytes, 8);
  b.fits = sizeof(Record) + b.extension_at <= view.bytes_after(unit) && b.value_bytes <= view.shape.value_bytes_max;
  return b;
}
/// True when a protected record has this key.
inline bool key_equals(const View& view, std::uint64_t unit, KeyView key) noexcept {
  const Record& r = view.record_at(unit);
  const RecordBounds b = bounds_of(view, unit, r.lens.load_relaxed());
  return b.key_bytes == key.size() && b.fits && mem::equal_bytes(r.payload(), key.data(), key.size());
}
/// The key of a record that nobody keeps from reuse, read by relaxed loads: it may be torn, or another one's. The
/// caller finds out by comparing what it leads to.
class KeyCopy {
 public:
  KeyCopy(const View& view, std::uint64_t unit);
  KeyCopy(const KeyCopy&) = delete;
  KeyCopy& operator=(const KeyCopy&) = delete;
  [[nodiscard]] KeyView view() const noexcept { return {bytes_ <= sizeof short_ ? short_ : long_.data(), bytes_}; }

 private:
  char short_[64];
  std::string long_{};
  std::size_t bytes_ = 0;
};
/// The same of what a record carries beside its value; empty when there is none or the lengths cannot be true.
[[nodiscard]] std::string extension_copy(const View& view, std::uint64_t unit);
/// In place, for records that are protected or pinned by an event. Empty views when damaged.
KeyView key_in_place(const View& view, std::uint64_t unit) noexcept;
ValueView value_in_place(const View& view, std::uint64_t unit) noexcept;
std::string_view extension_in_place(const View& view, std::uint64_t unit) noexcept;

}  // namespace cachee::shm
