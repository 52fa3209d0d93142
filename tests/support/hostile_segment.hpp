// A small populated segment, damages to its bytes, and a run through everything that a client, the
// supervisor, fsck and the tools do with it. Claim of whoever uses it: nothing of that touches a
// byte outside the mapping, hangs or aborts, whatever the bytes are.
//
// Damages come from a source of bytes: a fuzzer's input or a seeded generator.
#pragma once

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
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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

  void restore() noexcept { std::memcpy(static_cast<void*>(words_), pristine_.data(), count_ * sizeof(mem::Word)); }
  void apply(const Damage& damage) noexcept { words_[damage.word].store_relaxed(damage.value); }
  void undo(const Damage& damage) noexcept { words_[damage.word].store_relaxed(pristine_[damage.word].load_relaxed()); }

  /// Everything that can be done with the segment. The answers are nobody's business here: a
  /// damaged segment may say anything but hang, crash or touch what is not its own.
  void exercise() {
    if (auto reader = Cache::open({.name = name(), .access = Access::read_only})) {
      read(*reader);
      inspect(*reader);
    }
    if (auto client = Cache::open({.name = name(), .client_name = "hostile"})) {
      read(*client);
      write(*client);
      inspect(*client);
    }
    maintain();
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

  static void read(const Cache& cache) {
    char buffer[64];
    std::vector<std::string> keys{"", "large", "soon", "number", "absent"};
    for (int i = 0; i < 20; ++i) keys.push_back(key(i));
    for (const auto& k : keys) {
      use(cache.get(k));
      use(cache.get_into(k, buffer));
    }
    for (int i = 0; i < 6; ++i) {
      use(cache.view(keys[static_cast<std::size_t>(i)]));
      use(cache.inspect(keys[static_cast<std::size_t>(i) * 3]));
      use(cache.contains(keys[static_cast<std::size_t>(i) * 2]));
      use(cache.ttl(keys[static_cast<std::size_t>(i) * 2 + 1]));
    }
    const std::vector<KeyView> views{keys.begin(), keys.end()};
    use(cache.get_many(views, [](std::size_t, std::optional<ValueView> value) { use(value); }));
    std::uint64_t cursor = 0;
    do {
      const auto scanned = cache.scan(cursor, 100, [](KeyView k) { use(std::string{k}); });
      if (!scanned) break;
      cursor = scanned->cursor;
    } while (cursor != 0);
    use(cache.size());
    use(cache.random_key());
  }

  static void write(Cache& cache) {
    for (int i = 0; i < 10; ++i) {
      use(cache.set(key(i), "overwritten"));
      use(cache.set("new" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 400, 'n')));
    }
    use(cache.set("large", std::string(kLargeBytes, 'M')));
    use(cache.set("large2", std::string(kLargeBytes * 3, 'M')));
    use(cache.increment("number"));
    use(cache.append("k20", "more"));
    use(cache.update("k21", [](std::optional<ValueView> old) { return std::optional{std::string{old.value_or("")} + "x"}; }));
    use(cache.touch("k22", std::chrono::seconds{5}));
    use(cache.persist("k24"));
    use(cache.compare_and_set("k25", 7, "x"));
    use(cache.erase("k26", {.return_old = true}));
    use(cache.erase(""));
    use(cache.wait_acknowledged(EventSeq{5}, std::chrono::milliseconds{0}));
  }

  static void inspect(const Cache& cache) {
    use(segment_info(cache));
    use(list_clients(cache));
    use(list_slabs(cache));
    use(list_events(cache, 1000));
    use(fsck(cache));
    if (const auto table = read_triggers(cache)) {
      const TriggerMatcher matcher{*table};
      matcher.match(EventKind::write, "k1", [](std::size_t i) { use(i); });
    }
    const EventReader reader{cache};
    const std::uint64_t head = reader.head();
    for (std::uint64_t p = head; p < head + 300 && p >= head; ++p) {
      const auto event = reader.at(EventSeq{p});
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
    if (!keeper) return;
    const TimeNs now = now_ns();
    keeper->heartbeat(now);
    use(keeper->expire_due(now, 1000));
    use(keeper->next_deadline());
    use(keeper->evict(50));
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
    use(keeper->publish_triggers(table, std::chrono::milliseconds{1}));
    if (auto lane = keeper->lane(0)) {
      lane->wait_for_event(lane->position(), std::chrono::microseconds{1});
      use(lane->running().since);
    }
    use(keeper->repair());
    if (auto client = keeper->client(Role::client, "after")) {
      use(client->set("after", "repair"));
      use(client->get("after"));
      use(client->clear());
    }
    use(fsck(keeper->cache()));
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
};

}  // namespace cachee::test
