#include "store/store.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>

#include "store/guard.hpp"
#include "store/migrations.hpp"

namespace cachee::daemon {
namespace {

/// Makes the directory and its parents; the last one is private to its owner.
void make_directory(const std::string& path) {
  const std::filesystem::path directory{path};
  std::error_code error;
  if (directory.has_parent_path())
    std::filesystem::create_directories(directory.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return;
  const Errc code = errno == ENOSPC ? Errc::no_space : Errc::permission;
  throw sql::Error{
      code, fmt::format("cannot make the state directory {}: {}", path, std::strerror(errno))};
}

void verify_file(sql::Connection& db, const std::string& path) {
  const auto bytes = db.integer("PRAGMA page_count") * db.integer("PRAGMA page_size");
  if (static_cast<std::uint64_t>(bytes) > kVerifyBytesMax) return;
  auto rows = db.query("PRAGMA quick_check(1)");
  if (rows.next() && rows.bytes(0) != "ok") {
    throw sql::Error{Errc::corrupt,
                     fmt::format("{} is damaged ({}): restore it from a backup or move it away",
                                 path, rows.bytes(0))};
  }
}

}  // namespace

Outcome<std::unique_ptr<Store>> Store::open(const StoreOptions& options) {
  return guard([&] {
    make_directory(options.directory);
    std::unique_ptr<Store> store{new Store{options}};
    const std::string path = options.directory + "/cachee.db";
    store->db_ = std::make_unique<sql::Connection>(
        path, sql::ConnectionOptions{.busy_ms = options.busy_ms,
                                     .durability = options.durability,
                                     .file_bytes_max = options.file_bytes_max});
    migrate(*store->db_, path);
    if (options.verify) verify_file(*store->db_, path);
    return store;
  });
}

Outcome<Batch> Store::begin() {
  return guard([&] {
    db_->begin();
    return Batch{*db_};
  });
}

Outcome<std::uint64_t> Store::prune_ledger(const LedgerBound& bound, std::size_t count_max) {
  const std::string prefix = std::string{bound.epoch} + "-";
  return guard([&] {
    sql::Transaction transaction{*db_, sql::Durability::process};  // may be done again
    auto pruned = static_cast<std::uint64_t>(
        db_->run("DELETE FROM ledger WHERE (event_id, trigger, what) IN ("
                 " SELECT event_id, trigger, what FROM ledger WHERE wall_ms < ?"
                 " AND NOT (substr(event_id, 1, ?) = ? AND seq >= ?) ORDER BY wall_ms LIMIT ?)",
                 bound.before_wall_ms, prefix.size(), prefix, bound.redeliverable_from, count_max));
    pruned += EffectsLedger::prune(*db_, bound, count_max - std::min<std::uint64_t>(pruned, count_max));
    transaction.commit();
    return pruned;
  });
}

}  // namespace cachee::daemon
