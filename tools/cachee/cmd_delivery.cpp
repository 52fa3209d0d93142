// dlq outbox log trace verify: what became of events, through the supervisor.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <thread>

#include <compliance/log_chain.hpp>  // shared with the daemon; depends on std only
#include <fmt/format.h>

#include "command.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

constexpr std::chrono::milliseconds kFollowInterval{100};
constexpr std::size_t kReadBytes = 65536;

/// The terms of the account, as VERIFY names them: `emitted` is the sum of the others.
constexpr std::array<const char*, 6> kAccountTerms{"acknowledged", "in_flight", "retry",
                                                   "spooled",      "dead",      "shed"};

/// A dead letter with the key that it is about.
Value letter_with_key(const Value& letter) {
  const Value* const payload = letter.find("payload");
  const Value* const key = payload == nullptr ? nullptr : payload->find("key");
  if (key == nullptr || letter.find("key") != nullptr) return letter;
  return Value{letter}.add("key", *key);
}

/// What fits in a row of a table: no payload, no body, no traceback.
Value letter_row(const Value& letter) {
  Value row = Value::object();
  for (const char* name : {"id", "wall_ms", "what", "trigger", "key", "attempts", "error"}) {
    if (const Value* const value = letter.find(name)) row.add(name, *value);
  }
  return row;
}

Command dlq_list_command() {
  return {.words = "dlq list",
          .group = kSupervisorGroup,
          .summary = "List what was given up after all retries",
          .example = "cachee dlq list\ncachee dlq list --json | jq -r '.[].traceback'",
          .declare = [](CLI::App&) -> Run {
            return [](Context& context) {
              const Value letters =
                  to_records(context.source.supervisor().require({"TRIGGER", "DLQ", "LIST"}));
              Value rows = Value::list();
              for (const auto& letter : letters.items()) {
                const Value whole = letter_with_key(letter);
                rows.push(context.out.json() ? whole : letter_row(whole));
              }
              context.out.print(rows);
              return Exit::yes;
            };
          }};
}

Command outbox_list_command() {
  return {
      .words = "outbox list",
      .group = kSupervisorGroup,
      .summary = "List the webhooks that wait to be sent",
      .example = "cachee outbox list",
      .declare = [](CLI::App&) -> Run {
        return [](Context& context) {
          context.out.print(to_records(context.source.supervisor().require({"OUTBOX", "LIST"})));
          return Exit::yes;
        };
      }};
}

Command dlq_show_command() {
  return {
      .words = "dlq show",
      .group = kSupervisorGroup,
      .summary = "Show one dead letter with its event, error and traceback",
      .example = "cachee dlq show e17",
      .declare = [](CLI::App& app) -> Run {
        auto id = std::make_shared<std::string>();
        declare_word(app, "id", *id, "Id, as `dlq list` shows it")->required();
        return [id](Context& context) {
          const Reply reply = context.source.supervisor().require({"TRIGGER", "DLQ", "SHOW", *id});
          context.out.print(letter_with_key(to_record(reply)));
          return Exit::yes;
        };
      }};
}

/// REPLAY and PURGE answer with how many they found; none is a "no".
Command dlq_change_command(const char* verb, const char* word, const char* summary) {
  return {
      .words = fmt::format("dlq {}", verb),
      .group = kSupervisorGroup,
      .summary = summary,
      .example = fmt::format("cachee dlq {0} e17\ncachee dlq {0} all", verb),
      .declare = [word](CLI::App& app) -> Run {
        auto id = std::make_shared<std::string>();
        declare_word(app, "id", *id, "Id, as `dlq list` shows it, or `all`")->required();
        return [id, word](Context& context) {
          const Reply reply = context.source.supervisor().require({"TRIGGER", "DLQ", word, *id});
          const Value count = to_value(reply);
          if (context.out.json()) {
            context.out.print(Value::object().add("count", count));
          } else {
            context.out.print(count);
          }
          const bool none =
              *id != "all" && reply.kind == Reply::Kind::integer && reply.integer == 0;
          return none ? Exit::no : Exit::yes;
        };
      }};
}

/// A file that others append to, read as it grows; starts again when it was rotated away.
class GrowingFile {
 public:
  explicit GrowingFile(std::string path) : path_{std::move(path)} {}
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;
  ~GrowingFile() { close_file(); }

  /// False while there is no such file.
  bool open_file() {
    if (fd_ < 0) fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    return fd_ >= 0;
  }

  /// Hands over what is new.
  template <class Sink>
  void drain(Sink&& sink) {
    std::array<char, kReadBytes> buffer{};
    while (fd_ >= 0) {
      const ssize_t count = read(fd_, buffer.data(), buffer.size());
      if (count > 0) {
        sink(std::string_view{buffer.data(), static_cast<std::size_t>(count)});
        continue;
      }
      if (!rotated()) return;
      close_file();
      open_file();
    }
  }

 private:
  [[nodiscard]] bool rotated() const {
    struct stat ours {};
    struct stat named {};
    return fstat(fd_, &ours) == 0 && stat(path_.c_str(), &named) == 0 &&
           (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev);
  }
  void close_file() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  std::string path_;
  int fd_ = -1;
};

/// The last `count` whole lines of a text.
std::string_view last_lines(std::string_view text, std::size_t count) {
  std::size_t start = text.size();
  if (start > 0 && text.back() == '\n') --start;
  for (std::size_t lines = 0; lines < count && start > 0; ++lines) {
    const std::size_t feed = text.rfind('\n', start - 1);
    start = feed == std::string_view::npos ? 0 : feed;
  }
  if (start > 0) ++start;  // behind the line feed
  return text.substr(std::min(start, text.size()));
}

struct LogOptions {
  std::string channel{};
  std::optional<std::size_t> lines{};
  bool follow = false;
  bool verify = false;
};

/// Where the file is: the supervisor knows, and when none runs the settings of this shell say.
std::string log_path(Source& source, const std::string& channel) {
  const Places& places = source.places();
  const std::string path =
      fmt::format("{}/{}/log/{}.jsonl", places.state_dir, places.name, channel);
  if (access(path.c_str(), F_OK) == 0) return path;
  try {
    const Reply reply = source.supervisor().call({"LOG", "PATH", channel});
    if (reply.kind == Reply::Kind::string) return reply.text;
  } catch (const Failure&) {
    // No supervisor: the path above is the best answer there is.
  }
  return path;
}

/// What the supervisor keeps of a channel: the settled bytes of its file and the hash they end with.
struct LogAnchor {
  std::uint64_t settled_bytes = 0;
  std::string chain{};
};
std::optional<LogAnchor> ask_anchor(Source& source, const std::string& channel) {
  try {
    const Value info = to_record(source.supervisor().call({"LOG", "INFO", channel}));
    const Value* const bytes = info.find("settled_bytes");
    const Value* const chain = info.find("chain");
    if (bytes == nullptr || chain == nullptr) return std::nullopt;
    return LogAnchor{bytes->as_count(), chain->is_string() ? chain->string() : std::string{}};
  } catch (const Failure&) {
    return std::nullopt;  // no supervisor: the files are all there is
  }
}

constexpr std::size_t kFindingsShown = 20;

/// Checks the chain of hashes through all files of a channel, and that it ends where the supervisor says.
Exit verify_log(Context& context, const std::string& channel, const std::string& path) {
  const std::optional<LogAnchor> anchor = ask_anchor(context.source, channel);
  const std::vector<std::string> files = daemon::log_files_of(path);
  if (files.empty()) {
    throw Failure{Exit::no, fmt::format("no log '{}' ({}): no handler has written to it yet, or its --state-dir is another", channel, path)};
  }
  daemon::LogCheck check;
  std::vector<std::string> findings;
  const auto found = [&](std::string text) { findings.push_back(std::move(text)); };
  for (const std::string& name : files) {
    std::ifstream file{name, std::ios::binary};
    if (!file) throw Failure{Exit::no, fmt::format("{}: {}", name, std::strerror(errno))};
    // Behind the settled bytes of the file that grows a write may be under way.
    std::uint64_t left = anchor && name == path ? anchor->settled_bytes : std::numeric_limits<std::uint64_t>::max();
    std::uint64_t number = 0;
    for (std::string line; left > 0 && std::getline(file, line);) {
      ++number;
      if (file.eof()) {
        found(fmt::format("{}:{}: ends without a line feed", name, number));
        break;
      }
      left -= std::min<std::uint64_t>(left, line.size() + 1);
      if (const auto why = check.take(line)) found(fmt::format("{}:{}: {}", name, number, *why));
    }
    if (anchor && name == path && left > 0) found(fmt::format("{}: {} bytes are missing at its end", name, left));
  }
  if (check.head().empty()) found("no line has a hash: cacheed writes them with log.hash_chain = true");
  if (anchor && check.head() != anchor->chain) found("the last hash is not the one that cacheed keeps: lines are missing or were replaced");
  Value report = Value::object();
  report.add("channel", channel).add("good", findings.empty()).add("files", files.size()).add("lines", check.lines());
  report.add("lines_without_hash", check.without_hash()).add("from_the_beginning", check.whole());
  report.add("end_is_known", anchor.has_value()).add("findings", findings.size());
  context.out.print(report);
  for (std::size_t n = 0; n < std::min(findings.size(), kFindingsShown); ++n) say("{}", findings[n]);
  if (findings.size() > kFindingsShown) say("and {} more", findings.size() - kFindingsShown);
  return findings.empty() ? Exit::yes : Exit::no;
}

Exit show_log(Context& context, const LogOptions& options) {
  if (options.channel.empty() || options.channel.find('/') != std::string::npos ||
      options.channel.front() == '.') {
    throw Failure{Exit::usage,
                  fmt::format("log: '{}' is no channel: expected the name that a handler "
                              "gave to cachee.log",
                              options.channel)};
  }
  const std::string path = log_path(context.source, options.channel);
  if (options.verify) return verify_log(context, options.channel, path);
  GrowingFile file{path};
  if (!file.open_file() && (errno != ENOENT || !options.follow)) {
    throw Failure{Exit::no,
                  fmt::format("no log '{}' ({}: {}): no handler has written to it yet, or its "
                              "--state-dir is another",
                              options.channel, path, std::strerror(errno))};
  }
  const auto write = [&](std::string_view bytes) { context.out.write(bytes); };
  if (options.lines) {
    std::string text;
    file.drain([&](std::string_view bytes) { text += bytes; });
    write(last_lines(text, *options.lines));
  } else {
    file.drain(write);
  }
  if (!options.follow) return Exit::yes;
  const StopSignal stop;
  while (!StopSignal::requested() && !context.out.failed()) {
    context.out.flush();
    std::this_thread::sleep_for(kFollowInterval);
    if (file.open_file()) file.drain(write);
  }
  return Exit::yes;
}

Command log_command() {
  return {.words = "log",
          .group = kSupervisorGroup,
          .summary = "Print a channel of cachee.log, a JSON object a line",
          .example = "cachee log compliance\ncachee log compliance --lines 10 --follow\n"
                     "cachee log compliance --verify",
          .declare = [](CLI::App& app) -> Run {
            auto options = std::make_shared<LogOptions>();
            declare_word(app, "channel", options->channel, "Channel")->required();
            declare_integer(app, "--lines", options->lines,
                            "Begin with the last so many lines (default: all)");
            app.add_flag("-f,--follow", options->follow, "Go on with new lines until Ctrl-C");
            app.add_flag("--verify", options->verify,
                         "Check the chain of hashes through all files of the channel (log.hash_chain); "
                         "exit 1 if a line was changed, added, moved or is missing")
                ->excludes("--follow")
                ->excludes("--lines");
            return [options](Context& context) { return show_log(context, *options); };
          }};
}

Command trace_command() {
  return {
      .words = "trace",
      .group = kSupervisorGroup,
      .summary = "Show what one event set off, step by step",
      .example = "cachee trace 5f3a9c1e-1234",
      .declare = [](CLI::App& app) -> Run {
        auto chain = std::make_shared<std::string>();
        declare_word(app, "chain", *chain, "event.chain, or the id of the first event")->required();
        return [chain](Context& context) {
          const Value steps =
              to_records(context.source.supervisor().require({"TRIGGER", "TRACE", *chain}));
          if (steps.items().empty()) {
            throw Failure{Exit::no, fmt::format("nothing is known of chain {}", display(*chain))};
          }
          context.out.print(steps);
          return Exit::yes;
        };
      }};
}

/// The row of one trigger, with the verdict at its end.
Value judge(const Value& row, bool& adds_up) {
  std::uint64_t sum = 0;
  for (const char* term : kAccountTerms) {
    const Value* const count = row.find(term);
    if (count != nullptr) sum += count->as_count();
  }
  const Value* const emitted = row.find("emitted");
  const bool good = emitted != nullptr && emitted->as_count() == sum;
  adds_up = adds_up && good;
  Value judged = Value::object();
  for (const auto& field : row.fields()) {
    if (field.name != "adds_up") judged.add(field.name, field.value);
  }
  judged.add("adds_up", good);
  return judged;
}

Command verify_command() {
  return {
      .words = "verify",
      .group = kSupervisorGroup,
      .summary = "Account for every event by trigger; exit 1 if it does not add up",
      .example = "cachee verify\ncachee verify --json | jq .triggers",
      .declare = [](CLI::App&) -> Run {
        return [](Context& context) {
          const Value rows = to_records(context.source.supervisor().require({"VERIFY"}));
          bool adds_up = true;
          Value judged = Value::list();
          for (const auto& row : rows.items()) {
            if (!row.is_object())
              throw Failure{Exit::no, "verify: cannot read the supervisor's answer"};
            judged.push(judge(row, adds_up));
          }
          context.out.print(
              Value::object().add("adds_up", adds_up).add("triggers", std::move(judged)));
          if (!adds_up) {
            say("the account does not add up: emitted = acknowledged + in flight + retry + spooled "
                "+ dead + shed does not hold for every trigger");
          }
          return adds_up ? Exit::yes : Exit::no;
        };
      }};
}

}  // namespace

std::vector<Command> delivery_commands() {
  return {dlq_list_command(),
          dlq_show_command(),
          dlq_change_command("replay", "REPLAY", "Try dead letters again from the start"),
          dlq_change_command("purge", "PURGE", "Delete dead letters"),
          outbox_list_command(),
          log_command(),
          trace_command(),
          verify_command()};
}

}  // namespace cachee::cli
