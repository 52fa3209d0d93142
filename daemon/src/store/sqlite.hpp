// SQLite behind two types: Connection runs statements, Rows walks what they return.
//
// Use:   sql::Connection db{path, {}};
//        sql::Transaction transaction{db};
//        db.run("UPDATE t SET a = ? WHERE b = ?", 7, "x");
//        for (auto rows = db.query("SELECT a FROM t"); rows.next();) use(rows.integer(0));
//        transaction.commit();
//
// Everything throws sql::Error; the classes of store.hpp turn it into a Failure. One Connection
// belongs to one thread. Statements are compiled once and kept; their text must be a literal.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include <cachee/result.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace cachee::daemon::sql {

/// What SQLite said, with its result code sorted into an Errc.
class Error : public std::runtime_error {
 public:
  Error(Errc code, const std::string& text) : std::runtime_error{text}, code_{code} {}
  [[nodiscard]] Errc code() const noexcept { return code_; }

 private:
  Errc code_;
};

/// A value that is bytes rather than text.
struct Blob {
  std::string_view bytes{};
};

/// When a commit counts as done.
enum class Durability {
  disk,     // after an fsync: survives the loss of power
  process,  // written: survives kill -9; a loss of power may undo the last commits, in order
};

struct ConnectionOptions {
  std::uint32_t busy_ms = 5000;  // how long to wait for another connection's transaction
  Durability durability = Durability::disk;
  std::uint64_t file_bytes_max = 0;  // 0: no bound of ours
};

/// The rows of one query; the statement is free again when this goes.
class Rows {
 public:
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  ~Rows();
  [[nodiscard]] bool next();
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double number(int column) const;
  /// Text or blob; valid until next().
  [[nodiscard]] std::string_view bytes(int column) const;
  [[nodiscard]] std::string text(int column) const { return std::string{bytes(column)}; }
  template <class T>
  [[nodiscard]] T as(int column) const {
    return static_cast<T>(integer(column));
  }

 private:
  friend class Connection;
  explicit Rows(sqlite3_stmt* statement) noexcept : statement_{statement} {}
  sqlite3_stmt* statement_;
};

class Connection {
 public:
  /// Opens or creates the file, readable by its owner alone, in WAL mode.
  Connection(const std::string& path, const ConnectionOptions& options);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// Runs one statement to its end and returns how many rows it changed.
  template <class... Args>
  std::int64_t run(const char* literal, const Args&... args) {
    sqlite3_stmt* const statement = prepare(literal);
    int index = 0;
    (bind(statement, ++index, args, Lifetime::call), ...);
    return finish(statement);
  }
  template <class... Args>
  [[nodiscard]] Rows query(const char* literal, const Args&... args) {
    sqlite3_stmt* const statement = prepare(literal);
    Rows rows{statement};
    int index = 0;
    (bind(statement, ++index, args, Lifetime::copy), ...);
    return rows;
  }
  /// The single integer of a query that always has one row.
  template <class... Args>
  [[nodiscard]] std::int64_t integer(const char* literal, const Args&... args) {
    Rows rows = query(literal, args...);
    return rows.next() ? rows.integer(0) : 0;
  }
  /// Several statements without parameters, separated by semicolons.
  void script(const std::string& statements);

  [[nodiscard]] std::int64_t last_id() const noexcept;
  /// Takes the write lock at once, so that nothing inside can fail for want of it. The commit
  /// counts as done as the options say, or as `weaker` says.
  void begin(std::optional<Durability> weaker = std::nullopt);
  [[nodiscard]] bool in_transaction() const noexcept;
  void rollback() noexcept;

 private:
  enum class Lifetime { call, copy };  // how long bound bytes stay where they are
  [[nodiscard]] sqlite3_stmt* prepare(const char* literal);
  void set_durability(Durability durability);
  [[noreturn]] void fail(int code) const;
  void check(int code) const;
  std::int64_t finish(sqlite3_stmt* statement);
  void bind_integer(sqlite3_stmt* statement, int index, std::int64_t value);
  void bind_number(sqlite3_stmt* statement, int index, double value);
  void bind_text(sqlite3_stmt* statement, int index, std::string_view text, Lifetime lifetime);
  void bind_blob(sqlite3_stmt* statement, int index, std::string_view bytes, Lifetime lifetime);

  template <class T>
  void bind(sqlite3_stmt* statement, int index, const T& value, Lifetime lifetime) {
    if constexpr (std::is_enum_v<T>) {
      bind_integer(statement, index, static_cast<std::int64_t>(value));
    } else if constexpr (std::is_integral_v<T>) {
      bind_integer(statement, index, static_cast<std::int64_t>(value));
    } else if constexpr (std::is_floating_point_v<T>) {
      bind_number(statement, index, value);
    } else if constexpr (std::is_same_v<T, Blob>) {
      bind_blob(statement, index, value.bytes, lifetime);
    } else {
      bind_text(statement, index, std::string_view{value}, lifetime);
    }
  }
  template <class T>
  void bind(sqlite3_stmt* statement, int index, const std::optional<T>& value, Lifetime lifetime) {
    if (value) bind(statement, index, *value, lifetime);  // an unbound parameter is NULL
  }

  std::string path_;
  sqlite3* db_ = nullptr;
  std::uint32_t busy_ms_;
  Durability durability_;                       // asked for
  std::optional<Durability> durability_now_{};  // as SQLite knows it
  std::unordered_map<const char*, sqlite3_stmt*> statements_{};
};

/// A transaction that writes; rolls back unless committed. Every change goes through one.
class Transaction {
 public:
  explicit Transaction(Connection& db, std::optional<Durability> weaker = std::nullopt) : db_{&db} {
    db.begin(weaker);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (db_ != nullptr) db_->rollback();
  }
  void commit() {
    db_->run("COMMIT");
    db_ = nullptr;
  }

 private:
  Connection* db_;
};

}  // namespace cachee::daemon::sql
