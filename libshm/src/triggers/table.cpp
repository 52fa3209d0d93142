#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/bounds.hpp"
#include "base/hash.hpp"
#include "triggers/triggers.hpp"

namespace cachee::shm {

using layout::TriggerWord;

namespace {

constexpr std::uint64_t kHashSeed = 0;
constexpr std::uint64_t kEnabledBit = std::uint64_t{1} << 32;
constexpr std::uint64_t kPausedBit = std::uint64_t{1} << 33;
constexpr std::uint64_t kShedBit = std::uint64_t{1} << 34;
constexpr std::uint64_t kLiteralBit = std::uint64_t{1} << 35;  // the pattern has no special character
constexpr std::uint64_t kPrefixBit = std::uint64_t{1} << 36;   // or one only, a `*` at its end
constexpr std::uint64_t kGroupBit = std::uint64_t{1} << 37;    // a consumer group: no source
constexpr std::uint64_t kFileBit = std::uint64_t{1} << 38;     // of triggers.d
constexpr std::uint64_t kPastBit = std::uint64_t{1} << 39;     // what the trigger of the item before wanted once
constexpr std::uint32_t kShedWaitMs = 1000;  // the supervisor sheds what waits; that takes it a moment

/// Bytes of a pattern before its first special character.
std::size_t literal_prefix(std::string_view pattern) noexcept {
  const std::size_t at = pattern.find_first_of("*?[\\");
  return at == std::string_view::npos ? pattern.size() : at;
}

/// Which of the two simple shapes a pattern has; most have one.
std::uint64_t shape_of(std::string_view pattern) noexcept {
  const std::size_t prefix = literal_prefix(pattern);
  if (prefix == pattern.size()) return kLiteralBit;
  return prefix + 1 == pattern.size() && pattern.back() == '*' ? kPrefixBit : 0;
}

/// Where a hash stands in a filter of so many words.
struct FilterBit {
  // The heads go by the low bits.
  FilterBit(std::uint64_t hash, std::uint64_t words) noexcept
      : word{(hash >> 38) & (words - 1)}, shift{static_cast<unsigned>(hash >> 32 & 63)} {}
  std::uint64_t word;
  unsigned shift;
};

/// Bounds-checked reads of one buffer; anything out of range is zero or not there.
class TableView {
 public:
  TableView(const View& view, std::uint64_t generation) noexcept
      : words_{view.tables[generation & 1]},
        capacity_{view.shape.table_bytes / 8},
        items_{std::min(words_[layout::kTableItems].load_relaxed(), capacity_)},
        lengths_{std::min<std::uint64_t>(words_[layout::kTableLengths].load_relaxed(), layout::kPrefixLengthsMax)},
        filter_words_{std::min(words_[layout::kTableFilter].load_relaxed(), capacity_)},
        heads_{std::min(words_[layout::kTableHeads].load_relaxed(), capacity_)} {}
  std::uint64_t items() const noexcept { return items_; }
  std::uint64_t lengths() const noexcept { return lengths_; }
  /// `i` < kPrefixLengthsMax.
  std::uint64_t length(std::uint64_t i) const noexcept { return words_[layout::kTableHeaderWords + i].load_relaxed(); }
  /// False: no prefix has this hash.
  bool may_have(std::uint64_t hash) const noexcept {
    const FilterBit bit{hash, filter_words_};
    return (word(layout::kTableFilterAt + bit.word) >> bit.shift & 1) != 0;
  }
  /// First item of the chain of a hash, from 1; 0: none.
  std::uint64_t head(std::uint64_t hash) const noexcept {
    return heads_ == 0 ? 0 : word(layout::kTableFilterAt + filter_words_ + (hash & (heads_ - 1)));
  }
  /// Its kItemWords words; nullptr when they do not lie in the buffer.
  const Word* item(std::uint64_t index) const noexcept {
    const std::uint64_t at = layout::table_items_at(filter_words_, heads_) + index * layout::kItemWords;
    return index < items_ && at + layout::kItemWords <= capacity_ ? words_ + at : nullptr;
  }
  /// Copies text out; false when it does not lie in the buffer.
  bool text(std::uint64_t at, std::uint64_t bytes, char* out) const noexcept {
    if (!is_text(at, bytes)) return false;
    mem::copy_out(out, words_ + at / 8, bytes);
    return true;
  }
  bool text_is(std::uint64_t at, std::string_view with) const noexcept {
    return is_text(at, with.size()) && mem::equal_bytes(words_ + at / 8, with.data(), with.size());
  }

 private:
  static_assert(layout::kTableFilterAt * 8 <= layout::kTableBytesMin, "the header needs no check");
  std::uint64_t word(std::uint64_t i) const noexcept { return i < capacity_ ? words_[i].load_relaxed() : 0; }
  bool is_text(std::uint64_t at, std::uint64_t bytes) const noexcept {
    return at % 8 == 0 && at <= capacity_ * 8 && bytes <= capacity_ * 8 - at;
  }

  const Word* words_;
  std::uint64_t capacity_;
  std::uint64_t items_;
  std::uint64_t lengths_;
  std::uint64_t filter_words_;
  std::uint64_t heads_;
};

bool matches(const TableView& table, const Word* item, std::uint64_t flags, KeyView key) noexcept {
  const std::uint64_t pattern_bytes = item[layout::kItemPatternBytes].load_relaxed();
  const std::uint64_t text = item[layout::kItemText].load_relaxed();
  if ((flags & kLiteralBit) != 0) return pattern_bytes == key.size() && table.text_is(text, key);
  if ((flags & kPrefixBit) != 0) {
    return pattern_bytes <= 1 || (pattern_bytes <= key.size() + 1 && table.text_is(text, key.substr(0, pattern_bytes - 1)));
  }
  char pattern[kPatternBytesMax];
  return pattern_bytes <= sizeof pattern && table.text(text, pattern_bytes, pattern) && glob_match({pattern, pattern_bytes}, key);
}

void match_item(const TableView& table, const Word* item, KeyView key, Interest& interest) noexcept {
  const std::uint64_t flags = item[layout::kItemEvents].load_relaxed();
  if ((flags & kEnabledBit) == 0 || !matches(table, item, flags, key)) return;
  interest.wanted |= static_cast<EventMask>(flags);
  const bool sheds = (flags & kShedBit) != 0;
  const auto block_ms = static_cast<std::uint32_t>(item[layout::kItemBlockMs].load_relaxed());
  interest.block_ms = std::max(interest.block_ms, sheds ? kShedWaitMs : std::min(block_ms, base::kBlockMsMax));
}

/// M2 for the patterns whose literal prefix has this length and hash. Returns how many items it has compared.
std::uint64_t match_chain(const TableView& table, std::uint64_t prefix_bytes, std::uint64_t hash, KeyView key,
                          std::uint64_t compared_max, Interest& interest) noexcept {
  std::uint64_t compared = 0;
  std::uint64_t next = table.head(hash);
  for (std::uint64_t steps = table.items(); next != 0 && steps > 0; --steps) {
    const Word* const item = table.item(next - 1);
    if (item == nullptr) break;
    next = item[layout::kItemNext].load_relaxed();
    if (item[layout::kItemPrefixHash].load_relaxed() != hash || item[layout::kItemPrefixBytes].load_relaxed() != prefix_bytes) {
      continue;
    }
    if (compared == compared_max) break;
    ++compared;
    match_item(table, item, key, interest);
  }
  return compared;
}

/// M2.
void match_patterns(const TableView& table, KeyView key, Interest& interest) noexcept {
  const std::uint64_t lengths = table.lengths();
  // Most keys that no pattern wants differ from all of them in their first bytes.
  std::uint64_t prefix_bytes = table.length(0);
  if (lengths == 0 || prefix_bytes > key.size()) return;
  std::uint64_t hash = base::hash_bytes(key.substr(0, prefix_bytes), kHashSeed);
  if (!table.may_have(hash)) [[likely]] return;
  // A sound table has each item in one chain: whoever makes rings of chains gets no more work done.
  std::uint64_t left = table.items();
  for (std::uint64_t i = 0;;) {
    if (table.may_have(hash)) left -= match_chain(table, prefix_bytes, hash, key, left, interest);
    if (++i == lengths) return;
    prefix_bytes = table.length(i);
    if (prefix_bytes > key.size()) return;  // ascending
    hash = base::hash_bytes(key.substr(0, prefix_bytes), kHashSeed);
  }
}

/// G1 of one past interest, whose pattern is at `text_at` words.
void put_past(Word* item, const TriggerSpec& trigger, const PastInterest& past, std::uint64_t text_at) noexcept {
  for (unsigned field = 0; field < layout::kItemWords; ++field) item[field].store_relaxed(0);
  item[layout::kItemEvents].store_relaxed(past.events | kPastBit);
  item[layout::kItemText].store_relaxed(text_at * 8);
  item[layout::kItemPatternBytes].store_relaxed(past.pattern.size());
  item[layout::kItemSlot].store_relaxed(trigger.slot);
  item[layout::kItemId].store_relaxed(past.until_generation);
  item[layout::kItemSince].store_relaxed(past.since_generation);
  item[layout::kItemTimeout].store_relaxed(std::uint64_t{past.sample} << 32);
}

}  // namespace

Interest match_table(const View& view, KeyView key) noexcept {
  for (int rounds = 1;; ++rounds) {
    Interest interest;
    interest.word = view.header->trigger_word.load_seq_cst();  // M1
    if (TriggerWord::Mask::get(interest.word) == 0) return interest;
    match_patterns({view, interest.generation()}, key, interest);  // M2
    mem::fence_acquire();
    const bool current = view.header->trigger_word.load_seq_cst() == interest.word;  // M3 [TR-3]
    if (current || rounds == base::kTableRoundsMax) return interest;
  }
}

Result<void> publish_table(const View& view, const TriggerTable& table) noexcept {
  const std::uint64_t old_word = view.header->trigger_word.load_acquire();
  const std::uint64_t generation = TriggerWord::Generation::get(old_word) + 1;
  const std::size_t count = table.triggers.size();
  std::size_t items = count;
  std::set<std::uint64_t> lengths;
  for (const TriggerSpec& t : table.triggers) {
    lengths.insert(literal_prefix(t.pattern));
    items += t.past.size();
  }
  // Too many different lengths: cut the longest ones down; a shorter prefix is only less selective.
  std::uint64_t longest = ~std::uint64_t{0};
  while (lengths.size() > layout::kPrefixLengthsMax) lengths.erase(std::prev(lengths.end()));
  if (!lengths.empty()) longest = *lengths.rbegin();
  const std::uint64_t heads = count == 0 ? 0 : std::bit_ceil(std::max<std::uint64_t>(16, count));
  const std::uint64_t filter_words = std::bit_ceil(std::max<std::uint64_t>(8, count * layout::kFilterBitsPerItem / 64));
  const std::uint64_t items_at = layout::table_items_at(filter_words, heads);
  std::uint64_t text_at = items_at + items * layout::kItemWords;
  std::uint64_t bytes = text_at * 8;
  for (const TriggerSpec& t : table.triggers) {
    bytes += base::align_up(t.pattern.size() + t.name.size() + t.source.size(), 8);
    for (const PastInterest& past : t.past) bytes += base::align_up(past.pattern.size(), 8);
  }
  if (bytes > view.shape.table_bytes) return Error{Errc::no_space, 0, bytes};

  Word* words = view.tables[generation & 1];
  words[layout::kTableBytes].store_relaxed(bytes);
  words[layout::kTableItems].store_relaxed(items);
  words[layout::kTableLengths].store_relaxed(lengths.size());
  words[layout::kTableFilter].store_relaxed(filter_words);
  words[layout::kTableHeads].store_relaxed(heads);
  std::uint64_t at = layout::kTableHeaderWords;
  for (const std::uint64_t length : lengths) words[at++].store_relaxed(length);
  for (std::uint64_t i = layout::kTableFilterAt; i < items_at; ++i) words[i].store_relaxed(0);
  EventMask mask = 0;
  std::uint64_t i = 0;  // the next item
  const auto put_text = [&](const std::string& text) {
    mem::copy_in(words + text_at, text.data(), text.size());
    text_at += base::align_up(text.size(), 8) / 8;
  };
  for (const TriggerSpec& t : table.triggers) {
    const std::uint64_t prefix_bytes = std::min<std::uint64_t>(literal_prefix(t.pattern), longest);
    // Only registered lengths are probed: round down to one.
    const auto length = *std::prev(lengths.upper_bound(prefix_bytes));
    const auto hash_of = [&](std::uint64_t bytes_of) {
      return base::hash_bytes(std::string_view{t.pattern}.substr(0, bytes_of), kHashSeed);
    };
    const std::uint64_t hash = hash_of(length);
    for (const std::uint64_t known : {hash, hash_of(*lengths.begin())}) {
      const FilterBit bit{known, filter_words};
      Word& word = words[layout::kTableFilterAt + bit.word];
      word.store_relaxed(word.load_relaxed() | std::uint64_t{1} << bit.shift);
    }
    Word& head = words[layout::kTableFilterAt + filter_words + (hash & (heads - 1))];
    const auto put = [&](unsigned field, std::uint64_t v) { words[items_at + i * layout::kItemWords + field].store_relaxed(v); };
    put(layout::kItemNext, head.load_relaxed());
    head.store_relaxed(i + 1);
    put(layout::kItemPrefixHash, hash);
    put(layout::kItemPrefixBytes, length);
    put(layout::kItemEvents, t.events | (t.enabled ? kEnabledBit : 0) | (t.paused ? kPausedBit : 0) |
                                 (t.on_full == OnFull::shed ? kShedBit : 0) | (t.is_group ? kGroupBit : 0) |
                                 (t.from_file ? kFileBit : 0) | shape_of(t.pattern));
    put(layout::kItemText, text_at * 8);
    put(layout::kItemNameBytes, t.name.size());
    put(layout::kItemPatternBytes, t.pattern.size());
    put(layout::kItemSourceBytes, t.source.size());
    put(layout::kItemSlot, t.slot);
    put(layout::kItemId, t.id);
    put(layout::kItemSince, t.since_generation);
    put(layout::kItemBlockMs, t.block_ms | std::uint64_t{t.retry_attempts} << 32);
    put(layout::kItemBackoff, t.backoff_min_ms | std::uint64_t{t.backoff_max_ms} << 32);
    put(layout::kItemTimeout, t.timeout_ms | std::uint64_t{t.sample} << 32);
    put(layout::kItemMemory, t.memory_bytes);
    put(layout::kItemSteps, t.steps);
    put(layout::kItemPriority, static_cast<std::uint32_t>(t.priority) | std::uint64_t{t.depth_max} << 32);
    put(layout::kItemRegistered, t.registered_wall_ms);
    put_text(t.pattern + t.name + t.source);
    ++i;
    for (const PastInterest& past : t.past) {
      put_past(words + items_at + i++ * layout::kItemWords, t, past, text_at);
      put_text(past.pattern);
    }
    if (t.enabled) mask |= t.events;
  }
  // G2: publishes the buffer; pairs with M1. LINEARIZES the registration.
  view.header->trigger_word.store_seq_cst(TriggerWord::Generation::make(generation) | TriggerWord::Mask::make(mask));
  return {};
}

bool wants_nothing_new(const View& view, const TriggerTable& table) {
  const Result<TriggerTable> present = read_table(view);
  if (!present) return false;
  std::unordered_map<std::string_view, EventMask> wanted;  // by pattern
  for (const TriggerSpec& t : present->triggers) wanted[t.pattern] |= t.enabled ? t.events : 0;
  return std::all_of(table.triggers.begin(), table.triggers.end(), [&](const TriggerSpec& t) {
    const auto at = wanted.find(t.pattern);
    return !t.enabled || (at != wanted.end() && (t.events & ~at->second) == 0);
  });
}

Result<TriggerTable> read_table(const View& view) {
  for (int rounds = 0; rounds < base::kTableRoundsMax; ++rounds) {
    const std::uint64_t word = view.header->trigger_word.load_seq_cst();
    TriggerTable out;
    out.generation = TriggerWord::Generation::get(word);
    if (out.generation == 0) return out;
    const TableView table{view, out.generation};
    bool damaged = false;
    std::uint64_t text_left = view.shape.table_bytes;  // no two items share a text
    for (std::uint64_t i = 0, items = table.items(); i < items; ++i) {
      const Word* const item = table.item(i);
      damaged = item == nullptr;
      if (damaged) break;
      const auto get = [&](unsigned field) { return item[field].load_relaxed(); };
      TriggerSpec t;
      const std::uint64_t pattern_bytes = get(layout::kItemPatternBytes);
      const std::uint64_t name_bytes = get(layout::kItemNameBytes);
      const std::uint64_t source_bytes = get(layout::kItemSourceBytes);
      if (pattern_bytes > kPatternBytesMax || name_bytes > kTriggerNameBytesMax || source_bytes > kTriggerSourceBytesMax) {
        damaged = true;
        break;
      }
      const std::uint64_t text_bytes = pattern_bytes + name_bytes + source_bytes;
      damaged = text_bytes > text_left;
      if (damaged) break;
      text_left -= text_bytes;
      std::string text(text_bytes, '\0');
      damaged = !table.text(get(layout::kItemText), text.size(), text.data());
      if (damaged) break;
      t.pattern = text.substr(0, pattern_bytes);
      t.name = text.substr(pattern_bytes, name_bytes);
      t.source = text.substr(pattern_bytes + name_bytes);
      const std::uint64_t flags = get(layout::kItemEvents);
      const auto sample = static_cast<std::uint32_t>(get(layout::kItemTimeout) >> 32);
      if ((flags & kPastBit) != 0) {
        damaged = out.triggers.empty();
        if (damaged) break;
        out.triggers.back().past.push_back(
            {std::move(t.pattern), static_cast<EventMask>(flags), sample, get(layout::kItemSince), get(layout::kItemId)});
        continue;
      }
      t.events = static_cast<EventMask>(flags);
      t.enabled = (flags & kEnabledBit) != 0;
      t.paused = (flags & kPausedBit) != 0;
      t.is_group = (flags & kGroupBit) != 0;
      t.from_file = (flags & kFileBit) != 0;
      t.on_full = (flags & kShedBit) != 0 ? OnFull::shed : OnFull::block;
      t.slot = static_cast<std::uint32_t>(get(layout::kItemSlot));
      t.id = get(layout::kItemId);
      t.since_generation = get(layout::kItemSince);
      t.block_ms = static_cast<std::uint32_t>(get(layout::kItemBlockMs));
      t.retry_attempts = static_cast<std::uint32_t>(get(layout::kItemBlockMs) >> 32);
      t.backoff_min_ms = static_cast<std::uint32_t>(get(layout::kItemBackoff));
      t.backoff_max_ms = static_cast<std::uint32_t>(get(layout::kItemBackoff) >> 32);
      t.timeout_ms = static_cast<std::uint32_t>(get(layout::kItemTimeout));
      t.sample = sample;
      t.memory_bytes = get(layout::kItemMemory);
      t.steps = get(layout::kItemSteps);
      t.priority = static_cast<std::int32_t>(static_cast<std::uint32_t>(get(layout::kItemPriority)));
      t.depth_max = static_cast<std::uint32_t>(get(layout::kItemPriority) >> 32);
      t.registered_wall_ms = get(layout::kItemRegistered);
      out.triggers.push_back(std::move(t));
    }
    mem::fence_acquire();
    if (view.header->trigger_word.load_seq_cst() != word) continue;
    if (damaged) return Errc::corrupt;
    return out;
  }
  return Errc::busy;
}

}  // namespace cachee::shm
