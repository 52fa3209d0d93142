// DEPENDS_ON: which keys a key was made from. The list is stored with the child.
#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "control/commands/call.hpp"

namespace cachee::daemon {
namespace {

// A walk that meets more keys than this gives up and refuses the edge.
constexpr std::size_t kWalkKeysMax = 10'000;
constexpr int kRacesMax = 100;

std::string shown_path(const std::vector<std::string>& path) {
  std::string text;
  for (const std::string& key : path) {
    if (!text.empty()) text += " -> ";
    text += key;
  }
  return text;
}

// Walks from a parent up to what it was made from, looking for the child. Depth first without
// recursion; `path` is the chain of keys from the child to the one that is looked at.
class CycleSearch {
 public:
  CycleSearch(const Cache& cache, std::string_view child) : cache_{cache}, child_{child} {}

  /// The cycle that the edge child -> parent would close; empty: none.
  Outcome<std::vector<std::string>> find(const std::string& parent) {
    path_ = {child_};
    std::vector<std::vector<std::string>> open{{parent}};  // siblings still to visit, by depth
    while (!open.empty()) {
      if (open.back().empty()) {
        open.pop_back();
        path_.pop_back();
        continue;
      }
      std::string key = std::move(open.back().back());
      open.back().pop_back();
      path_.push_back(key);
      if (key == child_) return path_;
      if (!visited_.insert(key).second) {
        path_.pop_back();
        continue;
      }
      if (visited_.size() > kWalkKeysMax) {
        return Failure{Errc::unsupported,
                       fmt::format("more than {} keys stand above '{}'; nothing was added",
                                   kWalkKeysMax, child_)};
      }
      auto entry = cache_.inspect(key);
      open.push_back(entry ? std::move(entry->depends_on) : std::vector<std::string>{});
    }
    return std::vector<std::string>{};
  }

 private:
  const Cache& cache_;
  std::string child_;
  std::vector<std::string> path_{};
  std::unordered_set<std::string> visited_{};
};

void run_depends_on(Call& call) {
  if (!check_keys(call, call.from(1))) return;
  const std::vector<std::string> parents(call.from(2).begin(), call.from(2).end());
  for (int race = 0; race < kRacesMax; ++race) {
    if (!check_dependencies(call, call[1], parents)) return;
    auto entry = call.cache.inspect(call[1]);
    if (!entry) return reply_error(call.reply, entry.error());
    SetOptions options;
    options.keep_ttl = true;
    options.cost = entry->cost;
    options.metadata = std::move(entry->metadata);
    options.depends_on = std::move(entry->depends_on);
    options.if_version = entry->version;
    const std::size_t known = options.depends_on.size();
    for (const std::string& parent : parents) {
      const auto& list = options.depends_on;
      if (std::find(list.begin(), list.end(), parent) == list.end()) {
        options.depends_on.push_back(parent);
      }
    }
    if (options.depends_on.size() == known) return call.reply.simple("OK");
    if (options.depends_on.size() > kDependenciesMax) {
      return call.reply.error(fmt::format("ERR '{}' would depend on more than {} keys",
                                          call[1].substr(0, 64), kDependenciesMax));
    }
    const auto written = call.cache.set(call[1], entry->value, options);
    if (written) return call.reply.simple("OK");
    if (written.code() != Errc::stale) return reply_error(call.reply, written.error());
  }
  call.reply.error("ERR the key changes too fast; nothing was added, try again");
}

constexpr Command kCommands[] = {
    {"depends_on", -3, kWrites | kMayGrow, 1, -1, 1, "cachee", "child parent [parent ...]",
     "Adds keys to those that a key was made from; refuses cycles.", run_depends_on},
};

}  // namespace

bool check_dependencies(Call& call, std::string_view child,
                        const std::vector<std::string>& parents) {
  CycleSearch search{call.cache, child};
  for (const std::string& parent : parents) {
    if (!check_key(call, parent)) return false;
    const auto cycle = search.find(parent);
    if (!cycle) {
      reply_failure(call.reply, cycle.failure());
      return false;
    }
    if (!cycle->empty()) {
      call.reply.error("ERR cycle detected: " + shown_path(*cycle));
      return false;
    }
  }
  return true;
}

std::span<const Command> graph_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
