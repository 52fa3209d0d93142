// Goal: orders and reports survive the way, and bytes that the encoder did not make give nothing.
// Method: round trips, every truncation, flipped bytes.
#include <gtest/gtest.h>

#include "executor/messages.hpp"

namespace cachee::daemon {
namespace {

RunReport sample_report() {
  RunReport report;
  report.seq = EventSeq{42};
  report.token = 7;
  report.key_hash = 0x1234567890abcdef;
  report.trigger_slot = 3;
  report.trigger_id = 99;
  report.status = RunStatus::failed;
  report.last = false;
  report.attempt = 2;
  report.duplicate = true;
  report.error = "error";
  report.traceback = "traceback";
  report.effects = std::string_view{"\0\1\2", 3};
  report.steps = 11;
  report.memory_peak = 12;
  report.run_ns = 13;
  report.lag_us = 14;
  return report;
}

TEST(Messages, ReportsSurvive) {
  std::string bytes = "left over";
  encode(sample_report(), bytes);
  const auto got = decode_report(bytes);
  ASSERT_TRUE(got);
  const RunReport want = sample_report();
  EXPECT_EQ(got->seq, want.seq);
  EXPECT_EQ(got->token, want.token);
  EXPECT_EQ(got->key_hash, want.key_hash);
  EXPECT_EQ(got->trigger_slot, want.trigger_slot);
  EXPECT_EQ(got->trigger_id, want.trigger_id);
  EXPECT_EQ(got->status, want.status);
  EXPECT_EQ(got->last, want.last);
  EXPECT_EQ(got->attempt, want.attempt);
  EXPECT_EQ(got->duplicate, want.duplicate);
  EXPECT_EQ(got->error, want.error);
  EXPECT_EQ(got->traceback, want.traceback);
  EXPECT_EQ(got->effects, want.effects);
  EXPECT_EQ(got->steps, want.steps);
  EXPECT_EQ(got->memory_peak, want.memory_peak);
  EXPECT_EQ(got->run_ns, want.run_ns);
  EXPECT_EQ(got->lag_us, want.lag_us);
}

TEST(Messages, DamagedReportsAreRefusedOrStayInBounds) {
  std::string bytes;
  encode(sample_report(), bytes);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_report(std::string_view{bytes}.substr(0, length)));
  }
  EXPECT_FALSE(decode_report(bytes + "x"));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto got = decode_report(damaged);
      if (!got) continue;
      const char* const end = damaged.data() + damaged.size();
      EXPECT_LE(got->effects.data() + got->effects.size(), end);
      EXPECT_LE(got->error.size() + got->traceback.size() + got->effects.size(), damaged.size());
    }
  }
}

Order sample_order(Order::Kind kind) {
  Order order;
  order.kind = kind;
  order.token = 5;
  order.key_hash = 6;
  order.trigger_slot = 7;
  order.reports_seen = 8;
  if (kind == Order::Kind::run_stored || kind == Order::Kind::test) {
    order.event.emplace();
    order.event->key = "k";
    order.event->value = std::string(1000, 'v');
    order.event->metadata = {{"a", "b"}};
  }
  if (kind == Order::Kind::test) {
    order.spec.emplace();
    order.spec->name = "t";
    order.spec->source = "return 1";
    order.spec->timeout_ms = 11;
    order.spec->memory_bytes = 12;
    order.spec->steps = 13;
  }
  return order;
}

TEST(Messages, OrdersSurvive) {
  for (const auto kind :
       {Order::Kind::run_stored, Order::Kind::block, Order::Kind::unblock, Order::Kind::test}) {
    const Order want = sample_order(kind);
    const auto got = decode_order(encode(want));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->kind, want.kind);
    EXPECT_EQ(got->token, want.token);
    EXPECT_EQ(got->key_hash, want.key_hash);
    EXPECT_EQ(got->trigger_slot, want.trigger_slot);
    EXPECT_EQ(got->reports_seen, want.reports_seen);
    ASSERT_EQ(got->event.has_value(), want.event.has_value());
    if (want.event) {
      EXPECT_EQ(got->event->value, want.event->value);
      EXPECT_EQ(got->event->metadata, want.event->metadata);
    }
    ASSERT_EQ(got->spec.has_value(), want.spec.has_value());
    if (want.spec) {
      EXPECT_EQ(*got->spec, *want.spec);
    }
  }
}

TEST(Messages, DamagedOrdersAreRefused) {
  const std::string bytes = encode(sample_order(Order::Kind::test));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_order(std::string_view{bytes}.substr(0, length)));
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    EXPECT_FALSE(decode_order(damaged)) << at;
  }
}

}  // namespace
}  // namespace cachee::daemon
