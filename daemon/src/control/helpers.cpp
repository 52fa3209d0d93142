#include "control/helpers.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "core/log.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kHelpersMax = 4;
constexpr std::chrono::seconds kBriefly{1};

void run_job(ServerState& server, HelperJob& job) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<std::string_view> views(job.arguments.begin(), job.arguments.end());
  resp::ReplyWriter reply{job.reply_bytes_max};
  reply.protocol = job.protocol;
  // The connection may go meanwhile; commands that run here do not look at their session.
  Session stand_in;
  Call call{server.cache, server.value_bytes_max, views, reply, {}, false, server, stand_in};
  run_guarded(*job.command, call);
  job.reply = reply.take_since(0);
  job.hold = std::move(call.hold);
  job.took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
}

}  // namespace

struct HelperPool::Shared {
  std::shared_ptr<ServerState> server;
  std::function<void()> wake;
  std::mutex mutex{};
  std::condition_variable changed{};
  std::deque<HelperJob> waiting{};
  std::vector<HelperJob> done{};
  std::size_t threads = 0;
  std::size_t idle = 0;
  bool stopping = false;
};

HelperPool::HelperPool(std::shared_ptr<ServerState> server, std::function<void()> wake, Farewell farewell)
    : shared_{std::make_shared<Shared>()}, farewell_{farewell} {
  shared_->server = std::move(server);
  shared_->wake = std::move(wake);
}

HelperPool::~HelperPool() {
  std::unique_lock lock{shared_->mutex};
  shared_->stopping = true;
  shared_->waiting.clear();
  shared_->wake = nullptr;
  shared_->changed.notify_all();
  const auto over = [this] { return shared_->threads == 0; };
  if (farewell_ == Farewell::complete) {
    shared_->changed.wait(lock, over);
  } else {
    // A command may wait for the ring as long as its trigger says; nobody else has to.
    shared_->changed.wait_for(lock, kBriefly, over);
  }
}

bool HelperPool::submit(HelperJob& job) {
  const std::lock_guard lock{shared_->mutex};
  if (shared_->idle <= shared_->waiting.size() && shared_->threads < kHelpersMax) {
    try {
      std::thread{[shared = shared_] { work(shared); }}.detach();
      ++shared_->threads;
    } catch (const std::system_error& error) {
      log::warn("a helper thread cannot be started: {}", error.what());
      if (shared_->threads == 0) return false;
    }
  }
  shared_->waiting.push_back(std::move(job));
  shared_->changed.notify_one();
  return true;
}

std::vector<HelperJob> HelperPool::take_done() {
  const std::lock_guard lock{shared_->mutex};
  return std::exchange(shared_->done, {});
}

void HelperPool::work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock{shared->mutex};
  for (;;) {
    ++shared->idle;
    shared->changed.wait(lock, [&] { return shared->stopping || !shared->waiting.empty(); });
    --shared->idle;
    if (shared->stopping) break;
    HelperJob job = std::move(shared->waiting.front());
    shared->waiting.pop_front();
    lock.unlock();
    run_job(*shared->server, job);
    lock.lock();
    shared->done.push_back(std::move(job));
    if (shared->wake) shared->wake();
  }
  --shared->threads;
  shared->changed.notify_all();
}

void run_guarded(const Command& command, Call& call) {
  const std::size_t mark = call.reply.mark();
  try {
    command.run(call);
  } catch (const std::exception& error) {
    call.reply.rewind(mark);
    call.hold.reset();
    call.reply.error(fmt::format("ERR {} failed: {}", command.name, error.what()));
    log::error("the command {} failed: {}", command.name, error.what());
  }
}

}  // namespace cachee::daemon
