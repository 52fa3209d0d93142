#include "prompt.hpp"

#include <histedit.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <control/command_text.hpp>  // shared with the daemon; depends on std only

#include "language.hpp"
#include "reply_text.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

constexpr int kHistoryLines = 1000;

// What the prompt itself understands.
constexpr std::array<std::string_view, 2> kPromptWords{"exit", "help"};

constexpr const char* kHelp =
    "Commands of Redis and Cachee's own, one a line; Tab completes their names.\n"
    "  SET session:42 '{\"user\":42}' PX 1800000\n"
    "  GET session:42\n"
    "  TRIGGER REGISTER session:* ON_EXPIRE <<LUA\n"
    "    cachee.log(\"sessions\", {key = event.key})\n"
    "  LUA\n"
    "Words: \"double quotes\" know \\n \\xHH, 'single quotes' take everything as it is, # begins "
    "a\n"
    "comment line. `COMMAND DOCS` lists the commands, `exit` or Ctrl-D leaves.\n";

std::vector<std::string_view> split_blanks(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t start = text.find_first_not_of(" \t");
    if (start == std::string_view::npos) return words;
    text.remove_prefix(start);
    const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::string common_prefix(const std::vector<std::string>& words) {
  std::string prefix = words.front();
  for (const auto& word : words) {
    const auto [end, other] = std::mismatch(prefix.begin(), prefix.end(), word.begin(), word.end());
    prefix.erase(end, prefix.end());
  }
  return prefix;
}

std::string history_path() {
  const char* const home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? std::string{} : std::string{home} + "/.cachee_history";
}

/// libedit behind a type: a line at a time, with history and completion.
class LineEditor {
 public:
  explicit LineEditor(std::string history_file)
      : history_file_{std::move(history_file)},
        history_{history_init()},
        editor_{el_init("cachee", stdin, stdout, stderr)} {
    HistEvent event{};
    history(history_.get(), &event, H_SETSIZE, kHistoryLines);
    history(history_.get(), &event, H_SETUNIQUE, 1);
    if (!history_file_.empty()) history(history_.get(), &event, H_LOAD, history_file_.c_str());
    EditLine* const editor = editor_.get();
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &LineEditor::show_prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, history_.get());
    el_set(editor, EL_ADDFN, "cachee-complete", "Complete a command", &LineEditor::complete);
    el_set(editor, EL_BIND, "^I", "cachee-complete", nullptr);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(editor, nullptr);  // ~/.editrc, if the user has one
  }

  enum class Kind { line, interrupted, end };
  Kind read(const std::string& prompt, std::string& line) {
    prompt_ = prompt;
    const StopSignal stop;
    int count = 0;
    errno = 0;
    // Before the prompt is shown: el_gets() does it behind that, and a Ctrl-D typed in between is lost.
    el_set(editor_.get(), EL_PREP_TERM, 1);
    const char* const text = el_gets(editor_.get(), &count);
    if (text == nullptr || count <= 0) {
      return StopSignal::requested() || errno == EINTR ? Kind::interrupted : Kind::end;
    }
    line.assign(text, static_cast<std::size_t>(count));
    if (line.ends_with('\n')) line.pop_back();
    return Kind::line;
  }

  /// Kept in the file at once, so that a prompt that is killed has its history.
  void remember(const std::string& line) {
    if (split_blanks(line).empty()) return;
    HistEvent event{};
    history(history_.get(), &event, H_ENTER, line.c_str());
    if (!history_file_.empty()) history(history_.get(), &event, H_SAVE, history_file_.c_str());
  }

 private:
  struct EndHistory {
    void operator()(History* history) const noexcept { history_end(history); }
  };
  struct EndEditor {
    void operator()(EditLine* editor) const noexcept { el_end(editor); }
  };

  static LineEditor& self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<LineEditor*>(data);
  }

  static char* show_prompt(EditLine* editor) { return self(editor).prompt_.data(); }

  static unsigned char complete(EditLine* editor, int) {
    const LineInfo* const info = el_line(editor);
    const std::string_view line{info->buffer,
                                static_cast<std::size_t>(info->cursor - info->buffer)};
    const std::vector<std::string> candidates = complete_command(line);
    if (candidates.empty()) return CC_REFRESH_BEEP;
    const std::size_t start = line.find_last_of(" \t") + 1;  // 0 when there is no blank
    const std::size_t typed = line.size() - start;
    std::string text = common_prefix(candidates);
    if (candidates.size() == 1) text += ' ';
    if (text.size() > typed) {
      el_deletestr(editor, static_cast<int>(typed));  // what was typed may be in lower case
      return el_insertstr(editor, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
    }
    std::fputc('\n', stdout);
    for (const auto& candidate : candidates) std::fprintf(stdout, "%s  ", candidate.c_str());
    std::fputc('\n', stdout);
    return CC_REDISPLAY;
  }

  std::string history_file_;
  std::unique_ptr<History, EndHistory> history_;
  std::unique_ptr<EditLine, EndEditor> editor_;
  std::string prompt_{};
};

class PromptSession {
 public:
  PromptSession(Output& out, const Places& places) : out_{out}, places_{places} {}

  /// Connects when there is no connection. Says why when that fails.
  bool connect() {
    if (supervisor_) return true;
    try {
      supervisor_.emplace(Supervisor::connect(places_));
      supervisor_->set_reply_timeout(std::chrono::milliseconds{0});
    } catch (const Failure& failure) {
      say("{}", failure.text);
    }
    return supervisor_.has_value();
  }

  [[nodiscard]] std::string prompt() const {
    return places_.name + (supervisor_ ? "> " : " (not connected)> ");
  }

  void run(const std::vector<std::string>& words) {
    if (!connect()) return;
    try {
      print(words, supervisor_->call(words));
    } catch (const Failure& failure) {
      supervisor_.reset();
      if (!is_last_command(words)) say("{}", failure.text);
    }
    out_.flush();
  }

 private:
  void print(const std::vector<std::string>& words, const Reply& reply) {
    if (reply.kind == Reply::Kind::error) {
      const std::string text = fmt::format("(error) {}\n", reply.text);
      std::fwrite(text.data(), 1, text.size(), stderr);
    } else if (out_.json()) {
      out_.print(to_value(reply));
    } else {
      out_.write(answers_with_text(words) ? to_raw_text(reply) : to_typed_text(reply));
    }
  }

  Output& out_;
  const Places& places_;
  std::optional<Supervisor> supervisor_{};
};

}  // namespace

std::vector<std::string> complete_command(std::string_view line) {
  const std::vector<std::string_view> blanks = split_blanks(line);
  std::vector<std::string> words{blanks.begin(), blanks.end()};
  std::string typed;
  if (!line.empty() && line.back() != ' ' && line.back() != '\t') {
    typed = upper(words.back());
    words.pop_back();
  }
  std::vector<std::string> candidates = next_words(words);
  if (words.empty()) candidates.insert(candidates.end(), kPromptWords.begin(), kPromptWords.end());
  std::erase_if(candidates, [&](const std::string& word) { return !upper(word).starts_with(typed); });
  return candidates;
}

bool is_last_command(const std::vector<std::string>& words) {
  if (words.empty()) return false;
  const std::string name = upper(words[0]);
  return name == "QUIT" || name == "SHUTDOWN";
}

Exit run_prompt(Output& out, Source& source) {
  using Kind = daemon::CommandReader::Kind;
  PromptSession session{out, source.places()};
  if (session.connect()) {
    out.write("`help` shows how to write commands, `exit` leaves.\n");
    out.flush();
  }
  LineEditor editor{history_path()};
  daemon::CommandReader reader;
  std::string line;
  for (;;) {
    const bool heredoc = !reader.waiting_for().empty();
    const auto read = editor.read(heredoc ? "... " : session.prompt(), line);
    if (read == LineEditor::Kind::interrupted) {
      reader = daemon::CommandReader{};
      out.write("\n");
      out.flush();
      continue;
    }
    if (read == LineEditor::Kind::end) break;
    if (!heredoc) {
      const auto words = split_blanks(line);
      const std::string first = words.empty() ? std::string{} : upper(words[0]);
      if (first == "EXIT" || first == "QUIT") return Exit::yes;
      if (first == "HELP") {
        out.write(kHelp);
        out.flush();
        continue;
      }
      if (first != "AUTH") editor.remember(line);  // a password is nobody's history
    } else {
      editor.remember(line);
    }
    reader.feed(line + "\n");
    for (auto step = reader.next(); step.kind != Kind::need_more; step = reader.next()) {
      if (step.kind == Kind::error) {
        say("(error) ERR {}", step.text);
      } else {
        session.run(step.words);
      }
    }
  }
  out.write("\n");
  out.flush();
  if (!reader.waiting_for().empty()) {
    say("the text that <<{} began was not ended; nothing was sent", reader.waiting_for());
  }
  return Exit::yes;
}

}  // namespace cachee::cli
