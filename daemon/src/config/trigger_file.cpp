#include "config/trigger_file.hpp"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "control/command_text.hpp"
#include "core/trigger_options.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";
constexpr std::string_view kMark = "trigger:";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

Failure bad(std::string text) { return {Errc::invalid_argument, std::move(text)}; }

}  // namespace

Outcome<TriggerSpec> parse_trigger_file(std::string_view text, std::string_view file) {
  if (text.size() > kTriggerSourceBytesMax) {
    return bad(fmt::format("{}: larger than {}", file, format_bytes(kTriggerSourceBytesMax)));
  }
  std::vector<std::string> words;
  std::size_t header_line = 0;
  std::size_t line_number = 0;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    std::string_view line = trimmed(text.substr(start, end - start));
    start = end + 1;
    ++line_number;
    if (line.empty()) continue;
    // A long comment could hide code that only looks like a header.
    if (!line.starts_with("--") || line.starts_with("--[")) break;
    line = trimmed(line.substr(2));
    if (line.size() < kMark.size() || !equal_ignoring_case(line.substr(0, kMark.size()), kMark)) {
      continue;
    }
    SplitResult split = split_command_line(line.substr(kMark.size()));
    if (!split.error.empty()) return bad(fmt::format("{}:{}: {}", file, line_number, split.error));
    if (!split.heredoc.empty()) split.words.push_back("<<" + split.heredoc);
    if (header_line == 0) header_line = line_number;
    words.insert(words.end(), split.words.begin(), split.words.end());
  }
  if (header_line == 0) {
    return bad(fmt::format("{}: has no line `-- trigger: <pattern> <EVENT>[,<EVENT>...] "
                           "[option]...` at its top",
                           file));
  }
  const std::vector<std::string_view> views(words.begin(), words.end());
  auto spec = parse_trigger_words(views);
  if (!spec) return bad(fmt::format("{}:{}: {}", file, header_line, spec.failure().text));
  spec->source = std::string{text};
  return spec;
}

}  // namespace cachee::daemon
