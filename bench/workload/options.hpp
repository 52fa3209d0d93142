// Options of the benchmarks' command lines.
#pragma once

#include <string>
#include <string_view>

#include "workload/keeper.hpp"

namespace cachee::bench {

/// Calls take(option, value) for each "--option value" or "--option=value", and for `flag`, if given,
/// and "--help" with no value. `take` returns false for an option that it does not know.
template <class Take>
void read_options(int argc, char** argv, std::string_view flag, Take&& take) {
  for (int at = 1; at < argc; ++at) {
    std::string option = argv[at];
    std::string value;
    if (option != flag && option != "--help") {
      if (const auto equals = option.find('='); equals != std::string::npos) {
        value = option.substr(equals + 1);
        option.resize(equals);
      } else if (at + 1 < argc) {
        value = argv[++at];
      }
      if (value.empty()) die(option + " needs a value");
    }
    if (!take(std::string_view{option}, value)) die("unknown option " + option);
  }
}

/// Whether a part is named in a list like "random,idle".
[[nodiscard]] inline bool names(const std::string& list, std::string_view part) {
  return ("," + list + ",").find("," + std::string{part} + ",") != std::string::npos;
}

}  // namespace cachee::bench
