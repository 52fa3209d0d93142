// Registry: which triggers there are. The store keeps them (they outlive a reboot), the segment's
// table makes them seen by every client, and this is the dispatcher's copy of both.
//
//   register   compile-checked by the caller -> store -> segment. Killed between the two: the next
//              start publishes what the store says.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <cachee/maintain.hpp>

#include "core/outcome.hpp"
#include "store/store.hpp"

namespace cachee::daemon {

class Registry {
 public:
  Registry(Maintainer& keeper, Store& store) noexcept : keeper_{keeper}, store_{store} {}

  /// Reads the store and the segment, gives counters of a new segment their beginning. What the
  /// segment does not know yet is published by catch_up(), once the ring has room.
  Outcome<void> load();
  void catch_up();

  /// All or none. A name that is registered is replaced and keeps its slot and account.
  Outcome<void> put(std::vector<TriggerSpec> specs);
  Outcome<void> remove(std::string_view name);
  Outcome<void> set_enabled(std::string_view name, bool enabled);
  Outcome<void> set_paused(std::string_view name, bool paused);

  [[nodiscard]] const TriggerTable& table() const noexcept { return table_; }
  [[nodiscard]] const TriggerSpec* find(std::string_view name) const noexcept;
  [[nodiscard]] const TriggerSpec* find_slot(std::uint32_t slot) const noexcept;

  /// Calls the sink with every trigger that the event is owed to.
  template <class Sink>
  void match(const EventView& event, Sink&& sink) const {
    matcher_.match(event.kind, event.key, [&](std::uint32_t index) {
      const TriggerSpec& spec = table_.triggers[index];
      if (is_owed(event.generation, spec.since_generation)) sink(spec);
    });
  }

 private:
  /// Generations of events are modulo kGenerationModulus: "not older than" within half of it.
  static bool is_owed(std::uint32_t event_generation, std::uint64_t since) noexcept {
    const std::uint64_t ahead = (event_generation - since) % kGenerationModulus;
    return ahead < kGenerationModulus / 2;
  }
  [[nodiscard]] std::optional<std::uint32_t> free_slot(const TriggerTable& next) const;
  Outcome<void> begin_account(const TriggerSpec& spec);
  Outcome<void> change(std::string_view name, const std::function<void(TriggerSpec&)>& apply);
  Outcome<void> publish(TriggerTable next);
  void adopt(TriggerTable table);

  Maintainer& keeper_;
  Store& store_;
  TriggerTable table_{};
  std::optional<std::vector<TriggerSpec>> unpublished_{};  // what the store says and the segment does not
  TriggerMatcher matcher_{};
};

}  // namespace cachee::daemon
