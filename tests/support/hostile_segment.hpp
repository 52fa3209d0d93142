// A small populated segment, damages to its bytes, and a run through everything that a client, the
// supervisor, fsck and the tools do with it. Claim of whoever uses it: nothing of that touches a
// byte outside the mapping, hangs or aborts, whatever the bytes are, and every answer is one that the
// call may give.
//
// Damages come from a source of bytes: a fuzzer's input or a seeded generator.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cachee/cachee.h>
#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

#include "layout/segment_header.hpp"
#include "mem/shared.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {

/// Bytes that decide; zeros when they have run out.
class Decisions {
 public:
  explicit Decisions(std::span<const std::uint8_t> bytes) noexcept : left_{bytes} {}
  bool empty() const noexcept { return left_.empty(); }
  std::uint64_t take(unsigned bytes) noexcept {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < bytes && !left_.empty(); ++i) {
      value |= std::uint64_t{left_.front()} << (8 * i);
      left_ = left_.subspan(1);
    }
    return value;
  }

 private:
  std::span<const std::uint8_t> left_;
};

/// One word of the segment and what becomes of it.
struct Damage {
  std::size_t word = 0;  // index into the segment's words
  std::uint64_t value = 0;
};

class HostileSegment {
 public:
  HostileSegment() {
    options_.name = unique_name("hostile");
    options_.memory_bytes = kSegmentBytesMin;
    options_.ring_events = 256;
    options_.clients_max = 12;
    options_.bucket_count = 8;
    options_.page_bytes = 4096;
    populate();
    map();
    pristine_.assign(words_, words_ + count_);
  }
  HostileSegment(const HostileSegment&) = delete;
  HostileSegment& operator=(const HostileSegment&) = delete;
  ~HostileSegment() {
    munmap(words_, count_ * sizeof(mem::Word));
    remove();
  }

  const std::string& name() const noexcept { return options_.name; }
  const SegmentOptions& options() const noexcept { return options_; }
  std::size_t words() const noexcept { return count_; }
  void remove() const noexcept { static_cast<void>(remove_segment(options_.name)); }

  /// Decides the next damage: where by region, so that small regions are met as often as large ones.
  Damage next_damage(Decisions& decisions) const {
    const std::uint64_t region = decisions.take(1) % (layout::kRegionCount + 2);
    std::size_t first = 0;
    std::size_t words = sizeof(layout::SegmentHeader) / 8;
    if (region < layout::kRegionCount) {
      first = regions_[region].offset / 8;
      words = std::max<std::size_t>(1, regions_[region].bytes / 8);
    } else if (region == layout::kRegionCount) {
      words = 64;  // what attach decides by
    }
    Damage damage;
    const std::uint64_t where = decisions.take(2);
    // Records begin where blocks do: their first words are met more often than the bytes of values.
    damage.word = region == layout::kRegionData && (where & 1) != 0
                      ? first + record_words_[(where >> 1) % record_words_.size()] + where % 7
                      : first + where % words;
    const std::uint64_t old = pristine_[damage.word].load_relaxed();
    const std::uint64_t data_first = regions_[layout::kRegionData].offset / 8;
    const std::uint64_t data_end = data_first + regions_[layout::kRegionData].bytes / 8;
    constexpr std::uint64_t kUnitMask = (std::uint64_t{1} << 40) - 1;
    switch (decisions.take(1) % 9) {
      case 0: damage.value = decisions.take(8); break;
      case 1: damage.value = old ^ std::uint64_t{1} << (decisions.take(1) % 64); break;
      case 2: damage.value = pristine_[first + decisions.take(2) % words].load_relaxed(); break;
      case 3: damage.value = 0; break;
      case 4: damage.value = ~std::uint64_t{0}; break;
      case 5: damage.value = old + static_cast<std::uint64_t>(static_cast<std::int8_t>(decisions.take(1))); break;
      case 6: damage.value = (old & ~kUnitMask) | (data_end - decisions.take(1)); break;
      case 7: damage.value = (old & ~kUnitMask) | (data_first + decisions.take(3) % (data_end - data_first)); break;
      default: damage.value = old << 32 | old >> 32; break;
    }
    // Without a magic it is what a killed creator left, and the next supervisor makes another file.
    if (damage.word == 0 && damage.value == 0) damage.value = 1;
    return damage;
  }

  void restore() noexcept {
    std::memcpy(static_cast<void*>(words_), pristine_.data(), count_ * sizeof(mem::Word));
    promises_other_sizes_ = false;
  }
  void apply(const Damage& damage) noexcept {
    if (damage.word == offsetof(layout::SegmentHeader, shape.value_bytes_max) / sizeof(mem::Word)) promises_other_sizes_ = true;
    words_[damage.word].store_relaxed(damage.value);
  }
  void undo(const Damage& damage) noexcept { words_[damage.word].store_relaxed(pristine_[damage.word].load_relaxed()); }

  /// Everything that can be done with the segment. Empty, or the answers that nobody may get: a read that
  /// finds no memory was led to ask for too much; a key that is too long was never there.
  std::string exercise() {
    unexpected_.clear();
    const auto reader = Cache::open({.name = name(), .access = Access::read_only});
    answer("open to read", reader, {Errc::layout_mismatch});
    if (reader) {
      read(*reader);
      inspect(*reader);
    }
    auto client = Cache::open({.name = name(), .client_name = "hostile"});
    answer("open", client, {Errc::layout_mismatch});
    if (client) {
      read(*client);
      write(*client);
      inspect(*client);
    }
    use_from_c();
    maintain();
    return std::exchange(unexpected_, {});
  }

 private:
  static constexpr std::size_t kLargeBytes = 20000;  // a run of pages

  void populate() {
    auto keeper = Maintainer::create(options_);
    if (!keeper) throw std::runtime_error("create: " + to_string(keeper.error()));
    TriggerTable table;
    for (const char* pattern : {"*", "k[0-4]*", "never:*"}) {
      TriggerSpec t;
      t.name = pattern;
      t.pattern = pattern;
      t.source = "return";
      t.events = 0x3e;
      t.block_ms = 1;
      t.slot = static_cast<std::uint32_t>(table.triggers.size());
      table.triggers.push_back(t);
    }
    auto cache = keeper->client(Role::client, "populate");
    if (!cache) throw std::runtime_error("client: " + to_string(cache.error()));
    const auto must = [](const auto& done) {
      if (!done) throw std::runtime_error("populate: " + to_string(done.error()));
    };
    must(cache->set("", "the empty key"));
    for (int i = 0; i < 70; ++i) {  // eight buckets of six: chains with overflow buckets
      SetOptions options;
      if (i % 3 == 0) options.ttl = std::chrono::hours{1};
      if (i % 4 == 0) options.metadata = {{"field", "text"}, {"other", "more"}};
      if (i % 5 == 0) options.depends_on = {"k1", "k2"};
      if (i % 7 == 0) options.cost = 3.0;
      must(cache->set(key(i), std::string(static_cast<std::size_t>(i) * 9, 'v'), options));
    }
    must(cache->set("large", std::string(kLargeBytes, 'L')));
    must(keeper->publish_triggers(table, std::chrono::seconds{1}));
    for (int i = 0; i < 12; ++i) must(cache->set(key(i), "again"));  // events with an old value
    must(cache->erase(key(13)));
    must(cache->set("soon", "gone", {.ttl = std::chrono::nanoseconds{1}}));
    must(cache->increment("number", 7));
    for (std::uint64_t p = keeper->reader().head(); p < keeper->reader().head() + 3; ++p) keeper->acknowledge(EventSeq{p});
    const Maintainer::Delta delta{0, {.emitted = 3, .acknowledged = 3}};
    keeper->release_through(keeper->reader().head() + 3, {&delta, 1});
  }

  void map() {
    const int fd = open(("/dev/shm/cachee." + name()).c_str(), O_RDWR | O_CLOEXEC);
    count_ = static_cast<std::size_t>(lseek(fd, 0, SEEK_END)) / 8;
    void* const at = mmap(nullptr, count_ * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) throw std::runtime_error("mmap");
    words_ = static_cast<mem::Word*>(at);
    const auto* header = reinterpret_cast<const layout::SegmentHeader*>(at);
    for (unsigned i = 0; i < layout::kRegionCount; ++i) regions_[i] = header->regions[i];
    const std::size_t step = header->shape.page_bytes / 8 / 4;
    for (std::size_t w = 0; w + 8 < regions_[layout::kRegionData].bytes / 8; w += step) record_words_.push_back(w);
    // Blocks that hold something, by their slots.
    for (unsigned i = layout::kRegionBuckets; i <= layout::kRegionOverflow; ++i) {
      for (std::size_t w = 0; w < regions_[i].bytes / 8; ++w) {
        const std::uint64_t word = words_[regions_[i].offset / 8 + w].load_relaxed();
        const std::uint64_t unit = word & ((std::uint64_t{1} << 40) - 1);
        if ((word >> 63) == 0 || unit < regions_[layout::kRegionData].offset / 8 || unit + 8 > count_) continue;
        record_words_.push_back(unit - regions_[layout::kRegionData].offset / 8);
      }
    }
  }

  static std::string key(int i) { return "k" + std::to_string(i); }

  template <class T>
  static void use(T&& value) {
    static_cast<void>(value);
  }

  using Codes = std::initializer_list<Errc>;
  static bool among(Errc code, Codes codes) { return std::find(codes.begin(), codes.end(), code) != codes.end(); }
  void unexpected(const char* call, Errc code) {
    constexpr std::size_t kTextMax = 2000;
    if (unexpected_.size() < kTextMax) unexpected_ += std::string{call} + ": " + to_string(code) + "\n";
  }
  /// What a call said; `corrupt` is always a good answer here.
  template <class T>
  void answer(const char* call, const Result<T>& result, Codes also = {}) {
    const Errc code = result.code();
    if (code != Errc::ok && code != Errc::corrupt && !among(code, also)) unexpected(call, code);
  }
  template <class T>
  void read_answer(const char* call, const Result<T>& result) {
    // Damage may make a trigger want ON_READ; its event has no room then, or no memory.
    answer(call, result, {Errc::not_found, Errc::full, Errc::no_space});
  }
  template <class T>
  void write_answer(const char* call, const Result<T>& result, Codes also = {}) {
    // No room for the event or the bytes; no client slot is left; the header says that such values are too long.
    if (among(result.code(), {Errc::full, Errc::no_space, Errc::busy})) return;
    if (result.code() == Errc::invalid_argument && promises_other_sizes_) return;
    answer(call, result, also);
  }
  static Result<void> result_of(cachee_status status) {
    if (status == CACHEE_OK) return {};
    return static_cast<Errc>(status);
  }

  void read(const Cache& cache) {
    char buffer[64];
    std::vector<std::string> keys{"", "large", "soon", "number", "absent"};
    for (int i = 0; i < 20; ++i) keys.push_back(key(i));
    for (const auto& k : keys) {
      read_answer("get", cache.get(k));
      read_answer("get_into", cache.get_into(k, buffer));
    }
    for (int i = 0; i < 6; ++i) {
      read_answer("view", cache.view(keys[static_cast<std::size_t>(i)]));
      read_answer("inspect", cache.inspect(keys[static_cast<std::size_t>(i) * 3]));
      read_answer("contains", cache.contains(keys[static_cast<std::size_t>(i) * 2]));
      read_answer("ttl", cache.ttl(keys[static_cast<std::size_t>(i) * 2 + 1]));
    }
    const std::vector<KeyView> views{keys.begin(), keys.end()};
    answer("get_many", cache.get_many(views, [](std::size_t, std::optional<ValueView> value) { use(value); }),
           {Errc::full, Errc::no_space});
    std::uint64_t cursor = 0;
    do {
      const auto scanned = cache.scan(cursor, 100, [](KeyView k) { use(std::string{k}); });
      answer("scan", scanned);
      if (!scanned) break;
      cursor = scanned->cursor;
    } while (cursor != 0);
    answer("size", cache.size());
    read_answer("random_key", cache.random_key());
  }

  void write(Cache& cache) {
    using namespace std::chrono_literals;
    for (int i = 0; i < 10; ++i) {
      write_answer("set", cache.set(key(i), "overwritten"));
      write_answer("set of a new key", cache.set("new" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 400, 'n')));
    }
    write_answer("set of a run", cache.set("large", std::string(kLargeBytes, 'M')));
    write_answer("set of a longer run", cache.set("large2", std::string(kLargeBytes * 3, 'M')));
    std::vector<std::string> keys;
    for (int i = 27; i < 47; ++i) keys.push_back(key(i));  // more than one batch
    std::vector<KeyValue> items;
    for (const auto& k : keys) items.push_back({k, k});
    write_answer("set_many", cache.set_many(items, {.ttl = 1h}));
    write_answer("add", cache.add(key(47), "x"), {Errc::exists});
    write_answer("replace", cache.replace(key(48), "x"), {Errc::not_found});
    write_answer("increment", cache.increment("number"), {Errc::not_a_number, Errc::overflow});
    write_answer("append", cache.append("k20", "more"), {Errc::invalid_argument});
    write_answer("update",
                 cache.update("k21", [](std::optional<ValueView> old) { return std::optional{std::string{old.value_or("")} + "x"}; }),
                 {Errc::invalid_argument});
    write_answer("touch", cache.touch("k22", 5s), {Errc::not_found});
    write_answer("touch_at", cache.touch_at("k23", std::int64_t{4102444800000}), {Errc::not_found});
    write_answer("persist", cache.persist("k24"), {Errc::not_found});
    write_answer("compare_and_set", cache.compare_and_set("k25", 7, "x"), {Errc::not_found, Errc::stale});
    write_answer("erase", cache.erase("k26", {.return_old = true}), {Errc::not_found});
    write_answer("erase", cache.erase(""), {Errc::not_found});
    answer("wait_acknowledged", cache.wait_acknowledged(EventSeq{5}, 0ms), {Errc::timed_out});
  }

  /// The C ABI hands over what these calls find: lengths and pointers that come from the same bytes.
  void use_from_c() {
    cachee_open_options options = cachee_open_options_default();
    options.name = name().data();
    options.name_bytes = name().size();
    cachee_cache* cache = nullptr;
    answer("cachee_open", result_of(cachee_open(&options, &cache)), {Errc::layout_mismatch});
    if (cache == nullptr) return;
    const std::string k = key(30);
    void* bytes = nullptr;
    std::size_t count = 0;
    std::uint64_t number = 0;
    read_answer("cachee_get", result_of(cachee_get(cache, k.data(), k.size(), &bytes, &count, &number)));
    cachee_free(bytes);
    char buffer[64];
    read_answer("cachee_get_into", result_of(cachee_get_into(cache, k.data(), k.size(), buffer, sizeof buffer, &count)));
    const cachee_bytes keys[] = {{k.data(), k.size()}, {"large", 5}};
    answer("cachee_get_many", result_of(cachee_get_many(cache, keys, std::size(keys), [](void*, size_t, const void*, size_t) {}, nullptr)),
           {Errc::full, Errc::no_space});
    cachee_pin* pin = nullptr;
    read_answer("cachee_view", result_of(cachee_view(cache, k.data(), k.size(), &pin)));
    if (pin != nullptr) use(std::string{static_cast<const char*>(cachee_pin_data(pin)), cachee_pin_bytes(pin)});
    cachee_pin_release(pin);
    cachee_entry* entry = nullptr;
    read_answer("cachee_inspect", result_of(cachee_inspect(cache, k.data(), k.size(), &entry)));
    cachee_free(entry);
    bool yes = false;
    read_answer("cachee_contains", result_of(cachee_contains(cache, k.data(), k.size(), &yes)));
    std::int64_t ms = 0;
    read_answer("cachee_ttl", result_of(cachee_ttl(cache, k.data(), k.size(), &ms)));
    bytes = nullptr;
    read_answer("cachee_random_key", result_of(cachee_random_key(cache, &bytes, &count)));
    cachee_free(bytes);
    cachee_set_options set = cachee_set_options_default();
    set.flags = CACHEE_SET_RETURN_OLD;
    cachee_write_result written = cachee_write_result_default();
    write_answer("cachee_set", result_of(cachee_set(cache, k.data(), k.size(), "c", 1, &set, &written)));
    cachee_free(written.old_value);
    const cachee_item items[] = {{k.data(), k.size(), "m", 1}, {"many", 4, "m", 1}};
    write_answer("cachee_set_many", result_of(cachee_set_many(cache, items, std::size(items), nullptr, nullptr, nullptr)));
    write_answer("cachee_touch_at", result_of(cachee_touch_at(cache, k.data(), k.size(), 4102444800000, CACHEE_EXPIRE_ALWAYS, &yes)),
                 {Errc::not_found});
    cachee_erase_options erase = cachee_erase_options_default();
    erase.flags = CACHEE_ERASE_RETURN_OLD;
    cachee_erase_result erased = cachee_erase_result_default();
    write_answer("cachee_erase", result_of(cachee_erase(cache, k.data(), k.size(), &erase, &erased)), {Errc::not_found});
    cachee_free(erased.old_value);
    answer("cachee_scan", result_of(cachee_scan(cache, 0, 100, [](void*, const void*, size_t) {}, nullptr, &number)));
    answer("cachee_size", result_of(cachee_size(cache, &number)));
    cachee_stats stats = cachee_stats_default();
    answer("cachee_total_stats", result_of(cachee_total_stats(cache, &stats)));
    const auto look = [](void*, const cachee_client* client) { use(std::string{client->name} + client->role + client->operation); };
    answer("cachee_clients", result_of(cachee_clients(cache, look, nullptr)));
    cachee_close(cache);
  }

  void inspect(const Cache& cache) {
    answer("segment_info", segment_info(cache));
    answer("list_clients", list_clients(cache));
    answer("list_slabs", list_slabs(cache));
    answer("list_events", list_events(cache, 1000));
    answer("memory_info", memory_info(cache));
    answer("fsck", fsck(cache));
    const auto table = read_triggers(cache);
    answer("read_triggers", table);
    if (table) {
      const TriggerMatcher matcher{*table};
      matcher.match(EventKind::write, "k1", [](std::size_t i) { use(i); });
    }
    const EventReader reader{cache};
    const std::uint64_t head = reader.head();
    for (std::uint64_t p = head; p < head + 300 && p >= head; ++p) {
      const auto event = reader.at(EventSeq{p});
      answer("event", event, {Errc::would_block, Errc::lapped});
      if (!event) continue;
      use(std::string{event->key} + std::string{event->value});
      if (const auto old = event->old_value()) use(std::string{*old});
      use(event->metadata());
      use(event->metadata_field("other"));
      use(event->depends_on());
      use(event->cost());
      use(event->version() + event->age_ms() + event->hits() + event->size() + event->attempts());
      use(event->deadline_wall_us());
      use(event->ttl_ms());
      use(event->lag_us());
      use(event->provenance());
      use(event->origin_role());
      use(event->origin_pid());
      use(event->origin_client());
      use(event->acknowledged());
      use(std::string{to_string(event->kind)} + event_name(event->kind) + to_string(event->cause) + to_string(event->origin_role()));
    }
  }

  void maintain() {
    auto keeper = Maintainer::create(options_);
    answer("create", keeper, {Errc::layout_mismatch});
    if (!keeper) return;
    const TimeNs now = now_ns();
    keeper->heartbeat(now);
    use(keeper->expire_due(now, 1000));
    use(keeper->next_deadline());
    use(keeper->evict(50));
    keeper->estimate();
    for (int i = 0; i < 3; ++i) use(keeper->count_slabs(now + i * 10'000'000'000, 1 << 20));
    for (const auto& slab : keeper->slab_census().classes) use(slab.requested_bytes);
    use(keeper->reap(100));
    use(keeper->help_stalled(now));
    use(keeper->help_stalled(now + 20'000'000));
    use(keeper->scrub(1 << 20));
    const std::uint64_t head = keeper->reader().head();
    keeper->count_attempt(EventSeq{head});
    keeper->acknowledge(EventSeq{head});
    const Maintainer::Delta delta{0, {.emitted = 1, .acknowledged = 1}};
    keeper->release_through(head + 1, {&delta, 1});
    keeper->release_through(100, {&delta, 1});
    TriggerTable table;
    table.triggers.push_back({.name = "all", .pattern = "*", .events = 0x3e, .source = "return"});
    answer("publish_triggers", keeper->publish_triggers(table, std::chrono::milliseconds{1}), {Errc::timed_out, Errc::no_space});
    auto lane = keeper->lane(0);
    answer("lane", lane);
    if (lane) {
      lane->wait_for_event(lane->position(), std::chrono::microseconds{1});
      use(lane->running().since);
    }
    answer("repair", keeper->repair(), {Errc::busy});
    if (auto client = keeper->client(Role::client, "after")) {
      write_answer("set after the repair", client->set("after", "repair"));
      read_answer("get after the repair", client->get("after"));
      write_answer("clear", client->clear());
    }
    answer("fsck", fsck(keeper->cache()));
  }

  static TimeNs now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  SegmentOptions options_;
  mem::Word* words_ = nullptr;
  std::size_t count_ = 0;
  std::vector<mem::Word> pristine_;
  std::array<layout::RegionEntry, layout::kRegionCount> regions_{};
  std::vector<std::size_t> record_words_;  // from the data region's start
  std::atomic<bool> promises_other_sizes_{false};
  std::string unexpected_{};
};

}  // namespace cachee::test
