// Claim: however the bytes are cut, the RESP parser takes the same requests from them, ends in the
// same verdict, and holds no more memory than a small multiple of what it was fed.
// The first byte chooses how the rest is cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "control/resp.hpp"

namespace {

using cachee::daemon::resp::RequestLimits;
using cachee::daemon::resp::RequestParser;

constexpr RequestLimits kLimits{1024, 8192};

struct Seen {
  std::vector<std::vector<std::string>> requests{};
  bool failed = false;
};

void drain(RequestParser& parser, Seen& seen) {
  for (;;) {
    switch (parser.next()) {
      case RequestParser::Status::need_more: return;
      case RequestParser::Status::error: seen.failed = true; return;
      case RequestParser::Status::refused: seen.requests.push_back({"refused"}); continue;
      case RequestParser::Status::request: break;
    }
    const auto arguments = parser.arguments();
    if (arguments.empty()) std::abort();
    seen.requests.emplace_back(arguments.begin(), arguments.end());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 32;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  Seen whole;
  RequestParser at_once{kLimits};
  at_once.feed(bytes);
  drain(at_once, whole);
  Seen pieces;
  RequestParser in_pieces{kLimits};
  for (std::size_t at = 0; at < bytes.size() && !pieces.failed; at += piece) {
    in_pieces.feed(bytes.substr(at, piece));
    drain(in_pieces, pieces);
    if (in_pieces.memory_bytes() > 4096 + 4 * bytes.size()) std::abort();
  }
  if (whole.requests != pieces.requests || whole.failed != pieces.failed) std::abort();
  return 0;
}
