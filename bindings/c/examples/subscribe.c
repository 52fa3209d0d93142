/* Prints the sessions that expire, each once and in order; several of these share the work.
 *
 *   cc -std=c11 subscribe.c $(pkg-config --cflags --libs cachee) -o subscribe
 *   ./subscribe orders          # with `cacheed --name orders` running; Ctrl-C ends it
 *   ./subscribe orders 10       # ends after 10 events
 */
#include <cachee/cachee.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stopping;

static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static int failed(const char* what) {
  cachee_error error;
  char text[256];
  cachee_last_error(&error);
  cachee_error_text(&error, text, sizeof text);
  fprintf(stderr, "%s: %s\n", what, text);
  return 1;
}

static void print_event(const cachee_event* event) {
  printf("%.*s: %.*s = %.*s, attempt %" PRIu32 "%s\n", (int)event->id.bytes, (const char*)event->id.data, (int)event->key.bytes,
         (const char*)event->key.data, (int)event->value.bytes, (const char*)event->value.data, event->attempt,
         (event->flags & CACHEE_EVENT_DUPLICATE) != 0 ? ", perhaps seen before" : "");
}

int main(int argc, char** argv) {
  cachee_open_options open_options = cachee_open_options_default();
  cachee_subscribe_options options = cachee_subscribe_options_default();
  cachee_cache* cache = NULL;
  cachee_subscription* subscription = NULL;
  unsigned long left = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
  int result = 0;

  if (argc > 1) {
    open_options.name = argv[1];
    open_options.name_bytes = strlen(argv[1]);
  }
  if (cachee_open(&open_options, &cache) != CACHEE_OK) return failed("open");

  options.group = "auth";
  options.group_bytes = strlen(options.group);
  options.pattern = "session:*";
  options.pattern_bytes = strlen(options.pattern);
  options.events = CACHEE_EVENT_EXPIRE;
  if (cachee_subscribe(cache, &options, &subscription) != CACHEE_OK) {
    result = failed("subscribe");
    cachee_close(cache);
    return result;
  }
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  puts("subscribed");
  fflush(stdout);

  while (!stopping && (argc <= 2 || left > 0)) {
    cachee_events* events = NULL;
    const cachee_status status = cachee_subscription_wait(subscription, 1000, 256, &events);
    if (status == CACHEE_NO_SUPERVISOR) continue; /* the next wait finds it when it is back */
    if (status != CACHEE_OK) {
      result = failed("wait");
      break;
    }
    for (size_t i = 0; i < cachee_events_count(events); i++) {
      cachee_event event = cachee_event_default();
      if (cachee_events_get(events, i, &event) != CACHEE_OK) continue;
      print_event(&event);
      if (left > 0) left--;
    }
    fflush(stdout);
    /* Only now is it over. What is not acknowledged, because we die here, comes again. */
    if (cachee_events_count(events) > 0 && cachee_subscription_ack_all(subscription, events) != CACHEE_OK) failed("ack");
    cachee_events_free(events);
  }
  cachee_subscription_close(subscription);
  cachee_close(cache);
  return result;
}
