// Log lines between the commit that made them true and their file.
#include "store/guard.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

void put_log_file(sql::Connection& db, const LogFile& file) {
  db.run("INSERT OR REPLACE INTO log_files (channel, settled_bytes, chain, begun_wall_ms) VALUES (?, ?, ?, ?)",
         file.channel, file.settled_bytes, file.chain, file.begun_wall_ms);
}

}  // namespace

Outcome<std::vector<LogChunk>> Store::pending_log(std::string_view channel, std::size_t bytes_max) {
  return guard([&] {
    std::vector<LogChunk> chunks;
    std::size_t bytes = 0;
    auto rows = db_->query("SELECT id, line_count, lines FROM log_chunks WHERE channel = ? ORDER BY id", channel);
    while (bytes < bytes_max && rows.next()) {
      chunks.push_back({rows.integer(0), rows.as<std::uint64_t>(1), rows.text(2)});
      bytes += chunks.back().lines.size();
    }
    return chunks;
  });
}

Outcome<std::vector<std::string>> Store::pending_channels() {
  return guard([&] {
    std::vector<std::string> channels;
    auto rows = db_->query("SELECT DISTINCT channel FROM log_chunks ORDER BY channel");
    while (rows.next()) channels.push_back(rows.text(0));
    return channels;
  });
}

Outcome<std::vector<LogFile>> Store::log_files() {
  return guard([&] {
    std::vector<LogFile> files;
    auto rows = db_->query(
        "SELECT channel, settled_bytes, chain, begun_wall_ms FROM log_files"
        " WHERE settled_bytes IS NOT NULL ORDER BY channel");
    while (rows.next()) files.push_back({rows.text(0), rows.as<std::uint64_t>(1), rows.text(2), rows.integer(3)});
    return files;
  });
}

Outcome<void> Store::set_log_file(const LogFile& file) {
  return guard([&] {
    sql::Transaction transaction{*db_};
    put_log_file(*db_, file);
    transaction.commit();
  });
}

Outcome<void> Store::settle_log(const LogFile& file, std::int64_t last_id) {
  return guard([&] {
    // The file was synced before, so a lost commit here only means writing the same bytes again:
    // no reason for a second fsync in every batch.
    sql::Transaction transaction{*db_, sql::Durability::process};
    db_->run("DELETE FROM log_chunks WHERE channel = ? AND id <= ?", file.channel, last_id);
    put_log_file(*db_, file);
    transaction.commit();
  });
}

}  // namespace cachee::daemon
