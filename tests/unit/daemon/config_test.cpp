// Goal: a setting means the same in the file, as an option and in the documents; what is wrong is
// refused with its name, its value and what was expected.
// Method: every row of the table is exercised by the same code; files are real; the two documents
// are made again and compared (CACHEE_UPDATE_FILES=1 writes them).
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "config/config.hpp"
#include "config/table.hpp"
#include "config/trigger_file.hpp"
#include "core/trigger_options.hpp"

namespace cachee::daemon {
namespace {

using Variables = std::map<std::string, std::string>;

Environment environment_of(const Variables& variables) {
  return [variables](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

const Variables kHome{{"HOME", "/home/ada"}};

std::variant<Settings, EarlyExit> load(std::vector<const char*> words,
                                       const Variables& variables = kHome) {
  words.insert(words.begin(), "cacheed");
  return load_settings(words, environment_of(variables));
}

Settings loaded(const std::vector<const char*>& words, const Variables& variables = kHome) {
  auto result = load(words, variables);
  if (const auto* exit = std::get_if<EarlyExit>(&result)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<Settings>(result);
}

std::string refused(const std::vector<const char*>& words) {
  const auto result = load(words);
  const auto* exit = std::get_if<EarlyExit>(&result);
  if (exit == nullptr) return "(was not refused)";
  EXPECT_EQ(exit->code, 2) << exit->text;
  return exit->text;
}

std::string toml_error(std::string_view text) {
  Settings settings;
  const auto done = apply_toml(settings, text, "cacheed.toml");
  EXPECT_EQ(settings, Settings{}) << "a refused file must change nothing";
  return done ? "(was not refused)" : done.failure().text;
}

void expect_words(const std::string& text, const std::vector<const char*>& words) {
  for (const char* word : words) {
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in: " << text;
  }
}

class TempFile {
 public:
  explicit TempFile(std::string_view text) {
    const int fd = ::mkstemp(path_.data());
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(fd);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  ~TempFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const char* path() const { return path_.c_str(); }

 private:
  std::string path_ = "/tmp/cachee-config-XXXXXX";
};

// ---- Options and files

TEST(Config, DefaultsAreWhatInterfaceSays) {
  const Settings settings = loaded({});
  EXPECT_EQ(settings.name, "default");
  EXPECT_EQ(settings.memory_bytes, 256u << 20);
  EXPECT_EQ(settings.ring_events, 65536u);
  EXPECT_EQ(settings.clients_max, 256u);
  EXPECT_EQ(settings.value_bytes_max, 64u << 20);
  EXPECT_EQ(settings.executors, 1u);
  EXPECT_EQ(settings.mode, 0660u);
  EXPECT_EQ(settings.log_level, "info");
  EXPECT_EQ(settings.idle, Idle::adaptive);
  EXPECT_FALSE(settings.listen);
  EXPECT_TRUE(settings.fsync);
}

TEST(Config, EveryOptionIsRead) {
  const Settings settings = loaded(
      {"--name", "orders", "--memory=1GiB", "--state-dir", "/s", "--runtime-dir", "/r", "--listen",
       "127.0.0.1:7000", "--metrics", "[::1]:9100", "--executors", "4", "--ring-events", "1024",
       "--max-clients", "100", "--max-value", "1M", "--huge-pages", "--prefault", "--lock-memory", "--idle", "spin", "--expiry-priority", "realtime",
       "--mode", "0600", "--group", "0", "--eviction", "lru", "--fresh", "--log-level", "debug",
       "--fsync=false", "--webhook-allow-hosts", "a.example,*.B.example", "--webhook-allow-private",
       "--webhook-concurrency", "3", "--webhook-attempts", "2", "--webhook-per-host", "1", "--webhook-timeout", "1500ms",
       "--webhook-backoff-min", "20ms", "--webhook-backoff-max", "1h"});
  EXPECT_EQ(settings.name, "orders");
  EXPECT_EQ(settings.memory_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(settings.listen->port, 7000);
  EXPECT_TRUE(settings.metrics->ipv6);
  EXPECT_EQ(settings.executors, 4u);
  EXPECT_EQ(settings.ring_events, 1024u);
  EXPECT_EQ(settings.clients_max, 100u);
  EXPECT_EQ(settings.value_bytes_max, 1u << 20);
  EXPECT_TRUE(settings.huge_pages && settings.prefault && settings.lock_memory && settings.fresh);
  EXPECT_EQ(settings.idle, Idle::spin);
  EXPECT_EQ(settings.expiry_priority, Priority::realtime);
  EXPECT_EQ(settings.mode, 0600u);
  EXPECT_EQ(settings.group, 0u);
  EXPECT_EQ(settings.eviction, EvictionPolicy::lru);
  EXPECT_EQ(settings.log_level, "debug");
  EXPECT_FALSE(settings.fsync);
  EXPECT_EQ(settings.webhook.allow_hosts, (std::vector<std::string>{"a.example", "*.b.example"}));
  EXPECT_TRUE(settings.webhook.allow_private);
  EXPECT_EQ(settings.webhook.concurrency, 3u);
  EXPECT_EQ(settings.webhook.attempts, 2u);
  EXPECT_EQ(settings.webhook.per_host, 1u);
  EXPECT_EQ(settings.webhook.timeout.count(), 1500);
  EXPECT_EQ(settings.webhook.backoff_min.count(), 20);
  EXPECT_EQ(settings.webhook.backoff_max.count(), 3'600'000);
  EXPECT_EQ(socket_path(settings), "/r/orders.sock");
  EXPECT_EQ(state_folder(settings), "/s/orders");
}

TEST(Config, OptionWinsOverFileAndFileOverDefault) {
  const TempFile file{
      "memory = \"64MiB\"\nexecutors = 3\nprefault = true\nlisten = '127.0.0.1:1'\n"
      "[webhook]\nallow_private = true\nallow_hosts = ['a', 'b']\n[log]\nlevel = 'warn'\n"};
  Settings settings = loaded({"--config", file.path(), "--executors", "2", "--prefault=false"});
  EXPECT_EQ(settings.memory_bytes, 64u << 20);
  EXPECT_EQ(settings.executors, 2u);
  EXPECT_FALSE(settings.prefault);
  EXPECT_TRUE(settings.webhook.allow_private);
  EXPECT_EQ(settings.webhook.allow_hosts, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(settings.log_level, "warn");
  EXPECT_EQ(settings.config_file, file.path());
  EXPECT_EQ(triggers_folder(settings), "/tmp/triggers.d");
  settings = loaded({"--executors", "2", "--executors", "5"});
  EXPECT_EQ(settings.executors, 5u) << "the last of two equal options counts";
}

TEST(Config, BadOptionsNameTheSettingTheValueAndWhatWasExpected) {
  const std::pair<std::vector<const char*>, std::vector<const char*>> cases[] = {
      {{"--memory", "12XB"}, {"--memory", "12XB", "MiB"}},
      {{"--memory", "1KiB"}, {"--memory", "1KiB", "at least 1MiB"}},
      {{"--ring-events", "many"}, {"--ring-events", "many", "256"}},
      {{"--executors", "0"}, {"--executors", "'0'", "1 to 16"}},
      {{"--executors", "-1"}, {"--executors", "-1"}},
      {{"--eviction", "guess"}, {"--eviction", "guess", "balanced", "lru"}},
      {{"--idle", "sometimes"}, {"--idle", "sometimes", "adaptive"}},
      {{"--mode", "0999"}, {"--mode", "0999", "octal"}},
      {{"--mode", "1777"}, {"--mode", "1777"}},
      {{"--log-level", "loud"}, {"--log-level", "loud", "info"}},
      {{"--listen", "0.0.0.0:7000"}, {"--listen", "0.0.0.0", "loopback", "--password-file"}},
      {{"--listen", "7000"}, {"--listen", "7000", "127.0.0.1"}},
      {{"--name", "No/Slash"}, {"--name", "No/Slash", "a-z0-9"}},
      {{"--name", ""}, {"--name"}},
      {{"--name", "."}, {"--name", "not ending in .locks"}},
      {{"--name", ".."}, {"--name", "other than . and .."}},
      {{"--name", "a.locks"}, {"--name", "a.locks", "not ending in .locks"}},
      {{"--group", "no-such-group"}, {"--group", "no-such-group"}},
      {{"--prefault=perhaps"}, {"--prefault", "perhaps", "true or false"}},
      {{"--webhook-allow-hosts", "a b"}, {"--webhook-allow-hosts", "a b"}},
      {{"--webhook-timeout", "11m"}, {"--webhook-timeout", "11m", "from 1ms to 10m"}},
      {{"--webhook-backoff-min", "0s"}, {"--webhook-backoff-min", "0s", "from 1ms to 1d"}},
      {{"--webhook-backoff-min", "10m"}, {"--webhook-backoff-min", "10m", "--webhook-backoff-max", "5m"}},
      {{"--memorry", "1GiB"}, {"--memorry", "--memory"}},
      {{"--max_value", "1M"}, {"--max_value", "--max-value"}},
      {{"--webhook-atempts", "1"}, {"--webhook-atempts", "--webhook-attempts"}},
      {{"start"}, {"start"}},
      {{"--memory"}, {"--memory"}},
      {{"--config", "/nonexistent/x.toml"}, {"/nonexistent/x.toml"}},
      {{"--config", "/tmp"}, {"/tmp"}},
  };
  for (const auto& [words, expected] : cases) expect_words(refused(words), expected);
}

TEST(Config, BadFilesNameFileLineSettingAndValue) {
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"memory = '12XB'\n", {"cacheed.toml:1", "memory", "12XB", "MiB"}},
      {"\n\nmemroy = '64MiB'\n", {"cacheed.toml:3", "memroy", "did you mean memory"}},
      {"memory = \n", {"cacheed.toml:1"}},
      {"executors = 1.5\n", {"cacheed.toml:1", "executors", "type"}},
      {"executors = 'two'\n", {"executors", "two"}},
      {"executors = 99\n", {"executors", "99", "16"}},
      {"mode = 0o660\n", {"mode", "in quotes"}},
      {"mode = 660\n", {"mode", "in quotes"}},
      {"fresh = true\n", {"fresh", "--fresh"}},
      {"ring-events = 1024\n", {"ring-events", "did you mean ring_events"}},
      {"[webhok]\nattempts = 1\n", {"webhok"}},
      {"[webhook]\natempts = 1\n", {"cacheed.toml:2", "webhook.atempts", "webhook.attempts"}},
      {"webhook = 3\n", {"webhook"}},
      {"[webhook]\nallow_hosts = [1]\n", {"allow_hosts", "type"}},
      {"[webhook]\nallow_hosts = ['a,b']\n", {"allow_hosts"}},
      {"[memory]\nx = 1\n", {"memory"}},
      {"executors = 1\nexecutors = 2\n", {"cacheed.toml:2"}},
      {"executors = 2\nidle = 'x'\n", {"idle"}},
      {"when = 2020-01-01\n", {"when"}},
  };
  for (const auto& [text, expected] : cases) expect_words(toml_error(text), expected);
}

TEST(Config, SizesInFilesMayBeNumbersOfBytes) {
  Settings settings;
  ASSERT_TRUE(apply_toml(settings, "memory = 134217728\nmax_value = \"2M\"\n", "f"));
  EXPECT_EQ(settings.memory_bytes, 128u << 20);
  EXPECT_EQ(settings.value_bytes_max, 2u << 20);
}

TEST(Config, TcpOutsideLoopbackNeedsAPasswordFile) {
  const TempFile password{"s3cret\nsecond line\n"};
  const Settings settings =
      loaded({"--listen", "0.0.0.0:7000", "--password-file", password.path()});
  EXPECT_FALSE(settings.listen->is_loopback());
  EXPECT_EQ(*read_password(password.path()), "s3cret");
  const TempFile empty{"\n"};
  expect_words(read_password(empty.path()).failure().text, {empty.path(), "password"});
  expect_words(read_password("/nonexistent").failure().text, {"/nonexistent"});
}

TEST(Config, GarbageFilesAreNeverMoreThanAnError) {
  std::mt19937 random{5};
  const std::string seed =
      "memory = \"64MiB\"\nexecutors = 3\n[webhook]\nallow_hosts = [\"a\"]\n[log]\nlevel = 'info'\n";
  for (int round = 0; round < 3000; ++round) {
    std::string text = seed;
    for (int change = 0; change < 3; ++change) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 4); break;
        default: text.insert(at, 1, "[]='\".\n,{}#9"[random() % 12]); break;
      }
    }
    Settings settings;
    const auto done = apply_toml(settings, text, "f");
    EXPECT_TRUE(done || !done.failure().text.empty());
  }
}

// ---- Places

TEST(Config, PlacesFollowTheEnvironmentInTheOrderOfInterface) {
  const Environment all = environment_of({{"CACHEE_RUNTIME_DIR", "/a"},
                                          {"XDG_RUNTIME_DIR", "/run/user/7"},
                                          {"CACHEE_STATE_DIR", "/b"},
                                          {"XDG_STATE_HOME", "/c"},
                                          {"HOME", "/home/x"}});
  EXPECT_EQ(choose_runtime_dir("/given", all), "/given");
  EXPECT_EQ(choose_runtime_dir("", all), "/a");
  EXPECT_EQ(choose_state_dir("/given", all, true), "/given");
  EXPECT_EQ(choose_state_dir("", all, true), "/b");
  const Environment xdg = environment_of({{"XDG_RUNTIME_DIR", "/run/user/7"}, {"XDG_STATE_HOME", "/c"}});
  EXPECT_EQ(choose_runtime_dir("", xdg), "/run/user/7/cachee");
  EXPECT_EQ(choose_state_dir("", xdg, true), "/var/lib/cachee");
  EXPECT_EQ(choose_state_dir("", xdg, false), "/c/cachee");
  const Environment home = environment_of(kHome);
  EXPECT_EQ(choose_runtime_dir("", home), "/run/cachee");
  EXPECT_EQ(choose_state_dir("", home, false), "/home/ada/.local/state/cachee");
  EXPECT_EQ(choose_state_dir("", environment_of({}), false), "");
  EXPECT_EQ(loaded({"--runtime-dir", "/x/../y"}).runtime_dir, "/y");
  EXPECT_TRUE(loaded({"--state-dir", "relative"}).state_dir.starts_with('/'));
}

// ---- While running

TEST(Config, ChangesWhileRunningAreLimitedToWhatCanChange) {
  Settings settings;
  ASSERT_TRUE(change_setting(settings, "log-level", "debug"));
  EXPECT_EQ(settings.log_level, "debug");
  EXPECT_EQ(change_setting(settings, "log-level", "loud").failure().code, Errc::invalid_argument);
  EXPECT_EQ(change_setting(settings, "memory", "1GiB").failure().code, Errc::unsupported);
  // A restart would change it, but not what is fixed when the segment is made.
  expect_words(change_setting(settings, "executors", "2").failure().text, {"executors", "restart"});
  for (const char* fixed : {"memory", "max-value", "max-clients", "ring-events"}) {
    const std::string text = change_setting(settings, fixed, "1M").failure().text;
    expect_words(text, {fixed, "life of the segment", "--fresh", "--name"});
    EXPECT_EQ(text.find("restart"), text.npos) << text;
  }
  const auto unknown = change_setting(settings, "log-levl", "debug");
  EXPECT_EQ(unknown.failure().code, Errc::not_found);
  expect_words(unknown.failure().text, {"log-levl", "log.level"});
  Settings after = settings;
  after.memory_bytes = 1u << 30;
  after.log_level = "warn";
  const auto changes = changes_between(settings, after);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].name, "memory");
  expect_words(changes[0].hindrance, {"--fresh", "--name"});
  EXPECT_EQ(changes[1].name, "log-level");
  EXPECT_EQ(changes[1].hindrance, "");
  EXPECT_TRUE(changes_between(after, after).empty());
}

TEST(Config, EveryValueThatIsShownReadsBackTheSame) {
  Settings settings = loaded({"--name", "x", "--memory", "1536K", "--listen", "[::1]:5", "--group",
                              "4", "--mode", "0640", "--webhook-allow-hosts", "a,b", "--fsync=false",
                              "--idle", "spin", "--eviction", "cost"});
  settings.config_file.clear();
  Settings copy;
  for (const auto& [name, value] : list_settings(settings)) {
    const Setting* setting = find_setting(name);
    ASSERT_NE(setting, nullptr) << name;
    EXPECT_TRUE(value.empty() || setting->read(copy, value)) << name << ": " << value;
  }
  EXPECT_EQ(copy, settings);
}

// ---- Documents

std::string read_all(const std::string& path) {
  std::ifstream file{path};
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void expect_file(const std::string& path, const std::string& text) {
  if (std::getenv("CACHEE_UPDATE_FILES") != nullptr) std::ofstream{path} << text;
  EXPECT_EQ(read_all(path), text) << path << " is not what the table says; run config_test with "
                                  << "CACHEE_UPDATE_FILES=1";
}

TEST(ConfigDocuments, ExampleFileIsMadeFromTheTable) {
  expect_file(CACHEE_SOURCE_DIR "/daemon/cacheed.toml", example_toml());
}

TEST(ConfigDocuments, ReferencePageIsMadeFromTheTable) {
  expect_file(CACHEE_SOURCE_DIR "/daemon/doc/settings.md", settings_markdown());
}

TEST(ConfigDocuments, ExampleFileSaysTheDefaults) {
  Settings settings;
  ASSERT_TRUE(apply_toml(settings, example_toml(), "cacheed.toml"));
  EXPECT_EQ(settings, Settings{});
  // With the comment signs gone from the assignments it is still a good file.
  std::string text;
  std::istringstream lines{example_toml()};
  for (std::string line; std::getline(lines, line);) {
    const bool example = line.find("\"/path/to/") != std::string::npos ||
                         line.find("\"cachee\"") != std::string::npos;
    const bool assignment = line.starts_with("# ") && line.find(" = ") != std::string::npos;
    text += (assignment && !example ? line.substr(2) : line) + "\n";
  }
  const auto done = apply_toml(settings, text, "cacheed.toml");
  ASSERT_TRUE(done) << done.failure().text << "\n" << text;
  settings.listen.reset();
  settings.metrics.reset();
  settings.password_file.clear();
  EXPECT_EQ(settings, Settings{});
}

TEST(ConfigDocuments, HelpNamesEveryOption) {
  const auto result = load({"--help"});
  const auto& exit = std::get<EarlyExit>(result);
  EXPECT_EQ(exit.code, 0);
  for (const Setting& setting : all_settings()) {
    EXPECT_NE(exit.text.find("--" + setting.option()), std::string::npos) << setting.key;
    EXPECT_TRUE(setting.summary.ends_with('.')) << setting.key;
  }
  expect_words(exit.text, {"cachee", "--config", "--version", "[256MiB]"});
  const auto version = load({"--version"});
  EXPECT_EQ(std::get<EarlyExit>(version).code, 0);
  expect_words(std::get<EarlyExit>(version).text, {"cacheed 0.", "layout"});
}

// ---- Trigger files

TEST(TriggerFile, HeaderSaysWhatTheHandlerIsFor) {
  const std::string text =
      "\n-- Tells the auth service.\n--   trigger: session:* ON_EXPIRE,ON_DELETE NAME 'a b'\n\n"
      "--trigger: RETRY 8 BACKOFF 100ms 30s\ncachee.log(\"x\", {})\n-- trigger: not read\n";
  const auto spec = parse_trigger_file(text, "one.lua");
  ASSERT_TRUE(spec) << spec.failure().text;
  EXPECT_EQ(spec->name, "a b");
  EXPECT_EQ(spec->pattern, "session:*");
  EXPECT_EQ(spec->events, event_bit(EventKind::expire) | event_bit(EventKind::del));
  EXPECT_EQ(spec->retry_attempts, 8u);
  EXPECT_EQ(spec->backoff_min_ms, 100u);
  EXPECT_EQ(spec->source, text);
}

TEST(TriggerFile, BadHeadersNameFileAndLine) {
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"", {"x.lua", "-- trigger:"}},
      {"return\n-- trigger: k ON_WRITE\n", {"x.lua", "-- trigger:"}},
      {"--[[\n-- trigger: k ON_WRITE\n]]\n", {"x.lua", "-- trigger:"}},
      {"\n-- trigger: k ON_NEVER\n", {"x.lua:2", "ON_NEVER"}},
      {"-- trigger: k\n", {"x.lua:1", "events"}},
      {"-- trigger: 'k ON_WRITE\n", {"x.lua:1", "quote"}},
      {"-- trigger: k ON_WRITE\n-- trigger: RETRY lots\n", {"x.lua:1", "RETRY", "lots"}},
  };
  for (const auto& [text, words] : cases) {
    const auto spec = parse_trigger_file(text, "x.lua");
    ASSERT_FALSE(spec) << text;
    expect_words(spec.failure().text, words);
  }
  EXPECT_FALSE(parse_trigger_file(std::string(kTriggerSourceBytesMax + 1, '-'), "x.lua"));
}

}  // namespace
}  // namespace cachee::daemon
