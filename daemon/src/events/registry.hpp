// Registry: which triggers there are. The store keeps them (they outlive a reboot), the segment's
// table makes them seen by every client, and this is the dispatcher's copy of both.
//
//   register   compile-checked by the caller -> store -> segment. Killed between the two: the next
//              start publishes what the store says.
//
// Who an event is owed to was settled when it happened. So a trigger that is changed, disabled or enabled keeps what
// it wanted before as a past interest, in the segment's table, until the ring has no event of then: what waits is
// run by the new source. A removed trigger is owed nothing.
//
// What runs and counts goes by slots, so that of a removed trigger is given away only when nothing can name it any
// more: the ring is released beyond all that was in it at the removal, and with it every report and count of those
// events; and no run of it from the spool or the store is in the hands of an executor or waits to be carried out. A
// killed cacheed leaves no such: executors die with it, and counts that were not released are made again, by the table.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/maintain.hpp>

#include "core/outcome.hpp"
#include "executor/pool.hpp"
#include "store/store.hpp"

namespace cachee::daemon {

class Registry {
 public:
  /// `spooled`: how many runs of a trigger, by name, the spool has.
  using Spooled = std::function<std::uint64_t(std::string_view trigger)>;
  /// Whether a run of a removed trigger, that is no run of a ring event, is on its way.
  using InHand = std::function<bool(std::uint32_t slot, std::string_view trigger)>;
  Registry(Maintainer& keeper, Store& store, Spooled spooled, InHand in_hand) noexcept
      : keeper_{keeper}, store_{store}, spooled_{std::move(spooled)}, in_hand_{std::move(in_hand)} {}

  /// Reads the store and the segment, gives counters of a new segment their beginning. What the
  /// segment does not know yet is published by catch_up(), once the ring has room.
  Outcome<void> load();
  void catch_up();

  // Changes. None of them waits: Errc::timed_out says that the ring has no room for it now, or too many events of
  // before (kPastInterestsMax), and that nothing was changed; it is to be tried again.

  /// All or none. A name that is registered is replaced and keeps its slot, its account and its pause.
  Outcome<void> put(std::vector<TriggerSpec> specs);
  Outcome<void> remove(std::string_view name);
  Outcome<void> set_enabled(std::string_view name, bool enabled);
  Outcome<void> set_paused(std::string_view name, bool paused);

  [[nodiscard]] const TriggerTable& table() const noexcept { return table_; }
  [[nodiscard]] const TriggerSpec* find(std::string_view name) const noexcept;
  [[nodiscard]] const TriggerSpec* find_slot(std::uint32_t slot) const noexcept;

  /// False until what the store says is published: then a trigger that is not in the table is gone.
  [[nodiscard]] bool is_published() const noexcept { return !unpublished_; }

  /// Calls the sink with every trigger that the event is owed to.
  template <class Sink>
  void match(const EventView& event, Sink&& sink) const {
    matcher_.match_owed(event, table_.generation, [&](std::uint32_t index) { sink(table_.triggers[index]); });
  }

  /// Names of the triggers that such an event would set off, in the order in which they run.
  [[nodiscard]] std::vector<std::string> who_would_run(EventKind kind, std::string_view key) const;

 private:
  [[nodiscard]] std::uint64_t ring_end() const;
  void free_slots();
  [[nodiscard]] std::optional<std::uint32_t> free_slot(const TriggerTable& next) const;
  Outcome<void> begin_account(const TriggerSpec& spec);
  Outcome<void> change(std::string_view name, const std::function<void(TriggerSpec&)>& apply);
  Outcome<void> prepare(TriggerTable& next);
  Outcome<void> publish(TriggerTable next);
  void adopt(TriggerTable table);

  Maintainer& keeper_;
  Store& store_;
  Spooled spooled_;
  InHand in_hand_;
  TriggerTable table_{};
  std::vector<std::uint32_t> by_slot_{};  // index into the table; kNoIndex: nobody has the slot
  static constexpr std::uint32_t kNoIndex = ~std::uint32_t{0};
  std::optional<std::vector<TriggerSpec>> unpublished_{};  // what the store says and the segment does not
  TriggerMatcher matcher_{};

  /// A slot that something may still name.
  struct Removed {
    std::uint32_t slot = 0;
    std::string trigger{};
    std::uint64_t ring_end = 0;  // at the removal
  };
  std::vector<Removed> removed_{};

  /// A table that was published, and how far the ring has to be released for no event of an earlier one to be in it.
  struct Published {
    std::uint64_t generation = 0;
    std::uint64_t ring_end = 0;
    std::int64_t at_ns = 0;
  };
  std::deque<Published> published_{};
  std::uint64_t passed_ = 0;  // the ring has no event that was decided before this generation
};

}  // namespace cachee::daemon
