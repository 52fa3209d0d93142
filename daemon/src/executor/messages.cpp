#include "executor/messages.hpp"

#include <cstring>

#include "core/bytes.hpp"

namespace cachee::daemon {
namespace {

constexpr std::uint8_t kVersion = 1;

/// The fixed part of a report; the texts follow in this order.
struct ReportHead {
  std::uint64_t seq;
  std::uint64_t token;
  std::uint64_t key_hash;
  std::uint64_t trigger_id;
  std::uint64_t steps;
  std::uint64_t memory_peak;
  std::uint64_t run_ns;
  std::int64_t lag_us;
  std::uint32_t trigger_slot;
  std::uint32_t attempt;
  std::uint32_t error_bytes;
  std::uint32_t traceback_bytes;
  std::uint32_t effects_bytes;
  std::uint8_t status;
  std::uint8_t last;
  std::uint8_t duplicate;
  std::uint8_t reserved;
};
static_assert(sizeof(ReportHead) == 88);

}  // namespace

std::string encode(const Order& order) {
  ByteWriter out{kVersion};
  out.put(static_cast<std::uint8_t>(order.kind));
  out.put(order.token);
  out.put(order.key_hash);
  out.put(order.trigger_slot);
  out.put(order.reports_seen);
  out.put_string(order.event ? encode(*order.event) : std::string{});
  if (order.kind == Order::Kind::test) {
    const TriggerSpec spec = order.spec.value_or(TriggerSpec{});
    out.put_string(spec.name);
    out.put_string(spec.source);
    out.put(spec.timeout_ms);
    out.put(spec.memory_bytes);
    out.put(spec.steps);
  }
  return out.finish();
}

std::optional<Order> decode_order(std::string_view bytes) {
  ByteReader in{bytes, kVersion};
  Order order;
  const auto kind = in.get<std::uint8_t>();
  order.kind = static_cast<Order::Kind>(kind);
  order.token = in.get<std::uint64_t>();
  order.key_hash = in.get<std::uint64_t>();
  order.trigger_slot = in.get<std::uint32_t>();
  order.reports_seen = in.get<std::uint64_t>();
  const std::string event{in.get_string()};
  if (order.kind == Order::Kind::test) {
    TriggerSpec spec;
    spec.name = in.get_string();
    spec.source = in.get_string();
    spec.timeout_ms = in.get<std::uint32_t>();
    spec.memory_bytes = in.get<std::uint64_t>();
    spec.steps = in.get<std::uint64_t>();
    order.spec = std::move(spec);
  }
  if (!in.finish() || kind < 1 || kind > 5) return std::nullopt;
  if (order.kind == Order::Kind::run_stored || order.kind == Order::Kind::run_spooled || order.kind == Order::Kind::test) {
    order.event = decode_event(event);
    if (!order.event) return std::nullopt;
  }
  return order;
}

std::size_t encoded_bytes(const RunReport& report) noexcept {
  return sizeof(ReportHead) + report.error.size() + report.traceback.size() + report.effects.size();
}

void encode(const RunReport& report, char* out) noexcept {
  ReportHead head{};
  head.seq = report.seq.value;
  head.token = report.token;
  head.key_hash = report.key_hash;
  head.trigger_id = report.trigger_id;
  head.steps = report.steps;
  head.memory_peak = report.memory_peak;
  head.run_ns = report.run_ns;
  head.lag_us = report.lag_us;
  head.trigger_slot = report.trigger_slot;
  head.attempt = report.attempt;
  head.error_bytes = static_cast<std::uint32_t>(report.error.size());
  head.traceback_bytes = static_cast<std::uint32_t>(report.traceback.size());
  head.effects_bytes = static_cast<std::uint32_t>(report.effects.size());
  head.status = static_cast<std::uint8_t>(report.status);
  head.last = report.last ? 1 : 0;
  head.duplicate = report.duplicate ? 1 : 0;
  std::memcpy(out, &head, sizeof head);
  out += sizeof head;
  for (const std::string_view text : {report.error, report.traceback, report.effects}) {
    if (text.empty()) continue;  // nearly always
    std::memcpy(out, text.data(), text.size());
    out += text.size();
  }
}

void encode(const RunReport& report, std::string& out) {
  out.resize(encoded_bytes(report));
  encode(report, out.data());
}

std::optional<RunReport> decode_report(std::string_view bytes) noexcept {
  ReportHead head;
  if (bytes.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, bytes.data(), sizeof head);
  const std::uint64_t texts =
      std::uint64_t{head.error_bytes} + head.traceback_bytes + head.effects_bytes;
  if (bytes.size() - sizeof head != texts) return std::nullopt;
  if (head.status < 1 || head.status > 5 || head.last > 1 || head.duplicate > 1)
    return std::nullopt;
  RunReport report;
  report.seq = EventSeq{head.seq};
  report.token = head.token;
  report.key_hash = head.key_hash;
  report.trigger_id = head.trigger_id;
  report.steps = head.steps;
  report.memory_peak = head.memory_peak;
  report.run_ns = head.run_ns;
  report.lag_us = head.lag_us;
  report.trigger_slot = head.trigger_slot;
  report.attempt = head.attempt;
  report.status = static_cast<RunStatus>(head.status);
  report.last = head.last == 1;
  report.duplicate = head.duplicate == 1;
  report.error = bytes.substr(sizeof head, head.error_bytes);
  report.traceback = bytes.substr(sizeof head + head.error_bytes, head.traceback_bytes);
  report.effects = bytes.substr(sizeof head + head.error_bytes + head.traceback_bytes);
  return report;
}

}  // namespace cachee::daemon
