// A small world and what must be true of it. One trigger (or none) wants everything, so the events
// are the history of the keyspace: World reads them in order, checks that each fits the one before,
// and compares the state they add up to with the state that is there.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/temp_segment.hpp"

namespace cachee::test {

inline constexpr EventMask kAllEvents = event_bit(EventKind::write) | event_bit(EventKind::del) |
                                        event_bit(EventKind::expire) | event_bit(EventKind::evict);
inline constexpr EventMask kReadEvents = kAllEvents | event_bit(EventKind::read);
inline constexpr std::chrono::milliseconds kPublishTimeout{2000};

/// A number from the environment, for the long forms.
inline long setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtol(text, nullptr, 10);
}

/// One bucket, small pages, a short ring: everything meets everything.
inline SegmentOptions small_world(std::uint32_t buckets = 1) {
  SegmentOptions options;
  options.memory_bytes = kSegmentBytesMin;
  options.ring_events = 256;
  options.clients_max = 16;
  options.bucket_count = buckets;
  options.page_bytes = 4096;
  return options;
}

inline TimeNs monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

using State = std::map<std::string, std::string>;  // key -> value

/// What a dispatcher does with the first events of a ring: attempted, acknowledged and released, ten at a time.
inline void handle_first(Maintainer& keeper, std::uint64_t count) {
  constexpr std::uint64_t kAtOnce = 10;
  for (std::uint64_t end = kAtOnce; end <= count; end += kAtOnce) {
    for (std::uint64_t p = end - kAtOnce; p < end; ++p) {
      keeper.count_attempt(EventSeq{p});
      keeper.acknowledge(EventSeq{p});
    }
    const Maintainer::Delta delta{0, {.emitted = kAtOnce, .acknowledged = kAtOnce}};
    keeper.release_through(end, {&delta, 1});
  }
}

/// What sets off every delete with Cause::trigger here; others have nothing [RG-9].
inline constexpr Provenance kHandler{77, 66, 5};

/// Folds events into a state; says where one does not fit the one before.
class History {
 public:
  /// Start of the account: what was there when the trigger was registered.
  void begin(State state) { state_ = std::move(state); }
  void take(const EventView& event) {
    const std::string key{event.key};
    const std::string value{event.value};
    const auto there = state_.find(key);
    ++events_;
    log_ += std::string{to_string(event.kind)} + " " + key + " " + shorten(value) + "; ";
    switch (event.kind) {
      case EventKind::write: {
        const auto old = event.old_value();
        if (old.has_value() != (there != state_.end())) {
          complain(event, old ? "has an old value, but the key was absent" : "has no old value, but the key was there");
        } else if (old && *old != there->second) {
          complain(event, "old value is \"" + shorten(*old) + "\", before it was \"" + shorten(there->second) + "\"");
        }
        auto& version = versions_[key];
        if (event.version() <= version) complain(event, "version is not above the one before");
        version = event.version();
        state_[key] = value;
        break;
      }
      case EventKind::del:
        if (event.provenance() != (event.cause == Cause::trigger ? kHandler : Provenance{})) {
          complain(event, "carries another provenance");
        }
        [[fallthrough]];
      case EventKind::expire:
      case EventKind::evict:
        if (there == state_.end()) {
          complain(event, "removes a key that is absent");
        } else {
          if (there->second != value) complain(event, "removes another value than the key had: \"" + shorten(there->second) + "\"");
          state_.erase(there);
        }
        break;
      default: break;
    }
  }
  const State& state() const { return state_; }
  const std::string& complaints() const { return complaints_; }
  std::uint64_t events() const { return events_; }
  std::uint64_t next = 0;  // position of the event to be taken next
  /// Every event in order, as text.
  const std::string& log() const { return log_; }

 private:
  static std::string shorten(std::string_view text) {
    return text.size() <= 40 ? std::string{text} : std::string{text.substr(0, 30)} + "... (" + std::to_string(text.size()) + ")";
  }
  void complain(const EventView& event, const std::string& what) {
    if (complaints_.size() > 2000) return;
    complaints_ += std::to_string(event.seq.value) + " " + to_string(event.kind) + " " + std::string{event.key} + " \"" +
                   shorten(event.value) + "\": " + what + "\n";
  }
  State state_;
  std::map<std::string, std::uint64_t> versions_;
  std::string complaints_;
  std::string log_;
  std::uint64_t events_ = 0;
};

inline TriggerTable table_of(EventMask events, std::uint32_t block_ms = 10) {
  TriggerTable table;
  if (events == 0) return table;
  TriggerSpec all;
  all.name = "all";
  all.pattern = "*";
  all.source = "return";
  all.events = events;
  all.block_ms = block_ms;
  table.triggers.push_back(all);
  return table;
}

class World {
 public:
  explicit World(SegmentOptions options, EventMask events) : options_{std::move(options)}, wanted_{events} {
    options_.name = unique_name("world");
    keeper_.emplace(make_keeper());
    if (!keeper_->publish_triggers(table_of(events), kPublishTimeout)) throw std::runtime_error("publish");
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    own_.reset();
    keeper_.reset();
    static_cast<void>(remove_segment(options_.name));
  }

  const std::string& name() const { return options_.name; }
  const SegmentOptions& options() const { return options_; }
  bool has_trigger() const { return wanted_ != 0; }
  Maintainer& keeper() { return *keeper_; }
  /// The supervisor's reader, or anybody's while there is none here.
  EventReader events() { return keeper_ ? keeper_->reader() : EventReader{cache()}; }
  /// Ends this process's own client.
  void leave() { own_.reset(); }
  /// The supervisor's end and the next one's beginning.
  void drop_keeper() { keeper_.reset(); }
  void new_keeper() { keeper_.emplace(make_keeper()); }
  Maintainer make_keeper() const {
    auto made = Maintainer::create(options_);
    if (!made) throw std::runtime_error("create: " + to_string(made.error()));
    return std::move(*made);
  }
  Cache client(std::string_view client_name = "test") const {
    auto opened = Cache::open({.name = options_.name, .client_name = std::string{client_name}});
    if (!opened) throw std::runtime_error("open: " + to_string(opened.error()));
    return std::move(*opened);
  }
  /// This process's own client.
  Cache& cache() {
    if (!own_) own_.emplace(client("own"));
    return *own_;
  }

  /// Reads all events there are into the history; those that were read before are not read again.
  void note() {
    const EventReader reader = events();
    for (history_.next = std::max(history_.next, reader.head());; ++history_.next) {
      const auto event = reader.at(EventSeq{history_.next});
      if (!event) break;
      history_.take(*event);
    }
  }
  /// The same, and releases them.
  void drain() {
    note();
    const std::uint64_t first = keeper_->reader().head();
    const std::uint64_t position = history_.next;
    for (std::uint64_t p = first; p < position; ++p) keeper_->acknowledge(EventSeq{p});
    const Maintainer::Delta delta{0, {.emitted = position - first, .acknowledged = position - first}};
    keeper_->release_through(position, {&delta, 1});
  }
  History& history() { return history_; }

  /// Every key with its value, as a reader sees them.
  State state() {
    State out;
    std::set<std::string> keys;
    std::uint64_t cursor = 0;
    do {
      const auto scanned = cache().scan(cursor, 1000, [&](KeyView key) { keys.emplace(key); });
      if (!scanned) return {{"scan", to_string(scanned.error())}};
      cursor = scanned->cursor;
    } while (cursor != 0);
    for (const auto& key : keys) {
      const auto value = cache().get(key);
      if (value) out[key] = value->bytes;
    }
    return out;
  }

  /// Recovers every dead client; empty when none is left.
  std::string reap() {
    for (int rounds = 0; rounds < 100; ++rounds) {
      static_cast<void>(keeper_->reap(options_.clients_max));
      const auto clients = list_clients(keeper_->cache());
      if (!clients) return "list_clients: " + to_string(clients.error());
      bool dead = false;
      for (const auto& c : *clients) dead = dead || !c.alive;
      if (!dead) return {};
      drain();  // a full ring may hold a recovery back
    }
    return "a dead client was not recovered\n";
  }

  /// fsck, with nobody in an operation.
  std::string damage() {
    const auto report = fsck(keeper_->cache());
    if (!report) return "fsck: " + to_string(report.error()) + "\n";
    std::string text = report->quiescent ? "" : "fsck: not quiescent\n";
    for (const auto& f : report->findings) text += "fsck: " + f.invariant + " " + f.text + "\n";
    return text;
  }

  /// Events and state agree. Call behind drain().
  std::string disagreement() {
    std::string text = history_.complaints();
    if (!has_trigger()) return text;
    const State now = state();
    if (now == history_.state()) return text;
    text += "the events add up to " + describe(history_.state()) + "\nbut there is " + describe(now) + "\n";
    return text;
  }

  /// Every key can be written, read and removed. Empty: so it is.
  std::string stuck() {
    std::string text;
    for (const char* key : {"k", "o0", "fresh"}) {
      auto set = cache().set(key, "again");
      // Room may have to come from records whose events were not released yet.
      for (int rounds = 0; !set && set.code() == Errc::no_space && rounds < 20; ++rounds) {
        drain();
        set = cache().set(key, "again");
      }
      if (!set) text += std::string{"set "} + key + ": " + to_string(set.error()) + "\n";
      drain();
      if (const auto got = cache().get(key); !got || got->bytes != "again") text += std::string{"get "} + key + "\n";
      if (!cache().erase(key)) text += std::string{"erase "} + key + "\n";
      drain();
    }
    return text;
  }

  /// Empties everything and looks whether every block came back.
  std::string leaks() {
    for (;;) {
      const auto cleared = cache().clear();
      drain();
      if (cleared) break;
      if (cleared.code() != Errc::full) return "clear: " + to_string(cleared.error()) + "\n";
    }
    own_.reset();  // what its thread retired becomes hints
    for (int rounds = 0; rounds < 3; ++rounds) static_cast<void>(keeper_->scrub(1 << 20));
    std::string text;
    const auto slabs = list_slabs(keeper_->cache());
    for (const auto& s : *slabs) {
      if (s.live + s.waiting == 0) continue;
      text += "leak: blocks of " + std::to_string(s.block_bytes) + ": live " + std::to_string(s.live) + ", waiting " +
              std::to_string(s.waiting) + "\n";
    }
    const auto info = segment_info(keeper_->cache());
    std::uint64_t pages = info->pages_free;
    for (const auto& s : *slabs) pages += s.pages;
    if (pages != info->pages) text += "leak: " + std::to_string(info->pages - pages) + " pages\n";
    return text;
  }

  /// All of it, in order; empty when the world is sound.
  std::string verdict() {
    std::string text = reap();
    text += damage();
    drain();
    // What met a full ring is paid now; what has expired goes.
    static_cast<void>(keeper_->expire_due(monotonic_ns(), 1 << 20));
    drain();
    text += disagreement();
    return text;
  }

  static std::string describe(const State& state) {
    std::string text = "{";
    for (const auto& [key, value] : state) {
      if (text.size() > 600) return text + "...}";
      text += key + ": " + value.substr(0, 24) + (value.size() > 24 ? "...(" + std::to_string(value.size()) + ")" : "") + ", ";
    }
    return text + "}";
  }

 private:
  SegmentOptions options_;
  EventMask wanted_;
  std::optional<Maintainer> keeper_;
  std::optional<Cache> own_;
  History history_;
};

}  // namespace cachee::test
