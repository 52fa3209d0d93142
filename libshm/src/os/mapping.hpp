// Named shared memory: create, map, unlink. What Boost.Interprocess throws ends here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/result.hpp>

namespace cachee::os {

/// A mapped segment; unmapped when the last owner goes.
class Mapping {
 public:
  Mapping() noexcept;
  Mapping(Mapping&&) noexcept;
  Mapping& operator=(Mapping&&) noexcept;
  ~Mapping();
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  friend Result<Mapping> create_mapping(std::string_view, std::uint64_t, std::uint32_t, std::optional<std::uint32_t>, bool) noexcept;
  friend Result<Mapping> open_mapping(std::string_view, bool) noexcept;
  friend Result<Mapping> open_part(std::string_view, std::uint64_t, std::uint64_t) noexcept;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Creates `cachee.<name>` with every byte reserved now, so that no store can fail later.
/// @error exists, no_space (detail = bytes asked for), permission
/// `huge_pages` asks for them before the first byte is reserved: memory that is there stays as it is.
[[nodiscard]] Result<Mapping> create_mapping(std::string_view name, std::uint64_t bytes, std::uint32_t mode,
                                             std::optional<std::uint32_t> group, bool huge_pages) noexcept;
/// Maps the whole segment. @error no_segment, permission, corrupt (smaller than a header)
[[nodiscard]] Result<Mapping> open_mapping(std::string_view name, bool writable) noexcept;
/// Maps a part of it writable. `offset` is a multiple of the page size.
[[nodiscard]] Result<Mapping> open_part(std::string_view name, std::uint64_t offset, std::uint64_t bytes) noexcept;

bool unlink_mapping(std::string_view name) noexcept;
[[nodiscard]] std::vector<std::string> list_mappings();

/// Enters every page into this process's page table, so that no access faults later.
void prefault(const Mapping& mapping, bool writable) noexcept;
/// Keeps every page in memory. @error permission  RLIMIT_MEMLOCK or the kernel refuses (os_errno)
Result<void> lock_memory(const Mapping& mapping) noexcept;

/// How this process's mapping is backed now.
struct Backing {
  std::uint64_t resident_bytes = 0;
  std::uint64_t huge_bytes = 0;
  std::uint64_t locked_bytes = 0;
  std::string policy{};  // what the machine says about huge pages in /dev/shm
};
[[nodiscard]] Backing backing_of(const Mapping& mapping);

}  // namespace cachee::os
