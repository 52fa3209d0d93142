// What the benchmarks that keep figures by name print and write.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace cachee::bench {

/// CPU time of the calling thread.
[[nodiscard]] inline double cpu_now_s() noexcept {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Figures in the order in which they were found.
class Report {
 public:
  void add(const std::string& part, const std::string& name, double value) {
    std::printf("%-10s %-28s %.3f\n", part.c_str(), name.c_str(), value);
    std::fflush(stdout);
    figures_.emplace_back(part + "." + name, value);
  }
  [[nodiscard]] std::string json() const {
    std::string text = "{";
    for (const auto& [name, value] : figures_) {
      char number[64];
      std::snprintf(number, sizeof number, "%.4f", value);
      text += (text.size() > 1 ? ",\n \"" : "\n \"") + name + "\": " + number;
    }
    return text + "\n}\n";
  }

 private:
  std::vector<std::pair<std::string, double>> figures_{};
};

/// The smallest figure that is not below this share of them.
template <class T>
[[nodiscard]] double at_share(const std::vector<T>& sorted, double share) {
  if (sorted.empty()) return 0;
  return static_cast<double>(sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))]);
}

}  // namespace cachee::bench
