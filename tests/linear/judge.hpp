// What becomes of a log when everybody has ended: every key is judged, and the segment.
#pragma once

#include <cstdio>
#include <fstream>
#include <map>

#include "linear/checker.hpp"
#include "linear/workload.hpp"

namespace cachee::test {

/// Far beyond what a history needs that has an order: every key must be decided.
inline constexpr std::uint64_t kSearchStepsMax = 5'000'000;

struct Judgement {
  std::string wrong{};
  std::uint64_t calls = 0, pending = 0, refused = 0, events = 0, expired = 0, evicted = 0;
  std::uint64_t searched = 0, undecided = 0;  // keys without trigger
  std::uint64_t steps_most = 0;               // of the search of one of them
};

/// `history` of one key, for a file that a person reads.
inline std::string dump(const std::string& key, const std::vector<Account>& calls, const std::vector<Effect>& events,
                        std::uint64_t seed) {
  const std::string path = "/tmp/cachee-history-" + std::to_string(seed) + "-" + key + ".txt";
  std::ofstream out{path};
  for (const Account& a : calls) {
    out << a.begin << " " << a.end << " client " << a.client << " " << to_string(a.kind) << " -> "
        << to_string(a.outcome) << " tag " << a.tag << " value " << a.value << " old " << a.old << " version "
        << a.version_in << "/" << a.version_out << " event " << static_cast<std::int64_t>(a.event) << " ttl " << a.ttl
        << "\n";
  }
  for (const Effect& e : events) {
    out << "event " << e.seq << " kind " << static_cast<int>(e.what) << " version " << e.version << " value " << e.value
        << " old " << e.old << " suffix " << e.suffix << " delta " << e.delta << "\n";
  }
  return "seed " + std::to_string(seed) + "; the history is in " + path + "\n";
}

inline Operation operation_of(const Account& a) {
  Operation o;
  o.kind = a.kind;
  o.outcome = a.outcome;
  o.client = a.client;
  o.begin = a.begin;
  o.end = a.end;
  if (a.tag != 0) o.value = std::to_string(a.tag);
  if (a.value != 0) o.got = std::to_string(a.value);
  if (a.old != 0) o.old = std::to_string(a.old);
  o.version_in = a.version_in;
  o.version_out = a.version_out;
  if (a.ttl != 0) o.ttl = a.ttl;
  return o;
}

/// `end_of(client)`: when the recovery of a killed client had ended. `policy` says whether a key may go by itself:
/// without eviction a write that was lost has no excuse.
template <class EndOf>
Judgement judge(const Log& log, const KeyPlan& plan, EvictionPolicy policy, std::uint64_t seed, EndOf&& end_of) {
  Judgement j;
  std::map<unsigned, std::vector<Account>> calls;
  std::map<unsigned, std::vector<Effect>> events;
  for (std::uint64_t i = 0; i < log.call_count(); ++i) {
    const CallRecord& record = log.call(i);
    const auto done = record.done.load();
    if (done == CallRecord::kEmpty) continue;
    Account a = record.account;
    if (done == CallRecord::kBegun) {
      a.outcome = Outcome::pending;
      a.end = end_of(a.client);
      a.version_out = a.value = a.old = 0;
      a.event = Account::kNoEvent;
      ++j.pending;
    }
    j.refused += a.outcome == Outcome::refused ? 1 : 0;
    ++j.calls;
    calls[record.key].push_back(a);
  }
  for (std::uint64_t i = 0; i < log.event_count(); ++i) {
    const EventRecord& record = log.event(i);
    if (record.done.load() == 0) {
      j.wrong += "event " + std::to_string(i) + " was never there to read\n";
      continue;
    }
    ++j.events;
    j.expired += record.effect.what == Effect::What::expire ? 1 : 0;
    j.evicted += record.effect.what == Effect::What::evict ? 1 : 0;
    events[record.key].push_back(record.effect);
  }
  for (auto& [k, of_key] : calls) {
    const std::string key = plan.key(k);
    if (key[0] != 'w') {
      const std::string wrong = check_chain(of_key, events[k]);
      if (!wrong.empty()) j.wrong += key + ":\n" + wrong + dump(key, of_key, events[k], seed);
      continue;
    }
    std::vector<Operation> history;
    for (const Account& a : of_key) history.push_back(operation_of(a));
    const Verdict v =
        check_linearizable(std::move(history), {.evicts = policy != EvictionPolicy::none, .deadline_unit = 1'000'000, .clock_slack = 1000, .steps_max = kSearchStepsMax});
    ++j.searched;
    j.undecided += v.answer == Answer::undecided ? 1 : 0;
    j.steps_most = std::max(j.steps_most, v.steps);
    if (v.answer == Answer::violation) j.wrong += key + ":\n" + v.why + dump(key, of_key, {}, seed);
  }
  j.wrong += log.complaints();
  return j;
}

/// Nobody is in an operation any more: recovers the dead, reads the last events, and looks whether
/// every invariant holds and every block comes back. Empty: sound.
inline std::string settle_and_check(Log& log, const KeyPlan& plan, Maintainer& keeper) {
  std::string wrong;
  bool dead = true;
  for (int rounds = 0; rounds < 100 && dead; ++rounds) {
    static_cast<void>(keeper.reap(kClientsMax));
    drain_into(log, plan, keeper);
    const auto clients = list_clients(keeper.cache());
    dead = false;
    for (const auto& c : *clients) dead = dead || !c.alive;
  }
  if (dead) wrong += "a dead client was not recovered\n";
  for (int rounds = 0; rounds < 3; ++rounds) {
    static_cast<void>(keeper.expire_due(clock_ns(), 1 << 20));
    drain_into(log, plan, keeper);
  }
  const auto damage = [&](const char* when) {
    const auto report = fsck(keeper.cache());
    if (!report) {
      wrong += std::string{when} + ": fsck: " + to_string(report.error()) + "\n";
      return;
    }
    if (!report->quiescent) wrong += std::string{when} + ": fsck: not quiescent\n";
    for (const auto& f : report->findings) wrong += std::string{when} + ": fsck: " + f.invariant + " " + f.text + "\n";
  };
  static_cast<void>(keeper.scrub(1 << 20));
  damage("at the end");
  // What clear() erases belongs to no call of the log. It leaves keys whose deadline has passed since the
  // sweep above to the next one.
  {
    auto cleaner = keeper.client(Role::control, "cleaner");
    for (int rounds = 0; rounds < 1000; ++rounds) {
      const auto cleared = cleaner->clear();
      static_cast<void>(keeper.expire_due(clock_ns(), 1 << 20));
      const EventReader reader = keeper.reader();
      std::uint64_t p = reader.head();
      while (reader.at(EventSeq{p})) keeper.acknowledge(EventSeq{p++});
      keeper.release_through(p, {});
      if (cleared) break;
    }
  }
  for (int rounds = 0; rounds < 3; ++rounds) static_cast<void>(keeper.scrub(1 << 20));
  damage("emptied");
  const auto slabs = list_slabs(keeper.cache());
  std::uint64_t pages = 0;
  for (const auto& s : *slabs) {
    pages += s.pages;
    if (s.live + s.waiting != 0)
      wrong += "leak: blocks of " + std::to_string(s.block_bytes) + ": " + std::to_string(s.live + s.waiting) + "\n";
  }
  const auto info = segment_info(keeper.cache());
  if (pages + info->pages_free != info->pages)
    wrong += "leak: " + std::to_string(info->pages - pages - info->pages_free) + " pages\n";
  return wrong;
}

}  // namespace cachee::test
