#include "config/table.hpp"

#include <grp.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include <cachee/segment_name.hpp>
#include <fmt/format.h>

#include "core/units.hpp"

namespace cachee::daemon {
namespace {

using Read = std::function<bool(Settings&, std::string_view)>;
using Show = std::function<std::string(const Settings&)>;

constexpr std::uint32_t kWebhookConcurrencyMax = 1024;
constexpr std::uint32_t kWebhookAttemptsMax = 1000;
constexpr std::chrono::milliseconds kWebhookTimeoutMax{600'000};  // the sender waits for no request any longer
constexpr std::chrono::milliseconds kWebhookBackoffMax{86'400'000};
constexpr std::uint32_t kSlowRunsMax = 100'000;
constexpr std::uint32_t kLogFilesKeptMax = 1'000'000;
constexpr std::size_t kPathBytesMax = 4096;

struct Kind {
  std::string value;
  std::string expected;
  Read read;
  Show show;
};

// ---- Kinds of values. `place` finds the member in the settings.

template <class Place>
Kind size_of(Place place, std::uint64_t low, std::uint64_t high) {
  const std::string range = high == std::numeric_limits<std::uint64_t>::max()
                                ? fmt::format("of at least {}", format_bytes(low))
                                : fmt::format("from {} to {}", format_bytes(low), format_bytes(high));
  return {"SIZE", fmt::format("a size {}, with KiB, MiB or GiB (or K, M, G)", range),
          [=](Settings& settings, std::string_view text) {
            const auto bytes = parse_bytes(text);
            if (!bytes || *bytes < low || *bytes > high) return false;
            place(settings) = *bytes;
            return true;
          },
          [=](const Settings& settings) { return format_bytes(place(settings)); }};
}

template <class Place>
Kind duration_of(Place place, std::chrono::milliseconds low = {}, std::chrono::milliseconds high = std::chrono::milliseconds::max()) {
  using std::chrono::milliseconds;
  const std::string range = high == milliseconds::max() ? "" : fmt::format(" from {} to {}", format_duration(low), format_duration(high));
  return {"TIME", fmt::format("a time in whole milliseconds{}, with us, ms, s, m, h or d, as 1d", range),
          [=](Settings& settings, std::string_view text) {
            const auto time = parse_duration(text);
            // A part of a millisecond would be lost, and 0 may mean something else: never, or no limit.
            if (!time || time->count() < 0 || std::chrono::floor<milliseconds>(*time) != *time) return false;
            const auto whole = std::chrono::floor<milliseconds>(*time);
            if (whole < low || whole > high) return false;
            place(settings) = whole;
            return true;
          },
          [=](const Settings& settings) { return format_duration(place(settings)); }};
}

template <class Place>
Kind number_of(Place place, std::uint32_t low, std::uint32_t high) {
  return {"N", fmt::format("a number from {} to {}", low, high),
          [=](Settings& settings, std::string_view text) {
            const auto number = parse_integer(text);
            if (!number || *number < low || *number > high) return false;
            place(settings) = static_cast<std::uint32_t>(*number);
            return true;
          },
          [=](const Settings& settings) { return std::to_string(place(settings)); }};
}

template <class Place>
Kind flag_of(Place place) {
  return {"", "true or false",
          [=](Settings& settings, std::string_view text) {
            if (text != "true" && text != "false") return false;
            place(settings) = text == "true";
            return true;
          },
          [=](const Settings& settings) { return place(settings) ? "true" : "false"; }};
}

template <class Place>
Kind path_of(Place place, std::string value) {
  return {std::move(value), "a path",
          [=](Settings& settings, std::string_view text) {
            if (text.empty() || text.size() > kPathBytesMax || text.find('\0') != text.npos) {
              return false;
            }
            place(settings) = std::string{text};
            return true;
          },
          [=](const Settings& settings) { return std::string{place(settings)}; }};
}

template <class Place>
Kind address_of(Place place) {
  return {"ADDRESS", "an address and a port, as 127.0.0.1:6380 or [::1]:6380",
          [=](Settings& settings, std::string_view text) {
            const auto address = parse_listen_address(text);
            if (!address) return false;
            place(settings) = address;
            return true;
          },
          [=](const Settings& settings) {
            return place(settings) ? format_address(*place(settings)) : std::string{};
          }};
}

// One of a few words; the place holds an enum or the word itself.
template <class Place, class Value>
Kind choice_of(Place place, std::vector<std::pair<std::string, Value>> choices) {
  std::vector<std::string> words;
  for (const auto& [word, value] : choices) words.push_back(word);
  return {fmt::format("{}", fmt::join(words, "|")),
          fmt::format("one of {}", fmt::join(words, ", ")),
          [=](Settings& settings, std::string_view text) {
            for (const auto& [word, value] : choices) {
              if (word != text) continue;
              place(settings) = value;
              return true;
            }
            return false;
          },
          [=](const Settings& settings) {
            for (const auto& [word, value] : choices) {
              if (place(settings) == value) return word;
            }
            return std::string{};
          }};
}

Kind name_kind() {
  return {"NAME", std::string{kSegmentNameRule},
          [](Settings& settings, std::string_view text) {
            const bool good = is_segment_name(text);
            if (good) settings.name = std::string{text};
            return good;
          },
          [](const Settings& settings) { return settings.name; }};
}

Kind mode_kind() {
  return {"MODE", "permission bits in octal, as 0660",
          [](Settings& settings, std::string_view text) {
            std::uint32_t mode = 0;
            const auto parsed = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
            if (text.empty() || parsed.ec != std::errc{} ||
                parsed.ptr != text.data() + text.size() || mode > 0777) {
              return false;
            }
            settings.mode = mode;
            return true;
          },
          [](const Settings& settings) { return fmt::format("{:04o}", settings.mode); }};
}

std::optional<std::uint32_t> find_group(const std::string& name) {
  std::vector<char> room(16 * 1024);
  group entry{};
  group* found = nullptr;
  if (::getgrnam_r(name.c_str(), &entry, room.data(), room.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return found->gr_gid;
}

Kind group_kind() {
  return {"GROUP", "the name or number of a group of this host",
          [](Settings& settings, std::string_view text) {
            const auto number = parse_integer(text);
            if (number && *number >= 0 && *number < std::numeric_limits<std::uint32_t>::max()) {
              settings.group = static_cast<std::uint32_t>(*number);
              return true;
            }
            if (text.empty() || text.find('\0') != text.npos) return false;
            const auto gid = find_group(std::string{text});
            if (gid) settings.group = gid;
            return gid.has_value();
          },
          [](const Settings& settings) {
            return settings.group ? std::to_string(*settings.group) : std::string{};
          }};
}

// A comma list; in TOML an array of strings.
Kind hosts_kind() {
  return {"HOST,...", "host names separated by commas; * stands for anything",
          [](Settings& settings, std::string_view text) {
            std::vector<std::string> hosts;
            for (std::size_t start = 0; start < text.size();) {
              const std::size_t end = std::min(text.find(',', start), text.size());
              const std::string_view host = text.substr(start, end - start);
              const bool good =
                  !host.empty() && host.size() <= 253 &&
                  std::all_of(host.begin(), host.end(), [](char c) {
                    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || std::string_view{".-_*?[]:"}.find(c) != std::string_view::npos;
                  });
              if (!good) return false;
              hosts.push_back(to_lower(host));
              start = end + 1;
            }
            settings.webhook.allow_hosts = std::move(hosts);
            return true;
          },
          [](const Settings& settings) {
            return fmt::format("{}", fmt::join(settings.webhook.allow_hosts, ","));
          }};
}

// ---- Rows

Setting row(std::string key, Kind kind, std::string summary) {
  Setting setting;
  setting.key = std::move(key);
  setting.value = std::move(kind.value);
  setting.expected = std::move(kind.expected);
  setting.summary = std::move(summary);
  setting.read = std::move(kind.read);
  setting.show = std::move(kind.show);
  return setting;
}

Setting changeable(Setting setting) {
  setting.changeable = true;
  return setting;
}

Setting of_segment(Setting setting) {
  setting.of_segment = true;
  return setting;
}

Setting option_only(Setting setting) {
  setting.option_only = true;
  return setting;
}

Setting text_only(Setting setting) {
  setting.text_only = true;
  return setting;
}

#define CACHEE_PLACE(member) [](auto& settings) -> auto& { return settings.member; }

std::vector<Setting> make_table() {
  using std::chrono::milliseconds;
  constexpr auto kNoLimit = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::pair<std::string, EvictionPolicy>> policies;
  for (const auto policy : {EvictionPolicy::balanced, EvictionPolicy::lru, EvictionPolicy::cost,
                            EvictionPolicy::none}) {
    policies.emplace_back(to_string(policy), policy);
  }
  std::vector<std::pair<std::string, std::string>> levels;
  for (const char* level : {"debug", "info", "warn", "error"}) levels.emplace_back(level, level);
  return {
      row("name", name_kind(), "Name of the segment, its socket and its state."),
      of_segment(row("memory", size_of(CACHEE_PLACE(memory_bytes), kSegmentBytesMin, kNoLimit),
                     "Size of the whole segment in shared memory, everything counted.")),
      changeable(row("eviction", choice_of(CACHEE_PLACE(eviction), std::move(policies)),
                     "What goes when memory is short; `none`: writes fail with OOM instead.")),
      of_segment(row("max_value", size_of(CACHEE_PLACE(value_bytes_max), 1024, std::uint64_t{1} << 40),
                     "Largest value; never more than a quarter of the memory.")),
      of_segment(row("max_clients", number_of(CACHEE_PLACE(clients_max), 8, kClientsMax),
                     "Threads of all processes that may be attached at once.")),
      of_segment(row("ring_events", number_of(CACHEE_PLACE(ring_events), kRingEventsMin, kRingEventsMax),
                     "Room for events that are not handled yet; rounded up to a power of two.")),
      row("executors", number_of(CACHEE_PLACE(executors), 1, kExecutorsMax),
          "Processes that run Lua handlers."),
      row("huge_pages", flag_of(CACHEE_PLACE(huge_pages)),
          "Asks the kernel for huge pages under the segment."),
      row("prefault", flag_of(CACHEE_PLACE(prefault)),
          "Touches every page of the segment at the start, so that no client waits for one later."),
      row("lock_memory", flag_of(CACHEE_PLACE(lock_memory)),
          "Keeps the segment in memory (mlock); needs LimitMEMLOCK= or CAP_IPC_LOCK."),
      row("idle",
          choice_of(CACHEE_PLACE(idle), std::vector<std::pair<std::string, Idle>>{
                                            {"adaptive", Idle::adaptive}, {"spin", Idle::spin}}),
          "How threads without work wait: sleeping ever longer, or turning for the lowest latency."),
      row("expiry_priority",
          choice_of(CACHEE_PLACE(expiry_priority),
                    std::vector<std::pair<std::string, Priority>>{
                        {"normal", Priority::normal}, {"raised", Priority::raised}, {"realtime", Priority::realtime}}),
          "How the thread that expires keys ranks on a busy machine: like others, at nice -10, or before all (SCHED_RR), as "
          "far as cacheed may."),
      row("state_dir", path_of(CACHEE_PLACE(state_dir), "DIR"),
          "Where outbox, dead letters, spool, registry and logs are kept, in a folder of the "
          "segment's name. Default: $CACHEE_STATE_DIR, else /var/lib/cachee for root, else "
          "$XDG_STATE_HOME/cachee."),
      row("runtime_dir", path_of(CACHEE_PLACE(runtime_dir), "DIR"),
          "Where the control socket is. Default: $CACHEE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/cachee, "
          "else /run/cachee."),
      text_only(row("mode", mode_kind(), "Permissions of the segment and of the control socket.")),
      row("group", group_kind(), "Group of the segment and of the control socket."),
      row("listen", address_of(CACHEE_PLACE(listen)),
          "Also serves the command language on TCP; without a password file on loopback only."),
      row("password_file", path_of(CACHEE_PLACE(password_file), "FILE"),
          "File whose first line is the password that TCP clients must give with AUTH."),
      row("metrics", address_of(CACHEE_PLACE(metrics)), "Serves Prometheus metrics over HTTP."),
      row("fsync", flag_of(CACHEE_PLACE(fsync)),
          "Flushes stored events, outbox, log lines and the spool to the disk; without it they survive kill -9 "
          "but not a loss of power."),
      option_only(row("fresh", flag_of(CACHEE_PLACE(fresh)),
                      "Discards an existing segment with its keys and unhandled events.")),
      row("webhook.allow_hosts", hosts_kind(),
          "Hosts that cachee.webhook and cachee.warm may reach; empty: all."),
      row("webhook.allow_private", flag_of(CACHEE_PLACE(webhook.allow_private)),
          "Lets them reach loopback and private addresses, whatever name leads there. Redirects are never followed."),
      row("webhook.concurrency",
          number_of(CACHEE_PLACE(webhook.concurrency), 1, kWebhookConcurrencyMax),
          "Requests under way at once."),
      row("webhook.attempts", number_of(CACHEE_PLACE(webhook.attempts), 1, kWebhookAttemptsMax),
          "Attempts in all before a webhook becomes a dead letter."),
      row("webhook.per_host", number_of(CACHEE_PLACE(webhook.per_host), 1, kWebhookConcurrencyMax),
          "Requests under way at once to one host and port."),
      row("webhook.timeout", duration_of(CACHEE_PLACE(webhook.timeout), milliseconds{1}, kWebhookTimeoutMax),
          "Time that a request may take, unless the handler gave it one."),
      row("webhook.backoff_min", duration_of(CACHEE_PLACE(webhook.backoff_min), milliseconds{1}, kWebhookBackoffMax),
          "Wait before the second attempt; doubled, with jitter, before each further one."),
      row("webhook.backoff_max", duration_of(CACHEE_PLACE(webhook.backoff_max), milliseconds{1}, kWebhookBackoffMax),
          "The longest wait between attempts."),
      changeable(row("slowlog.slower_than", duration_of(CACHEE_PLACE(slow_run)),
                     "Runs of handlers that take this long are shown by SLOWLOG GET; 0s: all.")),
      changeable(row("slowlog.max_len", number_of(CACHEE_PLACE(slow_runs_max), 0, kSlowRunsMax),
                     "Runs that SLOWLOG keeps.")),
      row("log.rotate_size", size_of(CACHEE_PLACE(log.rotate_bytes), 0, kNoLimit),
          "A file of cachee.log that is this large is rotated; 0: never."),
      row("log.rotate_age", duration_of(CACHEE_PLACE(log.rotate_after)),
          "A file of cachee.log whose first line is this old is rotated; 0s: never."),
      row("log.keep", number_of(CACHEE_PLACE(log.keep), 0, kLogFilesKeptMax),
          "Rotated files of a channel that are kept; 0: all."),
      row("log.hash_chain", flag_of(CACHEE_PLACE(log.hash_chain)),
          "Ends each line with a hash over it and the line before; `cachee log CHANNEL --verify` checks them."),
      changeable(row("log.level", choice_of(CACHEE_PLACE(log_level), std::move(levels)),
                     "What cacheed says on standard error.")),
  };
}

#undef CACHEE_PLACE

}  // namespace

std::string Setting::option() const {
  std::string text = key;
  std::replace(text.begin(), text.end(), '.', '-');
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

std::span<const Setting> all_settings() {
  static const std::vector<Setting> rows = make_table();
  return rows;
}

const Setting* find_setting(std::string_view name) {
  for (const Setting& setting : all_settings()) {
    if (setting.key == name || setting.option() == name) return &setting;
  }
  return nullptr;
}

std::string setting_hint(std::string_view name) {
  std::vector<std::string_view> keys;
  for (const Setting& setting : all_settings()) keys.emplace_back(setting.key);
  std::string plain{name};
  std::replace(plain.begin(), plain.end(), '-', '_');
  const auto near = nearest_word(plain, keys);
  return near ? fmt::format(" (did you mean {}?)", *near) : std::string{};
}

}  // namespace cachee::daemon
