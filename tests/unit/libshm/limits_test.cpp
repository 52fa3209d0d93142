// Goal: keys, values, segments and handles work at their bounds as documented.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <set>

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.hpp"
#include "support/segment_bytes.hpp"
#include "support/temp_segment.hpp"

namespace cachee::test {
namespace {

using namespace std::chrono_literals;

std::string random_text(std::mt19937_64& random, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; i += 8) {
    const std::uint64_t w = random();
    for (std::size_t b = 0; b < 8 && i + b < bytes; ++b) text[i + b] = static_cast<char>(w >> (8 * b));
  }
  return text;
}

// ---- keys and values -----------------------------------------------------------------------

TEST(Keys, OfEveryLengthAndAnyBytesAreKeptApart) {
  TempSegment segment{{.memory_bytes = 32 << 20}};
  Cache cache = segment.client();
  std::mt19937_64 random{11};
  std::map<std::string, std::string> model;
  for (const std::size_t bytes : {0u, 1u, 2u, 7u, 8u, 9u, 15u, 16u, 17u, 63u, 64u, 255u, 256u, 4095u, 4096u, 32768u, 65535u, 65536u}) {
    const std::string key = random_text(random, bytes);
    std::string twin = key;
    if (!twin.empty()) twin.back() = static_cast<char>(twin.back() ^ 1);  // differs in the last bit
    for (const auto& k : {key, twin}) {
      model[k] = k.empty() ? "" : "value of " + std::to_string(bytes) + k.substr(bytes - 1);
      ASSERT_TRUE(cache.set(k, model[k])) << bytes;
    }
  }
  for (const auto& [key, value] : model) {
    ASSERT_EQ(cache.get(key)->bytes, value) << key.size();
    EXPECT_TRUE(cache.touch(key, 1h));
    EXPECT_EQ(cache.inspect(key)->value, value);
    EXPECT_EQ(cache.view(key)->bytes(), value);
  }
  std::set<std::string> seen;
  for (std::uint64_t cursor = 0, first = 1; first != 0 || cursor != 0; first = 0) {
    cursor = cache.scan(cursor, 5, [&](KeyView key) { seen.emplace(key); })->cursor;
  }
  EXPECT_EQ(seen.size(), model.size());
  for (const auto& [key, value] : model) EXPECT_TRUE(cache.erase(key)) << key.size();
  EXPECT_EQ(*cache.size(), 0u);
  EXPECT_EQ(findings(cache), "");
}

TEST(Values, UpToTheLargestAreStoredAndOneByteMoreIsRefused) {
  // A quarter of the data, which is what the index leaves, is more than the default limit.
  TempSegment segment{{.memory_bytes = 384 << 20}};
  Cache cache = segment.client();
  const std::uint64_t largest = segment_info(cache)->value_bytes_max;
  EXPECT_EQ(largest, kValueBytesMaxDefault);
  std::string value(largest, 'x');
  value.front() = 'a';
  value.back() = 'z';
  ASSERT_TRUE(cache.set("largest", value));
  EXPECT_TRUE(cache.get("largest")->bytes == value);
  EXPECT_TRUE(cache.view("largest")->bytes() == value);
  EXPECT_EQ(cache.set("more", value + "x").code(), Errc::invalid_argument);
  EXPECT_EQ(cache.append("largest", "x").code(), Errc::invalid_argument);
  ASSERT_TRUE(cache.set("largest", "small now"));
  EXPECT_EQ(cache.get("largest")->bytes, "small now");
  EXPECT_EQ(findings(cache), "");
}

TEST(Values, OfMoreThanALengthCanSayAreNeverAllowed) {
  // --max-value beyond 4 GiB, on a segment that would have the memory.
  const auto shape = layout::compute_shape({.segment_bytes = std::uint64_t{64} << 30, .value_bytes_max = std::uint64_t{8} << 30,
                                            .ring_events = 65536, .clients_max = 256, .bucket_count = 0, .page_bytes = 0});
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->value_bytes_max, layout::Lens::Value::kMax);
}

// ---- many at once --------------------------------------------------------------------------

TEST(SetMany, StoresEachInOrderAndTellsOfEach) {
  TempSegment segment;
  Cache cache = segment.client();
  std::vector<std::string> keys;
  for (int i = 0; i < 100; ++i) keys.push_back("k" + std::to_string(i % 90));  // the last ten come twice
  std::vector<std::string> values;
  for (int i = 0; i < 100; ++i) values.push_back(std::string(static_cast<std::size_t>(i) * 5, static_cast<char>('a' + i % 26)));
  std::vector<KeyValue> items;
  for (std::size_t i = 0; i < keys.size(); ++i) items.push_back({keys[i], values[i]});
  std::size_t next = 0;
  int created = 0;
  ASSERT_TRUE(cache.set_many(items, {.ttl = 1h, .metadata = {{"m", "n"}}}, [&](std::size_t index, const WriteResult& written) {
    EXPECT_EQ(index, next++);
    EXPECT_GT(written.version, 0u);
    created += written.created ? 1 : 0;
  }));
  EXPECT_EQ(next, 100u);
  EXPECT_EQ(created, 90);
  for (std::size_t i = 10; i < 100; ++i) EXPECT_EQ(cache.get(keys[i])->bytes, values[i]) << i;
  EXPECT_EQ(cache.inspect("k50")->metadata, (Metadata{{"m", "n"}}));
  EXPECT_TRUE(cache.ttl("k50")->has_value());
  EXPECT_TRUE(cache.set_many({}));
  EXPECT_EQ(findings(cache), "");
}

TEST(SetMany, EndsAtTheFirstFailureAndKeepsWhatWasStored) {
  TempSegment segment;
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("c", "there"));
  const KeyValue items[] = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}};
  std::size_t stored = 0;
  EXPECT_EQ(cache.set_many(items, {.condition = Condition::absent}, [&](std::size_t, const WriteResult&) { ++stored; }).code(),
            Errc::exists);
  EXPECT_EQ(stored, 2u);
  EXPECT_EQ(cache.get("b")->bytes, "2");
  EXPECT_EQ(cache.get("c")->bytes, "there");
  EXPECT_EQ(cache.get("d").code(), Errc::not_found);
}

TEST(SetMany, GivesEventsInTheOrderOfTheItems) {
  TempSegment segment;
  TriggerTable table;
  table.triggers.push_back({.name = "all", .pattern = "*", .events = event_bit(EventKind::write), .source = "return"});
  ASSERT_TRUE(segment.keeper().publish_triggers(table, 1s));
  Cache cache = segment.client();
  const KeyValue items[] = {{"x", "1"}, {"y", "2"}, {"x", "3"}};
  ASSERT_TRUE(cache.set_many(items));
  const EventReader reader = segment.keeper().reader();
  for (std::size_t i = 0; i < 3; ++i) {
    const auto event = reader.at(EventSeq{i});
    ASSERT_TRUE(event);
    EXPECT_EQ(event->key, items[i].key);
    EXPECT_EQ(event->value, items[i].value);
  }
}

// ---- a handle that only reads --------------------------------------------------------------

TEST(ReadOnly, EveryReadWorksAndEveryWriteSaysReadOnly) {
  TempSegment segment;
  Cache writer = segment.client();
  ASSERT_TRUE(writer.set("k", "value", {.ttl = 1h, .cost = 2.0, .metadata = {{"m", "n"}}}));
  ASSERT_TRUE(writer.set("expired", "x", {.ttl = 1ns}));
  ASSERT_TRUE(writer.set("large", std::string(200000, 'L')));
  TriggerTable table;
  table.triggers.push_back({.name = "reads", .pattern = "*", .events = event_bit(EventKind::read), .source = "return"});
  ASSERT_TRUE(segment.keeper().publish_triggers(table, 1s));
  auto opened = Cache::open({.name = segment.name(), .access = Access::read_only, .prefault = true});
  ASSERT_TRUE(opened);
  Cache& cache = *opened;
  const auto clients = list_clients(cache)->size();

  char buffer[8];
  EXPECT_EQ(cache.get("k")->bytes, "value");
  EXPECT_EQ(cache.get_into("k", buffer).value_or(0), 5u);
  EXPECT_EQ(cache.view("k")->bytes(), "value");
  EXPECT_EQ(cache.view("large")->bytes().size(), 200000u);
  EXPECT_EQ(cache.inspect("k")->metadata, (Metadata{{"m", "n"}}));
  EXPECT_TRUE(cache.contains("k").value_or(false));
  EXPECT_FALSE(cache.contains("expired").value_or(true));
  EXPECT_EQ(cache.get("expired").code(), Errc::not_found);
  EXPECT_TRUE(cache.ttl("k")->has_value());
  const KeyView keys[] = {"k", "none", "expired"};
  int found = 0;
  EXPECT_TRUE(cache.get_many(keys, [&](std::size_t, std::optional<ValueView> value) { found += value ? 1 : 0; }));
  EXPECT_EQ(found, 1);
  int scanned = 0;
  for (std::uint64_t cursor = 0, first = 1; first != 0 || cursor != 0; first = 0) {
    cursor = cache.scan(cursor, 100, [&](KeyView) { ++scanned; })->cursor;
  }
  EXPECT_EQ(scanned, 2);
  EXPECT_GE(cache.size().value_or(0), 2u);
  EXPECT_TRUE(cache.random_key());
  EXPECT_TRUE(segment_info(cache) && list_slabs(cache) && list_events(cache, 10) && memory_info(cache) && read_triggers(cache));
  EXPECT_EQ(findings(cache), "");
  EXPECT_EQ(cache.wait_acknowledged(EventSeq{1000}, 1ms).code(), Errc::timed_out);
  EXPECT_EQ(list_clients(cache)->size(), clients) << "it takes no client slot";

  const KeyValue items[] = {{"k", "x"}};
  const Errc codes[] = {
      cache.set("k", "x").code(), cache.set_many(items).code(), cache.add("n", "x").code(), cache.replace("k", "x").code(),
      cache.compare_and_set("k", 1, "x").code(), cache.increment("n").code(), cache.append("k", "x").code(),
      cache.update("k", [](auto) { return std::optional<std::string>{"x"}; }).code(), cache.touch("k", 1s).code(),
      cache.touch_at("k", 1).code(), cache.persist("k").code(), cache.erase("k").code(), cache.clear().code()};
  for (std::size_t i = 0; i < std::size(codes); ++i) EXPECT_EQ(codes[i], Errc::read_only) << "write " << i;
  EXPECT_EQ(writer.get("k")->bytes, "value");
}

/// Lines of /proc/self/maps that are mappings of the segment, by their permissions.
std::vector<std::string> mappings_of(const std::string& segment) {
  std::vector<std::string> permissions;
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with("/cachee." + segment)) permissions.push_back(line.substr(line.find(' ') + 1, 4));
  }
  return permissions;
}

/// How a forked child ends that runs `body`.
template <class Body>
int status_of_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(ReadOnly, TheKernelRefusesEveryStoreIntoItsMapping) {
  TempSegment segment;
  ASSERT_TRUE(segment.client().set("k", "value"));
  // In a child: this process maps the segment to write as well, which no child inherits.
  const int status = status_of_child([&] {
    const auto reader = Cache::open({.name = segment.name(), .access = Access::read_only});
    if (!reader || reader->get("k")->bytes != "value" || reader->view("k")->bytes() != "value") _exit(1);
    if (mappings_of(segment.name()) != std::vector<std::string>{"r--s"}) _exit(2);
    std::signal(SIGSEGV, SIG_DFL);  // a sanitizer would make an exit of it
    *reinterpret_cast<volatile char*>(reader->handle()->view().base) = 1;
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  EXPECT_EQ(findings(segment.keeper().cache()), "");
}

// ---- segments ------------------------------------------------------------------------------

/// Makes a segment of a size, fills it a little, and has every part checked.
void make_and_use(std::uint64_t bytes, std::uint32_t page_bytes) {
  SegmentOptions options;
  options.memory_bytes = bytes;
  options.page_bytes = page_bytes;
  TempSegment segment{options};
  Cache cache = segment.client();
  const auto info = segment_info(cache);
  ASSERT_TRUE(info);
  EXPECT_LE(info->segment_bytes, bytes);
  EXPECT_GT(info->segment_bytes + 4096, bytes);
  EXPECT_GE(static_cast<double>(info->data_bytes), 0.5 * static_cast<double>(bytes));
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(cache.set("k" + std::to_string(i), std::string(static_cast<std::size_t>(i), 'v'))) << i;
  const std::string large(std::min<std::uint64_t>(info->value_bytes_max, 1 << 20), 'L');
  ASSERT_TRUE(cache.set("large", large));
  EXPECT_TRUE(cache.get("large")->bytes == large);
  EXPECT_EQ(cache.get("k299")->bytes.size(), 299u);
  EXPECT_EQ(findings(cache), "");
}

TEST(Segments, FromTheSmallestOn) {
  for (const std::uint64_t bytes : {kSegmentBytesMin, kSegmentBytesMin + 5000, std::uint64_t{5} << 20, std::uint64_t{64} << 20,
                                    std::uint64_t{200} << 20}) {
    SCOPED_TRACE(bytes);
    make_and_use(bytes, 0);
  }
  EXPECT_EQ(Maintainer::create({.name = unique_name("test"), .memory_bytes = kSegmentBytesMin - 4096}).code(), Errc::invalid_argument);
}

TEST(Segments, OfEveryPageSize) {
  for (const std::uint32_t page_bytes : {4096u, 8192u, 16384u, 32768u, 65536u}) {
    SCOPED_TRACE(page_bytes);
    make_and_use(8 << 20, page_bytes);
  }
}

TEST(Segments, GeometryHoldsToTheLargest) {
  for (std::uint64_t bytes = kSegmentBytesMin; bytes <= std::uint64_t{4} << 40; bytes = bytes * 3 / 2) {
    const auto shape = layout::compute_shape({.segment_bytes = bytes, .value_bytes_max = kValueBytesMaxDefault, .ring_events = 1024,
                                              .clients_max = 32, .bucket_count = 0, .page_bytes = 0});
    ASSERT_TRUE(shape) << bytes;
    const auto regions = layout::compute_regions(*shape);
    std::uint64_t end = sizeof(layout::SegmentHeader);
    for (const auto& region : regions) {
      ASSERT_GE(region.offset, end) << bytes;
      end = region.offset + region.bytes;
    }
    ASSERT_LE(end, bytes);
    EXPECT_GT(regions[layout::kRegionData].bytes, bytes / 2) << bytes;
    EXPECT_LT((end / layout::kOffsetUnit) >> layout::kOffsetBits, 1u) << bytes;
  }
}

std::uint64_t available_bytes() {
  std::ifstream memory{"/proc/meminfo"};
  unsigned long kib = 0;
  for (std::string line; std::getline(memory, line);) {
    if (std::sscanf(line.c_str(), "MemAvailable: %lu kB", &kib) == 1) break;
  }
  return std::uint64_t{kib} * 1024;
}

/// The long form: CACHEE_TEST_LARGE=1, and 20 GiB of memory.
TEST(Segments, OfSixteenGibibytes) {
  constexpr std::uint64_t kBytes = std::uint64_t{16} << 30;
  if (std::getenv("CACHEE_TEST_LARGE") == nullptr) GTEST_SKIP() << "set CACHEE_TEST_LARGE=1: it takes 16 GiB of memory and minutes";
  struct statvfs shm {};
  ASSERT_EQ(statvfs("/dev/shm", &shm), 0);
  const std::uint64_t room = std::uint64_t{shm.f_bavail} * shm.f_frsize;
  const std::uint64_t available = available_bytes();
  if (room < kBytes || available < kBytes + (std::uint64_t{2} << 30)) {
    GTEST_SKIP() << "needs 16 GiB in /dev/shm and 18 GiB of memory to be had; there are " << (room >> 20) << " and " << (available >> 20) << " MiB";
  }
  TempSegment segment{{.memory_bytes = kBytes}};
  Cache cache = segment.client();
  const auto info = segment_info(cache);
  EXPECT_GT(info->data_bytes, kBytes * 8 / 10);
  constexpr int kKeys = 300000;
  for (int i = 0; i < kKeys; ++i) ASSERT_TRUE(cache.set("key:" + std::to_string(i), std::string(static_cast<std::size_t>(i) % 2000, 'v')));
  const std::string large(kValueBytesMaxDefault, 'L');
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(cache.set("large" + std::to_string(i), large)) << i;
  for (int i = 0; i < kKeys; i += 997) ASSERT_EQ(cache.get("key:" + std::to_string(i))->bytes.size(), static_cast<std::size_t>(i) % 2000);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(findings(cache), "");
  const auto took = std::chrono::steady_clock::now() - began;
  std::printf("fsck of %llu MiB with %d keys: %lld ms\n", static_cast<unsigned long long>(kBytes >> 20), kKeys + 40,
              static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  EXPECT_LT(took, 120s);
}

// ---- memory --------------------------------------------------------------------------------

TEST(Memory, PrefaultEntersEveryPageAtOnce) {
  TempSegment segment{{.memory_bytes = 16 << 20}};
  for (const Access access : {Access::read_only, Access::read_write}) {
    const auto lazy = Cache::open({.name = segment.name(), .access = access});
    const auto eager = Cache::open({.name = segment.name(), .access = access, .prefault = true});
    ASSERT_TRUE(lazy && eager);
    EXPECT_EQ(memory_info(*eager)->resident_bytes, std::uint64_t{16} << 20);
    EXPECT_LT(memory_info(*lazy)->resident_bytes, std::uint64_t{16} << 20);
  }
  TempSegment made{{.memory_bytes = 16 << 20, .prefault = true}};
  EXPECT_EQ(memory_info(made.keeper().cache())->resident_bytes, std::uint64_t{16} << 20);
}

/// In a process whose limits and rights may be lowered.
bool locks_or_refuses() {
  const TempSegment segment{{.memory_bytes = 4 << 20}};
  const auto locked = Cache::open({.name = segment.name(), .lock_memory = true});
  const bool holds = locked ? memory_info(*locked)->locked_bytes == 4u << 20 : locked.code() == Errc::permission;
  const rlimit none{0, 0};
  setrlimit(RLIMIT_MEMLOCK, &none);
  bool refused = true;
  if (geteuid() == 0) {
    // CAP_IPC_LOCK is above every limit; without it the limit counts.
    refused = chown(("/dev/shm/cachee." + segment.name()).c_str(), 65534, 65534) == 0 &&
              chown(("/dev/shm/cachee." + segment.name() + ".locks").c_str(), 65534, 65534) == 0 && seteuid(65534) == 0;
  }
  const auto over = Cache::open({.name = segment.name(), .lock_memory = true});
  refused = refused && !over && over.code() == Errc::permission && over.error().os_errno != 0;
  if (getuid() == 0) static_cast<void>(seteuid(0));  // who made the segment removes it
  return holds && refused;
}

TEST(Memory, LockedMemoryIsLockedOrRefusedWithTheReason) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer makes mlock do nothing";
#endif
  const pid_t child = fork();
  if (child == 0) _exit(locks_or_refuses() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(Memory, HugePagesAreGivenOrTheReasonIsSaid) {
  TempSegment segment{{.memory_bytes = 32 << 20, .huge_pages = true}};
  Cache cache = segment.client();
  ASSERT_TRUE(cache.set("k", "v"));
  const auto memory = memory_info(segment.keeper().cache());
  ASSERT_TRUE(memory);
  EXPECT_NE(memory->huge_page_policy.find("/dev/shm is mounted huge="), std::string::npos);
  EXPECT_NE(memory->huge_page_policy.find("shmem_enabled is "), std::string::npos);
  const auto says = [&](const char* what) { return memory->huge_page_policy.find(what) != std::string::npos; };
  const bool forbidden = says("shmem_enabled is deny") || (says("mounted huge=never") && !says("shmem_enabled is force"));
  const bool promised = !forbidden && (says("mounted huge=advise") || says("mounted huge=always"));
  EXPECT_TRUE(!forbidden || memory->huge_bytes == 0) << memory->huge_page_policy;
  EXPECT_TRUE(!promised || memory->huge_bytes > 0) << memory->huge_page_policy;
  EXPECT_EQ(findings(cache), "");
}

}  // namespace
}  // namespace cachee::test
