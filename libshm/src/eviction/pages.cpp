// Whole pages: emptied by eviction, or vacated by moving what is in them.
#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "eviction/eviction.hpp"
#include "eviction/score.hpp"
#include "index/index.hpp"
#include "keyspace/keyspace.hpp"
#include "reclaim/reclaim.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::Hdr;
using layout::PageWord;
using layout::RecordState;
using layout::Slot;

namespace {

constexpr std::uint64_t kHolesTriedMax = 128;  // places for a run that are compared
constexpr double kHeld = 1e30;                 // more than anything is worth
constexpr std::uint64_t kBlocksSampled = 4;    // of a page, to tell what it is worth

bool in_use(RecordState state) noexcept {
  return state != RecordState::free && state != RecordState::retired && state != RecordState::aborted;
}

/// The same key, value, version and deadline in another block: a touch that changes nothing. It
/// competes for the slot like any write, so a newer value always wins.
struct Move final : WritePlan {
  explicit Move(std::uint64_t from) : unit{from} {
    keeps_deadline = true;
    touch_copy = true;
    makes_room = false;
  }
  Errc prepare(const View& view, std::uint64_t old_unit, Deadline old_deadline, RecordParts& parts,
               Deadline& deadline) override {
    if (old_unit != unit) return Errc::stale;  // it moved on by itself
    parts = {key_in_place(view, unit), value_in_place(view, unit), extension_in_place(view, unit), layout::kTouchCopy};
    deadline = old_deadline;
    return Errc::ok;
  }
  std::uint64_t unit;
};

/// Nobody is to find a block in the page from now on: hints only, and scrub sets them again.
void hide_page(Context& context, std::uint64_t page, unsigned size_class) noexcept {
  const View& view = *context.view;
  view.available[size_class * view.available_words + page / 64].fetch_and(~(std::uint64_t{1} << (page % 64)));
  for (std::uint64_t w = 0; w < view.bit_words; ++w) view.free_bits[page * view.bit_words + w].fetch_and(0);
  std::erase_if(context.free_blocks[size_class], [&](std::uint64_t unit) { return view.page_of(unit) == page; });
  if (context.page_of_class[size_class] == page + 1) context.page_of_class[size_class] = 0;
}

/// What is lost with a block: its value density by its bytes. 0: nothing is linked there.
double worth_of(const View& view, std::uint64_t unit, std::uint64_t bytes, unsigned size_class, EvictionPolicy policy) noexcept {
  const Linked linked = find_by_key(view, unit);
  if (linked.slot == nullptr) {
    // Free, or on its way out; what somebody still holds cannot make room now.
    return Hdr::state(view.record(unit)->hdr.load_relaxed()) == RecordState::free ? 0 : kHeld;
  }
  const std::int32_t score = score_in_class(view, policy, linked.heat->load_relaxed(), bytes, size_class);
  // The density of policy `lru` is its recency; any growing function of the score will do.
  return (policy == EvictionPolicy::lru ? 1.0 / (1.0 - score) : std::exp2(static_cast<double>(score) / kScoreOctave)) * static_cast<double>(bytes);
}

double worth_of_slab(const View& view, std::uint64_t page, std::uint64_t word, EvictionPolicy policy) noexcept {
  const std::uint64_t size_class = PageWord::Class::get(word);
  if (PageWord::kind(word) != PageWord::kSlab || size_class >= view.shape.classes) return 0;
  const std::uint64_t bytes = layout::kClassBytes[size_class];
  const std::uint64_t blocks = view.shape.page_bytes / bytes;
  const std::uint64_t samples = std::min(blocks, kBlocksSampled);
  double sum = 0;
  for (std::uint64_t n = 0; n < samples; ++n) {
    sum += worth_of(view, view.page_unit(page) + n * blocks / samples * (bytes / layout::kOffsetUnit), bytes, static_cast<unsigned>(size_class), policy);
  }
  return sum * static_cast<double>(blocks) / static_cast<double>(samples);
}

}  // namespace

Linked find_by_key(const View& view, std::uint64_t unit) noexcept {
  Linked found;
  found.bucket = view.bucket_of(view.hash(KeyCopy{view, unit}.view()));
  ChainWalk walk{view, found.bucket};
  while (walk.next()) {
    const std::uint64_t word = walk.slot().load_acquire();
    if (!Slot::occupied(word) || Slot::mark(word) != layout::Mark::live || Slot::Offset::get(word) != unit) continue;
    found.slot = &walk.slot();
    found.word = word;
    found.heat = &walk.heat();
    break;
  }
  return found;
}

std::optional<std::uint64_t> make_hole(Context& context, EvictionPolicy policy, std::uint64_t pages) noexcept {
  const View& view = *context.view;
  if (pages == 0 || pages > view.shape.page_count) return std::nullopt;
  const auto run_at = [&](std::uint64_t page) {
    const std::uint64_t word = view.pages[page].load_relaxed();
    const std::uint64_t back = PageWord::Length::get(word);
    return PageWord::kind(word) == PageWord::kRunTail && back <= page ? page - back : page;
  };
  // A run that begins before goes whole; else as near behind another run as may be, so that what is between two runs
  // and too short for a third does not stay so.
  const auto start_at = [&](std::uint64_t place) {
    if (const std::uint64_t run = run_at(place); run != place) return run;
    for (std::uint64_t start = place; start > 0 && place - start < pages; --start) {
      const auto before = PageWord::kind(view.pages[start - 1].load_relaxed());
      if (before == PageWord::kRunTail || before == PageWord::kRunHead) return start;
    }
    return place;
  };
  const std::uint64_t places = view.shape.page_count - pages + 1;
  const std::uint64_t stride = std::max<std::uint64_t>(1, places / kHolesTriedMax);
  std::uint64_t best_start = 0;
  double best_loss = -1;
  for (std::uint64_t place = view.header->page_hand.fetch_add(1) % stride; place < places; place += stride) {
    const std::uint64_t start = start_at(place);
    double loss = 0;
    for (std::uint64_t p = start; p < start + pages && (best_loss < 0 || loss < best_loss); ++p) {
      const std::uint64_t head = run_at(p);
      const std::uint64_t word = view.pages[head].load_relaxed();
      if (PageWord::kind(word) == PageWord::kFree) continue;
      if (PageWord::kind(word) != PageWord::kRunHead) {
        loss += worth_of_slab(view, p, word, policy);
      } else if (p == start || p == head) {
        // The whole run goes, whatever part of it is in the way.
        const std::uint64_t bytes = std::max<std::uint64_t>(1, PageWord::Length::get(word)) * view.shape.page_bytes;
        loss += worth_of(view, view.page_unit(head), bytes, view.shape.classes, policy);
      }
    }
    if (best_loss >= 0 && loss >= best_loss) continue;
    best_loss = loss;
    best_start = start;
  }
  bool whole = true;
  for (std::uint64_t p = best_start; p < best_start + pages; ++p) {
    whole = (PageWord::kind(view.pages[p].load_relaxed()) == PageWord::kFree || empty_page(context, run_at(p))) && whole;
  }
  return whole ? std::optional{best_start} : std::nullopt;
}

bool empty_page(Context& context, std::uint64_t page) noexcept {
  const View& view = *context.view;
  bool all = true;
  for_each_block(view, page, [&](std::uint64_t unit, Record& record) {
    if (!in_use(Hdr::state(record.hdr.load_acquire()))) return;
    // The key says where the slot is; a torn key finds nothing and the page stays.
    const Linked linked = find_by_key(view, unit);
    all = linked.slot != nullptr && evict_slot(context, linked.bucket, *linked.slot, linked.word) && all;
  });
  reclaim_retired(context);
  reclaim_page(context, page, true);
  const std::uint64_t word = view.pages[page].load_acquire();
  if (PageWord::kind(word) == PageWord::kFree) return true;  // it was a run
  return all && drain_page(context, page);
}

bool vacate_page(Context& context, std::uint64_t page) noexcept {
  const View& view = *context.view;
  const std::uint64_t word = view.pages[page].load_acquire();
  const auto size_class = static_cast<unsigned>(PageWord::Class::get(word));
  if (PageWord::kind(word) != PageWord::kSlab || size_class >= view.shape.classes) return false;
  hide_page(context, page, size_class);
  // What the moves leave behind is not freed before the last of them: it would be taken again.
  std::vector<RetiredBlock> left;
  bool all = true;
  for_each_block(view, page, [&](std::uint64_t unit, Record& record) {
    if (!all || !in_use(Hdr::state(record.hdr.load_acquire()))) return;
    const KeyCopy key{view, unit};  // may be torn: then no slot has it with this block
    Move move{unit};
    const auto moved = write_record(context, key.view(), move);
    all = moved.has_value() || moved.code() == Errc::stale || moved.code() == Errc::not_found;
    left.insert(left.end(), context.retired.begin(), context.retired.end());
    context.retired.clear();
  });
  context.retired = std::move(left);
  reclaim_retired(context);
  reclaim_page(context, page, true);
  std::erase_if(context.free_blocks[size_class], [&](std::uint64_t unit) { return view.page_of(unit) == page; });
  if (drain_page(context, page)) return true;
  refresh_page_bits(view, page);
  return false;
}

}  // namespace cachee::shm
