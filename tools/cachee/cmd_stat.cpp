// stat top: how a segment is doing, once or live.
#include <langinfo.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "command.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "top_frame.hpp"

namespace cachee::cli {
namespace {

constexpr std::chrono::milliseconds kStatInterval{200};
constexpr std::chrono::milliseconds kTopIntervalMin{50};
constexpr std::size_t kHistoryMax = 512;

constexpr std::string_view kEnterScreen = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeaveScreen = "\x1b[?25h\x1b[?1049l";

bool terminal_is_utf8() { return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0; }

struct Measured {
  Sample sample{};
  Rates rates{};
};

Measured measure(const Cache& cache, std::chrono::nanoseconds interval) {
  const Sample before = take_sample(cache);
  std::this_thread::sleep_for(interval);
  Measured measured;
  measured.sample = take_sample(cache);
  measured.rates = rates_between(before, measured.sample);
  return measured;
}

Command stat_command() {
  return {.words = "stat",
          .group = kSegmentGroup,
          .summary = "Show memory, hit ratio, operations per second, ring, triggers",
          .example = "cachee stat\ncachee -n orders stat --json | jq .memory.used_percent",
          .declare = [](CLI::App& app) -> Run {
            auto interval = std::make_shared<std::string>();
            declare_word(app, "--interval", *interval,
                         "Measure operations per second over this time (default: 200ms)");
            return [interval](Context& context) {
              const auto time = interval->empty() ? std::chrono::nanoseconds{kStatInterval}
                                                  : duration_of("--interval", *interval);
              const auto measured = measure(context.source.segment(Access::read_only), time);
              context.out.print(stat_value(measured.sample, measured.rates));
              return Exit::yes;
            };
          }};
}

/// The alternate screen of the terminal, left again whatever happens.
class Screen {
 public:
  explicit Screen(Output& out) : out_{out} { put(kEnterScreen); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() { put(kLeaveScreen); }

  void draw(const std::vector<std::string>& lines) {
    std::string text = "\x1b[H";
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > 0) text += "\r\n";
      text += lines[i] + "\x1b[K";
    }
    put(text + "\x1b[J");
  }

 private:
  void put(std::string_view text) {
    out_.write(text);
    out_.flush();
  }
  Output& out_;
};

Exit run_top(Context& context, const Cache& cache, std::chrono::nanoseconds interval) {
  const StopSignal stop;
  const KeyMode keys{STDIN_FILENO};
  Screen screen{context.out};
  std::deque<Rates> history;
  Sample before = take_sample(cache);
  while (!StopSignal::requested()) {
    const TerminalSize size = terminal_size(STDOUT_FILENO);
    screen.draw(render_frame(before, history,
                             {.columns = size.columns,
                              .rows = size.rows,
                              .colour = context.out.colour(),
                              .utf8 = terminal_is_utf8()}));
    const auto key = keys.wait_key(std::chrono::duration_cast<std::chrono::milliseconds>(interval));
    if (key && (*key == 'q' || *key == 'Q' || *key == '\0')) break;
    Sample after = take_sample(cache);
    history.push_back(rates_between(before, after));
    if (history.size() > kHistoryMax) history.pop_front();
    before = std::move(after);
  }
  return Exit::yes;
}

Command top_command() {
  return {.words = "top",
          .group = kSegmentGroup,
          .summary = "Watch all that live; q quits; without a terminal, one frame",
          .example = "cachee top\ncachee -n orders top --interval 250ms",
          .declare = [](CLI::App& app) -> Run {
            auto interval = std::make_shared<std::string>("1s");
            declare_word(app, "--interval", *interval, "Time between two frames (default: 1s)");
            return [interval](Context& context) {
              const auto time = std::max(duration_of("--interval", *interval),
                                         std::chrono::nanoseconds{kTopIntervalMin});
              const Cache& cache = context.source.segment(Access::read_only);
              if (!context.out.json() && context.out.terminal() && is_terminal(STDIN_FILENO)) {
                return run_top(context, cache, time);
              }
              const auto measured =
                  measure(cache, std::min<std::chrono::nanoseconds>(time, kStatInterval));
              if (context.out.json()) {
                context.out.print(stat_value(measured.sample, measured.rates));
                return Exit::yes;
              }
              const FrameOptions frame{.columns = 100,
                                       .rows = std::size_t{64} + measured.sample.clients.size(),
                                       .colour = false,
                                       .utf8 = terminal_is_utf8()};
              for (auto& line : render_frame(measured.sample, {measured.rates}, frame)) {
                line.erase(line.find_last_not_of(' ') + 1);
                context.out.write(line + "\n");
              }
              return Exit::yes;
            };
          }};
}

}  // namespace

std::vector<Command> stat_commands() { return {stat_command(), top_command()}; }

}  // namespace cachee::cli
