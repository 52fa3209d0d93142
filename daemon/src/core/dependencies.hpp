// The graph of dependencies: which keys a key was made from. The list of a key is stored with the key and nowhere
// else; nothing stops a program that uses the library from closing a cycle, but commands and handlers may not.
//
// Use:   DependencyGraph graph{cache};
//        if (auto sound = graph.check("page:1", {"user:42"}); !sound) return sound.failure();
//        return add_dependencies(cache, "page:1", {"user:42"});
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <cachee/cache.hpp>

#include "core/outcome.hpp"

namespace cachee::daemon {

/// The graph as the cache has it, with writes over it that are decided but not applied yet.
class DependencyGraph {
 public:
  explicit DependencyGraph(const Cache& cache) : cache_{cache} {}

  /// Fails when `child` would depend on itself: "cycle detected: a -> b -> a"; or when more keys stand above it than
  /// a search looks at.
  [[nodiscard]] Outcome<void> check(std::string_view child, const std::vector<std::string>& parents) const;

  /// From now on the key has exactly these parents: it is to be written, or removed (none).
  void replace(std::string_view key, const std::vector<std::string>& parents);
  /// From now on it has these as well; fails when they are more than a key may have.
  Outcome<void> add(std::string_view key, const std::vector<std::string>& parents);

 private:
  [[nodiscard]] std::vector<std::string> parents_of(std::string_view key) const;

  std::reference_wrapper<const Cache> cache_;
  std::map<std::string, std::vector<std::string>, std::less<>> planned_{};
};

/// Adds parents to a key's own list, each once: same value, deadline and fields, unless another write came between,
/// then again. Does not look for cycles. When the key has all of them already it is not written.
///
/// @error unsupported  the key would have more than kDependenciesMax parents
/// @error busy         the key changes too fast
/// @error not_found and what Cache::set says
[[nodiscard]] Outcome<void> add_dependencies(Cache& cache, std::string_view child, const std::vector<std::string>& parents,
                                             const Provenance& from = {});

}  // namespace cachee::daemon
