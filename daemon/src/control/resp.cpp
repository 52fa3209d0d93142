#include "control/resp.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "control/command_text.hpp"
#include "core/units.hpp"

namespace cachee::daemon::resp {
namespace {

constexpr std::size_t kBufferBytesKept = std::size_t{64} << 10;  // of an idle connection
constexpr std::size_t kBufferBytesMin = 1024;
constexpr std::size_t kItemsKept = 1024;

template <class T>
void clear_and_trim(std::vector<T>& items) {
  items.clear();
  if (items.capacity() > kItemsKept) items.shrink_to_fit();
}

}  // namespace

std::span<char> RequestParser::prepare(std::size_t bytes) {
  if (capacity_ - end_ >= bytes) return {buffer_.get() + end_, capacity_ - end_};
  const std::size_t used = end_ - begin_;
  if (capacity_ - used >= bytes && begin_ >= used) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, used);
  } else {
    const std::size_t capacity = std::max({kBufferBytesMin, used + bytes, used * 2});
    auto grown = std::make_unique_for_overwrite<char[]>(capacity);
    if (used != 0) std::memcpy(grown.get(), buffer_.get() + begin_, used);
    buffer_ = std::move(grown);
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = used;
  return {buffer_.get() + end_, capacity_ - end_};
}

void RequestParser::commit(std::size_t bytes) noexcept { end_ += std::min(bytes, capacity_ - end_); }

void RequestParser::feed(std::string_view bytes) {
  if (bytes.empty()) return;
  const auto room = prepare(bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

std::string_view RequestParser::rest() const noexcept {
  return {buffer_.get() + begin_ + at_, end_ - begin_ - at_};
}

std::size_t RequestParser::bytes_wanted() const noexcept {
  if (bulk_bytes_ < 0) return 0;
  const std::size_t whole = static_cast<std::size_t>(bulk_bytes_) + 2;
  const std::size_t here = rest().size();
  return whole > here ? whole - here : 0;
}

RequestParser::Step RequestParser::fail(std::string text) {
  error_ = "Protocol error: " + std::move(text);
  return Step::error;
}

void RequestParser::finish_request() {
  begin_ += std::exchange(taken_bytes_, 0);
  clear_and_trim(arguments_);
  clear_and_trim(pieces_);
  clear_and_trim(inline_words_);
  if (begin_ != end_) return;
  begin_ = end_ = 0;
  if (capacity_ > kBufferBytesKept) {
    buffer_.reset();
    capacity_ = 0;
  }
}

RequestParser::Status RequestParser::next() {
  if (failed()) return Status::error;
  if (taken_bytes_ != 0) finish_request();
  for (;;) {
    if (begin_ + at_ == end_) return Status::need_more;
    const bool is_array = items_left_ >= 0 || buffer_[begin_] == '*';
    switch (is_array ? read_array() : read_inline()) {
      case Step::need_more: return Status::need_more;
      case Step::error: return Status::error;
      case Step::done: break;
    }
    taken_bytes_ = std::exchange(at_, 0);
    items_left_ = -1;
    if (std::exchange(skipping_, false)) {
      finish_request();
      return Status::refused;
    }
    if (pieces_.empty() && inline_words_.empty()) {
      finish_request();
      continue;
    }
    const char* const base = buffer_.get() + begin_;
    for (const Piece& piece : pieces_) arguments_.emplace_back(base + piece.at, piece.bytes);
    for (const std::string& word : inline_words_) arguments_.emplace_back(word);
    return Status::request;
  }
}

RequestParser::Step RequestParser::read_inline() {
  std::string_view line = rest();
  const std::size_t end = line.find('\n');
  if (std::min(end, line.size()) > kInlineBytesMax) return fail("too big inline request");
  if (end == std::string_view::npos) return Step::need_more;
  at_ = end + 1;
  line = line.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  SplitResult split = split_command_line(line);
  if (!split.error.empty()) return fail("unbalanced quotes in request");
  // Heredocs belong to command files; on the socket <<WORD is a word like any other.
  if (!split.heredoc.empty()) split.words.push_back("<<" + split.heredoc);
  inline_words_ = std::move(split.words);
  return Step::done;
}

RequestParser::Step RequestParser::read_array() {
  if (items_left_ < 0) {
    const Step step = read_array_header();
    if (step != Step::done) return step;
  }
  while (items_left_ > 0) {
    const Step step = read_bulk();
    if (step != Step::done) return step;
    --items_left_;
  }
  return Step::done;
}

RequestParser::Step RequestParser::read_array_header() {
  const std::string_view line = rest();
  const std::size_t end = line.find('\r');
  if (end == std::string_view::npos) {
    return line.size() > kInlineBytesMax ? fail("too big mbulk count string") : Step::need_more;
  }
  if (end + 2 > line.size()) return Step::need_more;
  const auto items = parse_integer(line.substr(1, end - 1));
  if (!items || *items > static_cast<std::int64_t>(kItemsMax)) {
    return fail("invalid multibulk length");
  }
  if (stranger_ && *items > static_cast<std::int64_t>(kStrangerItemsMax)) {
    return fail("unauthenticated multibulk length");
  }
  at_ += end + 2;
  items_left_ = std::max<std::int64_t>(*items, 0);
  return Step::done;
}

void RequestParser::begin_skipping(Excess why) {
  skipping_ = true;
  excess_ = why;
  pieces_.clear();
}

RequestParser::Step RequestParser::skip_bulk() {
  begin_ += std::exchange(at_, 0);
  const std::size_t bytes = std::min(skip_bytes_, end_ - begin_);
  begin_ += bytes;
  skip_bytes_ -= bytes;
  if (begin_ == end_) begin_ = end_ = 0;
  return skip_bytes_ == 0 ? Step::done : Step::need_more;
}

RequestParser::Step RequestParser::read_bulk() {
  if (skip_bytes_ > 0) return skip_bulk();
  if (bulk_bytes_ < 0) {
    const std::string_view line = rest();
    const std::size_t end = line.find('\r');
    if (end == std::string_view::npos) {
      return line.size() > kInlineBytesMax ? fail("too big bulk count string") : Step::need_more;
    }
    if (end + 2 > line.size()) return Step::need_more;
    if (line[0] != '$') return fail(std::string{"expected '$', got '"} + line[0] + "'");
    const auto bytes = parse_integer(line.substr(1, end - 1));
    const std::size_t bytes_max = std::max(limits_.bulk_bytes_max, kBulkBytesMax);
    if (!bytes || *bytes < 0 || *bytes > static_cast<std::int64_t>(bytes_max)) {
      return fail("invalid bulk length");
    }
    if (stranger_ && *bytes > static_cast<std::int64_t>(kStrangerBulkBytesMax)) {
      return fail("unauthenticated bulk length");
    }
    at_ += end + 2;
    const auto length = static_cast<std::size_t>(*bytes);
    if (!skipping_ && length > limits_.bulk_bytes_max) begin_skipping(Excess::bulk);
    if (!skipping_ && at_ + length > limits_.request_bytes_max) begin_skipping(Excess::request);
    if (skipping_) {
      skip_bytes_ = length + 2;
      return skip_bulk();
    }
    bulk_bytes_ = *bytes;
  }
  const auto bytes = static_cast<std::size_t>(bulk_bytes_);
  if (rest().size() < bytes + 2) return Step::need_more;
  pieces_.push_back({at_, bytes});
  at_ += bytes + 2;
  bulk_bytes_ = -1;
  return Step::done;
}

void ReplyWriter::put(std::string_view bytes) {
  if (overflowed_) return;
  if (out_.size() - sent_ + bytes.size() > bytes_max_) {
    overflowed_ = true;
    return;
  }
  out_.append(bytes);
}

void ReplyWriter::header(char kind, std::int64_t number) {
  char line[24];
  line[0] = kind;
  char* const end = std::to_chars(line + 1, line + sizeof(line) - 2, number).ptr;
  end[0] = '\r';
  end[1] = '\n';
  put({line, static_cast<std::size_t>(end + 2 - line)});
}

void ReplyWriter::simple(std::string_view text) {
  put("+");
  put(text);
  put("\r\n");
}

void ReplyWriter::error(std::string_view text) {
  std::string line{"-"};
  line += text;
  for (char& c : line) {
    if (c == '\r' || c == '\n') c = ' ';
  }
  line += "\r\n";
  put(line);
}

void ReplyWriter::integer(std::int64_t number) { header(':', number); }

void ReplyWriter::bulk(std::string_view bytes) {
  header('$', static_cast<std::int64_t>(bytes.size()));
  put(bytes);
  put("\r\n");
}

void ReplyWriter::null() { put(protocol >= 3 ? "_\r\n" : "$-1\r\n"); }
void ReplyWriter::null_array() { put(protocol >= 3 ? "_\r\n" : "*-1\r\n"); }

void ReplyWriter::number(double value) {
  const std::string text = format_double(value);
  if (protocol < 3) return bulk(text);
  put(",");
  put(text);
  put("\r\n");
}

void ReplyWriter::boolean(bool value) {
  if (protocol < 3) return integer(value ? 1 : 0);
  put(value ? "#t\r\n" : "#f\r\n");
}

void ReplyWriter::verbatim(std::string_view text) {
  if (protocol < 3) return bulk(text);
  header('=', static_cast<std::int64_t>(text.size()) + 4);
  put("txt:");
  put(text);
  put("\r\n");
}

void ReplyWriter::array(std::size_t items) { header('*', static_cast<std::int64_t>(items)); }

void ReplyWriter::map(std::size_t pairs) {
  if (protocol < 3) return array(pairs * 2);
  header('%', static_cast<std::int64_t>(pairs));
}

void ReplyWriter::set(std::size_t items) {
  header(protocol < 3 ? '*' : '~', static_cast<std::int64_t>(items));
}

void ReplyWriter::raw(std::string_view reply) { put(reply); }

void ReplyWriter::rewind(std::size_t mark) { out_.resize(std::min(mark, out_.size())); }

std::string ReplyWriter::take_since(std::size_t mark) {
  std::string tail = out_.substr(std::min(mark, out_.size()));
  rewind(mark);
  return tail;
}

void ReplyWriter::consume(std::size_t bytes) noexcept {
  sent_ += std::min(bytes, out_.size() - sent_);
  if (sent_ < out_.size()) {
    // A connection that is never quite drained must not keep what it has sent.
    if (sent_ > kBufferBytesKept && sent_ > out_.size() / 2) {
      out_.erase(0, sent_);
      sent_ = 0;
    }
    return;
  }
  sent_ = 0;
  if (out_.capacity() > kBufferBytesKept) {
    out_ = std::string{};
  } else {
    out_.clear();
  }
}

std::string format_double(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), value);
  return {text, end.ptr};
}

}  // namespace cachee::daemon::resp
