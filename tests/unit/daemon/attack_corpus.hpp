// The corpus of attacks/: scripts that try to get past their limits. Each file says in its head, behind "-- ends:", how
// it must end.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace cachee::daemon::attacks {

struct Attack {
  std::string name{};
  std::string source{};
  std::vector<std::string> ends{};  // any of: ok error steps memory time

  [[nodiscard]] bool may_end(std::string_view end) const {
    return std::find(ends.begin(), ends.end(), end) != ends.end() || (end == "time" && hits_a_limit());
  }
  /// Then a busy machine may bring the time limit first; what ends by itself must be given time enough.
  [[nodiscard]] bool hits_a_limit() const {
    return std::none_of(ends.begin(), ends.end(), [](const std::string& end) { return end == "ok" || end == "error"; });
  }
  friend void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }
};
inline constexpr std::uint32_t kPlentyOfTimeMs = 2000;

/// In the order of their names.
[[nodiscard]] inline std::vector<Attack> read_attacks(const std::filesystem::path& folder) {
  std::vector<Attack> attacks;
  for (const auto& entry : std::filesystem::directory_iterator{folder}) {
    if (!entry.is_regular_file()) continue;
    Attack attack;
    attack.name = entry.path().stem();
    std::stringstream text;
    text << std::ifstream{entry.path()}.rdbuf();
    attack.source = text.str();
    std::string line;
    while (std::getline(text, line)) {
      constexpr std::string_view kEnds = "-- ends:";
      if (!line.starts_with(kEnds)) continue;
      std::stringstream words{line.substr(kEnds.size())};
      for (std::string word; words >> word;) attack.ends.push_back(word);
    }
    attacks.push_back(std::move(attack));
  }
  std::sort(attacks.begin(), attacks.end(), [](const Attack& a, const Attack& b) { return a.name < b.name; });
  return attacks;
}

}  // namespace cachee::daemon::attacks
