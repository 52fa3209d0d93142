// matching_slots(): the vector form says what the plain one says, for every kind of slot word.
#include <gtest/gtest.h>

#include <random>

#include "index/probe.hpp"

namespace cachee::shm {
namespace {

using layout::Slot;

TEST(Probe, VectorAndPlainAgree) {
  std::mt19937_64 random{7};
  Bucket bucket{};
  for (int round = 0; round < 200000; ++round) {
    // Few tags, so that none, one and several slots match; marks and empty words between them.
    const std::uint64_t live = Slot::live(0, random() % 4 * 0x5555);
    for (Word& slot : bucket.slots) {
      const std::uint64_t offset = random() & Slot::Offset::kMax;
      switch (random() % 4) {
        case 0: slot.store_relaxed(Slot::empty(random() >> 3)); break;
        case 1: slot.store_relaxed(Slot::marked(offset, layout::Mark::del, random() % 8, random() % 1024, random() % 32)); break;
        default: slot.store_relaxed(Slot::live(offset, random() % 4 * 0x5555)); break;
      }
    }
    ASSERT_EQ(matching_slots(bucket, live), matching_slots_by_word(bucket, live)) << "round " << round;
  }
}

TEST(Probe, EachSlotHasItsBit) {
  Bucket bucket{};
  const std::uint64_t live = Slot::live(0, 0xabcd);
  for (unsigned i = 0; i < layout::kHeadSlots; ++i) {
    for (Word& slot : bucket.slots) slot.store_relaxed(Slot::live(99, 0xabce));
    bucket.slots[i].store_relaxed(Slot::live(12345, 0xabcd));
    EXPECT_EQ(matching_slots(bucket, live), 1u << i);
  }
}

}  // namespace
}  // namespace cachee::shm
