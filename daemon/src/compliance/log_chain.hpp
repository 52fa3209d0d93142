// The files of a channel of cachee.log, and a chain of hashes through the lines of a log: none of them can be changed, taken out, put in or moved
// without a trace.
//
// Use:   LogChain chain{head};                    // of the line before; LogChain{} at the beginning
//        file << chain.append(line);              // the line with its hash as last field, "_chain"
//        remember(chain.head());
//
//        LogCheck check;                          // over all files, oldest first
//        while (next(line)) if (const auto why = check.take(line)) report(*why);
//
// The hash of a line is SHA-256 of the line before's hash, as text, and of the line without its own.
// The first line follows 64 zeros. Who can write the files can also make a whole new chain; the head
// that cacheed keeps in its store then differs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachee::daemon {

inline constexpr std::size_t kChainHexBytes = 64;

/// Oldest first: `<path>.<number>` that were rotated away, by their numbers, then `path` if it is there.
[[nodiscard]] std::vector<std::string> log_files_of(const std::string& path);

class LogChain {
 public:
  LogChain();
  explicit LogChain(std::string head) : head_{std::move(head)} {}
  /// `line` is a JSON object with at least one field, and a line feed.
  [[nodiscard]] std::string append(std::string_view line);
  [[nodiscard]] const std::string& head() const noexcept { return head_; }

 private:
  std::string head_;  // kChainHexBytes hexadecimal digits
};

/// Goes through the lines of a channel in order.
class LogCheck {
 public:
  /// `line` without its line feed. What is wrong with it, if anything; the check goes on from its hash.
  std::optional<std::string> take(std::string_view line);
  /// Lines that were taken, and those of them before the first that had a hash.
  [[nodiscard]] std::uint64_t lines() const noexcept { return lines_; }
  [[nodiscard]] std::uint64_t without_hash() const noexcept { return without_hash_; }
  /// The chain begins at its own beginning; else older files are missing, and the first line is taken on trust.
  [[nodiscard]] bool whole() const noexcept { return whole_; }
  /// Hash of the last line; empty before the first that has one.
  [[nodiscard]] const std::string& head() const noexcept { return head_; }

 private:
  std::uint64_t lines_ = 0;
  std::uint64_t without_hash_ = 0;
  bool whole_ = true;
  std::string head_{};
};

}  // namespace cachee::daemon
