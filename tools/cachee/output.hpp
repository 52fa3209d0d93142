// Output: what a command found out, as one tree of values, printed as text or as JSON. A command
// builds the tree once; that is why --json has every field of the text.
//
// Use:   Value row = Value::object();
//        row.add("key", key).add("used", Value::bytes(n));
//        output.print(row);
#pragma once

#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cachee::cli {

/// How a number reads in text. JSON always has the bare number.
enum class Unit : std::uint8_t { none, bytes, milliseconds, microseconds, percent, wall_ms };

class Value {
 public:
  struct Field;
  using List = std::vector<Value>;
  using Object = std::vector<Field>;

  Value() noexcept = default;        // null: "-" in text
  Value(bool flag) : data_{flag} {}  // NOLINT(*-explicit-*)
  template <std::signed_integral T>
  Value(T number, Unit unit = Unit::none) : data_{std::int64_t{number}}, unit_{unit} {}  // NOLINT
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Value(T number, Unit unit = Unit::none)
      : data_{std::uint64_t{number}}, unit_{unit} {}                            // NOLINT
  Value(double number, Unit unit = Unit::none) : data_{number}, unit_{unit} {}  // NOLINT
  Value(std::string bytes) : data_{std::move(bytes)} {}         // NOLINT(*-explicit-*)
  Value(std::string_view bytes) : data_{std::string{bytes}} {}  // NOLINT(*-explicit-*)
  Value(const char* text) : data_{std::string{text}} {}         // NOLINT(*-explicit-*)

  [[nodiscard]] static Value object();
  [[nodiscard]] static Value list();
  [[nodiscard]] static Value bytes(std::uint64_t count) { return {count, Unit::bytes}; }
  [[nodiscard]] static Value milliseconds(std::int64_t count) {
    return {count, Unit::milliseconds};
  }

  /// Adds a field to an object. Returns the object.
  Value& add(std::string name, Value value);
  /// Adds an item to a list. Returns the list.
  Value& push(Value value);

  [[nodiscard]] bool is_null() const noexcept { return holds<std::monostate>(); }
  [[nodiscard]] bool is_object() const noexcept { return holds<Object>(); }
  [[nodiscard]] bool is_list() const noexcept { return holds<List>(); }
  [[nodiscard]] bool is_string() const noexcept { return holds<std::string>(); }
  [[nodiscard]] bool is_number() const noexcept;
  [[nodiscard]] const Object& fields() const { return std::get<Object>(data_); }
  [[nodiscard]] const List& items() const { return std::get<List>(data_); }
  [[nodiscard]] const std::string& string() const { return std::get<std::string>(data_); }
  /// The field of an object, or null when there is none or this is no object.
  [[nodiscard]] const Value* find(std::string_view name) const noexcept;
  /// A number, or a string that is one, as an unsigned integer; 0 otherwise.
  [[nodiscard]] std::uint64_t as_count() const noexcept;
  [[nodiscard]] Unit unit() const noexcept { return unit_; }

  template <class Visitor>
  decltype(auto) visit(Visitor&& visitor) const {
    return std::visit(std::forward<Visitor>(visitor), data_);
  }

 private:
  template <class T>
  [[nodiscard]] bool holds() const noexcept {
    return std::holds_alternative<T>(data_);
  }
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, List, Object>
      data_{};
  Unit unit_ = Unit::none;
};

struct Value::Field {
  std::string name;
  Value value;
};

/// One JSON document on one line, or indented. Bytes that are not UTF-8 become {"base64": "..."}.
[[nodiscard]] std::string to_json(const Value& value, bool indented = false);
/// From JSON text; `{"base64": "..."}` becomes bytes again. nullopt when the text is not JSON, or
/// nested deeper than kJsonDepthMax.
[[nodiscard]] std::optional<Value> from_json(std::string_view text);
inline constexpr int kJsonDepthMax = 64;

/// Lines for people: an object as names and values, a list of objects as a table, a list of
/// anything else as one item a line. Ends with a newline unless there is nothing to print.
[[nodiscard]] std::string to_text(const Value& value, bool colour = false);
/// A value in one line, as in a cell of a table.
[[nodiscard]] std::string to_cell(const Value& value);

/// Standard output of one command.
class Output {
 public:
  struct Options {
    bool json = false;
    bool terminal = false;  // somebody is watching: indent, quote what would upset the terminal
    bool colour = false;
  };
  Output(std::ostream& out, const Options& options) noexcept : out_{out}, options_{options} {}
  void configure(const Options& options) noexcept { options_ = options; }

  /// One document: text, or JSON with --json.
  void print(const Value& value);
  /// One of many documents: a line of JSON with --json, else the text given.
  void print_line(const Value& value, std::string_view text);
  /// As it is.
  void write(std::string_view bytes);
  void flush();
  /// True when the reader of a pipe went away or the disk is full.
  [[nodiscard]] bool failed() const noexcept;
  /// errno of the first write that failed; 0 when none did.
  [[nodiscard]] int error() const noexcept { return error_; }

  [[nodiscard]] bool json() const noexcept { return options_.json; }
  [[nodiscard]] bool terminal() const noexcept { return options_.terminal; }
  [[nodiscard]] bool colour() const noexcept { return options_.colour; }

 private:
  void note_failure() noexcept;
  std::ostream& out_;
  Options options_;
  int error_ = 0;
};

}  // namespace cachee::cli
