// Settings: everything about cacheed that a user can choose, as plain data.
//
// Use:   auto loaded = load_settings({argv, argv + argc}, process_environment());
//        if (auto* exit = std::get_if<EarlyExit>(&loaded)) return say(*exit);
//        Settings settings = std::get<Settings>(loaded);
//
// Where a setting comes from: its default, the TOML file of --config, an option; the later wins.
// What there is, is one table (table.hpp): parsing, --help, cacheed.toml and settings.md follow it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <cachee/maintain.hpp>
#include <cachee/options.hpp>

#include "core/address.hpp"
#include "core/outcome.hpp"

namespace cachee::daemon {

enum class Idle : std::uint8_t { adaptive, spin };
enum class Priority : std::uint8_t { normal, raised, realtime };

struct WebhookSettings {
  std::vector<std::string> allow_hosts{};  // globs; empty: any
  bool allow_private = false;
  std::uint32_t concurrency = 32;
  std::uint32_t per_host = 4;
  std::uint32_t attempts = 8;
  std::chrono::milliseconds timeout{10'000};
  std::chrono::milliseconds backoff_min{500};
  std::chrono::milliseconds backoff_max{300'000};
  friend bool operator==(const WebhookSettings&, const WebhookSettings&) = default;
};

struct LogFileSettings {
  std::uint64_t rotate_bytes = 0;
  std::chrono::milliseconds rotate_after{0};
  std::uint32_t keep = 0;
  bool hash_chain = false;
  friend bool operator==(const LogFileSettings&, const LogFileSettings&) = default;
};

struct Settings {
  std::string name = "default";
  std::uint64_t memory_bytes = kSegmentBytesDefault;
  std::string state_dir{};    // after load_settings: absolute, without the name
  std::string runtime_dir{};  // after load_settings: absolute
  std::optional<ListenAddress> listen{};
  std::string password_file{};
  std::optional<ListenAddress> metrics{};
  std::uint32_t executors = 1;
  std::uint32_t ring_events = kRingEventsDefault;
  std::uint32_t clients_max = kClientsDefault;
  std::uint64_t value_bytes_max = kValueBytesMaxDefault;
  bool huge_pages = false;
  bool prefault = false;
  bool lock_memory = false;
  Idle idle = Idle::adaptive;
  Priority expiry_priority = Priority::raised;
  std::uint32_t mode = 0660;
  std::optional<std::uint32_t> group{};  // gid
  EvictionPolicy eviction = EvictionPolicy::balanced;
  bool fresh = false;
  bool fsync = true;
  std::string log_level = "info";
  WebhookSettings webhook{};
  LogFileSettings log{};  // the files of cachee.log
  std::chrono::milliseconds slow_run{10};
  std::uint32_t slow_runs_max = 128;

  std::string config_file{};  // that was read; empty: none
  friend bool operator==(const Settings&, const Settings&) = default;
};

/// What to print and how to exit instead of running: --help, --version, or something wrong.
struct EarlyExit {
  int code = 0;        // 0: help or version; 2: usage
  std::string text{};  // for stdout when the code is 0, else for stderr
};

/// Looks up an environment variable; none when it is not set or empty.
using Environment = std::function<std::optional<std::string>(const char* name)>;
[[nodiscard]] Environment process_environment();

/// Reads options and the file they name. `words` begins with the program's name.
[[nodiscard]] std::variant<Settings, EarlyExit> load_settings(std::span<const char* const> words,
                                                              const Environment& environment);

/// Applies a TOML text to settings; `file` is for messages, which also have the line.
[[nodiscard]] Outcome<void> apply_toml(Settings& settings, std::string_view text,
                                       std::string_view file);
/// What no single setting can know: --listen outside loopback needs --password-file.
[[nodiscard]] Outcome<void> check_together(const Settings& settings);

// CONFIG GET and SET, SIGHUP.

/// Every setting by the name of its option, as text that reads back the same.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> list_settings(
    const Settings& settings);
/// The settings that are fixed when a segment is made, as it was made.
[[nodiscard]] Settings with_figures(Settings settings, const SegmentFigures& segment);
/// Changes one setting of a running cacheed. @error not_found: no such setting; unsupported: it
/// needs a restart, or another segment; invalid_argument: the value
[[nodiscard]] Outcome<void> change_setting(Settings& settings, std::string_view name,
                                           std::string_view value);
struct SettingChange {
  std::string name{};
  std::string before{};
  std::string after{};
  std::string hindrance{};  // why it cannot change while cacheed runs, and what to do; empty: it can
};
[[nodiscard]] std::vector<SettingChange> changes_between(const Settings& before,
                                                         const Settings& after);

// Places.

/// `--runtime-dir`, else $CACHEE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/cachee, else /run/cachee.
[[nodiscard]] std::string choose_runtime_dir(const std::string& given,
                                             const Environment& environment);
/// `--state-dir`, else $CACHEE_STATE_DIR, else /var/lib/cachee for root, else
/// $XDG_STATE_HOME/cachee, else $HOME/.local/state/cachee. Empty: none of them is known.
[[nodiscard]] std::string choose_state_dir(const std::string& given, const Environment& environment,
                                           bool is_root);
[[nodiscard]] std::string socket_path(const Settings& settings);   // <runtime>/<name>.sock
[[nodiscard]] std::string state_folder(const Settings& settings);  // <state>/<name>
/// triggers.d next to the settings file; empty when there is no file.
[[nodiscard]] std::string triggers_folder(const Settings& settings);
/// The first line of a password file. The failure names the file.
[[nodiscard]] Outcome<std::string> read_password(const std::string& file);

// Texts made from the table.

[[nodiscard]] std::string help_text();
[[nodiscard]] std::string version_text();
[[nodiscard]] std::string example_toml();       // daemon/cacheed.toml
[[nodiscard]] std::string settings_markdown();  // daemon/doc/settings.md

}  // namespace cachee::daemon
