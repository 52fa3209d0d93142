// Goal: what is promised about values holds while an event finds no room in the ring at all.
// Method: admission keeps room for what clients may owe, so a ring is never that full by itself; a hook behind the slot
// CAS registers a trigger and moves the tail a whole ring ahead. spin/expiry.pml found the first of these.
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "api/handle.hpp"
#include "index/index.hpp"
#include "mem/crash_point.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

std::function<void()> behind_install;

void on_crash_point(const char* name) noexcept {
  if (std::string_view{name} != "keyspace.set.installed" || !behind_install) return;
  const auto act = std::exchange(behind_install, nullptr);
  act();
}

class FullRing : public ::testing::Test {
 protected:
  FullRing() { mem::crash_point_hook = on_crash_point; }
  ~FullRing() override {
    mem::crash_point_hook = nullptr;
    EXPECT_EQ(findings(cache_), "");
  }
  const shm::View& view() const { return cache_.handle()->view(); }
  void fill() {
    TriggerSpec spec;
    spec.name = "all";
    spec.pattern = "k*";
    spec.source = "return";
    spec.events = event_bit(EventKind::write) | event_bit(EventKind::expire);
    TriggerTable table;
    table.triggers.push_back(spec);
    ASSERT_TRUE(segment_.keeper().publish_triggers(table, 1s));
    view().header->ring_tail.store_seq_cst(view().header->ring_head.load_seq_cst() + view().shape.ring_events);
  }
  void make_room() { view().header->ring_tail.store_seq_cst(view().header->ring_head.load_seq_cst()); }
  /// Sweeps until the key's debts are paid.
  void sweep() { static_cast<void>(segment_.keeper().expire_due(now(), 1000)); }
  static TimeNs now() {
    const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot).count();
  }
  /// Mark of the slot of a key that is alone in its bucket; none: no occupied slot.
  std::optional<layout::Mark> mark_of(KeyView key) const {
    shm::ChainWalk walk{view(), view().bucket_of(view().hash(key))};
    while (walk.next()) {
      const std::uint64_t word = walk.slot().load_acquire();
      if (layout::Slot::occupied(word)) return layout::Slot::mark(word);
    }
    return std::nullopt;
  }

  TempSegment segment_;
  Cache cache_ = segment_.client();
};

TEST_F(FullRing, AValueThatIsReportedGoneIsMarkedSoThatNoTouchBringsItBack) {
  ASSERT_TRUE(cache_.set("k", "first"));
  behind_install = [&] { fill(); };
  ASSERT_TRUE(cache_.set("k", "v", {.ttl = 1ms}));
  ASSERT_EQ(behind_install, nullptr) << "the hook did not run";
  while (cache_.get("k")) std::this_thread::yield();
  EXPECT_EQ(mark_of("k"), layout::Mark::exp);  // what was answered is so, for a TOUCH that read the clock earlier too
  EXPECT_EQ(cache_.touch("k", 1h).code(), Errc::not_found);
  make_room();
  sweep();
  const EventReader reader = segment_.keeper().reader();
  const auto write = reader.at(EventSeq{reader.head()});
  const auto expire = reader.at(EventSeq{reader.head() + 1});
  ASSERT_TRUE(write && expire);
  EXPECT_EQ(write->kind, EventKind::write);
  EXPECT_EQ(write->value, "v");
  EXPECT_EQ(expire->kind, EventKind::expire);
  EXPECT_EQ(expire->value, "v");
  EXPECT_EQ(mark_of("k"), std::nullopt);
}

TEST_F(FullRing, TheOldValueOfAnEventThatWaitsForRoomIsKept) {
  ASSERT_TRUE(cache_.set("k", "the old value"));
  behind_install = [&] { fill(); };
  ASSERT_TRUE(cache_.set("k", "the new value"));
  ASSERT_EQ(behind_install, nullptr) << "the hook did not run";
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(cache_.set("z", "another value"));  // reuses what was reclaimed
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(cache_.set("z" + std::to_string(i), "another value"));
  make_room();
  sweep();
  const EventReader reader = segment_.keeper().reader();
  const auto write = reader.at(EventSeq{reader.head()});
  ASSERT_TRUE(write);
  EXPECT_EQ(write->value, "the new value");
  EXPECT_EQ(write->old_value(), "the old value");
  // Released, the old record goes as well: nothing is withheld for ever.
  segment_.keeper().release_through(reader.head() + 1, {});
  EXPECT_GT(segment_.keeper().scrub(view().shape.page_count), 0u);
}

}  // namespace
}  // namespace cachee::test
