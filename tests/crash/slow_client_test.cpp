// Regression tests: a client that is slow at one place, while others go on there. Method: a hook at
// a crash point runs another client's operations in between.
#include "crash/world.hpp"
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

}  // namespace
}  // namespace cachee::test
