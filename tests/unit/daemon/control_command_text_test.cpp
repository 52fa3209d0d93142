// Goal: what is written in a command file is what a command gets, byte for byte, and no input
// breaks the reader. Method: examples, every split of the input into two feeds, quoting round
// trips and mutated garbage.
#include <gtest/gtest.h>

#include <random>

#include "control/command_text.hpp"

namespace cachee::daemon {
namespace {

using Words = std::vector<std::string>;

struct Outcome {
  std::vector<Words> commands{};
  std::vector<std::string> errors{};
  std::vector<std::size_t> lines{};
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome drain(CommandReader& reader, Outcome outcome = {}) {
  for (;;) {
    auto step = reader.next();
    if (step.kind == CommandReader::Kind::command) {
      outcome.commands.push_back(std::move(step.words));
    } else if (step.kind == CommandReader::Kind::error) {
      outcome.errors.push_back(std::move(step.text));
    } else {
      return outcome;
    }
    outcome.lines.push_back(step.line);
  }
}

Outcome read_all(std::string_view text, std::size_t bytes_max = kCommandTextBytesMax) {
  CommandReader reader{bytes_max};
  reader.feed(text);
  reader.finish();
  return drain(reader);
}

TEST(CommandText, SplitsWordsAsRedisDoes) {
  EXPECT_EQ(split_command_line("SET k  v\t ").words, (Words{"SET", "k", "v"}));
  EXPECT_EQ(split_command_line(R"(set "a b" 'c "d"' e"f g")").words,
            (Words{"set", "a b", "c \"d\"", "ef g"}));
  EXPECT_EQ(split_command_line(R"("\x00\xfF\n\r\t\b\a\\\"\q" 'it\'s \n')").words,
            (Words{std::string{"\0\xff\n\r\t\b\a\\\"q", 10}, "it's \\n"}));
  EXPECT_EQ(split_command_line(R"("" '')").words, (Words{"", ""}));
  EXPECT_TRUE(split_command_line("   ").words.empty());
}

TEST(CommandText, UnbalancedQuotesAreAnErrorNotAGuess) {
  for (const char* line : {"\"abc", "'abc", "\"a\"b", "'a'b", "\"a\\", "x 'y\\'"}) {
    EXPECT_NE(split_command_line(line).error.find("unbalanced quotes"), std::string::npos) << line;
    EXPECT_TRUE(split_command_line(line).words.empty()) << line;
  }
}

TEST(CommandText, HeredocIsTheLastArgumentWithEveryLineFeed) {
  const auto outcome = read_all(
      "# rate limits\n\nTRIGGER REGISTER ratelimit:* ON_WRITE <<LUA\n"
      "if x then\n  cachee.log(\"c\", {a = '<<LUA'})\n LUA\nend\nLUA\nPING\n");
  ASSERT_TRUE(outcome.errors.empty());
  ASSERT_EQ(outcome.commands.size(), 2u);
  EXPECT_EQ(outcome.commands[0],
            (Words{"TRIGGER", "REGISTER", "ratelimit:*", "ON_WRITE",
                   "if x then\n  cachee.log(\"c\", {a = '<<LUA'})\n LUA\nend\n"}));
  EXPECT_EQ(outcome.commands[1], (Words{"PING"}));
  EXPECT_EQ(outcome.lines, (std::vector<std::size_t>{3, 9}));
}

TEST(CommandText, CarriageReturnsOfOtherSystemsDoNotHideTheTerminator) {
  const auto outcome = read_all("SET k <<END\r\nline\r\nEND\r\nPING\r\n");
  ASSERT_TRUE(outcome.errors.empty());
  EXPECT_EQ(outcome.commands, (std::vector<Words>{{"SET", "k", "line\r\n"}, {"PING"}}));
}

TEST(CommandText, OnlyAnUnquotedLastWordBeginsAHeredoc) {
  const auto outcome = read_all("SET <<a b\nSET k \"<<X\"\nSET k <<\nSET k <<1a\n<<X\nGET k <<X");
  EXPECT_EQ(outcome.commands, (std::vector<Words>{{"SET", "<<a", "b"},
                                                  {"SET", "k", "<<X"},
                                                  {"SET", "k", "<<"},
                                                  {"SET", "k", "<<1a"},
                                                  {"<<X"}}));
  ASSERT_EQ(outcome.errors.size(), 1u);
  EXPECT_NE(outcome.errors[0].find("<<X"), std::string::npos);
}

TEST(CommandText, LastLineNeedsNoLineFeed) {
  EXPECT_EQ(read_all("PING").commands, (std::vector<Words>{{"PING"}}));
  EXPECT_EQ(read_all("SET k <<E\nv\nE").commands, (std::vector<Words>{{"SET", "k", "v\n"}}));
  EXPECT_TRUE(read_all("").commands.empty());
}

TEST(CommandText, ErrorsNameTheirLineAndReadingGoesOn) {
  const auto outcome = read_all("PING\nSET 'x\n\nPING\n");
  EXPECT_EQ(outcome.commands.size(), 2u);
  EXPECT_EQ(outcome.errors.size(), 1u);
  EXPECT_EQ(outcome.lines, (std::vector<std::size_t>{1, 2, 4}));
}

TEST(CommandText, TooLongCommandsAreSkippedWholeAndBounded) {
  const std::string long_line(100, 'x');
  auto outcome = read_all(long_line + "\nPING\n", 50);
  EXPECT_EQ(outcome.commands, (std::vector<Words>{{"PING"}}));
  EXPECT_EQ(outcome.errors.size(), 1u);
  outcome = read_all("SET k <<E\n" + std::string(30, 'a') + "\n" + std::string(30, 'b') +
                         "\nPING\nE\nPING\n",
                     50);
  EXPECT_EQ(outcome.commands, (std::vector<Words>{{"PING"}}));
  EXPECT_EQ(outcome.errors.size(), 1u);
  CommandReader reader{50};
  for (int i = 0; i < 1000; ++i) {
    reader.feed("yyyyyyyyyy");
    EXPECT_EQ(reader.next().kind, CommandReader::Kind::need_more);
  }
  reader.feed("\nPING\n");
  outcome = drain(reader);
  EXPECT_EQ(outcome.commands, (std::vector<Words>{{"PING"}}));
  EXPECT_EQ(outcome.errors.size(), 1u);
}

TEST(CommandText, PiecesOfAnySizeReadTheSame) {
  const std::string text =
      "SET a 'b c'\n#x\nTRIGGER SET p ON_READ <<LUA\nreturn\n\nLUA\r\nBAD \"\nSET k <<E\nv\nE\nGET "
      "a";
  const Outcome whole = read_all(text);
  ASSERT_EQ(whole.commands.size(), 4u);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    CommandReader reader;
    reader.feed(std::string_view{text}.substr(0, cut));
    Outcome outcome = drain(reader);
    reader.feed(std::string_view{text}.substr(cut));
    outcome = drain(reader, std::move(outcome));
    reader.finish();
    EXPECT_EQ(drain(reader, std::move(outcome)), whole) << "cut at " << cut;
  }
  CommandReader reader;
  Outcome outcome;
  for (const char c : text) {
    reader.feed({&c, 1});
    outcome = drain(reader, std::move(outcome));
  }
  reader.finish();
  EXPECT_EQ(drain(reader, std::move(outcome)), whole);
}

TEST(CommandText, PromptKnowsWhatIsWaitedFor) {
  CommandReader reader;
  reader.feed("TRIGGER SET p ON_READ <<LUA\n");
  EXPECT_EQ(reader.next().kind, CommandReader::Kind::need_more);
  EXPECT_EQ(reader.waiting_for(), "LUA");
  reader.feed("x\nLUA\n");
  EXPECT_EQ(reader.next().kind, CommandReader::Kind::command);
  EXPECT_EQ(reader.waiting_for(), "");
}

TEST(CommandText, QuotedWordsReadBackTheSame) {
  EXPECT_EQ(quote_word("session:*"), "session:*");
  EXPECT_EQ(quote_word(""), "\"\"");
  EXPECT_EQ(quote_word("#"), "\"#\"");
  EXPECT_EQ(quote_word("<<LUA"), "\"<<LUA\"");
  std::mt19937 random{7};
  for (int round = 0; round < 2000; ++round) {
    std::string word(random() % 12, ' ');
    for (char& c : word) c = static_cast<char>(random());
    const auto split = split_command_line("X " + quote_word(word));
    EXPECT_EQ(split.words, (Words{"X", word}));
    EXPECT_TRUE(split.heredoc.empty());
  }
}

TEST(CommandText, HeredocTextsReadBackTheSame) {
  for (const std::string text : {"", "a", "a\n", "LUA\n", "LUA\nLUA_\n", "x\r\nLUA\r\n", "\n",
                                 "\"'\\\n", "no line feed\nLUA"}) {
    const auto outcome = read_all("SET k " + heredoc_or_quoted(text) + "\n");
    ASSERT_EQ(outcome.commands.size(), 1u) << text;
    EXPECT_EQ(outcome.commands[0], (Words{"SET", "k", text}));
  }
}

TEST(CommandText, GarbageIsNeverMoreThanAnError) {
  std::mt19937 random{11};
  const std::string seed = "SET k \"v\\x41\" <<LUA\nbody 'x'\nLUA\n#c\nGET 'a\\'b'\n";
  for (int round = 0; round < 5000; ++round) {
    std::string text = seed;
    for (int change = 0; change < 4; ++change) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, random() % 5); break;
        default: text.insert(at, 1, "\"'\\\n<#x "[random() % 8]); break;
      }
      if (text.empty()) text = seed;
    }
    const auto outcome = read_all(text, 40);
    EXPECT_LE(outcome.commands.size() + outcome.errors.size(), text.size());
  }
}

}  // namespace
}  // namespace cachee::daemon
