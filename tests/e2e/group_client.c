/* A consumer through the C ABI, for tests/e2e/groups_test.py: the modes ack, poll, nack and late of
 * group_client.cpp, and the same lines. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <cachee/cachee.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile sig_atomic_t stop_wanted;

static void on_stop(int signal_number) {
  (void)signal_number;
  stop_wanted = 1;
}

static void must(cachee_status status, const char* what) {
  cachee_error error;
  char text[256];
  if (status == CACHEE_OK) return;
  cachee_last_error(&error);
  cachee_error_text(&error, text, sizeof text);
  fprintf(stderr, "%s: %d %s\n", what, (int)status, text);
  exit(1);
}

static cachee_event event_at(const cachee_events* events, size_t index) {
  cachee_event event = cachee_event_default();
  must(cachee_events_get(events, index, &event), "get");
  return event;
}

static const char* kind_text(uint32_t kind) {
  return kind == CACHEE_EVENT_WRITE ? "write" : kind == CACHEE_EVENT_EXPIRE ? "expire" : "other";
}

static void print_bytes(cachee_bytes bytes, char end) {
  fwrite(bytes.data, 1, bytes.bytes, stdout);
  putchar(end);
}

static void print_events(const cachee_events* events) {
  for (size_t i = 0; i < cachee_events_count(events); i++) {
    const cachee_event event = event_at(events, i);
    cachee_field field;
    print_bytes(event.id, ' ');
    printf("%s ", kind_text(event.kind));
    print_bytes(event.key, ' ');
    print_bytes(event.value, ' ');
    printf("%" PRIu32 " %d", event.attempt, (event.flags & CACHEE_EVENT_DUPLICATE) != 0);
    for (uint64_t n = 0; n < event.metadata_count; n++) {
      must(cachee_events_metadata(events, i, (size_t)n, &field), "metadata");
      printf(" %.*s=%.*s", (int)field.name_bytes, (const char*)field.name, (int)field.value_bytes, (const char*)field.value);
    }
    if (cachee_events_metadata(events, i, (size_t)event.metadata_count, &field) != CACHEE_NOT_FOUND) printf(" one field too many");
    putchar('\n');
  }
  fflush(stdout);
}

static cachee_events* wait_for_some(cachee_subscription* sub) {
  cachee_events* events = NULL;
  must(cachee_subscription_wait(sub, 30000, 256, &events), "wait");
  if (cachee_events_count(events) == 0) must(CACHEE_TIMED_OUT, "wait");
  print_events(events);
  return events;
}

static void poll_until_told(cachee_subscription* sub) {
  const struct timespec millisecond = {0, 1000000};
  uint64_t lag = 0;
  signal(SIGTERM, on_stop);
  puts("ready");
  fflush(stdout);
  while (!stop_wanted) {
    cachee_events* events = NULL;
    must(cachee_subscription_poll(sub, 16, &events), "poll");
    print_events(events);
    for (size_t i = 0; i < cachee_events_count(events); i++) {
      const cachee_event event = event_at(events, i);
      must(cachee_subscription_ack(sub, event.id.data, event.id.bytes), "ack");
    }
    if (cachee_events_count(events) == 0) nanosleep(&millisecond, NULL);
    cachee_events_free(events);
  }
  must(cachee_subscription_lag(sub, &lag), "lag");
  printf("lag %" PRIu64 "\n", lag);
}

static void nack_each_once(cachee_subscription* sub, size_t count) {
  static const char reason[] = "no such user";
  for (size_t seen = 0; seen < count;) {
    cachee_events* events = wait_for_some(sub);
    for (size_t i = 0; i < cachee_events_count(events); i++, seen++) {
      const cachee_event event = event_at(events, i);
      if (event.value.bytes == 3 && memcmp(event.value.data, "bad", 3) == 0) {
        must(cachee_subscription_nack(sub, event.id.data, event.id.bytes, 1, reason, strlen(reason)), "nack");
      } else if (event.attempt == 1) {
        must(cachee_subscription_nack(sub, event.id.data, event.id.bytes, -1, NULL, 0), "nack");
      } else {
        must(cachee_subscription_ack(sub, event.id.data, event.id.bytes), "ack");
      }
    }
    cachee_events_free(events);
  }
}

static void ack_late(cachee_subscription* sub) {
  cachee_events* events = wait_for_some(sub);
  getchar();
  for (size_t i = 0; i < cachee_events_count(events); i++) {
    const cachee_event event = event_at(events, i);
    const cachee_status status = cachee_subscription_ack(sub, event.id.data, event.id.bytes);
    print_bytes(event.id, ' ');
    puts(status == CACHEE_OK ? "ok" : status == CACHEE_STALE ? "stale" : "another error");
  }
  cachee_events_free(events);
}

static void ack_all(cachee_subscription* sub, size_t count) {
  for (size_t seen = 0; seen < count;) {
    cachee_events* events = wait_for_some(sub);
    seen += cachee_events_count(events);
    must(cachee_subscription_ack_all(sub, events), "ack_all");
    cachee_events_free(events);
  }
}

int main(int argc, char** argv) {
  const char* const mode = argc > 5 ? argv[5] : "ack";
  cachee_open_options open_options = cachee_open_options_default();
  cachee_subscribe_options options = cachee_subscribe_options_default();
  cachee_cache* cache = NULL;
  cachee_subscription* sub = NULL;
  size_t count = 0;
  if (argc < 5) return 2;
  open_options.name = argv[1];
  open_options.name_bytes = strlen(argv[1]);
  must(cachee_open(&open_options, &cache), "open");
  options.group = argv[2];
  options.group_bytes = strlen(argv[2]);
  options.pattern = argv[3];
  options.pattern_bytes = strlen(argv[3]);
  options.events = CACHEE_EVENT_WRITE | CACHEE_EVENT_EXPIRE;
  if (argc > 6) options.ack_deadline_ms = (uint32_t)strtoul(argv[6], NULL, 10);
  must(cachee_subscribe(cache, &options, &sub), "subscribe");
  count = (size_t)strtoull(argv[4], NULL, 10);
  if (strcmp(mode, "poll") == 0) {
    poll_until_told(sub);
  } else {
    puts("ready");
    fflush(stdout);
    if (strcmp(mode, "nack") == 0) nack_each_once(sub, count);
    else if (strcmp(mode, "late") == 0) ack_late(sub);
    else ack_all(sub, count);
  }
  cachee_subscription_close(sub);
  cachee_close(cache);
  return 0;
}
