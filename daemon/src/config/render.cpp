// Texts that follow from the table: the example file and the reference page.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "config/config.hpp"
#include "config/table.hpp"

namespace cachee::daemon {
namespace {

constexpr std::size_t kColumns = 98;

std::string section_of(const Setting& setting) {
  const std::size_t dot = setting.key.find('.');
  return dot == std::string::npos ? std::string{} : setting.key.substr(0, dot);
}

std::string name_of(const Setting& setting) {
  return setting.key.substr(setting.key.find('.') + 1);
}

// As "# " comment lines of at most kColumns.
std::string comment(std::string_view text) {
  std::string out;
  std::string line = "#";
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() + 1 + word.size() > kColumns) {
      out += line + "\n";
      line = "#";
    }
    line += fmt::format(" {}", word);
  }
  return out + line + "\n";
}

// The default as TOML, or something to show where there is none.
std::string toml_value(const Setting& setting) {
  const std::string text = setting.show(Settings{});
  if (setting.value.empty()) return text;
  if (setting.value == "N") return text;
  if (setting.value == "HOST,...") return "[]";
  if (!text.empty()) return fmt::format("\"{}\"", text);
  if (setting.value == "ADDRESS") return "\"127.0.0.1:6380\"";
  if (setting.value == "GROUP") return "\"cachee\"";
  if (setting.value == "FILE") return "\"/etc/cachee/password\"";
  return fmt::format("\"/path/to/{}\"", name_of(setting));
}

bool has_default(const Setting& setting) {
  return setting.value.empty() || setting.value == "HOST,..." ||
         !setting.show(Settings{}).empty();
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string example_toml() {
  std::string text =
      "# Settings of cacheed, with their defaults; made from the table in\n"
      "# daemon/src/config/table.cpp. Use: cacheed --config cacheed.toml\n"
      "#\n"
      "# Every setting is also an option (ring_events is --ring-events, webhook.attempts is\n"
      "# --webhook-attempts), and an option wins. Trigger scripts are loaded from triggers.d/*.lua\n"
      "# next to this file.\n";
  std::string section;
  for (const Setting& setting : all_settings()) {
    if (setting.option_only) continue;
    if (section_of(setting) != section) {
      section = section_of(setting);
      text += fmt::format("\n[{}]\n", section);
    }
    text += "\n" + comment(setting.summary);
    text += comment(fmt::format("Expected: {}.", setting.expected));
    if (!has_default(setting)) text += comment("Not set by default; for example:");
    text += fmt::format("# {} = {}\n", name_of(setting), toml_value(setting));
  }
  return text;
}

std::string settings_markdown() {
  std::string text =
      "# Settings of cacheed\n\n"
      "Reference; made from the table in `daemon/src/config/table.cpp`, as are `cacheed --help` and\n"
      "[`cacheed.toml`](../cacheed.toml).\n\n"
      "A setting has a default; the file that `--config FILE` names (TOML) wins over it, and an\n"
      "option wins over the file. A bad value, and a name that does not exist, is refused at the\n"
      "start with the setting, the value and what was expected.\n\n"
      "- Sizes take `KiB MiB GiB` (also `K M G`), all powers of 1024.\n"
      "- Flags as options: `--prefault` or `--prefault=false`.\n"
      "- *While running*: `CONFIG SET` changes it, and SIGHUP takes it from the file. The others\n"
      "  need a restart, which keeps keys, events and triggers.\n"
      "- *fixed*: when the segment is made, for its life. A restart with another value re-attaches the segment\n"
      "  as it is and says so in the log; `CONFIG GET` shows what the segment has. `--fresh` makes it anew, without\n"
      "  its keys and waiting events; to keep them, start a second cacheed with another `--name`\n"
      "  ([`operate.md`](operate.md)).\n\n"
      "| setting | option | default | expected | while running | what it is |\n"
      "|---|---|---|---|---|---|\n";
  for (const Setting& setting : all_settings()) {
    const std::string shown = setting.show(Settings{});
    const std::string option =
        setting.value.empty() ? "--" + setting.option()
                              : fmt::format("--{} {}", setting.option(), setting.value);
    text += fmt::format("| {} | `{}` | {} | {} | {} | {} |\n",
                        setting.option_only ? std::string{} : fmt::format("`{}`", setting.key),
                        escaped(option), shown.empty() ? std::string{} : fmt::format("`{}`", shown),
                        escaped(setting.expected), setting.changeable ? "yes" : setting.of_segment ? "fixed" : "",
                        escaped(setting.summary));
  }
  text +=
      "\n## Trigger scripts\n\n"
      "Every `triggers.d/*.lua` next to the settings file is registered at the start and again on\n"
      "SIGHUP. Comment lines at its top say for what, in the words of `TRIGGER REGISTER`:\n\n"
      "```lua\n"
      "-- Tells the auth service that a session has ended.\n"
      "-- trigger: session:* ON_EXPIRE,ON_DELETE NAME session-ended\n"
      "-- trigger: RETRY 8 BACKOFF 100ms 30s\n"
      "cachee.webhook(\"https://auth.example/ended\", {session = event.key})\n"
      "```\n\n"
      "Several `-- trigger:` lines are read as one. A file that has none, or does not compile, is\n"
      "named in the log and changes nothing; the trigger it registered before stays.\n\n"
      "`DISABLED` in a file decides when the trigger is first registered; later `TRIGGER ENABLE`, `DISABLE`,\n"
      "`PAUSE` and `RESUME` stand, over SIGHUP and restarts. The folder owns what it registered: a trigger\n"
      "whose file is gone is removed at the next SIGHUP or start, and one that was removed by `TRIGGER REMOVE`\n"
      "comes back while its file is there. Nothing is removed while a file or the folder cannot be read.\n";
  return text;
}

}  // namespace cachee::daemon
