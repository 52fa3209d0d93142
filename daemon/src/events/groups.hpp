// Groups: consumer groups, from events in the store to consumers and back.
//
// GROUP PROTOCOL
//
//   G1  an executor reports an event of a group `handed`; D1 moves it into the store (carry_out.cpp)
//   G2  a consumer reads: the oldest due runs, one of each key, are marked in hand, in memory only
//   G3  an ack, a nack, a passed deadline or a lost connection becomes a Run of the dispatcher, which D1
//       finishes, puts off or buries like a run that an executor reports. A connection that ends gives back what it
//       has free of charge: most of it was not begun. RETRY times for one event, counted in memory; then it is an attempt,
//       so that an event that kills its consumers ends as a dead letter.
//   G4  after its commit the run is out of hand and the consumer is answered
//
//   [DP-7] A run is in the hands of one connection at most, and only while the store has it as the oldest
//          open one of its group and key. So the order of a key holds over any number of consumers.
//
//   Killed between   what is left                      what the next start does
//   G1 and G2        a stored run                      hands it out; duplicate = true, since it cannot know
//   G2 and G3, G4    a stored run, its attempts as     hands it out again, duplicate = true; the consumer's
//                    before                            ack is answered `not in hand`
//
// Threads: GroupBroker's functions from the control thread, everything else on the dispatcher's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/group_broker.hpp"
#include "events/registry.hpp"
#include "store/store.hpp"

namespace cachee::daemon {

/// How a consumer's event ended; the dispatcher makes a Run of it (G3).
struct GroupResult {
  std::int64_t stored_id = 0;
  std::uint64_t seq = 0;
  std::uint64_t key_hash = 0;
  std::string group{};
  std::uint32_t attempt = 1;
  bool ok = false;
  std::string error{};
  std::optional<std::int64_t> delay_ms{};
  bool duplicate = false;       // it may have been handled, without a word
  bool free_of_charge = false;  // no attempt
};

class Groups final : public GroupBroker {
 public:
  using WallMs = std::int64_t;
  struct Host {
    std::function<void(std::function<void()>)> post{};  // runs it on the dispatcher's thread, soon
    std::function<void(GroupResult)> report{};          // G3
    std::int64_t duplicates_before = 0;                 // runs to this id may have been handed out before
  };
  Groups(Registry& registry, Store& store, Host host);

  // GroupBroker
  void read(GroupRead request, ReadDone done) override;
  void settle(GroupSettle request, SettleDone done) override;
  void leave(std::uint64_t session) override;
  Outcome<nlohmann::json> describe(std::string_view group) override;

  /// Gives back what is overdue, finishes what has no group any more, answers readers. False: it had
  /// nothing to do.
  bool tend(WallMs now);
  /// The store has new runs, or its runs have changed.
  void look_again() noexcept { look_at_.clear(); }
  /// A group was removed, or dead letters came back: there may be runs for nobody.
  void look_for_removed() noexcept { removed_known_ = false; }
  /// G4.
  void settled(std::int64_t stored_id);
  [[nodiscard]] std::size_t in_hand() const noexcept { return held_.size(); }

 private:
  struct Settling {  // one SETTLE that is not answered
    std::size_t left = 0;
    std::uint64_t done_count = 0;
    std::optional<Failure> failure{};
    SettleDone done{};
  };
  struct Held {
    std::string group{};
    std::string event_id{};
    std::string consumer{};
    std::uint64_t session = 0;
    std::uint64_t seq = 0;
    std::uint64_t key_hash = 0;
    std::uint32_t attempt = 1;
    std::int64_t deadline_ns = 0;  // monotonic
    bool settling = false;         // G3 passed
    std::shared_ptr<Settling> request{};
  };
  struct Reader {
    GroupRead request{};
    ReadDone done{};
    std::int64_t until_ns = 0;
  };
  using HeldMap = std::unordered_map<std::int64_t, Held>;

  void take_read(GroupRead request, ReadDone done);
  void take_settle(GroupSettle request, SettleDone done);
  void take_leave(std::uint64_t session);
  [[nodiscard]] Failure why_not(const GroupSettle& request, const std::string& id, HeldMap::iterator at);
  /// How an event went out of hand.
  struct Ending {
    bool ok = false;
    std::string error{};
    std::optional<std::int64_t> delay_ms{};
    bool duplicate = false;
    bool free_of_charge = false;
  };
  void end(HeldMap::iterator at, Ending ending);
  [[nodiscard]] bool is_free_loss(std::int64_t stored_id, const Held& held);
  void expire(std::int64_t now_ns);
  bool sweep_removed();
  /// nullopt: nothing is due, or it cannot be read now.
  std::optional<std::vector<EventData>> take_due(const TriggerSpec& spec, const GroupRead& request, WallMs now,
                                                 std::int64_t now_ns);

  Registry& registry_;
  Store& store_;
  const Host host_;
  HeldMap held_{};                                            // by id of the stored run
  std::map<std::pair<std::string, std::string>, std::int64_t, std::less<>> ids_{};  // (group, event id) of them
  std::map<std::uint64_t, std::set<std::int64_t>> by_session_{};
  std::set<std::pair<std::int64_t, std::int64_t>> deadlines_{};  // (monotonic ns, stored id) of what is in hand
  std::deque<Reader> readers_{};                              // in order of arrival
  std::unordered_map<std::int64_t, std::uint32_t> losses_{};  // of a stored run: consumers that went away with it in hand
  std::map<std::string, WallMs, std::less<>> look_at_{};      // groups with nothing due, and until when
  std::set<std::string, std::less<>> removed_{};              // may have runs, but no group
  bool removed_known_ = false;
};

}  // namespace cachee::daemon
