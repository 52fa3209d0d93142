// EventSource: the event that a handler runs for, field by field and only when asked.
//
// Two kinds: ViewEvent reads in place from the segment, DataEvent from an event that was copied
// out (retry store, dead letters, `TRIGGER TEST`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cachee/maintain.hpp>
#include <cachee/types.hpp>

#include "core/event_data.hpp"

namespace cachee::daemon {

class EventSource {
 public:
  virtual ~EventSource() = default;
  [[nodiscard]] virtual EventKind kind() const noexcept = 0;
  [[nodiscard]] virtual Cause cause() const noexcept = 0;
  [[nodiscard]] virtual std::string_view key() const noexcept = 0;
  [[nodiscard]] virtual std::string_view value() const noexcept = 0;
  [[nodiscard]] virtual std::optional<std::string_view> old_value() const noexcept = 0;
  /// Valid as long as the event's bytes.
  virtual void metadata(MetadataViews& out) const = 0;
  [[nodiscard]] virtual double cost() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t version() const noexcept = 0;
  [[nodiscard]] virtual std::int64_t timestamp_wall_us() const noexcept = 0;
  [[nodiscard]] virtual std::optional<std::int64_t> deadline_wall_us() const noexcept = 0;
  [[nodiscard]] virtual std::optional<std::int64_t> ttl_ms() const noexcept = 0;
  [[nodiscard]] virtual std::int64_t lag_us() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t age_ms() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t hits() const noexcept = 0;
  [[nodiscard]] virtual std::uint32_t attempt() const noexcept = 0;
  [[nodiscard]] virtual bool duplicate() const noexcept = 0;
  [[nodiscard]] virtual Provenance provenance() const noexcept = 0;
  [[nodiscard]] virtual Role origin_role() const noexcept = 0;
  [[nodiscard]] virtual std::int32_t origin_pid() const noexcept = 0;
  virtual void origin_client(std::string& out) const = 0;
  virtual void origin_instance(std::string& out) const = 0;
  /// The event's own id.
  virtual void id(std::string& out) const = 0;
  /// Text of another event's id, of the same segment, by its number.
  virtual void id_of(std::uint64_t number, std::string& out) const = 0;
};

/// In place; the view and the reader must outlive it.
class ViewEvent final : public EventSource {
 public:
  ViewEvent(const EventView& view, const EventReader& reader, std::uint32_t attempt,
            bool duplicate) noexcept
      : view_{view}, reader_{reader}, attempt_{attempt}, duplicate_{duplicate} {}
  [[nodiscard]] EventKind kind() const noexcept override { return view_.kind; }
  [[nodiscard]] Cause cause() const noexcept override { return view_.cause; }
  [[nodiscard]] std::string_view key() const noexcept override { return view_.key; }
  [[nodiscard]] std::string_view value() const noexcept override { return view_.value; }
  [[nodiscard]] std::optional<std::string_view> old_value() const noexcept override;
  void metadata(MetadataViews& out) const override;
  [[nodiscard]] double cost() const noexcept override;
  [[nodiscard]] std::uint64_t version() const noexcept override;
  [[nodiscard]] std::int64_t timestamp_wall_us() const noexcept override;
  [[nodiscard]] std::optional<std::int64_t> deadline_wall_us() const noexcept override;
  [[nodiscard]] std::optional<std::int64_t> ttl_ms() const noexcept override;
  [[nodiscard]] std::int64_t lag_us() const noexcept override;
  [[nodiscard]] std::uint64_t age_ms() const noexcept override;
  [[nodiscard]] std::uint64_t hits() const noexcept override;
  [[nodiscard]] std::uint32_t attempt() const noexcept override { return attempt_; }
  [[nodiscard]] bool duplicate() const noexcept override { return duplicate_; }
  [[nodiscard]] Provenance provenance() const noexcept override;
  [[nodiscard]] Role origin_role() const noexcept override;
  [[nodiscard]] std::int32_t origin_pid() const noexcept override;
  void origin_client(std::string& out) const override;
  void origin_instance(std::string& out) const override;
  void id(std::string& out) const override;
  void id_of(std::uint64_t number, std::string& out) const override;

 private:
  const EventView& view_;
  const EventReader& reader_;
  std::uint32_t attempt_;
  bool duplicate_;
};

/// Owned elsewhere; the data must outlive it.
class DataEvent final : public EventSource {
 public:
  explicit DataEvent(const EventData& data) noexcept : data_{data} {}
  [[nodiscard]] EventKind kind() const noexcept override { return data_.kind; }
  [[nodiscard]] Cause cause() const noexcept override { return data_.cause; }
  [[nodiscard]] std::string_view key() const noexcept override { return data_.key; }
  [[nodiscard]] std::string_view value() const noexcept override { return data_.value; }
  [[nodiscard]] std::optional<std::string_view> old_value() const noexcept override {
    return data_.old_value;
  }
  void metadata(MetadataViews& out) const override { out.assign(data_.metadata.begin(), data_.metadata.end()); }
  [[nodiscard]] double cost() const noexcept override { return data_.cost; }
  [[nodiscard]] std::uint64_t version() const noexcept override { return data_.version; }
  [[nodiscard]] std::int64_t timestamp_wall_us() const noexcept override {
    return data_.timestamp_wall_us;
  }
  [[nodiscard]] std::optional<std::int64_t> deadline_wall_us() const noexcept override {
    return data_.deadline_wall_us;
  }
  [[nodiscard]] std::optional<std::int64_t> ttl_ms() const noexcept override {
    return data_.ttl_ms;
  }
  [[nodiscard]] std::int64_t lag_us() const noexcept override { return data_.lag_us; }
  [[nodiscard]] std::uint64_t age_ms() const noexcept override { return data_.age_ms; }
  [[nodiscard]] std::uint64_t hits() const noexcept override { return data_.hits; }
  [[nodiscard]] std::uint32_t attempt() const noexcept override { return data_.attempt; }
  [[nodiscard]] bool duplicate() const noexcept override { return data_.duplicate; }
  [[nodiscard]] Provenance provenance() const noexcept override { return data_.provenance; }
  [[nodiscard]] Role origin_role() const noexcept override { return data_.origin_role; }
  [[nodiscard]] std::int32_t origin_pid() const noexcept override { return data_.origin_pid; }
  void origin_client(std::string& out) const override { out = data_.origin_client; }
  void origin_instance(std::string& out) const override { out = data_.origin_instance; }
  void id(std::string& out) const override { out = data_.id; }
  void id_of(std::uint64_t number, std::string& out) const override;

 private:
  const EventData& data_;
};

}  // namespace cachee::daemon
