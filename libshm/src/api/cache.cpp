#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <new>
#include <random>

#include <cachee/cache.hpp>

#include "api/handle.hpp"
#include "index/index.hpp"
#include "keyspace/get_inl.hpp"
#include "keyspace/keyspace.hpp"
#include "os/wait.hpp"
#include "slab/slab.hpp"

namespace cachee {

using layout::Deadline;
using shm::Context;
using shm::ReadTarget;
using shm::View;

namespace {

/// What std::bad_alloc and the like become; libshm itself does not throw.
template <class F>
auto guarded(F&& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return Error{Errc::no_space, ENOMEM, 0};
  } catch (...) {
    return Error{Errc::invalid_argument, 0, 0};
  }
}

/// Rounded down, as the deadline was rounded up: never more than was asked for.
std::optional<std::chrono::milliseconds> remaining(Deadline deadline) noexcept {
  if (!deadline.is_set()) return std::nullopt;
  return std::chrono::milliseconds{std::max<std::int64_t>(shm::us_until(deadline), 0) / 1000};
}

std::optional<std::int64_t> named_moment(Deadline deadline) noexcept {
  if (!deadline.is_wall()) return std::nullopt;
  return static_cast<std::int64_t>(deadline.ms());
}

/// Whether one deadline is behind another, as the clocks are now if they go by different ones.
bool is_later(Deadline a, Deadline b) noexcept {
  return a.is_wall() == b.is_wall() ? a.ms() > b.ms() : shm::us_until(a) > shm::us_until(b);
}

/// EXPIRE's NX, XX, GT, LT: a key without deadline counts as infinitely late.
bool condition_holds(ExpireCondition condition, Deadline old, Deadline wanted) noexcept {
  switch (condition) {
    case ExpireCondition::always: return true;
    case ExpireCondition::no_deadline: return !old.is_set();
    case ExpireCondition::has_deadline: return old.is_set();
    case ExpireCondition::greater: return old.is_set() && is_later(wanted, old);
    case ExpireCondition::less: return !old.is_set() || is_later(old, wanted);
  }
  return false;
}

struct Retouch final : shm::TouchPlan {
  Retouch(Deadline d, ExpireCondition c) : deadline{d}, condition{c} {}
  std::optional<Deadline> decide(Deadline old) override {
    if (!condition_holds(condition, old, deadline)) return std::nullopt;
    return deadline;
  }
  Deadline deadline;
  ExpireCondition condition;
};

struct Persist final : shm::TouchPlan {
  std::optional<Deadline> decide(Deadline old) override {
    if (!old.is_set()) return std::nullopt;
    return Deadline{};
  }
};

/// Read-modify-write: deadline, cost and metadata of the old record stay.
struct Modify : shm::WritePlan {
  explicit Modify(KeyView k) : key{k} { keeps_deadline = true; }
  virtual Errc compute(std::optional<ValueView> old) = 0;  // fills `value`
  Errc prepare(const View& view, std::uint64_t old_unit, Deadline old_deadline, shm::RecordParts& parts,
               Deadline& deadline) override {
    const bool present = old_unit != 0;
    if (const Errc why = compute(present ? std::optional{shm::value_in_place(view, old_unit)} : std::nullopt); why != Errc::ok) {
      return why;
    }
    extension = present ? std::string{shm::extension_in_place(view, old_unit)} : std::string{};
    // What set off the write before is not what set off this one.
    if (provenance != shm::extension_provenance(extension)) {
      const auto decoded = shm::decode_extension(extension);
      if (!decoded) return Errc::corrupt;
      extension = shm::encode_extension(decoded->cost, provenance, decoded->metadata, decoded->parents);
    }
    parts = {key, value, extension, 0};
    deadline = old_deadline;
    return Errc::ok;
  }
  KeyView key;
  std::string value;
  std::string extension;
  Provenance provenance{};
};

/// One spelling per number, as in Redis and in cachee.incr: no leading zeros, no "-0". The rest is from_chars'.
bool has_canonical_digits(ValueView text) noexcept {
  const ValueView digits = text.starts_with('-') ? text.substr(1) : text;
  return !digits.starts_with('0') || text.size() == 1;
}

struct Increment final : Modify {
  Increment(KeyView k, std::int64_t d, std::int64_t i) : Modify{k}, delta{d}, initial{i} {}
  Errc compute(std::optional<ValueView> old) override {
    std::int64_t now = initial;
    if (old) {
      if (!has_canonical_digits(*old)) return Errc::not_a_number;
      const auto [end, error] = std::from_chars(old->data(), old->data() + old->size(), now);
      if (error != std::errc{} || end != old->data() + old->size()) return Errc::not_a_number;
    }
    if (__builtin_add_overflow(now, delta, &result)) return Errc::overflow;
    value = std::to_string(result);
    return Errc::ok;
  }
  std::int64_t delta;
  std::int64_t initial;
  std::int64_t result = 0;
};

struct Append final : Modify {
  Append(KeyView k, ValueView s) : Modify{k}, suffix{s} {}
  Errc compute(std::optional<ValueView> old) override {
    value.assign(old.value_or(ValueView{})).append(suffix);
    return Errc::ok;
  }
  ValueView suffix;
};

struct Change final : Modify {
  Change(KeyView k, const Cache::Change& c) : Modify{k}, change{c} {}
  Errc compute(std::optional<ValueView> old) override {
    auto next = change(old);
    if (!next) return Errc::would_block;
    value = std::move(*next);
    return Errc::ok;
  }
  const Cache::Change& change;
};

constexpr std::size_t kBatch = 16;  // keys whose memory accesses overlap

}  // namespace

Cache::Cache(std::shared_ptr<shm::Handle> handle) noexcept : handle_{std::move(handle)} {}
Cache::Cache(Cache&&) noexcept = default;
Cache& Cache::operator=(Cache&&) noexcept = default;
Cache::~Cache() = default;

Result<Cache> Cache::open(const OpenOptions& options) noexcept {
  return guarded([&]() -> Result<Cache> {
    auto handle = shm::Handle::open(options);
    if (!handle) return handle.error();
    return Cache{std::move(*handle)};
  });
}

const std::string& Cache::name() const noexcept { return handle_->name(); }

namespace {

/// True when some trigger wants ON_READ. One load.
bool reads_told(const View& view) noexcept {
  return (view.header->trigger_word.load_relaxed() & event_bit(EventKind::read)) != 0;
}

/// One read with everything around it: fork check, client slot, ON_READ.
Result<void> read(shm::Handle& handle, KeyView key, std::uint64_t hash, ReadTarget& target) {
  if (handle.in_forked_child()) return Errc::closed;
  Context* const context = handle.context_or_null();
  if (context == nullptr || !reads_told(handle.view())) return shm::get_record(handle.view(), context, key, hash, target);
  return shm::get_and_tell(*context, key, hash, target);
}

/// Whether a key is there and until when. As in Redis this counts as a hit or a miss, and is no use of the key.
Result<void> look_for(shm::Handle& handle, KeyView key, ReadTarget& target) noexcept {
  if (handle.in_forked_child()) return Errc::closed;
  Context* const context = handle.context_or_null();
  const auto found = shm::look_at_record(handle.view(), context, key, target);
  if (context != nullptr && (found || found.code() == Errc::not_found)) context->count(found ? layout::kHits : layout::kMisses);
  return found;
}

/// get_into() for every key and in every state of the handle. It ends in a call, and need not come back.
[[gnu::noinline]] Result<std::size_t> get_into_with_care(shm::Handle& handle, KeyView key, std::span<char> out) noexcept {
  if (handle.in_forked_child()) [[unlikely]] return Errc::closed;
  Context* const context = handle.context_or_null();
  if (context == nullptr || !reads_told(handle.view())) [[likely]] return shm::get_value(handle.view(), context, key, out);
  return guarded([&]() -> Result<std::size_t> {
    std::string value;
    ReadTarget target;
    target.value = &value;
    if (const auto found = shm::get_and_tell(*context, key, handle.view().hash(key), target); !found) return found.error();
    if (value.size() <= out.size()) std::memcpy(out.data(), value.data(), value.size());
    return value.size();
  });
}

/// ON_READ of a pinned record. @error full, no_space  the read must fail
Errc tell_pinned(Context& context, KeyView key, std::uint64_t unit) noexcept {
  const View& view = *context.view;
  if (!reads_told(view)) return Errc::ok;
  const shm::Interest interest = shm::match_triggers(view, key);
  if (!interest.wants(EventKind::read)) return Errc::ok;
  const shm::Record& record = *view.record(unit);
  return shm::emit_read(context, key,
                        {shm::value_in_place(view, unit), shm::extension_in_place(view, unit), shm::version_of(record),
                         layout::Exp::deadline(record.exp.load_acquire())},
                        interest);
}

}  // namespace

Result<Value> Cache::get(KeyView key) const noexcept {
  return guarded([&]() -> Result<Value> {
    Value value;
    ReadTarget target;
    target.value = &value.bytes;
    if (const auto found = read(*handle_, key, handle_->view().hash(key), target); !found) return found.error();
    value.version = target.version;
    return value;
  });
}

Result<std::size_t> Cache::get_into(KeyView key, std::span<char> out) const noexcept {
  shm::Handle& handle = *handle_;
  if (handle.is_last_used() && shm::is_short(key) && !reads_told(handle.view())) [[likely]] {
    std::size_t bytes = 0;
    switch (shm::get_short(handle.view(), *handle.last_context(), key, out, bytes)) {
      [[likely]] case shm::detail::Quick::hit: return bytes;
      case shm::detail::Quick::miss: return Errc::not_found;
      case shm::detail::Quick::unsure: break;
    }
  }
  return get_into_with_care(handle, key, out);
}

Result<void> Cache::get_many(std::span<const KeyView> keys, const ManySink& sink) const noexcept {
  return guarded([&]() -> Result<void> {
    if (handle_->in_forked_child()) return Errc::closed;
    const View& view = handle_->view();
    Context* const context = handle_->context_or_null();
    const bool told = context != nullptr && reads_told(view);
    std::string value;
    shm::Seek seeks[kBatch];
    for (std::size_t at = 0; at < keys.size(); at += kBatch) {
      const std::size_t count = std::min(kBatch, keys.size() - at);
      for (std::size_t i = 0; i < count; ++i) seeks[i] = shm::Seek{view, keys[at + i]};
      for (std::size_t i = 0; i < count; ++i) seeks[i].fetch_record(view);
      for (std::size_t i = 0; i < count; ++i) {
        const KeyView key = keys[at + i];
        auto quick = told ? shm::detail::Quick::unsure : seeks[i].read(view, context, key, value);
        if (quick == shm::detail::Quick::unsure) [[unlikely]] {
          ReadTarget target;
          target.value = &value;
          const auto found = read(*handle_, key, seeks[i].hash(), target);
          if (!found && found.code() != Errc::not_found) return found.error();
          quick = found ? shm::detail::Quick::hit : shm::detail::Quick::miss;
        }
        sink(at + i, quick == shm::detail::Quick::hit ? std::optional<ValueView>{value} : std::nullopt);
      }
    }
    return {};
  });
}

Result<PinnedValue> Cache::view(KeyView key) const noexcept {
  return guarded([&]() -> Result<PinnedValue> {
    PinnedValue pinned;
    if (handle_->in_forked_child()) return Errc::closed;
    if (Context* const context = handle_->context_or_null()) {
      const auto pin = shm::pin_record(*context, key);
      if (pin) {
        pinned.bytes_ = shm::value_in_place(handle_->view(), pin->unit);
        pinned.version_ = shm::version_of(*handle_->view().record(pin->unit));
        pinned.handle_ = handle_;
        pinned.pin_ = &context->me->pins[pin->pin];
        if (const Errc told = tell_pinned(*context, key, pin->unit); told != Errc::ok) return told;
        return pinned;
      }
      if (pin.code() != Errc::would_block) return pin.error();
    }
    auto value = get(key);
    if (!value) return value.error();
    pinned.copy_ = std::make_unique<char[]>(value->bytes.size());
    std::memcpy(pinned.copy_.get(), value->bytes.data(), value->bytes.size());
    pinned.bytes_ = {pinned.copy_.get(), value->bytes.size()};
    pinned.version_ = value->version;
    return pinned;
  });
}

PinnedValue::PinnedValue(PinnedValue&& other) noexcept
    : bytes_{std::exchange(other.bytes_, {})}, version_{other.version_}, handle_{std::move(other.handle_)},
      pin_{std::exchange(other.pin_, nullptr)}, copy_{std::move(other.copy_)} {}
PinnedValue& PinnedValue::operator=(PinnedValue&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(version_, other.version_);
  std::swap(handle_, other.handle_);
  std::swap(pin_, other.pin_);
  std::swap(copy_, other.copy_);
  return *this;
}
PinnedValue::~PinnedValue() { release(); }
void PinnedValue::release() noexcept {
  if (pin_ != nullptr && !handle_->in_forked_child()) static_cast<mem::Word*>(pin_)->store_release(0);
  pin_ = nullptr;
  handle_.reset();
  copy_.reset();
  bytes_ = {};
}

Result<Entry> Cache::inspect(KeyView key) const noexcept {
  return guarded([&]() -> Result<Entry> {
    if (handle_->in_forked_child()) return Errc::closed;
    Entry entry;
    std::string extension;
    ReadTarget target;
    target.value = &entry.value;
    target.extension = &extension;
    const View& view = handle_->view();
    if (const auto found = shm::look_at_record(view, handle_->context_or_null(), key, target); !found) return found.error();
    auto decoded = shm::decode_extension(extension);
    if (!decoded) return Errc::corrupt;
    entry.version = target.version;
    entry.cost = decoded->cost;
    entry.metadata = std::move(decoded->metadata);
    entry.depends_on = std::move(decoded->parents);
    entry.ttl = remaining(target.deadline);
    entry.deadline_wall_ms = named_moment(target.deadline);
    const std::uint64_t now_ms = view.ms_since_created(base::now_ns());
    const std::uint64_t written_ms = target.version / 1000;  // record.hpp: a version is also a time
    entry.age = std::chrono::milliseconds{now_ms > written_ms ? now_ms - written_ms : 0};
    entry.bytes = shm::block_bytes_for(view, target.record_bytes);
    return entry;
  });
}

Result<Peek> Cache::peek(KeyView key) const noexcept {
  if (handle_->in_forked_child()) return Errc::closed;
  std::uint32_t hits = 0;
  const auto deadline = shm::peek_record(handle_->view(), key, hits);
  if (!deadline) return deadline.error();
  return Peek{hits, remaining(*deadline)};
}

Result<bool> Cache::contains(KeyView key) const noexcept {
  ReadTarget target;
  const auto found = look_for(*handle_, key, target);
  if (!found && found.code() != Errc::not_found) return found.error();
  return found.has_value();
}

Result<std::optional<std::chrono::milliseconds>> Cache::ttl(KeyView key) const noexcept {
  ReadTarget target;
  if (const auto found = look_for(*handle_, key, target); !found) return found.error();
  return remaining(target.deadline);
}

Result<std::optional<std::int64_t>> Cache::deadline_wall_ms(KeyView key) const noexcept {
  ReadTarget target;
  if (const auto found = look_for(*handle_, key, target); !found) return found.error();
  if (!target.deadline.is_set() || target.deadline.is_wall()) return named_moment(target.deadline);
  return std::optional{base::wall_ns() / base::kNsPerMs + remaining(target.deadline)->count()};
}

Result<WriteResult> Cache::set(KeyView key, ValueView value, const SetOptions& options) noexcept {
  return guarded([&]() -> Result<WriteResult> {
    const auto context = handle_->context();
    if (!context) return context.error();
    return shm::set_record(**context, key, value, options);
  });
}

Result<void> Cache::set_many(std::span<const KeyValue> items, const SetOptions& options, const StoredSink& sink) noexcept {
  return guarded([&]() -> Result<void> {
    const auto context = handle_->context();
    if (!context) return context.error();
    const View& view = handle_->view();
    for (std::size_t at = 0; at < items.size(); at += kBatch) {
      const auto batch = items.subspan(at, std::min(kBatch, items.size() - at));
      shm::Seek seeks[kBatch];
      for (std::size_t i = 0; i < batch.size(); ++i) seeks[i] = shm::Seek{view, batch[i].key};
      for (std::size_t i = 0; i < batch.size(); ++i) seeks[i].fetch_record(view);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const auto written = shm::set_record(**context, batch[i].key, batch[i].value, options);
        if (!written) return written.error();
        if (sink) sink(at + i, *written);
      }
    }
    return {};
  });
}

Result<WriteResult> Cache::add(KeyView key, ValueView value, SetOptions options) noexcept {
  options.condition = Condition::absent;
  return set(key, value, options);
}
Result<WriteResult> Cache::replace(KeyView key, ValueView value, SetOptions options) noexcept {
  options.condition = Condition::present;
  return set(key, value, options);
}
Result<WriteResult> Cache::compare_and_set(KeyView key, std::uint64_t version, ValueView value, SetOptions options) noexcept {
  options.if_version = version;
  return set(key, value, options);
}

Result<std::int64_t> Cache::increment(KeyView key, std::int64_t delta, const IncrementOptions& options) noexcept {
  return guarded([&]() -> Result<std::int64_t> {
    const auto context = handle_->context();
    if (!context) return context.error();
    Increment plan{key, delta, options.initial};
    plan.provenance = options.provenance;
    const auto written = shm::write_record(**context, key, plan);
    if (!written) return written.error();
    return plan.result;
  });
}

Result<std::size_t> Cache::append(KeyView key, ValueView suffix) noexcept {
  return guarded([&]() -> Result<std::size_t> {
    const auto context = handle_->context();
    if (!context) return context.error();
    Append plan{key, suffix};
    const auto written = shm::write_record(**context, key, plan);
    if (!written) return written.error();
    return plan.value.size();
  });
}

Result<WriteResult> Cache::update(KeyView key, const Change& change, const Provenance& from) noexcept {
  return guarded([&]() -> Result<WriteResult> {
    const auto context = handle_->context();
    if (!context) return context.error();
    cachee::Change plan{key, change};
    plan.provenance = from;
    return shm::write_record(**context, key, plan);
  });
}

Result<bool> Cache::touch(KeyView key, Ttl ttl, ExpireCondition condition) noexcept {
  return guarded([&]() -> Result<bool> {
    const auto context = handle_->context();
    if (!context) return context.error();
    Retouch plan{shm::deadline_after(ttl), condition};
    return shm::touch_record(**context, key, plan);
  });
}

Result<bool> Cache::touch_at(KeyView key, std::int64_t deadline_wall_ms, ExpireCondition condition) noexcept {
  return guarded([&]() -> Result<bool> {
    const auto context = handle_->context();
    if (!context) return context.error();
    Retouch plan{shm::deadline_at(deadline_wall_ms), condition};
    return shm::touch_record(**context, key, plan);
  });
}

Result<bool> Cache::persist(KeyView key) noexcept {
  return guarded([&]() -> Result<bool> {
    const auto context = handle_->context();
    if (!context) return context.error();
    Persist plan;
    return shm::touch_record(**context, key, plan);
  });
}

Result<EraseResult> Cache::erase(KeyView key, const EraseOptions& options) noexcept {
  return guarded([&]() -> Result<EraseResult> {
    if (static_cast<unsigned>(options.cause) > static_cast<unsigned>(Cause::trigger)) return Errc::invalid_argument;
    const auto context = handle_->context();
    if (!context) return context.error();
    return shm::erase_record(**context, key, options);
  });
}

Result<std::uint64_t> Cache::clear(Cause cause) noexcept {
  return guarded([&]() -> Result<std::uint64_t> {
    std::uint64_t erased = 0;
    std::uint64_t cursor = 0;
    std::vector<std::string> keys;
    do {
      keys.clear();
      const auto scanned = scan(cursor, 256, [&](KeyView key) { keys.emplace_back(key); });
      if (!scanned) return scanned.error();
      cursor = scanned->cursor;
      for (const std::string& key : keys) {
        const auto gone = erase(key, {.cause = cause});
        if (gone) ++erased;
        if (!gone && gone.code() != Errc::not_found) return gone.error();
      }
    } while (cursor != 0);
    return erased;
  });
}

Result<ScanResult> Cache::scan(std::uint64_t cursor, std::size_t count, const KeySink& sink) const noexcept {
  return guarded([&]() -> Result<ScanResult> {
    if (handle_->in_forked_child()) return Errc::closed;
    const View& view = handle_->view();
    constexpr std::uint64_t kEmptyBucketsMax = 4096;  // a call stays short in a nearly empty cache
    std::string key;
    std::size_t seen = 0;
    std::uint64_t bucket = cursor;
    for (std::uint64_t visited = 0; bucket < view.shape.bucket_count && seen < count && visited < kEmptyBucketsMax;
         ++bucket, ++visited) {
      shm::scan_bucket(view, bucket, key, [&](KeyView k) {
        ++seen;
        sink(k);
      });
    }
    return ScanResult{bucket >= view.shape.bucket_count ? 0 : bucket};
  });
}

Result<std::uint64_t> Cache::size() const noexcept {
  if (handle_->in_forked_child()) return Errc::closed;
  return shm::count_live(handle_->view());
}

Result<std::string> Cache::random_key() const noexcept {
  return guarded([&]() -> Result<std::string> {
    if (handle_->in_forked_child()) return Errc::closed;
    const View& view = handle_->view();
    thread_local std::minstd_rand random{std::random_device{}()};
    std::uint64_t bucket = std::uniform_int_distribution<std::uint64_t>{0, view.shape.bucket_count - 1}(random);
    std::string key;
    std::vector<std::string> keys;
    for (std::uint64_t n = 0; n < view.shape.bucket_count; ++n, bucket = (bucket + 1) % view.shape.bucket_count) {
      shm::scan_bucket(view, bucket, key, [&](KeyView k) { keys.emplace_back(k); });
      if (!keys.empty()) return keys[std::uniform_int_distribution<std::size_t>{0, keys.size() - 1}(random)];
    }
    return Errc::not_found;
  });
}

Result<void> Cache::wait_acknowledged(EventSeq event, std::chrono::milliseconds timeout) const noexcept {
  if (handle_->in_forked_child()) return Errc::closed;
  if (shm::wait_acknowledged(handle_->view(), event, timeout)) return {};
  return Errc::timed_out;
}

bool Cache::supervisor_alive() const noexcept {
  if (handle_->in_forked_child()) return false;
  const View& view = handle_->view();
  if (static_cast<std::int32_t>(view.header->supervisor_pid.load_acquire()) == os::own_identity().pid) return true;
  return os::lock_holder(handle_->name(), os::kSupervisorFile) != 0;
}

}  // namespace cachee
