// Claim: however a command file is cut, the same commands and errors come from it; and a word that
// quote_word() wrote, or a text that heredoc_or_quoted() wrote, reads back as the same bytes.
// The first byte chooses how the rest is cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "control/command_text.hpp"

namespace {

using cachee::daemon::CommandReader;

constexpr std::size_t kCommandBytesMax = 256;

struct Seen {
  std::vector<std::vector<std::string>> commands{};
  std::vector<std::size_t> lines{};
  std::size_t errors = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};

void drain(CommandReader& reader, Seen& seen) {
  for (;;) {
    auto step = reader.next();
    if (step.kind == CommandReader::Kind::command) {
      seen.commands.push_back(std::move(step.words));
    } else if (step.kind == CommandReader::Kind::error) {
      ++seen.errors;
    } else {
      return;
    }
    seen.lines.push_back(step.line);
  }
}

Seen read_in_pieces(std::string_view text, std::size_t piece, std::size_t bytes_max) {
  CommandReader reader{bytes_max};
  Seen seen;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    reader.feed(text.substr(at, piece));
    drain(reader, seen);
  }
  reader.finish();
  drain(reader, seen);
  return seen;
}

void check_round_trip(std::string_view word) {
  const std::vector<std::string> expected{"X", std::string{word}};
  for (const std::string& written :
       {cachee::daemon::quote_word(word), cachee::daemon::heredoc_or_quoted(word)}) {
    const std::string text = "X " + written + "\n";
    const Seen seen = read_in_pieces(text, text.size(), cachee::daemon::kCommandTextBytesMax);
    if (seen.errors != 0 || seen.commands.size() != 1 || seen.commands[0] != expected) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text{reinterpret_cast<const char*>(data) + 1, size - 1};
  const Seen whole = read_in_pieces(text, text.size() + 1, kCommandBytesMax);
  const Seen pieces = read_in_pieces(text, 1 + data[0] % 32, kCommandBytesMax);
  if (!(whole == pieces)) std::abort();
  check_round_trip(text);
  return 0;
}
