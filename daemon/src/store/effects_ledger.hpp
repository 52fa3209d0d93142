// EffectsLedger: which runs have had their effects stored, so that a redelivered event adds nothing.
//
// Use:   EffectsLedger ledger{db};                  // in a transaction
//        if (ledger.enter(run, now)) store_effects(run);
//        ledger.write();                            // before the commit
//
// Entries are kept by blocks of kLedgerBlockSeqs ring positions, and what one transaction adds to a block is
// one row: a row each would cost more than the log line that it guards. A transaction reads a block when it
// adds the first entry to it; so finding a double takes no index over single entries.
//
// Threads: one, the connection's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "store/records.hpp"
#include "store/sqlite.hpp"

namespace cachee::daemon {

struct LedgerBound;

inline constexpr std::uint64_t kLedgerBlockSeqs = 1024;  // part of the schema

class EffectsLedger {
 public:
  explicit EffectsLedger(sql::Connection& db) noexcept : db_{&db} {}

  /// True when the run has no entry yet; now it has one. An event must always come with the same `seq`.
  bool enter(const RunRef& run, std::int64_t now_wall_ms);
  /// Writes what was entered.
  void write();

  /// Removes entries that the bound lets go, the oldest first; returns how many. Rows are whole: it may be more
  /// than `count_max`, and a row stays as long as its last event may come again.
  static std::uint64_t prune(sql::Connection& db, const LedgerBound& bound, std::uint64_t count_max);

 private:
  struct Block {
    std::unordered_set<std::string> known{};  // entries as they are encoded
    std::string added{};
    std::uint64_t seq_last = 0;
    std::int64_t wall_ms = 0;
  };
  using Place = std::pair<std::string, std::uint64_t>;  // epoch, number of the block

  Block& block_of(std::string_view epoch, std::uint64_t number);

  sql::Connection* db_;
  std::map<Place, Block> blocks_{};
  std::pair<const Place, Block>* last_ = nullptr;  // of blocks_, the one used last
  std::string entry_{};
};

}  // namespace cachee::daemon
