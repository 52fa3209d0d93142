// fsck: every numbered invariant of the segment, and repair while nobody else is at work.
#include <memory>

#include <fmt/format.h>
#include <cachee/maintain.hpp>

#include "command.hpp"
#include "terminal.hpp"

namespace cachee::cli {
namespace {

constexpr std::uint64_t kReapStep = 64;

Value report_value(const FsckReport& report) {
  Value findings = Value::list();
  for (const auto& finding : report.findings) {
    findings.push(Value::object()
                      .add("invariant", finding.invariant)
                      .add("text", finding.text)
                      .add("offset", finding.offset));
  }
  return Value::object()
      .add("clean", report.findings_total == 0)
      .add("records", report.records)
      .add("blocks", report.blocks)
      .add("buckets", report.buckets)
      .add("events", report.events)
      .add("quiescent", report.quiescent)
      .add("findings_total", report.findings_total)
      .add("findings", std::move(findings));
}

FsckReport check(const Cache& cache) {
  auto report = fsck(cache);
  if (!report) throw Failure{Exit::no, "fsck: " + to_string(report.error())};
  return *std::move(report);
}

Failure supervisor_runs(const std::string& name, std::int32_t pid) {
  return {Exit::no, fmt::format("fsck --repair needs segment '{}' for itself, and cacheed (pid {}) "
                                "keeps it: stop that first, or leave the repair to it",
                                name, pid)};
}

/// What cacheed does at a start, without being it: clears up after the dead, rebuilds hints.
std::uint64_t repair(Source& source) {
  SegmentOptions options;
  options.name = source.places().name;
  const Cache& cache = source.segment(Access::read_only);
  const auto info = segment_info(cache);
  if (!info) throw Failure{Exit::no, "fsck: " + to_string(info.error())};
  if (cache.supervisor_alive()) throw supervisor_runs(options.name, info->supervisor_pid);
  // Becoming the keeper for a moment sets the policy; the rest of an existing segment stays.
  options.eviction = parse_eviction_policy(info->eviction_policy).value_or(options.eviction);
  auto keeper = Maintainer::create(options);
  if (!keeper && keeper.code() == Errc::busy) {
    throw supervisor_runs(options.name, static_cast<std::int32_t>(keeper.error().detail));
  }
  if (!keeper) throw Failure{Exit::no, "fsck --repair: " + to_string(keeper.error())};
  std::uint64_t repaired = 0;
  while (const std::uint64_t reaped = keeper->reap(kReapStep)) repaired += reaped;
  const auto rebuilt = keeper->repair();
  if (!rebuilt) throw Failure{Exit::no, "fsck --repair: " + to_string(rebuilt.error())};
  return repaired + *rebuilt;
}

}  // namespace

std::vector<Command> fsck_commands() {
  return {{.words = "fsck",
           .group = kSegmentGroup,
           .summary = "Check every invariant of the segment; exit 1 and a list if one is broken",
           .example = "cachee fsck\ncachee -n orders fsck --repair",
           .declare = [](CLI::App& app) -> Run {
             auto wants_repair = std::make_shared<bool>(false);
             app.add_flag("--repair", *wants_repair,
                          "Clear up after dead clients and rebuild what can be rebuilt; only while "
                          "no cacheed runs");
             return [wants_repair](Context& context) {
               Value result = Value::object();
               if (*wants_repair) result.add("repaired", repair(context.source));
               const FsckReport report = check(context.source.segment(Access::read_only));
               const Value verdict = report_value(report);
               for (const auto& field : verdict.fields()) result.add(field.name, field.value);
               context.out.print(result);
               return report.findings_total == 0 ? Exit::yes : Exit::no;
             };
           }}};
}

}  // namespace cachee::cli
