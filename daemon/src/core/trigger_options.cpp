#include "core/trigger_options.hpp"

#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/units.hpp"

namespace cachee::daemon {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using Words = std::span<const std::string_view>;

constexpr EventKind kKinds[] = {EventKind::write, EventKind::del, EventKind::expire,
                                EventKind::evict, EventKind::read};

Failure bad(std::string text) { return {Errc::invalid_argument, std::move(text)}; }

// A misspelt word in a message: quoted, shortened, and with what it may have meant.
std::string shown(std::string_view word) {
  constexpr std::size_t kShownBytesMax = 64;
  if (word.size() <= kShownBytesMax) return fmt::format("'{}'", word);
  return fmt::format("'{}…'", word.substr(0, kShownBytesMax));
}

std::string hint(std::string_view word, Words candidates) {
  const auto near = nearest_word(word, candidates);
  return near ? fmt::format(" (did you mean {}?)", *near) : std::string{};
}

// Walks the option words; remembers what it is reading for the message.
class OptionReader {
 public:
  explicit OptionReader(Words words) : words_{words} {}

  [[nodiscard]] bool at_end() const noexcept { return at_ == words_.size(); }
  [[nodiscard]] std::string_view take_option() noexcept { return words_[at_++]; }
  /// The next word, or none when the command ends here.
  [[nodiscard]] std::optional<std::string_view> take() noexcept {
    if (at_end()) return std::nullopt;
    return words_[at_++];
  }

 private:
  Words words_;
  std::size_t at_ = 0;
};

Failure missing(std::string_view option, std::string_view expected) {
  return bad(fmt::format("{} needs a value: expected {}", option, expected));
}

Failure wrong(std::string_view option, std::string_view word, std::string_view expected) {
  return bad(fmt::format("bad value {} for {}: expected {}", shown(word), option, expected));
}

template <class Number>
Outcome<void> read_number(OptionReader& in, std::string_view option, std::int64_t low,
                          std::int64_t high, Number& out) {
  const std::string expected = fmt::format("an integer from {} to {}", low, high);
  const auto word = in.take();
  if (!word) return missing(option, expected);
  const auto number = parse_integer(*word);
  if (!number || *number < low || *number > high) return wrong(option, *word, expected);
  out = static_cast<Number>(*number);
  return {};
}

Outcome<void> read_bytes(OptionReader& in, std::string_view option, std::uint64_t low,
                         std::uint64_t high, std::uint64_t& out) {
  const std::string expected =
      fmt::format("a size from {} to {}", format_bytes(low), format_bytes(high));
  const auto word = in.take();
  if (!word) return missing(option, expected);
  const auto bytes = parse_bytes(*word);
  if (!bytes || *bytes < low || *bytes > high) return wrong(option, *word, expected);
  out = *bytes;
  return {};
}

Outcome<void> read_ms(OptionReader& in, std::string_view option, std::uint32_t low,
                      std::uint32_t high, std::uint32_t& out) {
  const std::string expected =
      fmt::format("a duration from {} to {}, as 100ms, 2s, or a number of milliseconds",
                  format_duration(milliseconds{low}), format_duration(milliseconds{high}));
  const auto word = in.take();
  if (!word) return missing(option, expected);
  const auto duration = parse_duration(*word, milliseconds{1});
  if (!duration || duration_cast<milliseconds>(*duration) != *duration ||
      *duration < milliseconds{low} || *duration > milliseconds{high}) {
    return wrong(option, *word, expected);
  }
  out = static_cast<std::uint32_t>(duration_cast<milliseconds>(*duration).count());
  return {};
}

Outcome<void> read_name(OptionReader& in, TriggerSpec& spec) {
  const std::string expected =
      fmt::format("1 to {} bytes without control characters", kTriggerNameBytesMax);
  const auto word = in.take();
  if (!word) return missing("NAME", expected);
  bool plain = !word->empty() && word->size() <= kTriggerNameBytesMax;
  for (const char c : *word) plain = plain && static_cast<unsigned char>(c) >= ' ' && c != 0x7f;
  if (!plain) return wrong("NAME", *word, expected);
  spec.name = std::string{*word};
  return {};
}

Outcome<void> read_on_full(OptionReader& in, TriggerSpec& spec) {
  constexpr std::string_view kExpected = "BLOCK <ms> or SHED";
  const auto word = in.take();
  if (!word) return missing("ON_FULL", kExpected);
  if (equal_ignoring_case(*word, "SHED")) {
    spec.on_full = OnFull::shed;
    return {};
  }
  if (!equal_ignoring_case(*word, "BLOCK")) return wrong("ON_FULL", *word, kExpected);
  spec.on_full = OnFull::block;
  return read_ms(in, "ON_FULL BLOCK", 0, kTriggerBlockMsMax, spec.block_ms);
}

Outcome<void> read_backoff(OptionReader& in, TriggerSpec& spec) {
  if (auto done = read_ms(in, "BACKOFF", 1, kTriggerBackoffMsMax, spec.backoff_min_ms); !done) {
    return done;
  }
  if (auto done = read_ms(in, "BACKOFF", 1, kTriggerBackoffMsMax, spec.backoff_max_ms); !done) {
    return done;
  }
  if (spec.backoff_min_ms > spec.backoff_max_ms) {
    return bad(fmt::format("BACKOFF {} {}: the first wait must not be longer than the longest one",
                           format_duration(milliseconds{spec.backoff_min_ms}),
                           format_duration(milliseconds{spec.backoff_max_ms})));
  }
  return {};
}

Outcome<void> read_disabled(OptionReader&, TriggerSpec& spec) {
  spec.enabled = false;
  return {};
}

// One row per option.
struct Option {
  std::string_view name;
  Outcome<void> (*read)(OptionReader&, TriggerSpec&);
};

// What triggers and consumer groups have in common.
constexpr Option kPriority{"PRIORITY", [](OptionReader& in, TriggerSpec& spec) {
  return read_number(in, "PRIORITY", -1'000'000'000, 1'000'000'000, spec.priority);
}};
constexpr Option kOnFull{"ON_FULL", read_on_full};
constexpr Option kRetry{"RETRY", [](OptionReader& in, TriggerSpec& spec) {
  return read_number(in, "RETRY", 1, kTriggerAttemptsMax, spec.retry_attempts);
}};
constexpr Option kBackoff{"BACKOFF", read_backoff};
constexpr Option kSample{"SAMPLE", [](OptionReader& in, TriggerSpec& spec) {
  return read_number(in, "SAMPLE", 1, kTriggerSampleMax, spec.sample);
}};
constexpr Option kDisabled{"DISABLED", read_disabled};

constexpr Option kOptions[] = {
    {"NAME", read_name},
    kPriority,
    kOnFull,
    kRetry,
    kBackoff,
    {"TIMEOUT",
     [](OptionReader& in, TriggerSpec& spec) {
       return read_ms(in, "TIMEOUT", 1, kTriggerTimeoutMsMax, spec.timeout_ms);
     }},
    {"MEMORY",
     [](OptionReader& in, TriggerSpec& spec) {
       return read_bytes(in, "MEMORY", kTriggerMemoryBytesMin, kTriggerMemoryBytesMax,
                         spec.memory_bytes);
     }},
    {"STEPS",
     [](OptionReader& in, TriggerSpec& spec) {
       return read_number(in, "STEPS", static_cast<std::int64_t>(kTriggerStepsMin),
                          static_cast<std::int64_t>(kTriggerStepsMax), spec.steps);
     }},
    kSample,
    {"MAXDEPTH",
     [](OptionReader& in, TriggerSpec& spec) {
       return read_number(in, "MAXDEPTH", 0, kTriggerDepthMax, spec.depth_max);
     }},
    kDisabled,
};

constexpr Option kGroupOptions[] = {
    kPriority,
    kOnFull,
    kRetry,
    kBackoff,
    {"DEADLINE",
     [](OptionReader& in, TriggerSpec& spec) {
       return read_ms(in, "DEADLINE", 1, kGroupDeadlineMsMax, spec.timeout_ms);
     }},
    kSample,
    kDisabled,
};

template <std::size_t kCount>
constexpr auto names_of(const Option (&options)[kCount]) {
  std::array<std::string_view, kCount> names{};
  for (std::size_t i = 0; i < kCount; ++i) names[i] = options[i].name;
  return names;
}
constexpr auto kOptionNames = names_of(kOptions);
constexpr auto kGroupOptionNames = names_of(kGroupOptions);

Outcome<void> read_options(OptionReader& in, TriggerSpec& spec) {
  const std::span<const Option> options = spec.is_group ? std::span<const Option>{kGroupOptions} : kOptions;
  const Words names = spec.is_group ? Words{kGroupOptionNames} : Words{kOptionNames};
  std::array<bool, std::size(kOptions)> seen{};
  static_assert(std::size(kGroupOptions) <= std::size(kOptions));
  while (!in.at_end()) {
    const std::string_view word = in.take_option();
    std::size_t index = 0;
    while (index < options.size() && !equal_ignoring_case(word, options[index].name)) ++index;
    if (index == options.size()) {
      return bad(fmt::format("unknown option {}: expected {}{}", shown(word), fmt::join(names, ", "),
                             hint(word, names)));
    }
    if (std::exchange(seen[index], true)) {
      return bad(fmt::format("option {} is given twice", options[index].name));
    }
    if (auto done = options[index].read(in, spec); !done) return done;
  }
  return {};
}

// Pattern, events and options, into a spec whose kind is set.
Outcome<TriggerSpec> read_words(Words words, TriggerSpec spec) {
  const std::string_view kind = spec.is_group ? "consumer group" : "trigger";
  if (words.empty()) return bad(fmt::format("a {} needs a pattern: expected <pattern> <EVENT>[,<EVENT>…]", kind));
  if (words[0].empty() || words[0].size() > kPatternBytesMax) {
    return bad(fmt::format("bad pattern {}: expected a glob of 1 to {} bytes", shown(words[0]),
                           kPatternBytesMax));
  }
  spec.pattern = std::string{words[0]};
  if (words.size() < 2) {
    return bad(fmt::format("pattern {} needs events: expected one or more of {} joined by commas",
                           shown(words[0]), event_names(~EventMask{0})));
  }
  std::string as_written;
  const auto events = parse_event_names(words[1], &as_written);
  if (!events) return events.failure();
  spec.events = *events;
  OptionReader in{words.subspan(2)};
  if (auto done = read_options(in, spec); !done) return done.failure();
  if (spec.sample != 1 && (spec.events & event_bit(EventKind::read)) == 0) {
    return bad(fmt::format("SAMPLE {} is for ON_READ, and the events are {}", spec.sample,
                           event_names(spec.events)));
  }
  if (spec.name.empty()) spec.name = spec.pattern + "@" + as_written;
  return spec;
}

}  // namespace

std::string event_names(EventMask events) {
  std::string text;
  for (const EventKind kind : kKinds) {
    if ((events & event_bit(kind)) == 0) continue;
    if (!text.empty()) text.push_back(',');
    text += event_name(kind);
  }
  return text;
}

Outcome<EventMask> parse_event_names(std::string_view text, std::string* as_written) {
  std::vector<std::string_view> names;
  for (const EventKind kind : kKinds) names.emplace_back(event_name(kind));
  EventMask events = 0;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    const std::string_view word = text.substr(start, end - start);
    EventMask bit = 0;
    std::string_view name;
    for (const EventKind kind : kKinds) {
      if (!equal_ignoring_case(word, event_name(kind))) continue;
      bit = event_bit(kind);
      name = event_name(kind);
    }
    if (bit == 0) {
      return bad(fmt::format("unknown event {}: expected one or more of {} joined by commas{}",
                             shown(word), fmt::join(names, ", "), hint(word, names)));
    }
    if (as_written != nullptr && (events & bit) == 0) {
      if (!as_written->empty()) as_written->push_back(',');
      *as_written += name;
    }
    events |= bit;
    start = end + 1;
  }
  return events;
}

Outcome<TriggerSpec> parse_trigger_words(std::span<const std::string_view> words) {
  return read_words(words, {});
}

Outcome<TriggerSpec> parse_group_words(std::span<const std::string_view> words) {
  if (words.empty()) return bad("a consumer group needs a name: expected <name> <pattern> <EVENT>[,<EVENT>…]");
  TriggerSpec spec;
  spec.is_group = true;
  spec.timeout_ms = kGroupDeadlineMsDefault;
  OptionReader name{words.first(1)};
  if (auto done = read_name(name, spec); !done) return done.failure();
  return read_words(words.subspan(1), std::move(spec));
}

std::vector<std::string> trigger_words(const TriggerSpec& spec) {
  const TriggerSpec plain{};
  std::vector<std::string> words{spec.pattern, event_names(spec.events)};
  if (spec.is_group) words.insert(words.begin(), spec.name);
  const auto add = [&words](std::initializer_list<std::string> more) {
    words.insert(words.end(), more);
  };
  const auto ms = [](std::uint32_t count) { return format_duration(milliseconds{count}); };
  if (!spec.is_group && spec.name != spec.pattern + "@" + event_names(spec.events)) add({"NAME", spec.name});
  if (spec.priority != plain.priority) add({"PRIORITY", std::to_string(spec.priority)});
  if (spec.on_full == OnFull::shed) {
    add({"ON_FULL", "SHED"});
  } else if (spec.block_ms != plain.block_ms) {
    add({"ON_FULL", "BLOCK", ms(spec.block_ms)});
  }
  if (spec.retry_attempts != plain.retry_attempts) {
    add({"RETRY", std::to_string(spec.retry_attempts)});
  }
  if (spec.backoff_min_ms != plain.backoff_min_ms || spec.backoff_max_ms != plain.backoff_max_ms) {
    add({"BACKOFF", ms(spec.backoff_min_ms), ms(spec.backoff_max_ms)});
  }
  if (spec.is_group) {
    if (spec.timeout_ms != kGroupDeadlineMsDefault) add({"DEADLINE", ms(spec.timeout_ms)});
  } else if (spec.timeout_ms != plain.timeout_ms) {
    add({"TIMEOUT", ms(spec.timeout_ms)});
  }
  if (spec.memory_bytes != plain.memory_bytes) add({"MEMORY", format_bytes(spec.memory_bytes)});
  if (spec.steps != plain.steps) add({"STEPS", std::to_string(spec.steps)});
  if (spec.sample != plain.sample) add({"SAMPLE", std::to_string(spec.sample)});
  if (spec.depth_max != plain.depth_max) add({"MAXDEPTH", std::to_string(spec.depth_max)});
  if (!spec.enabled) add({"DISABLED"});
  return words;
}

std::span<const std::string_view> trigger_option_names() noexcept { return kOptionNames; }

}  // namespace cachee::daemon
