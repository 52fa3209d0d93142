// The C ABI: each function checks its arguments, calls the C++ function of its name and hands the
// result over. No logic of its own, so that both interfaces promise the same.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <cachee/cachee.h>
#include <cachee/cachee.hpp>

#include "api/capi.hpp"

struct cachee_pin {
  cachee::PinnedValue value;
};

namespace {

using namespace cachee::capi;
using cachee::Errc;
using cachee::Error;
using cachee::Result;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// The C names are the C++ numbers.
#define CACHEE_SAME_CODE(c_name, errc) static_assert((c_name) == static_cast<int>(Errc::errc))
CACHEE_SAME_CODE(CACHEE_OK, ok);
CACHEE_SAME_CODE(CACHEE_NOT_FOUND, not_found);
CACHEE_SAME_CODE(CACHEE_EXISTS, exists);
CACHEE_SAME_CODE(CACHEE_STALE, stale);
CACHEE_SAME_CODE(CACHEE_FULL, full);
CACHEE_SAME_CODE(CACHEE_LAPPED, lapped);
CACHEE_SAME_CODE(CACHEE_WOULD_BLOCK, would_block);
CACHEE_SAME_CODE(CACHEE_TIMED_OUT, timed_out);
CACHEE_SAME_CODE(CACHEE_NOT_A_NUMBER, not_a_number);
CACHEE_SAME_CODE(CACHEE_OVERFLOW, overflow);
CACHEE_SAME_CODE(CACHEE_NO_SPACE, no_space);
CACHEE_SAME_CODE(CACHEE_IO, io);
CACHEE_SAME_CODE(CACHEE_PERMISSION, permission);
CACHEE_SAME_CODE(CACHEE_BUSY, busy);
CACHEE_SAME_CODE(CACHEE_UNSUPPORTED, unsupported);
CACHEE_SAME_CODE(CACHEE_NO_SUPERVISOR, no_supervisor);
CACHEE_SAME_CODE(CACHEE_NO_SEGMENT, no_segment);
CACHEE_SAME_CODE(CACHEE_INVALID_ARGUMENT, invalid_argument);
CACHEE_SAME_CODE(CACHEE_LAYOUT_MISMATCH, layout_mismatch);
CACHEE_SAME_CODE(CACHEE_CORRUPT, corrupt);
CACHEE_SAME_CODE(CACHEE_CLOSED, closed);
CACHEE_SAME_CODE(CACHEE_READ_ONLY, read_only);
#undef CACHEE_SAME_CODE
static_assert(cachee::kAbiVersion == CACHEE_ABI_VERSION);

constexpr std::uint32_t kOpenFlags = CACHEE_OPEN_PREFAULT | CACHEE_OPEN_LOCK_MEMORY;
constexpr std::uint32_t kSetFlags = CACHEE_SET_TTL | CACHEE_SET_DEADLINE | CACHEE_SET_KEEP_TTL |
                                    CACHEE_SET_COST | CACHEE_SET_IF_VERSION |
                                    CACHEE_SET_RETURN_OLD;
constexpr std::uint32_t kEraseFlags =
    CACHEE_ERASE_IF_VERSION | CACHEE_ERASE_RETURN_OLD | CACHEE_ERASE_INVALIDATE;

// Memory for cachee_free(), followed by a 0 byte so that text may be used as a C string.
void* copy_of(std::string_view bytes) noexcept {
  char* copy = static_cast<char*>(std::malloc(bytes.size() + 1));
  if (copy == nullptr) return nullptr;
  std::memcpy(copy, bytes.data(), bytes.size());
  copy[bytes.size()] = '\0';
  return copy;
}

/// Hands a replaced value over. Without memory for it there is none: the operation has been done,
/// and saying anything else would be worse.
template <class ResultStruct>
void give_old_value(const std::optional<std::string>& old, ResultStruct& out) noexcept {
  if (!old) return;
  out.old_value = copy_of(*old);
  if (out.old_value == nullptr) return;
  out.old_value_bytes = old->size();
  out.flags |= CACHEE_RESULT_OLD_VALUE;
}

Errc to_set_options(const cachee_set_options* given, cachee::SetOptions& out) {
  if (given == nullptr) return Errc::ok;  // as most calls: the defaults of both are the same
  cachee_set_options in;
  if (const Errc code = read_options(given, cachee_set_options_default(), in); code != Errc::ok) {
    return code;
  }
  if ((in.flags & ~kSetFlags) != 0 || in.condition < CACHEE_ALWAYS ||
      in.condition > CACHEE_IF_PRESENT || (in.metadata == nullptr && in.metadata_count != 0) ||
      (in.depends_on == nullptr && in.depends_on_count != 0) ||
      in.metadata_count > cachee::kMetadataFieldsMax ||
      in.depends_on_count > cachee::kDependenciesMax) {
    return Errc::invalid_argument;
  }
  if ((in.flags & CACHEE_SET_TTL) != 0) out.ttl = nanoseconds{in.ttl_ns};
  if ((in.flags & CACHEE_SET_DEADLINE) != 0) out.deadline_wall_ms = in.deadline_unix_ms;
  if ((in.flags & CACHEE_SET_COST) != 0) out.cost = in.cost;
  if ((in.flags & CACHEE_SET_IF_VERSION) != 0) out.if_version = in.if_version;
  out.keep_ttl = (in.flags & CACHEE_SET_KEEP_TTL) != 0;
  out.return_old = (in.flags & CACHEE_SET_RETURN_OLD) != 0;
  out.condition = static_cast<cachee::Condition>(in.condition);
  for (std::size_t i = 0; i < in.metadata_count; ++i) {
    const cachee_field& field = in.metadata[i];
    if (!is_bytes(field.name, field.name_bytes) || !is_bytes(field.value, field.value_bytes) ||
        field.name_bytes > cachee::kMetadataBytesMax ||
        field.value_bytes > cachee::kMetadataBytesMax) {
      return Errc::invalid_argument;
    }
    out.metadata.emplace_back(view_of(field.name, field.name_bytes),
                              view_of(field.value, field.value_bytes));
  }
  for (std::size_t i = 0; i < in.depends_on_count; ++i) {
    const cachee_bytes& parent = in.depends_on[i];
    if (!is_bytes(parent.data, parent.bytes) || parent.bytes > cachee::kKeyBytesMax) {
      return Errc::invalid_argument;
    }
    out.depends_on.emplace_back(view_of(parent.data, parent.bytes));
  }
  return Errc::ok;
}

cachee_status finish_write(const Result<cachee::WriteResult>& written,
                           cachee_write_result* result) noexcept {
  if (!written) return fail(written.error());
  if (result == nullptr) return CACHEE_OK;
  cachee_write_result filled{};
  filled.version = written->version;
  if (written->created) filled.flags |= CACHEE_RESULT_CREATED;
  if (written->event) {
    filled.flags |= CACHEE_RESULT_EVENT;
    filled.event = written->event->value;
  }
  give_old_value(written->old_value, filled);
  write_result(result, filled);
  return CACHEE_OK;
}

// The four writes of a value differ only in the C++ function that `write` calls.
template <class Write>
cachee_status write_value(cachee_cache* cache, const void* key, std::size_t key_bytes,
                          const void* value, std::size_t value_bytes,
                          const cachee_set_options* options, cachee_write_result* result,
                          Write&& write) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || !is_bytes(key, key_bytes) || !is_bytes(value, value_bytes) ||
        !is_result(result)) {
      return fail(Errc::invalid_argument);
    }
    cachee::SetOptions set_options;
    if (const Errc code = to_set_options(options, set_options); code != Errc::ok) {
      return fail(code);
    }
    return finish_write(write(cache->cache, view_of(key, key_bytes), view_of(value, value_bytes),
                              std::move(set_options)),
                        result);
  });
}

// Places for the parts of a cachee_entry behind each other in one block of memory.
class EntryBlock {
 public:
  explicit EntryBlock(const cachee::Entry& entry) noexcept
      : bytes_{sizeof(cachee_entry) + entry.metadata.size() * sizeof(cachee_field) +
               entry.depends_on.size() * sizeof(cachee_bytes) + entry.value.size() + 1} {
    for (const auto& [name, value] : entry.metadata) bytes_ += name.size() + value.size() + 2;
    for (const auto& parent : entry.depends_on) bytes_ += parent.size() + 1;
    block_ = static_cast<char*>(std::malloc(bytes_));
  }
  [[nodiscard]] bool ok() const noexcept { return block_ != nullptr; }
  // Structs first, text after them: then everything is aligned.
  template <class T>
  T* array(std::size_t count) noexcept {
    static_assert(alignof(T) <= alignof(cachee_entry) && std::is_trivially_copyable_v<T>);
    T* at = reinterpret_cast<T*>(block_ + used_);
    std::uninitialized_value_construct_n(at, count);
    used_ += count * sizeof(T);
    return at;
  }
  const char* text(std::string_view bytes) noexcept {
    char* at = block_ + used_;
    std::memcpy(at, bytes.data(), bytes.size());
    at[bytes.size()] = '\0';
    used_ += bytes.size() + 1;
    return at;
  }

 private:
  std::size_t bytes_;
  std::size_t used_ = 0;
  char* block_ = nullptr;
};

cachee_entry* to_c_entry(const cachee::Entry& entry) noexcept {
  EntryBlock block{entry};
  if (!block.ok()) return nullptr;
  auto* out = block.array<cachee_entry>(1);
  auto* fields = block.array<cachee_field>(entry.metadata.size());
  auto* parents = block.array<cachee_bytes>(entry.depends_on.size());
  out->struct_bytes = sizeof(cachee_entry);
  out->value = block.text(entry.value);
  out->value_bytes = entry.value.size();
  out->version = entry.version;
  out->cost = entry.cost;
  out->ttl_ms = entry.ttl ? entry.ttl->count() : CACHEE_TTL_NONE;
  out->age_ms = entry.age.count();
  out->memory_bytes = entry.bytes;
  out->metadata = fields;
  out->metadata_count = entry.metadata.size();
  out->depends_on = parents;
  out->depends_on_count = entry.depends_on.size();
  for (const auto& [name, value] : entry.metadata) {
    *fields++ = {block.text(name), name.size(), block.text(value), value.size()};
  }
  for (const auto& parent : entry.depends_on) *parents++ = {block.text(parent), parent.size()};
  return out;
}

cachee_stats to_c_stats(const cachee::ClientStats& stats) noexcept {
  cachee_stats out = cachee_stats_default();
  out.hits = stats.hits;
  out.misses = stats.misses;
  out.sets = stats.sets;
  out.deletes = stats.deletes;
  out.expired = stats.expired;
  out.evicted = stats.evicted;
  out.events = stats.events;
  out.backpressure = stats.backpressure;
  out.retries = stats.retries;
  return out;
}

const char* meaning(cachee_status status) noexcept {
  switch (status) {
    case CACHEE_OK: return "ok";
    case CACHEE_NOT_FOUND: return "not_found: no such key";
    case CACHEE_EXISTS: return "exists: the key is there already";
    case CACHEE_STALE: return "stale: the key has another version";
    case CACHEE_FULL: return "full: back pressure of the event ring, nothing was applied";
    case CACHEE_LAPPED: return "lapped: the event is gone";
    case CACHEE_WOULD_BLOCK: return "would_block: nothing there yet";
    case CACHEE_TIMED_OUT: return "timed_out: not done in the time allowed";
    case CACHEE_NOT_A_NUMBER: return "not_a_number: the value is not an integer";
    case CACHEE_OVERFLOW: return "overflow: the sum does not fit 64 bits";
    case CACHEE_NO_SPACE: return "no_space: no memory for this";
    case CACHEE_IO: return "io: the operating system reported an error";
    case CACHEE_PERMISSION: return "permission: not allowed by the operating system";
    case CACHEE_BUSY: return "busy: taken by another process";
    case CACHEE_UNSUPPORTED: return "unsupported: this library or machine cannot do it";
    case CACHEE_NO_SUPERVISOR: return "no_supervisor: no cacheed is running";
    case CACHEE_NO_SEGMENT: return "no_segment: no segment of that name, start cacheed";
    case CACHEE_INVALID_ARGUMENT: return "invalid_argument: an argument breaks a rule";
    case CACHEE_LAYOUT_MISMATCH: return "layout_mismatch: segment of another version";
    case CACHEE_CORRUPT: return "corrupt: the segment breaks a rule, run cachee fsck";
    case CACHEE_CLOSED: return "closed: handle of a parent process, open another one";
    case CACHEE_READ_ONLY: return "read_only: the handle was opened to read";
    default: return "unknown status";
  }
}

}  // namespace

extern "C" {

const char* cachee_version(void) noexcept { return cachee::kVersion; }

uint32_t cachee_abi_version(void) noexcept { return cachee::kAbiVersion; }

const char* cachee_strerror(cachee_status status) noexcept { return meaning(status); }

void cachee_last_error(cachee_error* out) noexcept {
  if (out != nullptr) *out = cachee::capi::last_error;
}

size_t cachee_error_text(const cachee_error* error, char* out, size_t capacity) noexcept {
  if (error == nullptr) return 0;
  std::size_t bytes = 0;
  const cachee_status status = guarded([&]() -> cachee_status {
    const std::string text =
        to_string(Error{static_cast<Errc>(error->status), error->os_errno, error->detail});
    bytes = text.size();
    if (out != nullptr && capacity > 0) {
      const std::size_t kept = std::min(bytes, capacity - 1);
      std::memcpy(out, text.data(), kept);
      out[kept] = '\0';
    }
    return CACHEE_OK;
  });
  return status == CACHEE_OK ? bytes : 0;
}

void cachee_free(void* memory) noexcept { std::free(memory); }

cachee_status cachee_open(const cachee_open_options* given, cachee_cache** cache) noexcept {
  return guarded([&]() -> cachee_status {
    cachee_open_options in;
    const Errc code = read_options(given, cachee_open_options_default(), in);
    if (code != Errc::ok) return fail(code);
    if (cache == nullptr || (in.flags & ~kOpenFlags) != 0 ||
        in.access < CACHEE_ACCESS_READ_WRITE || in.access > CACHEE_ACCESS_READ_ONLY ||
        !is_bytes(in.name, in.name_bytes) || !is_bytes(in.client_name, in.client_name_bytes)) {
      return fail(Errc::invalid_argument);
    }
    cachee::OpenOptions options;
    if (in.name != nullptr) options.name = view_of(in.name, in.name_bytes);
    options.client_name = view_of(in.client_name, in.client_name_bytes);
    options.access = in.access == CACHEE_ACCESS_READ_ONLY ? cachee::Access::read_only
                                                          : cachee::Access::read_write;
    options.prefault = (in.flags & CACHEE_OPEN_PREFAULT) != 0;
    options.lock_memory = (in.flags & CACHEE_OPEN_LOCK_MEMORY) != 0;
    auto opened = cachee::Cache::open(options);
    if (!opened) return fail(opened.error());
    *cache = new cachee_cache{std::move(*opened)};
    return CACHEE_OK;
  });
}

void cachee_close(cachee_cache* cache) noexcept { delete cache; }

const char* cachee_name(const cachee_cache* cache) noexcept {
  return cache == nullptr ? nullptr : cache->cache.name().c_str();
}

bool cachee_supervisor_alive(const cachee_cache* cache) noexcept {
  return cache != nullptr && cache->cache.supervisor_alive();
}

cachee_status cachee_get(const cachee_cache* cache, const void* key, size_t key_bytes,
                         void** value, size_t* value_bytes, uint64_t* version) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || value == nullptr || value_bytes == nullptr) {
    return fail(Errc::invalid_argument);
  }
  const auto found = cache->cache.get(view_of(key, key_bytes));
  if (!found) return fail(found.error());
  void* copy = copy_of(found->bytes);
  if (copy == nullptr) return fail_memory();
  *value = copy;
  *value_bytes = found->bytes.size();
  if (version != nullptr) *version = found->version;
  return CACHEE_OK;
}

cachee_status cachee_get_into(const cachee_cache* cache, const void* key, size_t key_bytes,
                              void* buffer, size_t capacity, size_t* value_bytes) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || !is_bytes(buffer, capacity) ||
      value_bytes == nullptr) {
    return fail(Errc::invalid_argument);
  }
  const auto size =
      cache->cache.get_into(view_of(key, key_bytes), {static_cast<char*>(buffer), capacity});
  if (!size) return fail(size.error());
  *value_bytes = *size;
  return CACHEE_OK;
}

cachee_status cachee_get_many(const cachee_cache* cache, const cachee_bytes* keys,
                              size_t key_count, cachee_many_sink sink, void* context) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || sink == nullptr || (keys == nullptr && key_count != 0)) {
      return fail(Errc::invalid_argument);
    }
    std::vector<cachee::KeyView> views;
    views.reserve(key_count);
    for (std::size_t i = 0; i < key_count; ++i) {
      if (!is_bytes(keys[i].data, keys[i].bytes)) return fail(Errc::invalid_argument);
      views.push_back(view_of(keys[i].data, keys[i].bytes));
    }
    const auto done = cache->cache.get_many(
        views, [&](std::size_t index, std::optional<cachee::ValueView> value) {
          const char* data = nullptr;
          if (value) data = value->data() != nullptr ? value->data() : "";
          sink(context, index, data, value ? value->size() : 0);
        });
    return done ? CACHEE_OK : fail(done.error());
  });
}

cachee_status cachee_set_many(cachee_cache* cache, const cachee_item* items, size_t item_count,
                              const cachee_set_options* options, cachee_stored_sink sink,
                              void* context) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || (items == nullptr && item_count != 0)) {
      return fail(Errc::invalid_argument);
    }
    cachee::SetOptions set_options;
    if (const Errc code = to_set_options(options, set_options); code != Errc::ok) {
      return fail(code);
    }
    if (set_options.return_old) return fail(Errc::invalid_argument);
    std::vector<cachee::KeyValue> views;
    views.reserve(item_count);
    for (std::size_t i = 0; i < item_count; ++i) {
      const cachee_item& item = items[i];
      if (!is_bytes(item.key, item.key_bytes) || !is_bytes(item.value, item.value_bytes)) {
        return fail(Errc::invalid_argument);
      }
      views.push_back({view_of(item.key, item.key_bytes), view_of(item.value, item.value_bytes)});
    }
    cachee::Cache::StoredSink stored;
    if (sink != nullptr) {
      stored = [&](std::size_t index, const cachee::WriteResult& written) {
        sink(context, index, written.version);
      };
    }
    const auto done = cache->cache.set_many(views, set_options, stored);
    return done ? CACHEE_OK : fail(done.error());
  });
}

cachee_status cachee_view(const cachee_cache* cache, const void* key, size_t key_bytes,
                          cachee_pin** pin) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || !is_bytes(key, key_bytes) || pin == nullptr) {
      return fail(Errc::invalid_argument);
    }
    auto view = cache->cache.view(view_of(key, key_bytes));
    if (!view) return fail(view.error());
    *pin = new cachee_pin{std::move(*view)};
    return CACHEE_OK;
  });
}

const void* cachee_pin_data(const cachee_pin* pin) noexcept {
  return pin == nullptr ? nullptr : pin->value.bytes().data();
}

size_t cachee_pin_bytes(const cachee_pin* pin) noexcept {
  return pin == nullptr ? 0 : pin->value.bytes().size();
}

uint64_t cachee_pin_version(const cachee_pin* pin) noexcept {
  return pin == nullptr ? 0 : pin->value.version();
}

bool cachee_pin_in_place(const cachee_pin* pin) noexcept {
  return pin != nullptr && pin->value.in_place();
}

void cachee_pin_release(cachee_pin* pin) noexcept { delete pin; }

cachee_status cachee_contains(const cachee_cache* cache, const void* key, size_t key_bytes,
                              bool* found) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || found == nullptr) {
    return fail(Errc::invalid_argument);
  }
  const auto there = cache->cache.contains(view_of(key, key_bytes));
  if (!there) return fail(there.error());
  *found = *there;
  return CACHEE_OK;
}

cachee_status cachee_ttl(const cachee_cache* cache, const void* key, size_t key_bytes,
                         int64_t* ttl_ms) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || ttl_ms == nullptr) {
    return fail(Errc::invalid_argument);
  }
  const auto ttl = cache->cache.ttl(view_of(key, key_bytes));
  if (!ttl) return fail(ttl.error());
  *ttl_ms = ttl->has_value() ? (*ttl)->count() : CACHEE_TTL_NONE;
  return CACHEE_OK;
}

cachee_status cachee_inspect(const cachee_cache* cache, const void* key, size_t key_bytes,
                             cachee_entry** entry) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || !is_bytes(key, key_bytes) || entry == nullptr) {
      return fail(Errc::invalid_argument);
    }
    const auto found = cache->cache.inspect(view_of(key, key_bytes));
    if (!found) return fail(found.error());
    cachee_entry* copy = to_c_entry(*found);
    if (copy == nullptr) return fail_memory();
    *entry = copy;
    return CACHEE_OK;
  });
}

cachee_status cachee_set(cachee_cache* cache, const void* key, size_t key_bytes, const void* value,
                         size_t value_bytes, const cachee_set_options* options,
                         cachee_write_result* result) noexcept {
  return write_value(cache, key, key_bytes, value, value_bytes, options, result,
                     [](cachee::Cache& to, auto k, auto v, cachee::SetOptions&& o) {
                       return to.set(k, v, o);
                     });
}

cachee_status cachee_add(cachee_cache* cache, const void* key, size_t key_bytes, const void* value,
                         size_t value_bytes, const cachee_set_options* options,
                         cachee_write_result* result) noexcept {
  return write_value(cache, key, key_bytes, value, value_bytes, options, result,
                     [](cachee::Cache& to, auto k, auto v, cachee::SetOptions&& o) {
                       return to.add(k, v, std::move(o));
                     });
}

cachee_status cachee_replace(cachee_cache* cache, const void* key, size_t key_bytes,
                             const void* value, size_t value_bytes,
                             const cachee_set_options* options,
                             cachee_write_result* result) noexcept {
  return write_value(cache, key, key_bytes, value, value_bytes, options, result,
                     [](cachee::Cache& to, auto k, auto v, cachee::SetOptions&& o) {
                       return to.replace(k, v, std::move(o));
                     });
}

cachee_status cachee_compare_and_set(cachee_cache* cache, const void* key, size_t key_bytes,
                                     uint64_t version, const void* value, size_t value_bytes,
                                     const cachee_set_options* options,
                                     cachee_write_result* result) noexcept {
  return write_value(cache, key, key_bytes, value, value_bytes, options, result,
                     [version](cachee::Cache& to, auto k, auto v, cachee::SetOptions&& o) {
                       return to.compare_and_set(k, version, v, std::move(o));
                     });
}

cachee_status cachee_increment(cachee_cache* cache, const void* key, size_t key_bytes,
                               int64_t delta, const cachee_increment_options* options,
                               int64_t* value) noexcept {
  cachee_increment_options in;
  const Errc code = read_options(options, cachee_increment_options_default(), in);
  if (code != Errc::ok) return fail(code);
  if (cache == nullptr || !is_bytes(key, key_bytes)) return fail(Errc::invalid_argument);
  const auto sum = cache->cache.increment(view_of(key, key_bytes), delta, {.initial = in.initial});
  if (!sum) return fail(sum.error());
  if (value != nullptr) *value = *sum;
  return CACHEE_OK;
}

cachee_status cachee_append(cachee_cache* cache, const void* key, size_t key_bytes,
                            const void* suffix, size_t suffix_bytes,
                            size_t* value_bytes) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || !is_bytes(suffix, suffix_bytes)) {
    return fail(Errc::invalid_argument);
  }
  const auto size = cache->cache.append(view_of(key, key_bytes), view_of(suffix, suffix_bytes));
  if (!size) return fail(size.error());
  if (value_bytes != nullptr) *value_bytes = *size;
  return CACHEE_OK;
}

cachee_status cachee_touch(cachee_cache* cache, const void* key, size_t key_bytes, int64_t ttl_ns,
                           int32_t condition, bool* applied) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || condition < CACHEE_EXPIRE_ALWAYS ||
      condition > CACHEE_EXPIRE_LESS) {
    return fail(Errc::invalid_argument);
  }
  const auto done = cache->cache.touch(view_of(key, key_bytes), nanoseconds{ttl_ns},
                                       static_cast<cachee::ExpireCondition>(condition));
  if (!done) return fail(done.error());
  if (applied != nullptr) *applied = *done;
  return CACHEE_OK;
}

cachee_status cachee_touch_at(cachee_cache* cache, const void* key, size_t key_bytes,
                              int64_t deadline_unix_ms, int32_t condition,
                              bool* applied) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes) || condition < CACHEE_EXPIRE_ALWAYS ||
      condition > CACHEE_EXPIRE_LESS) {
    return fail(Errc::invalid_argument);
  }
  const auto done = cache->cache.touch_at(view_of(key, key_bytes), deadline_unix_ms,
                                          static_cast<cachee::ExpireCondition>(condition));
  if (!done) return fail(done.error());
  if (applied != nullptr) *applied = *done;
  return CACHEE_OK;
}

cachee_status cachee_persist(cachee_cache* cache, const void* key, size_t key_bytes,
                             bool* removed) noexcept {
  if (cache == nullptr || !is_bytes(key, key_bytes)) return fail(Errc::invalid_argument);
  const auto done = cache->cache.persist(view_of(key, key_bytes));
  if (!done) return fail(done.error());
  if (removed != nullptr) *removed = *done;
  return CACHEE_OK;
}

cachee_status cachee_erase(cachee_cache* cache, const void* key, size_t key_bytes,
                           const cachee_erase_options* options,
                           cachee_erase_result* result) noexcept {
  cachee_erase_options in;
  const Errc code = read_options(options, cachee_erase_options_default(), in);
  if (code != Errc::ok) return fail(code);
  if (cache == nullptr || !is_bytes(key, key_bytes) || (in.flags & ~kEraseFlags) != 0 ||
      !is_result(result)) {
    return fail(Errc::invalid_argument);
  }
  cachee::EraseOptions erase_options;
  if ((in.flags & CACHEE_ERASE_INVALIDATE) != 0) erase_options.cause = cachee::Cause::invalidate;
  if ((in.flags & CACHEE_ERASE_IF_VERSION) != 0) erase_options.if_version = in.if_version;
  erase_options.return_old = (in.flags & CACHEE_ERASE_RETURN_OLD) != 0;
  const auto erased = cache->cache.erase(view_of(key, key_bytes), erase_options);
  if (!erased) return fail(erased.error());
  if (result == nullptr) return CACHEE_OK;
  cachee_erase_result filled{};
  if (erased->event) {
    filled.flags |= CACHEE_RESULT_EVENT;
    filled.event = erased->event->value;
  }
  give_old_value(erased->old_value, filled);
  write_result(result, filled);
  return CACHEE_OK;
}

cachee_status cachee_clear(cachee_cache* cache, uint64_t* erased) noexcept {
  if (cache == nullptr) return fail(Errc::invalid_argument);
  const auto count = cache->cache.clear();
  if (!count) return fail(count.error());
  if (erased != nullptr) *erased = *count;
  return CACHEE_OK;
}

cachee_status cachee_scan(const cachee_cache* cache, uint64_t cursor, size_t count,
                          cachee_scan_sink sink, void* context, uint64_t* next) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || sink == nullptr || next == nullptr) {
      return fail(Errc::invalid_argument);
    }
    const auto scanned = cache->cache.scan(
        cursor, count, [&](cachee::KeyView key) { sink(context, key.data(), key.size()); });
    if (!scanned) return fail(scanned.error());
    *next = scanned->cursor;
    return CACHEE_OK;
  });
}

cachee_status cachee_size(const cachee_cache* cache, uint64_t* keys) noexcept {
  if (cache == nullptr || keys == nullptr) return fail(Errc::invalid_argument);
  const auto count = cache->cache.size();
  if (!count) return fail(count.error());
  *keys = *count;
  return CACHEE_OK;
}

cachee_status cachee_random_key(const cachee_cache* cache, void** key, size_t* key_bytes) noexcept {
  if (cache == nullptr || key == nullptr || key_bytes == nullptr) {
    return fail(Errc::invalid_argument);
  }
  const auto chosen = cache->cache.random_key();
  if (!chosen) return fail(chosen.error());
  void* copy = copy_of(*chosen);
  if (copy == nullptr) return fail_memory();
  *key = copy;
  *key_bytes = chosen->size();
  return CACHEE_OK;
}

cachee_status cachee_total_stats(const cachee_cache* cache, cachee_stats* stats) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || stats == nullptr || !is_result(stats)) {
      return fail(Errc::invalid_argument);
    }
    const auto info = segment_info(cache->cache);
    if (!info) return fail(info.error());
    write_result(stats, to_c_stats(info->totals));
    return CACHEE_OK;
  });
}

cachee_status cachee_clients(const cachee_cache* cache, cachee_client_sink sink,
                             void* context) noexcept {
  return guarded([&]() -> cachee_status {
    if (cache == nullptr || sink == nullptr) return fail(Errc::invalid_argument);
    const auto clients = list_clients(cache->cache);
    if (!clients) return fail(clients.error());
    for (const cachee::ClientInfo& info : *clients) {
      cachee_client client{};
      client.struct_bytes = sizeof client;
      client.id = info.id.value;
      client.pid = info.pid;
      client.pins = info.pins;
      client.alive = info.alive;
      client.recovering = info.recovering;
      client.name = info.name.c_str();
      client.role = to_string(info.role);
      client.operation = info.operation.c_str();
      client.stats = to_c_stats(info.stats);
      sink(context, &client);
    }
    return CACHEE_OK;
  });
}

cachee_status cachee_wait_acknowledged(const cachee_cache* cache, uint64_t event,
                                       int64_t timeout_ms) noexcept {
  if (cache == nullptr || timeout_ms < 0) return fail(Errc::invalid_argument);
  const auto done =
      cache->cache.wait_acknowledged(cachee::EventSeq{event}, milliseconds{timeout_ms});
  return done ? CACHEE_OK : fail(done.error());
}

}  // extern "C"
