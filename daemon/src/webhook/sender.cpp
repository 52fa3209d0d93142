#include "webhook/sender.hpp"

#include <algorithm>
#include <utility>

#include <curl/curl.h>

#include "core/clock.hpp"
#include "core/log.hpp"
#include "webhook/request.hpp"
#include "webhook/retry.hpp"

namespace cachee::daemon {
namespace {

using std::chrono::milliseconds;

constexpr int kItemsPerCycle = 256;
constexpr std::int64_t kLookAgainMs = 1000;    // somebody may have put rows in without a wake()
constexpr std::int64_t kStoreFailureMs = 200;  // before the store is asked again after a failure
constexpr TimeNs kNsPerMs = 1'000'000;
constexpr std::int64_t kQueueLookMs = 1000;  // between two counts of the rows; and at least
constexpr TimeNs kQueueLookShare = 50;       // so many times as long as the count took

void init_curl_once() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(code);  // a failure shows when the first handle cannot be made
}

}  // namespace

struct Sender::Multi {
  CURLM* handle = nullptr;
  ~Multi() { curl_multi_cleanup(handle); }
};

Outcome<std::unique_ptr<Sender>> Sender::make(StoreOptions options, const SenderSettings& settings,
                                              WarmSink sink) {
  init_curl_once();
  // A commit that a loss of power takes back means one request more, with the same idempotency
  // key; that is no reason for an fsync after every answer. The first opener has verified the file.
  options.durability = sql::Durability::process;
  options.verify = false;
  auto store = Store::open(options);
  if (!store) return store.failure();
  std::unique_ptr<Sender> sender{new Sender{std::move(*store), settings, std::move(sink)}};
  if (sender->multi_->handle == nullptr) {
    return Failure{Errc::no_space, "libcurl cannot start: out of memory"};
  }
  return sender;
}

Sender::Sender(std::unique_ptr<Store> store, const SenderSettings& settings, WarmSink sink)
    : settings_{settings},
      sink_{std::move(sink)},
      store_{std::move(store)},
      multi_{std::make_unique<Multi>()} {
  multi_->handle = curl_multi_init();
  if (multi_->handle != nullptr) {
    curl_multi_setopt(multi_->handle, CURLMOPT_MAXCONNECTS,
                      static_cast<long>(settings_.concurrency));
  }
}

Sender::~Sender() {
  stop(milliseconds{0});
  drop_all();
}

void Sender::start() {
  if (thread_.joinable()) return;
  locked([](Shared& shared) { shared.stopping = false; });
  thread_ = std::thread{[this] { run(); }};
}

void Sender::stop(milliseconds patience) {
  if (!thread_.joinable()) return;
  locked([&](Shared& shared) {
    shared.stop_by = std::chrono::steady_clock::now() + patience;
    shared.stopping = true;
  });
  wake();
  thread_.join();
}

void Sender::run() {
  for (;;) {
    const int done = do_work(mono_ns(), kItemsPerCycle);
    const Shared now = locked([](const Shared& shared) { return shared; });
    if (now.stopping) {
      const auto left = now.stop_by - std::chrono::steady_clock::now();
      if (requests_.empty() || left <= left.zero()) break;
      wait(std::chrono::ceil<milliseconds>(left));
    } else if (done == 0) {
      wait(milliseconds{kLookAgainMs});
    }
  }
  settle();
  drop_all();
}

void Sender::wake() noexcept {
  locked([](Shared& shared) { shared.woken = true; });
  curl_multi_wakeup(multi_->handle);
}

SenderCounters Sender::counters() const {
  const std::lock_guard lock{mutex_};
  return shared_.counters;
}

void Sender::wait(milliseconds longest) noexcept {
  std::int64_t wait_ms = longest.count();
  const Shared now = locked([](const Shared& shared) { return shared; });
  if (!now.stopping) {
    wait_ms = std::min(wait_ms, (look_again_ - mono_ns()) / kNsPerMs + 1);
    if (now.woken && requests_.size() < settings_.concurrency) wait_ms = 0;
    if (!unsettled_.empty()) wait_ms = kStoreFailureMs;
  }
  curl_multi_poll(multi_->handle, nullptr, 0, static_cast<int>(std::max<std::int64_t>(wait_ms, 0)),
                  nullptr);
}

int Sender::do_work(TimeNs now, int items_max) noexcept {
  try {
    int running = 0;
    curl_multi_perform(multi_->handle, &running);
    int done = collect(items_max);
    settle();
    if (!locked([](const Shared& shared) { return shared.stopping; })) {
      done += start_due(now, items_max);
    }
    look_at_queue(now, wall_ms());
    locked([&](Shared& shared) { shared.counters.in_flight = requests_.size(); });
    return done;
  } catch (const std::exception& error) {  // no memory; the rows are stored, the next cycle goes on
    log::error("the outbox sender: {}", error.what());
    return 0;
  }
}

int Sender::collect(int items_max) {
  int done = 0;
  int left = 0;
  while (done < items_max) {
    const CURLMsg* const message = curl_multi_info_read(multi_->handle, &left);
    if (message == nullptr) break;
    if (message->msg != CURLMSG_DONE) continue;
    void* self = nullptr;
    const CURLcode code = message->data.result;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
    curl_multi_remove_handle(multi_->handle, message->easy_handle);  // ends `message`
    const auto request = take(static_cast<Request*>(self)->row().id);
    ++done;
    // Whatever complete() throws, the request is out of the books and its row due again.
    complete(*request, code);
  }
  return done;
}

std::unique_ptr<Request> Sender::take(std::int64_t id) {
  const auto found = requests_.find(id);
  std::unique_ptr<Request> request = std::move(found->second);
  requests_.erase(found);
  const auto host = per_host_.find(request->row().host);
  if (--host->second == 0) per_host_.erase(host);
  locked([](Shared& shared) { shared.woken = true; });  // there is room again
  return request;
}

void Sender::complete(const Request& request, int curl_code) {
  Attempt attempt = request.finish(curl_code);
  const OutboxRow& row = request.row();
  const bool warm = row.kind == OutboxKind::warm;
  OutboxResult result = judge(settings_, row, attempt, wall_ms(), jitter());
  if (warm && result.verdict == OutboxResult::Verdict::sent && !store_warmed(request)) {
    attempt.error = "the cache did not take the value";
    result = judge(settings_, row, attempt, wall_ms(), jitter());
  }
  const bool tried = attempt.status != 0 || attempt.took_us != 0;  // not refused before it began
  locked([&](Shared& shared) {
    SenderCounters& counters = shared.counters;
    if (tried) counters.request_us.add(attempt.took_us);
    if (result.verdict == OutboxResult::Verdict::sent) {
      counters.delivery_ms.add(
          static_cast<std::uint64_t>(std::max<std::int64_t>(wall_ms() - row.created_wall_ms, 0)));
    }
    switch (result.verdict) {
      case OutboxResult::Verdict::sent:
        ++(warm ? counters.warmed : counters.sent);
        break;
      case OutboxResult::Verdict::retry:
        ++counters.retried;
        break;
      case OutboxResult::Verdict::dead:
        ++counters.dead;
        break;
    }
  });
  unsettled_[row.id] = std::move(result);
}

bool Sender::store_warmed(const Request& request) {
  const OutboxRow& row = request.row();
  try {
    return sink_ && sink_({.event_id = row.event_id,
                           .trigger = row.trigger,
                           .key = row.key,
                           .body = request.answer(),
                           .ttl_ms = row.ttl_ms,
                           .cost = row.cost,
                           .provenance = row.provenance});
  } catch (const std::exception& error) {
    log::error("cachee.warm of \"{}\": {}", row.key, error.what());
    return false;
  }
}

void Sender::settle() {
  if (unsettled_.empty()) return;
  std::vector<OutboxResult> results;
  results.reserve(unsettled_.size());
  for (const auto& [id, result] : unsettled_) results.push_back(result);
  auto done = store_->settle_outbox(results, wall_ms());
  if (done) {
    unsettled_.clear();
    return;
  }
  locked([](Shared& shared) { ++shared.counters.store_failures; });
  log::warn("the outbox cannot take down how {} requests ended, trying again: {}", results.size(),
            done.failure().text);
}

void Sender::look_at_queue(TimeNs now, std::int64_t now_wall_ms) {
  if (now < queue_look_) return;
  const TimeNs begin = mono_ns();
  const auto queue = store_->outbox_queue(now_wall_ms);
  queue_look_ =
      now + std::max<TimeNs>(kQueueLookMs * kNsPerMs, (mono_ns() - begin) * kQueueLookShare);
  if (!queue) return;  // whoever needs the store says so
  locked([&](Shared& shared) {
    shared.counters.rows = queue->rows;
    shared.counters.overdue_ms = queue->overdue_ms;
  });
}

std::size_t Sender::room_for(const std::string& host) const {
  const auto used = per_host_.find(host);
  const std::size_t busy = used == per_host_.end() ? 0 : used->second;
  return busy >= settings_.concurrency_per_host ? 0 : settings_.concurrency_per_host - busy;
}

int Sender::start_due(TimeNs now, int items_max) {
  // Nothing new while the store cannot take down what ended: that would have no bound.
  if (!unsettled_.empty() || requests_.size() >= settings_.concurrency || items_max <= 0) return 0;
  const bool woken = locked([](Shared& shared) { return std::exchange(shared.woken, false); });
  if (!woken && now < look_again_) return 0;
  const std::int64_t now_wall_ms = wall_ms();
  const std::size_t room = std::min<std::size_t>(settings_.concurrency - requests_.size(),
                                                 static_cast<std::size_t>(items_max));
  auto due = store_->due_outbox(
      now_wall_ms, room,
      {.room = [this](std::string_view host) { return room_for(std::string{host}); },
       .in_flight = [this](std::int64_t id) { return requests_.contains(id); }});
  const auto next = due ? store_->next_outbox_wall_ms(now_wall_ms)
                        : Outcome<std::optional<std::int64_t>>{due.failure()};
  if (!next) {
    locked([](Shared& shared) { ++shared.counters.store_failures; });
    log::warn("the outbox cannot be read, trying again: {}", next.failure().text);
    look_again_ = now + kStoreFailureMs * kNsPerMs;
    return 0;
  }
  const std::int64_t pause_ms = next->value_or(now_wall_ms + kLookAgainMs) - now_wall_ms;
  look_again_ = now + std::min(pause_ms, kLookAgainMs) * kNsPerMs;
  if (due->size() == room) locked([](Shared& shared) { shared.woken = true; });  // maybe more
  int started = 0;
  for (OutboxRow& row : *due) started += start_one(std::move(row)) ? 1 : 0;
  if (started > 0) {
    int running = 0;
    curl_multi_perform(multi_->handle, &running);
  }
  return started;
}

/// False: libcurl has no memory for it now; the row stays due.
bool Sender::start_one(OutboxRow row) {
  if (auto refusal = refuse_url(settings_, row.url)) {
    Attempt attempt;
    attempt.error = std::move(*refusal);
    attempt.final = true;
    unsettled_[row.id] = judge(settings_, row, attempt, wall_ms(), jitter());
    locked([](Shared& shared) {
      ++shared.counters.dead;
      shared.woken = true;
    });
    return true;
  }
  const std::int64_t id = row.id;
  auto request = Request::make(std::move(row), settings_, wall_ms() / 1000);
  if (request == nullptr) {
    log::warn("libcurl cannot take another request now; trying again");
    return false;
  }
  ++per_host_[request->row().host];
  Request& stored = *(requests_[id] = std::move(request));
  if (curl_multi_add_handle(multi_->handle, stored.handle()) == CURLM_OK) return true;
  log::warn("libcurl cannot take another request now; trying again");
  static_cast<void>(take(id));
  return false;
}

void Sender::drop_all() noexcept {
  for (const auto& [id, request] : requests_) {
    curl_multi_remove_handle(multi_->handle, request->handle());
  }
  requests_.clear();
  per_host_.clear();
  locked([](Shared& shared) { shared.counters.in_flight = 0; });
}

}  // namespace cachee::daemon
