/* Stores a session that lives for half an hour, and reads it back in place.
 *
 *   cc -std=c11 get_set.c $(pkg-config --cflags --libs cachee) -o get_set
 *   ./get_set orders            # with `cacheed --name orders` running
 */
#include <cachee/cachee.h>
#include <stdio.h>
#include <string.h>

static int failed(const char* what) {
  cachee_error error;
  char text[256];
  cachee_last_error(&error);
  cachee_error_text(&error, text, sizeof text);
  fprintf(stderr, "%s: %s\n", what, text);
  return 1;
}

int main(int argc, char** argv) {
  const char key[] = "session:42";
  const char value[] = "{\"user\": 42}";
  const cachee_field metadata[] = {{"user", 4, "42", 2}};
  cachee_open_options open_options = cachee_open_options_default();
  cachee_set_options set_options = cachee_set_options_default();
  cachee_cache* cache = NULL;
  cachee_pin* pin = NULL;
  int64_t ttl_ms = 0;

  if (argc > 1) {
    open_options.name = argv[1];
    open_options.name_bytes = strlen(argv[1]);
  }
  if (cachee_open(&open_options, &cache) != CACHEE_OK) return failed("open");

  set_options.flags = CACHEE_SET_TTL | CACHEE_SET_COST;
  set_options.ttl_ns = INT64_C(30) * 60 * 1000000000;
  set_options.cost = 12.5;
  set_options.metadata = metadata;
  set_options.metadata_count = 1;
  if (cachee_set(cache, key, strlen(key), value, strlen(value), &set_options, NULL) != CACHEE_OK) {
    cachee_close(cache);
    return failed("set");
  }

  if (cachee_view(cache, key, strlen(key), &pin) != CACHEE_OK ||
      cachee_ttl(cache, key, strlen(key), &ttl_ms) != CACHEE_OK) {
    cachee_pin_release(pin);
    cachee_close(cache);
    return failed("view");
  }
  printf("%s = %.*s for %lld s more\n", key, (int)cachee_pin_bytes(pin),
         (const char*)cachee_pin_data(pin), (long long)((ttl_ms + 999) / 1000));
  cachee_pin_release(pin);
  cachee_close(cache);
  return 0;
}
