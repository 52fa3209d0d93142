#include <cachee/cache.hpp>
#include <cachee/maintain.hpp>
#include <cachee/triggers.hpp>

#include "api/handle.hpp"
#include "triggers/triggers.hpp"

namespace cachee {

Result<TriggerTable> read_triggers(const Cache& cache) {
  if (cache.handle()->in_forked_child()) return Errc::closed;
  return shm::read_table(cache.handle()->view());
}

std::uint64_t trigger_generation(const Cache& cache) noexcept {
  if (cache.handle()->in_forked_child()) return 0;
  return layout::TriggerWord::Generation::get(cache.handle()->view().header->trigger_word.load_acquire());
}

TriggerMatcher::TriggerMatcher(const TriggerTable& table) {
  for (std::size_t i = 0; i < table.triggers.size(); ++i) {
    const TriggerSpec& t = table.triggers[i];
    const auto index = static_cast<std::uint32_t>(i);
    for (const PastInterest& past : t.past) {
      add({index, past.events, past.sample, past.since_generation, past.until_generation, past.pattern});
    }
    if (t.enabled) add({index, t.events, t.sample, t.since_generation, kNoEnd, t.pattern});
  }
}

void TriggerMatcher::add(Item item) {
  // One group keeps table order across prefixes; few triggers share a prefix by chance.
  const std::string prefix = item.pattern.substr(0, item.pattern.find_first_of("*?[\\"));
  if (groups_.empty() || groups_.back().prefix != prefix) groups_.push_back({prefix, {}});
  groups_.back().items.push_back(std::move(item));
}

}  // namespace cachee
