// The command language as text: command files, pipes and the prompt. Pure; depends on std only, so
// that the daemon and the `cachee` command share one reading of it.
//
// Use:   CommandReader reader;
//        reader.feed(bytes);                        // any pieces, at the end: reader.finish()
//        for (;;) {
//          auto step = reader.next();
//          if (step.kind == CommandReader::Kind::command) run(step.words);
//          else if (step.kind == CommandReader::Kind::error) report(step.line, step.text);
//          else break;                              // need_more or end
//        }
//
// Grammar, one command a line:
//   - Words are separated by blanks. "double quotes" know \n \r \t \b \a \\ \" and \xHH;
//     'single quotes' know \' only. A closing quote is followed by a blank or the end of the line.
//   - A line whose first character after blanks is '#' is a comment. Empty lines are skipped.
//   - A last word <<WORD (not quoted; WORD is [A-Za-z_][A-Za-z0-9_]*) stands for the lines that
//     follow, up to a line that is exactly WORD. Each line keeps its line feed.
//
// Limits: a command (heredoc included) is at most kCommandTextBytesMax; more is an error and the
// rest of that line or heredoc is skipped.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachee::daemon {

inline constexpr std::size_t kCommandTextBytesMax = std::size_t{256} << 20;

struct SplitResult {
  std::vector<std::string> words{};
  std::string error{};    // empty: the line is good
  std::string heredoc{};  // WORD when the last word was <<WORD; it is not among `words` then
};

/// Splits one line (without its line feed) into words.
[[nodiscard]] SplitResult split_command_line(std::string_view line);

/// A word as it must be written so that split_command_line reads the same bytes again; quoted only
/// when it has to be.
[[nodiscard]] std::string quote_word(std::string_view word);

/// A text argument at the end of a command: "<<WORD\n...WORD" when that reads back the same, else
/// a quoted word. WORD is `word`, lengthened until no line of the text equals it.
[[nodiscard]] std::string heredoc_or_quoted(std::string_view text, std::string_view word = "LUA");

class CommandReader {
 public:
  enum class Kind {
    command,    // `words` is one command; `line` is where it began
    error,      // `text` says what is wrong with the command at `line`; reading can go on
    need_more,  // nothing whole is left; feed() or finish()
    end,        // after finish(): everything was read
  };
  struct Step {
    Kind kind = Kind::need_more;
    std::size_t line = 0;  // from 1
    std::vector<std::string> words{};
    std::string text{};
  };

  explicit CommandReader(std::size_t command_bytes_max = kCommandTextBytesMax)
      : command_bytes_max_{command_bytes_max} {}
  void feed(std::string_view bytes);
  /// No more input: an unfinished last line counts, an unfinished heredoc is an error.
  void finish();
  [[nodiscard]] Step next();
  /// The heredoc word that is waited for (for a prompt), or an empty string.
  [[nodiscard]] const std::string& waiting_for() const noexcept { return heredoc_; }

 private:
  std::optional<std::string_view> take_line();
  Step take_heredoc();
  void give_up_heredoc();

  std::size_t command_bytes_max_;
  std::string buffer_{};
  std::size_t position_ = 0;   // start of the first unread line
  std::size_t searched_ = 0;   // no line feed between position_ and here
  std::size_t line_ = 0;       // lines taken
  bool finished_ = false;
  bool skipping_line_ = false;  // the rest of a line that was too long
  bool too_long_ = false;       // take_line() met such a line
  std::vector<std::string> words_{};
  std::string heredoc_{};
  std::string body_{};
  std::size_t command_line_ = 0;
  bool heredoc_too_long_ = false;
};

}  // namespace cachee::daemon
