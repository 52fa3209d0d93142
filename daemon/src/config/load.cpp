// Options (CLI11) and the settings file (toml++) into Settings, by the table.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <cachee/version.hpp>
#include <fmt/format.h>
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "config/config.hpp"
#include "config/table.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

constexpr int kUsageExit = 2;
constexpr std::size_t kSettingsFileBytesMax = std::size_t{1} << 20;
constexpr std::size_t kShownBytesMax = 100;

Failure bad(std::string text) { return {Errc::invalid_argument, std::move(text)}; }

// Long or unprintable values are shown so that the message stays one line.
std::string shown(std::string_view value) {
  std::string text{value.substr(0, kShownBytesMax)};
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return value.size() > kShownBytesMax ? text + "..." : text;
}

Outcome<void> read_value(Settings& settings, const Setting& setting, std::string_view value,
                         std::string_view where) {
  if (setting.read(settings, value)) return {};
  return bad(fmt::format("{}: bad value '{}': expected {}", where, shown(value), setting.expected));
}

// ---- TOML

// A value as text for the table; none: a type that no setting has.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  const auto* list = node.as_array();
  if (list == nullptr) return std::nullopt;
  std::string joined;
  for (const toml::node& item : *list) {
    const auto* text = item.as_string();
    if (text == nullptr || text->get().find(',') != std::string::npos) return std::nullopt;
    if (&item != &list->front()) joined += ',';
    joined += text->get();
  }
  return joined;
}

Outcome<void> apply_node(Settings& settings, const std::string& key, const toml::node& node,
                         std::string_view file) {
  const std::string where = fmt::format("{}:{}", file, node.source().begin.line);
  const Setting* setting = find_setting(key);
  if (setting == nullptr || setting->key != key) {
    return bad(fmt::format("{}: unknown setting '{}'{}", where, shown(key), setting_hint(key)));
  }
  if (setting->option_only) {
    return bad(fmt::format("{}: '{}' can only be given as the option --{}: in a file it would "
                           "happen at every start",
                           where, key, setting->option()));
  }
  const auto text = text_of(node);
  if (!text || (setting->text_only && !node.is_string())) {
    return bad(fmt::format("{}: setting '{}' has the wrong type: expected {}{}", where, key,
                           setting->expected, setting->text_only ? ", in quotes" : ""));
  }
  return read_value(settings, *setting, *text, fmt::format("{}: setting '{}'", where, key));
}

bool is_section(std::string_view name) {
  const auto settings = all_settings();
  return std::any_of(settings.begin(), settings.end(), [name](const Setting& setting) {
    return setting.key.size() > name.size() && setting.key.starts_with(name) &&
           setting.key[name.size()] == '.';
  });
}

std::string key_text(const toml::key& key) { return std::string{key.str()}; }

Outcome<void> apply_table(Settings& settings, const toml::table& table, std::string_view file) {
  for (const auto& [key, node] : table) {
    const std::string name = key_text(key);
    const auto* section = node.as_table();
    if (section == nullptr || !is_section(name)) {
      if (auto done = apply_node(settings, name, node, file); !done) return done;
      continue;
    }
    for (const auto& [inner, value] : *section) {
      if (auto done = apply_node(settings, name + "." + key_text(inner), value, file); !done) {
        return done;
      }
    }
  }
  return {};
}

Outcome<std::string> read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file || std::filesystem::is_directory(path)) {
    return Failure{Errc::io, fmt::format("the settings file {} cannot be read: {}; give another "
                                         "--config, or none",
                                         path,
                                         std::generic_category().message(errno != 0 ? errno : EISDIR))};
  }
  std::string text(kSettingsFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kSettingsFileBytesMax) {
    return bad(fmt::format("the settings file {} is larger than {}", path,
                           format_bytes(kSettingsFileBytesMax)));
  }
  return text;
}

// ---- Options

std::string default_text(const Setting& setting) { return setting.show(Settings{}); }

struct Given {
  std::map<std::string, std::string> options{};  // by key, as they were written
  std::string config{};
  bool version = false;
};

std::unique_ptr<CLI::App> make_parser(Given& given) {
  auto app = std::make_unique<CLI::App>(
      "cacheed: supervises one segment of the cachee shared-memory cache.", "cacheed");
  app->option_defaults()->take_last();
  app->allow_extras();
  app->get_formatter()->column_width(34);
  app->set_help_flag("-h,--help", "Prints this and ends.");
  app->add_flag("--version", given.version, "Prints the versions and ends.");
  app->add_option("--config", given.config, "TOML file of settings; an option wins over it.")
      ->type_name("FILE");
  for (const Setting& setting : all_settings()) {
    std::string summary = setting.summary;
    const std::string otherwise = default_text(setting);
    if (!otherwise.empty() && !setting.value.empty()) summary += fmt::format(" [{}]", otherwise);
    std::string& place = given.options[setting.key];
    const std::string option = "--" + setting.option();
    if (setting.value.empty()) {
      app->add_flag(option, place, summary);
    } else {
      app->add_option(option, place, summary)->type_name(setting.value);
    }
  }
  return app;
}

std::string unknown_option(const std::vector<std::string>& extras) {
  for (const std::string& word : extras) {
    if (word.size() < 2 || word[0] != '-') continue;
    const std::string name = word.substr(0, word.find('='));
    std::string hint = setting_hint(name.substr(std::min<std::size_t>(2, name.size())));
    std::replace(hint.begin(), hint.end(), '_', '-');
    std::replace(hint.begin(), hint.end(), '.', '-');
    if (const auto at = hint.find("mean "); at != std::string::npos) hint.insert(at + 5, "--");
    return fmt::format("unknown option {}{}", shown(name), hint);
  }
  return fmt::format("unexpected word '{}': cacheed takes options only", shown(extras.front()));
}

EarlyExit usage_error(std::string_view text) {
  return {kUsageExit, fmt::format("cacheed: {}\n", text)};
}

Outcome<void> choose_places(Settings& settings, const Environment& environment) {
  const auto absolute = [](const std::string& path) {
    std::error_code error;
    const auto whole = std::filesystem::absolute(path, error);
    return error ? path : whole.lexically_normal().string();
  };
  settings.runtime_dir = absolute(choose_runtime_dir(settings.runtime_dir, environment));
  settings.state_dir = choose_state_dir(settings.state_dir, environment, ::geteuid() == 0);
  if (settings.state_dir.empty()) {
    return bad("--state-dir: no folder for the state is known: expected the option, or one of "
               "$CACHEE_STATE_DIR, $XDG_STATE_HOME, $HOME");
  }
  settings.state_dir = absolute(settings.state_dir);
  return {};
}

}  // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string{value};
  };
}

Outcome<void> apply_toml(Settings& settings, std::string_view text, std::string_view file) {
  try {
    const toml::table table = toml::parse(text);
    // All of it or nothing: a file that is refused half-way must not leave half of its settings.
    Settings changed = settings;
    if (auto done = apply_table(changed, table, file); !done) return done;
    settings = std::move(changed);
    return {};
  } catch (const toml::parse_error& error) {
    return bad(fmt::format("{}:{}: {}", file, error.source().begin.line,
                           std::string{error.description()}));
  } catch (const std::exception& error) {
    return bad(fmt::format("{}: {}", file, error.what()));
  }
}

Outcome<void> check_together(const Settings& settings) {
  if (settings.listen && !settings.listen->is_loopback() && settings.password_file.empty()) {
    return bad(fmt::format("--listen {}: not a loopback address: everybody who reaches it could "
                           "read and write; expected 127.0.0.1 or [::1], or a --password-file",
                           format_address(*settings.listen)));
  }
  if (settings.webhook.backoff_min > settings.webhook.backoff_max) {
    return bad(fmt::format("--webhook-backoff-min {}: expected no more than --webhook-backoff-max, which is {}",
                           format_duration(settings.webhook.backoff_min), format_duration(settings.webhook.backoff_max)));
  }
  return {};
}

std::variant<Settings, EarlyExit> load_settings(std::span<const char* const> words,
                                                const Environment& environment) {
  Given given;
  const auto app = make_parser(given);
  try {
    app->parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::CallForHelp&) {
    return EarlyExit{0, help_text()};
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (given.version) return EarlyExit{0, version_text()};
  if (const auto extras = app->remaining(); !extras.empty()) {
    return usage_error(unknown_option(extras));
  }
  Settings settings;
  if (app->count("--config") > 0) {
    const auto text = read_file(given.config);
    if (!text) return usage_error(text.failure().text);
    if (auto done = apply_toml(settings, *text, given.config); !done) {
      return usage_error(done.failure().text);
    }
    std::error_code ignored;
    settings.config_file = std::filesystem::absolute(given.config, ignored).string();
  }
  for (const Setting& setting : all_settings()) {
    const std::string option = "--" + setting.option();
    if (app->count(option) == 0) continue;
    const std::string& value = given.options[setting.key];
    if (auto done = read_value(settings, setting, value, option); !done) {
      return usage_error(done.failure().text);
    }
  }
  if (auto done = check_together(settings); !done) return usage_error(done.failure().text);
  if (auto done = choose_places(settings, environment); !done) {
    return usage_error(done.failure().text);
  }
  return settings;
}

std::string help_text() {
  Given unused;
  return make_parser(unused)->help() +
         "\nSizes take KiB, MiB, GiB. See cacheed.toml and daemon/doc/settings.md.\n";
}

std::string version_text() {
  return fmt::format("cacheed {} (cachee layout {}.{}, C ABI {})\n", kVersion, kLayoutMajor,
                     kLayoutMinor, kAbiVersion);
}

}  // namespace cachee::daemon
