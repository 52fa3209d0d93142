// Goal: no data race and no broken history when clients are threads over one mapping, the only
// arrangement that ThreadSanitizer sees through. Method: callers, a supervisor with all its duties
// and a thread that registers triggers, attaches and leaves, scans and reads statistics; the
// histories are judged as multiprocess_test judges them. Run it under every sanitizer's preset.
//
// CACHEE_THREADS_CALLS (40000) calls in all.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "linear/judge.hpp"
#include "support/seed.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

TEST(Threads, HistoriesOverOneMappingAreLinearizable) {
  const std::uint64_t seed = print_seed("Threads");
  const auto calls_max = static_cast<std::size_t>(number_setting("CACHEE_THREADS_CALLS", 40'000));
  constexpr unsigned kCallers = 4;
  const KeyPlan plan;
  Log log{calls_max, 3 * calls_max + 100'000};
  SegmentOptions options;
  options.memory_bytes = kSegmentBytesMin;
  options.ring_events = 1024;
  options.clients_max = 24;
  options.bucket_count = 8;
  options.page_bytes = 4096;
  TempSegment segment{options};
  Maintainer& keeper = segment.keeper();
  ASSERT_TRUE(keeper.publish_triggers(watch_all(5), std::chrono::milliseconds{1000}));
  Judgement judgement;
  std::string wrong;
  {
    Cache cache = *keeper.client(Role::client, "shared");
    std::vector<std::thread> callers;
    for (unsigned i = 0; i < kCallers; ++i) {
      callers.emplace_back([&, i] {
        Caller caller{log, plan, cache, i + 1, seed + i};
        while (caller.step()) {
        }
      });
    }
    // The supervisor's thread; events and triggers are one thread's, by contract.
    std::thread supervisor{[&] {
      for (unsigned round = 0; !log.stop().load(); ++round) {
        const std::int64_t now = clock_ns();
        keeper.heartbeat(now);
        drain_into(log, plan, keeper);
        static_cast<void>(keeper.expire_due(now, 64));
        static_cast<void>(keeper.evict(4));
        static_cast<void>(keeper.help_stalled(now));
        if (round % 16 == 15) static_cast<void>(keeper.publish_triggers(watch_all(5), std::chrono::milliseconds{5}));
        if (round % 16 == 7) static_cast<void>(keeper.scrub(4));
      }
    }};
    // Duties of a second thread, and whoever looks at the segment.
    std::thread visitor{[&] {
      while (!log.stop().load()) {
        static_cast<void>(keeper.reap(4));
        static_cast<void>(keeper.scrub(4));
        const Cache guest = *keeper.client(Role::client, "guest");
        static_cast<void>(guest.contains("m0"));
        static_cast<void>(guest.inspect("m1"));
        static_cast<void>(guest.ttl("m2"));
        std::uint64_t cursor = 0;
        do {
          const auto scanned = guest.scan(cursor, 100, [](KeyView) {});
          cursor = scanned ? scanned->cursor : 0;
        } while (cursor != 0);
        static_cast<void>(guest.random_key());
        static_cast<void>(segment_info(guest));
        static_cast<void>(list_clients(guest));
        static_cast<void>(list_slabs(guest));
        static_cast<void>(read_triggers(guest));
        static_cast<void>(list_events(guest, 50));
        static_cast<void>(fsck(guest));
        const KeyView keys[] = {"m0", "m1", "c0", "l0", "l1"};
        static_cast<void>(guest.get_many(keys, [](std::size_t, std::optional<ValueView>) {}));
      }
    }};
    for (auto& c : callers) c.join();
    log.stop().store(true);
    supervisor.join();
    visitor.join();
  }
  wrong += settle_and_check(log, plan, keeper);
  judgement = judge(log, plan, options.eviction, seed, [](std::uint32_t) { return kNever; });
  EXPECT_EQ(wrong + judgement.wrong, "") << "seed " << seed;
  std::printf("%llu calls (%llu refused), %llu events (%llu expired, %llu evicted)\n",
              static_cast<unsigned long long>(judgement.calls), static_cast<unsigned long long>(judgement.refused),
              static_cast<unsigned long long>(judgement.events), static_cast<unsigned long long>(judgement.expired),
              static_cast<unsigned long long>(judgement.evicted));
  EXPECT_GT(judgement.events, calls_max / 20);
  EXPECT_GT(judgement.evicted, 0u);
  EXPECT_GT(judgement.searched, 0u);
  EXPECT_EQ(judgement.undecided, 0u) << "seed " << seed;
}

}  // namespace
}  // namespace cachee::test
