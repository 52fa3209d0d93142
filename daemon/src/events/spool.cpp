#include "events/spool.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/bytes.hpp"
#include "core/log.hpp"

namespace cachee::daemon {
namespace {

constexpr char kMagic[8] = {'C', 'a', 'c', 'h', 'e', 'e', 'S', 'p'};
constexpr std::uint8_t kVersion = 1;
constexpr std::uint64_t kFrameBytesMax = std::uint64_t{1} << 30;
constexpr std::uint64_t kDiskShare = 16;                               // at most 15/16 of a disk are filled ...
constexpr std::uint64_t kStoreBytes = std::uint64_t{8} << 20;          // ... and the store's log has room to grow

struct Header {
  char magic[8];
  std::uint64_t version;
  std::uint64_t first;
  std::uint64_t sum;
};
static_assert(sizeof(Header) == 32);

std::uint64_t sum_of(const Header& header) noexcept {
  return checksum64({reinterpret_cast<const char*>(&header), offsetof(Header, sum)});
}

Failure failed(const char* what, const std::string& path) {
  const Errc code = errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? Errc::no_space : Errc::io;
  return {code, fmt::format("the spool: {} {}: {}", what, path, std::strerror(errno))};
}

bool write_all(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// False at the end of the file, or behind it.
bool read_all(int fd, std::uint64_t at, void* out, std::size_t bytes) noexcept {
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, to, bytes, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    at += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

void sync_directory(const std::string& path) noexcept {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

std::string encode(std::span<const SpoolRecord> records) {
  ByteWriter out{kVersion};
  out.put(records.empty() ? std::uint64_t{0} : records.front().index);
  out.put(static_cast<std::uint32_t>(records.size()));
  for (const SpoolRecord& record : records) {
    out.put(record.seq);
    out.put(record.key_hash);
    out.put_bool(record.gap);
    for (const auto* names : {&record.triggers, &record.shed}) {
      out.put(static_cast<std::uint32_t>(names->size()));
      for (const std::string& name : *names) out.put_string(name);
    }
    out.put_string(record.event.id);
    out.put_string(record.triggers.empty() ? std::string{} : daemon::encode(record.event));
  }
  return out.finish();
}

/// nullopt for bytes that encode() did not make.
std::optional<std::vector<SpoolRecord>> decode(std::string_view bytes, bool whole_events) {
  ByteReader in{bytes, kVersion};
  const auto first = in.get<std::uint64_t>();
  const std::uint32_t count = in.get_count(sizeof(std::uint64_t) * 2);
  std::vector<SpoolRecord> records;
  records.reserve(count);
  for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
    SpoolRecord record;
    record.index = first + i;
    record.seq = in.get<std::uint64_t>();
    record.key_hash = in.get<std::uint64_t>();
    record.gap = in.get_bool();
    for (auto* names : {&record.triggers, &record.shed}) {
      const std::uint32_t named = in.get_count(sizeof(std::uint64_t));
      for (std::uint32_t n = 0; n < named && !in.failed(); ++n) names->push_back(in.get_string());
    }
    std::string id = in.get_string();
    const std::string event = in.get_string();
    if (whole_events && !record.triggers.empty()) {
      auto decoded = decode_event(event);
      if (!decoded) return std::nullopt;
      record.event = std::move(*decoded);
    }
    record.event.id = std::move(id);
    records.push_back(std::move(record));
  }
  if (!in.finish()) return std::nullopt;
  return records;
}

/// The payload of the frame at `at`; empty: there is no whole one.
std::string read_frame(int fd, std::uint64_t at) {
  std::uint64_t bytes = 0;
  if (!read_all(fd, at, &bytes, sizeof bytes) || bytes == 0 || bytes > kFrameBytesMax) return {};
  std::string payload(bytes, '\0');
  if (!read_all(fd, at + sizeof bytes, payload.data(), bytes)) return {};
  return payload;
}

}  // namespace

Spool::~Spool() {
  if (append_fd_ >= 0) ::close(append_fd_);
  if (read_fd_ >= 0) ::close(read_fd_);
}

Outcome<std::unique_ptr<Spool>> Spool::open(const SpoolOptions& options, std::uint64_t cursor,
                                            const std::function<void(const SpoolRecord&)>& sink) {
  std::unique_ptr<Spool> spool{new Spool{options}};
  if (::mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST) return failed("cannot make", options.directory);
  if (auto scanned = spool->scan(sink); !scanned) return scanned.failure();
  // A store that is newer than the files must not see its numbers again.
  spool->end_ = std::max(spool->end_, cursor);
  spool->next_ = spool->files_.empty() ? cursor : std::max(cursor, spool->files_.front().first);
  return spool;
}

Outcome<void> Spool::scan(const std::function<void(const SpoolRecord&)>& sink) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator{options_.directory, error}) {
    if (entry.path().extension() != ".spool") continue;
    File file;
    file.path = entry.path();
    files_.push_back(std::move(file));
  }
  if (error) return Failure{Errc::io, fmt::format("the spool: cannot list {}: {}", options_.directory, error.message())};
  std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) { return a.path < b.path; });
  std::vector<File> kept;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const std::uint64_t end_before = end_;
    auto keep = scan_file(files_[i], i + 1 == files_.size(), sink);
    if (!keep) return keep.failure();
    if (!*keep) continue;
    if (!kept.empty() && files_[i].first > end_before) {
      lost_ += files_[i].first - end_before;
      kept.back().damaged = true;
      log::error("the spool: {} is damaged: {} events in it are lost", kept.back().path, files_[i].first - end_before);
    }
    kept.push_back(std::move(files_[i]));
  }
  files_ = std::move(kept);
  return {};
}

/// False: nothing of the file is worth keeping.
Outcome<bool> Spool::scan_file(File& file, bool newest, const std::function<void(const SpoolRecord&)>& sink) {
  const int fd = ::open(file.path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return failed("cannot open", file.path);
  Header header;
  const bool whole = read_all(fd, 0, &header, sizeof header) && std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 &&
                     header.version == kVersion && header.sum == sum_of(header);
  if (!whole) {
    struct stat about {};
    const bool empty = ::fstat(fd, &about) == 0 && static_cast<std::size_t>(about.st_size) <= sizeof header;
    ::close(fd);
    if (empty) {  // killed while it was made: no frame can be in it
      ::unlink(file.path.c_str());
    } else {
      log::error("the spool: the header of {} is damaged: what it holds is lost", file.path);
      const std::string aside = file.path + ".damaged";
      ::rename(file.path.c_str(), aside.c_str());
    }
    return false;
  }
  file.first = header.first;
  file.bytes = sizeof header;
  end_ = std::max(end_, file.first);
  for (;;) {
    const std::string payload = read_frame(fd, file.bytes);
    const auto records = payload.empty() ? std::nullopt : decode(payload, false);
    if (!records) break;
    for (const SpoolRecord& record : *records) {
      sink(record);
      file.seq_last = record.seq;
      file.id_last = record.event.id;
      end_ = record.index + 1;
    }
    file.bytes += sizeof(std::uint64_t) + payload.size();
  }
  struct stat about {};
  const bool torn = ::fstat(fd, &about) == 0 && static_cast<std::uint64_t>(about.st_size) > file.bytes;
  if (torn && newest) {
    log::warn("the spool: {} ends in a torn frame of {} bytes; cut off", file.path,
              static_cast<std::uint64_t>(about.st_size) - file.bytes);
    if (::ftruncate(fd, static_cast<off_t>(file.bytes)) != 0) {
      auto failure = failed("cannot cut", file.path);
      ::close(fd);
      return failure;
    }
  }
  file.damaged = torn && !newest;
  if (newest && ::lseek(fd, 0, SEEK_END) >= 0) {
    append_fd_ = fd;
  } else {
    ::close(fd);
  }
  return true;
}

Outcome<void> Spool::start_file() {
  File file;
  file.first = end_;
  file.path = fmt::format("{}/{:016x}.spool", options_.directory, end_);
  const int fd = ::open(file.path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed("cannot make", file.path);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.first = end_;
  header.sum = sum_of(header);
  if (!write_all(fd, {reinterpret_cast<const char*>(&header), sizeof header})) {
    auto failure = failed("cannot write", file.path);
    ::close(fd);
    ::unlink(file.path.c_str());
    return failure;
  }
  if (options_.sync) sync_directory(options_.directory);
  file.bytes = sizeof header;
  if (append_fd_ >= 0) ::close(append_fd_);
  append_fd_ = fd;
  if (!files_.empty() && files_.back().first == end_) files_.pop_back();  // nothing could be written to it
  files_.push_back(std::move(file));
  return {};
}

bool Spool::has_room(std::uint64_t bytes, bool only_shed) const noexcept {
  struct statvfs disk {};
  if (::statvfs(options_.directory.c_str(), &disk) != 0) return true;  // the write will tell
  const std::uint64_t unit = disk.f_frsize;
  const std::uint64_t reserve = std::min(options_.free_bytes_min, std::max(kStoreBytes, disk.f_blocks * unit / kDiskShare));
  return disk.f_bavail * unit >= bytes + (only_shed ? reserve / 2 : reserve);
}

Outcome<void> Spool::append(std::span<SpoolRecord> records) {
  if (records.empty()) return {};
  for (std::size_t i = 0; i < records.size(); ++i) records[i].index = end_ + i;
  const std::string payload = encode(records);
  const std::uint64_t length = payload.size();
  const bool only_shed = std::all_of(records.begin(), records.end(), [](const SpoolRecord& record) { return record.only_shed(); });
  if (!has_room(length + sizeof(Header), only_shed)) {
    return Failure{Errc::no_space, fmt::format("the spool: the disk under {} is nearly full", options_.directory)};
  }
  if (append_fd_ < 0 || files_.back().bytes >= options_.file_bytes) {
    if (auto started = start_file(); !started) return started;
  }
  File& file = files_.back();
  std::string frame{reinterpret_cast<const char*>(&length), sizeof length};
  frame += payload;
  if (!write_all(append_fd_, frame) || (options_.sync && ::fdatasync(append_fd_) != 0)) {  // P1, P2
    auto failure = failed("cannot write", file.path);
    // What was written of it must not be taken for a frame, nor lie in the way of the next one.
    if (::ftruncate(append_fd_, static_cast<off_t>(file.bytes)) != 0 ||
        ::lseek(append_fd_, static_cast<off_t>(file.bytes), SEEK_SET) < 0) {
      ::close(append_fd_);
      append_fd_ = -1;
    }
    return failure;
  }
  file.bytes += frame.size();
  file.seq_last = records.back().seq;
  file.id_last = records.back().event.id;
  end_ += records.size();
  return {};
}

Outcome<std::optional<SpoolRecord>> Spool::read() {
  for (;;) {
    while (frame_at_ < frame_.size()) {
      SpoolRecord& record = frame_[frame_at_++];
      if (record.index < next_) continue;
      next_ = record.index + 1;
      return std::optional{std::move(record)};
    }
    frame_.clear();
    frame_at_ = 0;
    if (next_ >= end_) return std::optional<SpoolRecord>{};
    // The newest file that begins at or before the record.
    auto file = std::upper_bound(files_.begin(), files_.end(), next_,
                                 [](std::uint64_t index, const File& f) { return index < f.first; });
    if (file == files_.begin()) return Failure{Errc::corrupt, fmt::format("the spool: event {} is in no file", next_)};
    --file;
    if (read_fd_ < 0 || read_first_ != file->first) {
      if (read_fd_ >= 0) ::close(read_fd_);
      read_fd_ = ::open(file->path.c_str(), O_RDONLY | O_CLOEXEC);
      if (read_fd_ < 0) return failed("cannot open", file->path);
      read_first_ = file->first;
      read_at_ = sizeof(Header);
    }
    const std::string payload = read_at_ < file->bytes ? read_frame(read_fd_, read_at_) : std::string{};
    auto records = payload.empty() ? std::nullopt : decode(payload, true);
    if (!records) {
      // Damaged since it was written: what follows in this file cannot be found.
      const std::uint64_t behind = std::next(file) == files_.end() ? end_ : std::next(file)->first;
      if (!file->damaged) {
        log::error("the spool: {} is damaged: {} events in it are lost", file->path, behind - next_);
        lost_ += behind - next_;
      }
      file->damaged = true;
      next_ = behind;
      continue;
    }
    read_at_ += sizeof(std::uint64_t) + payload.size();
    frame_ = std::move(*records);
  }
}

void Spool::forget(std::uint64_t cursor, std::string_view epoch, std::uint64_t head) {
  while (!files_.empty()) {
    const File& file = files_.front();
    const bool newest = files_.size() == 1;
    const std::uint64_t end = newest ? end_ : files_[1].first;
    if (end > cursor || (file.id_last.starts_with(epoch) && file.seq_last >= head)) return;
    if (newest && file.bytes == sizeof(Header)) return;
    if (file.damaged) {
      // Kept for whoever wants to look, out of our way.
      const std::string aside = file.path + ".damaged";
      ::rename(file.path.c_str(), aside.c_str());
    } else {
      ::unlink(file.path.c_str());
    }
    if (read_fd_ >= 0 && read_first_ == file.first) {
      ::close(read_fd_);
      read_fd_ = -1;
    }
    if (newest) {
      ::close(append_fd_);
      append_fd_ = -1;
    }
    files_.erase(files_.begin());
  }
}

std::uint64_t Spool::bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const File& file : files_) sum += file.bytes;
  return sum;
}

}  // namespace cachee::daemon
