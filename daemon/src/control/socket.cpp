#include "control/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <cachee/inspect.hpp>
#include <cachee/maintain.hpp>
#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "control/helpers.hpp"
#include "control/listener.hpp"
#include "control/resp.hpp"
#include "core/log.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr std::size_t kReadBytes = std::size_t{64} << 10;
constexpr std::size_t kReadBytesMax = std::size_t{1} << 20;      // of a large argument, at once
constexpr std::size_t kReplyBytesSoft = std::size_t{1} << 20;    // unsent; then no more commands
constexpr std::size_t kReplyBytesExtra = std::size_t{256} << 20;  // a reply, besides one value
constexpr std::size_t kArgumentBytesExtra = std::size_t{64} << 10;
constexpr int kCommandsPerTurn = 200;
constexpr int kAcceptsPerTurn = 64;
constexpr int kEventsPerTurn = 64;
constexpr milliseconds kAcceptPause{100};
constexpr milliseconds kStallCheck{1000};
constexpr milliseconds kSlowWrite{20};       // a write that took longer has met a full ring
constexpr milliseconds kSlowWriteMemory{2000};
constexpr milliseconds kFarewell{100};
constexpr std::uint64_t kRequestValuesMax = 4;  // values of full size in one request

// What an epoll event is about; connections have their id, which begins above these.
constexpr std::uint64_t kWakeTag = 0;
constexpr std::uint64_t kUnixTag = 1;
constexpr std::uint64_t kTcpTag = 2;
constexpr std::uint64_t kFirstSessionId = 3;

SteadyTime now() { return std::chrono::steady_clock::now(); }

struct Waiting {
  Hold hold;
  std::string reply;  // when the wait succeeds
  SteadyTime since;
  SteadyTime deadline;
};

struct Connection {
  Connection(FileDescriptor socket, const resp::RequestLimits& limits, std::size_t reply_bytes_max)
      : fd{std::move(socket)}, parser{limits}, reply{reply_bytes_max} {}

  FileDescriptor fd;
  Session session{};
  resp::RequestParser parser;
  resp::ReplyWriter reply;
  std::optional<Waiting> waiting{};
  bool helped = false;         // a helper runs its command
  bool expects = false;        // its reply comes through the mailbox
  SteadyTime asked{};          // since then
  bool input_ended = false;
  bool broken = false;         // nothing can be sent any more
  bool queued = false;         // is in Impl::ready
  std::uint32_t interest = 0;  // what epoll was asked for
  std::size_t accounted_bytes = 0;
  SteadyTime progress{};       // when output last moved, or began to wait

  [[nodiscard]] bool paused() const { return waiting || helped || expects; }
  [[nodiscard]] bool takes_commands() const {
    return !paused() && !session.closing && reply.pending().size() < kReplyBytesSoft;
  }
};

std::string peer_of(int fd, bool is_tcp) {
  if (!is_tcp) {
    ucred who{};
    socklen_t bytes = sizeof(who);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0) return "unix";
    return fmt::format("pid:{}/uid:{}", who.pid, who.uid);
  }
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) return "tcp";
  ListenAddress address;
  address.ipv6 = storage.ss_family == AF_INET6;
  if (address.ipv6) {
    sockaddr_in6 peer{};
    std::memcpy(&peer, &storage, sizeof(peer));
    std::memcpy(address.bytes.data(), &peer.sin6_addr, sizeof(peer.sin6_addr));
    address.port = ntohs(peer.sin6_port);
  } else {
    sockaddr_in peer{};
    std::memcpy(&peer, &storage, sizeof(peer));
    std::memcpy(address.bytes.data(), &peer.sin_addr, sizeof(peer.sin_addr));
    address.port = ntohs(peer.sin_port);
  }
  return format_address(address);
}

// How long until a wait is looked at again: closely at first, since most end within microseconds.
milliseconds poll_interval(SteadyTime::duration waited) {
  if (waited < 100ms) return 1ms;
  return waited < 2s ? 5ms : 20ms;
}

}  // namespace

struct ControlServer::Impl {
  Impl(ControlOptions wanted, std::shared_ptr<ServerState> state, UnixListener local,
       TcpListener remote, FileDescriptor poll, FileDescriptor bell)
      : options{std::move(wanted)},
        server{std::move(state)},
        unix_listener{std::move(local)},
        tcp_listener{std::move(remote)},
        epoll{std::move(poll)},
        wake{std::move(bell)},
        ring{server->cache},
        writers{server, [fd = wake.get()] { (void)eventfd_write(fd, 1); }, Farewell::brief},
        askers{server, [fd = wake.get()] { (void)eventfd_write(fd, 1); }, Farewell::complete},
        testers{server, [fd = wake.get()] { (void)eventfd_write(fd, 1); }, Farewell::complete} {
    if (const auto segment = segment_info(server->cache)) {
      ring_limit = segment->ring.admission_limit;
      options.value_bytes_max = std::min(options.value_bytes_max, segment->value_bytes_max);
    }
    server->value_bytes_max = options.value_bytes_max;
    limits.bulk_bytes_max = options.value_bytes_max + kArgumentBytesExtra;
    limits.request_bytes_max = options.value_bytes_max * kRequestValuesMax + resp::kItemsMax * 16;
  }

  // The loop.
  void run() noexcept;
  void turn();
  [[nodiscard]] int timeout_ms() const;
  void watch(int fd, std::uint64_t tag, std::uint32_t interest);
  [[nodiscard]] bool stopping() const {
    const std::lock_guard lock{mutex};
    return stop_asked;
  }

  // Connections.
  void accept_from(int listener, bool is_tcp);
  void add_connection(FileDescriptor fd, bool is_tcp);
  void drop(std::uint64_t id);
  void on_event(std::uint64_t id, std::uint32_t events);
  void receive(Connection& connection);
  void serve(Connection& connection);
  void settle(Connection& connection);
  void flush(Connection& connection);
  [[nodiscard]] bool account(Connection& connection);
  void mark_ready(Connection& connection);
  void say_farewell();
  [[nodiscard]] Connection* find(std::uint64_t id);

  // Commands.
  void execute(Connection& connection, Arguments arguments);
  void refuse(Connection& connection);
  [[nodiscard]] bool ends_http(Connection& connection, std::string_view word);
  void finish(Connection& connection, const Command& command, std::size_t mark,
              std::chrono::microseconds took, std::optional<Hold> hold);
  void count_error(std::string_view reply);
  [[nodiscard]] bool ring_is_nearly_full() const;
  [[nodiscard]] HelperPool* pool_for(const Command& command);
  [[nodiscard]] bool hand_over(Connection& connection, const Command& command, Arguments arguments);
  void take_helped(HelperPool& pool);
  void take_mail();
  void expect_mail(Connection& connection);
  void check_waiting();
  void check_stalled();

  ControlOptions options;
  std::shared_ptr<ServerState> server;
  UnixListener unix_listener;
  TcpListener tcp_listener;
  FileDescriptor epoll;
  FileDescriptor wake;
  EventReader ring;
  std::uint64_t ring_limit = 0;
  SteadyTime writes_slow_until{};
  bool http_warned = false;
  resp::RequestLimits limits{};

  std::map<std::uint64_t, std::unique_ptr<Connection>> connections{};
  std::uint64_t next_id = kFirstSessionId;
  std::vector<std::uint64_t> ready{};        // may have whole requests in their buffers
  std::vector<std::uint64_t> waiting{};      // Connection::waiting is set
  std::size_t buffered_bytes = 0;
  std::size_t unsent_connections = 0;
  SteadyTime next_stall_check{};
  std::optional<SteadyTime> accept_again{};

  mutable std::mutex mutex{};
  bool stop_asked = false;  // guarded by mutex
  HelperPool writers;
  HelperPool askers;
  HelperPool testers;
  std::thread thread{};
};

// ---- The loop

void ControlServer::Impl::watch(int fd, std::uint64_t tag, std::uint32_t interest) {
  epoll_event event{};
  event.events = interest;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT) {
    (void)::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  }
}

void ControlServer::Impl::run() noexcept {
  watch(wake.get(), kWakeTag, EPOLLIN);
  watch(unix_listener.fd(), kUnixTag, EPOLLIN);
  if (tcp_listener.fd) watch(tcp_listener.fd.get(), kTcpTag, EPOLLIN);
  while (!stopping()) {
    try {
      turn();
    } catch (const std::exception& error) {
      // Out of memory at worst: every connection that is left still answers.
      log::error("the control socket: {}", error.what());
    }
  }
  say_farewell();
}

int ControlServer::Impl::timeout_ms() const {
  if (!ready.empty()) return 0;
  std::optional<SteadyTime> next = accept_again;
  const auto sooner = [&next](SteadyTime when) { next = next ? std::min(*next, when) : when; };
  const SteadyTime here = now();
  for (const std::uint64_t id : waiting) {
    const auto found = connections.find(id);
    if (found == connections.end() || !found->second->waiting) continue;
    const Waiting& wait = *found->second->waiting;
    sooner(wait.hold.sleep ? wait.deadline
                           : std::min(wait.deadline, here + poll_interval(here - wait.since)));
  }
  if (unsent_connections > 0) sooner(next_stall_check);
  if (!next) return -1;
  const auto left = std::chrono::ceil<milliseconds>(*next - here).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void ControlServer::Impl::turn() {
  epoll_event events[kEventsPerTurn];
  const int count = ::epoll_wait(epoll.get(), events, kEventsPerTurn, timeout_ms());
  for (const epoll_event& event : std::span{events, static_cast<std::size_t>(std::max(count, 0))}) {
    switch (event.data.u64) {
      case kWakeTag: {
        eventfd_t rung = 0;
        (void)eventfd_read(wake.get(), &rung);
        for (HelperPool* const pool : {&writers, &askers, &testers}) take_helped(*pool);
        take_mail();
        break;
      }
      case kUnixTag: accept_from(unix_listener.fd(), false); break;
      case kTcpTag: accept_from(tcp_listener.fd.get(), true); break;
      default: on_event(event.data.u64, event.events); break;
    }
  }
  // Requests that came together are answered in turns, so that nobody's pipeline starves others.
  for (const std::uint64_t id : std::exchange(ready, {})) {
    Connection* connection = find(id);
    if (connection == nullptr) continue;
    connection->queued = false;
    serve(*connection);
  }
  check_waiting();
  if (accept_again && now() >= *accept_again) {
    accept_again.reset();
    watch(unix_listener.fd(), kUnixTag, EPOLLIN);
    if (tcp_listener.fd) watch(tcp_listener.fd.get(), kTcpTag, EPOLLIN);
  }
  if (unsent_connections > 0 && now() >= next_stall_check) check_stalled();
}

void ControlServer::Impl::say_farewell() {
  unix_listener.close();
  tcp_listener.fd.reset();
  const SteadyTime deadline = now() + kFarewell;
  for (auto& [id, connection] : connections) {
    while (!connection->reply.pending().empty() && now() < deadline) {
      const auto pending = connection->reply.pending();
      const auto sent = ::send(connection->fd.get(), pending.data(), pending.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      connection->reply.consume(static_cast<std::size_t>(sent));
    }
  }
  server->sessions.clear();
  connections.clear();
}

// ---- Connections

Connection* ControlServer::Impl::find(std::uint64_t id) {
  const auto found = connections.find(id);
  return found == connections.end() ? nullptr : found->second.get();
}

void ControlServer::Impl::accept_from(int listener, bool is_tcp) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    FileDescriptor fd{::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (fd) {
      add_connection(std::move(fd), is_tcp);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    // No descriptor or no memory: those who wait stay in the backlog until some are given back.
    log::warn("connections to the control socket cannot be accepted: {}; trying again",
              std::generic_category().message(errno));
    watch(unix_listener.fd(), kUnixTag, 0);
    if (tcp_listener.fd) watch(tcp_listener.fd.get(), kTcpTag, 0);
    accept_again = now() + kAcceptPause;
    return;
  }
}

void ControlServer::Impl::add_connection(FileDescriptor fd, bool is_tcp) {
  ++server->connections_total;
  if (connections.size() >= options.connections_max) {
    ++server->connections_refused;
    constexpr std::string_view kRefusal = "-ERR max number of clients reached\r\n";
    (void)::send(fd.get(), kRefusal.data(), kRefusal.size(), MSG_NOSIGNAL);
    return;
  }
  if (is_tcp) {
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  }
  auto connection = std::make_unique<Connection>(std::move(fd), limits,
                                                 options.value_bytes_max + kReplyBytesExtra);
  Session& session = connection->session;
  session.id = next_id++;
  session.fd = connection->fd.get();
  session.peer = peer_of(session.fd, is_tcp);
  session.authenticated = !is_tcp || options.password.empty();
  session.connected_wall_ms = wall_ms_now();
  session.connected = session.last_used = connection->progress = now();
  connection->parser.set_stranger(!session.authenticated);
  connection->interest = EPOLLIN;
  watch(session.fd, session.id, EPOLLIN);
  server->sessions[session.id] = &session;
  connections[session.id] = std::move(connection);
}

void ControlServer::Impl::drop(std::uint64_t id) {
  const auto found = connections.find(id);
  if (found == connections.end()) return;
  Connection& connection = *found->second;
  if (connection.waiting || connection.expects) --server->waiting;
  if (connection.session.reads_groups) server->triggers.groups().leave(id);
  if ((connection.interest & EPOLLOUT) != 0) --unsent_connections;
  buffered_bytes -= connection.accounted_bytes;
  server->sessions.erase(id);
  connections.erase(found);
}

void ControlServer::Impl::on_event(std::uint64_t id, std::uint32_t events) {
  Connection* connection = find(id);
  if (connection == nullptr) return;
  if ((events & EPOLLIN) != 0 && (connection->interest & EPOLLIN) != 0) {
    receive(*connection);
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    // Nobody is there to take the reply.
    return drop(id);
  }
  if ((events & EPOLLOUT) != 0) flush(*connection);
  serve(*connection);
}

void ControlServer::Impl::receive(Connection& connection) {
  const std::size_t wanted =
      std::clamp(connection.parser.bytes_wanted(), kReadBytes, kReadBytesMax);
  const auto room = connection.parser.prepare(wanted);
  const auto received = ::recv(connection.fd.get(), room.data(), room.size(), 0);
  if (received > 0) {
    connection.parser.commit(static_cast<std::size_t>(received));
    server->input_bytes_total += static_cast<std::uint64_t>(received);
    connection.session.last_used = now();
  } else if (received == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
    connection.input_ended = true;
  }
}

// Carries out what has arrived, sends what is ready, and asks epoll for what comes next.
void ControlServer::Impl::serve(Connection& connection) {
  using Status = resp::RequestParser::Status;
  int left = kCommandsPerTurn;
  Status status = Status::request;
  while (left > 0 && connection.takes_commands()) {
    status = connection.parser.next();
    if (status == Status::refused) {
      refuse(connection);
    } else if (status == Status::request) {
      execute(connection, connection.parser.arguments());
    } else {
      break;
    }
    --left;
  }
  if (status == Status::error && !connection.session.closing) {
    connection.reply.error("ERR " + connection.parser.error());
    connection.session.closing = true;
  }
  // The turn is over, yet there may be more in the buffer.
  const bool more = (status == Status::request || status == Status::refused) && connection.takes_commands();
  if (more) mark_ready(connection);
  if (connection.input_ended && !more && !connection.paused() &&
      connection.reply.pending().size() < kReplyBytesSoft) {
    connection.session.closing = true;
  }
  settle(connection);
}

void ControlServer::Impl::settle(Connection& connection) {
  const std::uint64_t id = connection.session.id;
  if (connection.reply.overflowed()) {
    log::warn("the connection of {} is closed: a reply of {} would be larger than allowed",
              connection.session.peer, connection.session.last_command);
    return drop(id);
  }
  const std::size_t unsent = connection.reply.pending().size();
  flush(connection);
  if (connection.broken || !account(connection)) return drop(id);
  // A reply that went out makes room for commands that were held back by it.
  if (unsent >= kReplyBytesSoft && connection.takes_commands()) mark_ready(connection);
  if (connection.session.closing && !connection.paused() && connection.reply.pending().empty()) {
    ::shutdown(connection.fd.get(), SHUT_WR);
    // What is left unread would turn the end into a reset, and the last reply could be lost.
    char rest[4096];
    for (int i = 0; i < 16 && ::recv(connection.fd.get(), rest, sizeof(rest), 0) > 0; ++i) {
    }
    return drop(id);
  }
  std::uint32_t interest = 0;
  if (connection.takes_commands() && !connection.input_ended) interest |= EPOLLIN;
  if (!connection.reply.pending().empty()) interest |= EPOLLOUT;
  if (interest == connection.interest) return;
  const bool was_unsent = (connection.interest & EPOLLOUT) != 0;
  const bool is_unsent = (interest & EPOLLOUT) != 0;
  if (is_unsent && !was_unsent) {
    connection.progress = now();
    if (++unsent_connections == 1) next_stall_check = now() + kStallCheck;
  }
  if (was_unsent && !is_unsent) --unsent_connections;
  connection.interest = interest;
  watch(connection.fd.get(), id, interest);
}

void ControlServer::Impl::flush(Connection& connection) {
  const auto pending = connection.reply.pending();
  if (pending.empty() || connection.broken) return;
  const auto sent = ::send(connection.fd.get(), pending.data(), pending.size(), MSG_NOSIGNAL);
  if (sent > 0) {
    connection.reply.consume(static_cast<std::size_t>(sent));
    server->output_bytes_total += static_cast<std::uint64_t>(sent);
    connection.progress = now();
  } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    connection.broken = true;
  }
}

// False when all buffers together have become too large and this connection is the one to go.
bool ControlServer::Impl::account(Connection& connection) {
  connection.session.input_bytes = connection.parser.buffered_bytes();
  connection.session.output_bytes = connection.reply.pending().size();
  const std::size_t bytes = connection.parser.memory_bytes() + connection.reply.memory_bytes();
  buffered_bytes = buffered_bytes - connection.accounted_bytes + bytes;
  connection.accounted_bytes = bytes;
  if (buffered_bytes <= options.buffers_bytes_max || bytes <= kReplyBytesSoft) return true;
  log::warn("the connection of {} is closed: all buffers of the control socket hold {} bytes, of "
            "which {} are its own",
            connection.session.peer, buffered_bytes, bytes);
  return false;
}

void ControlServer::Impl::mark_ready(Connection& connection) {
  if (std::exchange(connection.queued, true)) return;
  ready.push_back(connection.session.id);
}

void ControlServer::Impl::check_stalled() {
  const SteadyTime here = now();
  next_stall_check = here + kStallCheck;
  std::vector<std::uint64_t> stalled;
  for (const auto& [id, connection] : connections) {
    if ((connection->interest & EPOLLOUT) == 0) continue;
    if (here - connection->progress > options.stalled_max) stalled.push_back(id);
  }
  for (const std::uint64_t id : stalled) {
    log::warn("the connection of {} is closed: it has not taken its replies for {} ms",
              find(id)->session.peer, options.stalled_max.count());
    drop(id);
  }
}

// ---- Commands

bool ControlServer::Impl::ring_is_nearly_full() const {
  if (now() < writes_slow_until) return true;
  const std::uint64_t depth = ring.tail() - ring.head();
  return ring_limit > 0 && depth >= ring_limit - ring_limit / 8;
}

// Answers a request that was too large to be kept.
void ControlServer::Impl::refuse(Connection& connection) {
  const std::size_t mark = connection.reply.mark();
  ++connection.session.commands;
  ++server->commands_total;
  if (connection.parser.excess() == resp::RequestParser::Excess::bulk) {
    connection.reply.error(value_too_large_text(options.value_bytes_max));
  } else {
    connection.reply.error(fmt::format("ERR the command is longer than {} bytes: send it in parts",
                                       limits.request_bytes_max));
  }
  count_error(connection.reply.since(mark));
}

// Every HTTP request has a line that begins so, before its body. A web page can make a browser send one to a port of
// this machine, and the lines of the body would be commands: the connection ends here, as Redis ends it.
bool ControlServer::Impl::ends_http(Connection& connection, std::string_view word) {
  if (!equal_ignoring_case(word, "post") && !equal_ignoring_case(word, "host:")) return false;
  connection.session.closing = true;
  if (!std::exchange(http_warned, true)) {
    log::warn("the connection of {} is closed: it speaks HTTP, which may be an attack through somebody's browser. "
              "Others that do so are closed without a word",
              connection.session.peer);
  }
  return true;
}

void ControlServer::Impl::execute(Connection& connection, Arguments arguments) {
  if (ends_http(connection, arguments[0])) return;
  Session& session = connection.session;
  const std::size_t mark = connection.reply.mark();
  ++session.commands;
  ++server->commands_total;
  const Command* command = resolve_command(arguments, connection.reply);
  if (command == nullptr) return count_error(connection.reply.since(mark));
  session.last_command = command->name;
  auto& stats = server->command_stats[static_cast<std::size_t>(command - all_commands().data())];
  if (!session.authenticated && (command->flags & kNoAuth) == 0) {
    ++stats.rejected;
    connection.reply.error("NOAUTH Authentication required.");
    return count_error(connection.reply.since(mark));
  }
  if (hand_over(connection, *command, arguments)) return;
  const SteadyTime start = now();
  Call call{server->cache, options.value_bytes_max, arguments, connection.reply,
            {},            false,                   *server,   session};
  run_guarded(*command, call);
  const auto took = now() - start;
  if ((command->flags & kWrites) != 0 && took > kSlowWrite) writes_slow_until = now() + kSlowWriteMemory;
  connection.parser.set_stranger(!session.authenticated);
  if (call.later) return expect_mail(connection);
  finish(connection, *command, mark,
         std::chrono::duration_cast<std::chrono::microseconds>(took), std::move(call.hold));
}

void ControlServer::Impl::finish(Connection& connection, const Command& command, std::size_t mark,
                                 std::chrono::microseconds took, std::optional<Hold> hold) {
  auto& stats = server->command_stats[static_cast<std::size_t>(&command - all_commands().data())];
  ++stats.calls;
  stats.microseconds += static_cast<std::uint64_t>(took.count());
  const std::string_view reply = connection.reply.since(mark);
  if (reply.starts_with('-')) {
    ++stats.failed;
    count_error(reply);
  }
  if (!hold) return;
  Waiting wait;
  wait.reply = connection.reply.take_since(mark);
  wait.since = now();
  wait.deadline = wait.since + hold->patience;
  wait.hold = *std::move(hold);
  connection.waiting = std::move(wait);
  waiting.push_back(connection.session.id);
  ++server->waiting;
}

void ControlServer::Impl::count_error(std::string_view reply) {
  // The names that count are ours: words in capitals, so there are few of them.
  if (!reply.starts_with('-')) return;
  reply.remove_prefix(1);
  const std::string_view name = reply.substr(0, reply.find(' '));
  const auto found = server->error_stats.find(name);
  if (found != server->error_stats.end()) {
    ++found->second;
  } else {
    server->error_stats.emplace(name, 1);
  }
}

// Who carries the command out: null for the control thread itself.
HelperPool* ControlServer::Impl::pool_for(const Command& command) {
  if ((command.flags & kTries) != 0) return &testers;
  if ((command.flags & kAsks) != 0) return &askers;
  return (command.flags & kWrites) != 0 && ring_is_nearly_full() ? &writers : nullptr;
}

bool ControlServer::Impl::hand_over(Connection& connection, const Command& command,
                                    Arguments arguments) {
  HelperPool* const pool = pool_for(command);
  if (pool == nullptr) return false;
  HelperJob job;
  job.session_id = connection.session.id;
  job.command = &command;
  job.arguments.assign(arguments.begin(), arguments.end());
  job.protocol = connection.session.protocol;
  job.reply_bytes_max = options.value_bytes_max + kReplyBytesExtra;
  if (!pool->submit(job)) return false;
  connection.helped = true;
  return true;
}

void ControlServer::Impl::take_helped(HelperPool& pool) {
  for (HelperJob& job : pool.take_done()) {
    if ((job.command->flags & kWrites) != 0 && job.took > kSlowWrite) writes_slow_until = now() + kSlowWriteMemory;
    Connection* connection = find(job.session_id);
    if (connection == nullptr) continue;
    connection->helped = false;
    const std::size_t mark = connection->reply.mark();
    connection->reply.raw(job.reply);
    finish(*connection, *job.command, mark, job.took, std::move(job.hold));
    serve(*connection);
  }
}

void ControlServer::Impl::expect_mail(Connection& connection) {
  connection.expects = true;
  connection.asked = now();
  ++server->waiting;
}

void ControlServer::Impl::take_mail() {
  for (Mailbox::Letter& letter : server->mailbox->take()) {
    Connection* connection = find(letter.session_id);
    if (connection == nullptr || !connection->expects) continue;
    connection->expects = false;
    --server->waiting;
    const Command* command = find_command(connection->session.last_command);
    const std::size_t mark = connection->reply.mark();
    letter.write(connection->reply);
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(now() - connection->asked);
    if (command != nullptr) finish(*connection, *command, mark, took, std::nullopt);
    serve(*connection);
  }
}

// Ends the waits whose events are acknowledged or whose time has come.
void ControlServer::Impl::check_waiting() {
  if (waiting.empty()) return;
  const SteadyTime here = now();
  for (const std::uint64_t id : std::exchange(waiting, {})) {
    Connection* connection = find(id);
    if (connection == nullptr || !connection->waiting) continue;
    Waiting& wait = *connection->waiting;
    std::optional<Error> error;
    auto& events = wait.hold.events;
    while (!events.empty()) {
      const auto done = server->cache.wait_acknowledged(events.back(), milliseconds{0});
      if (!done && done.code() != Errc::timed_out) error = done.error();
      if (!done) break;
      events.pop_back();
    }
    const bool late = here >= wait.deadline;
    if (wait.hold.sleep ? !late : !events.empty() && !error && !late) {
      waiting.push_back(id);
      continue;
    }
    if (error) {
      reply_error(connection->reply, *error);
    } else if (!events.empty()) {
      connection->reply.error(
          "WAITTIMEOUT the triggers have not acknowledged the event in time; the write stands");
    } else {
      connection->reply.raw(wait.reply);
    }
    connection->waiting.reset();
    --server->waiting;
    serve(*connection);
  }
}

// ---- The face

ControlServer::ControlServer(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}

Outcome<std::unique_ptr<ControlServer>> ControlServer::start(ControlOptions options, Cache cache,
                                                             TriggerAdmin& triggers,
                                                             ControlHooks hooks) {
  if (options.listen && !options.listen->is_loopback() && options.password.empty()) {
    return Failure{Errc::invalid_argument,
                   fmt::format("--listen {} is not a loopback address: everybody who reaches it "
                               "could read and write; give a --password-file, or listen on "
                               "127.0.0.1",
                               format_address(*options.listen))};
  }
  auto local = UnixListener::open({options.socket_path, options.mode, options.group});
  if (!local) return local.failure();
  TcpListener remote;
  if (options.listen) {
    auto opened = listen_tcp(*options.listen);
    if (!opened) return opened.failure();
    remote = *std::move(opened);
  }
  FileDescriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
  FileDescriptor wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!epoll || !wake) {
    return Failure{Errc::io, fmt::format("the control socket cannot be served: {}",
                                         std::generic_category().message(errno))};
  }
  auto state = std::make_shared<ServerState>(
      ServerState{std::move(cache), triggers, std::move(hooks)});
  state->socket_path = options.socket_path;
  state->tcp_port = remote.port;
  state->password = options.password;
  state->connections_max = options.connections_max;
  state->started = now();
  state->mailbox = std::make_shared<Mailbox>([fd = wake.get()] { (void)eventfd_write(fd, 1); });
  state->command_stats.resize(all_commands().size());
  auto impl = std::make_unique<Impl>(std::move(options), std::move(state), *std::move(local),
                                     std::move(remote), std::move(epoll), std::move(wake));
  try {
    impl->thread = std::thread{[raw = impl.get()] { raw->run(); }};
  } catch (const std::system_error& error) {
    return Failure{Errc::io,
                   fmt::format("the control socket's thread cannot start: {}", error.what())};
  }
  return std::unique_ptr<ControlServer>{new ControlServer{std::move(impl)}};
}

ControlServer::~ControlServer() { stop(); }

void ControlServer::stop() noexcept {
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->stop_asked = true;
  }
  (void)eventfd_write(impl_->wake.get(), 1);
  if (impl_->thread.joinable()) impl_->thread.join();
  impl_->server->mailbox->close();
}

std::uint16_t ControlServer::tcp_port() const noexcept { return impl_->server->tcp_port; }

}  // namespace cachee::daemon
