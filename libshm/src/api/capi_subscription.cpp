// The C ABI of consumer groups: thin, like capi.cpp.
#include <limits>
#include <utility>
#include <vector>

#include <cachee/subscription.h>

#include "api/capi.hpp"

struct cachee_subscription {
  cachee::Subscription subscription;
};

struct cachee_events {
  std::vector<cachee::GroupEvent> events;
};

namespace {

using namespace cachee::capi;
using cachee::Errc;
using cachee::EventKind;
using std::chrono::milliseconds;

#define CACHEE_SAME_EVENT(c_name, kind) static_assert((c_name) == cachee::event_bit(EventKind::kind))
CACHEE_SAME_EVENT(CACHEE_EVENT_WRITE, write);
CACHEE_SAME_EVENT(CACHEE_EVENT_DELETE, del);
CACHEE_SAME_EVENT(CACHEE_EVENT_EXPIRE, expire);
CACHEE_SAME_EVENT(CACHEE_EVENT_EVICT, evict);
CACHEE_SAME_EVENT(CACHEE_EVENT_READ, read);
CACHEE_SAME_EVENT(CACHEE_EVENT_GAP, gap);
#undef CACHEE_SAME_EVENT

constexpr std::uint32_t kEvents =
    CACHEE_EVENT_WRITE | CACHEE_EVENT_DELETE | CACHEE_EVENT_EXPIRE | CACHEE_EVENT_EVICT | CACHEE_EVENT_READ;

cachee_bytes bytes_of(const std::string& text) noexcept { return {text.data(), text.size()}; }

cachee_status give_events(cachee::Result<std::vector<cachee::GroupEvent>> read, cachee_events** out) {
  if (!read) return fail(read.error());
  *out = new cachee_events{std::move(*read)};
  return CACHEE_OK;
}

cachee_event to_c(const cachee::GroupEvent& event) noexcept {
  cachee_event out = cachee_event_default();
  out.flags = (event.old_value ? CACHEE_EVENT_HAS_OLD_VALUE : 0u) | (event.deadline_wall_us ? CACHEE_EVENT_HAS_DEADLINE : 0u) |
              (event.ttl_ms ? CACHEE_EVENT_HAS_TTL : 0u) | (event.duplicate ? CACHEE_EVENT_DUPLICATE : 0u);
  out.id = bytes_of(event.id);
  out.key = bytes_of(event.key);
  out.value = bytes_of(event.value);
  if (event.old_value) out.old_value = bytes_of(*event.old_value);
  out.chain = bytes_of(event.chain);
  out.parent = bytes_of(event.parent);
  out.origin_client = bytes_of(event.origin_client);
  out.origin_instance = bytes_of(event.origin_instance);
  out.kind = cachee::event_bit(event.kind);
  out.attempt = event.attempt;
  out.cause = cachee::to_string(event.cause);
  out.origin = cachee::to_string(event.origin_role);
  out.origin_pid = event.origin_pid;
  out.depth = event.depth;
  out.cost = event.cost;
  out.timestamp_unix_us = event.timestamp_wall_us;
  out.deadline_unix_us = event.deadline_wall_us.value_or(0);
  out.ttl_ms = event.ttl_ms.value_or(0);
  out.lag_us = event.lag_us;
  out.version = event.version;
  out.hits = event.hits;
  out.age_ms = event.age_ms;
  out.size = event.size;
  out.metadata_count = event.metadata.size();
  return out;
}

}  // namespace

cachee_status cachee_subscribe(cachee_cache* cache, const cachee_subscribe_options* given, cachee_subscription** out) noexcept {
  return guarded([&]() -> cachee_status {
    cachee_subscribe_options in;
    const Errc code = read_options(given, cachee_subscribe_options_default(), in);
    if (code != Errc::ok) return fail(code);
    if (cache == nullptr || out == nullptr || (in.events & ~kEvents) != 0 || !is_bytes(in.group, in.group_bytes) ||
        !is_bytes(in.pattern, in.pattern_bytes) || !is_bytes(in.consumer, in.consumer_bytes) || !is_bytes(in.socket, in.socket_bytes)) {
      return fail(Errc::invalid_argument);
    }
    cachee::SubscribeOptions options;
    options.group = view_of(in.group, in.group_bytes);
    options.pattern = view_of(in.pattern, in.pattern_bytes);
    options.events = static_cast<cachee::Event>(in.events);
    options.consumer = view_of(in.consumer, in.consumer_bytes);
    options.socket = view_of(in.socket, in.socket_bytes);
    if (in.retry_attempts != 0) options.retry_attempts = in.retry_attempts;
    if (in.backoff_min_ms != 0) options.backoff_min = milliseconds{in.backoff_min_ms};
    if (in.backoff_max_ms != 0) options.backoff_max = milliseconds{in.backoff_max_ms};
    if (in.ack_deadline_ms != 0) options.ack_deadline = milliseconds{in.ack_deadline_ms};
    auto made = cache->cache.subscribe(std::move(options));
    if (!made) return fail(made.error());
    *out = new cachee_subscription{std::move(*made)};
    return CACHEE_OK;
  });
}

void cachee_subscription_close(cachee_subscription* subscription) noexcept { delete subscription; }

cachee_status cachee_subscription_poll(cachee_subscription* subscription, size_t count_max, cachee_events** events) noexcept {
  return guarded([&]() -> cachee_status {
    if (subscription == nullptr || events == nullptr || count_max == 0) return fail(Errc::invalid_argument);
    return give_events(subscription->subscription.poll(count_max), events);
  });
}

cachee_status cachee_subscription_wait(cachee_subscription* subscription, int64_t timeout_ms, size_t count_max,
                                       cachee_events** events) noexcept {
  return guarded([&]() -> cachee_status {
    if (subscription == nullptr || events == nullptr || count_max == 0 || timeout_ms < 0) return fail(Errc::invalid_argument);
    return give_events(subscription->subscription.wait(milliseconds{timeout_ms}, count_max), events);
  });
}

cachee_status cachee_subscription_ack(cachee_subscription* subscription, const void* id, size_t id_bytes) noexcept {
  if (subscription == nullptr || !is_bytes(id, id_bytes)) return fail(Errc::invalid_argument);
  const auto done = subscription->subscription.ack(view_of(id, id_bytes));
  return done ? CACHEE_OK : fail(done.error());
}

cachee_status cachee_subscription_ack_all(cachee_subscription* subscription, const cachee_events* events) noexcept {
  if (subscription == nullptr || events == nullptr) return fail(Errc::invalid_argument);
  const auto done = subscription->subscription.ack(std::span<const cachee::GroupEvent>{events->events});
  return done ? CACHEE_OK : fail(done.error());
}

cachee_status cachee_subscription_nack(cachee_subscription* subscription, const void* id, size_t id_bytes, int64_t delay_ms,
                                       const void* error, size_t error_bytes) noexcept {
  return guarded([&]() -> cachee_status {
    if (subscription == nullptr || !is_bytes(id, id_bytes) || !is_bytes(error, error_bytes)) return fail(Errc::invalid_argument);
    cachee::NackOptions options;
    if (delay_ms >= 0) options.delay = milliseconds{delay_ms};
    options.error = view_of(error, error_bytes);
    const auto done = subscription->subscription.nack(view_of(id, id_bytes), options);
    return done ? CACHEE_OK : fail(done.error());
  });
}

cachee_status cachee_subscription_lag(cachee_subscription* subscription, uint64_t* events) noexcept {
  if (subscription == nullptr || events == nullptr) return fail(Errc::invalid_argument);
  const auto lag = subscription->subscription.lag();
  if (!lag) return fail(lag.error());
  *events = *lag;
  return CACHEE_OK;
}

size_t cachee_events_count(const cachee_events* events) noexcept { return events == nullptr ? 0 : events->events.size(); }

cachee_status cachee_events_get(const cachee_events* events, size_t index, cachee_event* event) noexcept {
  if (events == nullptr || event == nullptr || !is_result(event)) return fail(Errc::invalid_argument);
  if (index >= events->events.size()) return fail(Errc::not_found);
  write_result(event, to_c(events->events[index]));
  return CACHEE_OK;
}

cachee_status cachee_events_metadata(const cachee_events* events, size_t index, size_t field, cachee_field* out) noexcept {
  if (events == nullptr || out == nullptr) return fail(Errc::invalid_argument);
  if (index >= events->events.size() || field >= events->events[index].metadata.size()) return fail(Errc::not_found);
  const auto& [name, value] = events->events[index].metadata[field];
  *out = {name.data(), name.size(), value.data(), value.size()};
  return CACHEE_OK;
}

void cachee_events_free(cachee_events* events) noexcept { delete events; }
