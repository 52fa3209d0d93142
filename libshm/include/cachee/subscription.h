/* subscription.h: consumer groups in C; a part of cachee.h, which says the rules for every function.
 *
 * A group owns the events of a pattern. Each event is handed to one of the group's consumers, in the order
 * of its key, and stays owed until somebody acknowledges it: at least once, through the death of consumers
 * and of cacheed.
 *
 * Use:   cachee_subscribe_options options = cachee_subscribe_options_default();
 *        options.group = "auth";         options.group_bytes = 4;
 *        options.pattern = "session:*";  options.pattern_bytes = 9;
 *        options.events = CACHEE_EVENT_EXPIRE;
 *        cachee_subscription* sub;
 *        if (cachee_subscribe(cache, &options, &sub) != CACHEE_OK) die();
 *        cachee_events* events;
 *        while (cachee_subscription_wait(sub, 1000, 256, &events) == CACHEE_OK) {
 *          for (size_t i = 0; i < cachee_events_count(events); i++) {
 *            cachee_event event = cachee_event_default();
 *            if (cachee_events_get(events, i, &event) == CACHEE_OK) handle(&event);
 *          }
 *          cachee_subscription_ack_all(sub, events);
 *          cachee_events_free(events);
 *        }
 *        cachee_subscription_close(sub);
 *
 * Threads: one cachee_subscription serves one thread at a time; subscribe more often for more.
 * A cacheed that is restarted is found again by the next call. */
#ifndef CACHEE_SUBSCRIPTION_H
#define CACHEE_SUBSCRIPTION_H

#include <cachee/cachee.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Kinds of events, to subscribe to by `|`.
#define CACHEE_EVENT_WRITE (1u << 1)
#define CACHEE_EVENT_DELETE (1u << 2)
#define CACHEE_EVENT_EXPIRE (1u << 3)
#define CACHEE_EVENT_EVICT (1u << 4)
#define CACHEE_EVENT_READ (1u << 5)
/// Never asked for: what a group with ON_FULL SHED gets in the place of events that were shed.
#define CACHEE_EVENT_GAP (1u << 6)

/// A share in a consumer group.
typedef struct cachee_subscription cachee_subscription;
/// Some events, as one call handed them over.
typedef struct cachee_events cachee_events;

typedef struct cachee_subscribe_options {
  uint32_t struct_bytes; /* set by the caller */
  uint32_t events;       /* CACHEE_EVENT_ bits */
  const char* group;     /* made when it does not exist */
  size_t group_bytes;
  const char* pattern;   /* Redis glob; empty: the group must exist already */
  size_t pattern_bytes;
  const char* consumer;  /* how this one is shown; empty: "pid-" and the process id */
  size_t consumer_bytes;
  const char* socket;    /* path of cacheed's socket; empty: the usual place */
  size_t socket_bytes;
  /* Of the group, when it is made; 0: the default. */
  uint32_t retry_attempts; /* attempts in all: 5 */
  uint32_t backoff_min_ms; /* 50 */
  uint32_t backoff_max_ms; /* 30000 */
  uint32_t ack_deadline_ms; /* 30000 */
} cachee_subscribe_options;

static inline cachee_subscribe_options cachee_subscribe_options_default(void) {
  cachee_subscribe_options options = {(uint32_t)sizeof(cachee_subscribe_options), 0, NULL, 0, NULL, 0, NULL, 0, NULL, 0, 0, 0, 0, 0};
  return options;
}

/// Joins a group, and makes it when there is none of that name.
///
/// @param subscription  close it with cachee_subscription_close(), before or after the cache
/// @error CACHEE_NO_SUPERVISOR     cacheed is not running
/// @error CACHEE_EXISTS            the group has another pattern, other events or options
/// @error CACHEE_NOT_FOUND         no pattern was given, and there is no such group
/// @error CACHEE_INVALID_ARGUMENT  cacheed refuses the name, the pattern, the events or an option
CACHEE_API CACHEE_NODISCARD cachee_status cachee_subscribe(cachee_cache* cache, const cachee_subscribe_options* options,
                                                           cachee_subscription** subscription) CACHEE_NOEXCEPT;

/// What was not acknowledged is given back; no failed attempt, retry_attempts times for each event. NULL is allowed.
CACHEE_API void cachee_subscription_close(cachee_subscription* subscription) CACHEE_NOEXCEPT;

/// What is due now, oldest first; of one key at most one event is out at a time.
///
/// @param count_max  at most so many, up to 4096
/// @param events     handed over: free it with cachee_events_free(); may be empty
/// @error CACHEE_NO_SUPERVISOR  call again: it connects again when there is one
/// @error CACHEE_NOT_FOUND      the group was removed
/// @error CACHEE_FULL           8192 events are not acknowledged
CACHEE_API CACHEE_NODISCARD cachee_status cachee_subscription_poll(cachee_subscription* subscription, size_t count_max,
                                                                   cachee_events** events) CACHEE_NOEXCEPT;

/// Like poll, but waits for the first event, also for a cacheed that is being restarted.
///
/// @param events  empty: the time is over
CACHEE_API CACHEE_NODISCARD cachee_status cachee_subscription_wait(cachee_subscription* subscription, int64_t timeout_ms, size_t count_max,
                                                                   cachee_events** events) CACHEE_NOEXCEPT;

/// The event is over; when this returns CACHEE_OK, that is on disk.
///
/// @error CACHEE_STALE  it is not (any more) in this subscription's hands: its deadline passed, cacheed was
///                      restarted, or it was acknowledged before. It may be handed out again.
/// @error CACHEE_NO_SUPERVISOR, CACHEE_NOT_FOUND
CACHEE_API cachee_status cachee_subscription_ack(cachee_subscription* subscription, const void* id, size_t id_bytes) CACHEE_NOEXCEPT;

/// All of them with one round trip. Those that can be are acknowledged even when it fails.
CACHEE_API cachee_status cachee_subscription_ack_all(cachee_subscription* subscription, const cachee_events* events) CACHEE_NOEXCEPT;

/// Gives the event back: a failed attempt.
///
/// @param delay_ms  until the next attempt; negative: the group's backoff
/// @param error     why, for the dead letter; may be empty
CACHEE_API cachee_status cachee_subscription_nack(cachee_subscription* subscription, const void* id, size_t id_bytes, int64_t delay_ms,
                                                  const void* error, size_t error_bytes) CACHEE_NOEXCEPT;

/// Events of the group that are not acknowledged yet and no dead letters, by everybody.
CACHEE_API CACHEE_NODISCARD cachee_status cachee_subscription_lag(cachee_subscription* subscription, uint64_t* events) CACHEE_NOEXCEPT;

/// One event; its bytes are borrowed from the cachee_events it came from.
typedef struct cachee_event {
  uint32_t struct_bytes; /* set by the caller */
  uint32_t flags;        /* CACHEE_EVENT_HAS_ bits and CACHEE_EVENT_DUPLICATE */
  cachee_bytes id;       /* unique over the segment's life */
  cachee_bytes key;
  cachee_bytes value;    /* of expire, evict and delete: the value that went */
  cachee_bytes old_value;
  cachee_bytes chain;    /* id of the first event of the chain */
  cachee_bytes parent;   /* id of the event that set it off; empty: none */
  cachee_bytes origin_client;
  cachee_bytes origin_instance;
  uint32_t kind;         /* one of the CACHEE_EVENT_ bits */
  uint32_t attempt;      /* 1, 2, ... */
  const char* cause;     /* "ttl", "update", ...; static storage */
  const char* origin;    /* "client", "sweep", ...; static storage */
  int32_t origin_pid;
  uint32_t depth;
  double cost;
  int64_t timestamp_unix_us;
  int64_t deadline_unix_us; /* with CACHEE_EVENT_HAS_DEADLINE */
  int64_t ttl_ms;           /* with CACHEE_EVENT_HAS_TTL */
  int64_t lag_us;           /* how late an expiry fired */
  uint64_t version;
  uint64_t hits;            /* evictions, expiries: how used the key was, 0 to 31; not how often it was read */
  uint64_t age_ms;
  uint64_t size;            /* of the value */
  uint64_t metadata_count;  /* fields that cachee_events_metadata() gives */
} cachee_event;

#define CACHEE_EVENT_HAS_OLD_VALUE (1u << 0)
#define CACHEE_EVENT_HAS_DEADLINE (1u << 1)
#define CACHEE_EVENT_HAS_TTL (1u << 2)
#define CACHEE_EVENT_DUPLICATE (1u << 3) /* a cacheed that died may have handed it out before */

static inline cachee_event cachee_event_default(void) {
  cachee_event event;
  memset(&event, 0, sizeof event);
  event.struct_bytes = (uint32_t)sizeof(cachee_event);
  return event;
}

/// How many; 0 for NULL.
CACHEE_API size_t cachee_events_count(const cachee_events* events) CACHEE_NOEXCEPT;
/// @error CACHEE_NOT_FOUND  there are not so many
CACHEE_API CACHEE_NODISCARD cachee_status cachee_events_get(const cachee_events* events, size_t index, cachee_event* event) CACHEE_NOEXCEPT;
/// One field of an event's metadata, borrowed.
///
/// @error CACHEE_NOT_FOUND  there are not so many
CACHEE_API CACHEE_NODISCARD cachee_status cachee_events_metadata(const cachee_events* events, size_t index, size_t field,
                                                                 cachee_field* out) CACHEE_NOEXCEPT;
/// NULL is allowed.
CACHEE_API void cachee_events_free(cachee_events* events) CACHEE_NOEXCEPT;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CACHEE_SUBSCRIPTION_H */
