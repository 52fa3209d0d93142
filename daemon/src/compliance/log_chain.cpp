#include "compliance/log_chain.hpp"

#include <algorithm>
#include <filesystem>

#include "core/sha256.hpp"

namespace cachee::daemon {
namespace {

constexpr std::string_view kField = ",\"_chain\":\"";
constexpr std::string_view kEnd = "\"}";
constexpr std::size_t kSuffixBytes = kField.size() + kChainHexBytes + kEnd.size();

std::string hash_behind(std::string_view head, std::string_view line) {
  Sha256 hash;
  hash.update(head);
  hash.update(line);
  return to_hex(hash.finish());
}

}  // namespace

std::vector<std::string> log_files_of(const std::string& path) {
  std::vector<std::string> files;
  const std::filesystem::path at{path};
  const std::string stem = at.filename().string() + '.';
  std::error_code error;
  for (std::filesystem::directory_iterator entry{at.parent_path(), error}, end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(stem) || name.size() == stem.size()) continue;
    const std::string_view number = std::string_view{name}.substr(stem.size());
    if (std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; })) files.push_back(entry->path().string());
  }
  // Numbers beyond six digits are longer.
  std::sort(files.begin(), files.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  if (std::filesystem::exists(at, error)) files.push_back(path);
  return files;
}

LogChain::LogChain() : head_(kChainHexBytes, '0') {}

std::string LogChain::append(std::string_view line) {
  line.remove_suffix(1);  // the line feed
  head_ = hash_behind(head_, line);
  std::string chained{line.substr(0, line.size() - 1)};
  return chained.append(kField).append(head_).append(kEnd).append("\n");
}

std::optional<std::string> LogCheck::take(std::string_view line) {
  ++lines_;
  const std::size_t cut = line.size() < kSuffixBytes ? std::string_view::npos : line.size() - kSuffixBytes;
  const bool has_hash = cut != std::string_view::npos && line.substr(cut).starts_with(kField) && line.ends_with(kEnd);
  if (!has_hash) {
    if (!head_.empty()) return "has no hash";
    ++without_hash_;
    return std::nullopt;
  }
  const std::string given{line.substr(cut + kField.size(), kChainHexBytes)};
  const std::string body = std::string{line.substr(0, cut)} + '}';
  const bool first = head_.empty();
  const bool fits = given == hash_behind(first ? LogChain{}.head() : head_, body);
  head_ = given;
  if (fits) return std::nullopt;
  if (!first) return "was changed, or does not follow the line before it";
  whole_ = false;
  return std::nullopt;
}

}  // namespace cachee::daemon
