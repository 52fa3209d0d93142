#include "language.hpp"

#include <algorithm>
#include <set>

namespace cachee::cli {
namespace {

/// Containers have HELP, which the page leaves out.
std::vector<std::string> names_with_help() {
  std::set<std::string> names;
  for (const std::string_view page_name : page_names()) {
    const std::string name{page_name};
    names.insert(name);
    for (std::size_t blank = name.find(' '); blank != std::string::npos; blank = name.find(' ', blank + 1)) {
      names.insert(name.substr(0, blank) + " HELP");
    }
  }
  return {names.begin(), names.end()};
}

std::string prefix_of(std::span<const std::string> words) {
  std::string prefix;
  for (const auto& word : words) prefix += upper(word) + " ";
  return prefix;
}

}  // namespace

const std::vector<std::string>& language_names() {
  static const std::vector<std::string> names = names_with_help();
  return names;
}

const std::vector<std::string>& language_first_words() {
  static const std::vector<std::string> words = next_words({});
  return words;
}

bool begins_command(std::span<const std::string> words) {
  const std::string prefix = prefix_of(words);
  return std::any_of(language_names().begin(), language_names().end(),
                     [&](const std::string& name) { return (name + " ").starts_with(prefix); });
}

std::vector<std::string> next_words(std::span<const std::string> words) {
  const std::string prefix = prefix_of(words);
  std::vector<std::string> found;
  for (const auto& name : language_names()) {
    if (!name.starts_with(prefix)) continue;
    const std::size_t start = prefix.size();
    std::string word = name.substr(start, std::min(name.find(' ', start), name.size()) - start);
    if (found.empty() || found.back() != word) found.push_back(std::move(word));
  }
  return found;
}

std::string upper(std::string_view text) {
  std::string result{text};
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

}  // namespace cachee::cli
