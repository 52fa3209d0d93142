// Claim: any bytes behind a value are read as an extension or refused, and what was read encodes to
// bytes that are read the same; the shortcuts for one field agree with the whole.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "record/record.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cachee::shm;
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  const auto decoded = decode_extension(bytes);
  const double cost = extension_cost(bytes);
  if (!decoded) {
    static_cast<void>(extension_field(bytes, "field"));
    return 0;
  }
  if (std::memcmp(&cost, &decoded->cost, sizeof cost) != 0) std::abort();
  for (const auto& [name, value] : decoded->metadata) {
    const auto found = extension_field(bytes, name);
    if (!found) std::abort();
    bool among = false;  // of fields with one name the first is found
    for (const auto& [n, v] : decoded->metadata) among = among || (n == name && v == *found);
    if (!among) std::abort();
  }
  if (extension_field(bytes, "no such field \xff").has_value()) {
    bool there = false;
    for (const auto& [n, v] : decoded->metadata) there = there || n == "no such field \xff";
    if (!there) std::abort();
  }
  const std::string again = encode_extension(decoded->cost, decoded->provenance, decoded->metadata, decoded->parents);
  const auto twice = decode_extension(again);
  if (!twice || twice->metadata != decoded->metadata || twice->parents != decoded->parents ||
      twice->provenance.depth != decoded->provenance.depth) {
    std::abort();
  }
  return 0;
}
