// Examiner: which effects must not be carried out, as far as that can be known before anything of them is.
//
// Use:   Examiner examiner{cache, value_bytes_max, any_has_dependencies};
//        for (const Run& run : runs) {                       // in the order in which they will be applied
//          if (auto objection = examiner.look_at(run.effects)) refuse(run, objection->text);
//        }
//
// What it lets pass may still be refused by the cache: memory and the ring fill up, and other programs write meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include <cachee/cache.hpp>

#include "core/dependencies.hpp"
#include "core/outcome.hpp"
#include "script/effects.hpp"

namespace cachee::daemon {

struct Objection {
  std::string text{};
  bool for_good = false;     // it would be the same at every attempt
  bool was_beaten = false;   // another run was faster: not the handler's fault
};

class Examiner {
 public:
  /// `dependencies`: some of the runs have any; then what the others write and delete is of interest, too.
  Examiner(const Cache& cache, std::uint64_t value_bytes_max, bool dependencies)
      : cache_{cache}, value_bytes_max_{value_bytes_max}, dependencies_{dependencies}, graph_{cache} {}

  /// Of one run. Without an objection, what it will make of the cache counts for the runs that are looked at after it.
  [[nodiscard]] std::optional<Objection> look_at(std::span<const Effect> effects);

 private:
  [[nodiscard]] std::optional<Objection> look_at_writes(std::span<const Effect> effects) const;
  [[nodiscard]] std::optional<Objection> look_at_claims(std::span<const Effect> effects);
  [[nodiscard]] std::optional<Objection> look_at_dependencies(std::span<const Effect> effects);

  const Cache& cache_;
  std::uint64_t value_bytes_max_;
  bool dependencies_;
  DependencyGraph graph_;
  std::unordered_map<std::string, std::string> claims_{};  // of `once`: id to whose it is, of runs that were looked at
};

/// Of `set{depends_on=}` or `depends_on`.
[[nodiscard]] bool has_dependencies(std::span<const Effect> effects) noexcept;

/// Of a run at this depth of its chain: it may not go on writing.
[[nodiscard]] bool is_too_deep(std::span<const Effect> effects, std::uint32_t depth, std::uint32_t depth_max) noexcept;

}  // namespace cachee::daemon
