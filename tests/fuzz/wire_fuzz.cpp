// Claim: however the bytes of a reply are cut, the client takes the same reply from them, or ends in the
// same verdict; and a length that is only claimed costs no memory.
// The first byte chooses how the rest is cut.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "wire/wire.hpp"

namespace {

using cachee::wire::Parser;
using cachee::wire::Reply;

bool same(const Reply& a, const Reply& b) {
  if (a.kind != b.kind || a.integer != b.integer || a.text != b.text || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!same(a.items[i], b.items[i])) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 32;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  Parser at_once;
  const Parser::Status whole = at_once.feed(bytes);
  Parser in_pieces;
  Parser::Status pieces = Parser::Status::need_more;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const Parser::Status before = pieces;
    pieces = in_pieces.feed(bytes.substr(at, piece));
    if (before == Parser::Status::damaged && pieces != before) std::abort();
  }
  if (whole != pieces) std::abort();
  if (whole == Parser::Status::done && !same(at_once.take(), in_pieces.take())) std::abort();
  return 0;
}
