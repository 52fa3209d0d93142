// Goal: what the commands say of a segment is true, and what they do to it happens. Method: the
// program as a process on a segment that the test created and looks into itself.
#include <gtest/gtest.h>
#include <support/temp_segment.hpp>

#include <algorithm>
#include <chrono>

#include "output.hpp"
#include "pseudo_terminal.hpp"
#include "support.hpp"

namespace cachee::cli::test {
namespace {

using namespace std::chrono_literals;
using cachee::test::TempSegment;

constexpr int kNo = 1;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What a field of a JSON document says; null when there is none.
Value field(const std::string& json, std::initializer_list<const char*> path) {
  const auto tree = from_json(json);
  if (!tree) {
    ADD_FAILURE() << "not JSON: " << json;
    return {};
  }
  const Value* value = &*tree;
  for (const char* name : path) {
    value = value->find(name);
    if (value == nullptr) return {};
  }
  return *value;
}

class Segment : public testing::Test {
 protected:
  Done run(Words words, const std::string& input = "") {
    words.insert(words.begin(), {"-n", segment_.name()});
    return run_cachee(folder_, words, input);
  }
  Done run_json(Words words) {
    words.insert(words.begin(), "--json");
    return run(std::move(words));
  }
  /// One trigger, whose events nobody handles.
  void publish(const std::string& pattern, EventMask events, std::uint32_t block_ms) {
    TriggerTable table;
    table.generation = trigger_generation(segment_.keeper().cache()) + 1;
    TriggerSpec spec;
    spec.name = "held";
    spec.pattern = pattern;
    spec.events = events;
    spec.source = "return\n";
    spec.block_ms = block_ms;
    spec.id = 1;
    table.triggers.push_back(spec);
    ASSERT_TRUE(segment_.keeper().publish_triggers(table, 2s));
  }

  TemporaryFolder folder_{};
  TempSegment segment_{SegmentOptions{.ring_events = kRingEventsMin, .clients_max = 16}};
  Cache cache_ = segment_.client();
};

TEST_F(Segment, SetStoresEverythingItIsTold) {
  EXPECT_EQ(run({"set", "k", "v", "--ttl", "1h30m", "--cost", "12.5", "--meta", "user=ada",
                 "--meta", "q=a=b", "--depends-on", "[p,q]", "--depends-on", "r"})
                .out,
            "OK\n");
  const auto entry = cache_.inspect("k");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->value, "v");
  EXPECT_EQ(entry->cost, 12.5);
  EXPECT_EQ(entry->metadata, (Metadata{{"user", "ada"}, {"q", "a=b"}}));
  EXPECT_EQ(entry->depends_on, (Words{"[p,q]", "r"}));
  EXPECT_GT(*entry->ttl, 89min);
  EXPECT_LE(*entry->ttl, 90min);

  const std::string shown = run_json({"get", "k"}).out;
  EXPECT_EQ(field(shown, {"value"}).string(), "v");
  EXPECT_EQ(field(shown, {"metadata", "q"}).string(), "a=b");
  EXPECT_EQ(field(shown, {"version"}).as_count(), entry->version);
  EXPECT_TRUE(has(run({"get", "k", "--long"}).out, "user  ada"));
}

TEST_F(Segment, BinaryValuesPassThroughPipes) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(run({"set", "b"}, bytes).code, 0);
  EXPECT_EQ(cache_.get("b")->bytes, bytes);
  EXPECT_EQ(run({"get", "b", "--bare"}).out, bytes);
  EXPECT_EQ(run({"get", "b"}).out, bytes + "\n");
  EXPECT_EQ(field(run_json({"get", "b"}).out, {"value"}).string(), bytes);
  EXPECT_EQ(run({"set", "empty", ""}).code, 0);
  EXPECT_EQ(cache_.get("empty")->bytes, "");
}

TEST_F(Segment, ConditionsDecideAndSayWhy) {
  EXPECT_EQ(run({"set", "k", "1", "--xx"}).code, kNo);
  EXPECT_EQ(run({"set", "k", "1", "--nx"}).code, 0);
  const Done exists = run({"set", "k", "2", "--nx"});
  EXPECT_EQ(exists.code, kNo);
  EXPECT_TRUE(has(exists.err, "k exists")) << exists.err;
  const std::string version = std::to_string(cache_.get("k")->version);
  EXPECT_EQ(run({"set", "k", "3", "--if-version", version}).code, 0);
  const Done stale = run({"set", "k", "4", "--if-version", version});
  EXPECT_EQ(stale.code, kNo);
  EXPECT_TRUE(has(stale.err, "another version")) << stale.err;
  EXPECT_EQ(run({"del", "k", "--if-version", version}).code, kNo);
  EXPECT_EQ(cache_.get("k")->bytes, "3");
}

TEST_F(Segment, ExitCodesAnswerTheQuestion) {
  for (const char* key : {"a", "b", "[a,b]", "++"}) ASSERT_TRUE(cache_.set(key, "1"));
  EXPECT_EQ(run({"get", "a"}).code, 0);
  const Done missing = run({"get", "none\n"});
  EXPECT_EQ(missing.code, kNo);
  EXPECT_EQ(missing.err, "cachee: no such key: \"none\\n\"\n");
  EXPECT_EQ(missing.out, "");
  EXPECT_EQ(run({"exists", "a", "[a,b]", "++"}).out, "3\n");
  EXPECT_EQ(run({"exists", "a", "none"}).code, kNo);
  EXPECT_EQ(run({"del", "a", "none", "[a,b]"}).out, "2\n");
  EXPECT_EQ(run({"del", "a"}).code, kNo);
  EXPECT_FALSE(*cache_.contains("[a,b]"));
  EXPECT_TRUE(*cache_.contains("b"));
}

TEST_F(Segment, TtlAndExpire) {
  ASSERT_TRUE(cache_.set("k", "1"));
  EXPECT_EQ(run({"ttl", "k"}).out, "never\n");
  EXPECT_EQ(run({"expire", "k", "1h"}).out, "OK\n");
  EXPECT_EQ(run({"ttl", "k"}).out, "59m59s\n");
  const Value ttl = field(run_json({"ttl", "k"}).out, {"ttl_ms"});
  EXPECT_GT(ttl.as_count(), 3590000U);
  EXPECT_LE(ttl.as_count(), 3600000U);
  EXPECT_EQ(run({"expire", "k", "never"}).code, 0);
  EXPECT_FALSE(cache_.ttl("k")->has_value());
  EXPECT_EQ(run({"expire", "k", "never"}).code, 0) << "it is so already";
  EXPECT_EQ(run({"expire", "k", "0"}).code, 0);
  EXPECT_FALSE(*cache_.contains("k"));
  EXPECT_EQ(run({"ttl", "k"}).code, kNo);
  EXPECT_EQ(run({"expire", "k", "5s"}).code, kNo);
  EXPECT_EQ(run({"expire", "k", "never"}).code, kNo);
}

TEST_F(Segment, IncrCountsAndRefusesWhatIsNoNumber) {
  EXPECT_EQ(run({"incr", "n"}).out, "1\n");
  EXPECT_EQ(run({"incr", "n", "-5"}).out, "-4\n");
  EXPECT_EQ(run_json({"incr", "n", "10"}).out, "{\"key\":\"n\",\"value\":6}\n");
  ASSERT_TRUE(cache_.set("text", "lamp"));
  const Done wrong = run({"incr", "text"});
  EXPECT_EQ(wrong.code, kNo);
  EXPECT_TRUE(has(wrong.err, "not an integer")) << wrong.err;
  ASSERT_TRUE(cache_.set("n", "9223372036854775807"));
  EXPECT_EQ(run({"incr", "n"}).code, kNo);
  EXPECT_EQ(cache_.get("n")->bytes, "9223372036854775807");
}

TEST_F(Segment, AValueThatIsTooLargeNamesTheSetting) {
  const auto info = segment_info(cache_);
  const Done done = run({"set", "k"}, std::string(info->value_bytes_max + 1, 'x'));
  EXPECT_EQ(done.code, kNo);
  EXPECT_TRUE(has(done.err, "--max-value")) << done.err;
  const Done key = run({"set", std::string(kKeyBytesMax + 1, 'k'), "v"});
  EXPECT_EQ(key.code, kNo);
  EXPECT_TRUE(has(key.err, "65536")) << key.err;
}

TEST_F(Segment, ScanFindsWhatMatches) {
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(cache_.set("s:" + std::to_string(i), "v"));
  const std::string odd{"x\0\xff", 3};
  ASSERT_TRUE(cache_.set(odd, "v"));
  const std::string all = run({"scan", "s:*"}).out;
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 3000);
  EXPECT_EQ(run({"scan", "x*"}).out, "\"x\\x00\\xff\"\n");
  EXPECT_EQ(run_json({"scan", "x*"}).out, "{\"key\":{\"base64\":\"eAD/\"}}\n");
  const std::string some = run({"scan", "--limit", "7"}).out;
  EXPECT_EQ(std::count(some.begin(), some.end(), '\n'), 7);
  EXPECT_TRUE(has(run_json({"scan", "s:1", "--long"}).out, "\"value_bytes\":1"));
  EXPECT_EQ(run({"scan", "none*"}).code, 0);
}

TEST_F(Segment, StatCountsWhatHappened) {
  ASSERT_TRUE(cache_.set("k", "v"));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(cache_.get("k"));
  EXPECT_FALSE(cache_.get("none"));
  const std::string stat = run_json({"stat", "--interval", "10ms"}).out;
  EXPECT_EQ(field(stat, {"name"}).string(), segment_.name());
  EXPECT_EQ(field(stat, {"keys"}).as_count(), 1U);
  EXPECT_EQ(field(stat, {"operations", "sets"}).as_count(), 1U);
  EXPECT_GE(field(stat, {"operations", "hits"}).as_count(), 3U);
  EXPECT_GE(field(stat, {"operations", "misses"}).as_count(), 1U);
  EXPECT_EQ(field(stat, {"supervisor_pid"}).as_count(), static_cast<std::uint64_t>(getpid()));
  const std::string text = run({"stat", "--interval", "10ms"}).out;
  for (const char* name :
       {"hit_percent", "used_bytes", "per_second", "admission_limit", "triggers"}) {
    EXPECT_TRUE(has(text, name)) << name;
    EXPECT_TRUE(has(stat, name)) << name;
  }
}

TEST_F(Segment, ClientsAndSlabsAreListed) {
  ASSERT_TRUE(cache_.set("k", "v"));
  const auto clients = from_json(run_json({"clients"}).out);
  ASSERT_TRUE(clients);
  EXPECT_TRUE(std::any_of(clients->items().begin(), clients->items().end(), [](const Value& row) {
    return row.find("name")->string() == "test" &&
           row.find("pid")->as_count() == static_cast<std::uint64_t>(getpid());
  })) << to_json(*clients);
  const auto slabs = from_json(run_json({"slabs"}).out);
  ASSERT_TRUE(slabs);
  ASSERT_FALSE(slabs->items().empty());
  EXPECT_GE(slabs->items()[0].find("live")->as_count(), 1U);
  EXPECT_EQ(slabs->items()[0].find("requested_bytes")->as_count(), 64U) << "48, a key and a value of 8";
  EXPECT_TRUE(has(run({"slabs"}).out, "fragmentation_percent"));
}

TEST_F(Segment, RingAndEventsShowWhatWaits) {
  publish("e:*", event_bit(EventKind::write) | event_bit(EventKind::del), 1000);
  ASSERT_TRUE(cache_.set("e:1", "v"));
  ASSERT_TRUE(cache_.set("e:1", "w"));
  ASSERT_TRUE(cache_.erase("e:1"));
  ASSERT_TRUE(cache_.set("f:1", "v"));
  const std::string ring = run_json({"ring"}).out;
  EXPECT_EQ(field(ring, {"depth"}).as_count(), 3U);
  EXPECT_EQ(field(ring, {"waiting"}).as_count(), 3U);
  EXPECT_EQ(field(ring, {"by_type", "write"}).as_count(), 2U);
  EXPECT_EQ(field(ring, {"by_type", "delete"}).as_count(), 1U);

  const auto events = from_json(run_json({"events"}).out);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->items().size(), 3U);
  EXPECT_EQ(events->items()[0].find("cause")->string(), "create");
  EXPECT_EQ(events->items()[1].find("cause")->string(), "update");
  EXPECT_EQ(events->items()[2].find("type")->string(), "delete");
  EXPECT_EQ(events->items()[0].find("id")->string(), EventReader{cache_}.event_id(1));
  EXPECT_EQ(run_json({"events", "none*"}).out, "[]\n");
}

TEST_F(Segment, FollowShowsEventsAsTheyComeAndEndsWithCtrlC) {
  publish("e:*", event_bit(EventKind::write), 1000);
  Terminal terminal{folder_, {"-n", segment_.name(), "events", "e:*", "--follow", "--json"}};
  ASSERT_TRUE(cache_.set("e:1", "first", {.metadata = {{"user", "ada"}}}));
  terminal.wait_for("\"value\":\"first\"");
  terminal.wait_for("\"user\":\"ada\"");
  ASSERT_TRUE(cache_.set("e:1", "second"));
  terminal.wait_for("\"value\":\"second\",\"old_value\":\"first\"");
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait_exit(), 0);
}

TEST_F(Segment, BackPressureIsNamedAndNothingIsWritten) {
  publish("b:*", event_bit(EventKind::write), 1);
  while (cache_.set("b:1", "before")) continue;
  const Done done = run({"set", "b:1", "after"});
  EXPECT_EQ(done.code, kNo);
  EXPECT_TRUE(has(done.err, "BACKPRESSURE")) << done.err;
  EXPECT_EQ(cache_.get("b:1")->bytes, "before");
}

TEST_F(Segment, FsckIsCleanAndFindsDamage) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(cache_.set("damage-me:" + std::to_string(i), "v"));
  const Done clean = run({"fsck"});
  EXPECT_EQ(clean.code, 0) << clean.out;
  EXPECT_TRUE(has(clean.out, "findings_total  0")) << clean.out;

  const std::string path = "/dev/shm/cachee." + segment_.name();
  std::string bytes = read_file(path);
  const std::size_t at = bytes.find("damage-me:7");
  ASSERT_NE(at, std::string::npos);
  std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
  file.seekp(static_cast<std::streamoff>(at));
  file.write("DAMAGED", 7);
  file.close();
  const Done damaged = run_json({"fsck"});
  EXPECT_EQ(damaged.code, kNo) << damaged.out;
  EXPECT_GE(field(damaged.out, {"findings_total"}).as_count(), 1U);
  EXPECT_TRUE(has(damaged.out, "\"invariant\":\"[")) << damaged.out;
}

TEST_F(Segment, RepairIsRefusedWhileASupervisorRuns) {
  const Done done = run({"fsck", "--repair"});
  EXPECT_EQ(done.code, kNo);
  EXPECT_TRUE(has(done.err, "pid " + std::to_string(getpid()))) << done.err;
}

TEST(Repair, WorksOnASegmentThatNobodyKeeps) {
  const TemporaryFolder folder;
  const std::string name = cachee::test::unique_name("repair");
  {
    auto keeper = Maintainer::create({.name = name, .memory_bytes = 8 << 20});
    ASSERT_TRUE(keeper) << to_string(keeper.error());
    auto client = keeper->client(Role::client, "writer");
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->set("k", "v"));
  }
  const Done done = run_cachee(folder, {"-n", name, "fsck", "--repair"});
  EXPECT_EQ(done.code, 0) << done.out << done.err;
  EXPECT_TRUE(has(done.out, "repaired")) << done.out;
  EXPECT_EQ(run_cachee(folder, {"-n", name, "get", "k"}).out, "v\n") << "repair keeps the keys";
  EXPECT_TRUE(remove_segment(name));
}

TEST_F(Segment, DumpAndLoadKeepEverything) {
  const std::string odd{"\0\xff\n", 3};
  ASSERT_TRUE(
      cache_.set(odd, odd, {.cost = 0.1, .metadata = {{"f", odd}}, .depends_on = {odd + odd, "p"}}));
  ASSERT_TRUE(cache_.set("text", "line\nline", {.ttl = 1h}));
  ASSERT_TRUE(cache_.set("other", "x"));
  const std::string path = folder_.path("dump.jsonl");
  EXPECT_EQ(run({"dump", path}).out, "3 keys written to " + path + "\n");
  EXPECT_EQ(run_json({"dump", "-", "--match", "te*"}).err,
            "cachee: 1 keys written to standard output\n");
  const auto deadline = cache_.ttl("text");

  ASSERT_TRUE(cache_.clear());
  ASSERT_TRUE(cache_.set("other", "kept"));
  EXPECT_EQ(run_json({"load", path, "--nx"}).out, "{\"loaded\":2,\"expired\":0,\"existed\":1}\n");
  const auto entry = cache_.inspect(odd);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->value, odd);
  EXPECT_EQ(entry->cost, 0.1);
  EXPECT_EQ(entry->metadata, (Metadata{{"f", odd}}));
  EXPECT_EQ(entry->depends_on, (Words{odd + odd, "p"}));
  EXPECT_EQ(cache_.get("other")->bytes, "kept");
  const auto remaining = cache_.ttl("text");
  ASSERT_TRUE(remaining && remaining->has_value());
  EXPECT_LE(**remaining, **deadline) << "a key does not live longer for having been dumped";
  EXPECT_GT(**remaining, **deadline - 10s);
}

TEST_F(Segment, LoadSkipsTheExpiredAndStopsAtWhatIsWrong) {
  EXPECT_EQ(run({"load", "-"}, R"({"key":"dead","value":"1","deadline_ms":1000})"
                               "\n\n"
                               R"({"key":"new","value":"1","ttl_ms":60000})")
                .out,
            "1 keys loaded from standard input, 1 skipped as expired\n");
  const Done wrong =
      run({"load", "-"}, "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\"}\n{\"key\":\"c\"}\n");
  EXPECT_EQ(wrong.code, kNo);
  EXPECT_EQ(wrong.err, "cachee: standard input:2: no field value (1 keys were loaded before it)\n");
  EXPECT_TRUE(*cache_.contains("a"));
  EXPECT_FALSE(*cache_.contains("c"));
  EXPECT_EQ(run({"load", "/no/such/file"}).code, kNo);
}

TEST_F(Segment, AMomentIsDumpedAndLoadedAsItWasNamed) {
  constexpr std::int64_t kMomentMs = 32'503'680'000'123;  // in the year 3000
  ASSERT_TRUE(cache_.set("k", "v", {.deadline_wall_ms = kMomentMs}));
  const std::string dumped = run({"dump", "-", "--match", "k"}).out;
  EXPECT_NE(dumped.find("\"deadline_ms\":" + std::to_string(kMomentMs)), std::string::npos) << dumped;
  ASSERT_TRUE(cache_.clear());
  EXPECT_EQ(run({"load", "-"}, dumped).code, 0);
  EXPECT_EQ(cache_.inspect("k")->deadline_wall_ms, kMomentMs);
}

TEST_F(Segment, AnEndlessLineIsGivenUp) {
  const auto info = segment_info(cache_);
  const Done done = run({"load", "-"}, std::string(info->value_bytes_max * 6 + (8 << 20), 'x'));
  EXPECT_EQ(done.code, kNo);
  EXPECT_TRUE(has(done.err, "line is longer than")) << done.err;
}

TEST_F(Segment, AnUnfinishedDumpLeavesTheOldFile) {
  const std::string path = folder_.path("dump.jsonl");
  write_file(path, "precious\n");
  std::filesystem::create_directory(path + ".part");  // cannot be opened for writing
  EXPECT_EQ(run({"dump", path}).code, kNo);
  EXPECT_EQ(read_file(path), "precious\n");
}

TEST_F(Segment, BenchMeasuresAndCleansUp) {
  ASSERT_TRUE(cache_.set("mine", "v"));
  const Done done = run_json({"bench", "get", "set", "mixed", "--keys", "100", "--seconds", "0.05",
                              "--threads", "2", "--value-bytes", "1KiB"});
  EXPECT_EQ(done.code, 0) << done.err;
  const auto rows = from_json(done.out);
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->items().size(), 3U);
  for (const auto& row : rows->items()) {
    EXPECT_GT(row.find("operations")->as_count(), 100U) << done.out;
    EXPECT_GT(row.find("ops_per_second")->as_count(), 1000U) << done.out;
    EXPECT_EQ(row.find("failed")->as_count(), 0U);
    for (const char* name : {"p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"}) {
      EXPECT_NE(row.find(name), nullptr) << name;
    }
  }
  EXPECT_EQ(*cache_.size(), 1U) << "its own keys are gone, and nobody else's";
}

TEST_F(Segment, BenchRefusesToEvictTheUsersKeys) {
  const Done done = run({"bench", "get", "--keys", "1000000"});
  EXPECT_EQ(done.code, kNo);
  EXPECT_TRUE(has(done.err, "--keys")) << done.err;
  EXPECT_EQ(run({"bench", "event"}).code, 3) << "events need cacheed";
  EXPECT_EQ(*cache_.size(), 0U);
}

TEST_F(Segment, BenchSaysWhichTriggerItSetsOff) {
  publish("*", event_bit(EventKind::write), 1);
  const Done done = run({"bench", "get", "--keys", "10", "--seconds", "0.02"});
  EXPECT_TRUE(has(done.err, "trigger 'held'")) << done.err;
}

TEST_F(Segment, TopIsOneFrameWithoutATerminal) {
  ASSERT_TRUE(cache_.set("k", "v"));
  const Done done = run({"top", "--interval", "50ms"});
  EXPECT_EQ(done.code, 0);
  for (const char* text :
       {"memory", "ring", "per second", "gets", segment_.name().c_str(), "keys 1"}) {
    EXPECT_TRUE(has(done.out, text)) << text << " in\n" << done.out;
  }
  EXPECT_EQ(done.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(field(run_json({"top"}).out, {"keys"}).as_count(), 1U);
}

TEST_F(Segment, TopIsLiveOnATerminalAndEndsWithQ) {
  Terminal terminal{folder_, {"-n", segment_.name(), "top", "--interval", "50ms"}};
  terminal.wait_for("\x1b[?1049h");
  terminal.wait_for("keys 0");
  ASSERT_TRUE(cache_.set("k", "v"));
  terminal.wait_for("keys 1");
  terminal.type("q");
  EXPECT_EQ(terminal.wait_exit(), 0);
  EXPECT_TRUE(has(terminal.rest(), "\x1b[?1049l")) << "the screen is given back";
}

TEST_F(Segment, ATerminalIsNotSentWhatCouldDriveIt) {
  ASSERT_TRUE(cache_.set("evil", "\x1b]0;title\x07"));
  Terminal terminal{folder_, {"-n", segment_.name(), "get", "evil"}};
  terminal.wait_for("\"\\x1b]0;title\\a\"");
  EXPECT_EQ(terminal.wait_exit(), 0);
}

TEST_F(Segment, AReaderThatLeavesEndsTheProgramQuietly) {
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(cache_.set(std::string(100, 'k') + std::to_string(i), "v"));
  }
  const std::string command = std::string{CACHEE_PROGRAM} + " -n " + segment_.name() + " scan 2> " +
                              folder_.path("err") + " | head -1 > " + folder_.path("out");
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read_file(folder_.path("err")), "");
  EXPECT_FALSE(read_file(folder_.path("out")).empty());
}

}  // namespace
}  // namespace cachee::cli::test
