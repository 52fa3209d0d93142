// Goal: what Redis has, Cachee answers as Redis does, errors included.
// Method: the same command lines go to a real redis-server and to a control server over real unix
// sockets, and the replies are compared, in RESP2 and again in RESP3. A line may begin with
//   ~   numbers may differ by 2 % or 3 (time passes)
//   %   arrays are compared without their order; SCAN is followed to its end
// What differs on purpose is in kDifferences, with the reason and what Cachee says instead.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "control_support.hpp"

namespace cachee::daemon::testing {
namespace {

using namespace std::chrono_literals;

/// A redis-server on a socket in a folder of its own.
class RedisServer {
 public:
  RedisServer() {
    path_ = folder_.path() + "/redis.sock";
    pid_ = ::fork();
    if (pid_ == 0) {
      const int null = ::open("/dev/null", O_RDWR);
      ::dup2(null, STDIN_FILENO);
      ::dup2(null, STDOUT_FILENO);
      ::dup2(null, STDERR_FILENO);
      ::execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path_.c_str(),
               "--save", "", "--appendonly", "no", "--dir", folder_.path().c_str(),
               "--enable-debug-command", "yes", static_cast<char*>(nullptr));
      ::_exit(127);
    }
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (pid_ > 0 && std::chrono::steady_clock::now() < deadline) {
      if (RespClient{path_}.connected()) {
        running_ = true;
        return;
      }
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        return;
      }
      std::this_thread::sleep_for(5ms);
    }
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  ~RedisServer() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] RespClient client() const { return RespClient{path_}; }

 private:
  TempFolder folder_{};
  std::string path_{};
  pid_t pid_ = -1;
  bool running_ = false;
};

constexpr const char* kLines[] = {
    // Values
    "PING", "PING hello", "PING a b", "ECHO hi", "ECHO", "ECHO a b", "GET nothing", "GET", "GET a b",
    "SET k v", "GET k", "get k", "GeT k", "SET k", "SET k \"\"", "GET k", "STRLEN k",
    "SET bin \"\\x00\\r\\n\\xff\"", "GET bin", "STRLEN bin", "SET \"\" empty-key", "GET \"\"",
    "DEL \"\"", "SET k v NX", "GET k", "SET new v NX", "SET new w XX", "GET new", "SET none w XX",
    "GET none", "SET k v2 GET", "SET none2 v GET", "SET k v3 NX GET", "GET k", "SET none3 v NX GET",
    "SET none4 v XX GET", "SET k v XX GET", "SET k v NX XX", "SET k v XX NX", "SET k v NX NX",
    "SET k v BOGUS", "SET k v EX", "SET k v EX 0", "SET k v EX -1", "SET k v EX abc",
    "SET k v PX 0", "SET k v EXAT 0", "SET k v PXAT -5", "SET k v EX 9223372036854775807",
    "SET k v PX 9223372036854775807", "SET k v EX 10 PX 10", "SET k v EX 10 KEEPTTL",
    "SET k v KEEPTTL EX 10", "SET k v EX 10 EX 10", "SET k v PX 1.5", "SET k v EX 100", "~TTL k",
    "~PTTL k", "SET k w KEEPTTL", "~TTL k", "SET k w", "TTL k", "SET k v PX 100000", "~PTTL k",
    "SET k v EXAT 4000000000", "EXPIRETIME k", "SET k v PXAT 4000000000000", "EXPIRETIME k",
    "SET k v KEEPTTL GET", "EXPIRETIME k", "set k v ex 50 nx get", "~ttl k",
    "SET k v EX abc FOO", "SET k v EX 0 FOO", "SET k v EX abc EX 10", "~TTL k", "SET k v EX 10 EX abc",
    "SET k v EX 0 EX 10", "SET k v NX EX abc XX", "SET k v EX abc NX XX", "SET k v EX abc PX 10",
    "SET k v EX abc KEEPTTL", "SET k v KEEPTTL EX abc", "SET k v KEEPTTL KEEPTTL", "SET k v GET GET",
    "SET k v EX 10 EX 20 EX 300", "~TTL k",
    "SETNX k x", "SETNX fresh x", "GET fresh", "SETNX k", "SETEX k 100 v", "~TTL k", "SETEX k 0 v",
    "SETEX k -5 v", "SETEX k abc v", "SETEX k 100", "PSETEX k 100000 v", "~PTTL k", "PSETEX k 0 v",
    "PSETEX k 1.5 v", "GETSET k new", "TTL k", "GETSET nokey v", "GETSET k", "GETDEL k", "GET k",
    "GETDEL k", "GETDEL", "SET k v", "GETEX k", "GETEX k EX 100", "~TTL k", "GETEX k PERSIST",
    "TTL k", "GETEX k PX 100000", "~PTTL k", "GETEX k EXAT 4000000000", "EXPIRETIME k",
    "GETEX k PXAT 4000000000000", "EXPIRETIME k", "GETEX k EX 0", "GETEX k EX", "GETEX k EX abc",
    "GETEX k BOGUS", "GETEX k PERSIST EX 10", "GETEX nothing EX 10", "GETEX nothing",
    "GETEX k EXAT 1", "EXISTS k",
    "SET k v", "GETEX k EX 10 EX 200", "~TTL k", "GETEX k EX 10 PX 20", "GETEX k PERSIST PERSIST", "TTL k",
    "GETEX k EX 10 PERSIST", "GETEX k EX abc FOO", "GETEX k EX abc EX 100", "~TTL k", "GETEX k EX 10 EX abc",
    "~TTL k", "GETEX nothing EX abc", "GETEX nothing EX 0", "GETEX nothing EX", "GETEX nothing FOO",
    "GETEX nothing PERSIST PERSIST", "GETEX nothing EX 10 PX 20", "GETEX k KEEPTTL", "GETEX k NX",
    "MSET a 1 b 2 c 3", "MGET a b nothing c a", "MGET", "MSET a", "MSET a 1 b", "MSET a 1 a 2",
    "GET a", "MSETNX a 1 z 2", "EXISTS z", "MSETNX x1 1 x2 2", "MGET x1 x2", "MSETNX x3 1 x3 2",
    "GET x3", "MSETNX x4", "MSETNX x4 1 x5",
    // Parts of values
    "SET s hello", "APPEND s \" world\"", "GET s", "APPEND created x", "GET created", "APPEND s \"\"",
    "APPEND s", "STRLEN s", "STRLEN nothing", "STRLEN", "GETRANGE s 0 4", "GETRANGE s -5 -1",
    "GETRANGE s 0 -1", "GETRANGE s 5 2", "GETRANGE s -1 -5", "GETRANGE s 100 200", "GETRANGE s -100 2",
    "GETRANGE s 0 1000", "GETRANGE nothing 0 1", "GETRANGE s a 1", "GETRANGE s 0 b", "GETRANGE s 0",
    "GETRANGE s -100 -50", "GETRANGE s 0 -100", "GETRANGE s 3 3",
    "SETRANGE s 6 Redis", "GET s", "SETRANGE s 15 !", "GET s", "SETRANGE zero 3 x", "GET zero",
    "SETRANGE s -1 x", "SETRANGE s abc x", "SETRANGE nothing 5 \"\"", "EXISTS nothing",
    "SETRANGE s 0 \"\"", 
    "SET t v EX 100", "APPEND t x", "SETRANGE t 0 y", "~TTL t",
    // Numbers
    "INCR n", "INCR n", "DECR n", "INCRBY n 10", "DECRBY n 3", "GET n", "INCRBY n -5",
    "INCRBY n abc", "INCRBY n 1.5", "INCRBY n", "INCRBY n 9223372036854775808",
    "SET n abc", "INCR n", "DECR n", "INCRBY n 1", "SET n \" 5\"", "INCR n", "SET n \"5 \"", "INCR n",
    "SET n +5", "INCR n", "SET n \"\"", "INCR n",
    "SET n 05", "INCR n", "SET n -0", "INCR n", "SET n -05", "DECR n", "SET n 00", "INCRBY n 1", "SET n 0", "DECR n",
    "INCRBY n 05", "INCRBY n -0", "SET n -", "INCR n", "SET n --1", "INCR n",
    "SET n 1.0", "INCR n", "SET n 9223372036854775807", "INCR n", "INCRBY n 1", "DECR n",
    "SET n -9223372036854775808", "DECR n", "DECRBY n 1", "INCR n", "DECRBY n -9223372036854775808",
    "SET n 9223372036854775808", "INCR n", "SET n 10 EX 100", "INCR n", "~TTL n", "GET n",
    "SET f 10.50", "INCRBYFLOAT f 0.1", "INCRBYFLOAT f -5", "INCRBYFLOAT f 5.0e3", "GET f",
    "INCRBYFLOAT f abc", "INCRBYFLOAT f \" 1\"", "INCRBYFLOAT f \"1 \"", "INCRBYFLOAT f nan",
    "INCRBYFLOAT f inf", "INCRBYFLOAT newf 3", "INCRBYFLOAT newf 0.1", "INCRBYFLOAT newf 0.2",
    "INCRBYFLOAT newf -3.3", "SET f xyz", "INCRBYFLOAT f 1", "SET f 1e10", "INCRBYFLOAT f 1",
    "SET f 3.0e3", "INCRBYFLOAT f 200", "INCRBYFLOAT f", "SET f 1", "INCRBYFLOAT f 1e-10",
    "INCRBYFLOAT f 0.000000000000000001", "SET f 5", "INCRBYFLOAT f 0x10", "SET f -0.0",
    "INCRBYFLOAT f 0", "SET f 100000000000000000000", "INCRBYFLOAT f 1",
    // Keys
    "DEL a b nothing", "DEL a", "DEL", "DEL c c c", "UNLINK x1 nothing", "UNLINK", "EXISTS s",
    "EXISTS s s nothing", "EXISTS", "TYPE s", "TYPE nothing", "TYPE", "TOUCH s f nothing", "TOUCH",
    "RENAME nothing x", "SET r1 v1 EX 100", "RENAME r1 r2", "GET r1", "GET r2", "~TTL r2",
    "SET r3 v3", "RENAME r3 r2", "GET r2", "TTL r2", "RENAME r2 r2", "RENAME nothing nothing",
    "RENAME r2", "COPY r2 c1", "GET c1", "COPY r2 c1", "COPY r2 c1 REPLACE", "COPY nothing c2",
    "COPY r2 r2", "COPY r2 c2 DB 0", "COPY r2 c3 DB abc", "COPY r2 c3 BOGUS", "COPY r2",
    "COPY r2 c4 DB", "COPY r2 c4 DB 99", "COPY r2 c4 DB -1", "COPY r2 c4 DB 2147483648", "COPY r2 c4 DB 9223372036854775808",
    "COPY r2 r2 DB 99", "COPY nothing c4 DB 99", "COPY r2 c4 DB abc BOGUS", "COPY r2 c4 DB 0 DB 99", "EXPIRE r2 100", "COPY r2 c5", "~TTL c5",
    "FLUSHALL", "DBSIZE", "RANDOMKEY", "KEYS *", "%SCAN 0", "SET only v", "RANDOMKEY", "DBSIZE",
    "DBSIZE x", "RANDOMKEY x", "MSET one 1 two 2 three 3 four 4", "%KEYS *", "%KEYS *o*",
    "%KEYS t??", "%KEYS [ot]*", "%KEYS [^o]*", "%KEYS [a-p]*", "KEYS th[a-q]ee", "KEYS nothing",
    "KEYS one\\\\", "SET a*b v", "KEYS a\\\\*b", "SET \"a]b\" v", "KEYS a[]]b",
    "MSET b 1 - 1 z 1 \"]\" 1 \\\\ 1 c 1", "%KEYS [b-]", "%KEYS [b-]*", "%KEYS [b-", "%KEYS [b", "KEYS [", "KEYS []",
    "%KEYS [^]", "%KEYS [-b]", "%KEYS [a-c", "%KEYS [a-\\\\]]", "%KEYS [z-]", "%KEYS [^b-]", "%KEYS [a\\\\-c]", "%KEYS [b-]]",
    "DEL b - z \"]\" \\\\ c", "KEYS", "KEYS a b",
    "%SCAN 0 COUNT 1000", "%SCAN 0 COUNT 1000 MATCH *o*", "%SCAN 0 MATCH t* COUNT 1000 TYPE string",
    "%SCAN 0 COUNT 1000 TYPE list", "%SCAN 0", "%SCAN 0 COUNT 1", "SCAN abc", "SCAN 0 COUNT 0", "SCAN 0 COUNT abc",
    "SCAN 0 BOGUS 1", "SCAN 0 COUNT", "SCAN", "%SCAN 0 count 1000 match [ot]*",
    "%SCAN \"\"", "%SCAN +0", "%SCAN 00", "%SCAN -0", "SCAN \" 0\"", "SCAN \"0 \"", "SCAN 0x0", "SCAN 18446744073709551616",
    "FLUSHDB", "DBSIZE", "SCAN -1", "FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHALL BOGUS", "FLUSHDB ASYNC",
    // Time
    "SET e v", "TTL e", "PTTL e", "TTL nothing", "PTTL nothing", "EXPIRETIME e", "PEXPIRETIME e",
    "EXPIRETIME nothing", "PEXPIRETIME nothing", "EXPIRE nothing 10", "EXPIRE e 100", "~TTL e",
    "EXPIRE e 200 NX", "~TTL e", "EXPIRE e 200 XX", "~TTL e", "EXPIRE e 100 GT", "~TTL e",
    "EXPIRE e 300 GT", "~TTL e", "EXPIRE e 400 LT", "~TTL e", "EXPIRE e 100 LT", "~TTL e",
    "PERSIST e", "PERSIST e", "PERSIST nothing", "EXPIRE e 100 GT", "TTL e", "EXPIRE e 100 XX",
    "TTL e", "EXPIRE e 100 XX LT", "TTL e", "EXPIRE e 100 LT", "~TTL e", "PERSIST e",
    "EXPIRE e 100 NX", "~TTL e", "EXPIRE e 50 XX GT", "~TTL e", "EXPIRE e 150 XX GT", "~TTL e",
    "EXPIRE e 120 XX LT", "~TTL e", "EXPIRE e 100 NX XX", "EXPIRE e 100 NX GT",
    "EXPIRE e 100 GT LT", "EXPIRE e 100 BOGUS", "EXPIRE e 100 NX BOGUS", "EXPIRE e abc",
    "EXPIRE e 1.5", "EXPIRE e", "EXPIRE e 9223372036854775807", "EXPIRE e -9223372036854775808",
    "EXPIRE e 9223372036854775", "PEXPIRE e 9223372036854775807", "PEXPIRE e 100000", "~PTTL e",
    "PEXPIRE e 100 nx", "PEXPIRE e abc", "EXPIREAT e 4000000000", "EXPIRETIME e",
    "PEXPIREAT e 4000000000000", "EXPIRETIME e", "EXPIREAT e abc", "EXPIREAT e 9223372036854775807",
    "PEXPIREAT e 3999999999000 LT", "EXPIRETIME e", "EXPIREAT e 3999999998 GT", "EXPIRE e 0",
    "EXISTS e", "SET e v", "EXPIRE e -1", "EXISTS e", "SET e v", "EXPIREAT e 1", "EXISTS e",
    "SET e v", "PEXPIREAT e 1000", "EXISTS e", "SET e v", "PEXPIRE e -5", "GET e", "TTL e",
    "SET e v EX 100", "EXPIRE e -1 GT", "EXISTS e", "EXPIRE e -1 LT", "EXISTS e",
    "SET e v", "PEXPIRE e -9223372036854775808", "EXISTS e", "SET e v", "EXPIRE e -9223372036854775", "EXISTS e",
    "SET e v", "EXPIRE e -9223372036854776", "EXISTS e", "PEXPIREAT e -9223372036854775808", "EXISTS e",
    "SET e v", "EXPIREAT e -9223372036854775", "EXISTS e", "EXPIREAT e -9223372036854776",
    "PEXPIRE nothing -9223372036854775808",
    "TTL", "TTL a b", "PTTL", "PERSIST", "EXPIRETIME", "PEXPIRE e", "EXPIREAT e", "PEXPIREAT e",
    // Server
    "SELECT 0", "SELECT 99", "SELECT abc", "SELECT", "SELECT -1", "SELECT 2147483647", "SELECT 2147483648",
    "SELECT -2147483649", "SELECT 9223372036854775808", "SELECT 01", "AUTH x", "AUTH default x",
    "AUTH nobody x", "AUTH", "AUTH a b c", "CLIENT SETNAME me", "CLIENT GETNAME",
    "CLIENT SETNAME \"a b\"", "CLIENT GETNAME", "CLIENT SETNAME \"\"", "CLIENT GETNAME",
    "CLIENT SETNAME", "CLIENT", "CLIENT BOGUS", "CLIENT GETNAME x", "CLIENT LIST TYPE bogus",
    "CLIENT LIST ID abc", "CLIENT LIST BOGUS", "CLIENT LIST ID 0", "CLIENT LIST ID 999999",
    "CLIENT LIST TYPE pubsub",
    "HELLO 4", "HELLO abc", "HELLO 2 BOGUS", "HELLO 2 AUTH x", "HELLO 2 SETNAME \"a b\"",
    "NOSUCH", "NOSUCH a b", "nosuch \"x y\" z", "COMMAND COUNT x", "COMMAND BOGUS", "COMMAND LIST X",
    "COMMAND INFO nosuch", "COMMAND INFO nosuch nosuch", "COMMAND LIST FILTERBY PATTERN getex",
    "COMMAND LIST FILTERBY PATTERN GetEx", "COMMAND LIST FILTERBY ACLCAT nosuch", "COMMAND LIST FILTERBY MODULE nosuch",
    "COMMAND LIST FILTERBY MODULE", "COMMAND LIST FILTERBY BOGUS x", "COMMAND LIST FILTERBY PATTERN x y",
    "CONFIG", "CONFIG GET", "CONFIG BOGUS", "CONFIG GET nosuchsetting", "CONFIG SET nosuch 1",
    "CONFIG GET save", "CONFIG GET appendonly", "CONFIG SET x",
    "CONFIG SET save x appendonly", "CONFIG SET nosuch 1 nosuch 2", "CONFIG SET NoSuch 1", "CONFIG SET databases 3",
    "CONFIG SET Databases 3",
    "OBJECT FREQ nothing", "OBJECT IDLETIME nothing", "OBJECT", "OBJECT BOGUS x", "OBJECT FREQ",
    "SET o v", "OBJECT IDLETIME o", "MEMORY USAGE nothing", "MEMORY USAGE",
    "MEMORY BOGUS", "MEMORY", "MEMORY USAGE o BOGUS 1", "MEMORY USAGE o SAMPLES",
    "MEMORY USAGE o SAMPLES -1", "MEMORY USAGE o SAMPLES abc", "MEMORY USAGE o SAMPLES 5 BOGUS", "MEMORY USAGE nothing SAMPLES -1",
    "MEMORY USAGE nothing SAMPLES", "MEMORY USAGE nothing BOGUS", "MEMORY USAGE nothing SAMPLES 5 samples 0",
    "DEBUG SLEEP 0", "DEBUG", "DEBUG BOGUS", "debug SLEEP", "DEBUG SLEEP 0 1", "SHUTDOWN BOGUS", "SHUTDOWN ABORT",
    "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN FORCE ABORT", "SHUTDOWN ABORT ABORT", "SHUTDOWN SAVE BOGUS", "INFO nosuchsection",
};

struct Difference {
  const char* line;
  const char* ours;
  const char* why;
};
constexpr Difference kDifferences[] = {
    {"SETRANGE k 99999999999 x",
     "-ERR string exceeds maximum allowed size (1MiB); cacheed's --max-value sets it, up to a quarter "
     "of the memory",
     "Redis names its own setting"},
    {"SET k v", "+OK", ""},
    {"OBJECT FREQ k", ":0", "the policies of Redis that count are other ones"},
    {"DEBUG SLEEP abc", "-ERR value is not a valid float", "Redis reads it as 0"},
    {"DEL k WAIT 1", ":1", "the last two words are an option here"},
    {"SET k v WAIT 0", "-ERR WAIT expects milliseconds from 1 to 3600000", "an option here"},
};

bool near(std::int64_t a, std::int64_t b) {
  return std::abs(a - b) <= std::max<std::int64_t>(3, std::abs(b) / 50);
}

Answer sorted(Answer answer) {
  for (Answer& item : answer.items) item = sorted(std::move(item));
  std::sort(answer.items.begin(), answer.items.end(),
            [](const Answer& a, const Answer& b) { return a.show() < b.show(); });
  return answer;
}

// A whole scan as one sorted array of keys: where a cursor stands is each server's own business.
Answer scan_all(RespClient& client, const std::string& line) {
  std::vector<std::string> words = split_command_line(line).words;
  Answer all;
  all.kind = '*';
  for (int step = 0; step < 100'000; ++step) {
    Answer answer = client(words);
    if (answer.items.size() != 2) return answer;
    words[1] = answer.items[0].text;
    for (Answer& key : answer.items[1].items) all.items.push_back(std::move(key));
    if (words[1] == "0") return sorted(std::move(all));
  }
  return all;
}

/// The kinds of a reply and of all that is in it: show() writes every null alike.
std::string kinds_of(const Answer& answer) {
  std::string kinds{answer.kind};
  for (const Answer& item : answer.items) kinds += kinds_of(item);
  return kinds;
}

class RedisComparison : public ::testing::TestWithParam<int> {};

TEST_P(RedisComparison, EveryLineIsAnsweredAsRedisAnswersIt) {
  const RedisServer redis;
  if (!redis.running()) GTEST_SKIP() << "no redis-server here";
  const TestServer ours;
  ASSERT_EQ(ours.problem, "");
  RespClient theirs = redis.client();
  RespClient mine = ours.client();
  if (GetParam() == 3) {
    ASSERT_EQ(theirs.line("HELLO 3").kind, '%');
    ASSERT_EQ(mine.line("HELLO 3").kind, '%');
  }
  for (std::string line : kLines) {
    if (GetParam() == 3 && line.starts_with("HELLO 2")) continue;
    const char mode = line[0];
    if (mode == '~' || mode == '%') line.erase(0, 1);
    const bool scans = mode == '%' && line.starts_with("SCAN");
    Answer expected = scans ? scan_all(theirs, line) : theirs.line(line);
    Answer got = scans ? scan_all(mine, line) : mine.line(line);
    if (mode == '~' && expected.kind == ':' && got.kind == ':') {
      EXPECT_TRUE(near(got.integer, expected.integer))
          << line << ": " << got.show() << " is not near " << expected.show();
      continue;
    }
    if (mode == '%') {
      expected = sorted(std::move(expected));
      got = sorted(std::move(got));
    }
    EXPECT_EQ(got.show(), expected.show()) << line;
    EXPECT_EQ(kinds_of(got), kinds_of(expected)) << line;
  }
  EXPECT_EQ(sorted(mine.line("KEYS *")).show(), sorted(theirs.line("KEYS *")).show());
}

TEST_P(RedisComparison, CommandsHaveTheCategoriesThatTheyHaveInRedis) {
  const RedisServer redis;
  if (!redis.running()) GTEST_SKIP() << "no redis-server here";
  const TestServer ours;
  ASSERT_EQ(ours.problem, "");
  RespClient theirs = redis.client();
  RespClient mine = ours.client();
  for (RespClient* client : {&theirs, &mine}) client->line(GetParam() == 3 ? "HELLO 3" : "HELLO 2");
  for (const char* name : {"get", "getex", "set", "mget", "mset", "del", "ttl", "expire", "incr", "ping", "echo", "select"}) {
    const std::string line = std::string{"COMMAND INFO "} + name;
    const Answer expected = theirs.line(line);
    const Answer got = mine.line(line);
    ASSERT_EQ(got.items.at(0).items.size(), 10u) << got.show();
    EXPECT_EQ(sorted(got.items[0].items[6]).show(), sorted(expected.items.at(0).items.at(6)).show()) << name;
  }
  const std::string listed = mine.line("COMMAND LIST FILTERBY ACLCAT Connection").show();
  EXPECT_NE(listed.find("\"client|setname\""), std::string::npos) << listed;
  EXPECT_EQ(listed.find("\"get\""), std::string::npos) << listed;
}

// What INFO says of a database: "keys=3,expires=2", and the mean of the TTLs.
std::pair<std::string, std::int64_t> keyspace_of(RespClient& client) {
  const std::string text = client.line("INFO keyspace").text;
  const std::size_t at = text.find("db0:");
  const std::size_t mean = text.find(",avg_ttl=");
  if (at == std::string::npos || mean == std::string::npos) return {text, 0};
  return {text.substr(at + 4, mean - at - 4), std::strtoll(text.c_str() + mean + 9, nullptr, 10)};
}

TEST(RedisInfo, KeysWithADeadlineAreCountedAndOfManyKeysEstimated) {
  const RedisServer redis;
  if (!redis.running()) GTEST_SKIP() << "no redis-server here";
  const TestServer ours;
  ASSERT_EQ(ours.problem, "");
  RespClient theirs = redis.client();
  RespClient mine = ours.client();
  for (const char* line : {"SET a v", "SET b v EX 1000", "SET c v EX 3000"}) {
    theirs.line(line);
    mine.line(line);
  }
  // Redis has its mean from a cycle that goes by the clock, so only ours is looked at.
  EXPECT_EQ(keyspace_of(mine).first, keyspace_of(theirs).first);
  EXPECT_NEAR(static_cast<double>(keyspace_of(mine).second), 2'000'000, 60'000);
  for (int i = 0; i < 1500; ++i) {
    mine({"SET", "many:" + std::to_string(i), "v"});
    mine({"SET", "brief:" + std::to_string(i), "v", "EX", "1000"});
  }
  const auto hits = [&mine] { return mine.line("INFO stats").text.substr(mine.line("INFO stats").text.find("keyspace_hits")); };
  const std::string before = hits();
  const std::string shown = keyspace_of(mine).first;
  EXPECT_TRUE(shown.starts_with("keys=3003,expires=")) << shown;
  const std::int64_t expires = std::strtoll(shown.c_str() + shown.find("expires=") + 8, nullptr, 10);
  EXPECT_GT(expires, 600) << "128 of the keys are looked at: this is more than six standard deviations away";
  EXPECT_LT(expires, 2400);
  EXPECT_EQ(hits(), before) << "to look is no use of a key";
}

INSTANTIATE_TEST_SUITE_P(Resp, RedisComparison, ::testing::Values(2, 3));

TEST(RedisDifferences, AreAsDocumented) {
  SegmentOptions segment;
  segment.value_bytes_max = 1u << 20;
  const TestServer ours{segment};
  ASSERT_EQ(ours.problem, "");
  RespClient mine = ours.client();
  for (const Difference& difference : kDifferences) {
    EXPECT_EQ(mine.show(difference.line), difference.ours) << difference.line << ": " << difference.why;
  }
}

TEST(RedisInline, LinesWithoutFramingAreAnsweredAlike) {
  const RedisServer redis;
  if (!redis.running()) GTEST_SKIP() << "no redis-server here";
  const TestServer ours;
  ASSERT_EQ(ours.problem, "");
  for (const char* bytes :
       {"PING\r\n", "PING\n", "set k 'a b'\r\n", "get k\n", "\r\nPING\r\n", "get \"k\n",
        "*1\r\n$4\r\nPING\r\n", "*1\r\n:4\r\n", "*x\r\n", "*2\r\n$3\r\nGET\r\n$-1\r\n", "*0\r\nPING\r\n",
        "*-1\r\nPING\r\n", "*1\r\n$4\r\nPINGxxPING\r\n", "get k extra\r\n", "  ping  \r\n",
        "*1\r\n$4000000000\r\n"}) {
    RespClient theirs = redis.client();
    RespClient mine = ours.client();
    theirs.send_raw(bytes);
    mine.send_raw(bytes);
    EXPECT_EQ(mine.read().show(), theirs.read().show()) << bytes;
  }
}

}  // namespace
}  // namespace cachee::daemon::testing
