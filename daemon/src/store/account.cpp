// Accounts by trigger name, and the check of the whole file.
#include <fmt/format.h>

#include "store/guard.hpp"
#include "store/store.hpp"

namespace cachee::daemon {
namespace {

std::vector<StoreAccount> read_accounts(sql::Connection& db,
                                        std::optional<std::string_view> trigger) {
  std::vector<StoreAccount> accounts;
  auto rows = db.query(
      "SELECT a.trigger, a.moved_in, a.acknowledged, a.purged,"
      " (SELECT count(*) FROM runs r WHERE r.trigger = a.trigger AND r.state < 2),"
      " (SELECT count(*) FROM runs r WHERE r.trigger = a.trigger AND r.state = 2)"
      " FROM accounts a WHERE ?1 IS NULL OR a.trigger = ?1 ORDER BY a.trigger",
      trigger);
  while (rows.next()) {
    accounts.push_back({rows.text(0), rows.as<std::uint64_t>(1), rows.as<std::uint64_t>(2),
                        rows.as<std::uint64_t>(3), rows.as<std::uint64_t>(4),
                        rows.as<std::uint64_t>(5)});
  }
  return accounts;
}

std::vector<OutboxAccount> read_outbox_accounts(sql::Connection& db) {
  std::vector<OutboxAccount> accounts;
  auto rows = db.query(
      "SELECT a.trigger, a.added, a.sent, a.purged,"
      " (SELECT count(*) FROM outbox o WHERE o.trigger = a.trigger AND o.state = 0),"
      " (SELECT count(*) FROM outbox o WHERE o.trigger = a.trigger AND o.state = 1)"
      " FROM outbox_accounts a ORDER BY a.trigger");
  while (rows.next()) {
    accounts.push_back({rows.text(0), rows.as<std::uint64_t>(1), rows.as<std::uint64_t>(2),
                        rows.as<std::uint64_t>(3), rows.as<std::uint64_t>(4),
                        rows.as<std::uint64_t>(5)});
  }
  return accounts;
}

void check_accounts(sql::Connection& db, std::vector<std::string>& findings) {
  for (const StoreAccount& account : read_accounts(db, std::nullopt)) {
    if (account.adds_up()) continue;
    findings.push_back(
        fmt::format("[ST-1] trigger \"{}\": moved_in {} is not acknowledged {} + purged {} + retry "
                    "{} + dead {}",
                    account.trigger, account.moved_in, account.acknowledged, account.purged,
                    account.retry, account.dead));
  }
  if (const auto strays = db.integer("SELECT count(*) FROM runs WHERE trigger NOT IN"
                                     " (SELECT trigger FROM accounts)")) {
    findings.push_back(fmt::format("[ST-1] {} stored runs of triggers without an account", strays));
  }
  for (const OutboxAccount& account : read_outbox_accounts(db)) {
    if (account.adds_up()) continue;
    findings.push_back(fmt::format(
        "[ST-4] trigger \"{}\": added {} is not sent {} + purged {} + pending {} + dead {}",
        account.trigger, account.added, account.sent, account.purged, account.pending,
        account.dead));
  }
  if (const auto strays = db.integer("SELECT count(*) FROM outbox WHERE trigger NOT IN"
                                     " (SELECT trigger FROM outbox_accounts)")) {
    findings.push_back(fmt::format("[ST-4] {} outbox rows of triggers without an account", strays));
  }
}

void check_runs(sql::Connection& db, std::vector<std::string>& findings) {
  auto stuck = db.query(
      "SELECT r.id, r.trigger FROM runs r WHERE r.state = 1 AND r.id ="
      " (SELECT min(o.id) FROM runs o WHERE o.trigger = r.trigger"
      "  AND o.key_hash = r.key_hash AND o.state < 2)");
  while (stuck.next()) {
    findings.push_back(fmt::format("[ST-2] run {} of trigger \"{}\" is held by nothing",
                                   stuck.integer(0), stuck.text(1)));
  }
  if (const auto runs = db.integer("SELECT count(*) FROM runs WHERE id NOT IN"
                                   " (SELECT id FROM run_events)")) {
    findings.push_back(fmt::format("[ST-3] {} stored runs have lost their event", runs));
  }
  if (const auto events = db.integer("SELECT count(*) FROM run_events WHERE id NOT IN"
                                     " (SELECT id FROM runs)")) {
    findings.push_back(fmt::format("[ST-3] {} stored events belong to no run", events));
  }
}

}  // namespace

Outcome<std::vector<StoreAccount>> Store::accounts() {
  return guard([&] { return read_accounts(*db_, std::nullopt); });
}

Outcome<StoreAccount> Store::account(std::string_view trigger) {
  return guard([&] {
    auto found = read_accounts(*db_, trigger);
    if (!found.empty()) return std::move(found.front());
    StoreAccount none;
    none.trigger = std::string{trigger};
    return none;
  });
}

Outcome<void> Store::reset_account(std::string_view trigger) {
  return guard([&] {
    sql::Transaction transaction{*db_};
    db_->run(
        "UPDATE accounts SET acknowledged = 0, purged = 0, moved_in ="
        " (SELECT count(*) FROM runs WHERE runs.trigger = accounts.trigger)"
        " WHERE trigger = ?",
        trigger);
    transaction.commit();
  });
}

Outcome<std::uint64_t> Store::ring_claimed(std::string_view epoch) {
  return guard([&] {
    return static_cast<std::uint64_t>(
        db_->integer("SELECT value FROM meta WHERE name = 'ring_claimed:' || ?", epoch));
  });
}

Outcome<void> Store::set_ring_claimed(std::string_view epoch, std::uint64_t position) {
  return guard([&] {
    sql::Transaction transaction{*db_, sql::Durability::process};
    db_->run("DELETE FROM meta WHERE name GLOB 'ring_claimed:*'");
    db_->run("INSERT INTO meta (name, value) VALUES ('ring_claimed:' || ?, ?)", epoch, position);
    transaction.commit();
  });
}

Outcome<std::uint64_t> Store::spool_cursor() {
  return guard([&] {
    return static_cast<std::uint64_t>(db_->integer("SELECT value FROM meta WHERE name = 'spool_cursor'"));
  });
}

Outcome<void> Store::settle_spool(std::uint64_t cursor, const std::map<std::string, std::uint64_t>& acknowledged) {
  return guard([&] {
    sql::Transaction transaction{*db_, sql::Durability::process};
    for (const auto& [trigger, count] : acknowledged) {
      db_->run(
          "INSERT INTO accounts (trigger, moved_in, acknowledged) VALUES (?1, ?2, ?2)"
          " ON CONFLICT (trigger) DO UPDATE SET moved_in = moved_in + ?2, acknowledged = acknowledged + ?2",
          trigger, count);
    }
    db_->run("INSERT OR REPLACE INTO meta (name, value) VALUES ('spool_cursor', ?)", cursor);
    transaction.commit();
  });
}

Outcome<std::vector<OutboxAccount>> Store::outbox_accounts() {
  return guard([&] { return read_outbox_accounts(*db_); });
}

Outcome<std::vector<std::string>> Store::check() {
  return guard([&] {
    // One transaction, so that the counters and the rows are of one moment.
    sql::Transaction transaction{*db_};
    std::vector<std::string> findings;
    {
      auto rows = db_->query("PRAGMA integrity_check");
      while (rows.next()) {
        if (rows.bytes(0) != "ok") findings.push_back("database: " + rows.text(0));
      }
    }
    check_accounts(*db_, findings);
    check_runs(*db_, findings);
    return findings;
  });
}

}  // namespace cachee::daemon
