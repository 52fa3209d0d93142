// Goal: `top` fits every terminal and its figures are those of the samples. Method: frames of made
// samples at many sizes.
#include "top_frame.hpp"

#include <gtest/gtest.h>

#include "terminal.hpp"
#include "text.hpp"

namespace cachee::cli {
namespace {

using std::chrono::seconds;

Sample make_sample() {
  Sample sample;
  sample.info.name = "orders";
  sample.info.data_bytes = 1000;
  sample.info.used_bytes = 500;
  sample.info.keys = 1234;
  sample.info.clients = 1;
  sample.info.clients_max = 8;
  sample.info.supervisor_pid = 42;
  sample.info.ring = {.capacity = 100, .head = 10, .tail = 35, .admission_limit = 90};
  sample.info.evicted_cost_minute = 12.5;
  sample.info.totals = {.hits = 75, .misses = 25, .sets = 10};
  sample.slabs.push_back({.block_bytes = 64, .pages = 1, .blocks = 10, .free = 5, .live = 5, .requested_bytes = 280});
  sample.clients.push_back({.pid = 4711, .name = "worker", .alive = true, .operation = "set"});
  return sample;
}

std::size_t visible_columns(const std::string& line) {
  std::string plain;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else {
      plain += line[i];
    }
  }
  return columns(plain);
}

bool contains(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

TEST(TopFrame, ShowsWhatMatters) {
  const auto lines =
      render_frame(make_sample(), {Rates{.gets = 1500}}, {.columns = 120, .rows = 60});
  for (const char* text : {"orders", "supervisor 42", "50.0%", "1,234", "25 of 100", "75.0%",
                           "1,500", "64 B", "4711", "worker", "cost 12.5 in the last minute", " 12.5%"}) {
    EXPECT_TRUE(contains(lines, text)) << text;
  }
}

TEST(TopFrame, FitsEveryTerminal) {
  std::deque<Rates> history;
  for (int i = 0; i < 300; ++i) history.push_back(Rates{.gets = i * 1e6, .sets = 0.5});
  for (const bool colour : {false, true}) {
    for (const bool utf8 : {false, true}) {
      for (std::size_t width : {1U, 10U, 40U, 80U, 200U}) {
        for (std::size_t rows : {1U, 5U, 24U, 100U}) {
          const auto lines =
              render_frame(make_sample(), history,
                           {.columns = width, .rows = rows, .colour = colour, .utf8 = utf8});
          EXPECT_LE(lines.size(), rows);
          for (const auto& line : lines) EXPECT_LE(visible_columns(line), width) << line;
        }
      }
    }
  }
}

TEST(TopFrame, AnEmptySegmentDividesByNothing) {
  const auto lines = render_frame(Sample{}, {}, {.columns = 80, .rows = 40});
  EXPECT_TRUE(contains(lines, "no supervisor"));
  EXPECT_TRUE(stat_value(Sample{}, {}).find("sizing")->find("evicted_cost_per_minute")->is_null());
  EXPECT_FALSE(contains(lines, "nan"));
}

TEST(TopFrame, RatesArePerSecondAndNeverNegative) {
  Sample before = make_sample();
  Sample after = make_sample();
  after.at = before.at + seconds{2};
  after.info.totals.hits += 100;
  after.info.totals.misses += 20;
  after.info.totals.sets -= 5;  // a snapshot that was a moment off
  const Rates rates = rates_between(before, after);
  EXPECT_DOUBLE_EQ(rates.hits, 50);
  EXPECT_DOUBLE_EQ(rates.gets, 60);
  EXPECT_DOUBLE_EQ(rates.sets, 0);
  EXPECT_DOUBLE_EQ(rates_between(after, after).gets, 0) << "no time has passed";
}

TEST(TopFrame, StatHasAllOfIt) {
  const Value value = stat_value(make_sample(), Rates{.gets = 3});
  EXPECT_EQ(value.find("ring")->find("depth")->as_count(), 25U);
  EXPECT_EQ(to_json(*value.find("memory")->find("used_percent")), "50.0");
  EXPECT_EQ(to_json(*value.find("operations")->find("hit_percent")), "75.0");
  EXPECT_EQ(to_json(*value.find("per_second")->find("gets")), "3.0");
  EXPECT_EQ(to_json(*value.find("sizing")->find("evicted_cost_per_minute")), "12.5");
}

TEST(TopFrame, SlabsSayWhatIsLostInsideBlocksAndInPages) {
  const Value rows = slabs_value(
      {{.block_bytes = 64, .pages = 1, .blocks = 10, .free = 5, .live = 5, .page_bytes = 640, .requested_bytes = 280},
       {.block_bytes = 128, .pages = 2, .blocks = 10, .free = 10, .page_bytes = 1280}});
  ASSERT_EQ(rows.items().size(), 2U);
  const Value& row = rows.items()[0];
  EXPECT_EQ(row.find("live_bytes")->as_count(), 320U);
  EXPECT_EQ(row.find("requested_bytes")->as_count(), 280U);
  EXPECT_EQ(to_json(*row.find("fragmentation_percent")), "12.5");
  EXPECT_EQ(to_json(*row.find("used_percent")), "50.0");
  EXPECT_EQ(to_json(*rows.items()[1].find("fragmentation_percent")), "0.0") << "nothing is there";
  EXPECT_EQ(to_json(*rows.items()[1].find("used_percent")), "0.0");
  const Value stat = stat_value(make_sample(), {});
  EXPECT_EQ(stat.find("memory")->find("requested_bytes")->as_count(), 280U);
  EXPECT_EQ(to_json(*stat.find("memory")->find("fragmentation_percent")), "12.5");
  EXPECT_EQ(fragmentation_percent(100, 200), 0) << "a snapshot that was a moment off";
}

TEST(Sparkline, IsAsHighAsTheValue) {
  EXPECT_EQ(sparkline({0, 4, 8}, 8, 10, false), " =#");
  EXPECT_EQ(sparkline({0, 4, 8}, 8, 10, true), " ▄█");
  EXPECT_EQ(sparkline({1, 2, 3}, 3, 2, false).size(), 2U) << "the newest that fit";
  EXPECT_EQ(sparkline({0, 0}, 0, 5, true), "  ");
}

TEST(Bar, IsAlwaysOfItsWidth) {
  for (const double share : {-1.0, 0.0, 0.01, 0.5, 0.999, 1.0, 7.0}) {
    for (const bool utf8 : {false, true}) {
      EXPECT_EQ(columns(bar(share, 10, utf8)), 10U) << share;
    }
  }
  EXPECT_EQ(bar(0.5, 4, false), "##  ");
}

TEST(ProgressBar, SaysHowFar) {
  EXPECT_EQ(progress_text("load", 50, 100, 30), "load [#########.........]  50%");
  EXPECT_EQ(progress_text("load", 1234, 0, 30), "load 1,234");
  EXPECT_NE(progress_text("load", 500, 100, 30).find("100%"), std::string::npos);
  EXPECT_FALSE(progress_text("load", 1, 2, 0).empty());
}

}  // namespace
}  // namespace cachee::cli
