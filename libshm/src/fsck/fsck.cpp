#include "fsck/fsck.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "clients/clients.hpp"
#include "expiry/expiry.hpp"
#include "fsck/checker.hpp"
#include "index/index.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::ClientState;
using layout::Hdr;
using layout::Mark;
using layout::PageWord;
using layout::RecordState;
using layout::Slot;

namespace {
constexpr std::size_t kFindingsKeptMax = 1000;
}  // namespace

FsckReport Checker::run() {
  head_ = view_.header->ring_head.load_acquire();
  check_clients();
  check_pages();
  check_index();
  check_blocks();
  check_ring();
  check_summary();
  check_account();
  check_table();
  return std::move(report_);
}

void Checker::find(const char* id, const void* at, std::string text) {
  ++report_.findings_total;
  if (report_.findings.size() >= kFindingsKeptMax) return;
  report_.findings.push_back({id, std::move(text), static_cast<std::uint64_t>(static_cast<const std::byte*>(at) - view_.base)});
}

bool Checker::given_out(std::uint64_t uid) const {
  const std::uint64_t client = layout::Uid::Client::get(uid);
  return client < view_.shape.clients_max && layout::Uid::Counter::get(uid) < view_.clients[client].counter.load_acquire();
}

bool Checker::is_block(std::uint64_t unit, std::uint64_t& block_bytes) const {
  if (view_.record(unit) == nullptr) return false;
  const std::uint64_t page = view_.page_of(unit);
  const std::uint64_t word = view_.pages[page].load_acquire();
  const std::uint64_t inside = (unit - view_.page_unit(page)) * layout::kOffsetUnit;
  if (PageWord::kind(word) == PageWord::kRunHead) {
    block_bytes = PageWord::Length::get(word) * view_.shape.page_bytes;
    return inside == 0;
  }
  if (PageWord::kind(word) != PageWord::kSlab || PageWord::Class::get(word) >= view_.shape.classes) return false;
  block_bytes = layout::kClassBytes[PageWord::Class::get(word)];
  return inside % block_bytes == 0 && inside + block_bytes <= view_.shape.page_bytes;
}

void Checker::check_clients() {
  const std::uint64_t used = view_.header->clients_used.load_acquire();
  if (used > view_.shape.clients_max) find("[CL-4]", &view_.header->clients_used, "more client slots used than there are");
  for (std::uint64_t i = 0; i < view_.shape.clients_max; ++i) {
    const Client& c = view_.clients[i];
    const std::string slot = "client slot " + std::to_string(i);
    const std::uint64_t word = c.state.load_acquire();
    const auto state = ClientState::state(word);
    const std::uint64_t page = c.page.load_acquire();
    bool busy = page != 0;
    for (const Word* w : {&c.act, &c.nw, &c.nw_uid, &c.old, &c.old_valid, &c.hz, &c.overflow}) busy = busy || w->load_acquire() != 0;
    for (const Word* w : {&c.nw, &c.old, &c.hz}) {
      if (const std::uint64_t unit = w->load_acquire(); unit != 0) held_.insert(unit);
    }
    bool pinned = false;
    for (const Word& w : c.pins) {
      if (const std::uint64_t unit = w.load_acquire(); unit != 0) pinned = held_.insert(unit).second || pinned;
    }
    if (page > view_.shape.page_count) find("[SL-6]", &c.page, slot + " holds a page that is not there");
    if (state == ClientState::kFree) {
      if (busy || pinned) find("[CL-3]", &c, "free " + slot + " still names blocks");
      continue;
    }
    if (state > ClientState::kRecovering || ClientState::Registration::get(word) == 0 ||
        (state == ClientState::kRecovering) != (ClientState::By::get(word) != 0)) {
      find("[CL-1]", &c.state, slot + " is in no state that a registration leaves it in");
    }
    if (i >= used) find("[CL-4]", &c, slot + " in use beyond clients_used");
    if (i < supervisor_slots(view_) && static_cast<Role>(c.role.load_relaxed()) != Role::sweep && !busy) {
      // The state is stored before the role: of a slot that works already both are there.
      if (c.attached_wall_ms.load_relaxed() != 0) find("[CL-5]", &c.role, slot + " is a supervisor's, and somebody else has it");
    }
    if (state == ClientState::kRecovering || busy) report_.quiescent = false;
  }
}

void Checker::check_pages() {
  for (std::uint64_t p = 0; p < view_.shape.page_count; ++p) {
    const Word& at = view_.pages[p];
    const std::uint64_t word = at.load_acquire();
    const std::uint64_t length = PageWord::Length::get(word);
    const std::string page = "page " + std::to_string(p);
    switch (PageWord::kind(word)) {
      case PageWord::kFree: break;
      case PageWord::kSlab:
        if (PageWord::Class::get(word) >= view_.shape.classes) find("[SL-1]", &at, page + " has no such class");
        break;
      case PageWord::kRunHead: {
        bool whole = length >= 1 && p + length <= view_.shape.page_count;
        for (std::uint64_t d = 1; whole && d < length; ++d) {
          const std::uint64_t tail = view_.pages[p + d].load_acquire();
          whole = PageWord::kind(tail) == PageWord::kRunTail && PageWord::Length::get(tail) == d;
        }
        if (!whole && (report_.quiescent || at.load_acquire() == word)) find("[SL-4]", &at, "the run at " + page + " is not whole");
        break;
      }
      case PageWord::kRunTail: {
        const bool inside = length >= 1 && length <= p;
        const std::uint64_t head = inside ? view_.pages[p - length].load_acquire() : 0;
        if (!inside || (report_.quiescent && (PageWord::kind(head) != PageWord::kRunHead || PageWord::Length::get(head) <= length))) {
          find("[SL-4]", &at, page + " belongs to no run");
        }
        break;
      }
      case PageWord::kInit:
      case PageWord::kRunClaim:
      case PageWord::kDrain: {
        const std::uint64_t client = PageWord::Client::get(word);
        const bool owned = client < view_.shape.clients_max &&
                           ClientState::state(view_.clients[client].state.load_acquire()) != ClientState::kFree;
        // The page again behind the owner: its work may have ended, and its registration too.
        if ((report_.quiescent || !owned) && at.load_acquire() == word) find("[SL-5]", &at, page + " is half-way between two uses");
        break;
      }
      default: find("[SL-1]", &at, page + " is of no kind"); break;
    }
  }
}

void Checker::check_blocks() {
  for (std::uint64_t p = 0; p < view_.shape.page_count; ++p) {
    for_each_block(view_, p, [&](std::uint64_t unit, const Record& r) { check_block(unit, r); });
    check_free_bits(p);
  }
  check_uids(uids_);
}

void Checker::check_block(std::uint64_t unit, const Record& r) {
  ++report_.blocks;
  const std::uint64_t hdr = r.hdr.load_acquire();
  const RecordState state = Hdr::state(hdr);
  const std::uint64_t uid = Hdr::Uid::get(hdr);
  const bool linked = linked_.contains(unit);
  if (state == RecordState::free) {
    if (linked) find("[HP-1]", &r, "a free block is linked");
    return;
  }
  if (state > RecordState::aborted) return find("[RC-2]", &r, "a block is in no state that there is");
  uids_.push_back(uid);
  if (!given_out(uid)) find("[CL-2]", &r, "a uid was never given out");
  if (uid == 0) find("[SL-1]", &r, "a claimed block has no uid of its claimer");
  if (!report_.quiescent) return;
  const bool transient = state == RecordState::priv || state == RecordState::ev_pend;
  if (transient && !linked && !held_.contains(unit)) find("[SL-2]", &r, "a block is half-built and nobody's");
  const bool live = state == RecordState::clean || state == RecordState::ev_done;
  if (live && !linked) find("[KS-3]", &r, "a live block is not linked");
  if (!live && !transient && linked && !marked_.contains(unit)) find("[KS-3]", &r, "a retired block is linked");
  if (state != RecordState::priv && state != RecordState::aborted) check_event_words(unit, r);
}

void Checker::check_uids(std::vector<std::uint64_t>& uids) {
  std::sort(uids.begin(), uids.end());
  for (auto at = std::adjacent_find(uids.begin(), uids.end()); at != uids.end(); at = std::adjacent_find(at + 1, uids.end())) {
    find("[CL-2]", view_.clients, "two blocks have the uid " + std::to_string(*at));
  }
}

/// [SL-3] holds behind a scrub; before, a block that its freer had no time to list is not damage.
void Checker::check_free_bits(std::uint64_t page) {
  std::uint64_t index = 0;
  for_each_block(view_, page, [&](std::uint64_t, const Record& r) {
    const std::uint64_t i = index++;
    const std::uint64_t bits = view_.free_bits[page * view_.bit_words + i / 64].load_acquire();
    const bool slab = PageWord::kind(view_.pages[page].load_acquire()) == PageWord::kSlab;
    if (slab && Hdr::state(r.hdr.load_acquire()) == RecordState::free && (bits >> (i % 64) & 1) == 0) ++report_.blocks_unlisted;
  });
}

void Checker::check_summary() {
  if (!report_.quiescent) return;
  const std::uint64_t offset = view_.header->wall_offset.load_acquire();
  const bool revising = (offset & layout::WallOffset::kRevising) != 0;
  for (std::uint64_t b = 0; b < view_.shape.bucket_count; ++b) {
    std::uint64_t earliest = layout::Link::kNever;
    ChainWalk walk{view_, b};
    while (walk.next()) {
      const std::uint64_t word = walk.slot().load_acquire();
      if (!Slot::occupied(word) || Slot::mark(word) != Mark::live) continue;
      const Record* r = view_.record(Slot::Offset::get(word));
      if (r == nullptr) continue;
      const auto deadline = layout::Exp::deadline(r->exp.load_acquire());
      if (!deadline.is_set()) continue;
      if (deadline.is_wall() && offset == 0) {
        find("[EX-3]", &r->exp, "a deadline of the wall clock, and nobody noted where that is");
      } else if (!deadline.is_wall() || !revising) {
        earliest = std::min(earliest, summary_ms(view_, deadline));
      }
    }
    if (earliest == layout::Link::kNever) continue;
    if (layout::Link::Deadline::get(view_.buckets[b].link.load_acquire()) > earliest) {
      find("[EX-1]", &view_.buckets[b].link, "bucket " + std::to_string(b) + " would expire late");
      continue;
    }
    for (unsigned level = 0; level < view_.levels.count; ++level) {
      const Word& node = view_.minima[view_.levels.start[level] + (b >> (6 * (level + 1)))];
      if (node.load_acquire() > earliest) find("[EX-1]", &node, "the deadline summary is too high for bucket " + std::to_string(b));
    }
  }
}

namespace {

/// Numbers that no operation leaves as they were, unless it only reads.
std::vector<std::uint64_t> activity_of(const View& view) {
  using namespace layout;
  constexpr Stat kChanging[] = {kSets, kDeletes, kExpired, kEvicted, kEvents, kInserts, kReturned};
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < view.shape.clients_max; ++i) {
    const Client& c = view.clients[i];
    for (const Word* word : {&c.state, &c.counter, &c.act, &c.nw, &c.old, &c.page}) numbers.push_back(word->load_acquire());
    for (const Stat stat : kChanging) numbers.push_back(c.stats[stat].load_relaxed());
  }
  numbers.push_back(view.header->ring_tail.load_acquire());
  numbers.push_back(view.header->ring_head.load_acquire());
  return numbers;
}

/// Leaves what another look has found as well.
void keep_common(FsckReport& report, const FsckReport& other) {
  std::erase_if(report.findings, [&](const FsckFinding& finding) {
    return std::none_of(other.findings.begin(), other.findings.end(), [&](const FsckFinding& again) {
      return again.invariant == finding.invariant && again.offset == finding.offset && again.text == finding.text;
    });
  });
  report.findings_total = report.findings.size();
}

void wait_a_moment() { std::this_thread::sleep_for(std::chrono::milliseconds{1}); }

}  // namespace

FsckReport check_segment(const View& view) {
  constexpr int kTriesMax = 3;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const auto before = activity_of(view);
    FsckReport report = Checker{view, false}.run();
    if (report.findings_total > 0) wait_a_moment();  // an operation counts itself behind its last step
    report.quiescent = report.quiescent && activity_of(view) == before;
    if (report.quiescent || report.findings_total == 0) return report;
  }
  // What is damaged stays where it is; what a look meets because it takes its time is somewhere else each time.
  constexpr int kLooksMax = 8;
  FsckReport report = Checker{view, true}.run();
  for (int looks = 1; looks < kLooksMax && report.findings_total > 0; ++looks) {
    wait_a_moment();
    keep_common(report, Checker{view, true}.run());
  }
  return report;
}

}  // namespace cachee::shm
