#include "clients/clients.hpp"

#include <algorithm>
#include <cstring>

#include "mem/crash_point.hpp"
#include "os/process.hpp"
#include "reclaim/reclaim.hpp"

namespace cachee::shm {

using layout::ClientState;

Result<Context> claim_client(const View& view, std::uint64_t registration, Role role, std::string_view name) noexcept {
  const std::uint32_t first = role == Role::sweep ? 0 : supervisor_slots(view);  // [CL-5]
  for (std::uint32_t i = first; i < view.shape.clients_max; ++i) {
    Client& client = view.clients[i];
    std::uint64_t seen = client.state.load_acquire();
    if (ClientState::state(seen) != ClientState::kFree) continue;
    if (!client.state.cas_acq_rel(seen, ClientState::make(ClientState::kLive, registration, 0))) continue;
    CACHEE_CRASH_POINT("clients.claimed");
    // [CL-4]
    Word& used = view.header->clients_used;
    for (std::uint64_t u = used.load_seq_cst(); u < i + 1 && !used.cas_seq_cst(u, i + 1);) {
    }
    const os::ProcessIdentity self = os::own_identity();
    client.pid.store_relaxed(static_cast<std::uint64_t>(self.pid));
    client.start_ticks.store_relaxed(self.start_ticks);
    client.role.store_relaxed(static_cast<std::uint64_t>(role));
    client.attached_wall_ms.store_relaxed(static_cast<std::uint64_t>(base::wall_ns() / base::kNsPerMs));
    char text[layout::kClientNameBytes] = {};
    std::memcpy(text, name.data(), std::min(name.size(), sizeof text - 1));
    mem::copy_in(client.name, text, sizeof text);
    Context context;
    context.view = &view;
    context.me = &client;
    context.id = i;
    context.registration = registration;
    context.counter = client.counter.load_relaxed();
    if (context.counter == 0) context.counter = 1;  // uid 0 means "never used"
    context.scan_cursor = (i * 7919u) % view.shape.page_count;
    return context;
  }
  return Error{Errc::busy, 0, view.shape.clients_max};
}

void add_to_gone(const View& view, unsigned stat, std::uint64_t count) noexcept {
  Word& gone = view.header->gone_stats[stat];
  if (stat != layout::kEvictedCost) {
    gone.fetch_add(count);
    return;
  }
  // Lock-free: who fails here lost to another that added.
  for (std::uint64_t seen = gone.load_relaxed(); !gone.cas_acq_rel(seen, cost_sum(seen, count));) {
  }
}

void release_client(Context& context) noexcept {
  if (context.me == nullptr) return;
  give_back(context);
  Client& me = *context.me;
  for (unsigned i = 0; i < layout::kStatCount; ++i) {
    if (const std::uint64_t n = me.stats[i].load_relaxed(); n != 0) {
      add_to_gone(*context.view, i, n);
      me.stats[i].store_relaxed(0);
    }
  }
  for (Word* w : {&me.act, &me.nw, &me.nw_uid, &me.old, &me.old_valid, &me.hz, &me.bucket, &me.overflow, &me.page}) {
    w->store_relaxed(0);
  }
  for (Word& pin : me.pins) pin.store_relaxed(0);
  // C2: pairs with the acquire of C1.
  me.state.store_release(0);
  context.me = nullptr;
}

}  // namespace cachee::shm
