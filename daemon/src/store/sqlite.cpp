#include "store/sqlite.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace cachee::daemon::sql {
namespace {

constexpr std::int64_t kWalBytesKept = std::int64_t{16} << 20;  // after a checkpoint
constexpr std::int64_t kPageBytes = 4096;

Errc to_errc(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return Errc::no_space;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errc::busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Errc::corrupt;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
      return Errc::permission;
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
      return Errc::invalid_argument;
    default:
      return Errc::io;
  }
}

/// What to do, where SQLite's own words leave it open.
const char* advice(Errc code) noexcept {
  switch (code) {
    case Errc::no_space:
      return "; make room on its disk";
    case Errc::busy:
      return "; another process holds it";
    case Errc::corrupt:
      return "; the file is damaged: restore it from a backup or move it away";
    case Errc::permission:
      return "; check the owner and mode of its directory";
    default:
      return "";
  }
}

/// Short sleeps: transactions of the other connections last about one fsync.
int wait_while_busy(void* busy_ms, int calls) {
  constexpr std::int64_t kFirstUs = 200;
  constexpr std::int64_t kLongestUs = 5000;
  const std::int64_t sleep_us = std::min(kFirstUs * (calls + 1), kLongestUs);
  // Sum of the sleeps so far: a ramp, then a plateau.
  const std::int64_t ramp = std::min<std::int64_t>(calls, kLongestUs / kFirstUs);
  const std::int64_t slept_us = kFirstUs * ramp * (ramp + 1) / 2 + (calls - ramp) * kLongestUs;
  if (slept_us > std::int64_t{*static_cast<std::uint32_t*>(busy_ms)} * 1000) return 0;
  std::this_thread::sleep_for(std::chrono::microseconds{sleep_us});
  return 1;
}

/// SQLite would create the file by the umask; what events carry is nobody else's business.
void create_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    const Errc code = errno == ENOSPC ? Errc::no_space : Errc::permission;
    throw Error{code,
                fmt::format("cannot open {}: {}{}", path, std::strerror(errno), advice(code))};
  }
  ::close(fd);
}

}  // namespace

Rows::Rows(Rows&& other) noexcept : statement_{std::exchange(other.statement_, nullptr)} {}

Rows::~Rows() {
  if (statement_ != nullptr) {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
}

bool Rows::next() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const Errc errc = to_errc(code);
  sqlite3* const db = sqlite3_db_handle(statement_);
  throw Error{errc, fmt::format("cannot read {}: {}{}", sqlite3_db_filename(db, "main"),
                                sqlite3_errmsg(db), advice(errc))};
}

bool Rows::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}
std::int64_t Rows::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Rows::number(int column) const { return sqlite3_column_double(statement_, column); }

std::string_view Rows::bytes(int column) const {
  const auto* const data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int length = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string_view{}
                         : std::string_view{data, static_cast<std::size_t>(length)};
}

Connection::Connection(const std::string& path, const ConnectionOptions& options)
    : path_{path}, busy_ms_{options.busy_ms}, durability_{options.durability} {
  create_private(path);
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &db_, flags, nullptr);
  try {
    check(code);
    sqlite3_busy_handler(db_, wait_while_busy, &busy_ms_);
    std::string mode;
    {
      Rows rows = query("PRAGMA journal_mode = WAL");
      if (rows.next()) mode = rows.text(0);
    }
    if (mode != "wal") {
      throw Error{Errc::unsupported,
                  fmt::format("{}: the file system has no shared memory for SQLite's WAL; put the "
                              "state directory on a local disk",
                              path)};
    }
    script("PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = " +
           std::to_string(kWalBytesKept));
    if (options.file_bytes_max != 0) {
      script("PRAGMA max_page_count = " +
             std::to_string(options.file_bytes_max / static_cast<std::uint64_t>(kPageBytes)));
    }
  } catch (...) {
    sqlite3_close_v2(db_);
    throw;
  }
}

Connection::~Connection() {
  for (const auto& [literal, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

sqlite3_stmt* Connection::prepare(const char* literal) {
  const auto known = statements_.find(literal);
  if (known != statements_.end()) return known->second;
  sqlite3_stmt* statement = nullptr;
  check(sqlite3_prepare_v3(db_, literal, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
  statements_.emplace(literal, statement);
  return statement;
}

std::int64_t Connection::finish(sqlite3_stmt* statement) {
  int code = SQLITE_ROW;
  while (code == SQLITE_ROW) code = sqlite3_step(statement);
  const std::int64_t changes = code == SQLITE_DONE ? sqlite3_changes64(db_) : 0;
  Error error{Errc::ok, ""};
  if (code != SQLITE_DONE) {
    const Errc errc = to_errc(code);
    error =
        Error{errc, fmt::format("cannot write {}: {}{}", path_, sqlite3_errmsg(db_), advice(errc))};
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  if (error.code() != Errc::ok) throw error;
  return changes;
}

void Connection::script(const std::string& statements) {
  check(sqlite3_exec(db_, statements.c_str(), nullptr, nullptr, nullptr));
}

std::int64_t Connection::last_id() const noexcept { return sqlite3_last_insert_rowid(db_); }

void Connection::begin(std::optional<Durability> weaker) {
  set_durability(weaker.value_or(durability_));
  run("BEGIN IMMEDIATE");
}

bool Connection::in_transaction() const noexcept { return sqlite3_get_autocommit(db_) == 0; }

void Connection::rollback() noexcept {
  // SQLite has already rolled back after some failures; then there is nothing left to undo.
  if (in_transaction()) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
}

void Connection::set_durability(Durability durability) {
  if (durability_now_ == durability) return;
  // Not through run(): this pragma acts when it is compiled, so a kept statement would do nothing.
  script(durability == Durability::disk ? "PRAGMA synchronous = FULL"
                                        : "PRAGMA synchronous = NORMAL");
  durability_now_ = durability;
}

void Connection::fail(int code) const {
  const Errc errc = to_errc(code);
  throw Error{
      errc, fmt::format("cannot use {}: {}{}", path_,
                        db_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db_), advice(errc))};
}

void Connection::check(int code) const {
  if (code != SQLITE_OK) fail(code);
}

void Connection::bind_integer(sqlite3_stmt* statement, int index, std::int64_t value) {
  check(sqlite3_bind_int64(statement, index, value));
}

void Connection::bind_number(sqlite3_stmt* statement, int index, double value) {
  check(sqlite3_bind_double(statement, index, value));
}

void Connection::bind_text(sqlite3_stmt* statement, int index, std::string_view text,
                           Lifetime lifetime) {
  // A null pointer would bind NULL, not an empty text.
  const char* const data = text.data() == nullptr ? "" : text.data();
  check(sqlite3_bind_text64(statement, index, data, text.size(),
                            lifetime == Lifetime::copy ? SQLITE_TRANSIENT : SQLITE_STATIC,
                            SQLITE_UTF8));
}

void Connection::bind_blob(sqlite3_stmt* statement, int index, std::string_view bytes,
                           Lifetime lifetime) {
  const char* const data = bytes.data() == nullptr ? "" : bytes.data();
  check(sqlite3_bind_blob64(statement, index, data, bytes.size(),
                            lifetime == Lifetime::copy ? SQLITE_TRANSIENT : SQLITE_STATIC));
}

}  // namespace cachee::daemon::sql
