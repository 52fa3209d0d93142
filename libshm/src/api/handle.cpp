#include "api/handle.hpp"

#include <algorithm>

#include <pthread.h>

#include <cachee/segment_name.hpp>

#include "base/refusal.hpp"
#include "segment/segment.hpp"

namespace cachee::shm {

thread_local constinit LastUsed t_last{0, nullptr};

namespace {

/// Registrations of this process: never asked of the kernel (os/process.hpp).
std::mutex g_own_mutex;
std::vector<std::pair<std::string, std::uint64_t>> g_own;

/// One thread's client slots. Gives them back when the thread ends.
struct ThreadSlots {
  struct Entry {
    std::uint64_t identity;
    std::weak_ptr<Handle> handle;
    Context* context;
  };
  std::vector<Entry> entries;
  ~ThreadSlots() {
    for (const Entry& entry : entries) {
      if (const auto handle = entry.handle.lock()) handle->release_thread(entry.context);
    }
  }
};
thread_local ThreadSlots t_slots;

/// Another thread may hold the mutex when this one forks: the child would wait for it for ever. And
/// the registrations are the parent's, not the child's.
void keep_own_across_fork() noexcept {
  static const int registered = pthread_atfork([] { g_own_mutex.lock(); }, [] { g_own_mutex.unlock(); },
                                               [] {
                                                 g_own.clear();
                                                 t_last = {0, nullptr};
                                                 g_own_mutex.unlock();
                                               });
  static_cast<void>(registered);
}

bool is_own(const std::string& segment, std::uint64_t registration) noexcept {
  const std::lock_guard own{g_own_mutex};
  return std::find(g_own.begin(), g_own.end(), std::pair{segment, registration}) != g_own.end();
}

std::uint64_t next_identity() noexcept {
  std::lock_guard lock{g_own_mutex};
  static std::uint64_t counter = 0;
  return ++counter;
}

}  // namespace

Result<std::shared_ptr<Handle>> Handle::open(const OpenOptions& options) noexcept {
  if (!is_segment_name(options.name)) return base::refusal(base::Rule::segment_name);
  const bool writable = options.access == Access::read_write;
  auto mapping = os::open_mapping(options.name, writable);
  if (!mapping) return mapping.error();
  const auto view = attach_segment(mapping->data(), mapping->bytes(), writable);
  if (!view) return view.error();
  if (options.prefault) os::prefault(*mapping, writable);
  if (options.lock_memory) {
    if (const auto locked = os::lock_memory(*mapping); !locked) return locked.error();
  }
  return adopt(std::move(*mapping), *view, options);
}

Result<std::shared_ptr<Handle>> Handle::adopt(os::Mapping mapping, const View& view, const OpenOptions& options) noexcept {
  return make(std::make_shared<const os::Mapping>(std::move(mapping)), view, options);
}

Result<std::shared_ptr<Handle>> Handle::share(const OpenOptions& options) const noexcept {
  if (in_forked_child()) return Errc::closed;
  return make(mapping_, view_, options);
}

Result<std::shared_ptr<Handle>> Handle::make(std::shared_ptr<const os::Mapping> mapping, const View& view,
                                             const OpenOptions& options) noexcept {
  keep_own_across_fork();
  base::rely_on_counter();
  const std::shared_ptr<Handle> handle{new Handle};
  handle->mapping_ = std::move(mapping);
  handle->view_ = view;
  handle->name_ = options.name;
  handle->client_name_ = options.client_name;
  handle->role_ = options.role;
  handle->fork_epoch_ = os::fork_epoch();
  handle->identity_ = next_identity();
  if (view.writable) {
    // The lock first, then the first client slot: a slot whose lock is free is a dead one's.
    // A damaged counter may give a number that this process has; opening that file again would give
    // up its lock (os/process.hpp).
    do {
      handle->registration_ = view.header->registrations.fetch_add(1) & layout::ClientState::Registration::kMax;
    } while (handle->registration_ == 0 || is_own(handle->name_, handle->registration_));
    auto lock = os::hold_lock(options.name, os::registration_file(handle->registration_), 0660);
    if (!lock) return lock.error();
    handle->lock_ = std::move(*lock);
    std::lock_guard own{g_own_mutex};
    g_own.emplace_back(handle->name_, handle->registration_);
  }
  return handle;
}

Handle::~Handle() {
  if (in_forked_child()) return;  // the slots and the lock are the parent's
  for (const auto& context : contexts_) release_client(*context);
  if (registration_ == 0) return;
  {
    std::lock_guard own{g_own_mutex};
    std::erase(g_own, std::pair{name_, registration_});
  }
  os::remove_lock_file(name_, os::registration_file(registration_));
}

Result<Context*> Handle::claim() noexcept {
  const auto claimed = find_or_claim();
  if (claimed && (*claimed)->in_operation) return Errc::busy;
  return claimed;
}

Context* Handle::claim_or_null() noexcept {
  if (!view_.writable) return nullptr;
  const auto claimed = claim();
  return claimed ? *claimed : nullptr;
}

Result<Context*> Handle::find_or_claim() noexcept {
  if (in_forked_child()) return Errc::closed;
  if (!view_.writable) return Errc::read_only;
  for (const auto& entry : t_slots.entries) {
    if (entry.identity != identity_) continue;
    t_last = {identity_, entry.context};
    return entry.context;
  }
  Context* context = nullptr;
  {
    std::lock_guard lock{contexts_mutex_};
    if (!orphans_.empty()) {
      context = orphans_.back();
      orphans_.pop_back();
    }
  }
  if (context == nullptr) {
    auto claimed = claim_client(view_, registration_, role_, client_name_);
    if (!claimed) return claimed.error();
    auto owned = std::make_unique<Context>(std::move(*claimed));
    context = owned.get();
    std::lock_guard lock{contexts_mutex_};
    contexts_.push_back(std::move(owned));
  }
  std::erase_if(t_slots.entries, [](const auto& entry) { return entry.handle.expired(); });
  t_slots.entries.push_back({identity_, weak_from_this(), context});
  t_last = {identity_, context};
  return context;
}

void Handle::release_thread(Context* context) noexcept {
  if (in_forked_child()) return;
  std::lock_guard lock{contexts_mutex_};
  const auto at = std::find_if(contexts_.begin(), contexts_.end(), [&](const auto& c) { return c.get() == context; });
  if (at == contexts_.end()) return;
  // A PinnedValue may outlive its thread: giving the slot back would drop its protection, and its
  // release would later drop that of the slot's next owner.
  const auto& pins = context->me->pins;
  if (std::any_of(std::begin(pins), std::end(pins), [](const auto& pin) { return pin.load_relaxed() != 0; })) {
    orphans_.push_back(context);
    return;
  }
  release_client(**at);
  contexts_.erase(at);
}

void Handle::leave_thread() noexcept {
  const auto mine = std::find_if(t_slots.entries.begin(), t_slots.entries.end(), [&](const auto& entry) { return entry.identity == identity_; });
  if (mine == t_slots.entries.end()) return;
  release_thread(mine->context);
  t_slots.entries.erase(mine);
  if (t_last.identity == identity_) t_last = {0, nullptr};
}

bool LockLiveness::is_dead(const Client& client, std::uint64_t registration) const noexcept {
  if (is_own(segment_, registration)) return false;
  // Another copy of the library in this process: alive, and not to be asked of the kernel.
  if (static_cast<std::int32_t>(client.pid.load_relaxed()) == self_.pid &&
      client.start_ticks.load_relaxed() == self_.start_ticks &&
      layout::ClientState::Registration::get(client.state.load_relaxed()) == registration) {
    return false;
  }
  return os::lock_holder(segment_, os::registration_file(registration)) == 0;
}

}  // namespace cachee::shm
