#include "control/command_text.hpp"

#include <cstdint>
#include <utility>

namespace cachee::daemon {
namespace {

// The C locale's isspace, without a locale.
bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_word_start(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

bool is_heredoc_word(std::string_view word) noexcept {
  if (word.empty() || !is_word_start(word[0])) return false;
  for (const char c : word) {
    if (!is_word_start(c) && !(c >= '0' && c <= '9')) return false;
  }
  return true;
}

constexpr std::string_view kUnbalanced = "unbalanced quotes: a quoted word must end with its quote, "
                                         "followed by a blank or the end of the line";

// Reads a double-quoted part; `at` stands behind the opening quote and ends behind the closing one.
bool read_double_quoted(std::string_view line, std::size_t& at, std::string& word) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '"') {
      ++at;
      return true;
    }
    if (c == '\\' && at + 1 < line.size()) {
      const char next = line[at + 1];
      if (next == 'x' && at + 3 < line.size()) {
        const int high = hex_digit(line[at + 2]);
        const int low = hex_digit(line[at + 3]);
        if (high >= 0 && low >= 0) {
          word.push_back(static_cast<char>(high * 16 + low));
          at += 4;
          continue;
        }
      }
      switch (next) {
        case 'n': word.push_back('\n'); break;
        case 'r': word.push_back('\r'); break;
        case 't': word.push_back('\t'); break;
        case 'b': word.push_back('\b'); break;
        case 'a': word.push_back('\a'); break;
        default: word.push_back(next); break;
      }
      at += 2;
      continue;
    }
    word.push_back(c);
    ++at;
  }
  return false;
}

bool read_single_quoted(std::string_view line, std::size_t& at, std::string& word) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '\'') {
      ++at;
      return true;
    }
    if (c == '\\' && at + 1 < line.size() && line[at + 1] == '\'') {
      word.push_back('\'');
      at += 2;
      continue;
    }
    word.push_back(c);
    ++at;
  }
  return false;
}

}  // namespace

SplitResult split_command_line(std::string_view line) {
  SplitResult result;
  std::size_t at = 0;
  bool last_is_plain = false;
  for (;;) {
    while (at < line.size() && is_blank(line[at])) ++at;
    if (at == line.size()) break;
    std::string word;
    last_is_plain = true;
    while (at < line.size() && !is_blank(line[at])) {
      const char c = line[at];
      if (c != '"' && c != '\'') {
        word.push_back(c);
        ++at;
        continue;
      }
      last_is_plain = false;
      ++at;
      const bool closed = c == '"' ? read_double_quoted(line, at, word)
                                   : read_single_quoted(line, at, word);
      if (!closed || (at < line.size() && !is_blank(line[at]))) {
        result.words.clear();
        result.error = kUnbalanced;
        return result;
      }
    }
    result.words.push_back(std::move(word));
  }
  // A heredoc needs a command in front of it: a line of nothing but <<WORD is an ordinary word.
  if (last_is_plain && result.words.size() > 1) {
    const std::string_view last = result.words.back();
    if (last.starts_with("<<") && is_heredoc_word(last.substr(2))) {
      result.heredoc = std::string{last.substr(2)};
      result.words.pop_back();
    }
  }
  return result;
}

std::string quote_word(std::string_view word) {
  bool plain = !word.empty() && word[0] != '#' && !word.starts_with("<<");
  for (const char c : word) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte <= ' ' || byte == 0x7f || c == '"' || c == '\'' || c == '\\') plain = false;
  }
  if (plain) return std::string{word};
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : word) {
    const auto byte = static_cast<std::uint8_t>(c);
    switch (c) {
      case '"': text += "\\\""; break;
      case '\\': text += "\\\\"; break;
      case '\n': text += "\\n"; break;
      case '\r': text += "\\r"; break;
      case '\t': text += "\\t"; break;
      default:
        if (byte < ' ' || byte == 0x7f) {
          text += "\\x";
          text.push_back(kHex[byte >> 4]);
          text.push_back(kHex[byte & 15]);
        } else {
          text.push_back(c);
        }
    }
  }
  text.push_back('"');
  return text;
}

std::string heredoc_or_quoted(std::string_view text, std::string_view word) {
  if (text.empty() || text.back() != '\n') return quote_word(text);
  const auto has_line = [text](std::string_view wanted) {
    std::size_t start = 0;
    while (start < text.size()) {
      const std::size_t end = text.find('\n', start);
      std::string_view line = text.substr(start, end - start);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line == wanted) return true;
      start = end + 1;
    }
    return false;
  };
  std::string terminator{word};
  while (has_line(terminator)) terminator.push_back('_');
  std::string result = "<<" + terminator + "\n";
  result += text;
  result += terminator;
  return result;
}

void CommandReader::feed(std::string_view bytes) {
  if (position_ > 0 && position_ >= buffer_.size() / 2) {
    buffer_.erase(0, position_);
    searched_ -= position_;
    position_ = 0;
  }
  buffer_.append(bytes);
}

void CommandReader::finish() { finished_ = true; }

std::optional<std::string_view> CommandReader::take_line() {
  const std::size_t end = buffer_.find('\n', searched_);
  if (end == std::string::npos && !finished_) {
    if (buffer_.size() - position_ > command_bytes_max_) {
      skipping_line_ = true;
      position_ = buffer_.size();
    }
    searched_ = buffer_.size();
    return std::nullopt;
  }
  if (end == std::string::npos && position_ == buffer_.size() && !skipping_line_) {
    return std::nullopt;
  }
  const std::size_t stop = end == std::string::npos ? buffer_.size() : end;
  const auto line = std::string_view{buffer_}.substr(position_, stop - position_);
  position_ = end == std::string::npos ? stop : stop + 1;
  searched_ = position_;
  ++line_;
  too_long_ = std::exchange(skipping_line_, false) || line.size() > command_bytes_max_;
  return too_long_ ? std::string_view{} : line;
}

void CommandReader::give_up_heredoc() {
  heredoc_.clear();
  body_.clear();
  words_.clear();
  heredoc_too_long_ = false;
}

CommandReader::Step CommandReader::take_heredoc() {
  Step step;
  step.line = command_line_;
  for (;;) {
    const auto line = take_line();
    if (!line) {
      if (!finished_) return Step{};
      step.kind = Kind::error;
      step.text = "the text that <<" + heredoc_ + " began has no line \"" + heredoc_ + "\" that ends it";
      give_up_heredoc();
      return step;
    }
    std::string_view bare = *line;
    if (bare.ends_with('\r')) bare.remove_suffix(1);
    if (!too_long_ && bare == heredoc_) break;
    if (too_long_ || body_.size() + line->size() + 1 > command_bytes_max_) {
      heredoc_too_long_ = true;
      body_.clear();
    }
    if (!heredoc_too_long_) {
      body_.append(*line);
      body_.push_back('\n');
    }
  }
  if (heredoc_too_long_) {
    step.kind = Kind::error;
    step.text = "command is longer than " + std::to_string(command_bytes_max_) + " bytes";
  } else {
    step.kind = Kind::command;
    step.words = std::move(words_);
    step.words.push_back(std::move(body_));
  }
  give_up_heredoc();
  return step;
}

CommandReader::Step CommandReader::next() {
  if (!heredoc_.empty()) return take_heredoc();
  for (;;) {
    const auto line = take_line();
    if (!line) {
      Step step;
      step.kind = finished_ ? Kind::end : Kind::need_more;
      return step;
    }
    Step step;
    step.line = line_;
    if (too_long_) {
      step.kind = Kind::error;
      step.text = "command is longer than " + std::to_string(command_bytes_max_) + " bytes";
      return step;
    }
    const std::size_t first = line->find_first_not_of(" \t\r\v\f");
    if (first == std::string_view::npos || (*line)[first] == '#') continue;
    SplitResult split = split_command_line(*line);
    if (!split.error.empty()) {
      step.kind = Kind::error;
      step.text = std::move(split.error);
      return step;
    }
    if (split.heredoc.empty()) {
      step.kind = Kind::command;
      step.words = std::move(split.words);
      return step;
    }
    words_ = std::move(split.words);
    heredoc_ = std::move(split.heredoc);
    command_line_ = line_;
    return take_heredoc();
  }
}

}  // namespace cachee::daemon
