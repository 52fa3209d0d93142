// Random calls on few keys, recorded where they outlive the caller. Every value says who wrote it
// and proves that it is whole.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>

#include <sys/mman.h>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

#include "linear/chain.hpp"
#include "linear/history.hpp"

namespace cachee::test {

inline std::int64_t clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// One piece of a value: "<" number ":" length ":" filler ">". A value is one or more of them; a
/// torn or foreign one does not parse.
inline std::string make_piece(std::uint64_t number, std::size_t filler_bytes) {
  std::string piece = "<" + std::to_string(number) + ":" + std::to_string(filler_bytes) + ":";
  for (std::size_t i = 0; i < filler_bytes; ++i)
    piece += static_cast<char>('a' + (number * 31 + i * (7 + number % 11)) % 26);
  return piece + ">";
}
inline bool is_whole(std::string_view value) {
  if (value.empty()) return false;
  while (!value.empty()) {
    const std::size_t first = value.find(':');
    const std::size_t second = first == value.npos ? value.npos : value.find(':', first + 1);
    if (value[0] != '<' || second == value.npos) return false;
    const std::uint64_t number = std::strtoull(std::string{value.substr(1, first - 1)}.c_str(), nullptr, 10);
    const std::uint64_t bytes =
        std::strtoull(std::string{value.substr(first + 1, second - first - 1)}.c_str(), nullptr, 10);
    if (bytes > value.size()) return false;
    const std::string piece = make_piece(number, bytes);
    if (value.substr(0, piece.size()) != piece) return false;
    value.remove_prefix(piece.size());
  }
  return true;
}
inline bool is_number(std::string_view value) {
  return !value.empty() && value.find_first_not_of("-0123456789") == value.npos;
}

/// The keys and what is done to them.
struct KeyPlan {
  unsigned mixed = 6;      // "m<n>": everything but increment; deadlines too
  unsigned counters = 2;   // "c<n>": increment, now and then erase
  unsigned large = 160;    // "l<n>": values that fill the memory, so that eviction goes on
  unsigned unwatched = 2;  // "w<n>": no trigger wants their events
  std::size_t large_bytes_max = 6000;
  [[nodiscard]] unsigned count() const { return mixed + counters + large + unwatched; }
  [[nodiscard]] std::string key(unsigned k) const {
    if (k < mixed) return "m" + std::to_string(k);
    k -= mixed;
    if (k < counters) return "c" + std::to_string(k);
    k -= counters;
    if (k < large) return "l" + std::to_string(k);
    return "w" + std::to_string(k - large);
  }
  [[nodiscard]] unsigned index(std::string_view key) const {
    const auto n = static_cast<unsigned>(std::strtoul(std::string{key.substr(1)}.c_str(), nullptr, 10));
    switch (key[0]) {
      case 'm':
        return n;
      case 'c':
        return mixed + n;
      case 'l':
        return mixed + counters + n;
      default:
        return mixed + counters + large + n;
    }
  }
};
inline constexpr const char* kWatched = "[mcl]*";  // pattern of the trigger

/// Bytes that outlive a killed process: plain fields, then `done`.
struct CallRecord {
  enum Done : std::uint32_t { kEmpty = 0, kBegun = 1, kReturned = 2 };
  std::atomic<std::uint32_t> done;
  std::uint32_t key;
  Account account;
};
struct EventRecord {
  std::atomic<std::uint32_t> done;
  std::uint32_t key;
  Effect effect;
};

/// Recorded history of all callers, and the first thing that was seen wrong.
class Log {
 public:
  Log(std::size_t calls_max, std::size_t events_max) : calls_max_{calls_max}, events_max_{events_max} {
    bytes_ = sizeof(Shared) + calls_max * sizeof(CallRecord) + events_max * sizeof(EventRecord);
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("mmap of the log");
    shared_ = static_cast<Shared*>(at);
    calls_ = reinterpret_cast<CallRecord*>(shared_ + 1);
    events_ = reinterpret_cast<EventRecord*>(calls_ + calls_max);
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() { munmap(shared_, bytes_); }

  /// Null: the log is full.
  CallRecord* next_call() {
    const std::uint64_t i = shared_->calls.fetch_add(1);
    return i < calls_max_ ? &calls_[i] : nullptr;
  }
  [[nodiscard]] bool full() const { return shared_->calls.load() >= calls_max_; }
  [[nodiscard]] std::uint64_t call_count() const { return std::min<std::uint64_t>(shared_->calls.load(), calls_max_); }
  const CallRecord& call(std::size_t i) const { return calls_[i]; }
  CallRecord& call(std::size_t i) { return calls_[i]; }

  /// An event is told again when its reader died before it released it: it must be the same.
  void take_event(std::uint32_t key, const Effect& effect) {
    if (effect.seq >= events_max_) return complain("more events than calls");
    EventRecord& record = events_[effect.seq];
    if (record.done.load() != 0) {
      const Effect& seen = record.effect;
      if (record.key != key || seen.what != effect.what || seen.version != effect.version ||
          seen.value != effect.value) {
        complain("event " + std::to_string(effect.seq) + " was another one when it was read before");
      }
      return;
    }
    record.key = key;
    record.effect = effect;
    record.done.store(1);
    if (effect.seq + 1 > shared_->events.load()) shared_->events.store(effect.seq + 1);
  }
  [[nodiscard]] std::uint64_t event_count() const { return shared_->events.load(); }
  const EventRecord& event(std::size_t i) const { return events_[i]; }

  void complain(const std::string& what) {
    if (shared_->complaints.fetch_add(1) != 0) return;
    std::strncpy(shared_->complaint, what.c_str(), sizeof shared_->complaint - 1);
  }
  [[nodiscard]] std::string complaints() const {
    const unsigned n = shared_->complaints.load();
    return n == 0 ? "" : std::to_string(n) + " complaints, the first: " + shared_->complaint + "\n";
  }
  std::atomic<bool>& stop() { return shared_->stop; }

 private:
  struct alignas(64) Shared {
    std::atomic<std::uint64_t> calls;
    std::atomic<std::uint64_t> events;
    std::atomic<bool> stop;
    std::atomic<unsigned> complaints;
    char complaint[600];
  };
  std::size_t calls_max_, events_max_, bytes_ = 0;
  Shared* shared_ = nullptr;
  CallRecord* calls_ = nullptr;
  EventRecord* events_ = nullptr;
};

/// A caller: `client` is a number that nobody else has.
class Caller {
 public:
  Caller(Log& log, const KeyPlan& plan, Cache& cache, std::uint32_t client, std::uint64_t seed)
      : log_{log}, plan_{plan}, cache_{cache}, client_{client}, random_{seed} {}

  /// One random call. False: the log is full.
  bool step() {
    const unsigned k = choose_key();
    CallRecord* const record = log_.next_call();
    if (record == nullptr) return false;
    record_ = record;
    record->key = k;
    Account& a = record->account;
    a = {};
    a.client = client_;
    key_ = plan_.key(k);
    const char type = key_[0];
    a.kind = choose_kind(type);
    number_ = std::uint64_t{client_} << 24 | ++sequence_;
    if (type != 'c' && up_to(3) == 0) a.ttl = (1 + up_to(20)) * 200'000;
    run(a, k);
    return true;
  }

 private:
  std::int64_t up_to(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n + 1));
  }
  unsigned choose_key() {
    const auto share = up_to(99);
    const auto among = [&](unsigned first, unsigned count) {
      return count == 0 ? 0 : first + static_cast<unsigned>(up_to(static_cast<std::int64_t>(count) - 1));
    };
    if (share < 12) return among(plan_.mixed + plan_.counters, plan_.large);
    if (share < 25) return among(plan_.mixed, plan_.counters);
    if (share < 35) return among(plan_.mixed + plan_.counters + plan_.large, plan_.unwatched);
    return among(0, plan_.mixed);
  }
  Kind choose_kind(char type) {
    const auto share = up_to(99);
    if (type == 'c') return share < 55 ? Kind::increment : share < 97 ? Kind::get : Kind::erase;
    if (type == 'l') return share < 60 ? Kind::set : share < 90 ? Kind::get : Kind::erase;
    if (type == 'w' && share >= 40 && share < 46) return Kind::get;
    if (share < 25) return Kind::get;
    if (share < 40) return Kind::set;
    if (share < 46) return Kind::append;
    if (share < 58) return Kind::add;
    if (share < 64) return Kind::replace;
    if (share < 76) return Kind::compare_and_set;
    if (share < 82) return Kind::touch;
    if (share < 86) return Kind::persist;
    return Kind::erase;
  }
  std::string new_value() {
    const bool large = key_[0] == 'l';
    const auto bytes = large ? plan_.large_bytes_max / 2 +
                                   static_cast<std::size_t>(up_to(static_cast<std::int64_t>(plan_.large_bytes_max / 2)))
                             : static_cast<std::size_t>(up_to(3) == 0 ? up_to(300) : up_to(20));
    return make_piece(number_, bytes);
  }

  void begin() {
    record_->account.begin = clock_ns();
    record_->done.store(CallRecord::kBegun);
  }
  void finish(Outcome outcome) {
    Account& a = record_->account;
    a.end = clock_ns();
    a.outcome = outcome;
    record_->done.store(CallRecord::kReturned);
  }
  void finish(Errc code) {
    switch (code) {
      case Errc::not_found:
        return finish(Outcome::not_found);
      case Errc::exists:
        return finish(Outcome::exists);
      case Errc::stale:
        return finish(Outcome::stale);
      case Errc::full:
      case Errc::no_space:
      case Errc::busy:
        return finish(Outcome::refused);
      default:
        log_.complain(key_ + ": " + cachee::to_string(code));
        return finish(Outcome::refused);
    }
  }
  bool whole(std::string_view value) {
    if (key_[0] == 'c' ? is_number(value) : is_whole(value)) return true;
    log_.complain(key_ + ": not whole: " + std::string{value.substr(0, 60)});
    return false;
  }
  void told(const Result<WriteResult>& r, Account& a) {
    if (!r) return finish(r.code());
    a.version_out = r->version;
    if (r->event) a.event = r->event->value;
    if (r->old_value) a.old = identity_of(*r->old_value);
    finish(Outcome::ok);
  }

  void run(Account& a, unsigned k) {
    SetOptions options;
    if (a.ttl != 0) options.ttl = Ttl{a.ttl};
    options.return_old = up_to(3) == 0 && key_[0] != 'l';
    std::string value;
    const bool writes =
        a.kind == Kind::set || a.kind == Kind::add || a.kind == Kind::replace || a.kind == Kind::compare_and_set;
    if (writes || a.kind == Kind::append) {
      value = new_value();
      a.tag = identity_of(value);
    }
    switch (a.kind) {
      case Kind::get:
        return read(a, k);
      case Kind::set:
        return begin(), told(cache_.set(key_, value, options), a);
      case Kind::add:
        return begin(), told(cache_.add(key_, value, options), a);
      case Kind::replace:
        return begin(), told(cache_.replace(key_, value, options), a);
      case Kind::compare_and_set: {
        a.version_in = seen_[k % seen_.size()];
        return begin(), told(cache_.compare_and_set(key_, a.version_in, value, options), a);
      }
      case Kind::increment: {
        a.tag = number_;
        begin();
        const auto r = cache_.increment(key_, static_cast<std::int64_t>(number_));
        return r ? finish(Outcome::ok) : finish(r.code());
      }
      case Kind::append: {
        a.ttl = 0;
        begin();
        if (up_to(1) == 0) {
          const auto r = cache_.append(key_, value);
          return r ? finish(Outcome::ok) : finish(r.code());
        }
        return told(cache_.update(key_,
                                  [&](std::optional<ValueView> old) -> std::optional<std::string> {
                                    return std::string{old.value_or(ValueView{})} + value;
                                  }),
                    a);
      }
      case Kind::touch: {
        if (a.ttl == 0) a.ttl = 5'000'000;
        begin();
        const auto r = cache_.touch(key_, Ttl{a.ttl});
        return r ? finish(*r ? Outcome::ok : Outcome::unchanged) : finish(r.code());
      }
      case Kind::persist: {
        a.ttl = 0;
        begin();
        const auto r = cache_.persist(key_);
        return r ? finish(*r ? Outcome::ok : Outcome::unchanged) : finish(r.code());
      }
      case Kind::erase: {
        a.ttl = 0;
        begin();
        const auto r = cache_.erase(key_, {.return_old = key_[0] != 'l'});
        if (!r) return finish(r.code());
        if (r->event) a.event = r->event->value;
        if (r->old_value) a.old = identity_of(*r->old_value);
        return finish(Outcome::ok);
      }
    }
  }

  void read(Account& a, unsigned k) {
    a.ttl = 0;
    begin();
    if (up_to(3) == 0) {
      const auto view = cache_.view(key_);
      if (!view) return finish(view.code());
      a.version_out = view->version();
      a.value = identity_of(view->bytes());
      finish(Outcome::ok);
      whole(view->bytes());
      if (up_to(7) == 0) std::this_thread::yield();
      // Pinned: still the same, whatever happened to the key.
      if (identity_of(view->bytes()) != a.value) log_.complain(key_ + ": changed under a pin");
      return;
    }
    const auto value = cache_.get(key_);
    if (!value) return finish(value.code());
    a.version_out = value->version;
    a.value = identity_of(value->bytes);
    finish(Outcome::ok);
    whole(value->bytes);
    seen_[k % seen_.size()] = value->version;
  }

  Log& log_;
  const KeyPlan& plan_;
  Cache& cache_;
  std::uint32_t client_;
  std::mt19937_64 random_;
  std::uint64_t sequence_ = 0;
  std::uint64_t number_ = 0;
  std::string key_;
  CallRecord* record_ = nullptr;
  std::array<std::uint64_t, 16> seen_{};
};

/// What the oracle needs of an event; complains of a value that is not whole.
inline Effect effect_of(const EventView& event, Log& log) {
  Effect e;
  switch (event.kind) {
    case EventKind::del:
      e.what = Effect::What::erase;
      break;
    case EventKind::expire:
      e.what = Effect::What::expire;
      break;
    case EventKind::evict:
      e.what = Effect::What::evict;
      break;
    default:
      break;
  }
  switch (event.cause) {
    case Cause::create: e.why = Effect::Why::create; break;
    case Cause::update: e.why = Effect::Why::update; break;
    case Cause::explicit_: e.why = Effect::Why::call; break;
    case Cause::ttl: e.why = Effect::Why::deadline; break;
    case Cause::capacity: e.why = Effect::Why::room; break;
    default: break;
  }
  e.seq = event.seq.value;
  e.version = event.version();
  e.value = identity_of(event.value);
  const bool counter = event.key[0] == 'c';
  if (counter ? !is_number(event.value) : !is_whole(event.value))
    log.complain("event of " + std::string{event.key} + ": not whole");
  if (event.kind != EventKind::write) return e;
  const auto old = event.old_value();
  if (old) e.old = identity_of(*old);
  const ValueView before = old.value_or(ValueView{});
  e.suffix = event.value.starts_with(before) ? identity_of(event.value.substr(before.size())) : e.value;
  if (counter)
    e.delta = std::strtoll(std::string{event.value}.c_str(), nullptr, 10) -
              std::strtoll(std::string{before}.c_str(), nullptr, 10);
  return e;
}

/// Reads all events there are into the log, acknowledges and releases them.
inline void drain_into(Log& log, const KeyPlan& plan, Maintainer& keeper) {
  const EventReader reader = keeper.reader();
  const std::uint64_t first = reader.head();
  std::uint64_t position = first;
  for (;; ++position) {
    const auto event = reader.at(EventSeq{position});
    if (!event) break;
    log.take_event(plan.index(event->key), effect_of(*event, log));
    keeper.acknowledge(EventSeq{position});
  }
  if (position == first) return;
  const Maintainer::Delta delta{0, {.emitted = position - first, .acknowledged = position - first}};
  keeper.release_through(position, {&delta, 1});
}

inline TriggerTable watch_all(std::uint32_t block_ms) {
  TriggerTable table;
  TriggerSpec all;
  all.name = "all";
  all.pattern = kWatched;
  all.source = "return";
  all.events = event_bit(EventKind::write) | event_bit(EventKind::del) | event_bit(EventKind::expire) |
               event_bit(EventKind::evict);
  all.block_ms = block_ms;
  table.triggers.push_back(all);
  return table;
}

}  // namespace cachee::test
