// load dump: a whole keyspace in and out, a line of JSON for each key.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "command.hpp"
#include "dump_line.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

// Each attempt waits as long as the triggers that want the event say (ON_FULL BLOCK).
constexpr int kBackpressureAttempts = 30;
// JSON writes a byte as at most six ("\u0000"); the rest is room for key, metadata and names.
constexpr std::uint64_t kLineBytesPerValueByte = 6;
constexpr std::uint64_t kLineBytesBeyondValue = 4 << 20;

std::int64_t now_wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Failure file_failure(const std::string& path, const char* verb) {
  return {Exit::no, fmt::format("cannot {} {}: {}", verb, path, std::strerror(errno))};
}

/// A file that appears under its name only when it is whole.
class DumpFile {
 public:
  explicit DumpFile(std::string path) : path_{std::move(path)}, temporary_{path_ + ".part"} {
    if (path_ == "-") return;
    struct stat status {};
    // A pipe or a device is written as it is.
    if (stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) temporary_ = path_;
    file_.open(temporary_, std::ios::binary | std::ios::trunc);
    if (!file_) throw file_failure(temporary_, "write");
  }
  DumpFile(const DumpFile&) = delete;
  DumpFile& operator=(const DumpFile&) = delete;
  ~DumpFile() {
    if (file_.is_open() && temporary_ != path_) unlink(temporary_.c_str());
  }

  std::ostream& stream() { return path_ == "-" ? std::cout : file_; }

  void check() {
    if (!stream()) throw file_failure(path_, "write");
  }

  void finish() {
    stream().flush();
    check();
    if (path_ == "-") return;
    file_.close();
    if (!file_) throw file_failure(path_, "write");
    if (temporary_ != path_ && rename(temporary_.c_str(), path_.c_str()) != 0) {
      throw file_failure(path_, "write");
    }
  }

 private:
  std::string path_;
  std::string temporary_;
  std::ofstream file_{};
};

DumpRecord to_record(const std::string& key, Entry entry) {
  DumpRecord record;
  record.key = key;
  record.value = std::move(entry.value);
  record.cost = entry.cost;
  record.metadata = std::move(entry.metadata);
  record.depends_on = std::move(entry.depends_on);
  record.deadline_wall_ms = entry.deadline_wall_ms;
  if (!record.deadline_wall_ms && entry.ttl) record.deadline_wall_ms = now_wall_ms() + entry.ttl->count();
  return record;
}

/// Counts go to stderr when the data has stdout.
void report(Context& context, const std::string& path, const Value& value,
            const std::string& text) {
  if (path == "-") {
    say("{}", text);
  } else if (context.out.json()) {
    context.out.print(value);
  } else {
    context.out.write(text + "\n");
  }
}

Exit dump(Context& context, const std::string& path, const std::string& pattern) {
  const Cache& cache = context.source.segment(Access::read_only);
  DumpFile file{path};
  Progress progress{"dump", cache.size().value_or(0)};
  std::uint64_t seen = 0;
  std::uint64_t written = 0;
  std::uint64_t cursor = 0;
  std::vector<std::string> keys;
  do {
    keys.clear();
    const auto step = cache.scan(cursor, kScanStep, [&](KeyView key) { keys.emplace_back(key); });
    if (!step) throw Failure{Exit::no, "dump: " + to_string(step.error())};
    cursor = step->cursor;
    for (const auto& key : keys) {
      progress.update(++seen);
      if (pattern != "*" && !glob_match(pattern, key)) continue;
      auto entry = cache.inspect(key);
      if (!entry && entry.code() == Errc::not_found) continue;  // it went since
      if (!entry)
        throw Failure{Exit::no,
                      fmt::format("dump: {}: {}", display(key), to_string(entry.error()))};
      file.stream() << encode_dump_line(to_record(key, *std::move(entry))) << '\n';
      ++written;
    }
    file.check();
  } while (cursor != 0);
  file.finish();
  report(context, path, Value::object().add("keys", written),
         fmt::format("{} keys written to {}", format_count(written),
                     path == "-" ? "standard output" : path));
  return Exit::yes;
}

/// Lines of a file with a bound on their length.
class LineReader {
 public:
  LineReader(const std::string& path, std::uint64_t line_bytes_max)
      : line_bytes_max_{line_bytes_max} {
    if (path == "-") {
      fd_ = STDIN_FILENO;
      return;
    }
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) throw file_failure(path, "read");
    struct stat status {};
    if (fstat(fd_, &status) == 0 && S_ISREG(status.st_mode)) {
      bytes_total_ = static_cast<std::uint64_t>(status.st_size);
    }
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader() {
    if (fd_ > STDIN_FILENO) close(fd_);
  }

  /// False at the end.
  bool next(std::string_view& line) {
    for (;;) {
      const std::size_t end = buffer_.find('\n', searched_);
      if (end != std::string::npos || (ended_ && start_ < buffer_.size())) {
        const std::size_t stop = std::min(end, buffer_.size());
        line = std::string_view{buffer_}.substr(start_, stop - start_);
        start_ = searched_ = std::min(stop + 1, buffer_.size());
        return true;
      }
      if (ended_) return false;
      buffer_.erase(0, start_);
      start_ = 0;
      searched_ = buffer_.size();
      if (buffer_.size() > line_bytes_max_) {
        throw Failure{Exit::no,
                      fmt::format("a line is longer than {}: no value of this segment needs "
                                  "that; is this a file of `cachee dump`?",
                                  format_bytes(line_bytes_max_))};
      }
      fill();
    }
  }

  [[nodiscard]] std::uint64_t bytes_total() const noexcept { return bytes_total_; }
  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
  void fill() {
    constexpr std::size_t kReadBytes = std::size_t{1} << 20;
    const std::size_t size = buffer_.size();
    buffer_.resize(size + kReadBytes);
    ssize_t count = 0;
    do {
      count = read(fd_, buffer_.data() + size, kReadBytes);
    } while (count < 0 && errno == EINTR);
    buffer_.resize(size + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0) throw file_failure("the file", "read");
    ended_ = count == 0;
    bytes_read_ += static_cast<std::uint64_t>(count);
  }

  int fd_ = -1;
  std::uint64_t line_bytes_max_;
  std::uint64_t bytes_total_ = 0;
  std::uint64_t bytes_read_ = 0;
  std::string buffer_{};
  std::size_t start_ = 0;     // of the next line
  std::size_t searched_ = 0;  // no line feed between start_ and here
  bool ended_ = false;
};

struct LoadOptions {
  std::string path{};
  bool absent = false;
};

enum class Loaded { stored, expired, exists };

Loaded store(Cache& cache, DumpRecord record, const LoadOptions& options) {
  if (record.deadline_wall_ms && *record.deadline_wall_ms <= now_wall_ms()) return Loaded::expired;
  SetOptions set;
  set.deadline_wall_ms = record.deadline_wall_ms;
  if (record.cost != kCostDefault) set.cost = record.cost;
  set.metadata = std::move(record.metadata);
  set.depends_on = std::move(record.depends_on);
  if (options.absent) set.condition = Condition::absent;
  for (int attempt = 1;; ++attempt) {
    const auto written = cache.set(record.key, record.value, set);
    if (written) return Loaded::stored;
    if (written.code() == Errc::exists) return Loaded::exists;
    if (written.code() == Errc::full && attempt < kBackpressureAttempts) continue;
    throw Failure{Exit::no, fmt::format("{}: {}", display(record.key), to_string(written.error()))};
  }
}

Exit load(Context& context, const LoadOptions& options) {
  Cache& cache = context.source.segment();
  const auto info = segment_info(cache);
  if (!info) throw Failure{Exit::no, "load: " + to_string(info.error())};
  LineReader reader{options.path,
                    info->value_bytes_max * kLineBytesPerValueByte + kLineBytesBeyondValue};
  Progress progress{"load", reader.bytes_total()};
  const std::string name = options.path == "-" ? "standard input" : options.path;
  std::array<std::uint64_t, 3> counts{};
  std::uint64_t number = 0;
  std::string_view line;
  try {
    while (reader.next(line)) {
      ++number;
      progress.update(reader.bytes_total() > 0 ? reader.bytes_read() : number);
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      DumpLine decoded = decode_dump_line(line, now_wall_ms());
      if (!decoded.record) throw Failure{Exit::no, decoded.error};
      ++counts[static_cast<std::size_t>(store(cache, *std::move(decoded.record), options))];
    }
  } catch (Failure& failure) {
    failure.text = fmt::format("{}:{}: {} ({} keys were loaded before it)", name,
                               std::max<std::uint64_t>(number, 1), failure.text, counts[0]);
    throw;
  }
  std::string text = fmt::format("{} keys loaded from {}", format_count(counts[0]), name);
  if (counts[1] > 0) text += fmt::format(", {} skipped as expired", format_count(counts[1]));
  if (counts[2] > 0) text += fmt::format(", {} left as they were", format_count(counts[2]));
  report(
      context, "",
      Value::object().add("loaded", counts[0]).add("expired", counts[1]).add("existed", counts[2]),
      text);
  return Exit::yes;
}

Command load_command() {
  return {
      .words = "load",
      .group = kSegmentGroup,
      .summary = "Store every key of a file that `dump` wrote; - is standard input",
      .example =
          "cachee load backup.jsonl\n"
          "echo '{\"key\":\"a\",\"value\":\"1\",\"ttl_ms\":60000}' | cachee load -",
      .declare = [](CLI::App& app) -> Run {
        auto options = std::make_shared<LoadOptions>();
        declare_word(app, "file", options->path, "JSON lines; - for standard input")->required();
        app.add_flag("--nx", options->absent, "Leave keys as they are that are there");
        return [options](Context& context) { return load(context, *options); };
      }};
}

Command dump_command() {
  return {.words = "dump",
          .group = kSegmentGroup,
          .summary = "Write keys with values, deadlines, cost, metadata as JSON lines",
          .example = "cachee dump backup.jsonl\ncachee dump - --match 'session:*' | gzip > s.gz",
          .declare = [](CLI::App& app) -> Run {
            struct Options {
              std::string path{};
              std::string pattern = "*";
            };
            auto options = std::make_shared<Options>();
            declare_word(app, "file", options->path, "Where to; - for standard output")->required();
            declare_word(app, "--match", options->pattern, "Only keys that match this pattern");
            return [options](Context& context) {
              return dump(context, options->path, options->pattern);
            };
          }};
}

}  // namespace

std::vector<Command> bulk_commands() { return {load_command(), dump_command()}; }

}  // namespace cachee::cli
