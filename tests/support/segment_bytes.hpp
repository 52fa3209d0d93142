// The bytes of a segment as the library's own typed view, for tests that damage them.
#pragma once

#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "segment/segment.hpp"

namespace cachee::test {

class SegmentBytes {
 public:
  explicit SegmentBytes(const std::string& name) {
    const int fd = open(("/dev/shm/cachee." + name).c_str(), O_RDWR | O_CLOEXEC);
    bytes_ = static_cast<std::size_t>(lseek(fd, 0, SEEK_END));
    at_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at_ == MAP_FAILED) throw std::runtime_error("cannot map " + name);
    const auto view = shm::attach_segment(static_cast<std::byte*>(at_), bytes_, true);
    if (!view) throw std::runtime_error("cannot attach " + name);
    view_ = *view;
  }
  SegmentBytes(const SegmentBytes&) = delete;
  SegmentBytes& operator=(const SegmentBytes&) = delete;
  ~SegmentBytes() { munmap(at_, bytes_); }

  const shm::View& view() const noexcept { return view_; }

 private:
  void* at_ = nullptr;
  std::size_t bytes_ = 0;
  shm::View view_;
};

}  // namespace cachee::test
