#include "output.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <ostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text.hpp"

namespace cachee::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kCyan = "\x1b[36m";
constexpr std::string_view kReset = "\x1b[0m";
constexpr const char* kBase64Field = "base64";
constexpr std::size_t kColumnGap = 2;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string json_name(const std::string& name) { return is_utf8(name) ? name : quote(name); }

Json to_tree(const Value& value) {
  return value.visit(Overloaded{
      [](std::monostate) { return Json{}; },
      [](bool flag) { return Json(flag); },
      [](std::int64_t number) { return Json(number); },
      [](std::uint64_t number) { return Json(number); },
      [](double number) { return std::isfinite(number) ? Json(number) : Json{}; },
      [](const std::string& bytes) {
        if (is_utf8(bytes)) return Json(bytes);
        return Json{{kBase64Field, base64_encode(bytes)}};
      },
      [](const Value::List& items) {
        Json list = Json::array();
        for (const auto& item : items) list.push_back(to_tree(item));
        return list;
      },
      [](const Value::Object& fields) {
        Json object = Json::object();
        for (const auto& field : fields) object[json_name(field.name)] = to_tree(field.value);
        return object;
      },
  });
}

std::optional<Value> from_tree(const Json& tree, int depth) {
  if (depth > kJsonDepthMax) return std::nullopt;
  switch (tree.type()) {
    case Json::value_t::boolean:
      return Value{tree.get<bool>()};
    case Json::value_t::number_integer:
      return Value{tree.get<std::int64_t>()};
    case Json::value_t::number_unsigned:
      return Value{tree.get<std::uint64_t>()};
    case Json::value_t::number_float:
      return Value{tree.get<double>()};
    case Json::value_t::string:
      return Value{tree.get_ref<const std::string&>()};
    case Json::value_t::array: {
      Value list = Value::list();
      for (const auto& item : tree) {
        auto value = from_tree(item, depth + 1);
        if (!value) return std::nullopt;
        list.push(std::move(*value));
      }
      return list;
    }
    case Json::value_t::object: {
      if (tree.size() == 1 && tree.contains(kBase64Field) && tree[kBase64Field].is_string()) {
        if (auto bytes = base64_decode(tree[kBase64Field].get_ref<const std::string&>())) {
          return Value{std::move(*bytes)};
        }
      }
      Value object = Value::object();
      for (const auto& [name, item] : tree.items()) {
        auto value = from_tree(item, depth + 1);
        if (!value) return std::nullopt;
        object.add(name, std::move(*value));
      }
      return object;
    }
    default:
      return Value{};
  }
}

std::string format_number(double number, Unit unit) {
  switch (unit) {
    case Unit::bytes:
      return format_bytes(static_cast<std::uint64_t>(std::max(number, 0.0)));
    case Unit::milliseconds:
      return format_duration(std::chrono::nanoseconds{std::llround(number * 1e6)});
    case Unit::microseconds:
      return format_duration(std::chrono::nanoseconds{std::llround(number * 1e3)});
    case Unit::percent:
      return fmt::format("{:.1f}%", number);
    case Unit::wall_ms:
      return format_wall_ms(std::llround(number));
    case Unit::none:
      break;
  }
  return fmt::format("{:.6g}", number);
}

template <std::integral T>
std::string format_integer(T number, Unit unit) {
  return unit == Unit::none ? std::to_string(number)
                            : format_number(static_cast<double>(number), unit);
}

/// Text of several lines that needs no escaping: a script, a traceback.
bool is_block(const Value& value) {
  return value.is_string() && value.string().find('\n') != std::string::npos &&
         is_plain_text(value.string());
}

bool is_table(const Value& value) {
  return value.is_list() && !value.items().empty() &&
         std::all_of(value.items().begin(), value.items().end(),
                     [](const Value& item) { return item.is_object(); });
}

class TextPrinter {
 public:
  explicit TextPrinter(bool colour) noexcept : colour_{colour} {}

  std::string take() { return std::move(out_); }

  void print(const Value& value, std::size_t indent) {
    if (value.is_object()) return print_object(value, indent);
    if (is_table(value)) return print_table(value, indent);
    if (value.is_list()) {
      for (const auto& item : value.items()) print_item(item, indent);
      return;
    }
    print_item(value, indent);
  }

 private:
  void print_item(const Value& value, std::size_t indent) {
    out_.append(indent, ' ');
    out_ += to_cell(value);
    out_ += '\n';
  }

  void paint(std::string_view colour, std::string_view text) {
    const bool painted = colour_ && !colour.empty();
    if (painted) out_ += colour;
    out_ += text;
    if (painted) out_ += kReset;
  }

  void print_object(const Value& value, std::size_t indent) {
    std::size_t width = 0;
    for (const auto& field : value.fields()) {
      if (!stands_below(field.value)) width = std::max(width, columns(display(field.name)));
    }
    for (const auto& field : value.fields()) {
      const std::string name = display(field.name);
      out_.append(indent, ' ');
      paint(kCyan, name);
      if (stands_below(field.value)) {
        out_ += '\n';
        print_below(field.value, indent + kColumnGap);
        continue;
      }
      out_.append(width - columns(name) + kColumnGap, ' ');
      out_ += to_cell(field.value);
      out_ += '\n';
    }
  }

  static bool stands_below(const Value& value) {
    return (value.is_object() && !value.fields().empty()) || is_table(value) || is_block(value);
  }

  void print_below(const Value& value, std::size_t indent) {
    if (!is_block(value)) return print(value, indent);
    std::string_view text = value.string();
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      out_.append(indent, ' ');
      out_ += text.substr(0, end);
      out_ += '\n';
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  void print_table(const Value& value, std::size_t indent) {
    std::vector<std::string> names;
    for (const auto& row : value.items()) {
      for (const auto& field : row.fields()) {
        if (std::find(names.begin(), names.end(), field.name) == names.end()) {
          names.push_back(field.name);
        }
      }
    }
    struct Column {
      std::vector<std::string> cells{};
      std::size_t width = 0;
      bool right = true;  // numbers line up at their last digit
    };
    std::vector<Column> table(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      table[i].width = columns(display(names[i]));
      for (const auto& row : value.items()) {
        const Value* const cell = row.find(names[i]);
        table[i].cells.push_back(cell == nullptr ? std::string{} : to_cell(*cell));
        table[i].width = std::max(table[i].width, columns(table[i].cells.back()));
        if (cell != nullptr && !cell->is_null() && !cell->is_number()) table[i].right = false;
      }
    }
    const auto put = [&](std::size_t column, const std::string& text, std::string_view colour) {
      const std::size_t pad = table[column].width - columns(text);
      const bool last = column + 1 == table.size();
      if (table[column].right) out_.append(pad, ' ');
      paint(colour, text);
      if (!table[column].right && !last) out_.append(pad, ' ');
      if (!last) out_.append(kColumnGap, ' ');
    };
    out_.append(indent, ' ');
    for (std::size_t i = 0; i < names.size(); ++i) put(i, display(names[i]), kBold);
    out_ += '\n';
    for (std::size_t row = 0; row < value.items().size(); ++row) {
      out_.append(indent, ' ');
      for (std::size_t i = 0; i < names.size(); ++i) put(i, table[i].cells[row], {});
      out_ += '\n';
    }
  }

  bool colour_;
  std::string out_{};
};

}  // namespace

Value Value::object() {
  Value value;
  value.data_ = Object{};
  return value;
}

Value Value::list() {
  Value value;
  value.data_ = List{};
  return value;
}

Value& Value::add(std::string name, Value value) {
  std::get<Object>(data_).push_back({std::move(name), std::move(value)});
  return *this;
}

Value& Value::push(Value value) {
  std::get<List>(data_).push_back(std::move(value));
  return *this;
}

bool Value::is_number() const noexcept {
  return holds<std::int64_t>() || holds<std::uint64_t>() || holds<double>();
}

const Value* Value::find(std::string_view name) const noexcept {
  if (!is_object()) return nullptr;
  for (const auto& field : fields()) {
    if (field.name == name) return &field.value;
  }
  return nullptr;
}

std::uint64_t Value::as_count() const noexcept {
  if (const auto* number = std::get_if<std::uint64_t>(&data_)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&data_)) {
    return *number < 0 ? 0 : static_cast<std::uint64_t>(*number);
  }
  std::uint64_t number = 0;
  if (const auto* text = std::get_if<std::string>(&data_)) {
    const char* const end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, number);
    if (error != std::errc{} || stop != end) return 0;
  }
  return number;
}

std::string to_json(const Value& value, bool indented) {
  return to_tree(value).dump(indented ? 2 : -1);
}

std::optional<Value> from_json(std::string_view text) {
  const Json tree = Json::parse(text, nullptr, false);
  if (tree.is_discarded()) return std::nullopt;
  return from_tree(tree, 0);
}

std::string to_cell(const Value& value) {
  const Unit unit = value.unit();
  return value.visit(Overloaded{
      [](std::monostate) { return std::string{"-"}; },
      [](bool flag) { return std::string{flag ? "yes" : "no"}; },
      [&](std::int64_t number) { return format_integer(number, unit); },
      [&](std::uint64_t number) { return format_integer(number, unit); },
      [&](double number) { return format_number(number, unit); },
      [](const std::string& bytes) { return display(bytes); },
      [](const Value::List& items) {
        std::string cell;
        for (const auto& item : items) {
          if (!cell.empty()) cell += ", ";
          cell += to_cell(item);
        }
        return cell.empty() ? std::string{"-"} : cell;
      },
      [](const Value::Object& fields) {
        std::string cell;
        for (const auto& field : fields) {
          if (!cell.empty()) cell += ' ';
          cell += display(field.name) + '=' + to_cell(field.value);
        }
        return cell.empty() ? std::string{"-"} : cell;
      },
  });
}

std::string to_text(const Value& value, bool colour) {
  TextPrinter printer{colour};
  printer.print(value, 0);
  return printer.take();
}

void Output::print(const Value& value) {
  write(options_.json ? to_json(value, options_.terminal) + '\n' : to_text(value, options_.colour));
}

void Output::print_line(const Value& value, std::string_view text) {
  write(options_.json ? to_json(value) : std::string{text});
  write("\n");
}

void Output::write(std::string_view bytes) {
  if (failed()) return;
  errno = 0;
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  note_failure();
}

void Output::flush() {
  if (failed()) return;
  errno = 0;
  out_.flush();
  note_failure();
}

void Output::note_failure() noexcept {
  if (out_.fail()) error_ = errno == 0 ? EIO : errno;
}

bool Output::failed() const noexcept { return error_ != 0; }

}  // namespace cachee::cli
