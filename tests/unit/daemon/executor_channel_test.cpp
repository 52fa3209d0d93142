// Goal: messages between two processes arrive whole, in order and once, whoever dies; bytes that a
// broken or hostile peer leaves behind never crash, hang or swell the other side.
// Method: two sides over one memfd in one process, two processes and kill -9, garbage in the
// memory.
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/channel.hpp"

namespace cachee::daemon {
namespace {

using namespace std::chrono_literals;

struct Pair {
  std::unique_ptr<Channel> producer{};
  std::unique_ptr<Channel> consumer{};
};

Pair make_pair(std::size_t ring_bytes, std::size_t message_bytes_max = kMessageBytesMax) {
  auto producer = Channel::create(ring_bytes);
  EXPECT_TRUE(producer);
  auto consumer = Channel::map(dup((*producer)->fd()), message_bytes_max);
  EXPECT_TRUE(consumer);
  return {std::move(*producer), std::move(*consumer)};
}

/// A message that can be checked: its length and every byte follow from its number.
std::string message_of(std::uint32_t number, std::size_t bytes_max) {
  std::minstd_rand random{number + 1};
  std::string text(random() % bytes_max, '\0');
  for (char& c : text) c = static_cast<char>(random());
  text.append(reinterpret_cast<const char*>(&number), sizeof(number));
  return text;
}

bool always() { return true; }

TEST(Channel, CarriesMessagesOfEverySizeInOrder) {
  Pair pair = make_pair(4096);
  for (std::size_t bytes = 0; bytes < 1500; bytes += 7) {
    const std::string sent(bytes, static_cast<char>('a' + bytes % 26));
    ASSERT_TRUE(pair.producer->try_write(sent));
    const auto got = pair.consumer->read();
    ASSERT_TRUE(got);
    ASSERT_EQ(*got, sent);
  }
  EXPECT_FALSE(pair.consumer->read());
}

TEST(Channel, CarriesMessagesMadeInPlaceAmongOthers) {
  Pair pair = make_pair(4096);
  int in_place = 0;
  for (std::uint32_t n = 0; n < 2000; ++n) {
    const std::string sent = message_of(n, 700);
    const auto fill = [&](char* at) {
      std::memcpy(at, sent.data(), sent.size());
      ++in_place;
    };
    // At the end of the ring there is no room in one piece: then as any other, and nothing was called.
    const int before = in_place;
    if (!pair.producer->try_write_in_place(sent.size(), fill)) {
      ASSERT_EQ(in_place, before);
      ASSERT_TRUE(pair.producer->try_write(sent));
    }
    const auto got = pair.consumer->read();
    ASSERT_TRUE(got) << n;
    ASSERT_EQ(*got, sent) << n;
  }
  EXPECT_GT(in_place, 1500);
  EXPECT_LT(in_place, 2000) << "the end of the ring was never met";
  // Without room for it: nothing is written, and what was posted before stays in front.
  const std::string large(4000, 'x');
  const auto never = [](char*) { FAIL(); };
  ASSERT_TRUE(pair.producer->try_write(large));
  EXPECT_FALSE(pair.producer->try_write_in_place(200, never));
  const std::string posted(200, 'p');
  ASSERT_TRUE(pair.producer->post(posted));
  EXPECT_EQ(pair.consumer->read(), large);
  EXPECT_FALSE(pair.producer->try_write_in_place(2, never));
  EXPECT_TRUE(pair.producer->flush());
  EXPECT_EQ(pair.consumer->read(), posted);
}

TEST(Channel, RefusesWhatDoesNotFitAndTakesItLater) {
  Pair pair = make_pair(4096);
  const std::string large(4000, 'x');
  EXPECT_TRUE(pair.producer->try_write(large));
  EXPECT_FALSE(pair.producer->try_write(large));
  EXPECT_EQ(pair.consumer->read(), large);
  EXPECT_TRUE(pair.producer->try_write(large));
  EXPECT_FALSE(pair.producer->try_write(std::string(4096, 'x')));
}

TEST(Channel, StreamsMessagesLargerThanItself) {
  Pair pair = make_pair(4096);
  const std::string large = message_of(7, 1 << 20);
  std::thread producer{[&] {
    EXPECT_TRUE(pair.producer->write(large, always));
    EXPECT_TRUE(pair.producer->write("after", always));
  }};
  std::vector<std::string> got;
  while (got.size() < 2) {
    if (const auto message = pair.consumer->read()) {
      got.emplace_back(*message);
    } else {
      pair.consumer->wait(1ms);
    }
  }
  producer.join();
  EXPECT_EQ(got[0], large);
  EXPECT_EQ(got[1], "after");
}

TEST(Channel, PostingNeverWaitsAndKeepsTheOrder) {
  Pair pair = make_pair(4096);
  std::vector<std::string> sent;
  std::vector<std::string> got;
  const auto drain = [&] {
    while (const auto message = pair.consumer->read()) got.emplace_back(*message);
  };
  for (std::uint32_t i = 0; i < 300; ++i) {
    const std::string message = message_of(i, i % 50 == 0 ? 60'000 : 300);
    if (pair.producer->post(message)) sent.push_back(message);
    if (i % 3 == 0) drain();
  }
  for (int i = 0; i < 10'000 && !pair.producer->flush(); ++i) drain();
  drain();
  EXPECT_EQ(got, sent);
  EXPECT_GT(sent.size(), 100U);
}

TEST(Channel, PostingIsBounded) {
  Pair pair = make_pair(4096);
  std::size_t taken = 0;
  while (pair.producer->post(std::string(1000, 'x')) && taken < 100'000) ++taken;
  EXPECT_LT(taken * 1000, 3 * kPendingBytesMax);
  EXPECT_FALSE(pair.producer->try_write("x"));
}

TEST(Channel, WakesASleepingConsumer) {
  Pair pair = make_pair(4096);
  for (int i = 0; i < 20; ++i) {
    std::thread producer{[&] { EXPECT_TRUE(pair.producer->try_write("x")); }};
    const auto start = std::chrono::steady_clock::now();
    while (!pair.consumer->read()) pair.consumer->wait(20s);
    producer.join();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  }
  std::thread waker{[&] { pair.producer->wake(); }};
  const auto start = std::chrono::steady_clock::now();
  pair.consumer->wait(100ms);  // the bell may ring before we sleep
  waker.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

TEST(Channel, GivesUpWaitingForRoomWhenToldTo) {
  Pair pair = make_pair(4096);
  int asked = 0;
  EXPECT_FALSE(pair.producer->write(std::string(10'000, 'x'), [&] { return ++asked < 3; }));
  EXPECT_EQ(asked, 3);
  EXPECT_FALSE(pair.consumer->read());
}

TEST(Channel, CannotBeCutOffUnderTheOtherSide) {
  Pair pair = make_pair(4096);
  EXPECT_NE(ftruncate(pair.consumer->fd(), 0), 0);
  EXPECT_FALSE(Channel::map(-1));
  const int other = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(other, 8192), 0);
  EXPECT_FALSE(Channel::map(other));  // not sealed: its size may change
  close(other);
}

TEST(Channel, SurvivesTheDeathOfTheProducerAtAnyMoment) {
  constexpr std::size_t kBytesMax = 9000;  // often more than the ring
  for (int round = 0; round < 15; ++round) {
    Pair pair = make_pair(4096);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::uint32_t i = 0;; ++i) {
        if (!pair.producer->write(message_of(i, kBytesMax), always)) _exit(1);
      }
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{3 + 2 * round};
    std::uint32_t next = 0;
    bool killed = false;
    for (;;) {
      if (!killed && std::chrono::steady_clock::now() >= until) {
        kill(child, SIGKILL);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        killed = true;
      }
      const auto message = pair.consumer->read();
      if (message) {
        ASSERT_EQ(*message, message_of(next, kBytesMax)) << "message " << next;
        ++next;
      } else if (killed) {
        break;
      }
    }
    EXPECT_FALSE(pair.consumer->broken());
    EXPECT_FALSE(pair.consumer->read());
  }
}

TEST(Channel, SurvivesTheDeathOfTheConsumer) {
  Pair pair = make_pair(4096);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) {
      while (pair.consumer->read()) {
      }
      pair.consumer->wait(1s);
    }
  }
  for (std::uint32_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(pair.producer->write(message_of(i, 9000), always));
  }
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_FALSE(pair.producer->write(std::string(100'000, 'x'), [] { return false; }));
}

/// The memory of a channel as a hostile peer sees it.
class RawMemory {
 public:
  RawMemory(int fd, std::size_t bytes) : bytes_{bytes} {
    at_ = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  }
  RawMemory(const RawMemory&) = delete;
  RawMemory& operator=(const RawMemory&) = delete;
  ~RawMemory() { munmap(at_, bytes_); }
  void put(std::size_t at, const void* value, std::size_t bytes) {
    std::memcpy(at_ + at, value, bytes);
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  char* at_ = nullptr;
  std::size_t bytes_;
};

constexpr std::size_t kWrittenAt = 0;
constexpr std::size_t kTakenAt = 64;
constexpr std::size_t kRingAt = 4096;

TEST(Channel, APositionBeyondTheRingBreaksIt) {
  for (const std::uint64_t position : {4097ull, 1ull << 40, 1ull << 63}) {
    Pair pair = make_pair(4096);
    RawMemory memory{pair.consumer->fd(), kRingAt + 4096};
    memory.put(kWrittenAt, &position, sizeof(position));
    EXPECT_FALSE(pair.consumer->read());
    EXPECT_TRUE(pair.consumer->broken());
    pair.consumer->wait(1us);
    // A producer looks when the room that it knows of is used up.
    Pair other = make_pair(4096);
    std::uint64_t written = 0;
    while (other.producer->try_write("x")) written += sizeof(std::uint32_t) + 1;
    EXPECT_FALSE(other.producer->broken());
    RawMemory taken{other.producer->fd(), kRingAt + 4096};
    const std::uint64_t beyond = written + position;
    taken.put(kTakenAt, &beyond, sizeof(beyond));
    EXPECT_FALSE(other.producer->try_write("x"));
    EXPECT_TRUE(other.producer->broken());
    EXPECT_FALSE(other.producer->write("x", always));
    EXPECT_FALSE(other.producer->post("x"));
  }
}

TEST(Channel, ALengthBeyondTheBoundBreaksItAtOnce) {
  Pair pair = make_pair(4096, 1000);
  ASSERT_TRUE(pair.producer->try_write(std::string(1000, 'x')));
  EXPECT_TRUE(pair.consumer->read());
  ASSERT_TRUE(pair.producer->try_write(std::string(1001, 'x')));
  EXPECT_FALSE(pair.consumer->read());
  EXPECT_TRUE(pair.consumer->broken());
}

TEST(Channel, GarbageInTheMemoryIsSurvived) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random{seed};
  for (int round = 0; round < 300; ++round) {
    Pair pair = make_pair(4096, 1 << 16);
    RawMemory memory{pair.consumer->fd(), kRingAt + 4096};
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t value = random();
      switch (random() % 5) {
        case 0:
          memory.put((random() % memory.bytes()) & ~7ULL, &value, sizeof(value));
          break;
        case 1: {
          const std::uint64_t near = value % 10'000;
          memory.put(random() % 2 == 0 ? kWrittenAt : kTakenAt, &near, sizeof(near));
          break;
        }
        case 2:
          static_cast<void>(pair.producer->try_write(std::string(value % 3000, 'x')));
          break;
        case 3:
          static_cast<void>(pair.producer->post(std::string(value % 9000, 'x')));
          break;
        default:
          if (const auto message = pair.consumer->read()) {
            ASSERT_LE(message->size(), std::size_t{1} << 16);
          }
      }
    }
  }
}

}  // namespace
}  // namespace cachee::daemon
