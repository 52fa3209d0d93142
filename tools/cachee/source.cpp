#include "source.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <hiredis/hiredis.h>
#include <sys/un.h>

#include "command.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{2000};
// Longer than any command of the supervisor may take: a registration on a full ring waits seconds.
constexpr std::chrono::milliseconds kReplyTimeout{60000};
constexpr std::size_t kSocketPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;

timeval to_timeval(std::chrono::milliseconds duration) noexcept {
  timeval value{};
  value.tv_sec = static_cast<time_t>(duration.count() / 1000);
  value.tv_usec = static_cast<suseconds_t>(duration.count() % 1000 * 1000);
  return value;
}

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string{} : std::string{value};
}

Reply convert(const redisReply& from) {
  Reply reply;
  const auto text = [&] { return std::string{from.str, from.str + from.len}; };
  switch (from.type) {
    case REDIS_REPLY_STRING:
      reply.kind = Reply::Kind::string;
      reply.text = text();
      break;
    case REDIS_REPLY_STATUS:
      reply.kind = Reply::Kind::status;
      reply.text = text();
      break;
    case REDIS_REPLY_ERROR:
      reply.kind = Reply::Kind::error;
      reply.text = text();
      break;
    case REDIS_REPLY_INTEGER:
      reply.kind = Reply::Kind::integer;
      reply.integer = from.integer;
      break;
    case REDIS_REPLY_ARRAY:
      reply.kind = Reply::Kind::array;
      reply.items.reserve(from.elements);
      for (std::size_t i = 0; i < from.elements; ++i)
        reply.items.push_back(convert(*from.element[i]));
      break;
    default:
      break;
  }
  return reply;
}

bool is_words(const Reply& reply) noexcept {
  return reply.kind == Reply::Kind::string || reply.kind == Reply::Kind::status;
}

// RESP2 has no maps in maps, no booleans and no doubles: the supervisor sends them as JSON text, as
// 0 and 1, and as text. Only by the name of a field can they be told from a user's own text.
constexpr std::array<std::string_view, 4> kFlagFields{"enabled", "paused", "duplicate", "adds_up"};
constexpr std::array<std::string_view, 6> kNestedFields{"event",   "payload",  "effects",
                                                        "headers", "metadata", "origin"};
// What a row is about comes first; the supervisor sends fields by the alphabet.
constexpr std::array<std::string_view, 6> kFirstFields{"name", "id",      "trigger",
                                                       "key",  "pattern", "events"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The last word of a name is its unit ("timeout_ms", "run_us_mean").
Unit unit_of(std::string_view name) {
  if (name.ends_with("wall_ms") || name == "registered_ms") return Unit::wall_ms;
  if (name.ends_with("_bytes")) return Unit::bytes;
  if (name.ends_with("_ms")) return Unit::milliseconds;
  const bool micros = name.ends_with("_us") || name.find("_us_") != std::string_view::npos ||
                      name == "microseconds";
  return micros ? Unit::microseconds : Unit::none;
}

Value field_value(const std::string& name, const Reply& reply) {
  const Unit unit = unit_of(name);
  if (reply.kind == Reply::Kind::integer) {
    return contains(kFlagFields, name) ? Value{reply.integer != 0} : Value{reply.integer, unit};
  }
  if (reply.kind != Reply::Kind::string) return to_value(reply);
  const bool nested = reply.text.starts_with('{') || reply.text.starts_with('[');
  if (nested && contains(kNestedFields, name)) {
    if (auto value = from_json(reply.text)) return std::move(*value);
  }
  double number = 0;
  const char* const end = reply.text.data() + reply.text.size();
  const auto [stop, error] = std::from_chars(reply.text.data(), end, number);
  if (unit != Unit::none && error == std::errc{} && stop == end) return {number, unit};
  return reply.text;
}

Failure attach_failure(const std::string& name, const Error& error) {
  const std::string start = start_command(name);
  const auto fail = [](std::string text) { return Failure{Exit::cannot_attach, std::move(text)}; };
  switch (error.code) {
    case Errc::no_segment: {
      std::string text = fmt::format("no segment '{}': start it with `{}`", name, start);
      std::vector<std::string> others = list_segments();
      std::sort(others.begin(), others.end());
      if (!others.empty()) text += fmt::format(" (there is: {})", fmt::join(others, ", "));
      return fail(std::move(text));
    }
    case Errc::permission:
      return fail(
          fmt::format("no permission to attach to segment '{}': run as its owner or as a "
                      "member of its group (`ls -l /dev/shm/cachee.{}`)",
                      name, name));
    case Errc::layout_mismatch:
      return fail(
          fmt::format("segment '{}': {}: use the `cachee` that came with its cacheed, or "
                      "discard it with `{} --fresh`",
                      name, to_string(error), start));
    case Errc::corrupt:
      return fail(fmt::format("segment '{}': {}: discard it with `{} --fresh`", name,
                              to_string(error), start));
    case Errc::busy:
    case Errc::no_space:
    case Errc::full:
      return fail(
          fmt::format("segment '{}' has no place for another client ({}): see `cachee -n {} "
                      "clients`, or start cacheed with a larger --max-clients",
                      name, to_string(error), name));
    default:
      return fail(fmt::format("cannot attach to segment '{}': {}", name, to_string(error)));
  }
}

}  // namespace

Places default_places() {
  Places places;
  places.runtime_dir = environment("CACHEE_RUNTIME_DIR");
  if (places.runtime_dir.empty()) {
    const std::string base = environment("XDG_RUNTIME_DIR");
    places.runtime_dir = base.empty() ? "/run/cachee" : base + "/cachee";
  }
  places.state_dir = environment("CACHEE_STATE_DIR");
  if (places.state_dir.empty() && geteuid() == 0) places.state_dir = "/var/lib/cachee";
  if (places.state_dir.empty()) {
    std::string base = environment("XDG_STATE_HOME");
    if (base.empty()) base = environment("HOME") + "/.local/state";
    places.state_dir = base + "/cachee";
  }
  return places;
}

std::string start_command(std::string_view name) {
  return name == "default" ? std::string{"cacheed"} : fmt::format("cacheed --name {}", name);
}

Value to_value(const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::nil:
      return {};
    case Reply::Kind::integer:
      return reply.integer;
    case Reply::Kind::array: {
      Value list = Value::list();
      for (const auto& item : reply.items) list.push(to_value(item));
      return list;
    }
    default:
      return reply.text;
  }
}

Value to_record(const Reply& reply) {
  if (reply.kind == Reply::Kind::string && reply.text.starts_with('{')) {
    if (auto value = from_json(reply.text)) return std::move(*value);
  }
  bool pairs = reply.kind == Reply::Kind::array && reply.items.size() % 2 == 0;
  for (std::size_t i = 0; pairs && i < reply.items.size(); i += 2) pairs = is_words(reply.items[i]);
  if (!pairs) return to_value(reply);
  Value object = Value::object();
  const auto add = [&](std::size_t i) {
    const std::string& name = reply.items[i].text;
    object.add(name, field_value(name, reply.items[i + 1]));
  };
  for (const auto first : kFirstFields) {
    for (std::size_t i = 0; i < reply.items.size(); i += 2) {
      if (reply.items[i].text == first) add(i);
    }
  }
  for (std::size_t i = 0; i < reply.items.size(); i += 2) {
    if (!contains(kFirstFields, reply.items[i].text)) add(i);
  }
  return object;
}

Value to_records(const Reply& reply) {
  if (reply.kind == Reply::Kind::string) {
    if (auto value = from_json(reply.text); value && value->is_list()) return std::move(*value);
  }
  Value list = Value::list();
  for (const auto& item : reply.items) list.push(to_record(item));
  return list;
}

struct Supervisor::Impl {
  struct Close {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
  };
  struct Drop {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
  };
  std::unique_ptr<redisContext, Close> context{};
  std::string socket_path{};
  std::string name{};

  [[nodiscard]] Failure lost() const {
    const int error = errno;
    const bool timed_out = context->err == REDIS_ERR_IO && (error == EAGAIN || error == ETIMEDOUT);
    if (timed_out) {
      return {Exit::cannot_attach,
              fmt::format("the supervisor of '{}' at {} does not answer: look at its log, or at "
                          "`cachee -n {} stat`",
                          name, socket_path, name)};
    }
    return {Exit::cannot_attach, fmt::format("lost the supervisor of '{}' at {}: {}", name,
                                             socket_path, context->errstr)};
  }
};

Supervisor::Supervisor(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Supervisor::Supervisor(Supervisor&&) noexcept = default;
Supervisor& Supervisor::operator=(Supervisor&&) noexcept = default;
Supervisor::~Supervisor() = default;

Supervisor Supervisor::connect(const Places& places) {
  auto impl = std::make_unique<Impl>();
  impl->socket_path = places.socket_path();
  impl->name = places.name;
  if (impl->socket_path.size() > kSocketPathBytesMax) {
    throw Failure{
        Exit::cannot_attach,
        fmt::format("the path of the control socket is longer than {} bytes: {}: choose a "
                    "shorter CACHEE_RUNTIME_DIR",
                    kSocketPathBytesMax, impl->socket_path)};
  }
  impl->context.reset(
      redisConnectUnixWithTimeout(impl->socket_path.c_str(), to_timeval(kConnectTimeout)));
  const int error = errno;
  if (impl->context == nullptr) throw std::bad_alloc{};
  if (impl->context->err != 0) {
    if (error == EACCES || error == EPERM) {
      throw Failure{Exit::cannot_attach,
                    fmt::format("no permission for the control socket {}: run as its owner or as a "
                                "member of its group",
                                impl->socket_path)};
    }
    throw Failure{Exit::cannot_attach,
                  fmt::format("no supervisor of '{}' at {} ({}): start it with `{}`, or set "
                              "CACHEE_RUNTIME_DIR to where its socket is",
                              places.name, impl->socket_path, impl->context->errstr,
                              start_command(places.name))};
  }
  Supervisor supervisor{std::move(impl)};
  supervisor.set_reply_timeout(kReplyTimeout);
  return supervisor;
}

void Supervisor::set_reply_timeout(std::chrono::milliseconds timeout) {
  redisSetTimeout(impl_->context.get(), to_timeval(timeout));
}

Reply Supervisor::call(const std::vector<std::string>& words) {
  std::vector<const char*> starts;
  std::vector<std::size_t> lengths;
  starts.reserve(words.size());
  lengths.reserve(words.size());
  for (const auto& word : words) {
    starts.push_back(word.data());
    lengths.push_back(word.size());
  }
  if (words.size() > INT_MAX) throw Failure{Exit::usage, "too many words in one command"};
  errno = 0;
  const std::unique_ptr<redisReply, Impl::Drop> reply{static_cast<redisReply*>(redisCommandArgv(
      impl_->context.get(), static_cast<int>(words.size()), starts.data(), lengths.data()))};
  if (reply == nullptr) throw impl_->lost();
  return convert(*reply);
}

Reply Supervisor::require(const std::vector<std::string>& words) {
  Reply reply = call(words);
  if (reply.kind == Reply::Kind::error) {
    std::string_view text = reply.text;
    if (text.starts_with("ERR ")) text.remove_prefix(4);
    throw Failure{Exit::no, std::string{text}};
  }
  return reply;
}

Cache& Source::segment(Access access) {
  if (!cache_) {
    auto cache = Cache::open({.name = places_.name, .access = access, .client_name = "cachee"});
    if (!cache) throw attach_failure(places_.name, cache.error());
    cache_.emplace(*std::move(cache));
  }
  return *cache_;
}

Cache& Source::segment_to_read() {
  if (!cache_) {
    auto cache = Cache::open({.name = places_.name, .client_name = "cachee"});
    if (!cache && cache.code() != Errc::permission && cache.code() != Errc::busy) {
      throw attach_failure(places_.name, cache.error());
    }
    if (cache) cache_.emplace(*std::move(cache));
  }
  return cache_ ? *cache_ : segment(Access::read_only);
}

Supervisor& Source::supervisor() {
  if (!supervisor_) supervisor_.emplace(Supervisor::connect(places_));
  return *supervisor_;
}

Value metadata_value(const Metadata& metadata) {
  Value object = Value::object();
  for (const auto& [field, text] : metadata) object.add(field, text);
  return object;
}

}  // namespace cachee::cli
