// Sender: takes what is due from the outbox, sends it, and writes down how it went; fetches for
// `cachee.warm` and hands the bodies over.
//
// Use:   auto sender = Sender::make({.directory = state}, settings, store_in_cache);
//        (*sender)->start();                  // a thread of its own
//        batch->commit(); (*sender)->wake();  // there may be new rows
//        (*sender)->stop(5s);                 // lets running requests end; the rest stays stored
//
// Delivery is at least once: a row goes only after a 2xx answer, so a kill between the answer and
// the commit sends the same request again, with the same `Idempotency-Key`. `Cachee-Timestamp` and
// the signature are of the attempt. A warm row goes only after its sink returned true.
//
// Threads:  start/stop/wake/counters from any thread; do_work and wait either from the thread that
//           start() makes or from one thread of the caller, who then does not call start().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/duty_cycle.hpp"
#include "core/outcome.hpp"
#include "core/sender_counters.hpp"
#include "store/store.hpp"
#include "webhook/settings.hpp"

namespace cachee::daemon {

class Request;

/// A fetched value for the cache. Borrows for the call.
struct WarmedValue {
  std::string_view event_id{};
  std::string_view trigger{};
  std::string_view key{};
  std::string_view body{};
  std::optional<std::int64_t> ttl_ms{};
  std::optional<double> cost{};
  Provenance provenance{};
};
/// Writes it into the cache; false: try again later. Called on the sender's thread.
using WarmSink = std::function<bool(const WarmedValue& value)>;

class Sender : public DutyCycle {
 public:
  /// Opens its own connection to the store.
  [[nodiscard]] static Outcome<std::unique_ptr<Sender>> make(StoreOptions store,
                                                             const SenderSettings& settings,
                                                             WarmSink sink);
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;
  ~Sender() override;

  void start();
  /// Starts nothing new, gives running requests until the deadline, and returns when the thread
  /// has ended. What was not finished stays in the outbox.
  void stop(std::chrono::milliseconds patience);

  /// There may be new rows. Cheap; any thread.
  void wake() noexcept;
  [[nodiscard]] SenderCounters counters() const;

  int do_work(TimeNs now, int items_max) noexcept override;
  /// Sleeps until a request moves, a row becomes due or somebody wakes it.
  void wait(std::chrono::milliseconds longest) noexcept;

 private:
  struct Multi;  // libcurl's side
  Sender(std::unique_ptr<Store> store, const SenderSettings& settings, WarmSink sink);
  template <class F>
  auto locked(F&& work) {
    const std::lock_guard lock{mutex_};
    return work(shared_);
  }
  void run();
  int collect(int items_max);
  [[nodiscard]] std::unique_ptr<Request> take(std::int64_t id);
  void complete(const Request& request, int curl_code);
  bool store_warmed(const Request& request);
  void settle();
  int start_due(TimeNs now, int items_max);
  bool start_one(OutboxRow row);
  void drop_all() noexcept;
  [[nodiscard]] std::size_t room_for(const std::string& host) const;
  void look_at_queue(TimeNs now, std::int64_t now_wall_ms);
  [[nodiscard]] double jitter() { return std::uniform_real_distribution<double>{0, 1}(random_); }

  const SenderSettings settings_;
  const WarmSink sink_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Multi> multi_;
  std::unordered_map<std::int64_t, std::unique_ptr<Request>> requests_;  // by row id
  std::unordered_map<std::string, std::size_t> per_host_{};
  // Ended requests that the store does not know of yet; their rows must not be sent again.
  std::unordered_map<std::int64_t, OutboxResult> unsettled_{};
  TimeNs look_again_ = 0;  // when rows may be due that were not
  TimeNs queue_look_ = 0;  // when the rows are counted again
  std::mt19937_64 random_{std::random_device{}()};

  std::thread thread_{};

  // What other threads see or change; under the mutex.
  struct Shared {
    bool woken = true;
    bool stopping = false;
    std::chrono::steady_clock::time_point stop_by{};
    SenderCounters counters{};
  };
  mutable std::mutex mutex_{};
  Shared shared_{};
};

}  // namespace cachee::daemon
