#include "store/effects_ledger.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "store/store.hpp"

namespace cachee::daemon {
namespace {

void append_netstring(std::string& out, std::string_view text) {
  char digits[20];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, text.size());
  out.append(digits, end).append(":").append(text);
}

/// Takes "5:hello" off the front; nullopt when that is not what stands there.
std::optional<std::string_view> take_netstring(std::string_view& rest) noexcept {
  std::size_t bytes = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), bytes);
  const auto digits = static_cast<std::size_t>(end - rest.data());
  if (error != std::errc{} || digits == rest.size() || *end != ':' || rest.size() - digits - 1 < bytes) return std::nullopt;
  const std::string_view text = rest.substr(digits + 1, bytes);
  rest.remove_prefix(digits + 1 + bytes);
  return text;
}

/// Calls take(entry, event id, trigger) for each of a row.
template <class Take>
void for_each_entry(std::string_view entries, Take&& take) {
  std::string_view rest = entries;
  while (!rest.empty()) {
    const std::string_view from_here = rest;
    const auto event_id = take_netstring(rest);
    const auto trigger = event_id ? take_netstring(rest) : std::nullopt;
    if (!trigger) throw sql::Error{Errc::corrupt, "the store's ledger of effects is damaged: restore the state directory from a backup"};
    take(from_here.substr(0, from_here.size() - rest.size()), *event_id, *trigger);
  }
}

/// What ids of one segment's life have in common.
std::string_view epoch_of(std::string_view event_id) noexcept {
  const std::size_t dash = event_id.find('-');
  return dash == std::string_view::npos ? std::string_view{} : event_id.substr(0, dash);
}

}  // namespace

EffectsLedger::Block& EffectsLedger::block_of(std::string_view epoch, std::uint64_t number) {
  if (last_ != nullptr && last_->first.second == number && last_->first.first == epoch) return last_->second;
  const auto [at, added] = blocks_.try_emplace(Place{epoch, number});
  last_ = &*at;
  if (added) {
    auto rows = db_->query("SELECT entries FROM ledger_blocks WHERE epoch = ? AND block = ?", epoch, number);
    while (rows.next()) {
      for_each_entry(rows.bytes(0), [&](std::string_view entry, std::string_view, std::string_view) { at->second.known.emplace(entry); });
    }
  }
  return at->second;
}

bool EffectsLedger::enter(const RunRef& run, std::int64_t now_wall_ms) {
  Block& block = block_of(epoch_of(run.event_id), run.seq / kLedgerBlockSeqs);
  entry_.clear();
  append_netstring(entry_, run.event_id);
  append_netstring(entry_, run.trigger);
  if (!block.known.insert(entry_).second) return false;
  block.added += entry_;
  block.seq_last = std::max(block.seq_last, run.seq);
  block.wall_ms = std::max(block.wall_ms, now_wall_ms);
  return true;
}

void EffectsLedger::write() {
  for (const auto& [place, block] : blocks_) {
    if (block.added.empty()) continue;
    db_->run("INSERT INTO ledger_blocks (epoch, block, seq_last, wall_ms, entries) VALUES (?, ?, ?, ?, ?)", place.first, place.second,
             block.seq_last, block.wall_ms, sql::Blob{block.added});
  }
}

std::uint64_t EffectsLedger::prune(sql::Connection& db, const LedgerBound& bound, std::uint64_t count_max) {
  const bool any_runs = db.integer("SELECT EXISTS (SELECT 1 FROM runs)") != 0;
  struct Kept {
    std::int64_t id = 0;
    std::string entries{};
  };
  std::vector<Kept> rows_read;  // what stays of them: rows are not changed while they are read
  std::uint64_t pruned = 0;
  {
    auto rows = db.query("SELECT id, entries FROM ledger_blocks WHERE wall_ms < ? AND NOT (epoch = ? AND seq_last >= ?) ORDER BY wall_ms",
                         bound.before_wall_ms, bound.epoch, bound.redeliverable_from);
    while (pruned < count_max && rows.next()) {
      Kept kept{rows.integer(0), {}};
      std::uint64_t gone = 0;
      for_each_entry(rows.bytes(1), [&](std::string_view entry, std::string_view event_id, std::string_view trigger) {
        // Outlives its stored run, which may be delivered from here.
        if (any_runs && db.integer("SELECT EXISTS (SELECT 1 FROM runs WHERE event_id = ? AND trigger = ?)", event_id, trigger) != 0) {
          kept.entries += entry;
        } else {
          ++gone;
        }
      });
      pruned += gone;
      if (gone > 0) rows_read.push_back(std::move(kept));
    }
  }
  for (const Kept& kept : rows_read) {
    if (kept.entries.empty()) {
      db.run("DELETE FROM ledger_blocks WHERE id = ?", kept.id);
    } else {
      db.run("UPDATE ledger_blocks SET entries = ? WHERE id = ?", sql::Blob{kept.entries}, kept.id);
    }
  }
  return pruned;
}

}  // namespace cachee::daemon
