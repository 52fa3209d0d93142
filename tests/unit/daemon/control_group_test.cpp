// Goal: GROUP's words reach the broker as they are meant, and what waits for it holds up nobody else.
// Method: a broker that answers when the test says so, on another thread than the server's.
#include "control_support.hpp"

namespace cachee::daemon::testing {
namespace {

using namespace std::chrono_literals;

class GroupCommands : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(server.problem, ""); }
  /// A broker that keeps READs for take_read().
  FakeBroker& holding() {
    server.admin.broker.hold_reads = true;
    return server.admin.broker;
  }
  TestServer server{};
};

EventData sample() {
  EventData event;
  event.id = "5f3a9c1e-12";
  event.seq = 11;
  event.kind = EventKind::expire;
  event.cause = Cause::ttl;
  event.key = std::string{"s:\0 1", 5};
  event.value = "v\r\n";
  event.metadata = {{"user", "ada"}};
  event.timestamp_wall_us = 1'795'740'863'035'741;
  event.lag_us = 1500;
  event.attempt = 2;
  event.duplicate = true;
  event.provenance = {7, 5, 2};
  return event;
}

TEST_F(GroupCommands, CreateIsIdempotentAndSetReplaces) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("GROUP CREATE g s:* ON_EXPIRE,ON_EVICT RETRY 7 DEADLINE 5s"), "+OK");
  ASSERT_EQ(server.admin.triggers.size(), 1u);
  const TriggerSpec spec = server.admin.triggers[0];
  EXPECT_TRUE(spec.is_group);
  EXPECT_EQ(spec.name, "g");
  EXPECT_EQ(spec.events, event_bit(EventKind::expire) | event_bit(EventKind::evict));
  EXPECT_EQ(spec.timeout_ms, 5000u);
  EXPECT_EQ(client.show("GROUP CREATE g s:* ON_EXPIRE,ON_EVICT RETRY 7 DEADLINE 5s"), "+OK");
  EXPECT_TRUE(client.line("GROUP CREATE g s:* ON_EXPIRE").text.starts_with("BUSYGROUP "));
  EXPECT_EQ(client.show("GROUP SET g s:* ON_EXPIRE"), "+OK");
  EXPECT_EQ(server.admin.triggers[0].timeout_ms, kGroupDeadlineMsDefault);
  EXPECT_EQ(client.line("GROUP LIST").items.at(0).field("kind")->text, "group");
  EXPECT_EQ(client.line("TRIGGER LIST").items.at(0).field("kind")->text, "group");
  EXPECT_EQ(client.line("GROUP INFO g").field("deadline_ms")->integer, 30000);
  EXPECT_EQ(client.show("TRIGGER EXPORT"), "\"GROUP SET g s:* ON_EXPIRE\n\"");
  EXPECT_EQ(client.show("GROUP REMOVE g"), "+OK");
  EXPECT_TRUE(client.line("GROUP INFO g").text.starts_with("NOGROUP "));
}

TEST_F(GroupCommands, WordsThatDescribeAGroupAreReadBack) {
  for (const std::string_view line : {"g s:* ON_WRITE", "'a b' * ON_READ SAMPLE 10 DISABLED",
                                      "g s:* ON_DELETE PRIORITY -3 ON_FULL SHED RETRY 1 BACKOFF 10ms 20ms DEADLINE 1500ms"}) {
    const auto words = split_command_line(line).words;
    const std::vector<std::string_view> views(words.begin(), words.end());
    const auto spec = parse_group_words(views);
    ASSERT_TRUE(spec) << line << ": " << spec.failure().text;
    EXPECT_EQ(trigger_words(*spec), words);
  }
}

TEST_F(GroupCommands, ReadCarriesItsOptionsAndAnswersWithEveryField) {
  FakeBroker& broker = holding();
  RespClient client = server.client();
  client.send({"GROUP", "READ", "g", "me", "COUNT", "16", "BLOCK", "0", "DEADLINE", "250"});
  auto read = broker.take_read();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->first.group, "g");
  EXPECT_EQ(read->first.consumer, "me");
  EXPECT_EQ(read->first.count_max, 16u);
  EXPECT_EQ(read->first.block, 0ms);
  EXPECT_EQ(read->first.deadline, 250ms);
  std::vector<EventData> events;
  events.push_back(sample());
  read->second(std::move(events));
  const Answer answer = client.read();
  ASSERT_EQ(answer.items.size(), 1u);
  const Answer& event = answer.items[0];
  EXPECT_EQ(event.field("id")->text, "5f3a9c1e-12");
  EXPECT_EQ(event.field("type")->text, "expire");
  EXPECT_EQ(event.field("cause")->text, "ttl");
  EXPECT_EQ(event.field("key")->text, sample().key);
  EXPECT_EQ(event.field("value")->text, "v\r\n");
  EXPECT_TRUE(event.field("old_value")->null);
  EXPECT_EQ(event.field("metadata")->field("user")->text, "ada");
  EXPECT_EQ(event.field("timestamp")->text, "1795740863.035741");
  EXPECT_EQ(event.field("lag_ms")->text, "1.5");
  EXPECT_EQ(event.field("attempt")->integer, 2);
  EXPECT_EQ(event.field("duplicate")->integer, 1);
  EXPECT_EQ(event.field("chain")->text, "5f3a9c1e-5");
  EXPECT_EQ(event.field("parent")->text, "5f3a9c1e-7");
  EXPECT_EQ(event.field("origin")->field("kind")->text, "client");
  EXPECT_EQ(event.field("size")->integer, 3);
  EXPECT_EQ(event.items.size(), 44u);
}

TEST_F(GroupCommands, WaitingReaderHoldsUpNobodyAndItsConnectionAnswersInOrder) {
  FakeBroker& broker = holding();
  RespClient waiting = server.client();
  RespClient other = server.client();
  waiting.send_raw(encode_request({"GROUP", "READ", "g", "me", "BLOCK", "60000"}) + encode_request({"PING"}));
  auto read = broker.take_read();
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->first.deadline);
  EXPECT_EQ(other.show("PING"), "+PONG");
  EXPECT_EQ(other.show("SET k v"), "+OK");
  read->second(std::vector<EventData>{});
  EXPECT_TRUE(waiting.read().null);
  EXPECT_EQ(waiting.read().show(), "+PONG");
}

TEST_F(GroupCommands, FailuresHaveNamesOfTheirOwn) {
  FakeBroker& broker = holding();
  RespClient client = server.client();
  const std::pair<Errc, std::string> cases[] = {
      {Errc::not_found, "-NOGROUP why"}, {Errc::stale, "-STALE why"}, {Errc::full, "-FULL why"}, {Errc::busy, "-ERR why"}};
  for (const auto& [code, shown] : cases) {
    client.send({"GROUP", "READ", "g", "me"});
    auto read = broker.take_read();
    ASSERT_TRUE(read);
    read->second(Failure{code, "why"});
    EXPECT_EQ(client.read().show(), shown);
  }
}

TEST_F(GroupCommands, SettlesNameTheirConnectionAndItsEndIsTold) {
  FakeBroker& broker = server.admin.broker;
  {
    RespClient client = server.client();
    const auto id = static_cast<std::uint64_t>(client.line("CLIENT ID").integer);
    EXPECT_TRUE(client.line("GROUP READ g me").null);
    EXPECT_EQ(client.show("GROUP ACK g 5f-1 5f-2"), ":2");
    EXPECT_EQ(client.show("GROUP NACK g 5f-3 DELAY 40 ERROR 'no such user'"), ":1");
    const auto settled = broker.settled();
    ASSERT_EQ(settled.size(), 2u);
    EXPECT_EQ(settled[0].ids, (std::vector<std::string>{"5f-1", "5f-2"}));
    EXPECT_FALSE(settled[0].failed);
    EXPECT_EQ(settled[0].session, id);
    EXPECT_TRUE(settled[1].failed);
    EXPECT_EQ(settled[1].delay, 40ms);
    EXPECT_EQ(settled[1].error, "no such user");
  }
  EXPECT_TRUE(broker.wait_left(1)) << "the connection is gone, and the broker was not told";
}

TEST_F(GroupCommands, ReaderThatGoesWhileItWaitsIsForgotten) {
  FakeBroker& broker = holding();
  std::optional<std::pair<GroupRead, FakeBroker::ReadDone>> read;
  {
    RespClient client = server.client();
    client.send({"GROUP", "READ", "g", "me", "BLOCK", "0"});
    read = broker.take_read();
    ASSERT_TRUE(read);
  }
  ASSERT_TRUE(broker.wait_left(1));
  std::vector<EventData> events;
  events.push_back(sample());
  read->second(std::move(events));  // too late: nobody is there, and nobody minds
  EXPECT_EQ(server.client().show("PING"), "+PONG");
}

}  // namespace
}  // namespace cachee::daemon::testing
