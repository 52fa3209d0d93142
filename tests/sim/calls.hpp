// What parties of a simulation do, and the plans of the calls that libshm's api layer has of its own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "clients/clients.hpp"
#include "keyspace/keyspace.hpp"
#include "linear/chain.hpp"
#include "linear/history.hpp"

namespace cachee::sim {

using shm::View;
using test::Kind;
using test::Operation;

inline constexpr std::int64_t kStart = 100'000'000'000;
inline constexpr std::int64_t kMinute = 60'000'000'000;
inline constexpr std::int64_t kHour = 60 * kMinute;

/// What a party does: a call on a key, or a duty.
struct Step {
  enum class Duty : std::uint8_t {
    none,
    pin,
    tend,
    evict,
    consume,
    scrub,
    reclaim,
    pass_time,
    step_clock,  // somebody sets the wall clock, and the supervisor notices
    publish,
    recover,
    drain_page,
    vacate
  };
  std::string name{};
  Duty duty = Duty::none;
  Kind kind = Kind::get;
  std::string key = "k";
  std::string value{};
  std::optional<std::int64_t> ttl{};
  bool moment = false;  // by the wall clock instead of a TTL
  std::uint64_t version_in = 0;
};
using Script = std::vector<Step>;

struct Call {
  Operation operation;
  std::string key;
  std::uint64_t event = test::Account::kNoEvent;
};

/// Those whom the scheduler killed are dead.
class Dead final : public shm::Liveness {
 public:
  bool is_dead(const layout::Client&, std::uint64_t registration) const noexcept override {
    return (registrations & std::uint64_t{1} << registration) != 0;
  }
  std::uint64_t registrations = 0;
};

struct Appending final : shm::WritePlan {
  Appending(std::string k, std::string s) : key{std::move(k)}, suffix{std::move(s)} { keeps_deadline = true; }
  Errc prepare(const View& view, std::uint64_t old_unit, layout::Deadline old_deadline, shm::RecordParts& parts,
               layout::Deadline& deadline) override {
    value = (old_unit == 0 ? std::string{} : std::string{shm::value_in_place(view, old_unit)}) + suffix;
    parts = {key, value, {}, 0};
    deadline = old_deadline;
    return Errc::ok;
  }
  std::string key, suffix, value{};
};
struct Adding final : shm::WritePlan {
  Adding(std::string k, std::int64_t d) : key{std::move(k)}, delta{d} { keeps_deadline = true; }
  Errc prepare(const View& view, std::uint64_t old_unit, layout::Deadline old_deadline, shm::RecordParts& parts,
               layout::Deadline& deadline) override {
    std::int64_t now = 0;
    if (old_unit != 0) {
      char* end = nullptr;
      const std::string text{shm::value_in_place(view, old_unit)};
      now = std::strtoll(text.c_str(), &end, 10);
      if (end == text.c_str() || *end != '\0') return Errc::not_a_number;
    }
    value = std::to_string(now + delta);
    parts = {key, value, {}, 0};
    deadline = old_deadline;
    return Errc::ok;
  }
  std::string key;
  std::int64_t delta;
  std::string value{};
};
struct Touching final : shm::TouchPlan {
  explicit Touching(std::optional<std::int64_t> t) : ttl{t} {}
  std::optional<layout::Deadline> decide(layout::Deadline old) override {
    if (!ttl) return !old.is_set() ? std::nullopt : std::optional<layout::Deadline>{layout::Deadline{}};
    return deadline;
  }
  std::optional<std::int64_t> ttl;
  layout::Deadline deadline = ttl ? shm::deadline_after(Ttl{*ttl}) : layout::Deadline{};
};

}  // namespace cachee::sim
