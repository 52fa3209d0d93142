// What supervisor and executor say to each other, as bytes. Decoders are total: bytes that the
// encoder did not make give nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cachee/triggers.hpp>

#include "core/event_data.hpp"
#include "executor/pool.hpp"

namespace cachee::daemon {

/// Supervisor to executor.
struct Order {
  enum class Kind : std::uint8_t { run_stored = 1, block = 2, unblock = 3, test = 4, run_spooled = 5 };
  Kind kind = Kind::block;
  std::uint64_t token = 0;            // run_stored, run_spooled, test
  std::uint64_t key_hash = 0;         // block, unblock, run_spooled
  std::uint32_t trigger_slot = 0;     // run_stored, run_spooled, block, unblock
  std::uint64_t reports_seen = 0;     // unblock
  std::optional<EventData> event{};   // run_stored, run_spooled, test
  std::optional<TriggerSpec> spec{};  // test: name, source and limits
};
[[nodiscard]] std::string encode(const Order& order);
[[nodiscard]] std::optional<Order> decode_order(std::string_view bytes);

/// Executor to supervisor: written to where there is room for encoded_bytes().
void encode(const RunReport& report, char* out) noexcept;
[[nodiscard]] std::size_t encoded_bytes(const RunReport& report) noexcept;
/// The same; reuses the string: one allocation for many reports.
void encode(const RunReport& report, std::string& out);
/// The report borrows from `bytes`.
[[nodiscard]] std::optional<RunReport> decode_report(std::string_view bytes) noexcept;

}  // namespace cachee::daemon
