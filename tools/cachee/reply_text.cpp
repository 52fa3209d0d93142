#include "reply_text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "text.hpp"

namespace cachee::cli {
namespace {

struct TextAnswer {
  std::string_view command;
  std::string_view subcommand;  // empty: any
};
constexpr std::array<TextAnswer, 6> kTextAnswers{{{"INFO", ""},
                                                  {"CLIENT", "LIST"},
                                                  {"CLIENT", "INFO"},
                                                  {"TRIGGER", "SOURCE"},
                                                  {"TRIGGER", "EXPORT"},
                                                  {"MEMORY", "DOCTOR"}}};

bool same_word(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) ==
           std::toupper(static_cast<unsigned char>(b));
  });
}

std::string typed(const Reply& reply, const std::string& prefix) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      return "(nil)\n";
    case Reply::Kind::status:
      return reply.text + "\n";
    case Reply::Kind::error:
      return fmt::format("(error) {}\n", reply.text);
    case Reply::Kind::integer:
      return fmt::format("(integer) {}\n", reply.integer);
    case Reply::Kind::string:
      return quote(reply.text) + "\n";
    case Reply::Kind::array:
      break;
  }
  if (reply.items.empty()) return "(empty array)\n";
  const std::size_t digits = std::to_string(reply.items.size()).size();
  std::string text;
  for (std::size_t i = 0; i < reply.items.size(); ++i) {
    // The first item continues the line that its parent began.
    if (i > 0) text += prefix;
    text += fmt::format("{:>{}}) ", i + 1, digits);
    text += typed(reply.items[i], prefix + std::string(digits + 2, ' '));
  }
  return text;
}

std::string raw(const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      return "\n";
    case Reply::Kind::integer:
      return fmt::format("{}\n", reply.integer);
    case Reply::Kind::error:
      return fmt::format("(error) {}\n", reply.text);
    case Reply::Kind::array: {
      std::string text;
      for (const auto& item : reply.items) text += raw(item);
      return text;
    }
    default:
      return reply.text.ends_with('\n') ? reply.text : reply.text + "\n";
  }
}

}  // namespace

std::string to_typed_text(const Reply& reply) { return typed(reply, ""); }

std::string to_raw_text(const Reply& reply) { return raw(reply); }

bool answers_with_text(const std::vector<std::string>& words) {
  if (words.empty()) return false;
  return std::any_of(kTextAnswers.begin(), kTextAnswers.end(), [&](const TextAnswer& answer) {
    return same_word(words[0], answer.command) &&
           (answer.subcommand.empty() ||
            (words.size() > 1 && same_word(words[1], answer.subcommand)));
  });
}

}  // namespace cachee::cli
