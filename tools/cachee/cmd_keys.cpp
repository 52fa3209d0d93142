// get set del exists ttl expire incr scan: one key or many, on the segment itself.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "command.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

Value entry_value(const std::string& key, const Entry& entry, bool with_value) {
  Value depends_on = Value::list();
  for (const auto& parent : entry.depends_on) depends_on.push(parent);
  Value object = Value::object();
  object.add("key", key);
  if (with_value) object.add("value", entry.value);
  object.add("version", entry.version);
  object.add("ttl_ms", entry.ttl ? Value::milliseconds(entry.ttl->count()) : Value{});
  object.add("age_ms", Value::milliseconds(entry.age.count()));
  object.add("value_bytes", Value::bytes(entry.value.size()));
  object.add("memory_bytes", Value::bytes(entry.bytes));
  object.add("cost", entry.cost);
  object.add("metadata", metadata_value(entry.metadata));
  object.add("depends_on", std::move(depends_on));
  return object;
}

Failure no_such_key(const std::string& key) {
  return {Exit::no, fmt::format("no such key: {}", display(key))};
}

/// What a write that did not happen means for the user.
Failure write_failure(const std::string& key, const Error& error) {
  const std::string name = display(key);
  const auto no = [](std::string text) { return Failure{Exit::no, std::move(text)}; };
  switch (error.code) {
    case Errc::not_found:
      return no_such_key(key);
    case Errc::exists:
      return no(fmt::format("{} exists: nothing was written", name));
    case Errc::stale:
      return no(
          fmt::format("{} has another version by now: nothing was written; read it again with "
                      "`cachee get {} --long`",
                      name, name));
    case Errc::full:
      return no(
          fmt::format("BACKPRESSURE: {} was not changed, its event cannot be taken now: is "
                      "cacheed running, and what does `cachee ring` say?",
                      name));
    case Errc::no_space:
      return no(
          fmt::format("no memory for {}: nothing was written; start cacheed with more --memory, "
                      "or see `cachee stat`",
                      name));
    case Errc::not_a_number:
      return no(fmt::format("the value of {} is not an integer", name));
    case Errc::invalid_argument:
      if (key.size() > kKeyBytesMax) {
        return no(
            fmt::format("a key of {} bytes: at most {} are allowed", key.size(), kKeyBytesMax));
      }
      return no(fmt::format("{}: {}", name, to_string(error)));
    case Errc::overflow:
      return no(
          fmt::format("{} would leave the range of 64-bit integers: nothing was written", name));
    default:
      return no(fmt::format("{}: {}", name, to_string(error)));
  }
}

/// The same for `set`, where the library says only that an argument is not valid.
Failure set_failure(const Cache& cache, const std::string& key, const std::string& value,
                    const Error& error) {
  const auto info = segment_info(cache);
  if (error.code == Errc::invalid_argument && info && value.size() > info->value_bytes_max) {
    return {Exit::no,
            fmt::format("the value of {} has {} bytes, more than the {} that this segment "
                        "takes: start cacheed with a larger --max-value",
                        display(key), value.size(), info->value_bytes_max)};
  }
  return write_failure(key, error);
}

std::string read_all_of_stdin() {
  std::string bytes{std::istreambuf_iterator<char>{std::cin}, std::istreambuf_iterator<char>{}};
  if (std::cin.bad()) {
    throw Failure{Exit::no, fmt::format("cannot read standard input: {}", std::strerror(errno))};
  }
  return bytes;
}

Command get_command() {
  return {.words = "get",
          .group = kSegmentGroup,
          .summary = "Print the value of a key; exit 1 when there is none",
          .example = "cachee get session:42\ncachee get session:42 --long",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::string key{};
              bool all = false;
              bool bare = false;
            };
            auto options = std::make_shared<Options>();
            declare_word(app, "key", options->key, "Key")->required();
            app.add_flag("-l,--long", options->all,
                         "Also version, TTL, cost, metadata, dependencies, age, size");
            app.add_flag("-z,--bare", options->bare,
                         "The bytes alone, without a line feed at the end");
            return [options](Context& context) {
              const Cache& cache = context.source.segment_to_read();
              const auto value = cache.get(options->key);
              if (!value && value.code() == Errc::not_found) throw no_such_key(options->key);
              if (!value) throw write_failure(options->key, value.error());
              if (options->all || context.out.json()) {
                const auto entry = cache.inspect(options->key);
                if (!entry) throw no_such_key(options->key);  // it went since
                context.out.print(entry_value(options->key, *entry, true));
                return Exit::yes;
              }
              // A terminal may take bytes as commands; a pipe gets them as they are.
              const bool plain =
                  !context.out.terminal() || options->bare || is_plain_text(value->bytes);
              context.out.write(plain ? value->bytes : quote(value->bytes));
              if (!options->bare) context.out.write("\n");
              return Exit::yes;
            };
          }};
}

struct SetArguments {
  std::string key{};
  std::string value{};
  bool has_value = false;
  std::string ttl{};
  std::optional<double> cost{};
  std::vector<std::string> metadata{};
  std::vector<std::string> depends_on{};
  bool absent = false;
  bool present = false;
  bool keep_ttl = false;
  std::optional<std::uint64_t> if_version{};
};

SetOptions set_options(const SetArguments& arguments) {
  SetOptions options;
  if (!arguments.ttl.empty()) options.ttl = duration_of("--ttl", arguments.ttl);
  options.keep_ttl = arguments.keep_ttl;
  options.cost = arguments.cost;
  for (const auto& field : arguments.metadata) {
    const std::size_t equals = field.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Failure{Exit::usage, fmt::format("--meta: '{}': expected FIELD=VALUE", field)};
    }
    options.metadata.emplace_back(field.substr(0, equals), field.substr(equals + 1));
  }
  options.depends_on = arguments.depends_on;
  if (arguments.absent) options.condition = Condition::absent;
  if (arguments.present) options.condition = Condition::present;
  options.if_version = arguments.if_version;
  return options;
}

Command set_command() {
  return {
      .words = "set",
      .group = kSegmentGroup,
      .summary = "Store a value; from standard input when none is given",
      .example =
          "cachee set session:42 '{\"user\":42}' --ttl 30m --cost 12.5 --meta user=42\n"
          "cachee set page:home --depends-on product:7 < home.html",
      .declare = [](CLI::App& app) -> Run {
        auto given = std::make_shared<SetArguments>();
        declare_word(app, "key", given->key, "Key")->required();
        CLI::Option* const value =
            declare_word(app, "value", given->value, "Value (default: standard input)");
        CLI::Option* const ttl =
            declare_word(app, "--ttl", given->ttl, "Time to live: 500ms, 30m, 1h30m, 90 (seconds)");
        declare_decimal(app, "--cost", [given](double cost) { given->cost = cost; },
                        "Recomputation cost, a positive number",
                        {.low = std::numeric_limits<double>::denorm_min(),
                         .high = std::numeric_limits<double>::max(),
                         .words = "a positive number"});
        declare_repeated(app, "--meta", given->metadata,
                         "FIELD=VALUE that events carry as event.metadata; may be repeated");
        declare_repeated(app, "--depends-on", given->depends_on,
                         "Key that this one was made from, never the key itself; may be repeated. Cycles "
                         "through other keys only cacheed refuses (SET, DEPENDS_ON)");
        CLI::Option* const absent =
            app.add_flag("--nx", given->absent, "Only when the key is not there");
        app.add_flag("--xx", given->present, "Only when the key is there")->excludes(absent);
        app.add_flag("--keep-ttl", given->keep_ttl, "Keep the TTL that the key has")->excludes(ttl);
        declare_integer(app, "--if-version", given->if_version,
                        "Only when the key has this version");
        return [given, value](Context& context) {
          const SetOptions options = set_options(*given);
          if (value->count() == 0) {
            if (is_terminal(STDIN_FILENO)) {
              throw Failure{Exit::usage, "set: no value: write it after the key, or pipe it in"};
            }
            given->value = read_all_of_stdin();
          }
          Cache& cache = context.source.segment();
          const auto written = cache.set(given->key, given->value, options);
          if (!written) throw set_failure(cache, given->key, given->value, written.error());
          if (!context.out.json()) {
            context.out.write("OK\n");
            return Exit::yes;
          }
          context.out.print(
              Value::object()
                  .add("key", given->key)
                  .add("version", written->version)
                  .add("created", written->created)
                  .add("event", written->event ? Value{written->event->value + 1} : Value{}));
          return Exit::yes;
        };
      }};
}

Command del_command() {
  return {.words = "del",
          .group = kSegmentGroup,
          .summary = "Delete keys and print how many; exit 1 when none was there",
          .example = "cachee del session:42 session:43",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::vector<std::string> keys{};
              std::optional<std::uint64_t> if_version{};
            };
            auto options = std::make_shared<Options>();
            declare_words(app, "key", options->keys, "Keys")->required();
            declare_integer(app, "--if-version", options->if_version,
                            "Only when the key has this version; with one key");
            return [options](Context& context) {
              if (options->if_version && options->keys.size() > 1) {
                throw Failure{Exit::usage, "del: --if-version is for one key"};
              }
              Cache& cache = context.source.segment();
              std::uint64_t deleted = 0;
              for (const auto& key : options->keys) {
                const auto erased = cache.erase(key, {.if_version = options->if_version});
                if (erased) ++deleted;
                if (!erased && erased.code() != Errc::not_found) {
                  throw write_failure(key, erased.error());
                }
              }
              if (context.out.json()) {
                context.out.print(Value::object().add("deleted", deleted));
              } else {
                context.out.write(fmt::format("{}\n", deleted));
              }
              return deleted > 0 ? Exit::yes : Exit::no;
            };
          }};
}

Command exists_command() {
  return {.words = "exists",
          .group = kSegmentGroup,
          .summary = "Print how many of the keys are there; exit 1 unless all are",
          .example = "cachee exists session:42 && echo yes",
          .declare = [](CLI::App& app) -> Run {
            auto keys = std::make_shared<std::vector<std::string>>();
            declare_words(app, "key", *keys, "Keys")->required();
            return [keys](Context& context) {
              const Cache& cache = context.source.segment(Access::read_only);
              std::uint64_t there = 0;
              for (const auto& key : *keys) {
                const auto found = cache.contains(key);
                if (!found) throw write_failure(key, found.error());
                if (*found) ++there;
              }
              if (context.out.json()) {
                context.out.print(Value::object().add("exists", there).add("asked", keys->size()));
              } else {
                context.out.write(fmt::format("{}\n", there));
              }
              return there == keys->size() ? Exit::yes : Exit::no;
            };
          }};
}

Command ttl_command() {
  return {.words = "ttl",
          .group = kSegmentGroup,
          .summary = "Print the time that a key has left, or `never`; exit 1 when it is not there",
          .example = "cachee ttl session:42",
          .declare = [](CLI::App& app) -> Run {
            auto key = std::make_shared<std::string>();
            declare_word(app, "key", *key, "Key")->required();
            return [key](Context& context) {
              const auto ttl = context.source.segment(Access::read_only).ttl(*key);
              if (!ttl) throw write_failure(*key, ttl.error());
              if (context.out.json()) {
                context.out.print(Value::object()
                                      .add("key", *key)
                                      .add("ttl_ms", *ttl ? Value{(*ttl)->count()} : Value{}));
              } else {
                context.out.write((*ttl ? format_duration(**ttl) : std::string{"never"}) + "\n");
              }
              return Exit::yes;
            };
          }};
}

Command expire_command() {
  return {
      .words = "expire",
      .group = kSegmentGroup,
      .summary = "Give a key a new TTL, or `never`; exit 1 when the key is not there",
      .example = "cachee expire session:42 30m\ncachee expire session:42 never",
      .declare = [](CLI::App& app) -> Run {
        struct Options {
          std::string key{};
          std::string ttl{};
        };
        auto options = std::make_shared<Options>();
        declare_word(app, "key", options->key, "Key")->required();
        declare_word(app, "ttl", options->ttl, "500ms, 30m, 1h30m, 90 (seconds), or never")
            ->required();
        return [options](Context& context) {
          const bool never = options->ttl == "never";
          const Ttl ttl = never ? Ttl{} : duration_of("ttl", options->ttl);
          Cache& cache = context.source.segment();
          const auto done = never ? cache.persist(options->key) : cache.touch(options->key, ttl);
          if (!done) throw write_failure(options->key, done.error());
          const bool there = *done || (never && cache.contains(options->key).value_or(false));
          if (!there) throw no_such_key(options->key);
          if (context.out.json()) {
            context.out.print(
                Value::object()
                    .add("key", options->key)
                    .add("ttl_ms",
                         never ? Value{}
                               : Value{std::chrono::duration_cast<std::chrono::milliseconds>(ttl)
                                           .count()}));
          } else {
            context.out.write("OK\n");
          }
          return Exit::yes;
        };
      }};
}

Command incr_command() {
  return {.words = "incr",
          .group = kSegmentGroup,
          .summary = "Add to an integer and print the result; a missing key counts as 0",
          .example = "cachee incr hits\ncachee incr stock:7 -3",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::string key{};
              std::int64_t delta = 1;
            };
            auto options = std::make_shared<Options>();
            declare_word(app, "key", options->key, "Key")->required();
            declare_integer(app, "by", options->delta, "What to add (default: 1)",
                            {.low = std::numeric_limits<std::int64_t>::min()});
            return [options](Context& context) {
              const auto result = context.source.segment().increment(options->key, options->delta);
              if (!result) throw write_failure(options->key, result.error());
              if (context.out.json()) {
                context.out.print(Value::object().add("key", options->key).add("value", *result));
              } else {
                context.out.write(fmt::format("{}\n", *result));
              }
              return Exit::yes;
            };
          }};
}

Command scan_command() {
  return {.words = "scan",
          .group = kSegmentGroup,
          .summary = "Print the keys that match a pattern, one a line",
          .example = "cachee scan 'session:*'\ncachee scan --long --limit 20",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::string pattern = "*";
              std::uint64_t limit = 0;
              bool all = false;
            };
            auto options = std::make_shared<Options>();
            declare_word(app, "glob", options->pattern,
                         "Pattern: * ? [a-z] [^x] and \\ (default: *)");
            declare_integer(app, "--limit", options->limit, "Stop after so many (default: all)");
            app.add_flag("-l,--long", options->all, "Also version, TTL, age, size, cost, metadata");
            return [options](Context& context) {
              Output& out = context.out;
              const Cache& cache = context.source.segment(Access::read_only);
              const bool everything = options->pattern == "*";
              std::uint64_t printed = 0;
              std::uint64_t cursor = 0;
              std::vector<std::string> keys;
              do {
                keys.clear();
                const auto step = cache.scan(cursor, kScanStep, [&](KeyView key) {
                  if (everything || glob_match(options->pattern, key)) keys.emplace_back(key);
                });
                if (!step) throw Failure{Exit::no, "scan: " + to_string(step.error())};
                cursor = step->cursor;
                for (const auto& key : keys) {
                  if (options->limit != 0 && printed == options->limit) return Exit::yes;
                  if (options->all) {
                    const auto entry = cache.inspect(key);
                    if (!entry) continue;  // it went since
                    const Value value = entry_value(key, *entry, false);
                    out.print_line(value, to_cell(value));
                  } else {
                    out.print_line(Value::object().add("key", key), display(key));
                  }
                  ++printed;
                }
                if (out.failed()) break;  // `cachee scan | head`
              } while (cursor != 0);
              return Exit::yes;
            };
          }};
}

}  // namespace

std::vector<Command> key_commands() {
  return {get_command(), set_command(),    del_command(),  exists_command(),
          ttl_command(), expire_command(), incr_command(), scan_command()};
}

}  // namespace cachee::cli
