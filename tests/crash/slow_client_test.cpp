// Regression tests: a client that is slow at one place, while others go on there. Method: a hook at
// a crash point runs another client's operations in between.
#include <thread>

#include "api/handle.hpp"
#include "crash/world.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "mem/crash_point.hpp"

namespace cachee::test {
namespace {

std::function<void()> g_in_between;
std::string g_place;

void at_point(const char* name) noexcept {
  if (g_place != name || !g_in_between) return;
  const auto body = std::exchange(g_in_between, nullptr);  // once
  body();
}

void meanwhile(std::string place, std::function<void()> body) {
  g_place = std::move(place);
  g_in_between = std::move(body);
  mem::crash_point_hook = at_point;
}

// Found by stopping a client at every instruction: it had made a page of a free one, others took all
// of its blocks, and the client concluded that there was no memory.
TEST(SlowClient, HasRoomAlthoughOthersEmptiedThePageItTook) {
  SegmentOptions options = small_world(64);
  options.eviction = EvictionPolicy::none;
  World world{options, 0};
  Cache slow = world.client("slow");
  bool ran = false;
  meanwhile("slab.page.offered", [&] {
    ran = true;
    for (int i = 0; i < 200; ++i) world.cache().set("o" + std::to_string(i), "o");
  });
  const auto set = slow.set("k", "v");
  mem::crash_point_hook = nullptr;
  ASSERT_TRUE(ran);
  EXPECT_TRUE(set) << to_string(set.error());
  EXPECT_EQ(world.damage(), "");
}

// [EV-2], and the same of a delete: it looks at the deadline, stands still while that passes, and only then marks.
class SlowRemoval : public ::testing::Test {
 protected:
  static constexpr auto kTtl = std::chrono::milliseconds{200};
  void set_it() { ASSERT_TRUE(world_.cache().set("k", "v", {.ttl = kTtl})); }
  /// While the remover stands in front of its mark. It has seen the value alive: it would not have come so far else.
  void let_it_end() {
    meanwhile("keyspace.remove.ready", [this] {
      stood_ = true;
      std::this_thread::sleep_for(kTtl + std::chrono::milliseconds{1});
    });
  }
  void expect_expiry() {
    mem::crash_point_hook = nullptr;
    ASSERT_TRUE(stood_);
    const EventReader reader = world_.events();
    const auto end = reader.at(EventSeq{reader.head() + 1});
    ASSERT_TRUE(end);
    EXPECT_EQ(end->kind, EventKind::expire);
    EXPECT_EQ(end->value, "v");
    EXPECT_FALSE(reader.at(EventSeq{reader.head() + 2}));
    EXPECT_EQ(world_.cache().get("k").code(), Errc::not_found);
    const auto totals = segment_info(world_.cache())->totals;
    EXPECT_EQ(totals.expired, 1u);
    EXPECT_EQ(totals.evicted + totals.deletes, 0u);
    EXPECT_EQ(world_.verdict(), "");
  }
  World world_{small_world(), kAllEvents};
  bool stood_ = false;
};

TEST_F(SlowRemoval, EvictsNoValueThatEndsMeanwhile) {
  auto& context = **world_.cache().handle()->context();
  set_it();
  shm::ChainWalk walk{*context.view, 0};
  while (walk.next() && !layout::Slot::occupied(walk.slot().load_acquire())) {
  }
  let_it_end();
  EXPECT_TRUE(shm::evict_slot(context, 0, walk.slot(), walk.slot().load_acquire()));
  expect_expiry();
}

TEST_F(SlowRemoval, DeletesNoValueThatEndsMeanwhile) {
  set_it();
  let_it_end();
  EXPECT_EQ(world_.cache().erase("k").code(), Errc::not_found);
  expect_expiry();
}

}  // namespace
}  // namespace cachee::test
