#include "script/event_source.hpp"

namespace cachee::daemon {

std::optional<std::string_view> ViewEvent::old_value() const noexcept { return view_.old_value(); }
void ViewEvent::metadata(MetadataViews& out) const { view_.metadata_views(out); }
double ViewEvent::cost() const noexcept { return view_.cost(); }
std::uint64_t ViewEvent::version() const noexcept { return view_.version(); }
std::int64_t ViewEvent::timestamp_wall_us() const noexcept { return view_.timestamp_wall_us(); }
std::optional<std::int64_t> ViewEvent::deadline_wall_us() const noexcept {
  return view_.deadline_wall_us();
}
std::optional<std::int64_t> ViewEvent::ttl_ms() const noexcept { return view_.ttl_ms(); }
std::int64_t ViewEvent::lag_us() const noexcept { return view_.lag_us(); }
std::uint64_t ViewEvent::age_ms() const noexcept { return view_.age_ms(); }
std::uint64_t ViewEvent::hits() const noexcept { return view_.hits(); }
Provenance ViewEvent::provenance() const noexcept { return view_.provenance(); }
Role ViewEvent::origin_role() const noexcept { return view_.origin_role(); }
std::int32_t ViewEvent::origin_pid() const noexcept { return view_.origin_pid(); }
void ViewEvent::origin_client(std::string& out) const { out = view_.origin_client(); }
void ViewEvent::origin_instance(std::string& out) const { out = reader_.segment_name(); }
void ViewEvent::id(std::string& out) const { out = reader_.event_id(view_.seq.value + 1); }
void ViewEvent::id_of(std::uint64_t number, std::string& out) const {
  out = reader_.event_id(number);
}

}  // namespace cachee::daemon
