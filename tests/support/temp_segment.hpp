// A segment of a test's own: unique name, removed at the end.
#pragma once

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include <unistd.h>

#include <cachee/cachee.hpp>
#include <cachee/maintain.hpp>

namespace cachee::test {

inline std::string unique_name(std::string_view stem) {
  static std::atomic<int> counter{0};
  return std::string{stem} + "-" + std::to_string(getpid()) + "-" + std::to_string(++counter);
}

class TempSegment {
 public:
  explicit TempSegment(SegmentOptions options = {}) {
    options.name = unique_name("test");
    if (options.memory_bytes == kSegmentBytesDefault) options.memory_bytes = 8 << 20;
    name_ = options.name;
    auto made = Maintainer::create(options);
    if (!made) throw std::runtime_error("create: " + to_string(made.error()));
    keeper_.emplace(std::move(*made));
  }
  TempSegment(const TempSegment&) = delete;
  TempSegment& operator=(const TempSegment&) = delete;
  ~TempSegment() {
    keeper_.reset();
    static_cast<void>(remove_segment(name_));
  }
  const std::string& name() const { return name_; }
  Maintainer& keeper() { return *keeper_; }
  Cache client(std::string_view client_name = "test") const {
    OpenOptions options;
    options.name = name_;
    options.client_name = std::string{client_name};
    auto opened = Cache::open(options);
    if (!opened) throw std::runtime_error("open: " + to_string(opened.error()));
    return std::move(*opened);
  }

 private:
  std::string name_;
  std::optional<Maintainer> keeper_;
};

/// All findings as one text; empty when the segment is sound.
inline std::string findings(const Cache& cache) {
  const auto report = fsck(cache);
  if (!report) return to_string(report.error());
  std::string text;
  for (const auto& f : report->findings) {
    text += f.invariant + " " + f.text + " at " + std::to_string(f.offset) + "\n";
    if (text.size() > 2000) break;
  }
  return text;
}

}  // namespace cachee::test
