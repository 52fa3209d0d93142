/* cachee.h: the C interface of Cachee, a cache in shared memory.
 *
 * Use:   cachee_open_options options = cachee_open_options_default();
 *        cachee_cache* cache = NULL;
 *        options.name = "orders";
 *        options.name_bytes = 6;
 *        if (cachee_open(&options, &cache) != CACHEE_OK) die();
 *        cachee_set(cache, "k", 1, "v", 1, NULL, NULL);
 *        void* value; size_t bytes;
 *        if (cachee_get(cache, "k", 1, &value, &bytes, NULL) == CACHEE_OK) cachee_free(value);
 *        cachee_close(cache);
 *
 * Rules that hold for every function
 * - The result is a cachee_status. Out parameters are written only when it is CACHEE_OK; those that
 *   are said to be optional may be NULL. cachee_last_error() tells more about a failure.
 * - Keys and values are a pointer and a length, may hold any bytes, and are borrowed for the call.
 *   A pointer may be NULL when its length is 0.
 * - Memory that a function hands over (said so at the parameter) is freed with cachee_free(); there
 *   is no other allocation to give back, but for handles: cachee_close(), cachee_pin_release().
 * - A struct of options or results begins with `struct_bytes`, which the caller sets to the size it
 *   was compiled with: use the _default() functions. Structs grow at the end only; zero is always
 *   the default. A library that is older than the caller's header refuses options that it does not
 *   know (CACHEE_UNSUPPORTED) instead of ignoring them.
 * - A NULL handle, a NULL out parameter that is not optional, an unknown flag or a wrong
 *   `struct_bytes` is CACHEE_INVALID_ARGUMENT, and nothing was done.
 * - Threads: one cachee_cache serves any number of threads.
 * - fork(): the child opens its own handle; calls on the inherited one return CACHEE_CLOSED.
 *   cachee_close() of the inherited one is safe and leaves the parent alone.
 * - Nothing here is renumbered, removed or given another meaning inside an ABI version.
 *
 * Limits: keys to 65536 bytes, values to what `cacheed --max-value` says (64 MiB unless told).
 */
#ifndef CACHEE_CACHEE_H
#define CACHEE_CACHEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CACHEE_API __attribute__((visibility("default")))
#define CACHEE_NODISCARD __attribute__((warn_unused_result))
#else
#define CACHEE_API
#define CACHEE_NODISCARD
#endif

#ifdef __cplusplus
#define CACHEE_NOEXCEPT noexcept
extern "C" {
#else
#define CACHEE_NOEXCEPT
#endif

/* ---- versions ---------------------------------------------------------------------------- */

/// ABI that this header describes; compare with cachee_abi_version() of the library in use.
#define CACHEE_ABI_VERSION 1u

/// Version of the library, for people: "0.1.0". Static storage.
CACHEE_API const char* cachee_version(void) CACHEE_NOEXCEPT;

/// ABI version of the library. A program works with every library of its own ABI version.
CACHEE_API uint32_t cachee_abi_version(void) CACHEE_NOEXCEPT;

/* ---- status ------------------------------------------------------------------------------ */

/// Result of every operation: one of the CACHEE_ codes below, which have the numbers of
/// cachee::Errc in C++ and of cachee.Errc in Python.
typedef int32_t cachee_status;

enum {
  CACHEE_OK = 0,
  /* Outcomes: part of normal use. */
  CACHEE_NOT_FOUND = 1,    /* absent or expired */
  CACHEE_EXISTS = 2,       /* there already */
  CACHEE_STALE = 3,        /* another version than the one asked for */
  CACHEE_FULL = 4,         /* back pressure: the event ring is full, nothing was applied */
  CACHEE_LAPPED = 5,       /* the event is gone */
  CACHEE_WOULD_BLOCK = 6,  /* nothing there yet */
  CACHEE_TIMED_OUT = 7,
  CACHEE_NOT_A_NUMBER = 8, /* increment of a value that is not an integer */
  CACHEE_OVERFLOW = 9,     /* increment past the range of int64_t */
  /* Environment: the machine said no; os_errno may be set. */
  CACHEE_NO_SPACE = 32,      /* no memory in the segment, in /dev/shm or in this process */
  CACHEE_IO = 33,
  CACHEE_PERMISSION = 34,
  CACHEE_BUSY = 35,          /* taken; detail may hold the holder's pid */
  CACHEE_UNSUPPORTED = 36,
  CACHEE_NO_SUPERVISOR = 37, /* needs cacheed, and none is running */
  CACHEE_NO_SEGMENT = 38,    /* nothing of that name: start cacheed */
  /* Contract: somebody is wrong. */
  CACHEE_INVALID_ARGUMENT = 64,
  CACHEE_LAYOUT_MISMATCH = 65, /* the segment was made by another version */
  CACHEE_CORRUPT = 66,         /* the segment breaks a rule; detail = offset */
  CACHEE_CLOSED = 67,          /* handle of a parent process */
  CACHEE_READ_ONLY = 68        /* a write through a handle that was opened to read */
};

/// What is known about a failure. Fixed: never grows.
typedef struct cachee_error {
  cachee_status status;
  int32_t os_errno; /* 0: the operating system had no part in it */
  uint64_t detail;  /* meaning depends on the status; 0: nothing to add */
} cachee_error;

/// Name and meaning of a status in a few words, static storage, never NULL: for an unknown number
/// "unknown status".
CACHEE_API const char* cachee_strerror(cachee_status status) CACHEE_NOEXCEPT;

/// The last failure that a cachee function returned in the calling thread; all zero when there was
/// none. A success leaves it alone, as with errno.
///
/// @threads  each thread sees its own
CACHEE_API void cachee_last_error(cachee_error* out) CACHEE_NOEXCEPT;

/// One sentence about an error, 0-terminated and cut to `capacity`.
///
/// @return  bytes that the whole sentence takes without its 0; `out` may be NULL when `capacity`
///          is 0
CACHEE_API size_t cachee_error_text(const cachee_error* error, char* out,
                                    size_t capacity) CACHEE_NOEXCEPT;

/// Frees memory that a cachee function handed over. NULL is allowed.
CACHEE_API void cachee_free(void* memory) CACHEE_NOEXCEPT;

/* ---- handle ------------------------------------------------------------------------------ */

/// An open cache.
typedef struct cachee_cache cachee_cache;

/// Bytes somewhere else: a key of a list.
typedef struct cachee_bytes {
  const void* data;
  size_t bytes;
} cachee_bytes;

/// One string field of a value's metadata.
typedef struct cachee_field {
  const void* name;
  size_t name_bytes;
  const void* value;
  size_t value_bytes;
} cachee_field;

enum { CACHEE_ACCESS_READ_WRITE = 0, CACHEE_ACCESS_READ_ONLY = 1 };

enum {
  CACHEE_OPEN_PREFAULT = 1,   /* touch every page at once */
  CACHEE_OPEN_LOCK_MEMORY = 2 /* keep every page in memory (mlock), or CACHEE_PERMISSION */
};

typedef struct cachee_open_options {
  uint32_t struct_bytes;
  uint32_t flags;          /* CACHEE_OPEN_... */
  const char* name;        /* of the segment; NULL: "default" */
  size_t name_bytes;
  const char* client_name; /* shown by `cachee clients`; NULL: none */
  size_t client_name_bytes;
  int32_t access;          /* CACHEE_ACCESS_... */
  uint32_t reserved0;
} cachee_open_options;

static inline cachee_open_options cachee_open_options_default(void) {
  cachee_open_options options = {(uint32_t)sizeof(cachee_open_options), 0, 0, 0, 0, 0, 0, 0};
  return options;
}

/// Attaches to the segment of a name.
///
/// @param options  optional: NULL opens "default" for reading and writing
/// @param cache    the handle, to be closed with cachee_close()
/// @error CACHEE_NO_SEGMENT       there is none: start cacheed
/// @error CACHEE_LAYOUT_MISMATCH  the segment was made by another version
/// @error CACHEE_PERMISSION, CACHEE_INVALID_ARGUMENT, CACHEE_CORRUPT
CACHEE_API CACHEE_NODISCARD cachee_status cachee_open(const cachee_open_options* options,
                                                      cachee_cache** cache) CACHEE_NOEXCEPT;

/// Detaches. NULL is allowed. No other thread may be inside a call with this handle; pins taken
/// through it stay valid.
CACHEE_API void cachee_close(cachee_cache* cache) CACHEE_NOEXCEPT;

/// Name of the segment, 0-terminated; lives as long as the handle. NULL for a NULL handle.
CACHEE_API const char* cachee_name(const cachee_cache* cache) CACHEE_NOEXCEPT;

/// True while a cacheed holds the segment.
CACHEE_API bool cachee_supervisor_alive(const cachee_cache* cache) CACHEE_NOEXCEPT;

/* ---- read -------------------------------------------------------------------------------- */

/// Copies the value of a key.
///
/// @param value    handed over: free it with cachee_free(); not NULL even for an empty value
/// @param version  optional
/// @error CACHEE_NOT_FOUND  absent or expired
/// @progress  lock-free; waits for nobody, alive or dead
CACHEE_API CACHEE_NODISCARD cachee_status cachee_get(const cachee_cache* cache, const void* key,
                                                     size_t key_bytes, void** value,
                                                     size_t* value_bytes,
                                                     uint64_t* version) CACHEE_NOEXCEPT;

/// Copies the value of a key into the caller's memory, without an allocation.
///
/// @param value_bytes  size of the value. When it is larger than `capacity`, nothing was copied
///                     and the call is to be repeated with more room.
/// @error CACHEE_NOT_FOUND
CACHEE_API CACHEE_NODISCARD cachee_status cachee_get_into(const cachee_cache* cache,
                                                          const void* key, size_t key_bytes,
                                                          void* buffer, size_t capacity,
                                                          size_t* value_bytes) CACHEE_NOEXCEPT;

/// Receives one value of cachee_get_many(); `value` is NULL when the key is not there, and is
/// valid during the call only. Calls no cachee function, and does not leave by longjmp or throw.
typedef void (*cachee_many_sink)(void* context, size_t index, const void* value,
                                 size_t value_bytes);

/// Reads many keys with their memory accesses overlapped.
///
/// @param sink  called once per key, in order
/// @error CACHEE_INVALID_ARGUMENT  a key is too long; the sink saw some keys or none
CACHEE_API CACHEE_NODISCARD cachee_status cachee_get_many(const cachee_cache* cache,
                                                          const cachee_bytes* keys,
                                                          size_t key_count, cachee_many_sink sink,
                                                          void* context) CACHEE_NOEXCEPT;

/// A value that is read in place. Its bytes stay valid and unchanged until it is released,
/// whatever happens to the key. A thread has few pins in place (8); further ones hold a copy.
typedef struct cachee_pin cachee_pin;

/// Pins the value of a key.
///
/// @param pin  to be released with cachee_pin_release(), before or after cachee_close(), but by
///             the process that took it
/// @error CACHEE_NOT_FOUND
CACHEE_API CACHEE_NODISCARD cachee_status cachee_view(const cachee_cache* cache, const void* key,
                                                      size_t key_bytes,
                                                      cachee_pin** pin) CACHEE_NOEXCEPT;
CACHEE_API const void* cachee_pin_data(const cachee_pin* pin) CACHEE_NOEXCEPT;
CACHEE_API size_t cachee_pin_bytes(const cachee_pin* pin) CACHEE_NOEXCEPT;
CACHEE_API uint64_t cachee_pin_version(const cachee_pin* pin) CACHEE_NOEXCEPT;
/// True when the bytes are in the segment, false when they are a private copy.
CACHEE_API bool cachee_pin_in_place(const cachee_pin* pin) CACHEE_NOEXCEPT;
/// Lets go of the value. NULL is allowed.
CACHEE_API void cachee_pin_release(cachee_pin* pin) CACHEE_NOEXCEPT;

/// Tells whether a key is there. Like cachee_ttl() it counts as a hit or a miss and is no use of the key: eviction does
/// not learn of it.
CACHEE_API CACHEE_NODISCARD cachee_status cachee_contains(const cachee_cache* cache,
                                                          const void* key, size_t key_bytes,
                                                          bool* found) CACHEE_NOEXCEPT;

#define CACHEE_TTL_NONE INT64_C(-1)

/// Remaining time of a key.
///
/// @param ttl_ms  milliseconds, or CACHEE_TTL_NONE when the key has no deadline
/// @error CACHEE_NOT_FOUND
CACHEE_API CACHEE_NODISCARD cachee_status cachee_ttl(const cachee_cache* cache, const void* key,
                                                     size_t key_bytes,
                                                     int64_t* ttl_ms) CACHEE_NOEXCEPT;

/// Everything that is stored with a key: one block of memory, which the library allocates.
typedef struct cachee_entry {
  uint32_t struct_bytes; /* what this library filled */
  uint32_t reserved0;
  const void* value;     /* all pointers lead into the block; followed by a 0 byte */
  size_t value_bytes;
  uint64_t version;
  double cost;
  int64_t ttl_ms;        /* CACHEE_TTL_NONE: no deadline */
  int64_t age_ms;        /* since the value was written */
  uint64_t memory_bytes; /* that the record takes in the segment */
  const cachee_field* metadata;
  size_t metadata_count;
  const cachee_bytes* depends_on;
  size_t depends_on_count;
} cachee_entry;

/// Copies a value with its version, cost, metadata, dependencies and times. No use of the key, and not counted.
///
/// @param entry  handed over: one cachee_free() frees it and all it points to
/// @error CACHEE_NOT_FOUND
CACHEE_API CACHEE_NODISCARD cachee_status cachee_inspect(const cachee_cache* cache,
                                                         const void* key, size_t key_bytes,
                                                         cachee_entry** entry) CACHEE_NOEXCEPT;

/* ---- write ------------------------------------------------------------------------------- */

enum {
  CACHEE_SET_TTL = 1,        /* ttl_ns counts from now; zero and negative delete at once */
  CACHEE_SET_DEADLINE = 2,   /* deadline_unix_ms, a moment of the wall clock, is given, and wins over ttl_ns */
  CACHEE_SET_KEEP_TTL = 4,   /* keep the deadline that the key has */
  CACHEE_SET_COST = 8,       /* cost is given; it is positive and finite */
  CACHEE_SET_IF_VERSION = 16, /* write only over if_version */
  CACHEE_SET_RETURN_OLD = 32  /* hand over the value that was replaced */
};

enum { CACHEE_ALWAYS = 0, CACHEE_IF_ABSENT = 1, CACHEE_IF_PRESENT = 2 };

typedef struct cachee_set_options {
  uint32_t struct_bytes;
  uint32_t flags;           /* CACHEE_SET_...: which of the next fields count */
  int64_t ttl_ns;
  int64_t deadline_unix_ms;
  double cost;              /* of computing the value again */
  uint64_t if_version;
  int32_t condition;        /* CACHEE_ALWAYS, CACHEE_IF_ABSENT, CACHEE_IF_PRESENT */
  uint32_t reserved0;
  const cachee_field* metadata;
  size_t metadata_count;
  const cachee_bytes* depends_on; /* not the key itself; longer cycles only cacheed refuses */
  size_t depends_on_count;
} cachee_set_options;

static inline cachee_set_options cachee_set_options_default(void) {
  cachee_set_options options = {
      (uint32_t)sizeof(cachee_set_options), 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0};
  return options;
}

enum {
  CACHEE_RESULT_EVENT = 1,    /* a trigger matched; `event` is its place */
  CACHEE_RESULT_CREATED = 2,  /* the key was not there before */
  CACHEE_RESULT_OLD_VALUE = 4 /* old_value is handed over: free it with cachee_free() */
};

typedef struct cachee_write_result {
  uint32_t struct_bytes; /* set by the caller */
  uint32_t flags;        /* CACHEE_RESULT_... */
  uint64_t version;      /* of the key; grows, and never comes twice for one key */
  uint64_t event;        /* for cachee_wait_acknowledged() */
  void* old_value;       /* NULL unless asked for and there was one */
  size_t old_value_bytes;
} cachee_write_result;

static inline cachee_write_result cachee_write_result_default(void) {
  cachee_write_result result = {(uint32_t)sizeof(cachee_write_result), 0, 0, 0, 0, 0};
  return result;
}

/// Stores a value.
///
/// @param options  optional
/// @param result   optional
/// @error CACHEE_EXISTS, CACHEE_NOT_FOUND  `condition` did not hold
/// @error CACHEE_STALE     if_version did not match
/// @error CACHEE_FULL      back pressure: a trigger wants the event and its place stayed taken for
///                         as long as the trigger says; nothing was applied
/// @error CACHEE_NO_SPACE  no memory, and nothing may be evicted
/// @error CACHEE_INVALID_ARGUMENT  too long, a bad cost, its own parent: cachee_error_text() says
/// @progress  lock-free, but for the wait for room in the event ring
CACHEE_API cachee_status cachee_set(cachee_cache* cache, const void* key, size_t key_bytes,
                                    const void* value, size_t value_bytes,
                                    const cachee_set_options* options,
                                    cachee_write_result* result) CACHEE_NOEXCEPT;

/// One item of cachee_set_many().
typedef struct cachee_item {
  const void* key;
  size_t key_bytes;
  const void* value;
  size_t value_bytes;
} cachee_item;

/// Hears of one item that cachee_set_many() stored. Calls no cachee function, and does not leave by
/// longjmp or throw.
typedef void (*cachee_stored_sink)(void* context, size_t index, uint64_t version);

/// Stores many values with the same options and their memory accesses overlapped. Each is a
/// cachee_set() of its own, in order, not one transaction: the first failure ends the call and is
/// its result, and what was stored before stays.
///
/// @param options  optional; CACHEE_SET_RETURN_OLD is CACHEE_INVALID_ARGUMENT here
/// @param sink     optional: called once for each item that was stored
/// @error those of cachee_set()
CACHEE_API cachee_status cachee_set_many(cachee_cache* cache, const cachee_item* items,
                                         size_t item_count, const cachee_set_options* options,
                                         cachee_stored_sink sink, void* context) CACHEE_NOEXCEPT;

/// cachee_set() of a key that is not there. @error CACHEE_EXISTS
CACHEE_API cachee_status cachee_add(cachee_cache* cache, const void* key, size_t key_bytes,
                                    const void* value, size_t value_bytes,
                                    const cachee_set_options* options,
                                    cachee_write_result* result) CACHEE_NOEXCEPT;

/// cachee_set() of a key that is there. @error CACHEE_NOT_FOUND
CACHEE_API cachee_status cachee_replace(cachee_cache* cache, const void* key, size_t key_bytes,
                                        const void* value, size_t value_bytes,
                                        const cachee_set_options* options,
                                        cachee_write_result* result) CACHEE_NOEXCEPT;

/// cachee_set() over exactly this version. @error CACHEE_STALE, CACHEE_NOT_FOUND
CACHEE_API cachee_status cachee_compare_and_set(cachee_cache* cache, const void* key,
                                                size_t key_bytes, uint64_t version,
                                                const void* value, size_t value_bytes,
                                                const cachee_set_options* options,
                                                cachee_write_result* result) CACHEE_NOEXCEPT;

typedef struct cachee_increment_options {
  uint32_t struct_bytes;
  uint32_t reserved0;
  int64_t initial; /* value of a key that is not there */
} cachee_increment_options;

static inline cachee_increment_options cachee_increment_options_default(void) {
  cachee_increment_options options = {(uint32_t)sizeof(cachee_increment_options), 0, 0};
  return options;
}

/// Adds to a decimal integer; the key keeps its TTL, cost and metadata.
///
/// @param options  optional
/// @param value    optional: the sum
/// @error CACHEE_NOT_A_NUMBER, CACHEE_OVERFLOW, CACHEE_FULL, CACHEE_NO_SPACE
CACHEE_API cachee_status cachee_increment(cachee_cache* cache, const void* key, size_t key_bytes,
                                          int64_t delta, const cachee_increment_options* options,
                                          int64_t* value) CACHEE_NOEXCEPT;

/// Appends to a value, or creates it; the key keeps its TTL, cost and metadata.
///
/// @param value_bytes  optional: length of the whole value
/// @error CACHEE_FULL, CACHEE_NO_SPACE, CACHEE_INVALID_ARGUMENT
CACHEE_API cachee_status cachee_append(cachee_cache* cache, const void* key, size_t key_bytes,
                                       const void* suffix, size_t suffix_bytes,
                                       size_t* value_bytes) CACHEE_NOEXCEPT;

/* When a new deadline is applied. */
enum {
  CACHEE_EXPIRE_ALWAYS = 0,
  CACHEE_EXPIRE_NO_DEADLINE = 1,  /* the key has none */
  CACHEE_EXPIRE_HAS_DEADLINE = 2, /* the key has one */
  CACHEE_EXPIRE_GREATER = 3,      /* the new one is later; none counts as infinitely late */
  CACHEE_EXPIRE_LESS = 4          /* the new one is earlier */
};

/// Sets a new time to live in place, counted from now; makes no event.
///
/// @param condition  CACHEE_EXPIRE_...
/// @param applied    optional: false when the condition did not hold
/// @error CACHEE_NOT_FOUND
CACHEE_API cachee_status cachee_touch(cachee_cache* cache, const void* key, size_t key_bytes,
                                      int64_t ttl_ns, int32_t condition,
                                      bool* applied) CACHEE_NOEXCEPT;

/// cachee_touch() with a point in time instead of a duration.
CACHEE_API cachee_status cachee_touch_at(cachee_cache* cache, const void* key, size_t key_bytes,
                                         int64_t deadline_unix_ms, int32_t condition,
                                         bool* applied) CACHEE_NOEXCEPT;

/// Removes the deadline of a key.
///
/// @param removed  optional: false when there was none
/// @error CACHEE_NOT_FOUND
CACHEE_API cachee_status cachee_persist(cachee_cache* cache, const void* key, size_t key_bytes,
                                        bool* removed) CACHEE_NOEXCEPT;

enum {
  CACHEE_ERASE_IF_VERSION = 1,  /* erase only if_version */
  CACHEE_ERASE_RETURN_OLD = 2,  /* hand over the value that went */
  CACHEE_ERASE_INVALIDATE = 4   /* events say `invalidate` instead of `explicit` */
};

typedef struct cachee_erase_options {
  uint32_t struct_bytes;
  uint32_t flags; /* CACHEE_ERASE_... */
  uint64_t if_version;
} cachee_erase_options;

static inline cachee_erase_options cachee_erase_options_default(void) {
  cachee_erase_options options = {(uint32_t)sizeof(cachee_erase_options), 0, 0};
  return options;
}

typedef struct cachee_erase_result {
  uint32_t struct_bytes; /* set by the caller */
  uint32_t flags;        /* CACHEE_RESULT_EVENT, CACHEE_RESULT_OLD_VALUE */
  uint64_t event;
  void* old_value;
  size_t old_value_bytes;
} cachee_erase_result;

static inline cachee_erase_result cachee_erase_result_default(void) {
  cachee_erase_result result = {(uint32_t)sizeof(cachee_erase_result), 0, 0, 0, 0};
  return result;
}

/// Removes a key.
///
/// @param options  optional
/// @param result   optional
/// @error CACHEE_NOT_FOUND, CACHEE_STALE, CACHEE_FULL
CACHEE_API cachee_status cachee_erase(cachee_cache* cache, const void* key, size_t key_bytes,
                                      const cachee_erase_options* options,
                                      cachee_erase_result* result) CACHEE_NOEXCEPT;

/// Erases every key that is there during the whole call.
///
/// @param erased  optional: how many
CACHEE_API cachee_status cachee_clear(cachee_cache* cache, uint64_t* erased) CACHEE_NOEXCEPT;

/* ---- the whole cache --------------------------------------------------------------------- */

/// Receives one key of cachee_scan(), valid during the call only. Calls no cachee function, and
/// does not leave by longjmp or throw.
typedef void (*cachee_scan_sink)(void* context, const void* key, size_t key_bytes);

/// Visits keys, some at a time. Every key that is there during a whole scan is seen at least once.
///
/// @param cursor  0 to start, then what the last call gave
/// @param count   keys to visit at least, if there are as many
/// @param next    0: the scan is complete
CACHEE_API CACHEE_NODISCARD cachee_status cachee_scan(const cachee_cache* cache, uint64_t cursor,
                                                      size_t count, cachee_scan_sink sink,
                                                      void* context,
                                                      uint64_t* next) CACHEE_NOEXCEPT;

/// Number of keys.
///
/// @cost  reads the whole index
CACHEE_API CACHEE_NODISCARD cachee_status cachee_size(const cachee_cache* cache,
                                                      uint64_t* keys) CACHEE_NOEXCEPT;

/// A key chosen about uniformly.
///
/// @param key  handed over: free it with cachee_free()
/// @error CACHEE_NOT_FOUND  the cache is empty
CACHEE_API CACHEE_NODISCARD cachee_status cachee_random_key(const cachee_cache* cache, void** key,
                                                            size_t* key_bytes) CACHEE_NOEXCEPT;

/// Counts of one client, or of all that there are and were. Each client counts for itself, in
/// memory that nobody else writes.
typedef struct cachee_stats {
  uint32_t struct_bytes; /* set by the caller */
  uint32_t reserved0;
  uint64_t hits;
  uint64_t misses;
  uint64_t sets;
  uint64_t deletes;
  uint64_t expired;
  uint64_t evicted;
  uint64_t events;
  uint64_t backpressure;
  uint64_t retries; /* steps that another client was faster at */
} cachee_stats;

static inline cachee_stats cachee_stats_default(void) {
  cachee_stats stats = {(uint32_t)sizeof(cachee_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  return stats;
}

/// Sums of all clients, living and gone.
CACHEE_API CACHEE_NODISCARD cachee_status cachee_total_stats(const cachee_cache* cache,
                                                             cachee_stats* stats) CACHEE_NOEXCEPT;

/// One attached thread of a client.
typedef struct cachee_client {
  uint32_t struct_bytes; /* what this library filled */
  uint32_t id;           /* of its slot */
  int32_t pid;           /* as its own PID namespace numbers it */
  uint32_t pins;
  bool alive;
  bool recovering;
  uint8_t reserved0[6];
  const char* name;      /* 0-terminated */
  const char* role;      /* "client", "sweep", ... */
  const char* operation; /* "idle", "set", ... */
  cachee_stats stats;
} cachee_client;

/// Receives one client of cachee_clients(), valid during the call only. Calls no cachee function,
/// and does not leave by longjmp or throw.
typedef void (*cachee_client_sink)(void* context, const cachee_client* client);

/// Visits every attached thread of every client.
CACHEE_API CACHEE_NODISCARD cachee_status cachee_clients(const cachee_cache* cache,
                                                         cachee_client_sink sink,
                                                         void* context) CACHEE_NOEXCEPT;

/// Waits until every trigger that an operation's event concerns has acknowledged it.
///
/// @param event  from a result with CACHEE_RESULT_EVENT
/// @error CACHEE_TIMED_OUT  the write stands
CACHEE_API CACHEE_NODISCARD cachee_status cachee_wait_acknowledged(
    const cachee_cache* cache, uint64_t event, int64_t timeout_ms) CACHEE_NOEXCEPT;

#ifdef __cplusplus
}  /* extern "C" */
#endif

#include <cachee/subscription.h>

#endif /* CACHEE_CACHEE_H */
