// Traces in the form of shared/traces/README.md: records of 12 bytes (time, key, size), little endian.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cachee::bench {

struct Request {
  std::uint32_t time_s;
  std::uint32_t key;
  std::uint32_t size;
};
static_assert(sizeof(Request) == 12);

struct Trace {
  std::string name{};
  std::vector<Request> requests{};
  std::uint32_t keys = 0;        // one more than the largest
  std::uint64_t footprint = 0;   // sum of the sizes of distinct keys
  bool sized = false;            // sizes differ: capacity is in bytes
};

/// Reads NAME.tr.xz (through xz) or NAME.tr of the folder. Ends the program when it cannot.
[[nodiscard]] Trace load_trace(const std::string& folder, const std::string& name);

/// A small trace for the test: Zipf over keys that a scan passes through now and then, so that
/// recency and frequency disagree. The same bytes on every machine.
[[nodiscard]] Trace make_trace(bool sized);

/// Recomputation costs that every harness derives alike from the key: "ln15", "two", "lnsz"; any
/// other name: 1.
[[nodiscard]] double cost_of(const std::string& model, std::uint32_t key, std::uint32_t size);

}  // namespace cachee::bench
