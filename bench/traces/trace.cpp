#include "traces/trace.hpp"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numbers>
#include <random>

#include "workload/keeper.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {
namespace {

void measure(Trace& trace) {
  std::vector<bool> seen;
  trace.footprint = 0;
  for (const Request& r : trace.requests) {
    if (r.key >= seen.size()) seen.resize(std::size_t{r.key} + 1);
    if (seen[r.key]) continue;
    seen[r.key] = true;
    trace.footprint += r.size;
    trace.sized = trace.sized || r.size != 1;
  }
  trace.keys = static_cast<std::uint32_t>(seen.size());
}

/// The finaliser of MurmurHash3 for 64 bits.
std::uint64_t finalise(std::uint64_t x) noexcept {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
  return x ^ x >> 33;
}

}  // namespace

Trace load_trace(const std::string& folder, const std::string& name) {
  Trace trace;
  trace.name = name;
  const std::string plain = folder + "/" + name + ".tr";
  const std::string packed = plain + ".xz";
  const bool is_plain = std::filesystem::exists(plain);
  if (!is_plain && !std::filesystem::exists(packed)) die("no " + packed);
  // A name of ours in a folder of the caller: quoted, as it may hold spaces.
  const std::string command = "xz -dc '" + packed + "'";
  std::FILE* const file = is_plain ? std::fopen(plain.c_str(), "rb") : popen(command.c_str(), "r");
  if (file == nullptr) die("cannot read " + (is_plain ? plain : packed));
  Request block[4096];
  for (std::size_t n = 0; (n = std::fread(block, sizeof(Request), std::size(block), file)) > 0;) {
    trace.requests.insert(trace.requests.end(), block, block + n);
  }
  if ((is_plain ? std::fclose(file) : pclose(file)) != 0 || trace.requests.empty()) die(packed + " is damaged, or xz is not installed");
  measure(trace);
  return trace;
}

Trace make_trace(bool sized) {
  constexpr std::uint32_t kKeys = 8000;
  constexpr std::uint32_t kRequests = 120000;
  constexpr std::uint32_t kScanEvery = 12;
  Trace trace;
  trace.name = sized ? "synthetic-sized" : "synthetic";
  std::mt19937_64 random{20240607};
  const Zipf zipf{kKeys};
  std::uint32_t scan = kKeys;
  for (std::uint32_t i = 0; i < kRequests; ++i) {
    const double u = static_cast<double>(random() >> 11) * 0x1.0p-53;
    // A third of the keys change places half-way: what was hot is not for ever.
    std::uint32_t key = static_cast<std::uint32_t>(zipf.rank(u));
    if (i > kRequests / 2 && key % 3 == 0) key = kKeys - 1 - key;
    if (i % kScanEvery == 0) key = scan++;
    trace.requests.push_back({i / 1000, key, sized ? static_cast<std::uint32_t>(1000 + finalise(key) % 9000) : 1});
  }
  measure(trace);
  return trace;
}

double cost_of(const std::string& model, std::uint32_t key, std::uint32_t size) {
  const std::uint64_t k = key;
  if (model == "two") return finalise(k) % 10 == 0 ? 100 : 1;
  if (model != "ln15" && model != "lnsz") return 1;
  const double u1 = (static_cast<double>(finalise(2 * k + 1) >> 11) + 1) * 0x1.0p-53;
  const double u2 = static_cast<double>(finalise(2 * k + 77777) >> 11) * 0x1.0p-53;
  const double z = std::sqrt(-2 * std::log(u1)) * std::cos(2 * std::numbers::pi * u2);
  return model == "ln15" ? std::exp(1.5 * z) : std::exp(z) * std::sqrt(static_cast<double>(size));
}

}  // namespace cachee::bench
