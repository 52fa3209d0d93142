#include "core/dependencies.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace cachee::daemon {
namespace {

// A walk that meets more keys than this gives up and refuses the edge.
constexpr std::size_t kWalkKeysMax = 10'000;
constexpr int kRacesMax = 100;
constexpr std::size_t kShownKeyBytesMax = 64;

/// Appends what is not in the list yet; returns whether anything was.
bool merge(std::vector<std::string>& list, const std::vector<std::string>& more) {
  const std::size_t known = list.size();
  for (const std::string& key : more) {
    if (std::find(list.begin(), list.end(), key) == list.end()) list.push_back(key);
  }
  return list.size() != known;
}

Outcome<void> check_count(std::string_view child, const std::vector<std::string>& parents) {
  if (parents.size() <= kDependenciesMax) return {};
  return Failure{Errc::unsupported, fmt::format("'{}' would depend on more than {} keys", child.substr(0, kShownKeyBytesMax), kDependenciesMax)};
}

}  // namespace

std::vector<std::string> DependencyGraph::parents_of(std::string_view key) const {
  if (const auto at = planned_.find(key); at != planned_.end()) return at->second;
  auto entry = cache_.get().inspect(key);
  return entry ? std::move(entry->depends_on) : std::vector<std::string>{};
}

void DependencyGraph::replace(std::string_view key, const std::vector<std::string>& parents) {
  planned_.insert_or_assign(std::string{key}, parents);
}

Outcome<void> DependencyGraph::add(std::string_view key, const std::vector<std::string>& parents) {
  std::vector<std::string> all = parents_of(key);
  merge(all, parents);
  replace(key, all);
  return check_count(key, all);
}

/// Walks from the parents up to what they were made from, looking for the child. Depth first without recursion; `path`
/// is the chain of keys from the child to the one that is looked at.
Outcome<void> DependencyGraph::check(std::string_view child, const std::vector<std::string>& parents) const {
  std::vector<std::string> path{std::string{child}};
  std::vector<std::vector<std::string>> open{{parents.rbegin(), parents.rend()}};  // siblings still to visit, by depth
  std::unordered_set<std::string> visited;
  while (!open.empty()) {
    if (open.back().empty()) {
      open.pop_back();
      path.pop_back();
      continue;
    }
    std::string key = std::move(open.back().back());
    open.back().pop_back();
    if (key == child) {
      path.push_back(std::move(key));
      return Failure{Errc::unsupported, fmt::format("cycle detected: {}", fmt::join(path, " -> "))};
    }
    if (!visited.insert(key).second) continue;
    if (visited.size() > kWalkKeysMax) {
      return Failure{Errc::unsupported, fmt::format("more than {} keys stand above '{}'; nothing was added", kWalkKeysMax,
                                                    child.substr(0, kShownKeyBytesMax))};
    }
    open.push_back(parents_of(key));
    path.push_back(std::move(key));
  }
  return {};
}

Outcome<void> add_dependencies(Cache& cache, std::string_view child, const std::vector<std::string>& parents,
                               const Provenance& from) {
  const auto failed = [](const Error& error) { return Failure{error.code, to_string(error)}; };
  for (int race = 0; race < kRacesMax; ++race) {
    auto entry = cache.inspect(child);
    if (!entry) return failed(entry.error());
    SetOptions options;
    options.keep_ttl = true;
    options.cost = entry->cost;
    options.metadata = std::move(entry->metadata);
    options.depends_on = std::move(entry->depends_on);
    options.if_version = entry->version;
    options.provenance = from;
    if (!merge(options.depends_on, parents)) return {};
    if (auto counted = check_count(child, options.depends_on); !counted) return counted;
    const auto written = cache.set(child, entry->value, options);
    if (written) return {};
    if (written.code() != Errc::stale) return failed(written.error());
  }
  return Failure{Errc::busy, "the key changes too fast; nothing was added, try again"};
}

}  // namespace cachee::daemon
