// One operation in a loop, for callgrind to count: bench/count.py runs it and divides.
//
//   cachee_bench_count get|get_ttl|get_at|get_many|miss|set|set_ttl|set_at|set_event|set_unwanted|set_new|view OPERATIONS
#include "count/counted.hpp"
#include "workload/keys.hpp"

namespace cachee::bench {
namespace {

constexpr std::size_t kKeys = 50'000;
constexpr std::size_t kStreamLength = std::size_t{1} << 14;

struct Bench {
  Cache cache;
  std::vector<Key> present = make_stream(kKeys, kStreamLength, Spread::uniform, 1);
  std::vector<Key> absent = present;
  std::uint64_t next_new = kKeys;

  explicit Bench(Cache opened) : cache{std::move(opened)} {
    for (Key& key : absent) key[0] = 'x';
    for (std::uint64_t n = 0; n < kKeys; ++n) store(make_key(n), n);
  }
  void store(const Key& key, std::uint64_t turn, const SetOptions& options = {}) {
    const ValueBytes value = make_value(key, turn);
    static_cast<void>(must(cache.set(view(key), {value.data(), value.size()}, options), "set"));
  }
  static const Key& at(const std::vector<Key>& stream, std::size_t n) { return stream[n % kStreamLength]; }
};

// Counted are functions of these names, with what they call: the loops' own work is in the figure.
[[gnu::noinline]] void counted_get(Bench& bench, std::size_t operations) {
  char out[kValueBytes];
  for (std::size_t n = 0; n < operations; ++n) {
    static_cast<void>(must(bench.cache.get_into(view(Bench::at(bench.present, n)), out), "get"));
  }
}
// Of records that have a deadline: a TTL, a moment of the wall clock.
[[gnu::noinline]] void counted_get_ttl(Bench& bench, std::size_t operations) { counted_get(bench, operations); }
[[gnu::noinline]] void counted_get_at(Bench& bench, std::size_t operations) { counted_get(bench, operations); }
[[gnu::noinline]] void counted_get_many(Bench& bench, std::size_t operations) {
  std::array<KeyView, 16> keys;
  std::size_t found = 0;
  for (std::size_t n = 0; n < operations; n += keys.size()) {
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = view(Bench::at(bench.present, n + i));
    must(bench.cache.get_many(keys, [&](std::size_t, std::optional<ValueView> value) { found += value.has_value(); }), "get_many");
  }
  if (found < operations) die("keys are missing");
}
[[gnu::noinline]] void counted_miss(Bench& bench, std::size_t operations) {
  char out[kValueBytes];
  for (std::size_t n = 0; n < operations; ++n) {
    if (bench.cache.get_into(view(Bench::at(bench.absent, n)), out)) die("a key is there that was never set");
  }
}
[[gnu::noinline]] void counted_set(Bench& bench, std::size_t operations) {
  for (std::size_t n = 0; n < operations; ++n) bench.store(Bench::at(bench.present, n), n);
}
SetOptions with_ttl() { return {.ttl = std::chrono::minutes{30}}; }
SetOptions with_moment() {
  constexpr std::int64_t kFarMs = 4'102'444'800'000;  // the year 2100
  return {.deadline_wall_ms = kFarMs};
}
[[gnu::noinline]] void counted_set_at(Bench& bench, std::size_t operations) {
  const SetOptions options = with_moment();
  for (std::size_t n = 0; n < operations; ++n) bench.store(Bench::at(bench.present, n), n, options);
}
[[gnu::noinline]] void counted_set_ttl(Bench& bench, std::size_t operations) {
  const SetOptions options = with_ttl();
  for (std::size_t n = 0; n < operations; ++n) bench.store(Bench::at(bench.present, n), n, options);
}
[[gnu::noinline]] void counted_set_new(Bench& bench, std::size_t operations) {
  for (std::size_t n = 0; n < operations; ++n) bench.store(make_key(bench.next_new++), n);
}
[[gnu::noinline]] void counted_view(Bench& bench, std::size_t operations) {
  for (std::size_t n = 0; n < operations; ++n) {
    static_cast<void>(must(bench.cache.view(view(Bench::at(bench.present, n))), "view"));
  }
}

// With one trigger that wants every event; they stay in the ring.
[[gnu::noinline]] void counted_set_event(Bench& bench, std::size_t operations) { counted_set(bench, operations); }
// With many that want none of these.
[[gnu::noinline]] void counted_set_unwanted(Bench& bench, std::size_t operations) { counted_set(bench, operations); }

struct Operation {
  const char* name;
  void (*run)(Bench&, std::size_t);
  unsigned patterns = 0;
  SetOptions (*stored)() = nullptr;  // how the keys are written that are there
};
constexpr Operation kOperations[] = {{"get", counted_get},
                                     {"get_ttl", counted_get_ttl, 0, with_ttl},
                                     {"get_at", counted_get_at, 0, with_moment},
                                     {"get_many", counted_get_many},
                                     {"miss", counted_miss},
                                     {"set", counted_set},
                                     {"set_ttl", counted_set_ttl},
                                     {"set_at", counted_set_at, 0, with_moment},
                                     {"set_event", counted_set_event, 1},
                                     {"set_unwanted", counted_set_unwanted, 10'000},
                                     {"set_new", counted_set_new},
                                     {"view", counted_view}};

/// One pattern wants every key, many want none.
TriggerTable table_of(unsigned patterns) {
  TriggerTable table;
  for (unsigned i = 0; i < patterns; ++i) {
    const std::string pattern = patterns == 1 ? "*" : "app" + std::to_string(i) + ":*";
    table.triggers.push_back({.name = pattern, .pattern = pattern, .events = event_bit(EventKind::write), .source = "return"});
  }
  return table;
}

void run(Maintainer& owner, const std::string& segment, const Operation& operation, std::size_t count) {
  Bench bench{must(Cache::open({.name = segment}), "attach")};
  if (operation.patterns > 0) must(owner.publish_triggers(table_of(operation.patterns), std::chrono::seconds{1}), "triggers");
  if (operation.stored != nullptr) {
    for (std::uint64_t n = 0; n < kKeys; ++n) bench.store(make_key(n), n, operation.stored());
  }
  operation.run(bench, count);
}

}  // namespace
}  // namespace cachee::bench

int main(int argc, char** argv) { return cachee::bench::count_operation(argc, argv, cachee::bench::kOperations, cachee::bench::run); }
