// A directory of the test's own, removed with everything in it.
//
// kMemory asks for a file system in memory: a kill leaves the page cache alone, so where no disk is
// the matter one would only slow the test down.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace cachee::test {

class TempDirectory {
 public:
  enum Kind { kDisk, kMemory };
  explicit TempDirectory(Kind kind = kDisk) {
    const std::filesystem::path memory{"/dev/shm"};
    const bool in_memory = kind == kMemory && std::filesystem::is_directory(memory);
    const auto base = in_memory ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (base / "cachee-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

}  // namespace cachee::test
