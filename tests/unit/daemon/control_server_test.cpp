// Goal: the control socket serves many clients, good and bad, without one holding up another, and
// Cachee's own words do what interface.md says.
// Method: a real segment, a real server, real sockets; a fake dispatcher. What should happen is
// waited for with a deadline; nothing sleeps for a fixed time except to show that it stays away.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "control/commands/call.hpp"
#include "control/commands/reference.hpp"
#include "control/listener.hpp"
#include "control_support.hpp"

namespace cachee::daemon::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

bool readable(const RespClient& client, std::chrono::milliseconds patience) {
  pollfd poll_fd{client.fd(), POLLIN, 0};
  return ::poll(&poll_fd, 1, static_cast<int>(patience.count())) == 1;
}

template <class Done>
bool wait_until(Done&& done, std::chrono::milliseconds patience = 10s) {
  const auto deadline = Clock::now() + patience;
  while (!done()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

class Control : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(server.problem, ""); }
  TestServer server{};
};

// ---- Connections

TEST_F(Control, RepliesToPipelinesInOrder) {
  RespClient client = server.client();
  std::string batch;
  for (int i = 0; i < 5000; ++i) batch += encode_request({"INCR", "n"});
  std::thread writer{[&] { client.send_raw(batch); }};
  for (int i = 1; i <= 5000; ++i) ASSERT_EQ(client.read().integer, i);
  writer.join();
}

TEST_F(Control, RequestsMayComeByteByByte) {
  RespClient client = server.client();
  for (const char byte : encode_request({"SET", "k", "v\r\n"}) + "GET k\r\n") {
    ASSERT_TRUE(client.send_raw({&byte, 1}));
  }
  EXPECT_EQ(client.read().show(), "+OK");
  EXPECT_EQ(client.read().show(), "\"v\r\n\"");
}

TEST(ControlLimits, ValuesUpToTheSegmentsLimitGoInAndOutAndLargerOnesAreRefused) {
  SegmentOptions segment;
  segment.memory_bytes = 64u << 20;
  segment.value_bytes_max = 3u << 20;
  TestServer server{segment};
  ASSERT_EQ(server.problem, "");
  RespClient client = server.client();
  std::string large(3u << 20, 'L');
  EXPECT_EQ(client({"SET", "large", large}).show(), "+OK");
  EXPECT_EQ(client({"STRLEN", "large"}).integer, 3 << 20);
  EXPECT_EQ(client({"GET", "large"}).text, large);
  large += 'x';
  const Answer refused = client({"SET", "larger", large});
  EXPECT_TRUE(refused.text.starts_with("ERR string exceeds maximum allowed size (3MiB)"))
      << refused.show();
  EXPECT_TRUE(client({"APPEND", "large", "x"}).is_error());
  // Far more than that is not even kept, and the connection goes on.
  for (const std::size_t bytes : {4'000'000u, 20'000'000u}) {
    const Answer skipped = client({"SET", "larger", std::string(bytes, 'L')});
    EXPECT_TRUE(skipped.text.starts_with("ERR string exceeds maximum allowed size (3MiB)")) << skipped.show();
    EXPECT_NE(skipped.text.find("--max-value"), std::string::npos) << skipped.show();
  }
  EXPECT_EQ(client.show("EXISTS larger"), ":0");
  std::vector<std::string> many{"MSET"};
  for (int i = 0; i < 24; ++i) many.push_back(i % 2 == 0 ? "k" + std::to_string(i) : std::string(3u << 20, 'm'));
  EXPECT_TRUE(client(many).text.starts_with("ERR the command is longer than ")) << "of 36 MiB";
  EXPECT_EQ(client.show("PING"), "+PONG");
}

TEST_F(Control, LimitsOfKeysAndMetadataAreNamed) {
  RespClient client = server.client();
  const std::string long_key(65'537, 'k');
  const auto says = [&client](const std::vector<std::string>& words, std::string_view limit) {
    const Answer answer = client(words);
    EXPECT_TRUE(answer.is_error() && answer.text.find(limit) != std::string::npos) << words[0] << ' ' << answer.show().substr(0, 300);
  };
  says({"SET", long_key, "v"}, "65536");
  says({"SET", "k", "v", "DEPENDS_ON", long_key}, "65536");
  says({"SET", "k", "v", "META", "f", std::string(65'537, 'm')}, "65536");
  says({"SET", "k", "v", "META", "f", std::string(40'000, 'm'), "DEPENDS_ON", std::string(40'000, 'p')}, "65536");
  std::vector<std::string> fields{"SET", "k", "v"};
  for (int i = 0; i < 65; ++i) fields.insert(fields.end(), {"META", "f" + std::to_string(i), "v"});
  says(fields, "64");
  EXPECT_EQ(client.show("EXISTS k"), ":0");
  EXPECT_EQ(client({"SET", "k", "v", "META", "f", std::string(65'536 - 9, 'm')}).show(), "+OK");
  EXPECT_EQ(error_text(Error{Errc::invalid_argument, 0, 0}).find("ERR invalid argument") == 0, true);
  EXPECT_NE(error_text(Error{Errc::invalid_argument, 0, 0}).find("65536"), std::string::npos);
}

TEST_F(Control, ConnectionThatSpeaksHttpIsClosedBeforeItsBodyIsRead) {
  for (const char* bytes : {"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET pwned 1\r\n", "pOsT\r\nSET pwned 1\r\n",
                            "PUT / HTTP/1.1\r\nhoSt: localhost\r\n\r\nSET pwned 1\r\n",
                            "*1\r\n$5\r\nHOST:\r\nSET pwned 1\r\n"}) {
    RespClient client = server.client();
    client.send_raw(bytes);
    if (std::string_view{bytes}.starts_with("PUT")) {
      EXPECT_TRUE(client.read().text.starts_with("ERR unknown command 'PUT'"));
    }
    EXPECT_TRUE(client.at_end()) << bytes;
  }
  RespClient other = server.client();
  EXPECT_EQ(other.show("EXISTS pwned"), ":0");
}

TEST_F(Control, HelloSaysTheRedisThatTheCommandsAreLike) {
  RespClient client = server.client();
  const Answer hello = client.line("HELLO 2");
  ASSERT_NE(hello.field("version"), nullptr);
  EXPECT_EQ(hello.field("server")->text, "cachee");
  EXPECT_EQ(hello.field("version")->text, kRedisVersion);
  const std::string info = client.line("INFO server").text;
  EXPECT_NE(info.find("redis_version:" + hello.field("version")->text + "\r\n"), std::string::npos) << info;
}

TEST_F(Control, LooksAtAKeyAreCountedAsInRedis) {
  RespClient client = server.client();
  client.line("SET k v EX 1000");
  const auto counted = [&](const char* name) {
    const std::string info = client.line("INFO stats").text;
    return std::strtol(info.c_str() + info.find(name) + std::strlen(name), nullptr, 10);
  };
  const auto grown = [&](const std::string& line) {
    const long hits = counted("keyspace_hits:"), misses = counted("keyspace_misses:");
    client.line(line);
    return std::pair{counted("keyspace_hits:") - hits, counted("keyspace_misses:") - misses};
  };
  for (const char* line : {"EXISTS", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "TYPE", "OBJECT IDLETIME", "OBJECT FREQ"}) {
    EXPECT_EQ(grown(std::string{line} + " k"), (std::pair{1L, 0L})) << line;
    EXPECT_EQ(grown(std::string{line} + " absent"), (std::pair{0L, 1L})) << line;
  }
  for (const char* line : {"MEMORY USAGE k", "MEMORY USAGE absent", "RENAME absent other"}) {
    EXPECT_EQ(grown(line), (std::pair{0L, 0L})) << line;
  }
}

TEST_F(Control, UseOfAKeyIsCountedWhereThePolicyCountsIt) {
  RespClient client = server.client();
  client.line("SET k v");
  EXPECT_EQ(client.show("OBJECT FREQ k"), ":0");
  client.line("GET k");
  const Answer used = client.line("OBJECT FREQ k");
  EXPECT_EQ(client.show("OBJECT FREQ k"), used.show()) << "to ask is no use";
  for (const auto policy : {EvictionPolicy::lru, EvictionPolicy::none}) {
    server.keeper->set_eviction_policy(policy);
    EXPECT_TRUE(client.line("OBJECT FREQ k").text.starts_with("ERR An LFU maxmemory policy is not selected"));
    EXPECT_EQ(client.show("OBJECT FREQ nothing"), "nil");
  }
  server.keeper->set_eviction_policy(EvictionPolicy::cost);
  EXPECT_EQ(client.line("OBJECT FREQ k").kind, ':');
}

TEST_F(Control, ConfigSetChangesAllOrNothing) {
  RespClient client = server.client();
  const auto refused = [&](const char* line, std::string_view why) {
    const Answer answer = client.line(line);
    EXPECT_TRUE(answer.is_error() && answer.text.find(why) != std::string::npos) << line << answer.show();
    EXPECT_EQ(server.settings.at("log-level"), "info") << line;
  };
  refused("CONFIG SET log-level debug memory 1GiB", "'memory') - memory needs a restart");
  refused("CONFIG SET log-level debug nosuch 1", "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
  refused("CONFIG SET log-level debug LOG-LEVEL warn", "'LOG-LEVEL') - duplicate parameter");
  refused("CONFIG SET log-level debug save", "ERR syntax error");
  refused("CONFIG SET log-level debug save \"\"", "'save') - can't set immutable config");
  EXPECT_EQ(client.show("CONFIG SET log-level debug"), "+OK");
  EXPECT_EQ(server.settings.at("log-level"), "debug");
}

TEST_F(Control, DefaultNameHasTheEventsInTheOrderAsWritten) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("TRIGGER REGISTER o:* ON_EXPIRE,on_delete,ON_EXPIRE,ON_EVICT return"), "+OK");
  EXPECT_EQ(server.admin.triggers.at(0).name, "o:*@ON_EXPIRE,ON_DELETE,ON_EVICT");
  const std::string exported = client.line("TRIGGER EXPORT").text;
  EXPECT_EQ(client.show("TRIGGER REMOVE o:*@ON_EXPIRE,ON_DELETE,ON_EVICT"), "+OK");
  EXPECT_EQ(client({"TRIGGER", "IMPORT", exported}).show(), ":1");
  EXPECT_EQ(client.show("TRIGGER REMOVE o:*@ON_EXPIRE,ON_DELETE,ON_EVICT"), "+OK");
}

TEST_F(Control, ProtocolErrorsEndThatConnectionOnly) {
  RespClient other = server.client();
  for (const char* bytes : {"*1\r\n$-5\r\n", "*99999999999\r\n", "*1\r\n:3\r\n", "GET \"x\r\n"}) {
    RespClient client = server.client();
    client.send_raw(bytes);
    const Answer answer = client.read();
    EXPECT_TRUE(answer.text.starts_with("ERR Protocol error")) << bytes << answer.show();
    EXPECT_TRUE(client.at_end()) << bytes;
  }
  EXPECT_EQ(other.show("PING"), "+PONG");
}

TEST_F(Control, ReplyComesBeforeTheEndAfterQuitAndHalfClose) {
  RespClient client = server.client();
  client.send_raw("PING\r\nQUIT\r\nPING\r\n");
  EXPECT_EQ(client.read().show(), "+PONG");
  EXPECT_EQ(client.read().show(), "+OK");
  EXPECT_TRUE(client.at_end());
  RespClient half = server.client();
  half.send_raw("SET h 1\r\nGET h\r\nGET");
  ::shutdown(half.fd(), SHUT_WR);
  EXPECT_EQ(half.read().show(), "+OK");
  EXPECT_EQ(half.read().show(), "\"1\"");
  EXPECT_TRUE(half.at_end());
}

TEST_F(Control, CommandsOfClientsThatLeaveAtOnceAreCarriedOut) {
  for (int i = 0; i < 50; ++i) {
    RespClient client = server.client();
    client.send({"SET", "left" + std::to_string(i), "x"});
  }
  RespClient client = server.client();
  EXPECT_TRUE(wait_until([&] { return client({"DBSIZE"}).integer == 50; }));
}

TEST_F(Control, ManyConnectionsAreServedAndKnown) {
  std::vector<RespClient> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(server.client());
    ASSERT_TRUE(clients.back().connected());
    clients.back().send({"CLIENT", "SETNAME", "c" + std::to_string(i)});
  }
  for (RespClient& client : clients) ASSERT_EQ(client.read().show(), "+OK");
  const std::string list = clients[0].line("CLIENT LIST").text;
  EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 300);
  EXPECT_NE(list.find("name=c299 "), std::string::npos);
  const std::int64_t id = clients[7].line("CLIENT ID").integer;
  const std::string mine = clients[7].line("CLIENT INFO").text;
  EXPECT_TRUE(mine.starts_with("id=" + std::to_string(id) + " ")) << mine;
  EXPECT_NE(mine.find("name=c7 "), std::string::npos);
  EXPECT_EQ(clients[0].line("CLIENT LIST ID " + std::to_string(id)).text.substr(0, 5), mine.substr(0, 5));
  while (clients.size() > 1) clients.pop_back();
  EXPECT_TRUE(wait_until([&] {
    const std::string left = clients[0].line("CLIENT LIST TYPE normal").text;
    return std::count(left.begin(), left.end(), '\n') == 1;
  }));
}

TEST(ControlLimits, ConnectionsBeyondTheLimitAreRefusedWithAWord) {
  ControlOptions options;
  options.connections_max = 2;
  TestServer server{{}, options};
  ASSERT_EQ(server.problem, "");
  RespClient one = server.client();
  RespClient two = server.client();
  EXPECT_EQ(one.show("PING"), "+PONG");
  EXPECT_EQ(two.show("PING"), "+PONG");
  RespClient three = server.client();
  EXPECT_EQ(three.read().show(), "-ERR max number of clients reached");
  EXPECT_TRUE(three.at_end());
  two.close();
  EXPECT_TRUE(wait_until([&] { return server.client().show("PING") == "+PONG"; }));
  EXPECT_NE(one.line("INFO stats").text.find("rejected_connections:"), std::string::npos);
}

TEST(ControlLimits, ClientThatDoesNotReadIsNotReadFromAndInTheEndClosed) {
  ControlOptions options;
  options.stalled_max = 300ms;
  TestServer server{{}, options};
  ASSERT_EQ(server.problem, "");
  RespClient other = server.client();
  EXPECT_EQ(other({"SET", "v", std::string(1 << 20, 'v')}).show(), "+OK");
  RespClient slow = server.client();
  EXPECT_EQ(slow.show("PING"), "+PONG");
  std::string batch;
  for (int i = 0; i < 500; ++i) batch += "GET v\r\n";
  ASSERT_TRUE(slow.send_raw(batch));
  // 500 MiB were asked for; what the server keeps for it stays small.
  EXPECT_TRUE(wait_until([&] {
    const std::string list = other.line("CLIENT LIST").text;
    const auto at = list.find("omem=");
    EXPECT_NE(at, std::string::npos);
    std::size_t largest = 0;
    for (auto pos = list.find("omem="); pos != std::string::npos; pos = list.find("omem=", pos + 1)) {
      largest = std::max<std::size_t>(largest, std::stoull(list.substr(pos + 5)));
    }
    EXPECT_LT(largest, 4u << 20);
    return std::count(list.begin(), list.end(), '\n') == 1;
  }));
  EXPECT_EQ(other.show("PING"), "+PONG");
}

TEST(ControlLimits, BuffersOfAllConnectionsTogetherAreBounded) {
  ControlOptions options;
  options.buffers_bytes_max = 8u << 20;
  TestServer server{{}, options};
  ASSERT_EQ(server.problem, "");
  std::vector<RespClient> hoarders;
  // Each sends most of a large argument and then waits.
  for (int i = 0; i < 8; ++i) {
    hoarders.push_back(server.client());
    hoarders.back().send_raw("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\n");
    hoarders.back().send_raw(std::string(3'000'000, 'x'));
  }
  RespClient client = server.client();
  EXPECT_EQ(client.show("PING"), "+PONG");
  EXPECT_TRUE(wait_until([&] {
    const std::string list = client.line("CLIENT LIST").text;
    return std::count(list.begin(), list.end(), '\n') <= 4;
  }));
}

// ---- Places

TEST(ControlPlaces, SocketHasTheModeThatWasAskedForAndGoesAtTheEnd) {
  TempFolder folder;
  ControlOptions options;
  options.socket_path = folder.path() + "/deeper/x.sock";
  options.mode = 0600;
  {
    TestServer server{{}, options};
    ASSERT_EQ(server.problem, "");
    struct stat status {};
    ASSERT_EQ(::stat(options.socket_path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777u, 0600u);
    TestServer second{{}, options};
    EXPECT_NE(second.problem.find("another server answers"), std::string::npos) << second.problem;
    EXPECT_NE(second.problem.find(options.socket_path), std::string::npos);
    EXPECT_EQ(server.client().show("PING"), "+PONG");
  }
  EXPECT_FALSE(std::filesystem::exists(options.socket_path));
}

TEST(ControlPlaces, LeftOverSocketIsReplacedAndAnythingElseIsNot) {
  TempFolder folder;
  ControlOptions options;
  options.socket_path = folder.path() + "/x.sock";
  {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, options.socket_path.data(), options.socket_path.size());
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ::close(fd);  // as after a kill -9: the file stays
  }
  {
    TestServer server{{}, options};
    ASSERT_EQ(server.problem, "");
    EXPECT_EQ(server.client().show("PING"), "+PONG");
  }
  std::ofstream{options.socket_path} << "precious";
  TestServer server{{}, options};
  EXPECT_NE(server.problem.find("is not a socket"), std::string::npos) << server.problem;
  std::string text;
  std::ifstream{options.socket_path} >> text;
  EXPECT_EQ(text, "precious");
}

TEST(ControlPlaces, PathsThatAreTooLongAreRefusedWithTheirLimit) {
  ControlOptions options;
  options.socket_path = "/tmp/" + std::string(120, 'x');
  TestServer server{{}, options};
  EXPECT_NE(server.problem.find("107"), std::string::npos) << server.problem;
}

int connect_tcp(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

TEST(ControlPlaces, TcpAsksForThePasswordAndTheUnixSocketDoesNot) {
  ControlOptions options;
  options.listen = parse_listen_address("127.0.0.1:0");
  options.password = "s3cret";
  TestServer server{{}, options};
  ASSERT_EQ(server.problem, "");
  EXPECT_EQ(server.client().show("GET k"), "nil");
  RespClient tcp{connect_tcp(server.server->tcp_port())};
  ASSERT_TRUE(tcp.connected());
  EXPECT_EQ(tcp.show("GET k"), "-NOAUTH Authentication required.");
  EXPECT_EQ(tcp.line("HELLO 3").text,
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
            "option can be used to authenticate the client and select the RESP protocol version at the same time");
  EXPECT_TRUE(tcp.line("AUTH wrong").text.starts_with("WRONGPASS"));
  EXPECT_TRUE(tcp.line("AUTH s3cre").text.starts_with("WRONGPASS"));
  EXPECT_TRUE(tcp.line("AUTH s3crets").text.starts_with("WRONGPASS"));
  EXPECT_TRUE(tcp.line("AUTH somebody s3cret").text.starts_with("WRONGPASS"));
  EXPECT_EQ(tcp.show("AUTH s3cret"), "+OK");
  EXPECT_EQ(tcp.show("GET k"), "nil");
  RespClient hello{connect_tcp(server.server->tcp_port())};
  EXPECT_EQ(hello.line("HELLO 3 AUTH default s3cret SETNAME me").kind, '%');
  EXPECT_EQ(hello.show("CLIENT GETNAME"), "\"me\"");
  RespClient stranger{connect_tcp(server.server->tcp_port())};
  stranger.send_raw("*1\r\n$100000\r\n");
  EXPECT_EQ(stranger.read().show(), "-ERR Protocol error: unauthenticated bulk length");
}

TEST(ControlPlaces, TcpOutsideLoopbackNeedsAPassword) {
  ControlOptions options;
  options.listen = parse_listen_address("0.0.0.0:0");
  const TestServer open_to_all{{}, options};
  EXPECT_NE(open_to_all.problem.find("--password-file"), std::string::npos) << open_to_all.problem;
  options.password = "pw";
  const TestServer guarded{{}, options};
  EXPECT_EQ(guarded.problem, "");
}

TEST_F(Control, StopEndsEveryConnectionAlsoThoseThatWait) {
  RespClient sleeper = server.client();
  sleeper.send({"DEBUG", "SLEEP", "1000"});
  RespClient idle = server.client();
  EXPECT_EQ(idle.show("PING"), "+PONG");
  const auto start = Clock::now();
  server.server->stop();
  EXPECT_LT(Clock::now() - start, 2s);
  EXPECT_TRUE(idle.at_end());
  EXPECT_TRUE(sleeper.at_end());
  EXPECT_FALSE(RespClient{server.options.socket_path}.connected());
}

TEST_F(Control, ShutdownIsPassedOnAndAnsweredBySilence) {
  RespClient client = server.client();
  client.send({"SHUTDOWN", "NOSAVE"});
  EXPECT_TRUE(client.at_end());
  EXPECT_TRUE(server.shutdown_asked);
}

// ---- Waiting

class ControlEvents : public Control {
 protected:
  void publish(OnFull on_full = OnFull::block, std::uint32_t block_ms = 300) {
    TriggerSpec spec;
    spec.name = "t";
    spec.pattern = "t:*";
    spec.events = event_bit(EventKind::write) | event_bit(EventKind::del);
    spec.source = "return";
    spec.on_full = on_full;
    spec.block_ms = block_ms;
    spec.id = 1;
    TriggerTable table;
    table.generation = trigger_generation(server.keeper->cache()) + 1;
    table.triggers.push_back(spec);
    const auto done = server.keeper->publish_triggers(table, 5s);
    ASSERT_TRUE(done) << to_string(done.error());
  }
  std::uint64_t pending() {
    const EventReader reader = server.keeper->reader();
    return reader.tail() - reader.head();
  }
  void acknowledge_all() {
    const EventReader reader = server.keeper->reader();
    const std::uint64_t tail = reader.tail();
    for (std::uint64_t seq = reader.head(); seq < tail; ++seq) {
      server.keeper->acknowledge(EventSeq{seq});
    }
    server.keeper->answer_waits([tail](EventSeq seq) { return seq.value < tail; });
    server.keeper->release_through(tail, {});
  }
};

TEST_F(ControlEvents, WaitReturnsWhenTheEventIsAcknowledgedAndOthersGoOn) {
  publish();
  RespClient waiter = server.client();
  waiter.send({"SET", "t:1", "v", "WAIT", "10000"});
  waiter.send({"GET", "t:1"});
  ASSERT_TRUE(wait_until([&] { return pending() == 1; }));
  RespClient other = server.client();
  EXPECT_EQ(other.show("GET t:1"), "\"v\"");
  EXPECT_NE(other.line("INFO clients").text.find("blocked_clients:1\r\n"), std::string::npos);
  EXPECT_FALSE(readable(waiter, 50ms));
  acknowledge_all();
  EXPECT_EQ(waiter.read().show(), "+OK");
  EXPECT_EQ(waiter.read().show(), "\"v\"");
  waiter.send({"DEL", "t:1", "nothing", "WAIT", "10000"});
  EXPECT_FALSE(readable(waiter, 50ms));
  acknowledge_all();
  EXPECT_EQ(waiter.read().show(), ":1");
  EXPECT_EQ(waiter.show("SET free v WAIT 10000"), "+OK");
}

TEST_F(ControlEvents, WaitThatIsTooShortSaysSoAndTheWriteStands) {
  publish();
  RespClient client = server.client();
  const auto start = Clock::now();
  const Answer answer = client.line("SET t:1 v WAIT 50");
  EXPECT_TRUE(answer.text.starts_with("WAITTIMEOUT ")) << answer.show();
  EXPECT_GE(Clock::now() - start, 50ms);
  EXPECT_EQ(client.show("GET t:1"), "\"v\"");
  EXPECT_TRUE(client.line("SET t:1 v WAIT 0").is_error());
  EXPECT_TRUE(client.line("SET t:1 v WAIT abc").is_error());
}

TEST_F(ControlEvents, ClientThatGoesWhileItWaitsLeavesNothingBehind) {
  publish();
  {
    RespClient waiter = server.client();
    waiter.send({"SET", "t:1", "v", "WAIT", "100000"});
    ASSERT_TRUE(wait_until([&] { return pending() == 1; }));
  }
  RespClient other = server.client();
  EXPECT_TRUE(wait_until([&] {
    return other.line("INFO clients").text.find("blocked_clients:0\r\n") != std::string::npos;
  }));
}

TEST_F(Control, SleepHoldsUpItsOwnConnectionOnly) {
  RespClient sleeper = server.client();
  const auto start = Clock::now();
  sleeper.send({"DEBUG", "SLEEP", "0.2"});
  RespClient other = server.client();
  EXPECT_EQ(other.show("PING"), "+PONG");
  EXPECT_LT(Clock::now() - start, 150ms);
  EXPECT_EQ(sleeper.read().show(), "+OK");
  EXPECT_GE(Clock::now() - start, 200ms);
}

TEST(ControlPressure, WritersThatWaitForTheRingHoldUpNobodyElse) {
  SegmentOptions segment;
  segment.ring_events = kRingEventsMin;
  segment.clients_max = 16;
  TestServer server{segment};
  ASSERT_EQ(server.problem, "");
  TriggerSpec spec;
  spec.name = "t";
  spec.pattern = "t:*";
  spec.events = event_bit(EventKind::write);
  spec.source = "return";
  spec.block_ms = 1500;
  spec.id = 1;
  TriggerTable table;
  table.generation = trigger_generation(server.keeper->cache()) + 1;
  table.triggers.push_back(spec);
  ASSERT_TRUE(server.keeper->publish_triggers(table, 5s));
  // Nobody handles events: some write meets the full ring.
  RespClient filler = server.client();
  std::string refusal;
  std::vector<RespClient> writers;
  for (int i = 0; i < 4; ++i) writers.push_back(server.client());
  for (int i = 0; i < 1000 && refusal.empty(); ++i) {
    const Answer answer = filler({"SET", "t:" + std::to_string(i), "v"});
    if (answer.is_error()) refusal = answer.text;
  }
  EXPECT_TRUE(refusal.starts_with("BACKPRESSURE ")) << refusal;
  for (RespClient& writer : writers) writer.send({"SET", "t:x", "v"});
  RespClient reader = server.client();
  const auto start = Clock::now();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(reader.show("GET t:0"), "\"v\"");
    ASSERT_EQ(reader.show("PING"), "+PONG");
  }
  EXPECT_LT(Clock::now() - start, 1s) << "readers waited for writers";
  for (RespClient& writer : writers) {
    EXPECT_TRUE(writer.read().text.starts_with("BACKPRESSURE "));
  }
  EXPECT_EQ(reader.show("EXISTS t:x"), ":0");
  EXPECT_EQ(reader.show("SET free v"), "+OK") << "no trigger wants this key";
}

// ---- What others must answer

TEST_F(Control, WhatTheDispatcherMustAnswerHoldsUpItsOwnConnectionOnly) {
  RespClient other = server.client();
  const std::vector<std::string> slow_commands[] = {{"TRIGGER", "TEST", "return wait()", "{}"},
                                                    {"TRIGGER", "REGISTER", "k:*", "ON_WRITE", "return wait()"},
                                                    {"TRIGGER", "IMPORT", "TRIGGER REGISTER i:* ON_WRITE 'return wait()'\n"}};
  std::vector<RespClient> askers;
  for (const auto& command : slow_commands) {
    RespClient& asker = askers.emplace_back(server.client());
    // What comes behind it in the same pipeline is answered behind it.
    asker.send_raw(encode_request({"SET", "before", "1"}) + encode_request(command) + encode_request({"INCR", "before"}) +
                   encode_request({"PING", "behind"}));
    EXPECT_EQ(asker.read().show(), "+OK");
    ASSERT_TRUE(wait_until([&] { return server.admin.waiting == static_cast<int>(askers.size()); }));
    for (int i = 0; i < 20; ++i) {
      const auto start = Clock::now();
      ASSERT_EQ(other.show("PING"), "+PONG");
      ASSERT_EQ(other.show("GET before"), "\"1\"");
      ASSERT_LT(Clock::now() - start, 500ms) << command[1];
    }
    EXPECT_FALSE(readable(asker, 20ms)) << command[1];
  }
  server.admin.let_go();
  EXPECT_EQ(askers[0].read().show(), "\"source return wait() {}\"");
  EXPECT_EQ(askers[1].read().show(), "+OK");
  EXPECT_EQ(askers[2].read().show(), ":1");
  for (RespClient& asker : askers) {
    EXPECT_EQ(asker.read().kind, ':');
    EXPECT_EQ(asker.read().show(), "\"behind\"");
  }
}

TEST_F(Control, HandlersThatAreTriedKeepNoQuestionWaiting) {
  std::vector<RespClient> testers;
  for (int i = 0; i < 8; ++i) {
    testers.push_back(server.client());
    testers.back().send({"TRIGGER", "TEST", "return wait()", "{}"});
  }
  ASSERT_TRUE(wait_until([&] { return server.admin.waiting == 4; }));
  RespClient other = server.client();
  EXPECT_EQ(other.show("TRIGGER LIST"), "[]");
  EXPECT_EQ(other.show("SET k v"), "+OK");
  server.admin.let_go();
  for (RespClient& tester : testers) EXPECT_EQ(tester.read().show(), "\"source return wait() {}\"");
}

TEST_F(Control, ClientThatGoesWhileItAsksLeavesNothingBehind) {
  {
    RespClient asker = server.client();
    asker.send({"TRIGGER", "TEST", "return wait()", "{}"});
    ASSERT_TRUE(wait_until([&] { return server.admin.waiting == 1; }));
  }
  RespClient other = server.client();
  EXPECT_EQ(other.show("PING"), "+PONG");
  server.admin.let_go();
  ASSERT_TRUE(wait_until([&] { return server.admin.waiting == 0; }));
  EXPECT_EQ(other.show("TRIGGER LIST"), "[]");
}

// ---- Cachee's own words

TEST_F(Control, SetKeepsCostMetadataAndDependencies) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("SET k v COST 2.5 META user ada META tier gold META user bob DEPENDS_ON p "
                        "DEPENDS_ON q EX 100"),
            "+OK");
  const auto entry = server.keeper->cache().inspect("k");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->cost, 2.5);
  const Metadata expected{{"user", "bob"}, {"tier", "gold"}};
  EXPECT_EQ(entry->metadata, expected);
  EXPECT_EQ(entry->depends_on, (std::vector<std::string>{"p", "q"}));
  ASSERT_TRUE(entry->ttl);
  for (const char* change : {"APPEND k x", "SETRANGE k 0 y", "EXPIRE k 50"}) {
    client.line(change);
    EXPECT_EQ(server.keeper->cache().inspect("k")->metadata, expected) << change;
  }
  EXPECT_EQ(client.show("RENAME k renamed"), "+OK");
  EXPECT_EQ(client.show("COPY renamed copied"), ":1");
  for (const char* key : {"renamed", "copied"}) {
    const auto moved = server.keeper->cache().inspect(key);
    ASSERT_TRUE(moved) << key;
    EXPECT_EQ(moved->value, "yx");
    EXPECT_EQ(moved->cost, 2.5);
    EXPECT_EQ(moved->metadata, expected);
    EXPECT_EQ(moved->depends_on, (std::vector<std::string>{"p", "q"}));
    ASSERT_TRUE(moved->ttl);
    EXPECT_LE(*moved->ttl, 50s);
  }
  EXPECT_EQ(client.show("COPY renamed p REPLACE"), ":1");
  EXPECT_EQ(server.keeper->cache().inspect("p")->depends_on, std::vector<std::string>{"q"}) << "a key cannot depend on itself";
  EXPECT_EQ(client.show("EXISTS k"), ":0");
}

TEST_F(Control, BadOptionsOfSetAreNamed) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("SET k v COST abc"), "-ERR bad cost 'abc': expected a positive number");
  EXPECT_EQ(client.show("SET k v COST 0"), "-ERR bad cost '0': expected a positive number");
  EXPECT_EQ(client.show("SET k v COST inf"), "-ERR bad cost 'inf': expected a positive number");
  EXPECT_EQ(client.show("SET k v META a"), "-ERR syntax error");
  EXPECT_EQ(client.show("SET k v IFVER x"), "-ERR value is not an integer or out of range");
  EXPECT_EQ(client.show("SET k v IFVER 1 NX"), "-ERR syntax error");
  EXPECT_EQ(client.show("SET k v DEPENDS_ON"), "-ERR syntax error");
  EXPECT_EQ(client.show("EXISTS k"), ":0");
  EXPECT_TRUE(client({"SET", std::string(70'000, 'k'), "v"}).text.starts_with("ERR key is 70000"));
}

TEST_F(Control, VersionsGuardAgainstLostUpdates) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("GETVER k"), "nil");
  client.line("SET k a");
  const Answer answer = client.line("GETVER k");
  ASSERT_EQ(answer.items.size(), 2u);
  EXPECT_EQ(answer.items[0].text, "a");
  const std::string version = std::to_string(answer.items[1].integer);
  EXPECT_EQ(client.show("SET k b IFVER " + version), "+OK");
  EXPECT_EQ(client.show("SET k c IFVER " + version), "nil");
  EXPECT_EQ(client.show("SET k c IFVER " + version + " GET"), "\"b\"");
  EXPECT_EQ(client.show("SET nothing c IFVER 1"), "nil");
  EXPECT_EQ(client.show("GET k"), "\"b\"");
}

TEST_F(Control, DependenciesAreAddedAndCyclesRefused) {
  RespClient client = server.client();
  client.line("MSET a 1 b 2 c 3 d 4");
  EXPECT_EQ(client.show("DEPENDS_ON a b c"), "+OK");
  EXPECT_EQ(client.show("DEPENDS_ON a c d"), "+OK");
  EXPECT_EQ(server.keeper->cache().inspect("a")->depends_on,
            (std::vector<std::string>{"b", "c", "d"}));
  EXPECT_EQ(client.show("DEPENDS_ON b c"), "+OK");
  EXPECT_EQ(client.show("DEPENDS_ON a a"), "-ERR cycle detected: a -> a");
  EXPECT_EQ(client.show("DEPENDS_ON b a"), "-ERR cycle detected: b -> a -> b");
  EXPECT_EQ(client.show("DEPENDS_ON c a"), "-ERR cycle detected: c -> a -> c");
  EXPECT_EQ(client.show("DEPENDS_ON c x b"), "-ERR cycle detected: c -> b -> c");
  EXPECT_TRUE(server.keeper->cache().inspect("c")->depends_on.empty());
  EXPECT_EQ(client.show("SET d 4 DEPENDS_ON a"), "-ERR cycle detected: d -> a -> d");
  EXPECT_EQ(client.show("DEPENDS_ON a future"), "+OK");
  EXPECT_EQ(client.show("DEPENDS_ON nothing a"), "-ERR no such key");
  EXPECT_EQ(client.show("GET a"), "\"1\"");
}

TEST_F(Control, InvalidateDeletesAndCounts) {
  RespClient client = server.client();
  client.line("MSET a 1 b 2");
  EXPECT_EQ(client.show("INVALIDATE a b nothing"), ":2");
  EXPECT_EQ(client.show("DBSIZE"), ":0");
}

TEST_F(Control, TriggersAreRegisteredShownAndRemoved) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("TRIGGER LIST"), "[]");
  EXPECT_EQ(client({"trigger", "register", "k:*", "on_write,ON_EXPIRE", "NAME", "n", "PRIORITY",
                    "-3", "ON_FULL", "BLOCK", "2s", "RETRY", "7", "BACKOFF", "1s", "2m", "TIMEOUT",
                    "250ms", "MEMORY", "2MiB", "STEPS", "500", "MAXDEPTH", "2", "DISABLED",
                    "return 1\n"})
                .show(),
            "+OK");
  ASSERT_EQ(server.admin.triggers.size(), 1u);
  const TriggerSpec& spec = server.admin.triggers[0];
  EXPECT_EQ(spec.events, event_bit(EventKind::write) | event_bit(EventKind::expire));
  EXPECT_EQ(spec.block_ms, 2000u);
  EXPECT_EQ(spec.backoff_max_ms, 120'000u);
  EXPECT_EQ(spec.memory_bytes, 2u << 20);
  EXPECT_FALSE(spec.enabled);
  const Answer list = client.line("TRIGGER LIST");
  ASSERT_EQ(list.items.size(), 1u);
  EXPECT_EQ(list.items[0].field("name")->text, "n");
  EXPECT_EQ(list.items[0].field("events")->text, "ON_WRITE,ON_EXPIRE");
  const Answer info = client.line("TRIGGER INFO n");
  EXPECT_EQ(info.field("priority")->integer, -3);
  EXPECT_EQ(info.field("retry")->integer, 7);
  EXPECT_EQ(client.show("TRIGGER SOURCE n"), "\"return 1\n\"");
  EXPECT_EQ(client.show("TRIGGER ENABLE n"), "+OK");
  EXPECT_TRUE(server.admin.triggers[0].enabled);
  EXPECT_EQ(client.show("TRIGGER DISABLE n"), "+OK");
  EXPECT_EQ(client.show("TRIGGER PAUSE n"), "+OK");
  EXPECT_TRUE(server.admin.triggers[0].paused);
  EXPECT_EQ(client.show("TRIGGER RESUME n"), "+OK");
  EXPECT_EQ(client.line("TRIGGER STATS n").field("runs")->integer, 7);
  EXPECT_EQ(client.line("TRIGGER STATS").items.at(0).field("slowest_ms")->text, "1.5");
  EXPECT_EQ(client.show("TRIGGER TEST n {}"), "\"named n {}\"");
  EXPECT_EQ(client.show("TRIGGER TEST 'return 2' {}"), "\"source return 2 {}\"");
  EXPECT_EQ(client.show("TRIGGER TEST return {}"), "\"source return {}\"");
  EXPECT_EQ(client.show("TRIGGER TEST o:*@ON_WRITE {}"), "-ERR no such trigger: o:*@ON_WRITE");
  EXPECT_EQ(client.show("TRIGGER TEST m {}"), "-ERR no such trigger: m (did you mean n?)");
  EXPECT_EQ(client.show("TRIGGER REMOVE n"), "+OK");
  EXPECT_EQ(client.show("TRIGGER REMOVE n"), "-ERR no such trigger: n");
  EXPECT_EQ(client.show("TRIGGER SET k:* ON_READ return"), "+OK");
  EXPECT_EQ(server.admin.triggers[0].name, "k:*@ON_READ");
}

TEST_F(Control, BadRegistrationsNameTheBadWord) {
  RespClient client = server.client();
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"TRIGGER REGISTER", {"<pattern>", "<source>"}},
      {"TRIGGER REGISTER k:*", {"<EVENT>"}},
      {"TRIGGER REGISTER k:* ON_WRITE", {"<source>"}},
      {"TRIGGER REGISTER k:* ON_WRIT return", {"'ON_WRIT'", "ON_WRITE", "did you mean ON_WRITE"}},
      {"TRIGGER REGISTER k:* ON_WRITE, return", {"''", "ON_EVICT"}},
      {"TRIGGER REGISTER k:* ON_WRITE RETRYS 3 return", {"'RETRYS'", "did you mean RETRY"}},
      {"TRIGGER REGISTER k:* ON_WRITE RETRY often return", {"RETRY", "'often'", "1 to 1000"}},
      {"TRIGGER REGISTER k:* ON_WRITE BACKOFF 5parsecs 1s return", {"BACKOFF", "5parsecs"}},
      {"TRIGGER REGISTER k:* ON_WRITE BACKOFF 2s 1s return", {"BACKOFF 2s 1s"}},
      {"TRIGGER REGISTER k:* ON_WRITE TIMEOUT -1 return", {"TIMEOUT", "'-1'"}},
      {"TRIGGER REGISTER k:* ON_WRITE ON_FULL PANIC return", {"ON_FULL", "PANIC", "BLOCK", "SHED"}},
      {"TRIGGER REGISTER k:* ON_WRITE NAME a NAME b return", {"NAME", "twice"}},
      {"TRIGGER REGISTER k:* ON_WRITE SAMPLE 2 return", {"SAMPLE", "ON_READ"}},
      {"TRIGGER REGISTER k:* ON_WRITE RETRY return", {"RETRY", "needs a value"}},
      {"TRIGGER REGISTER \"\" ON_WRITE return", {"pattern"}},
      {"TRIGGER REGISTER k:* ON_WRITE \"\\x1bLua\"", {"text"}},
      {"TRIGGER REGISTER k:* ON_WRITE 'syntax error'", {"1: syntax error"}},
      {"TRIGGER BOGUS", {"unknown subcommand 'BOGUS'", "TRIGGER HELP"}},
      {"TRIGGER INFO nobody", {"nobody"}},
      {"TRIGGER DLQ BOGUS", {"unknown subcommand 'BOGUS'"}},
      {"TRIGGER", {"wrong number of arguments"}},
  };
  for (const auto& [line, words] : cases) {
    const Answer answer = client.line(line);
    EXPECT_TRUE(answer.is_error()) << line << answer.show();
    for (const char* word : words) {
      EXPECT_NE(answer.text.find(word), std::string::npos) << line << ": " << answer.text;
    }
  }
  EXPECT_TRUE(server.admin.triggers.empty());
}

TEST_F(Control, ExportedTextImportsTheSameTriggersOrNone) {
  RespClient client = server.client();
  client({"TRIGGER", "REGISTER", "a:*", "ON_WRITE", "NAME", "a b", "RETRY", "9", "DISABLED",
          "local s = \"quo'ted\"\nLUA\nreturn s\n"});
  client({"TRIGGER", "REGISTER", "b:*", "ON_READ", "SAMPLE", "10", "return 'no line feed'"});
  client.line("TRIGGER PAUSE b:*@ON_READ");
  const std::string text = client.line("TRIGGER EXPORT").text;
  const auto before = server.admin.triggers;
  server.admin.triggers.clear();
  EXPECT_EQ(client({"TRIGGER", "IMPORT", text}).show(), ":2");
  ASSERT_EQ(server.admin.triggers.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(server.admin.triggers[i].name, before[i].name);
    EXPECT_EQ(server.admin.triggers[i].source, before[i].source);
    EXPECT_EQ(server.admin.triggers[i].paused, before[i].paused);
    EXPECT_EQ(trigger_words(server.admin.triggers[i]), trigger_words(before[i]));
  }
  EXPECT_EQ(client.line("TRIGGER EXPORT").text, text);
  for (const char* bad : {"TRIGGER REGISTER c:* ON_NEVER <<LUA\nreturn\nLUA\n", "SET a 1\n",
                          "TRIGGER REGISTER c:* ON_WRITE <<LUA\nreturn\n",
                          "\n\nTRIGGER PAUSE nobody\n"}) {
    const std::string both = "TRIGGER REGISTER fine:* ON_WRITE return\n" + std::string{bad};
    const Answer answer = client({"TRIGGER", "IMPORT", both});
    EXPECT_TRUE(answer.is_error()) << bad;
    EXPECT_NE(answer.text.find("line "), std::string::npos) << answer.text;
    EXPECT_EQ(server.admin.triggers.size(), 2u);
  }
}

TEST_F(Control, DeadLettersOutboxTraceAccountAndLogsAreAsked) {
  RespClient client = server.client();
  server.admin.letters = {"1", "2", "3"};
  EXPECT_EQ(client.line("TRIGGER DLQ LIST").items.size(), 3u);
  EXPECT_EQ(client.line("TRIGGER DLQ LIST COUNT 2").items.size(), 2u);
  EXPECT_EQ(client.line("TRIGGER DLQ LIST").items[0].field("event")->text, R"({"key":"k"})");
  EXPECT_EQ(client.line("TRIGGER DLQ SHOW 2").field("error")->text, "boom");
  EXPECT_EQ(client.show("TRIGGER DLQ REPLAY 2"), ":1");
  EXPECT_EQ(client.show("TRIGGER DLQ PURGE all"), ":2");
  EXPECT_TRUE(client.line("TRIGGER DLQ SHOW 2").is_error());
  EXPECT_EQ(client.show("OUTBOX LIST"), "[]");
  EXPECT_EQ(client.line("TRIGGER TRACE c-1").items.at(0).field("chain")->text, "c-1");
  server.admin.accounts = {{"t", 10, 4, 1, 2, 0, 2, 1}, {"lost", 10, 4, 1, 2, 0, 2, 0}};
  const Answer account = client.line("VERIFY");
  ASSERT_EQ(account.items.size(), 2u);
  EXPECT_EQ(account.items[0].field("emitted")->integer, 10);
  EXPECT_EQ(account.items[0].field("adds_up")->integer, 1);
  EXPECT_EQ(account.items[1].field("adds_up")->integer, 0);
  server.admin.log_folder = server.folder.path();
  EXPECT_EQ(client.line("LOG PATH acct").text, server.folder.path() + "/acct.jsonl");
  EXPECT_EQ(client.show("LOG INFO acct").find("settled_bytes") != std::string::npos, true);
  EXPECT_EQ(client.show("LOG TAIL acct"), "[]");
  std::ofstream{server.folder.path() + "/acct.jsonl"} << "{1}\n{2}\n{3}\n{half";
  EXPECT_EQ(client.show("LOG TAIL acct COUNT 2"), "[\"{2}\", \"{3}\"]");
}

TEST_F(Control, SlowLogAnswersAsRedisDoes) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("SLOWLOG LEN"), ":3");
  const Answer all = client.line("SLOWLOG GET");
  ASSERT_EQ(all.items.size(), 3u);
  const Answer& first = all.items[0];
  ASSERT_EQ(first.items.size(), 6u);
  EXPECT_EQ(first.items[0].integer, 3);
  EXPECT_EQ(first.items[1].integer, 1);
  EXPECT_EQ(first.items[2].integer, 23);
  ASSERT_EQ(first.items[3].items.size(), 4u);
  EXPECT_EQ(first.items[3].items[2].text, "k");
  EXPECT_EQ(client.line("SLOWLOG GET 2").items.size(), 2u);
  EXPECT_EQ(client.line("SLOWLOG GET -1").items.size(), 3u);
  EXPECT_TRUE(client.line("SLOWLOG GET -2").is_error());
  EXPECT_TRUE(client.line("SLOWLOG GET x").is_error());
  EXPECT_TRUE(client.line("SLOWLOG GET 1 2").is_error());
  EXPECT_EQ(client.show("SLOWLOG RESET"), "+OK");
  EXPECT_EQ(client.show("SLOWLOG LEN"), ":0");
}

// ---- Server commands

TEST_F(Control, InfoHasRedisSectionsAndCachees) {
  RespClient client = server.client();
  client.line("SET k v");
  client.line("GET k");
  client.line("GET nothing");
  client.line("NOSUCH");
  const std::string info = client.line("INFO").text;
  for (const char* word : {"# Server\r\n", "redis_version:7.", "# Clients\r\nconnected_clients:1\r\n",
                           "# Memory\r\nused_memory:", "# Stats\r\n", "keyspace_hits:1\r\n",
                           "keyspace_misses:1\r\n", "# Keyspace\r\ndb0:keys=1,", "# Cachee\r\n",
                           "ring_capacity:", "executors:2\r\n", "outbox:idle\r\n",
                           "errorstat_ERR:count=1"}) {
    EXPECT_NE(info.find(word), std::string::npos) << word << " in\n" << info;
  }
  const std::string all = client.line("INFO ALL").text;
  EXPECT_NE(all.find("cmdstat_get:calls=2,"), std::string::npos);
  const std::string two = client.line("INFO keyspace cpu").text;
  EXPECT_TRUE(two.starts_with("# CPU\r\n")) << two;
  EXPECT_EQ(two.find("# Stats"), std::string::npos);
}

TEST_F(Control, ConfigReadsAndChangesSettings) {
  RespClient client = server.client();
  EXPECT_EQ(client.show("CONFIG GET log-*"), "[\"log-level\", \"info\"]");
  EXPECT_EQ(client.show("CONFIG GET LOG-LEVEL memory"),
            "[\"log-level\", \"info\", \"memory\", \"32MiB\"]");
  EXPECT_EQ(client.show("CONFIG SET log-level debug"), "+OK");
  EXPECT_EQ(server.settings["log-level"], "debug");
  EXPECT_EQ(client.show("CONFIG SET memory 1GiB"),
            "-ERR CONFIG SET failed (possibly related to argument 'memory') - memory needs a restart");
}

TEST_F(Control, EveryCommandIsListedDocumentedAndHasHelp) {
  RespClient client = server.client();
  const std::int64_t count = client.line("COMMAND COUNT").integer;
  EXPECT_GT(count, 60);
  EXPECT_EQ(client.line("COMMAND").items.size(), static_cast<std::size_t>(count));
  const Answer names = client.line("COMMAND LIST");
  EXPECT_GT(names.items.size(), static_cast<std::size_t>(count));
  const Answer docs = client.line("COMMAND DOCS");
  EXPECT_EQ(docs.items.size(), static_cast<std::size_t>(count) * 2);
  for (const Command& command : all_commands()) {
    EXPECT_FALSE(command.summary.empty()) << command.name;
    EXPECT_TRUE(command.summary.ends_with('.')) << command.name;
    EXPECT_NE(command.arity, 0) << command.name;
    EXPECT_TRUE(command.run != nullptr || (command.flags & kContainer) != 0) << command.name;
  }
  EXPECT_EQ(client.line("COMMAND INFO get nosuch").items.at(0).items.at(1).integer, 2);
  const Answer help = client.line("TRIGGER HELP");
  EXPECT_GT(help.items.size(), 20u);
  EXPECT_NE(help.show().find("REGISTER pattern EVENT"), std::string::npos);
  EXPECT_NE(client.line("TRIGGER DLQ HELP").show().find("REPLAY id"), std::string::npos);
}

TEST_F(Control, EveryCommandSurvivesAnyNumberOfOddArguments) {
  RespClient client = server.client();
  const std::string odd[] = {"", "0", "-1", "k", "*", "9223372036854775808", std::string(300, 'x'),
                             "EX", "WAIT", "COUNT", "\xff\r\n"};
  unsigned turn = 0;
  for (const Command& command : all_commands()) {
    if (command.name == "quit" || command.name == "shutdown" || command.name == "debug|sleep") continue;
    std::vector<std::string> words;
    std::string name{command.name};
    for (std::size_t start = 0; start <= name.size();) {
      const std::size_t end = std::min(name.find('|', start), name.size());
      words.push_back(name.substr(start, end - start));
      start = end + 1;
    }
    const std::size_t fixed = words.size();
    for (std::size_t more = 0; more <= 6; ++more) {
      for (int variant = 0; variant < 4; ++variant) {
        words.resize(fixed);
        for (std::size_t i = 0; i < more; ++i) words.push_back(odd[(turn += 7) % std::size(odd)]);
        ASSERT_NE(client(words).kind, '?') << command.name;
        if (command.name == "hello") client.line("HELLO 2");
      }
    }
  }
  EXPECT_EQ(client.show("PING"), "+PONG");
}

TEST(ControlDocuments, ReferencePageIsMadeFromTheTable) {
  const std::string path = CACHEE_SOURCE_DIR "/daemon/doc/commands.md";
  const std::string text = commands_markdown();
  if (std::getenv("CACHEE_UPDATE_FILES") != nullptr) std::ofstream{path} << text;
  std::stringstream stored;
  stored << std::ifstream{path}.rdbuf();
  EXPECT_EQ(stored.str(), text) << path << " is not what the table says; run control_test with "
                                << "CACHEE_UPDATE_FILES=1";
  for (const Command& command : all_commands()) {
    const bool listed = text.find(command.summary.substr(0, 20)) != std::string::npos;
    EXPECT_TRUE(listed || command.run == nullptr || command.name.ends_with("|help"))
        << command.name << " is in no group";
  }
}

TEST_F(Control, ObjectAndMemoryDescribeAKey) {
  RespClient client = server.client();
  client.line("SET k v");
  EXPECT_EQ(client.show("OBJECT IDLETIME k"), ":0");
  const auto blocks = [&] {
    std::uint64_t bytes = 0;
    const auto slabs = list_slabs(server.keeper->cache());
    for (const SlabClassInfo& slab : *slabs) bytes += slab.block_bytes * slab.live;
    return static_cast<std::int64_t>(bytes);
  };
  std::int64_t sum = client.line("MEMORY USAGE k").integer;
  EXPECT_GT(sum, 0);
  EXPECT_EQ(sum, blocks());
  EXPECT_EQ(client({"MEMORY", "USAGE", "k", "SAMPLES", "5"}).integer, sum);
  for (const std::size_t bytes : {100, 1000, 5000}) {
    const std::string key = "k" + std::to_string(bytes);
    client({"SET", key, std::string(bytes, 'v')});
    sum += client({"MEMORY", "USAGE", key}).integer;
    EXPECT_EQ(sum, blocks()) << key;
  }
  EXPECT_EQ(static_cast<std::uint64_t>(blocks()), segment_info(server.keeper->cache())->used_bytes);
}

TEST_F(Control, Resp3TypesAreUsedWhereRedisUsesThem) {
  RespClient client = server.client();
  const Answer hello = client.line("HELLO 3");
  EXPECT_EQ(hello.kind, '%');
  EXPECT_EQ(hello.field("proto")->integer, 3);
  EXPECT_EQ(hello.field("server")->text, "cachee");
  EXPECT_EQ(client.line("CONFIG GET *").kind, '%');
  EXPECT_EQ(client.line("INFO server").kind, '=');
  EXPECT_EQ(client.line("COMMAND DOCS get").kind, '%');
  EXPECT_TRUE(client.line("GET nothing").null);
  server.admin.accounts = {{"t", 1, 1, 0, 0, 0, 0, 0}};
  EXPECT_EQ(client.line("VERIFY").items.at(0).kind, '%');
  EXPECT_EQ(client.line("VERIFY").items.at(0).field("adds_up")->text, "t");
  EXPECT_EQ(client.line("HELLO 2").kind, '*');
}

}  // namespace
}  // namespace cachee::daemon::testing
