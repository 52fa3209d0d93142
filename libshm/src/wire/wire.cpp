#include "wire/wire.hpp"

#include <charconv>
#include <memory>
#include <optional>
#include <utility>

namespace cachee::wire {
namespace {

constexpr std::size_t kReceiveBytes = std::size_t{64} << 10;
constexpr std::size_t kLineBytesMax = std::size_t{64} << 10;
constexpr std::string_view kLineEnd = "\r\n";

std::optional<std::int64_t> parse_number(std::string_view text) noexcept {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

}  // namespace

const Reply* Reply::field(std::string_view name) const noexcept {
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].text == name) return &items[i + 1];
  }
  return nullptr;
}

Parser::Status Parser::put(Reply reply) {
  while (!levels_.empty()) {
    Level& level = levels_.back();
    level.array.items.push_back(std::move(reply));
    if (--level.left > 0) return Status::need_more;
    reply = std::move(level.array);
    levels_.pop_back();
  }
  reply_ = std::move(reply);
  return Status::done;
}

Parser::Status Parser::step(std::string_view line) {
  if (line.empty()) return Status::damaged;
  const std::string_view rest = line.substr(1);
  Reply reply;
  switch (line[0]) {
    case '+':
    case '-':
      reply.kind = line[0] == '+' ? Reply::Kind::status : Reply::Kind::error;
      reply.text = rest;
      return put(std::move(reply));
    case ':': case '$': case '*': break;
    default: return Status::damaged;
  }
  const auto number = parse_number(rest);
  if (!number) return Status::damaged;
  if (line[0] == ':') {
    reply.kind = Reply::Kind::integer;
    reply.integer = *number;
    return put(std::move(reply));
  }
  if (*number == -1) return put(std::move(reply));
  if (*number < 0) return Status::damaged;
  const auto count = static_cast<std::size_t>(*number);
  if (line[0] == '$') {
    if (count > kBulkBytesMax) return Status::damaged;
    in_bulk_ = true;
    bulk_bytes_ = count;
    return Status::need_more;
  }
  if (count > kItemsMax || levels_.size() == kDepthMax) return Status::damaged;
  reply.kind = Reply::Kind::array;
  if (count == 0) return put(std::move(reply));
  levels_.push_back({std::move(reply), count});
  return Status::need_more;
}

Parser::Status Parser::feed(std::string_view bytes) {
  if (status_ == Status::done && !bytes.empty()) status_ = Status::damaged;
  if (status_ != Status::need_more) return status_;
  buffer_.append(bytes);
  while (status_ == Status::need_more) {
    const std::string_view rest = std::string_view{buffer_}.substr(at_);
    if (in_bulk_) {
      if (rest.size() < bulk_bytes_ + kLineEnd.size()) break;
      if (rest.substr(bulk_bytes_, kLineEnd.size()) != kLineEnd) return status_ = Status::damaged;
      Reply reply;
      reply.kind = Reply::Kind::text;
      reply.text = rest.substr(0, bulk_bytes_);
      at_ += bulk_bytes_ + kLineEnd.size();
      in_bulk_ = false;
      status_ = put(std::move(reply));
      continue;
    }
    const std::size_t end = rest.find(kLineEnd);
    if (end == std::string_view::npos) {
      if (rest.size() > kLineBytesMax + 1) return status_ = Status::damaged;  // one: half a line end
      break;
    }
    if (end > kLineBytesMax) return status_ = Status::damaged;
    at_ += end + kLineEnd.size();
    status_ = step(rest.substr(0, end));
  }
  if (status_ == Status::done && at_ != buffer_.size()) status_ = Status::damaged;
  if (at_ >= kReceiveBytes || status_ != Status::need_more) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  return status_;
}

Reply Parser::take() {
  status_ = Status::need_more;
  return std::exchange(reply_, {});
}

Result<void> Connection::open(const std::string& path) noexcept {
  auto made = os::Socket::connect(path);
  if (!made) return made.error();
  socket_ = std::move(*made);
  return {};
}

Result<Reply> Connection::call(const std::vector<std::string_view>& words, Deadline until) {
  // Whatever leaves this half done leaves a connection that nobody can use.
  const auto fail = [this](Error error) {
    socket_.close();
    return error;
  };
  if (!socket_.open()) return Errc::no_supervisor;
  struct Closer {
    os::Socket* socket;
    ~Closer() {
      if (socket != nullptr) socket->close();
    }
  } closer{&socket_};
  std::string request = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string_view word : words) {
    request += "$" + std::to_string(word.size()) + "\r\n";
    request.append(word).append(kLineEnd);
  }
  if (auto sent = socket_.send(request, until); !sent) return fail(sent.error());
  const auto room = std::make_unique<char[]>(kReceiveBytes);
  Parser parser;
  for (;;) {
    const auto received = socket_.receive({room.get(), kReceiveBytes}, until);
    if (!received) return fail(received.error());
    const auto status = parser.feed({room.get(), *received});
    if (status == Parser::Status::damaged) return fail({Errc::io, 0, 0});
    if (status != Parser::Status::done) continue;
    closer.socket = nullptr;
    return parser.take();
  }
}

}  // namespace cachee::wire
