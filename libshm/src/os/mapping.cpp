#include "os/mapping.hpp"

#include <cerrno>
#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <utility>

#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cachee/segment_name.hpp>

#include "base/bits.hpp"
#include "os/process.hpp"

namespace cachee::os {

namespace bip = boost::interprocess;

namespace {

constexpr std::string_view kPrefix = "cachee.";
constexpr std::uint64_t kHeaderBytes = 4096;

std::string object_name(std::string_view name) { return std::string{kPrefix}.append(name); }

Error to_error(const bip::interprocess_exception& e) noexcept {
  const int native = e.get_native_error();
  Errc code = Errc::io;
  switch (e.get_error_code()) {
    case bip::not_found_error: code = Errc::no_segment; break;
    case bip::already_exists_error: code = Errc::exists; break;
    case bip::security_error: code = Errc::permission; break;
    case bip::out_of_space_error:
    case bip::out_of_memory_error: code = Errc::no_space; break;
    default:
      if (native == ENOENT) code = Errc::no_segment;
      if (native == EACCES || native == EPERM) code = Errc::permission;
      if (native == ENOMEM || native == ENOSPC) code = Errc::no_space;
      break;
  }
  return {code, native, 0};
}

/// Runs what Boost may throw from and turns it into a value.
template <class F>
auto guarded(F&& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (const bip::interprocess_exception& e) {
    return to_error(e);
  } catch (const std::exception&) {
    return Error{Errc::no_space, ENOMEM, 0};
  }
}

void touch(const std::byte* at) noexcept { static_cast<void>(*reinterpret_cast<const volatile std::byte*>(at)); }

/// Enters every page at once; false when this kernel cannot, or when memory ran out.
bool populate(const Mapping& mapping, bool writable) noexcept {
#ifdef MADV_POPULATE_WRITE
  return madvise(mapping.data(), mapping.bytes(), writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0;
#else
  static_cast<void>(mapping), static_cast<void>(writable);
  return false;
#endif
}

}  // namespace

struct Mapping::Impl {
  explicit Impl(bip::mapped_region mapped) noexcept : region{std::move(mapped)} {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    // A forked child does not have the mapping (MADV_DONTFORK); what is at its address there belongs
    // to somebody else, and unmapping it would take that away.
    if (made_in == fork_epoch()) region.~mapped_region();
  }
  union {
    bip::mapped_region region;
  };
  std::uint64_t made_in = (watch_forks(), fork_epoch());
};

Mapping::Mapping() noexcept = default;
Mapping::Mapping(Mapping&& other) noexcept
    : impl_{std::move(other.impl_)}, data_{std::exchange(other.data_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {}
Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this == &other) return *this;
  impl_ = std::move(other.impl_);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}
Mapping::~Mapping() = default;

Result<Mapping> create_mapping(std::string_view name, std::uint64_t bytes, std::uint32_t mode,
                               std::optional<std::uint32_t> group, bool huge_pages) noexcept {
  return guarded([&]() -> Result<Mapping> {
    bip::permissions permissions;
    permissions.set_permissions(mode);
    bip::shared_memory_object object(bip::create_only, object_name(name).c_str(), bip::read_write, permissions);
    const int fd = object.get_mapping_handle().handle;
    const auto give_up = [&](Errc code, int os_errno) {
      bip::shared_memory_object::remove(object_name(name).c_str());
      return Error{code, os_errno, bytes};
    };
    // The umask may have narrowed the mode; a group may have to be set.
    if (fchmod(fd, mode) != 0) return give_up(Errc::permission, errno);
    if (group && fchown(fd, static_cast<uid_t>(-1), *group) != 0) return give_up(Errc::permission, errno);
    if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) return give_up(Errc::no_space, errno);
    Mapping mapping;
    mapping.impl_ = std::make_unique<Mapping::Impl>(bip::mapped_region(object, bip::read_write));
    mapping.data_ = static_cast<std::byte*>(mapping.impl_->region.get_address());
    mapping.bytes_ = mapping.impl_->region.get_size();
    madvise(mapping.data_, mapping.bytes_, MADV_DONTFORK);
    if (huge_pages) {
      // tmpfs gives huge pages where a mapping that wants them faults, and small ones to fallocate.
      madvise(mapping.data_, mapping.bytes_, MADV_HUGEPAGE);
      populate(mapping, true);
    }
    // Reserve every byte: a hole would be SIGBUS in the middle of somebody's store.
    if (const int failed = posix_fallocate(fd, 0, static_cast<off_t>(bytes)); failed != 0) {
      return give_up(Errc::no_space, failed);
    }
    return mapping;
  });
}

Result<Mapping> open_mapping(std::string_view name, bool writable) noexcept {
  return guarded([&]() -> Result<Mapping> {
    const auto mode = writable ? bip::read_write : bip::read_only;
    bip::shared_memory_object object(bip::open_only, object_name(name).c_str(), mode);
    bip::offset_t bytes = 0;
    if (!object.get_size(bytes) || bytes < static_cast<bip::offset_t>(kHeaderBytes)) return Errc::corrupt;
    Mapping mapping;
    mapping.impl_ = std::make_unique<Mapping::Impl>(bip::mapped_region(object, mode));
    mapping.data_ = static_cast<std::byte*>(mapping.impl_->region.get_address());
    mapping.bytes_ = mapping.impl_->region.get_size();
    madvise(mapping.data_, mapping.bytes_, MADV_DONTFORK);
    return mapping;
  });
}

Result<Mapping> open_part(std::string_view name, std::uint64_t offset, std::uint64_t bytes) noexcept {
  return guarded([&]() -> Result<Mapping> {
    bip::shared_memory_object object(bip::open_only, object_name(name).c_str(), bip::read_write);
    Mapping mapping;
    mapping.impl_ = std::make_unique<Mapping::Impl>(
        bip::mapped_region(object, bip::read_write, static_cast<bip::offset_t>(offset), bytes));
    mapping.data_ = static_cast<std::byte*>(mapping.impl_->region.get_address());
    mapping.bytes_ = mapping.impl_->region.get_size();
    madvise(mapping.data_, mapping.bytes_, MADV_DONTFORK);
    return mapping;
  });
}

bool unlink_mapping(std::string_view name) noexcept {
  try {
    return bip::shared_memory_object::remove(object_name(name).c_str());
  } catch (const std::exception&) {
    return false;
  }
}

std::vector<std::string> list_mappings() {
  std::vector<std::string> names;
  DIR* dir = opendir("/dev/shm");
  if (dir == nullptr) return names;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view file{entry->d_name};
    struct stat info {};
    const std::string path = std::string{"/dev/shm/"}.append(file);
    if (!file.starts_with(kPrefix) || stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (is_segment_name(file.substr(kPrefix.size()))) names.emplace_back(file.substr(kPrefix.size()));
  }
  closedir(dir);
  return names;
}

void prefault(const Mapping& mapping, bool writable) noexcept {
  if (populate(mapping, writable)) return;
  for (std::uint64_t at = 0; at < mapping.bytes(); at += kHeaderBytes) touch(mapping.data() + at);
}

Result<void> lock_memory(const Mapping& mapping) noexcept {
  if (mlock(mapping.data(), mapping.bytes()) == 0) return {};
  return Error{Errc::permission, errno, mapping.bytes()};
}

namespace {

/// First line of a small file, or nothing.
std::string line_of(const char* path) {
  std::ifstream file{path};
  std::string line;
  std::getline(file, line);
  return line;
}

/// What decides about huge pages in /dev/shm: the mount's `huge=` option, unless shmem_enabled says
/// deny or force.
std::string huge_page_policy() {
  std::string mounted = "never";
  std::ifstream mounts{"/proc/self/mounts"};
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields{line};
    std::string device, where, type, options;
    if (!(fields >> device >> where >> type >> options) || where != "/dev/shm") continue;
    const std::size_t at = options.find("huge=");
    mounted = at == std::string::npos ? "never" : options.substr(at + 5, options.find(',', at) - at - 5);
  }
  std::string system = line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  const std::size_t open = system.find('[');
  system = open == std::string::npos ? "unknown" : system.substr(open + 1, system.find(']') - open - 1);
  return "/dev/shm is mounted huge=" + mounted + ", shmem_enabled is " + system;
}

}  // namespace

Backing backing_of(const Mapping& mapping) {
  constexpr std::uint64_t kHugeBytes = std::uint64_t{2} << 20;
  // A huge page is entered as a whole by the first touch of it.
  for (std::uint64_t at = 0; at < mapping.bytes(); at += kHugeBytes) touch(mapping.data() + at);
  Backing backing;
  backing.policy = huge_page_policy();
  const auto first = reinterpret_cast<std::uintptr_t>(mapping.data());
  std::ifstream maps{"/proc/self/smaps"};
  bool inside = false;
  std::uint64_t area_bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      area_bytes = end - begin;
      inside = begin >= first && end <= first + base::align_up(mapping.bytes(), kHeaderBytes);
      continue;
    }
    if (inside && line.starts_with("VmFlags:") && line.find(" lo") != std::string::npos) backing.locked_bytes += area_bytes;
    unsigned long kib = 0;
    char name[64];
    if (!inside || std::sscanf(line.c_str(), "%63[A-Za-z_]: %lu kB", name, &kib) != 2) continue;
    const std::string_view field{name};
    if (field == "Rss") backing.resident_bytes += std::uint64_t{kib} * 1024;
    if (field == "ShmemPmdMapped") backing.huge_bytes += std::uint64_t{kib} * 1024;
  }
  return backing;
}

}  // namespace cachee::os
