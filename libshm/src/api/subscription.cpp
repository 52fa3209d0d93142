#include <cachee/cache.hpp>
#include <cachee/subscription.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <thread>
#include <utility>

#include "api/handle.hpp"
#include "os/process.hpp"
#include "wire/wire.hpp"

namespace cachee {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using wire::Reply;

constexpr milliseconds kAnswerMax = 30s;      // for the dispatcher's disk
constexpr milliseconds kReconnectMin = 10ms;  // between two tries, doubling
constexpr milliseconds kReconnectMax = 250ms;
constexpr milliseconds kBlockMax = 1h;        // of one GROUP READ
constexpr double kUsPerSecond = 1e6;
constexpr double kUsPerMs = 1e3;
constexpr double kNumberMax = 9e18;           // as a double, safely inside int64

std::string default_socket(const std::string& name) {
  const auto variable = [](const char* key) -> std::string {
    const char* const text = std::getenv(key);
    return text != nullptr ? text : "";
  };
  std::string folder = variable("CACHEE_RUNTIME_DIR");
  if (folder.empty()) {
    folder = variable("XDG_RUNTIME_DIR");
    folder = folder.empty() ? "/run/cachee" : folder + "/cachee";
  }
  return folder + "/" + name + ".sock";
}

std::string event_words(Event events) {
  std::string text;
  for (const EventKind kind : {EventKind::write, EventKind::del, EventKind::expire, EventKind::evict, EventKind::read}) {
    if ((static_cast<EventMask>(events) & event_bit(kind)) == 0) continue;
    if (!text.empty()) text += ',';
    text += event_name(kind);
  }
  return text;
}

std::string text_of(const Reply& record, std::string_view name) {
  const Reply* const found = record.field(name);
  return found != nullptr ? found->text : std::string{};
}

/// Integers and doubles come as either; nullopt: not there, null, or no number.
std::optional<double> number_of(const Reply& record, std::string_view name) {
  const Reply* const found = record.field(name);
  if (found == nullptr) return std::nullopt;
  if (found->kind == Reply::Kind::integer) return static_cast<double>(found->integer);
  if (found->kind != Reply::Kind::text) return std::nullopt;
  double number = 0;
  const char* const end = found->text.data() + found->text.size();
  const auto [stop, error] = std::from_chars(found->text.data(), end, number);
  if (error != std::errc{} || stop != end || !std::isfinite(number)) return std::nullopt;
  return std::clamp(number, -kNumberMax, kNumberMax);
}

std::int64_t integer_of(const Reply& record, std::string_view name) {
  const Reply* const found = record.field(name);
  return found != nullptr && found->kind == Reply::Kind::integer ? found->integer : 0;
}

std::optional<std::int64_t> scaled(std::optional<double> number, double factor) {
  if (!number || std::abs(*number) > kNumberMax / factor) return std::nullopt;
  return std::llround(*number * factor);
}

template <class Enum>
Enum enum_of(std::string_view text, Enum last, Enum otherwise) {
  for (unsigned i = 0; i <= static_cast<unsigned>(last); ++i) {
    if (text == to_string(static_cast<Enum>(i))) return static_cast<Enum>(i);
  }
  return otherwise;
}

GroupEvent event_of(const Reply& record) {
  GroupEvent event;
  event.id = text_of(record, "id");
  event.kind = enum_of(text_of(record, "type"), EventKind::gap, EventKind::none);
  event.cause = enum_of(text_of(record, "cause"), Cause::shed, Cause::unknown);
  event.key = text_of(record, "key");
  event.value = text_of(record, "value");
  if (const Reply* const old = record.field("old_value"); old != nullptr && old->kind == Reply::Kind::text) event.old_value = old->text;
  if (const Reply* const metadata = record.field("metadata")) {
    for (std::size_t i = 0; i + 1 < metadata->items.size(); i += 2) {
      event.metadata.emplace_back(metadata->items[i].text, metadata->items[i + 1].text);
    }
  }
  event.cost = number_of(record, "cost").value_or(kCostDefault);
  event.timestamp_wall_us = scaled(number_of(record, "timestamp"), kUsPerSecond).value_or(0);
  event.deadline_wall_us = scaled(number_of(record, "deadline"), kUsPerSecond);
  event.ttl_ms = scaled(number_of(record, "ttl_ms"), 1);
  event.lag_us = scaled(number_of(record, "lag_ms"), kUsPerMs).value_or(0);
  event.version = static_cast<std::uint64_t>(integer_of(record, "version"));
  event.attempt = static_cast<std::uint32_t>(integer_of(record, "attempt"));
  event.duplicate = integer_of(record, "duplicate") != 0;
  event.depth = static_cast<std::uint32_t>(integer_of(record, "depth"));
  event.chain = text_of(record, "chain");
  event.parent = text_of(record, "parent");
  if (const Reply* const origin = record.field("origin")) {
    event.origin_role = enum_of(text_of(*origin, "kind"), Role::control, Role::client);
    event.origin_pid = static_cast<std::int32_t>(integer_of(*origin, "pid"));
    event.origin_client = text_of(*origin, "client");
    event.origin_instance = text_of(*origin, "instance");
  }
  event.hits = static_cast<std::uint64_t>(integer_of(record, "hits"));
  event.age_ms = static_cast<std::uint64_t>(integer_of(record, "age_ms"));
  event.size = static_cast<std::uint64_t>(integer_of(record, "size"));
  return event;
}

Errc code_of(std::string_view error) {
  struct Word {
    std::string_view word;
    Errc code;
  };
  static constexpr std::array kWords = {Word{"NOGROUP", Errc::not_found}, Word{"STALE", Errc::stale}, Word{"BUSYGROUP", Errc::exists},
                                        Word{"FULL", Errc::full}, Word{"NOAUTH", Errc::permission}};
  const std::string_view first = error.substr(0, error.find(' '));
  for (const Word& known : kWords) {
    if (first == known.word) return known.code;
  }
  return Errc::invalid_argument;
}

/// Out of memory is the only exception that anything here throws.
template <class F>
auto guarded(F&& work) noexcept -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Errc::no_space;
  } catch (...) {
    return Errc::io;
  }
}

}  // namespace

struct Subscription::Impl {
  std::shared_ptr<shm::Handle> handle;
  SubscribeOptions options;
  wire::Connection connection{};
  std::string last_error{};

  Result<void> connect() {
    if (handle->in_forked_child()) return Errc::closed;
    if (connection.is_open()) return {};
    return connection.open(options.socket);
  }

  /// One request; a connection that is gone is opened once more first, since cacheed may have been
  /// restarted since the last call.
  Result<Reply> call(const std::vector<std::string_view>& words, milliseconds patience) {
    last_error.clear();
    const bool was_open = connection.is_open();
    if (auto connected = connect(); !connected) return connected.error();
    auto reply = connection.call(words, steady_clock::now() + patience);
    if (!reply && reply.code() == Errc::no_supervisor && was_open) {
      if (auto connected = connect(); !connected) return connected.error();
      reply = connection.call(words, steady_clock::now() + patience);
    }
    if (!reply) return reply;
    if (reply->kind != Reply::Kind::error) return reply;
    last_error = reply->text;
    return code_of(last_error);
  }

  Result<void> create() {
    if (options.pattern.empty()) {
      auto known = call({"GROUP", "INFO", options.group}, kAnswerMax);
      return known ? Result<void>{} : Result<void>{known.error()};
    }
    const std::string events = event_words(options.events);
    const std::string retry = std::to_string(options.retry_attempts);
    const std::string backoff_min = std::to_string(options.backoff_min.count());
    const std::string backoff_max = std::to_string(options.backoff_max.count());
    const std::string deadline = std::to_string(options.ack_deadline.count());
    auto made = call({"GROUP", "CREATE", options.group, options.pattern, events, "RETRY", retry, "BACKOFF", backoff_min, backoff_max,
                      "DEADLINE", deadline},
                     kAnswerMax);
    return made ? Result<void>{} : Result<void>{made.error()};
  }

  Result<std::vector<GroupEvent>> read(std::size_t count_max, std::optional<milliseconds> block) {
    const std::string count = std::to_string(std::clamp<std::size_t>(count_max, 1, kGroupEventsMax));
    std::vector<std::string_view> words{"GROUP", "READ", options.group, options.consumer, "COUNT", count};
    std::string block_ms;
    if (block) {
      block_ms = std::to_string(block->count());
      words.insert(words.end(), {"BLOCK", block_ms});
    }
    auto reply = call(words, kAnswerMax + block.value_or(0ms));
    if (!reply) return reply.error();
    std::vector<GroupEvent> events;
    events.reserve(reply->items.size());
    for (const Reply& record : reply->items) events.push_back(event_of(record));
    return events;
  }

  Result<void> settle(const std::vector<std::string_view>& words) {
    auto reply = call(words, kAnswerMax);
    return reply ? Result<void>{} : Result<void>{reply.error()};
  }
};

Subscription::Subscription(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Subscription::Subscription(Subscription&&) noexcept = default;
Subscription& Subscription::operator=(Subscription&&) noexcept = default;
Subscription::~Subscription() = default;

Result<Subscription> Cache::subscribe(SubscribeOptions options) noexcept {
  std::string refusal;
  return subscribe(std::move(options), refusal);
}

Result<Subscription> Cache::subscribe(SubscribeOptions options, std::string& refusal) noexcept {
  refusal.clear();
  return guarded([&]() -> Result<Subscription> {
    if (options.group.empty() || (!options.pattern.empty() && options.events == Event::none)) return Errc::invalid_argument;
    if (options.consumer.empty()) options.consumer = "pid-" + std::to_string(os::own_identity().pid);
    if (options.socket.empty()) options.socket = default_socket(name());
    auto impl = std::make_unique<Subscription::Impl>(Subscription::Impl{handle_, std::move(options)});
    if (auto created = impl->create(); !created) {
      refusal = std::move(impl->last_error);
      return created.error();
    }
    return Subscription{std::move(impl)};
  });
}

Result<std::vector<GroupEvent>> Subscription::poll(std::size_t count_max) noexcept {
  if (!impl_) return Errc::closed;
  return guarded([&] { return impl_->read(count_max, std::nullopt); });
}

Result<std::vector<GroupEvent>> Subscription::wait(milliseconds timeout, std::size_t count_max) noexcept {
  if (!impl_) return Errc::closed;
  return guarded([&]() -> Result<std::vector<GroupEvent>> {
    const auto until = steady_clock::now() + std::clamp<milliseconds>(timeout, 0ms, 24h * 365);
    for (milliseconds pause = kReconnectMin;; pause = std::min(pause * 2, kReconnectMax)) {
      const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
      // BLOCK 0 would be for ever.
      auto events = left > 0ms ? impl_->read(count_max, std::min(left, kBlockMax)) : impl_->read(count_max, std::nullopt);
      if (events && (!events->empty() || steady_clock::now() >= until)) return events;
      const bool may_come_back = events || events.code() == Errc::no_supervisor || events.code() == Errc::busy;
      if (!may_come_back || steady_clock::now() >= until) return events;
      if (events) continue;
      std::this_thread::sleep_for(std::min<steady_clock::duration>(pause, until - steady_clock::now()));
    }
  });
}

Result<void> Subscription::ack(std::string_view id) noexcept {
  if (!impl_) return Errc::closed;
  return guarded([&] { return impl_->settle({"GROUP", "ACK", impl_->options.group, id}); });
}

Result<void> Subscription::ack(std::span<const GroupEvent> events) noexcept {
  if (!impl_) return Errc::closed;
  return guarded([&]() -> Result<void> {
    if (events.empty()) return {};
    std::vector<std::string_view> words{"GROUP", "ACK", impl_->options.group};
    for (const GroupEvent& event : events) words.push_back(event.id);
    return impl_->settle(words);
  });
}

Result<void> Subscription::nack(std::string_view id, const NackOptions& options) noexcept {
  if (!impl_) return Errc::closed;
  return guarded([&]() -> Result<void> {
    std::vector<std::string_view> words{"GROUP", "NACK", impl_->options.group, id};
    std::string delay_ms;
    if (options.delay) {
      delay_ms = std::to_string(options.delay->count());
      words.insert(words.end(), {"DELAY", delay_ms});
    }
    if (!options.error.empty()) words.insert(words.end(), {"ERROR", options.error});
    return impl_->settle(words);
  });
}

Result<std::uint64_t> Subscription::lag() noexcept {
  if (!impl_) return Errc::closed;
  return guarded([&]() -> Result<std::uint64_t> {
    auto reply = impl_->call({"GROUP", "INFO", impl_->options.group}, kAnswerMax);
    if (!reply) return reply.error();
    return static_cast<std::uint64_t>(integer_of(*reply, "lag"));
  });
}

const std::string& Subscription::last_error_text() const noexcept {
  static const std::string none;
  return impl_ ? impl_->last_error : none;
}

}  // namespace cachee
