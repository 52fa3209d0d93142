/* Sizes and offsets of the C structs, as programs have them compiled in. A line here changes only
 * with CACHEE_ABI_VERSION; a struct that grows gets a new line, and keeps the old offsets. */
#include <cachee/cachee.h>

#define AT(type, member, offset) \
  _Static_assert(offsetof(type, member) == (offset), #type "." #member " moved")
#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type)

_Static_assert(sizeof(void*) == 8 && sizeof(size_t) == 8, "the numbers below are for LP64");
_Static_assert(CACHEE_ABI_VERSION == 1, "numbers of ABI 1");

SIZE(cachee_status, 4);

SIZE(cachee_error, 16);
AT(cachee_error, status, 0);
AT(cachee_error, os_errno, 4);
AT(cachee_error, detail, 8);

SIZE(cachee_bytes, 16);
AT(cachee_bytes, data, 0);
AT(cachee_bytes, bytes, 8);

SIZE(cachee_field, 32);
AT(cachee_field, name, 0);
AT(cachee_field, name_bytes, 8);
AT(cachee_field, value, 16);
AT(cachee_field, value_bytes, 24);

SIZE(cachee_open_options, 48);
AT(cachee_open_options, struct_bytes, 0);
AT(cachee_open_options, flags, 4);
AT(cachee_open_options, name, 8);
AT(cachee_open_options, name_bytes, 16);
AT(cachee_open_options, client_name, 24);
AT(cachee_open_options, client_name_bytes, 32);
AT(cachee_open_options, access, 40);
AT(cachee_open_options, reserved0, 44);

SIZE(cachee_entry, 96);
AT(cachee_entry, struct_bytes, 0);
AT(cachee_entry, reserved0, 4);
AT(cachee_entry, value, 8);
AT(cachee_entry, value_bytes, 16);
AT(cachee_entry, version, 24);
AT(cachee_entry, cost, 32);
AT(cachee_entry, ttl_ms, 40);
AT(cachee_entry, age_ms, 48);
AT(cachee_entry, memory_bytes, 56);
AT(cachee_entry, metadata, 64);
AT(cachee_entry, metadata_count, 72);
AT(cachee_entry, depends_on, 80);
AT(cachee_entry, depends_on_count, 88);

SIZE(cachee_set_options, 80);
AT(cachee_set_options, struct_bytes, 0);
AT(cachee_set_options, flags, 4);
AT(cachee_set_options, ttl_ns, 8);
AT(cachee_set_options, deadline_unix_ms, 16);
AT(cachee_set_options, cost, 24);
AT(cachee_set_options, if_version, 32);
AT(cachee_set_options, condition, 40);
AT(cachee_set_options, reserved0, 44);
AT(cachee_set_options, metadata, 48);
AT(cachee_set_options, metadata_count, 56);
AT(cachee_set_options, depends_on, 64);
AT(cachee_set_options, depends_on_count, 72);

SIZE(cachee_write_result, 40);
AT(cachee_write_result, struct_bytes, 0);
AT(cachee_write_result, flags, 4);
AT(cachee_write_result, version, 8);
AT(cachee_write_result, event, 16);
AT(cachee_write_result, old_value, 24);
AT(cachee_write_result, old_value_bytes, 32);

SIZE(cachee_increment_options, 16);
AT(cachee_increment_options, struct_bytes, 0);
AT(cachee_increment_options, reserved0, 4);
AT(cachee_increment_options, initial, 8);

SIZE(cachee_erase_options, 16);
AT(cachee_erase_options, struct_bytes, 0);
AT(cachee_erase_options, flags, 4);
AT(cachee_erase_options, if_version, 8);

SIZE(cachee_erase_result, 32);
AT(cachee_erase_result, struct_bytes, 0);
AT(cachee_erase_result, flags, 4);
AT(cachee_erase_result, event, 8);
AT(cachee_erase_result, old_value, 16);
AT(cachee_erase_result, old_value_bytes, 24);

SIZE(cachee_item, 32);
AT(cachee_item, key, 0);
AT(cachee_item, key_bytes, 8);
AT(cachee_item, value, 16);
AT(cachee_item, value_bytes, 24);

SIZE(cachee_stats, 80);
AT(cachee_stats, struct_bytes, 0);
AT(cachee_stats, reserved0, 4);
AT(cachee_stats, hits, 8);
AT(cachee_stats, misses, 16);
AT(cachee_stats, sets, 24);
AT(cachee_stats, deletes, 32);
AT(cachee_stats, expired, 40);
AT(cachee_stats, evicted, 48);
AT(cachee_stats, events, 56);
AT(cachee_stats, backpressure, 64);
AT(cachee_stats, retries, 72);

SIZE(cachee_client, 128);
AT(cachee_client, struct_bytes, 0);
AT(cachee_client, id, 4);
AT(cachee_client, pid, 8);
AT(cachee_client, pins, 12);
AT(cachee_client, alive, 16);
AT(cachee_client, recovering, 17);
AT(cachee_client, reserved0, 18);
AT(cachee_client, name, 24);
AT(cachee_client, role, 32);
AT(cachee_client, operation, 40);
AT(cachee_client, stats, 48);

SIZE(cachee_subscribe_options, 88);
AT(cachee_subscribe_options, struct_bytes, 0);
AT(cachee_subscribe_options, events, 4);
AT(cachee_subscribe_options, group, 8);
AT(cachee_subscribe_options, group_bytes, 16);
AT(cachee_subscribe_options, pattern, 24);
AT(cachee_subscribe_options, pattern_bytes, 32);
AT(cachee_subscribe_options, consumer, 40);
AT(cachee_subscribe_options, consumer_bytes, 48);
AT(cachee_subscribe_options, socket, 56);
AT(cachee_subscribe_options, socket_bytes, 64);
AT(cachee_subscribe_options, retry_attempts, 72);
AT(cachee_subscribe_options, backoff_min_ms, 76);
AT(cachee_subscribe_options, backoff_max_ms, 80);
AT(cachee_subscribe_options, ack_deadline_ms, 84);

SIZE(cachee_event, 248);
AT(cachee_event, struct_bytes, 0);
AT(cachee_event, flags, 4);
AT(cachee_event, id, 8);
AT(cachee_event, key, 24);
AT(cachee_event, value, 40);
AT(cachee_event, old_value, 56);
AT(cachee_event, chain, 72);
AT(cachee_event, parent, 88);
AT(cachee_event, origin_client, 104);
AT(cachee_event, origin_instance, 120);
AT(cachee_event, kind, 136);
AT(cachee_event, attempt, 140);
AT(cachee_event, cause, 144);
AT(cachee_event, origin, 152);
AT(cachee_event, origin_pid, 160);
AT(cachee_event, depth, 164);
AT(cachee_event, cost, 168);
AT(cachee_event, timestamp_unix_us, 176);
AT(cachee_event, deadline_unix_us, 184);
AT(cachee_event, ttl_ms, 192);
AT(cachee_event, lag_us, 200);
AT(cachee_event, version, 208);
AT(cachee_event, hits, 216);
AT(cachee_event, age_ms, 224);
AT(cachee_event, size, 232);
AT(cachee_event, metadata_count, 240);
_Static_assert(CACHEE_EVENT_WRITE == 2 && CACHEE_EVENT_GAP == 64 && CACHEE_EVENT_DUPLICATE == 8, "a bit of an event moved");
