#include "slab/census.hpp"

#include <algorithm>
#include <utility>

#include "record/record.hpp"
#include "slab/slab.hpp"

namespace cachee::shm {

using layout::PageWord;
using layout::RecordState;

namespace {

constexpr std::uint64_t kWordsPerBlock = 64;  // page words that cost what one block does

/// What a record needs of its block. Its lengths may be those of another record by now, or of none: what they say beyond
/// the block is not read.
std::uint64_t requested_bytes(const View& view, std::uint64_t unit, const Record& record, std::uint64_t block_bytes) noexcept {
  const RecordBounds bounds = bounds_of(view, unit, record.lens.load_relaxed());
  std::uint64_t bytes = sizeof(Record) + bounds.extension_at;
  if ((bounds.flags & layout::kHasExtension) != 0 && bytes + sizeof(Word) <= block_bytes) {
    const std::uint64_t extension = record.payload()[bounds.extension_at / sizeof(Word)].load_relaxed() & 0xffffffffu;
    bytes += base::align_up(extension, 8);
  }
  return std::min(bytes, block_bytes);
}

/// Rounded down, and what is left over is free: the parts still make up the whole.
void scale(SlabClassInfo& info, double factor) noexcept {
  for (std::uint64_t* count : {&info.blocks, &info.live, &info.waiting, &info.requested_bytes}) {
    *count = static_cast<std::uint64_t>(static_cast<double>(*count) * factor);
  }
  info.free = info.blocks - std::min(info.blocks, info.live + info.waiting);
  info.requested_bytes = std::min(info.requested_bytes, info.live * info.block_bytes);
}

}  // namespace

SlabCounter::SlabCounter(const View& view, std::uint64_t blocks_sampled)
    : view_{view}, blocks_sampled_{blocks_sampled}, parts_(view.shape.classes) {
  for (std::size_t i = 0; i < parts_.size(); ++i) parts_[i].info.block_bytes = layout::kClassBytes[i];
}

bool SlabCounter::step(std::uint64_t blocks_max) {
  std::uint64_t blocks = 0;
  for (std::uint64_t words = 0;; ++page_, ++words) {
    if (page_ == view_.shape.page_count) {
      if (!sizing_) break;
      choose_strides();
    }
    if (blocks + words / kWordsPerBlock >= blocks_max) return false;
    blocks += look_at(page_);
  }
  finish();
  return true;
}

SlabCounter::Part* SlabCounter::part_of(std::uint64_t word) noexcept {
  const std::uint64_t size_class = PageWord::Class::get(word);
  return PageWord::kind(word) == PageWord::kSlab && size_class < parts_.size() ? &parts_[size_class] : nullptr;
}

void SlabCounter::choose_strides() noexcept {
  for (Part& part : parts_) {
    const std::uint64_t pages = std::exchange(part.info.pages, 0);
    part.stride = std::max<std::uint64_t>(1, pages * (view_.shape.page_bytes / part.info.block_bytes) / blocks_sampled_);
  }
  sizing_ = false;
  page_ = 0;
}

std::uint64_t SlabCounter::look_at(std::uint64_t page) {
  const std::uint64_t word = view_.pages[page].load_acquire();
  if (Part* const part = part_of(word)) {
    const std::uint64_t nth = part->info.pages++;
    // Others in the next round; the first one always, so that a class that shrank is not without any.
    if (sizing_ || (nth != 0 && nth % part->stride != round_ % part->stride)) return 0;
    ++part->pages_seen;
    count_blocks(page, part->info);
    return view_.shape.page_bytes / part->info.block_bytes;
  }
  if (sizing_ || PageWord::kind(word) != PageWord::kRunHead) return 0;
  const std::uint64_t pages = std::min(PageWord::Length::get(word), view_.shape.page_count - page);
  SlabClassInfo& run = runs_[pages];
  run.block_bytes = pages * view_.shape.page_bytes;
  run.pages += pages;
  count_blocks(page, run);
  return 1;
}

void SlabCounter::count_blocks(std::uint64_t page, SlabClassInfo& into) const noexcept {
  for_each_block(view_, page, [&](std::uint64_t unit, const Record& record) {
    ++into.blocks;
    switch (layout::Hdr::state(record.hdr.load_relaxed())) {
      case RecordState::free: ++into.free; break;
      case RecordState::retired:
      case RecordState::aborted: ++into.waiting; break;
      default:
        ++into.live;
        into.requested_bytes += requested_bytes(view_, unit, record, into.block_bytes);
        break;
    }
  });
}

void SlabCounter::finish() {
  classes_.clear();
  sampled_ = false;
  for (Part& part : parts_) {
    SlabClassInfo info = std::exchange(part.info, {.block_bytes = part.info.block_bytes});
    const std::uint64_t seen = std::exchange(part.pages_seen, 0);
    if (info.pages == 0) continue;
    info.page_bytes = info.pages * view_.shape.page_bytes;
    if (seen < info.pages) {
      sampled_ = true;
      scale(info, static_cast<double>(info.pages) / static_cast<double>(seen));
    }
    classes_.push_back(info);
  }
  for (auto& [pages, run] : runs_) {
    run.page_bytes = run.pages * view_.shape.page_bytes;
    classes_.push_back(run);
  }
  runs_.clear();
  sizing_ = true;
  page_ = 0;
  ++round_;
}

}  // namespace cachee::shm
