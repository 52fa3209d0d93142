// Goal: every public operation does what its header says, one thread at a time; the segment is
// sound behind each test.
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <set>
#include <thread>

#include <sys/wait.h>

#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

class CacheTest : public ::testing::Test {
 protected:
  TempSegment segment_;
  Cache cache_ = segment_.client();
  void TearDown() override { EXPECT_EQ(findings(cache_), ""); }
};

TEST_F(CacheTest, ReturnsWhatWasStored) {
  ASSERT_TRUE(cache_.set("k", "v"));
  EXPECT_EQ(cache_.get("k")->bytes, "v");
  EXPECT_EQ(cache_.get("other").code(), Errc::not_found);
}

TEST_F(CacheTest, KeepsEmptyAndBinaryKeysApart) {
  const std::string zeros("\0\0", 2);
  ASSERT_TRUE(cache_.set("", "empty"));
  ASSERT_TRUE(cache_.set(zeros, "zeros"));
  ASSERT_TRUE(cache_.set("e", ""));
  EXPECT_EQ(cache_.get("")->bytes, "empty");
  EXPECT_EQ(cache_.get(zeros)->bytes, "zeros");
  EXPECT_EQ(cache_.get("e")->bytes, "");
}

TEST_F(CacheTest, HoldsValuesOfEverySize) {
  std::mt19937 random{7};
  for (std::size_t bytes : {0u, 1u, 7u, 8u, 9u, 63u, 64u, 1000u, 4096u, 10000u, 100000u, 1000000u}) {
    std::string value(bytes, '\0');
    for (char& c : value) c = static_cast<char>(random());
    ASSERT_TRUE(cache_.set("k" + std::to_string(bytes), value)) << bytes;
    EXPECT_EQ(cache_.get("k" + std::to_string(bytes))->bytes, value) << bytes;
  }
}

TEST_F(CacheTest, RefusesWhatIsTooLarge) {
  EXPECT_EQ(cache_.set(std::string(kKeyBytesMax + 1, 'k'), "v").code(), Errc::invalid_argument);
  EXPECT_TRUE(cache_.set(std::string(kKeyBytesMax, 'k'), "v"));
  EXPECT_EQ(cache_.set("k", std::string(5 << 20, 'v')).code(), Errc::invalid_argument);
}

TEST_F(CacheTest, ARefusalNamesTheRuleAndItsLimit) {
  const auto refusal = [](const auto& result) {
    EXPECT_EQ(result.code(), Errc::invalid_argument);
    return to_string(result.error());
  };
  const auto limit = segment_info(cache_)->value_bytes_max;
  const std::string large(limit + 1, 'v');
  const std::string long_key(kKeyBytesMax + 1, 'k');
  for (const SetOptions& options : {SetOptions{}, SetOptions{.ttl = 1h}, SetOptions{.cost = 2.0}}) {
    EXPECT_EQ(refusal(cache_.set(long_key, "v", options)), "invalid argument: a key has at most 65536 bytes");
    EXPECT_EQ(refusal(cache_.set("k", large, options)),
              "invalid argument: a value of this segment has at most " + std::to_string(limit) + " bytes (cacheed --max-value)");
  }
  EXPECT_NE(refusal(cache_.increment(long_key)).find("at most 65536 bytes"), std::string::npos);
  EXPECT_NE(refusal(cache_.append("k", large)).find("at most " + std::to_string(limit)), std::string::npos);
  EXPECT_NE(refusal(cache_.set("k", "v", {.metadata = Metadata(65, {"f", "v"})})).find("at most 64 metadata"), std::string::npos);
  EXPECT_NE(refusal(cache_.set("k", "v", {.metadata = {{"f", std::string(70000, 'm')}}})).find("at most 65536 bytes"),
            std::string::npos);
  EXPECT_NE(refusal(cache_.set("k", "v", {.depends_on = std::vector<std::string>(65, "p")})).find("at most 64 others"),
            std::string::npos);
  EXPECT_EQ(cache_.get("k").code(), Errc::not_found);
}

TEST_F(CacheTest, ACostIsAPositiveFiniteNumber) {
  using Limits = std::numeric_limits<double>;
  for (const double cost : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), 0.0, -1.0}) {
    const SetOptions options{.cost = cost};
    const KeyValue item{"k", "v"};
    const auto written = cache_.set("k", "v", options);
    EXPECT_EQ(written.code(), Errc::invalid_argument) << cost;
    EXPECT_EQ(to_string(written.error()), "invalid argument: a cost is a positive, finite number") << cost;
    EXPECT_EQ(cache_.add("k", "v", options).code(), Errc::invalid_argument) << cost;
    EXPECT_EQ(cache_.set_many({&item, 1}, options).code(), Errc::invalid_argument) << cost;
  }
  EXPECT_EQ(cache_.get("k").code(), Errc::not_found);
  ASSERT_TRUE(cache_.set("k", "v", {.cost = Limits::max()}));
  EXPECT_EQ(cache_.compare_and_set("k", cache_.get("k")->version, "w", {.cost = Limits::infinity()}).code(),
            Errc::invalid_argument);
  EXPECT_EQ(cache_.replace("k", "w", {.cost = Limits::infinity()}).code(), Errc::invalid_argument);
  EXPECT_EQ(cache_.inspect("k")->cost, Limits::max());
}

TEST_F(CacheTest, AKeyCannotDependOnItself) {
  const auto written = cache_.set("loop", "v", {.depends_on = {"a", "loop"}});
  EXPECT_EQ(written.code(), Errc::invalid_argument);
  EXPECT_EQ(to_string(written.error()), "invalid argument: a key cannot depend on itself");
  EXPECT_EQ(cache_.get("loop").code(), Errc::not_found);
  EXPECT_TRUE(cache_.set("loop", "v", {.depends_on = {"loo", "loop1"}}));
}

TEST(SegmentName, IsNoPathAndNoLockFolder) {
  for (const char* name : {"a", "default", "a.b", "...", "a.", "a.locks.b", "locks", "0-_."}) EXPECT_TRUE(is_segment_name(name)) << name;
  EXPECT_TRUE(is_segment_name(std::string(64, 'a')));
  for (const std::string& name : {std::string{}, std::string{"."}, std::string{".."}, std::string{".locks"}, std::string{"a.locks"},
                                  std::string{"A"}, std::string{"a/b"}, std::string{"a\0b", 3}, std::string(65, 'a')}) {
    EXPECT_FALSE(is_segment_name(name)) << name;
    const auto opened = Cache::open({.name = name});
    EXPECT_EQ(opened.code(), Errc::invalid_argument) << name;
    EXPECT_EQ(to_string(opened.error()), "invalid argument: a segment's name is " + std::string{kSegmentNameRule}) << name;
    EXPECT_EQ(Maintainer::create({.name = name}).code(), Errc::invalid_argument) << name;
    EXPECT_EQ(remove_segment(name).code(), Errc::invalid_argument) << name;
  }
}

TEST_F(CacheTest, ConditionsHoldOrNothingHappens) {
  EXPECT_EQ(cache_.replace("k", "1").code(), Errc::not_found);
  EXPECT_TRUE(cache_.add("k", "1"));
  EXPECT_EQ(cache_.add("k", "2").code(), Errc::exists);
  EXPECT_TRUE(cache_.replace("k", "3"));
  EXPECT_EQ(cache_.get("k")->bytes, "3");
}

TEST_F(CacheTest, CompareAndSetNeedsTheVersionSeen) {
  const auto first = cache_.set("k", "1");
  const auto second = cache_.set("k", "2");
  ASSERT_TRUE(first && second);
  EXPECT_GT(second->version, first->version);
  EXPECT_EQ(cache_.compare_and_set("k", first->version, "x").code(), Errc::stale);
  EXPECT_TRUE(cache_.compare_and_set("k", second->version, "3"));
  EXPECT_EQ(cache_.get("k")->bytes, "3");
  EXPECT_EQ(cache_.compare_and_set("none", 1, "x").code(), Errc::not_found);
}

TEST_F(CacheTest, AVersionNeverComesBackForAKey) {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(seen.insert(cache_.set("k", "v")->version).second);
    EXPECT_TRUE(seen.insert(cache_.set("k", "w")->version).second);
    ASSERT_TRUE(cache_.erase("k"));
  }
}

TEST_F(CacheTest, IncrementCountsAndRefusesText) {
  EXPECT_EQ(*cache_.increment("n"), 1);
  EXPECT_EQ(*cache_.increment("n", 41), 42);
  EXPECT_EQ(*cache_.increment("n", -50), -8);
  ASSERT_TRUE(cache_.set("t", "text"));
  EXPECT_EQ(cache_.increment("t").code(), Errc::not_a_number);
  for (const char* odd : {"05", "-0", "00", "-05", "+1", " 1", "1 ", "-", "--1", "", "1.0", "0x1"}) {
    ASSERT_TRUE(cache_.set("t", odd));
    EXPECT_EQ(cache_.increment("t").code(), Errc::not_a_number) << odd;
    EXPECT_EQ(cache_.get("t")->bytes, odd);
  }
  ASSERT_TRUE(cache_.set("t", "0"));
  EXPECT_EQ(*cache_.increment("t", -1), -1);
  ASSERT_TRUE(cache_.set("m", "9223372036854775807"));
  EXPECT_EQ(cache_.increment("m").code(), Errc::overflow);
  EXPECT_EQ(cache_.get("m")->bytes, "9223372036854775807");
}

TEST_F(CacheTest, PeekTellsUseAndTimeAndIsNoUse) {
  EXPECT_EQ(cache_.peek("k").code(), Errc::not_found);
  ASSERT_TRUE(cache_.set("k", "v", {.ttl = 1h}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cache_.peek("k")->hits, 0u);
  EXPECT_GT(*cache_.peek("k")->ttl, 59min);
  ASSERT_TRUE(cache_.set("k", "v"));
  EXPECT_FALSE(cache_.peek("k")->ttl);
  ASSERT_TRUE(cache_.set("k", "v", {.ttl = 1ms}));
  for (int waited_ms = 0; waited_ms < 10'000 && cache_.peek("k"); ++waited_ms) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(cache_.peek("k").code(), Errc::not_found);
}

TEST_F(CacheTest, IncrementKeepsDeadlineCostAndMetadata) {
  ASSERT_TRUE(cache_.set("n", "1", {.ttl = 1h, .cost = 2.5, .metadata = {{"a", "b"}}}));
  ASSERT_TRUE(cache_.increment("n"));
  const auto entry = cache_.inspect("n");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->value, "2");
  EXPECT_EQ(entry->cost, 2.5);
  EXPECT_EQ(entry->metadata, (Metadata{{"a", "b"}}));
  ASSERT_TRUE(entry->ttl);
  EXPECT_GT(*entry->ttl, 59min);
  // The read-modify-write froze the old deadline: the new record's may still be changed.
  EXPECT_TRUE(*cache_.touch("n", 2h));
  EXPECT_GT(**cache_.ttl("n"), 119min);
}

TEST_F(CacheTest, ARefusedIncrementLeavesTheDeadlineChangeable) {
  ASSERT_TRUE(cache_.set("t", "text", {.ttl = 1h}));
  EXPECT_EQ(cache_.increment("t").code(), Errc::not_a_number);
  const auto before = cache_.get("t");
  EXPECT_TRUE(*cache_.touch("t", 2h));
  EXPECT_GT(**cache_.ttl("t"), 119min);
  EXPECT_EQ(cache_.get("t")->version, before->version);
}

TEST_F(CacheTest, AppendGrowsTheValue) {
  EXPECT_EQ(*cache_.append("k", "ab"), 2u);
  EXPECT_EQ(*cache_.append("k", "cd"), 4u);
  EXPECT_EQ(cache_.get("k")->bytes, "abcd");
}

TEST_F(CacheTest, TouchAndPersistChangeOnlyTheDeadline) {
  ASSERT_TRUE(cache_.set("k", "v"));
  EXPECT_FALSE(cache_.ttl("k")->has_value());
  EXPECT_FALSE(*cache_.persist("k"));
  EXPECT_TRUE(*cache_.touch("k", 1h));
  EXPECT_GT(**cache_.ttl("k"), 59min);
  EXPECT_FALSE(*cache_.touch("k", 30min, ExpireCondition::greater));
  EXPECT_TRUE(*cache_.touch("k", 30min, ExpireCondition::less));
  EXPECT_FALSE(*cache_.touch("k", 30min, ExpireCondition::no_deadline));
  EXPECT_TRUE(*cache_.persist("k"));
  EXPECT_FALSE(cache_.ttl("k")->has_value());
  EXPECT_EQ(cache_.touch("none", 1h).code(), Errc::not_found);
}

TEST_F(CacheTest, AnExpiredKeyIsAbsentBeforeAnySweep) {
  ASSERT_TRUE(cache_.set("k", "v", {.ttl = 1ms}));
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(cache_.get("k").code(), Errc::not_found);
  EXPECT_FALSE(*cache_.contains("k"));
  EXPECT_EQ(cache_.touch("k", 1h).code(), Errc::not_found);
  EXPECT_EQ(*cache_.size(), 0u);
}

TEST_F(CacheTest, TheSweepRemovesWhatExpired) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(cache_.set("k" + std::to_string(i), "v", {.ttl = i % 2 == 0 ? Ttl{1ms} : Ttl{1h}}));
  }
  std::this_thread::sleep_for(5ms);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  EXPECT_EQ(segment_.keeper().expire_due(std::chrono::nanoseconds{now}.count(), 1000000), 500u);
  EXPECT_EQ(*cache_.size(), 500u);
}

TEST_F(CacheTest, EraseReturnsTheOldValueOnce) {
  ASSERT_TRUE(cache_.set("k", "v"));
  EXPECT_EQ(*cache_.erase("k", {.return_old = true})->old_value, "v");
  EXPECT_EQ(cache_.erase("k").code(), Errc::not_found);
}

TEST_F(CacheTest, AViewStaysWhatItWasWhenTheKeyChanges) {
  ASSERT_TRUE(cache_.set("k", "first"));
  const auto view = cache_.view("k");
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->in_place());
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(cache_.set("k", "other" + std::to_string(i)));
  ASSERT_TRUE(cache_.erase("k"));
  EXPECT_EQ(view->bytes(), "first");
}

TEST_F(CacheTest, MoreViewsThanPinsAreCopies) {
  ASSERT_TRUE(cache_.set("k", "v"));
  std::vector<PinnedValue> views;
  for (unsigned i = 0; i < kPinsMax + 2; ++i) {
    auto view = cache_.view("k");
    ASSERT_TRUE(view);
    EXPECT_EQ(view->in_place(), i < kPinsMax);
    EXPECT_EQ(view->bytes(), "v");
    views.push_back(std::move(*view));
  }
}

TEST_F(CacheTest, GetIntoSaysHowMuchIsNeeded) {
  ASSERT_TRUE(cache_.set("k", "0123456789"));
  char small[4] = {'x', 'x', 'x', 'x'};
  EXPECT_EQ(*cache_.get_into("k", small), 10u);
  EXPECT_EQ(small[0], 'x');
  char large[16];
  EXPECT_EQ(*cache_.get_into("k", large), 10u);
  EXPECT_EQ(std::string_view(large, 10), "0123456789");
}

TEST_F(CacheTest, GetManyAnswersEachKeyInOrder) {
  std::vector<std::string> names;
  std::vector<KeyView> keys;
  for (int i = 0; i < 100; ++i) names.push_back("k" + std::to_string(i));
  for (int i = 0; i < 100; i += 3) ASSERT_TRUE(cache_.set(names[static_cast<std::size_t>(i)], std::to_string(i)));
  for (const auto& n : names) keys.emplace_back(n);
  std::size_t next = 0;
  ASSERT_TRUE(cache_.get_many(keys, [&](std::size_t i, std::optional<ValueView> v) {
    EXPECT_EQ(i, next++);
    EXPECT_EQ(v.has_value(), i % 3 == 0);
    if (v) { EXPECT_EQ(*v, std::to_string(i)); }
  }));
  EXPECT_EQ(next, 100u);
}

TEST_F(CacheTest, AScanSeesEveryKeyOnce) {
  std::set<std::string> expected;
  for (int i = 0; i < 5000; ++i) {
    expected.insert("key:" + std::to_string(i));
    ASSERT_TRUE(cache_.set("key:" + std::to_string(i), "v"));
  }
  std::multiset<std::string> seen;
  std::uint64_t cursor = 0;
  do {
    const auto r = cache_.scan(cursor, 100, [&](KeyView k) { seen.emplace(k); });
    ASSERT_TRUE(r);
    cursor = r->cursor;
  } while (cursor != 0);
  EXPECT_EQ(seen.size(), expected.size());
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()), expected);
  EXPECT_EQ(*cache_.size(), 5000u);
  EXPECT_EQ(*cache_.clear(), 5000u);
  EXPECT_EQ(*cache_.size(), 0u);
}

TEST_F(CacheTest, AgreesWithAMapOverRandomOperations) {
  std::map<std::string, std::string> model;
  std::mt19937 random{20261123};
  for (int i = 0; i < 200000; ++i) {
    const std::string key = "key" + std::to_string(random() % 3000);
    switch (random() % 4) {
      case 0:
      case 1: {
        const std::string value(random() % 300, static_cast<char>('a' + random() % 26));
        ASSERT_TRUE(cache_.set(key, value));
        model[key] = value;
        break;
      }
      case 2: EXPECT_EQ(cache_.erase(key).has_value(), model.erase(key) == 1); break;
      default: {
        const auto value = cache_.get(key);
        const auto at = model.find(key);
        ASSERT_EQ(value.has_value(), at != model.end());
        if (value) { ASSERT_EQ(value->bytes, at->second); }
      }
    }
  }
  EXPECT_EQ(*cache_.size(), model.size());
}

TEST(CacheMemory, AFullSegmentWithoutEvictionSaysNoSpaceAndKeepsItsKeys) {
  SegmentOptions options;
  options.memory_bytes = 2 << 20;
  options.eviction = EvictionPolicy::none;
  TempSegment segment{options};
  Cache cache = segment.client();
  int stored = 0;
  Result<WriteResult> last = Errc::ok;
  for (; stored < 1000000; ++stored) {
    last = cache.set("k" + std::to_string(stored), std::string(100, 'v'));
    if (!last) break;
  }
  EXPECT_EQ(last.code(), Errc::no_space);
  EXPECT_GT(stored, 5000);
  for (int i = 0; i < stored; i += 97) EXPECT_TRUE(*cache.contains("k" + std::to_string(i)));
  ASSERT_TRUE(cache.erase("k0"));
  EXPECT_TRUE(cache.set("again", std::string(100, 'v')));
  EXPECT_EQ(findings(cache), "");
}

TEST(CacheMemory, AFullSegmentEvictsAndGoesOn) {
  SegmentOptions options;
  options.memory_bytes = 2 << 20;
  TempSegment segment{options};
  Cache cache = segment.client();
  for (int i = 0; i < 100000; ++i) {
    const auto r = cache.set("k" + std::to_string(i), std::string(static_cast<std::size_t>(50 + i % 200), 'v'));
    ASSERT_TRUE(r) << i << ": " << to_string(r.error());
  }
  EXPECT_GT(*cache.size(), 1000u);
  EXPECT_EQ(findings(cache), "");
}

TEST(CacheMemory, MemoryMovesBetweenSizes) {
  SegmentOptions options;
  options.memory_bytes = 4 << 20;
  TempSegment segment{options};
  Cache cache = segment.client();
  for (int i = 0; i < 60000; ++i) ASSERT_TRUE(cache.set("small" + std::to_string(i), std::string(40, 's')));
  for (int i = 0; i < 2000; ++i) {
    const auto r = cache.set("large" + std::to_string(i), std::string(20000, 'l'));
    ASSERT_TRUE(r) << i << ": " << to_string(r.error());
  }
  for (int i = 0; i < 20; ++i) {
    const auto r = cache.set("huge" + std::to_string(i), std::string(300000, 'h'));
    ASSERT_TRUE(r) << i << ": " << to_string(r.error());
  }
  EXPECT_EQ(findings(cache), "");
}

TEST(CacheFork, AChildMustOpenItsOwnHandle) {
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v"));
  const pid_t child = fork();
  if (child == 0) {
    const bool closed = cache.get("k").code() == Errc::closed && cache.set("k", "x").code() == Errc::closed;
    OpenOptions options;
    options.name = segment.name();
    auto own = Cache::open(options);
    const bool works = own && own->get("k")->bytes == "v" && own->set("child", "1");
    _exit(closed && works ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(cache.get("child")->bytes, "1");
}

TEST(CacheReadOnly, ReadsWithoutASlotAndRefusesToWrite) {
  TempSegment segment;
  Cache writer = segment.client();
  ASSERT_TRUE(writer.set("k", "v"));
  OpenOptions options;
  options.name = segment.name();
  options.access = Access::read_only;
  auto reader = Cache::open(options);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->get("k")->bytes, "v");
  EXPECT_EQ(reader->view("k")->bytes(), "v");
  EXPECT_EQ(reader->set("k", "x").code(), Errc::read_only);
}

}  // namespace
}  // namespace cachee::test
