// Commands from a file, a pipe, or the command line.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <control/command_text.hpp>  // shared with the daemon; depends on std only

#include "prompt.hpp"
#include "reply_text.hpp"
#include "terminal.hpp"

namespace cachee::cli {
namespace {

constexpr std::size_t kReadBytes = 65536;

class CommandSession {
 public:
  CommandSession(Output& out, Source& source) : out_{out}, supervisor_{source.supervisor()} {
    // A command may be told to wait (WAIT, DEBUG SLEEP); the file decides for how long.
    supervisor_.set_reply_timeout(std::chrono::milliseconds{0});
  }

  /// Runs what is whole. False: the file said QUIT.
  bool drain(daemon::CommandReader& reader) {
    using Kind = daemon::CommandReader::Kind;
    for (;;) {
      const auto step = reader.next();
      if (step.kind == Kind::need_more || step.kind == Kind::end) break;
      if (step.kind == Kind::error) {
        report(step.line, "ERR " + step.text);
      } else if (!run(step.line, step.words)) {
        return false;
      }
    }
    out_.flush();
    return true;
  }

  [[nodiscard]] bool failed() const noexcept { return failed_; }

  /// Runs one command; line 0: it is not from a file. False: the connection ends with it.
  bool run(std::size_t line, const std::vector<std::string>& words) {
    Reply reply;
    try {
      reply = supervisor_.call(words);
    } catch (Failure& failure) {
      if (is_last_command(words)) return false;  // SHUTDOWN closes instead of answering
      out_.flush();
      failure.text = place(line) + failure.text;
      throw;
    }
    if (reply.kind == Reply::Kind::error) {
      report(line, reply.text);
    } else if (out_.json()) {
      out_.print_line(to_value(reply), "");
    } else {
      out_.write(to_raw_text(reply));
    }
    return !is_last_command(words);
  }

 private:
  static std::string place(std::size_t line) {
    return line == 0 ? std::string{} : fmt::format("line {}: ", line);
  }

  void report(std::size_t line, std::string_view text) {
    failed_ = true;
    // With --json each command has its line, so that answers can be told apart by counting.
    if (out_.json()) {
      Value error = Value::object().add("error", text);
      if (line != 0) error.add("line", line);
      out_.print_line(error, "");
    }
    out_.flush();
    say("{}(error) {}", place(line), text);
  }

  Output& out_;
  Supervisor& supervisor_;
  bool failed_ = false;
};

}  // namespace

Exit run_command(const std::vector<std::string>& words, Output& out, Source& source) {
  CommandSession session{out, source};
  static_cast<void>(session.run(0, words));
  return session.failed() ? Exit::no : Exit::yes;
}

Exit run_commands(int fd, Output& out, Source& source) {
  CommandSession session{out, source};
  daemon::CommandReader reader;
  std::array<char, kReadBytes> buffer{};
  for (bool open = true; open;) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw Failure{Exit::no, fmt::format("cannot read commands: {}", std::strerror(errno))};
    }
    open = count > 0;
    if (open) {
      reader.feed({buffer.data(), static_cast<std::size_t>(count)});
    } else {
      reader.finish();
    }
    if (!session.drain(reader) || out.failed()) break;
  }
  return session.failed() ? Exit::no : Exit::yes;
}

}  // namespace cachee::cli
