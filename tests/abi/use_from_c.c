/* Calls every function of cachee.h from strict C11 against a real segment, which another process
 * holds. Usage: use_from_c PATH_OF_segment_holder */
#define _POSIX_C_SOURCE 200809L

#include <cachee/cachee.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);         \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)

#define CHECK_STATUS(call, wanted)                                                    \
  do {                                                                                \
    const cachee_status status_ = (call);                                             \
    if (status_ != (wanted)) {                                                        \
      fprintf(stderr, "%s:%d: %s is %d (%s), wanted %d (%s)\n", __FILE__, __LINE__,   \
              #call, (int)status_, cachee_strerror(status_), (int)(wanted),           \
              cachee_strerror(wanted));                                               \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)
#define OK(call) CHECK_STATUS(call, CACHEE_OK)

#define STR(text) (text), (sizeof(text) - 1)

enum { RING_EVENTS_MAX = 65536, LINE_BYTES = 256 };

/* ---- the process that holds the segment -------------------------------------------------- */

typedef struct holder {
  pid_t pid;
  FILE* to;
  FILE* from;
} holder;

static char segment_name[64];

static void read_line(holder* h, char* line) {
  CHECK(fgets(line, LINE_BYTES, h->from) != NULL);
  line[strcspn(line, "\n")] = '\0';
}

static holder start_holder(const char* program) {
  holder h;
  int to[2], from[2];
  char line[LINE_BYTES];
  CHECK(pipe(to) == 0 && pipe(from) == 0);
  h.pid = fork();
  CHECK(h.pid >= 0);
  if (h.pid == 0) {
    dup2(to[0], STDIN_FILENO);
    dup2(from[1], STDOUT_FILENO);
    close(to[0]), close(to[1]), close(from[0]), close(from[1]);
    execl(program, program, segment_name, (char*)NULL);
    _exit(127);
  }
  close(to[0]), close(from[1]);
  h.to = fdopen(to[1], "w");
  h.from = fdopen(from[0], "r");
  CHECK(h.to != NULL && h.from != NULL);
  read_line(&h, line);
  CHECK(strcmp(line, "ready") == 0);
  return h;
}

static void ask(holder* h, const char* command, char* line) {
  fprintf(h->to, "%s\n", command);
  fflush(h->to);
  read_line(h, line);
  if (strncmp(line, "ok", 2) != 0) fprintf(stderr, "%s: %s\n", command, line);
  CHECK(strncmp(line, "ok", 2) == 0);
}

static void stop_holder(holder* h) {
  int status = 0;
  fclose(h->to);
  CHECK(waitpid(h->pid, &status, 0) == h->pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  fclose(h->from);
}

static cachee_cache* open_cache(void) {
  cachee_open_options options = cachee_open_options_default();
  cachee_cache* cache = NULL;
  options.name = segment_name;
  options.name_bytes = strlen(segment_name);
  options.client_name = "use_from_c";
  options.client_name_bytes = 10;
  OK(cachee_open(&options, &cache));
  CHECK(cache != NULL);
  return cache;
}

static void expect_value(const cachee_cache* cache, const char* key, const char* wanted) {
  void* value = NULL;
  size_t bytes = 0;
  OK(cachee_get(cache, key, strlen(key), &value, &bytes, NULL));
  CHECK(bytes == strlen(wanted) && memcmp(value, wanted, bytes) == 0);
  cachee_free(value);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void versions_and_words(void) {
  CHECK(cachee_abi_version() == CACHEE_ABI_VERSION);
  CHECK(strcmp(cachee_version(), "0.1.0") == 0);
  CHECK(strncmp(cachee_strerror(CACHEE_NOT_FOUND), "not_found", 9) == 0);
  CHECK(strcmp(cachee_strerror(12345), "unknown status") == 0);
  CHECK(strcmp(cachee_strerror(-1), "unknown status") == 0);
  cachee_free(NULL);
  cachee_close(NULL);
  cachee_pin_release(NULL);
}

static void missing_segment_is_named_as_such(void) {
  cachee_open_options options = cachee_open_options_default();
  cachee_cache* cache = (cachee_cache*)&options;
  cachee_error error;
  char text[256];
  size_t bytes;
  options.name = "cachee-test-no-such-segment";
  options.name_bytes = strlen(options.name);
  CHECK_STATUS(cachee_open(&options, &cache), CACHEE_NO_SEGMENT);
  CHECK(cache == (cachee_cache*)&options); /* written only on success */
  cachee_last_error(&error);
  CHECK(error.status == CACHEE_NO_SEGMENT);
  bytes = cachee_error_text(&error, text, sizeof text);
  CHECK(bytes > 0 && bytes == strlen(text));
  CHECK(cachee_error_text(&error, NULL, 0) == bytes);
  CHECK(cachee_error_text(&error, text, 4) == bytes && strlen(text) == 3);

  options.name = "No Such Name/";
  options.name_bytes = strlen(options.name);
  CHECK_STATUS(cachee_open(&options, &cache), CACHEE_INVALID_ARGUMENT);
}

static void wrong_arguments_are_refused(cachee_cache* cache) {
  void* value = NULL;
  size_t bytes = 0;
  bool flag = false;
  cachee_open_options open_options = cachee_open_options_default();
  cachee_set_options set_options = cachee_set_options_default();
  cachee_write_result result = cachee_write_result_default();
  cachee_cache* other = NULL;

  CHECK_STATUS(cachee_open(NULL, NULL), CACHEE_INVALID_ARGUMENT);
  open_options.access = 7;
  CHECK_STATUS(cachee_open(&open_options, &other), CACHEE_INVALID_ARGUMENT);
  open_options = cachee_open_options_default();
  open_options.flags = 0x80000000u;
  CHECK_STATUS(cachee_open(&open_options, &other), CACHEE_INVALID_ARGUMENT);
  open_options = cachee_open_options_default();
  open_options.struct_bytes = 4;
  CHECK_STATUS(cachee_open(&open_options, &other), CACHEE_INVALID_ARGUMENT);
  CHECK(other == NULL);

  CHECK_STATUS(cachee_get(NULL, STR("k"), &value, &bytes, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_get(cache, NULL, 1, &value, &bytes, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_get(cache, STR("k"), NULL, &bytes, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_set(NULL, STR("k"), STR("v"), NULL, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_set(cache, STR("k"), NULL, 5, NULL, NULL), CACHEE_INVALID_ARGUMENT);
  set_options.condition = 9;
  CHECK_STATUS(cachee_set(cache, STR("k"), STR("v"), &set_options, NULL),
               CACHEE_INVALID_ARGUMENT);
  set_options = cachee_set_options_default();
  set_options.flags = CACHEE_SET_COST;
  set_options.cost = -1.0;
  CHECK_STATUS(cachee_set(cache, STR("k"), STR("v"), &set_options, NULL),
               CACHEE_INVALID_ARGUMENT);
  set_options = cachee_set_options_default();
  set_options.metadata_count = 1;
  CHECK_STATUS(cachee_set(cache, STR("k"), STR("v"), &set_options, NULL),
               CACHEE_INVALID_ARGUMENT);
  result.struct_bytes = 1;
  CHECK_STATUS(cachee_set(cache, STR("k"), STR("v"), NULL, &result), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_touch(cache, STR("k"), 1, 99, &flag), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_wait_acknowledged(cache, 0, -1), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_contains(cache, STR("k"), NULL), CACHEE_INVALID_ARGUMENT);
  OK(cachee_contains(cache, STR("k"), &flag));
  CHECK(!flag); /* none of the refused writes was done */
  CHECK(!cachee_supervisor_alive(NULL) && cachee_name(NULL) == NULL);
}

/* A program of a later header: bigger structs, with a tail that this library does not know. */
static void later_structs_are_taken_while_their_tail_is_zero(cachee_cache* cache) {
  struct {
    cachee_set_options now;
    uint64_t later;
  } options;
  struct {
    cachee_write_result now;
    uint64_t later;
  } result;
  memset(&options, 0, sizeof options);
  options.now.struct_bytes = (uint32_t)sizeof options;
  memset(&result, 0xff, sizeof result);
  result.now.struct_bytes = (uint32_t)sizeof result;
  OK(cachee_set(cache, STR("grown"), STR("v"), &options.now, &result.now));
  CHECK(result.now.version > 0 && result.later == 0);
  CHECK(result.now.struct_bytes == sizeof result);
  CHECK((result.now.flags & CACHEE_RESULT_CREATED) != 0);
  options.later = 1;
  CHECK_STATUS(cachee_set(cache, STR("grown"), STR("w"), &options.now, NULL), CACHEE_UNSUPPORTED);
  expect_value(cache, "grown", "v");
  OK(cachee_erase(cache, STR("grown"), NULL, NULL));
}

static void values_are_stored_and_read(cachee_cache* cache) {
  void* value = NULL;
  size_t bytes = 0;
  uint64_t version = 0;
  char buffer[8];
  bool found = false;
  CHECK(strcmp(cachee_name(cache), segment_name) == 0);
  CHECK(cachee_supervisor_alive(cache));

  CHECK_STATUS(cachee_get(cache, STR("a"), &value, &bytes, &version), CACHEE_NOT_FOUND);
  CHECK(value == NULL && bytes == 0 && version == 0);
  OK(cachee_set(cache, STR("a"), STR("with\0zero"), NULL, NULL));
  OK(cachee_get(cache, STR("a"), &value, &bytes, &version));
  CHECK(bytes == 9 && memcmp(value, "with\0zero", 9) == 0 && version > 0);
  cachee_free(value);

  OK(cachee_set(cache, NULL, 0, NULL, 0, NULL, NULL)); /* empty key, empty value */
  OK(cachee_get(cache, "", 0, &value, &bytes, NULL));
  CHECK(value != NULL && bytes == 0);
  cachee_free(value);
  OK(cachee_erase(cache, "", 0, NULL, NULL));

  OK(cachee_get_into(cache, STR("a"), buffer, sizeof buffer, &bytes));
  CHECK(bytes == 9); /* too big: nothing copied */
  OK(cachee_set(cache, STR("a"), STR("four"), NULL, NULL));
  OK(cachee_get_into(cache, STR("a"), buffer, sizeof buffer, &bytes));
  CHECK(bytes == 4 && memcmp(buffer, "four", 4) == 0);
  CHECK_STATUS(cachee_get_into(cache, STR("b"), buffer, sizeof buffer, &bytes), CACHEE_NOT_FOUND);

  OK(cachee_contains(cache, STR("a"), &found));
  CHECK(found);
  OK(cachee_contains(cache, STR("b"), &found));
  CHECK(!found);
}

static void conditions_and_versions_hold(cachee_cache* cache) {
  cachee_write_result result = cachee_write_result_default();
  cachee_set_options options = cachee_set_options_default();
  cachee_erase_options erase_options = cachee_erase_options_default();
  cachee_erase_result erased = cachee_erase_result_default();
  uint64_t first;

  OK(cachee_add(cache, STR("v"), STR("1"), NULL, &result));
  first = result.version;
  CHECK(first > 0 && (result.flags & CACHEE_RESULT_CREATED) != 0);
  CHECK_STATUS(cachee_add(cache, STR("v"), STR("2"), NULL, NULL), CACHEE_EXISTS);
  CHECK_STATUS(cachee_replace(cache, STR("none"), STR("2"), NULL, NULL), CACHEE_NOT_FOUND);
  OK(cachee_replace(cache, STR("v"), STR("2"), NULL, &result));
  CHECK(result.version > first && (result.flags & CACHEE_RESULT_CREATED) == 0);
  CHECK_STATUS(cachee_compare_and_set(cache, STR("v"), first, STR("3"), NULL, NULL),
               CACHEE_STALE);
  OK(cachee_compare_and_set(cache, STR("v"), result.version, STR("3"), NULL, &result));

  options.flags = CACHEE_SET_IF_VERSION | CACHEE_SET_RETURN_OLD;
  options.if_version = result.version;
  OK(cachee_set(cache, STR("v"), STR("4"), &options, &result));
  CHECK((result.flags & CACHEE_RESULT_OLD_VALUE) != 0);
  CHECK(result.old_value_bytes == 1 && memcmp(result.old_value, "3", 1) == 0);
  cachee_free(result.old_value);
  CHECK_STATUS(cachee_set(cache, STR("v"), STR("5"), &options, NULL), CACHEE_STALE);
  options = cachee_set_options_default();
  options.condition = CACHEE_IF_ABSENT;
  CHECK_STATUS(cachee_set(cache, STR("v"), STR("5"), &options, NULL), CACHEE_EXISTS);
  options.condition = CACHEE_IF_PRESENT;
  CHECK_STATUS(cachee_set(cache, STR("none"), STR("5"), &options, NULL), CACHEE_NOT_FOUND);

  erase_options.flags = CACHEE_ERASE_IF_VERSION;
  erase_options.if_version = first;
  CHECK_STATUS(cachee_erase(cache, STR("v"), &erase_options, NULL), CACHEE_STALE);
  erase_options.flags = CACHEE_ERASE_RETURN_OLD | CACHEE_ERASE_INVALIDATE;
  OK(cachee_erase(cache, STR("v"), &erase_options, &erased));
  CHECK((erased.flags & CACHEE_RESULT_OLD_VALUE) != 0);
  CHECK(erased.old_value_bytes == 1 && memcmp(erased.old_value, "4", 1) == 0);
  cachee_free(erased.old_value);
  CHECK_STATUS(cachee_erase(cache, STR("v"), NULL, NULL), CACHEE_NOT_FOUND);
}

static void numbers_and_suffixes(cachee_cache* cache) {
  cachee_increment_options options = cachee_increment_options_default();
  int64_t sum = 0;
  size_t bytes = 0;
  OK(cachee_increment(cache, STR("n"), 5, NULL, &sum));
  CHECK(sum == 5);
  OK(cachee_increment(cache, STR("n"), -7, NULL, &sum));
  CHECK(sum == -2);
  options.initial = 100;
  OK(cachee_increment(cache, STR("m"), 1, &options, &sum));
  CHECK(sum == 101);
  CHECK_STATUS(cachee_increment(cache, STR("n"), INT64_MIN, NULL, &sum), CACHEE_OVERFLOW);
  OK(cachee_append(cache, STR("n"), STR("x"), &bytes));
  CHECK(bytes == 3);
  CHECK_STATUS(cachee_increment(cache, STR("n"), 1, NULL, &sum), CACHEE_NOT_A_NUMBER);
  CHECK(sum == 101);
  expect_value(cache, "n", "-2x");
  OK(cachee_append(cache, STR("new"), STR("abc"), NULL));
  expect_value(cache, "new", "abc");
}

static int64_t unix_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void deadlines(cachee_cache* cache) {
  const int64_t hour_ns = INT64_C(3600) * 1000000000;
  const int64_t hour_ms = INT64_C(3600) * 1000;
  cachee_set_options options = cachee_set_options_default();
  int64_t ttl_ms = 0;
  bool applied = false;

  options.flags = CACHEE_SET_TTL;
  options.ttl_ns = hour_ns;
  OK(cachee_set(cache, STR("t"), STR("v"), &options, NULL));
  OK(cachee_ttl(cache, STR("t"), &ttl_ms));
  CHECK(ttl_ms > hour_ms - 60000 && ttl_ms <= hour_ms);

  OK(cachee_touch(cache, STR("t"), 2 * hour_ns, CACHEE_EXPIRE_LESS, &applied));
  CHECK(!applied);
  OK(cachee_touch(cache, STR("t"), 2 * hour_ns, CACHEE_EXPIRE_GREATER, &applied));
  CHECK(applied);
  OK(cachee_ttl(cache, STR("t"), &ttl_ms));
  CHECK(ttl_ms > hour_ms);
  OK(cachee_touch(cache, STR("t"), hour_ns, CACHEE_EXPIRE_NO_DEADLINE, &applied));
  CHECK(!applied);
  OK(cachee_touch_at(cache, STR("t"), unix_ms() + hour_ms, CACHEE_EXPIRE_ALWAYS, &applied));
  CHECK(applied);
  OK(cachee_ttl(cache, STR("t"), &ttl_ms));
  CHECK(ttl_ms > hour_ms - 60000 && ttl_ms <= hour_ms);

  options = cachee_set_options_default();
  options.flags = CACHEE_SET_KEEP_TTL;
  OK(cachee_set(cache, STR("t"), STR("w"), &options, NULL));
  OK(cachee_ttl(cache, STR("t"), &ttl_ms));
  CHECK(ttl_ms > 0);
  OK(cachee_persist(cache, STR("t"), &applied));
  CHECK(applied);
  OK(cachee_persist(cache, STR("t"), &applied));
  CHECK(!applied);
  OK(cachee_ttl(cache, STR("t"), &ttl_ms));
  CHECK(ttl_ms == CACHEE_TTL_NONE);
  OK(cachee_touch(cache, STR("t"), hour_ns, CACHEE_EXPIRE_HAS_DEADLINE, &applied));
  CHECK(!applied);

  options = cachee_set_options_default();
  options.flags = CACHEE_SET_DEADLINE;
  options.deadline_unix_ms = unix_ms() + hour_ms;
  OK(cachee_set(cache, STR("t"), STR("x"), &options, NULL));
  OK(cachee_ttl(cache, STR("t"), &ttl_ms));
  CHECK(ttl_ms > hour_ms - 60000 && ttl_ms <= hour_ms);

  CHECK_STATUS(cachee_ttl(cache, STR("none"), &ttl_ms), CACHEE_NOT_FOUND);
  CHECK_STATUS(cachee_touch(cache, STR("none"), hour_ns, CACHEE_EXPIRE_ALWAYS, &applied),
               CACHEE_NOT_FOUND);
  CHECK_STATUS(cachee_touch_at(cache, STR("none"), 0, CACHEE_EXPIRE_ALWAYS, NULL),
               CACHEE_NOT_FOUND);
  CHECK_STATUS(cachee_persist(cache, STR("none"), &applied), CACHEE_NOT_FOUND);
}

static void everything_stored_is_inspected(cachee_cache* cache) {
  const cachee_field metadata[] = {{STR("user"), STR("42")}, {STR("plan"), STR("")}};
  const cachee_bytes parents[] = {{STR("p:1")}, {STR("p:2")}};
  cachee_set_options options = cachee_set_options_default();
  cachee_entry* entry = NULL;
  options.flags = CACHEE_SET_COST | CACHEE_SET_TTL;
  options.cost = 12.5;
  options.ttl_ns = INT64_C(60000000000);
  options.metadata = metadata;
  options.metadata_count = 2;
  options.depends_on = parents;
  options.depends_on_count = 2;
  OK(cachee_set(cache, STR("whole"), STR("value"), &options, NULL));
  OK(cachee_inspect(cache, STR("whole"), &entry));
  CHECK(entry->struct_bytes == sizeof(cachee_entry));
  CHECK(entry->value_bytes == 5 && strcmp(entry->value, "value") == 0);
  CHECK(entry->version > 0 && entry->cost == 12.5);
  CHECK(entry->ttl_ms > 0 && entry->ttl_ms <= 60000 && entry->age_ms >= 0);
  CHECK(entry->memory_bytes >= 5);
  CHECK(entry->metadata_count == 2 && entry->depends_on_count == 2);
  CHECK(entry->metadata[0].name_bytes == 4 && strcmp(entry->metadata[0].name, "user") == 0);
  CHECK(entry->metadata[0].value_bytes == 2 && strcmp(entry->metadata[0].value, "42") == 0);
  CHECK(strcmp(entry->metadata[1].name, "plan") == 0 && entry->metadata[1].value_bytes == 0);
  CHECK(entry->depends_on[0].bytes == 3 && strcmp(entry->depends_on[0].data, "p:1") == 0);
  CHECK(entry->depends_on[1].bytes == 3 && strcmp(entry->depends_on[1].data, "p:2") == 0);
  cachee_free(entry);
  entry = NULL;
  CHECK_STATUS(cachee_inspect(cache, STR("none"), &entry), CACHEE_NOT_FOUND);
  CHECK(entry == NULL);
}

static void pins_keep_what_they_show(cachee_cache* cache) {
  cachee_pin* pin = NULL;
  CHECK_STATUS(cachee_view(cache, STR("pinned"), &pin), CACHEE_NOT_FOUND);
  CHECK(pin == NULL);
  OK(cachee_set(cache, STR("pinned"), STR("before"), NULL, NULL));
  OK(cachee_view(cache, STR("pinned"), &pin));
  CHECK(cachee_pin_in_place(pin) && cachee_pin_version(pin) > 0);
  OK(cachee_set(cache, STR("pinned"), STR("after!"), NULL, NULL));
  OK(cachee_erase(cache, STR("pinned"), NULL, NULL));
  CHECK(cachee_pin_bytes(pin) == 6 && memcmp(cachee_pin_data(pin), "before", 6) == 0);
  cachee_pin_release(pin);
}

typedef struct seen {
  size_t count;
  size_t missing;
  size_t bytes;
} seen;

static void see_value(void* context, size_t index, const void* value, size_t value_bytes) {
  seen* s = context;
  CHECK(index == s->count);
  s->count++;
  s->bytes += value_bytes;
  if (value == NULL) s->missing++;
}

static void see_key(void* context, const void* key, size_t key_bytes) {
  seen* s = context;
  CHECK(key_bytes == 6 && memcmp(key, "scan:", 5) == 0);
  s->count++;
  s->bytes |= (size_t)1 << (((const char*)key)[5] - 'a');
}

static void many_keys(cachee_cache* cache) {
  const cachee_bytes keys[] = {{STR("scan:a")}, {STR("none")}, {STR("scan:b")}, {STR("empty")}};
  seen s = {0, 0, 0};
  uint64_t cursor = 0, next = 0, count = 99;
  void* key = NULL;
  size_t key_bytes = 0;
  char name[] = "scan:?";

  OK(cachee_clear(cache, &count));
  CHECK(count > 0);
  OK(cachee_size(cache, &count));
  CHECK(count == 0);
  CHECK_STATUS(cachee_random_key(cache, &key, &key_bytes), CACHEE_NOT_FOUND);

  for (name[5] = 'a'; name[5] <= 'z'; name[5]++) OK(cachee_set(cache, name, 6, "vv", 2, NULL, NULL));
  OK(cachee_size(cache, &count));
  CHECK(count == 26);
  do {
    OK(cachee_scan(cache, cursor, 5, see_key, &s, &next));
    cursor = next;
  } while (cursor != 0);
  CHECK(s.count >= 26 && s.bytes == ((size_t)1 << 26) - 1);
  OK(cachee_random_key(cache, &key, &key_bytes));
  CHECK(key_bytes == 6 && memcmp(key, "scan:", 5) == 0);
  cachee_free(key);

  memset(&s, 0, sizeof s);
  OK(cachee_set(cache, STR("empty"), "", 0, NULL, NULL));
  OK(cachee_get_many(cache, keys, 4, see_value, &s));
  CHECK(s.count == 4 && s.missing == 1 && s.bytes == 4);
  OK(cachee_get_many(cache, NULL, 0, see_value, &s));
  CHECK(s.count == 4);
}

static void see_stored(void* context, size_t index, uint64_t version) {
  seen* s = context;
  CHECK(index == s->count && version > 0);
  s->count++;
}

static void many_items(cachee_cache* cache) {
  const cachee_item items[] = {{STR("m:1"), STR("one")}, {STR(""), STR("")}, {STR("m:3"), STR("three")}};
  cachee_item wrong[3];
  char* const too_long = calloc(1, 70000);
  cachee_set_options options = cachee_set_options_default();
  seen s = {0, 0, 0};
  int64_t ttl_ms = 0;
  CHECK(too_long != NULL);
  options.flags = CACHEE_SET_TTL;
  options.ttl_ns = INT64_C(60000000000);
  OK(cachee_set_many(cache, items, 3, &options, see_stored, &s));
  CHECK(s.count == 3);
  expect_value(cache, "m:1", "one");
  expect_value(cache, "m:3", "three");
  expect_value(cache, "", "");
  OK(cachee_ttl(cache, STR("m:3"), &ttl_ms));
  CHECK(ttl_ms > 0 && ttl_ms <= 60000);
  OK(cachee_set_many(cache, NULL, 0, NULL, NULL, NULL));

  memset(&s, 0, sizeof s);
  memcpy(wrong, items, sizeof wrong);
  wrong[1].key = too_long;
  wrong[1].key_bytes = 70000;
  CHECK_STATUS(cachee_set_many(cache, wrong, 3, NULL, see_stored, &s), CACHEE_INVALID_ARGUMENT);
  CHECK(s.count == 1); /* the items before the failure stand */
  options.flags = CACHEE_SET_RETURN_OLD;
  CHECK_STATUS(cachee_set_many(cache, items, 3, &options, NULL, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_set_many(NULL, items, 3, NULL, NULL, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_set_many(cache, NULL, 3, NULL, NULL, NULL), CACHEE_INVALID_ARGUMENT);
  free(too_long);
}

typedef struct found_client {
  size_t clients;
  uint64_t sets;
} found_client;

static void see_client(void* context, const cachee_client* client) {
  found_client* found = context;
  CHECK(client->struct_bytes == sizeof *client);
  CHECK(client->name != NULL && client->operation != NULL && client->role != NULL);
  found->clients++;
  if (client->pid == getpid() && client->alive && strcmp(client->role, "client") == 0) {
    CHECK(strcmp(client->operation, "idle") == 0);
    found->sets += client->stats.sets;
  }
}

static void statistics_are_kept_by_client(cachee_cache* cache) {
  cachee_stats before = cachee_stats_default(), after = cachee_stats_default();
  found_client first = {0, 0}, second = {0, 0};
  OK(cachee_total_stats(cache, &before));
  OK(cachee_clients(cache, see_client, &first));
  OK(cachee_set(cache, STR("counted"), STR("v"), NULL, NULL));
  OK(cachee_total_stats(cache, &after));
  OK(cachee_clients(cache, see_client, &second));
  CHECK(first.clients >= 1 && second.sets == first.sets + 1);
  CHECK(after.sets == before.sets + 1 && after.struct_bytes == sizeof after);
  CHECK_STATUS(cachee_clients(cache, NULL, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_total_stats(cache, NULL), CACHEE_INVALID_ARGUMENT);
  after.struct_bytes = 8;
  CHECK_STATUS(cachee_total_stats(cache, &after), CACHEE_INVALID_ARGUMENT);
}

static void reading_handle_refuses_writes(void) {
  cachee_open_options options = cachee_open_options_default();
  cachee_cache* cache = NULL;
  bool found = false;
  options.name = segment_name;
  options.name_bytes = strlen(segment_name);
  options.access = CACHEE_ACCESS_READ_ONLY;
  options.flags = CACHEE_OPEN_PREFAULT;
  OK(cachee_open(&options, &cache));
  OK(cachee_contains(cache, STR("empty"), &found));
  CHECK(found);
  CHECK_STATUS(cachee_set(cache, STR("k"), STR("v"), NULL, NULL), CACHEE_READ_ONLY);
  CHECK_STATUS(cachee_erase(cache, STR("empty"), NULL, NULL), CACHEE_READ_ONLY);
  cachee_close(cache);
}

static void events_press_back_and_are_waited_for(cachee_cache* cache, holder* h) {
  cachee_write_result result = cachee_write_result_default();
  cachee_erase_result erased = cachee_erase_result_default();
  cachee_status status = CACHEE_OK;
  char line[LINE_BYTES];
  int writes = 0;
  OK(cachee_set(cache, STR("quiet"), STR("v"), NULL, &result));
  CHECK((result.flags & CACHEE_RESULT_EVENT) == 0);

  ask(h, "trigger loud:* 6 20", line); /* write and delete */
  OK(cachee_set(cache, STR("loud:1"), STR("v"), NULL, &result));
  CHECK((result.flags & CACHEE_RESULT_EVENT) != 0);
  CHECK_STATUS(cachee_wait_acknowledged(cache, result.event, 10), CACHEE_TIMED_OUT);
  ask(h, "acknowledge", line);
  CHECK(strcmp(line, "ok 1") == 0);
  OK(cachee_wait_acknowledged(cache, result.event, 5000));
  OK(cachee_erase(cache, STR("loud:1"), NULL, &erased));
  CHECK((erased.flags & CACHEE_RESULT_EVENT) != 0 && erased.event == result.event + 1);

  while (writes <= RING_EVENTS_MAX && status == CACHEE_OK) {
    status = cachee_set(cache, STR("loud:1"), STR("v"), NULL, NULL);
    writes++;
  }
  CHECK(status == CACHEE_FULL && writes > 1);
  CHECK_STATUS(cachee_set(cache, STR("loud:2"), STR("v"), NULL, NULL), CACHEE_FULL);
  CHECK_STATUS(cachee_erase(cache, STR("loud:1"), NULL, NULL), CACHEE_FULL);
  OK(cachee_set(cache, STR("quiet"), STR("v"), NULL, NULL)); /* concerns no trigger */
  ask(h, "acknowledge", line);
  OK(cachee_set(cache, STR("loud:2"), STR("v"), NULL, NULL));
}

static void groups_need_the_supervisor(cachee_cache* cache) {
  cachee_subscribe_options options = cachee_subscribe_options_default();
  cachee_subscription* subscription = NULL;
  cachee_events* events = NULL;
  cachee_event event = cachee_event_default();
  cachee_field field;
  uint64_t lag = 0;
  options.socket = "/nonexistent/cachee.sock";
  options.socket_bytes = strlen(options.socket);
  options.events = CACHEE_EVENT_WRITE | CACHEE_EVENT_EXPIRE;
  options.pattern = "k:*";
  options.pattern_bytes = 3;
  CHECK_STATUS(cachee_subscribe(cache, &options, &subscription), CACHEE_INVALID_ARGUMENT); /* no name */
  options.group = "g";
  options.group_bytes = 1;
  CHECK_STATUS(cachee_subscribe(cache, &options, &subscription), CACHEE_NO_SUPERVISOR);
  CHECK(subscription == NULL);
  CHECK_STATUS(cachee_subscribe(NULL, &options, &subscription), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscribe(cache, &options, NULL), CACHEE_INVALID_ARGUMENT);
  options.events = CACHEE_EVENT_GAP;
  CHECK_STATUS(cachee_subscribe(cache, &options, &subscription), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscription_poll(NULL, 1, &events), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscription_wait(NULL, 1, 1, &events), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscription_ack(NULL, STR("1")), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscription_ack_all(NULL, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscription_nack(NULL, STR("1"), -1, NULL, 0), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_subscription_lag(NULL, &lag), CACHEE_INVALID_ARGUMENT);
  CHECK(cachee_events_count(NULL) == 0);
  CHECK_STATUS(cachee_events_get(NULL, 0, &event), CACHEE_INVALID_ARGUMENT);
  CHECK_STATUS(cachee_events_metadata(NULL, 0, 0, &field), CACHEE_INVALID_ARGUMENT);
  cachee_events_free(NULL);
  cachee_subscription_close(NULL);
}

static void* fail_in_a_thread(void* argument) {
  cachee_error error;
  int64_t ttl_ms = 0;
  cachee_last_error(&error);
  CHECK(error.status == CACHEE_OK); /* each thread has its own */
  CHECK_STATUS(cachee_ttl(argument, STR("none"), &ttl_ms), CACHEE_NOT_FOUND);
  OK(cachee_set(argument, STR("thread"), STR("v"), NULL, NULL));
  return NULL;
}

static void threads_share_a_handle(cachee_cache* cache) {
  pthread_t thread;
  cachee_error error;
  CHECK_STATUS(cachee_set(NULL, STR("k"), STR("v"), NULL, NULL), CACHEE_INVALID_ARGUMENT);
  CHECK(pthread_create(&thread, NULL, fail_in_a_thread, cache) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  cachee_last_error(&error);
  CHECK(error.status == CACHEE_INVALID_ARGUMENT);
  expect_value(cache, "thread", "v");
}

static void a_child_opens_its_own_handle(cachee_cache* cache) {
  int status = 0;
  const pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    cachee_cache* own;
    CHECK_STATUS(cachee_set(cache, STR("child"), STR("v"), NULL, NULL), CACHEE_CLOSED);
    cachee_close(cache);
    own = open_cache();
    OK(cachee_set(own, STR("child"), STR("v"), NULL, NULL));
    cachee_close(own);
    exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  expect_value(cache, "child", "v");
  OK(cachee_set(cache, STR("parent"), STR("v"), NULL, NULL));
}

int main(int argc, char** argv) {
  holder h;
  cachee_cache* cache;
  CHECK(argc == 2);
  snprintf(segment_name, sizeof segment_name, "test-abi-%ld", (long)getpid());
  versions_and_words();
  missing_segment_is_named_as_such();
  h = start_holder(argv[1]);
  cache = open_cache();
  wrong_arguments_are_refused(cache);
  later_structs_are_taken_while_their_tail_is_zero(cache);
  values_are_stored_and_read(cache);
  conditions_and_versions_hold(cache);
  numbers_and_suffixes(cache);
  deadlines(cache);
  everything_stored_is_inspected(cache);
  pins_keep_what_they_show(cache);
  many_keys(cache);
  many_items(cache);
  statistics_are_kept_by_client(cache);
  reading_handle_refuses_writes();
  events_press_back_and_are_waited_for(cache, &h);
  groups_need_the_supervisor(cache);
  threads_share_a_handle(cache);
  a_child_opens_its_own_handle(cache);
  cachee_close(cache);
  stop_holder(&h);
  puts("use_from_c: all functions of cachee.h behave");
  return 0;
}
