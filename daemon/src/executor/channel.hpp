// Channel: messages from one process to another through shared memory (a memfd): one producer, one
// consumer, bytes in a ring. A message longer than the ring streams through it.
//
// Use:   auto channel = Channel::create(1 << 20);         // the supervisor; pass channel.fd() on
//        auto same = Channel::map(fd);                    // the other process
//        same->write(message, keep_going);                // producer: waits for room
//        channel->post(message); channel->flush();        // producer: never waits
//        while (auto message = channel->read()) use(*message);   // consumer
//
// Neither side trusts the other's bytes: positions and lengths are checked against the ring and the
// reader's bound, each side keeps its own position to itself, and a channel that makes no sense is
// `broken()` for good. The memory is sealed: nobody can cut it off under the other's feet.
//
// CHANNEL PROTOCOL
//   W1 the producer copies bytes in   W2 stores `written`   W3 loads `sleeping`, rings if it was
//   set R1 the consumer stores `sleeping` R2 loads `written`    R3 sleeps if nothing is there All
//   four words are sequentially consistent: either W3 sees R1, or R2 sees W2. Room is waited for in
//   the same way with `taken`, `wanting` and `room_bell`. A side that is killed in between leaves
//   at worst half a message, which is never delivered.
//
// Threads: one on each side; wake() and drained() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/outcome.hpp"

namespace cachee::daemon {

inline constexpr std::size_t kMessageBytesMax = std::size_t{256} << 20;
inline constexpr std::size_t kPendingBytesMax = std::size_t{1} << 20;  // posted, beside one message

class Channel {
 public:
  /// @param message_bytes_max  what read() accepts at most
  [[nodiscard]] static Outcome<std::unique_ptr<Channel>> create(
      std::size_t ring_bytes, std::size_t message_bytes_max = kMessageBytesMax);
  /// Maps what create() made; keeps the descriptor.
  [[nodiscard]] static Outcome<std::unique_ptr<Channel>> map(
      int fd, std::size_t message_bytes_max = kMessageBytesMax);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();
  [[nodiscard]] int fd() const noexcept { return fd_; }

  // Producer
  /// Writes all of a message or nothing; false: there is no room now.
  bool try_write(std::string_view message);
  /// The same with a message that `fill(char*)` writes to its place; false, also when there is no room in one piece,
  /// without a call of it.
  template <class Fill>
  bool try_write_in_place(std::size_t message_bytes, Fill&& fill) {
    char* const at = reserve(message_bytes);
    if (at == nullptr) return false;
    fill(at);
    commit(message_bytes);
    return true;
  }
  /// Waits for room, also for messages longer than the ring. False: `keep_going`, which is asked
  /// now and then, said no, or the channel is broken.
  bool write(std::string_view message, const std::function<bool()>& keep_going);
  /// Takes a message of any size over; what does not fit now goes with later calls of flush().
  /// False: too much is waiting already.
  bool post(std::string_view message);
  /// Whether post() would take a message now: worth asking before a large one is made.
  [[nodiscard]] bool can_post();
  /// Writes what was posted as far as there is room. True when nothing waits any more.
  bool flush();

  // Consumer
  /// The next whole message; valid until the next call.
  [[nodiscard]] std::optional<std::string_view> read();
  /// Sleeps until there may be something to read.
  void wait(std::chrono::microseconds longest);
  /// Ends a wait() of the other side.
  void wake();

  [[nodiscard]] bool broken() const noexcept { return broken_; }
  /// Whether all that was written is taken, as far as the two sides say; on any thread.
  [[nodiscard]] bool drained() const noexcept;

 private:
  struct Shared;
  Channel(int fd, Shared* shared, std::size_t mapped_bytes, std::size_t ring_bytes,
          std::size_t message_bytes_max) noexcept
      : fd_{fd},
        shared_{shared},
        mapped_bytes_{mapped_bytes},
        ring_bytes_{ring_bytes},
        message_bytes_max_{message_bytes_max} {}
  [[nodiscard]] std::size_t room(std::size_t wanted) noexcept;
  [[nodiscard]] std::size_t filled(std::size_t wanted) noexcept;
  [[nodiscard]] char* reserve(std::size_t message_bytes) noexcept;
  void commit(std::size_t message_bytes) noexcept;
  void put(std::string_view bytes) noexcept;
  void take(char* out, std::size_t bytes) noexcept;
  void publish() noexcept;
  void give_room() noexcept;
  std::size_t put_some(std::string_view bytes) noexcept;
  bool put_all(std::string_view bytes, const std::function<bool()>& keep_going);
  void wait_for_room() noexcept;
  [[nodiscard]] char* ring() const noexcept;

  int fd_;
  Shared* shared_;
  std::size_t mapped_bytes_;
  std::size_t ring_bytes_;
  std::size_t message_bytes_max_;
  std::uint64_t own_ = 0;                  // this side's position, the one it publishes
  std::uint64_t peer_ = 0;                 // the other side's as of the last look: a look costs a cache miss
  std::string pending_{};                  // producer: posted, with lengths
  std::size_t pending_done_ = 0;           // of it, already written
  std::string message_{};                  // consumer
  std::optional<std::size_t> expected_{};  // bytes of the message that is being read
  bool broken_ = false;
};

}  // namespace cachee::daemon
