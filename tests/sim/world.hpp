// A segment in plain memory with parties, the calls they make, and the judgement of a run. A run
// begins from a snapshot, so it costs a copy of the bytes and not a new segment.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clients/clients.hpp"
#include "eviction/eviction.hpp"
#include "expiry/expiry.hpp"
#include "fsck/fsck.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "layout/geometry.hpp"
#include "linear/chain.hpp"
#include "linear/checker.hpp"
#include "reclaim/reclaim.hpp"
#include "recovery/recovery.hpp"
#include "ring/ring.hpp"
#include "segment/segment.hpp"
#include "sim/calls.hpp"
#include "sim/clock.hpp"
#include "sim/scheduler.hpp"
#include "slab/slab.hpp"
#include "triggers/triggers.hpp"

namespace cachee::sim {

using shm::Context;
using test::Outcome;

struct WorldOptions {
  std::size_t parties = 2;  // the last one recovers the dead
  bool watched = true;      // a trigger wants every event
  bool evicts = false;      // some party may evict
};

class World {
 public:
  explicit World(WorldOptions options) : options_{options} {
    const layout::ShapeRequest request{kSegmentBytes, 1 << 16, 64, static_cast<std::uint32_t>(options.parties + 2), 1,
                                       4096};
    const auto shape = layout::compute_shape(request);
    if (!shape) throw std::runtime_error("shape");
    base_ = static_cast<std::byte*>(std::aligned_alloc(4096, kSegmentBytes));
    std::memset(base_, 0, kSegmentBytes);
    set_clock(kStart);
    shm::format_segment(base_, *shape);
    reinterpret_cast<layout::SegmentHeader*>(base_)->hash_seed = 42;
    const auto attached = shm::attach_segment(base_, kSegmentBytes, true);
    if (!attached) throw std::runtime_error("attach");
    view_ = *attached;
    view_.header->evict_policy.store_relaxed(0);  // only a party evicts
    for (std::size_t i = 0; i < options.parties + 1; ++i) {
      auto claimed = shm::claim_client(view_, i + 1, i == options.parties ? Role::sweep : Role::client, "party");
      if (!claimed) throw std::runtime_error("claim");
      contexts_.push_back(std::move(*claimed));
      contexts_.back().view = &view_;
    }
    if (options.watched) publish();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    std::free(base_);
    set_clock(0);
  }

  /// What comes before every run, done by the judge's own client.
  void prepare(const Script& script) {
    for (const Step& step : script) run_step(options_.parties, step);
    shm::reclaim_retired(judge());
    bytes_.assign(base_, base_ + kSegmentBytes);
    saved_ = contexts_;
    prepared_calls_ = calls_;
    prepared_effects_ = effects_;
    prepared_now_ = clock_now();
  }
  void rewind() {
    std::memcpy(base_, bytes_.data(), kSegmentBytes);
    contexts_ = saved_;
    calls_ = prepared_calls_;
    effects_ = prepared_effects_;
    published_ = {};
    dead_.registrations = 0;
    complaint_.clear();
    set_clock(prepared_now_ + 1);
  }

  void run_script(std::size_t party, const Script& script) {
    for (const Step& step : script) run_step(party, step);
  }
  void declare_dead(std::size_t party) { dead_.registrations |= std::uint64_t{1} << (party + 1); }

  /// Everything that is wrong with how the run ended; empty: nothing. `deep` looks for leaks too.
  std::string verdict(bool deep) {
    std::string wrong = complaint_;
    shm::redo_journal(view_);
    for (int rounds = 0; rounds < 3; ++rounds) {
      recover_dead(judge());
      consume();
    }
    for (Call& call : calls_) {
      tick_clock();
      // A call that death cut off has had its effect by now, or never.
      if (call.operation.outcome == Outcome::pending) call.operation.end = clock_now();
    }
    // Whoever should have finished it is dead: the next supervisor does.
    if ((view_.header->wall_offset.load_relaxed() & layout::WallOffset::kRevising) != 0) revise_offset();
    if (undead()) wrong += "a dead client was not recovered\n";
    const FsckReport report = shm::check_segment(view_);
    if (!report.quiescent) wrong += "fsck: not quiescent\n";
    for (const auto& f : report.findings) wrong += "fsck: " + f.invariant + " " + f.text + "\n";
    std::map<std::string, std::vector<const Call*>> by_key;
    tick_clock();
    for (const auto& key : keys()) run_step(options_.parties, Step{.name = "last get", .kind = Kind::get, .key = key});
    consume();
    for (const Call& call : calls_) by_key[call.key].push_back(&call);
    for (const auto& [key, calls] : by_key) wrong += judge_key(key, calls);
    if (deep) wrong += leaks();
    return wrong;
  }
  std::string history() const {
    std::vector<Operation> all;
    for (const Call& call : calls_) all.push_back(call.operation);
    return test::describe(all);
  }

 private:
  static constexpr std::size_t kSegmentBytes = 192 * 1024;

  Context& judge() { return contexts_[options_.parties]; }
  std::vector<std::string> keys() const {
    std::vector<std::string> out;
    for (const Call& call : calls_) {
      if (std::find(out.begin(), out.end(), call.key) == out.end()) out.push_back(call.key);
    }
    return out;
  }
  void publish() {
    TriggerTable table;
    TriggerSpec all;
    all.name = "all";
    all.pattern = "*";
    all.source = "return";
    all.events = event_bit(EventKind::write) | event_bit(EventKind::del) | event_bit(EventKind::expire) |
                 event_bit(EventKind::evict);
    all.block_ms = 0;
    table.triggers.push_back(all);
    published_.begin = clock_now();
    static_cast<void>(shm::publish_table(view_, table));
    published_.end = clock_now();
  }
  bool undead() const {
    for (std::size_t i = 0; i < options_.parties; ++i) {
      const bool dead = (dead_.registrations & std::uint64_t{1} << (i + 1)) != 0;
      if (dead &&
          layout::ClientState::state(view_.clients[contexts_[i].id].state.load_relaxed()) != layout::ClientState::kFree)
        return true;
    }
    return false;
  }
  void recover_dead(Context& context) {
    for (std::uint32_t i = 0; i < view_.shape.clients_max; ++i) {
      if (layout::ClientState::state(view_.clients[i].state.load_acquire()) == layout::ClientState::kFree) continue;
      if (shm::claim_recovery(view_, i, context.registration, dead_))
        static_cast<void>(shm::recover_client(context, i));
    }
  }

  void revise_offset() {
    constexpr int kStepsMax = 4;  // one bucket: more are others' doing
    shm::OffsetRevision revision;
    for (int steps = 0; steps < kStepsMax && shm::offset_is_stale(view_); ++steps) revision.step(view_, 100);
  }

  /// Events from the head on, into the effects; then their cells are released.
  void consume() {
    const std::uint64_t first = view_.header->ring_head.load_acquire();
    std::uint64_t p = first;
    for (; !layout::CellWord::is_empty(view_.cell(p).word.load_acquire()); ++p) take_effect(p);
    for (std::uint64_t q = first; q < p; ++q) shm::confirm_cell(view_, q);
    if (p == first) return;
    // As Maintainer::release_through does: who dies in it leaves the journal to the next one.
    view_.journal->count.store_relaxed(0);
    view_.journal->end.store_relaxed(p);
    view_.journal->valid.store_release(1);
    shm::redo_journal(view_);
  }
  void take_effect(std::uint64_t p) {
    const std::uint64_t word = view_.cell(p).word.load_acquire();
    const std::uint64_t unit = layout::CellWord::Offset::get(word);
    const auto kind = static_cast<EventKind>(layout::CellWord::Kind::get(word));
    const shm::Record* record = view_.record(unit);
    if (record == nullptr) {
      complaint_ += "event " + std::to_string(p) + " names no record\n";
      return;
    }
    test::Effect e;
    e.seq = p;
    e.version = shm::version_of(*record);
    const std::string value{shm::value_in_place(view_, unit)};
    e.value = test::identity_of(value);
    switch (kind) {
      case EventKind::write:
        e.what = test::Effect::What::write;
        e.why = shm::prev_of(*record) == layout::kNoRecord ? test::Effect::Why::create : test::Effect::Why::update;
        break;
      case EventKind::del:
        e.what = test::Effect::What::erase;
        if (layout::CellWord::CauseField::get(word) == static_cast<std::uint64_t>(Cause::explicit_)) e.why = test::Effect::Why::call;
        break;
      case EventKind::expire:
        e.what = test::Effect::What::expire;
        e.why = test::Effect::Why::deadline;
        break;
      case EventKind::evict:
        e.what = test::Effect::What::evict;
        e.why = test::Effect::Why::room;
        break;
      default:
        complaint_ += "event of an unknown kind\n";
        return;
    }
    if (kind == EventKind::write) {
      std::string before;
      const std::uint64_t prev = shm::prev_of(*record);
      if (prev != layout::kNoRecord && view_.record(prev) != nullptr) {
        const std::uint64_t rm = view_.record(prev)->rm.load_acquire();
        const bool ours =
            layout::EventWord::state(rm) == layout::EventWord::kConfirmed && layout::EventWord::Position::get(rm) == p;
        if (ours || layout::EventWord::state(rm) == layout::EventWord::kUnset) {
          before = shm::value_in_place(view_, prev);
          e.old = test::identity_of(before);
        }
      }
      e.suffix = value.starts_with(before) ? test::identity_of(value.substr(before.size())) : e.value;
      char* end = nullptr;
      const std::int64_t now = std::strtoll(value.c_str(), &end, 10);
      if (*end == '\0' && end != value.c_str()) e.delta = now - std::strtoll(before.c_str(), nullptr, 10);
    }
    auto& of_key = effects_[std::string{shm::key_in_place(view_, unit)}];
    // Read again when its reader died before the release: the same event.
    const auto again =
        std::find_if(of_key.begin(), of_key.end(), [&](const test::Effect& seen) { return seen.seq == e.seq; });
    if (again == of_key.end()) {
      of_key.push_back(e);
    } else if (again->what != e.what || again->version != e.version || again->value != e.value) {
      complaint_ += "event " + std::to_string(p) + " was another one when it was read before\n";
    }
  }

  void duty(Context& context, const Step& step) {
    std::uint64_t expired = 0;
    switch (step.duty) {
      case Step::Duty::tend:
        shm::sweep_deadlines(view_, context.me->bucket, view_.ms_since_created(base::now_ns()), 100,
                             [&](std::uint64_t bucket) { return shm::tend_bucket(context, bucket, expired); });
        break;
      case Step::Duty::evict: {
        shm::ChainWalk walk{view_, 0};
        while (walk.next()) {
          const std::uint64_t word = walk.slot().load_acquire();
          if (layout::Slot::occupied(word) && layout::Slot::mark(word) == layout::Mark::live &&
              shm::evict_slot(context, 0, walk.slot(), word)) {
            break;
          }
        }
        break;
      }
      case Step::Duty::consume:
        consume();
        break;
      case Step::Duty::scrub:
        for (std::uint64_t page = 0; page < view_.shape.page_count; ++page) {
          shm::reclaim_page(context, page, true);
          shm::refresh_page_bits(view_, page);
        }
        break;
      case Step::Duty::drain_page:
        for (std::uint64_t page = 0; page < view_.shape.page_count; ++page)
          static_cast<void>(shm::drain_page(context, page));
        break;
      case Step::Duty::vacate:
        for (std::uint64_t page = 0; page < view_.shape.page_count; ++page) {
          if (layout::PageWord::kind(view_.pages[page].load_acquire()) != layout::PageWord::kSlab) continue;
          static_cast<void>(shm::vacate_page(context, page));
          break;
        }
        break;
      case Step::Duty::reclaim:
        shm::reclaim_retired(context);
        break;
      case Step::Duty::pass_time:
        jump_clock(kHour);
        break;
      case Step::Duty::step_clock:
        step_wall_clock(kHour);
        revise_offset();
        break;
      case Step::Duty::publish:
        publish();
        break;
      case Step::Duty::recover:
        recover_dead(context);
        break;
      default:
        break;
    }
  }

  void run_step(std::size_t party, const Step& step) {
    Context& context = contexts_[party];
    if (step.duty != Step::Duty::none && step.duty != Step::Duty::pin) return duty(context, step);
    const std::size_t at = calls_.size();
    tick_clock();  // behind the party's call before
    calls_.push_back({.operation = {}, .key = step.key});
    {
      Operation& o = calls_[at].operation;
      o.kind = step.kind;
      o.client = static_cast<std::uint32_t>(party);
      o.value = step.value;
      o.ttl = step.ttl;
      o.version_in = step.version_in;
      o.begin = clock_now();
    }
    Operation told = calls_[at].operation;
    std::uint64_t event = test::Account::kNoEvent;
    perform(context, step, told, event);
    told.end = clock_now();
    calls_[at].operation = std::move(told);
    calls_[at].event = event;
  }
  Outcome outcome_of(Errc code) {
    switch (code) {
      case Errc::ok:
        return Outcome::ok;
      case Errc::not_found:
        return Outcome::not_found;
      case Errc::exists:
        return Outcome::exists;
      case Errc::stale:
        return Outcome::stale;
      case Errc::no_space:
      case Errc::corrupt:
        complaint_ += std::string{to_string(code)} + " in a sound world with room\n";
        return Outcome::refused;
      default:
        return Outcome::refused;
    }
  }
  void perform(Context& context, const Step& step, Operation& o, std::uint64_t& event) {
    const auto written = [&](const Result<WriteResult>& r) {
      o.outcome = outcome_of(r.code());
      if (!r) return;
      o.version_out = r->version;
      o.created = r->created;
      o.old = r->old_value;
      if (r->event) event = r->event->value;
    };
    SetOptions options;
    options.return_old = true;
    if (step.ttl && step.moment) options.deadline_wall_ms = (base::wall_ns() + *step.ttl) / base::kNsPerMs;
    if (step.ttl && !step.moment) options.ttl = Ttl{*step.ttl};
    switch (step.kind) {
      case Kind::get: {
        if (step.duty == Step::Duty::pin) return pin(context, step, o);
        shm::ReadTarget target;
        target.value = &o.got;
        o.outcome = outcome_of(shm::get_record(view_, &context, step.key, target).code());
        if (o.outcome == Outcome::ok) o.version_out = target.version;
        if (o.outcome != Outcome::ok) o.got.clear();
        return;
      }
      case Kind::add:
        options.condition = Condition::absent;
        return written(shm::set_record(context, step.key, step.value, options));
      case Kind::replace:
        options.condition = Condition::present;
        return written(shm::set_record(context, step.key, step.value, options));
      case Kind::compare_and_set:
        options.if_version = step.version_in;
        [[fallthrough]];
      case Kind::set:
        return written(shm::set_record(context, step.key, step.value, options));
      case Kind::append: {
        Appending plan{step.key, step.value};
        written(shm::write_record(context, step.key, plan));
        if (o.outcome == Outcome::ok) o.got = std::to_string(plan.value.size());
        return;
      }
      case Kind::increment: {
        Adding plan{step.key, std::strtoll(step.value.c_str(), nullptr, 10)};
        written(shm::write_record(context, step.key, plan));
        if (o.outcome == Outcome::ok) o.got = plan.value;
        return;
      }
      case Kind::touch:
      case Kind::persist: {
        Touching plan{step.kind == Kind::touch ? step.ttl : std::nullopt};
        const auto r = shm::touch_record(context, step.key, plan);
        o.outcome = r && !*r ? Outcome::unchanged : outcome_of(r.code());
        return;
      }
      case Kind::erase: {
        const auto r = shm::erase_record(context, step.key, {.return_old = true});
        o.outcome = outcome_of(r.code());
        if (!r) return;
        o.old = r->old_value;
        if (r->event) event = r->event->value;
        return;
      }
    }
  }
  /// A view: the value must stay what it was, word by word, until it is released.
  void pin(Context& context, const Step& step, Operation& o) {
    const auto pinned = shm::pin_record(context, step.key);
    o.outcome = outcome_of(pinned.code());
    if (!pinned) return;
    const shm::Record* record = view_.record(pinned->unit);
    o.version_out = shm::version_of(*record);
    const auto b = shm::bounds_of(view_, pinned->unit, record->lens.load_relaxed());
    for (int reads = 0; reads < 2; ++reads) {
      std::string value(b.value_bytes, '\0');
      mem::copy_out(value.data(), record->payload() + b.value_at / 8, b.value_bytes);
      if (reads == 1 && value != o.got) complaint_ += "a pinned value changed from " + o.got + " to " + value + "\n";
      o.got = std::move(value);
    }
    context.me->pins[pinned->pin].store_release(0);
  }

  std::string judge_key(const std::string& key, const std::vector<const Call*>& calls) {
    std::string wrong;
    std::vector<Operation> history;
    std::vector<test::Account> accounts;
    for (const Call* call : calls) {
      const Operation& o = call->operation;
      history.push_back(o);
      test::Account a;
      a.kind = o.kind;
      a.outcome = o.outcome;
      a.client = o.client;
      a.begin = o.begin;
      a.end = o.end;
      if (!o.value.empty())
        a.tag = o.kind == Kind::increment ? std::strtoull(o.value.c_str(), nullptr, 10) : test::identity_of(o.value);
      if (o.kind == Kind::get && o.outcome == Outcome::ok) a.value = test::identity_of(o.got);
      if (o.old) a.old = test::identity_of(*o.old);
      a.version_in = o.version_in;
      a.version_out = o.version_out;
      a.event = call->event;
      a.ttl = o.ttl.value_or(0);
      accounts.push_back(a);
    }
    const auto& effects = effects_[key];
    const test::Verdict v = test::check_linearizable(history, {.evicts = options_.evicts, .clock_slack = 1000});
    if (v.answer != test::Answer::linearizable) wrong += key + ": " + v.why;
    if (options_.watched) {
      wrong += test::check_chain(accounts, effects);
    } else if (published_.end != 0) {
      wrong += judge_registration(calls, effects);
    } else if (!effects.empty()) {
      wrong += key + ": an event that nobody wants\n";
    }
    return wrong;
  }
  /// What was wholly before a registration has no event, what was wholly behind it has one.
  std::string judge_registration(const std::vector<const Call*>& calls,
                                 const std::vector<test::Effect>& effects) const {
    std::string wrong;
    for (const Call* call : calls) {
      const Operation& o = call->operation;
      if (o.outcome != Outcome::ok || o.version_out == 0 || o.kind == Kind::get) continue;
      const auto n = std::count_if(effects.begin(), effects.end(), [&](const test::Effect& e) {
        return e.what == test::Effect::What::write && e.version == o.version_out;
      });
      if (n > 1 || (n == 1 && o.end < published_.begin) || (n == 0 && o.begin > published_.end)) {
        wrong += std::to_string(n) + " events of version " + std::to_string(o.version_out) + "\n";
      }
    }
    return wrong;
  }

  /// Empties the world and counts what does not come back.
  std::string leaks() {
    for (const auto& key : keys()) static_cast<void>(shm::erase_record(judge(), key, {}));
    consume();
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
      const bool dead = i < options_.parties && (dead_.registrations & std::uint64_t{1} << (i + 1)) != 0;
      if (!dead) shm::publish_retired(contexts_[i]);
    }
    std::uint64_t left = 0;
    for (std::uint64_t page = 0; page < view_.shape.page_count; ++page) {
      shm::reclaim_page(judge(), page, true);
      shm::for_each_block(view_, page, [&](std::uint64_t, const shm::Record& record) {
        left += layout::Hdr::state(record.hdr.load_relaxed()) == layout::RecordState::free ? 0 : 1;
      });
      const auto kind = layout::PageWord::kind(view_.pages[page].load_relaxed());
      if (kind != layout::PageWord::kFree && kind != layout::PageWord::kSlab) ++left;
    }
    return left == 0 ? "" : "leak: " + std::to_string(left) + " blocks\n";
  }

  struct Interval {
    std::int64_t begin = 0, end = 0;
  };
  WorldOptions options_;
  std::byte* base_ = nullptr;
  View view_;
  std::vector<Context> contexts_, saved_;
  std::vector<std::byte> bytes_;
  std::vector<Call> calls_, prepared_calls_;
  std::map<std::string, std::vector<test::Effect>> effects_, prepared_effects_;
  std::int64_t prepared_now_ = 0;
  Interval published_;
  Dead dead_;
  std::string complaint_;
};

}  // namespace cachee::sim
