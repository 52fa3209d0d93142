// DEPENDS_ON: which keys a key was made from. The list is stored with the child.
#include <string>
#include <vector>

#include "control/commands/call.hpp"
#include "core/dependencies.hpp"

namespace cachee::daemon {
namespace {

void run_depends_on(Call& call) {
  if (!check_keys(call, call.from(1))) return;
  const std::vector<std::string> parents(call.from(2).begin(), call.from(2).end());
  if (!check_dependencies(call, call[1], parents)) return;
  const auto added = add_dependencies(call.cache, call[1], parents);
  if (added) return call.reply.simple("OK");
  const Failure& failure = added.failure();
  const bool own_words = failure.code == Errc::unsupported || failure.code == Errc::busy;
  if (own_words) return reply_failure(call.reply, failure);
  reply_error(call.reply, Error{failure.code, 0, 0});
}

constexpr Command kCommands[] = {
    {"depends_on", -3, kWrites | kMayGrow, 1, -1, 1, "cachee", "child parent [parent ...]",
     "Adds keys to those that a key was made from; refuses cycles.", run_depends_on},
};

}  // namespace

bool check_dependencies(Call& call, std::string_view child,
                        const std::vector<std::string>& parents) {
  for (const std::string& parent : parents) {
    if (!check_key(call, parent)) return false;
  }
  const auto sound = DependencyGraph{call.cache}.check(child, parents);
  if (!sound) reply_failure(call.reply, sound.failure());
  return static_cast<bool>(sound);
}

std::span<const Command> graph_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
