#include "compliance/log_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compliance/log_chain.hpp"
#include "core/clock.hpp"
#include "core/log.hpp"
#include "script/effects.hpp"

namespace cachee::daemon {
namespace {

constexpr const char* kSuffix = ".jsonl";
constexpr mode_t kDirectoryMode = 0750;
constexpr mode_t kFileMode = 0640;

Failure os_failure(std::string_view verb, const std::string& path) {
  const int error = errno;
  Errc code = Errc::io;
  // EFBIG is the process's or the file system's bound on one file: room is what is missing.
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) code = Errc::no_space;
  if (error == EACCES || error == EPERM || error == EROFS) code = Errc::permission;
  return {code, fmt::format("cannot {} {}: {}", verb, path, std::strerror(error))};
}

bool write_all(int fd, std::string_view bytes, std::uint64_t offset) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return true;
}

/// Lines of one chunk, each with its hash.
void append_chained(LogChain& chain, std::string_view lines, std::string& out) {
  while (!lines.empty()) {
    const std::size_t bytes = std::min(lines.find('\n'), lines.size() - 1) + 1;
    out += chain.append(lines.substr(0, bytes));
    lines.remove_prefix(bytes);
  }
}

/// Of the youngest file that was rotated away; 0: none was.
std::uint64_t last_number(const std::string& path) {
  std::uint64_t number = 0;
  for (const std::string& name : log_files_of(path)) {
    if (name != path) std::from_chars(name.data() + path.size() + 1, name.data() + name.size(), number);
  }
  return number;
}

}  // namespace

std::string LogWriter::path(std::string_view directory, std::string_view channel) {
  return is_plain_name(channel) ? fmt::format("{}/log/{}{}", directory, channel, kSuffix) : "";
}

std::string LogWriter::full_path(const std::string& channel) const {
  return path(store_.directory(), channel);
}

Outcome<std::unique_ptr<LogWriter>> LogWriter::open(Store& store, const LogRules& rules) {
  const std::string directory = store.directory() + "/log";
  if (::mkdir(directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
    return os_failure("make the log directory", directory);
  }
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return os_failure("open the log directory", directory);
  std::unique_ptr<LogWriter> writer{new LogWriter{store, rules, fd}};
  if (auto read = writer->read_settled(); !read) return read.failure();
  // A torn tail has its rows still [LG-2], so this reaches every file that has one.
  const auto unwritten = writer->flush();
  if (!unwritten) log::error("{}", unwritten.failure().text);
  else for (const UnwrittenChannel& channel : *unwritten) log::error("{}", channel.failure.text);
  return writer;
}

LogWriter::~LogWriter() {
  for (const auto& [channel, file] : files_) ::close(file.fd);
  ::close(directory_fd_);
}

Outcome<void> LogWriter::read_settled() {
  auto files = store_.log_files();
  if (!files) return files.failure();
  settled_.clear();
  for (const LogFile& file : *files) settled_[file.channel] = file;
  settled_unsure_ = false;
  return {};
}

Outcome<std::vector<UnwrittenChannel>> LogWriter::flush() {
  // After a failure it is unknown whether the store's last word was taken down: ask it, or a line
  // that is settled might be cut off.
  if (settled_unsure_) {
    if (auto read = read_settled(); !read) return read.failure();
  }
  auto channels = store_.pending_channels();
  if (!channels) return channels.failure();
  ++flushes_;
  std::vector<UnwrittenChannel> unwritten;
  for (const std::string& channel : *channels) {
    auto done = flush_channel(channel);
    if (done) continue;
    ++counters_.failures;
    close_file(channel);
    settled_unsure_ = true;
    unwritten.push_back({channel, done.failure()});
  }
  close_idle_files();
  return unwritten;
}

Outcome<void> LogWriter::flush_channel(const std::string& channel) {
  for (;;) {
    auto chunks = store_.pending_log(channel, kLogChunkBytes);
    if (!chunks) return chunks.failure();
    if (chunks->empty()) return {};
    auto file = ready_file(channel);
    if (!file) return file.failure();
    if (is_due(settled_[channel])) {
      if (auto rotated = rotate(channel); !rotated) return rotated;
      file = open_file(channel);
      if (!file) return file.failure();
    }
    LogFile& settled = settled_[channel];
    LogFile then = settled;
    if (then.settled_bytes == 0) then.begun_wall_ms = wall_ms();
    const bool chained = rules_.hash_chain || (!settled.chain.empty() && settled.settled_bytes != 0);
    LogChain chain = settled.chain.empty() ? LogChain{} : LogChain{settled.chain};
    std::string bytes;
    std::uint64_t line_count = 0;
    for (const LogChunk& chunk : *chunks) {
      line_count += chunk.line_count;
      if (chained) append_chained(chain, chunk.lines, bytes);
      else bytes += chunk.lines;
    }
    then.settled_bytes += bytes.size();
    then.chain = chained ? chain.head() : std::string{};
    // After a failed fdatasync the kernel may hold the pages for clean; the next try writes them
    // again, so that its sync is about these bytes.
    const bool sync = store_.durability() == sql::Durability::disk;
    if (!write_all((*file)->fd, bytes, settled.settled_bytes) || (sync && ::fdatasync((*file)->fd) != 0)) {
      return os_failure("write", full_path(channel));
    }
    counters_.syncs += sync ? 1 : 0;
    auto done = store_.settle_log(then, chunks->back().id);
    if (!done) return done;
    settled = std::move(then);
    counters_.lines += line_count;
    counters_.bytes += bytes.size();
  }
}

/// The open file of a channel, exactly settled_[channel] bytes long.
Outcome<LogWriter::File*> LogWriter::ready_file(const std::string& channel) {
  const auto known = files_.find(channel);
  if (known == files_.end()) return open_file(channel);
  File& file = known->second;
  struct stat now {};
  const std::string name = channel + kSuffix;
  const bool there = ::fstatat(directory_fd_, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there || now.st_ino != file.inode) {
    close_file(channel);
    return open_file(channel, true);  // renamed away: what stands there now is not the file we knew
  }
  const auto bytes = static_cast<std::uint64_t>(now.st_size);
  const std::uint64_t settled = settled_[channel].settled_bytes;
  if (bytes > settled) {
    if (::ftruncate(file.fd, static_cast<off_t>(settled)) != 0) {
      return os_failure("cut", full_path(channel));
    }
  } else if (bytes < settled) {
    if (auto done = set_settled(channel, bytes); !done) return done.failure();
  }
  file.used = flushes_;
  return &file;
}

Outcome<LogWriter::File*> LogWriter::open_file(const std::string& channel, bool replaced) {
  const std::string name = channel + kSuffix;
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const int fd = ::openat(directory_fd_, name.c_str(), flags, kFileMode);
  if (fd < 0) return os_failure("open", full_path(channel));
  struct stat now {};
  if (::fstat(fd, &now) != 0 || !S_ISREG(now.st_mode)) {
    ::close(fd);
    return Failure{Errc::io, full_path(channel) + " is not a regular file: move it away"};
  }
  File& file = files_[channel] = {fd, now.st_ino, flushes_};
  const auto bytes = static_cast<std::uint64_t>(now.st_size);
  if (bytes == 0 && ::fsync(directory_fd_) != 0) {  // a new file's name must last, too
    return os_failure("sync the directory of", full_path(channel));
  }
  const auto settled = settled_.find(channel);
  if (settled != settled_.end() && !replaced && bytes > settled->second.settled_bytes) {
    log::warn("{}: {} bytes of an unfinished write are cut off and written again",
              full_path(channel), bytes - settled->second.settled_bytes);
    if (::ftruncate(fd, static_cast<off_t>(settled->second.settled_bytes)) != 0) {
      return os_failure("cut", full_path(channel));
    }
  } else if (settled == settled_.end() || replaced || bytes < settled->second.settled_bytes) {
    if (auto done = set_settled(channel, bytes); !done) return done.failure();
  }
  return &file;
}

/// Makes the file's length the settled one [LG-3]: a new file, or one that was changed from
/// outside.
Outcome<void> LogWriter::set_settled(const std::string& channel, std::uint64_t bytes) {
  LogFile now{channel, bytes, {}, 0};
  if (const auto before = settled_.find(channel); before != settled_.end()) {
    if (bytes != 0 && before->second.settled_bytes != bytes) {
      log::warn("{} was cut from {} to {} bytes by somebody else; going on from there",
                full_path(channel), before->second.settled_bytes, bytes);
    }
    now.chain = before->second.chain;  // so that what is missing is missed
    now.begun_wall_ms = bytes == 0 ? 0 : before->second.begun_wall_ms;
  }
  auto done = store_.set_log_file(now);
  if (done) settled_[channel] = std::move(now);
  return done;
}

LogFile LogWriter::settled(std::string_view channel) const {
  const auto known = settled_.find(std::string{channel});
  return known == settled_.end() ? LogFile{std::string{channel}, 0, {}, 0} : known->second;
}

bool LogWriter::is_due(const LogFile& settled) const {
  if (settled.settled_bytes == 0) return false;
  if (rules_.rotate_bytes != 0 && settled.settled_bytes >= rules_.rotate_bytes) return true;
  return rules_.rotate_ms != 0 && settled.begun_wall_ms != 0 && wall_ms() - settled.begun_wall_ms >= rules_.rotate_ms;
}

/// R1-R4 for a file that ready_file() has made exactly its settled bytes long.
Outcome<void> LogWriter::rotate(const std::string& channel) {
  LogFile then = settled_[channel];
  if (auto done = store_.set_log_file(then); !done) return done;  // R1
  close_file(channel);
  const std::string from = channel + kSuffix;
  const std::string to = fmt::format("{}.{:06}", from, last_number(full_path(channel)) + 1);
  if (::renameat2(directory_fd_, from.c_str(), directory_fd_, to.c_str(), RENAME_NOREPLACE) != 0 || ::fsync(directory_fd_) != 0) {  // R2, R3
    return os_failure("rotate", full_path(channel));
  }
  then.settled_bytes = 0;
  then.begun_wall_ms = 0;
  if (auto done = store_.set_log_file(then); !done) return done;  // R4
  settled_[channel] = std::move(then);
  ++counters_.rotations;
  remove_oldest(channel);
  return {};
}

/// A file too many is only a file too many: the next rotation tries again.
void LogWriter::remove_oldest(const std::string& channel) {
  if (rules_.keep == 0) return;
  const std::vector<std::string> files = log_files_of(full_path(channel));
  for (std::size_t n = 0; n + rules_.keep < files.size(); ++n) {
    if (::unlink(files[n].c_str()) != 0) log::warn("{}", os_failure("remove", files[n]).text);
  }
}

void LogWriter::close_file(const std::string& channel) noexcept {
  const auto file = files_.find(channel);
  if (file == files_.end()) return;
  ::close(file->second.fd);
  files_.erase(file);
}

void LogWriter::close_idle_files() noexcept {
  while (files_.size() > kLogFilesOpenMax) {
    const auto oldest = std::min_element(
        files_.begin(), files_.end(),
        [](const auto& left, const auto& right) { return left.second.used < right.second.used; });
    ::close(oldest->second.fd);
    files_.erase(oldest);
  }
}

}  // namespace cachee::daemon
