// Handle: one attachment of this process to a segment, shared by the public classes.
//
// A thread's first operation claims a client slot; the thread's end, or the handle's, gives it back.
// After fork() the child's copies see another fork epoch and every call says Errc::closed; the
// mapping itself is not inherited (MADV_DONTFORK).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cachee/options.hpp>
#include <cachee/result.hpp>

#include "clients/clients.hpp"
#include "os/mapping.hpp"
#include "os/process.hpp"
#include "segment/view.hpp"

namespace cachee::shm {

/// The last handle that this thread used, and its client slot there: one compare on the hot path.
/// initial-exec: an access costs no call in the shared library either.
struct LastUsed {
  std::uint64_t identity;
  Context* context;
};
extern thread_local constinit LastUsed t_last [[gnu::tls_model("initial-exec")]];

class Handle : public std::enable_shared_from_this<Handle> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<Handle>> open(const OpenOptions& options) noexcept;
  /// Takes a mapping that attach_segment() accepted.
  [[nodiscard]] static Result<std::shared_ptr<Handle>> adopt(os::Mapping mapping, const View& view,
                                                             const OpenOptions& options) noexcept;
  /// Another handle over the same mapping: a client of its own, one set of pages and addresses.
  [[nodiscard]] Result<std::shared_ptr<Handle>> share(const OpenOptions& options) const noexcept;
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  const View& view() const noexcept { return view_; }
  const os::Mapping& mapping() const noexcept { return *mapping_; }
  const std::string& name() const noexcept { return name_; }
  std::uint64_t registration() const noexcept { return registration_; }
  Role role() const noexcept { return role_; }
  bool writable() const noexcept { return view_.writable; }
  bool in_forked_child() const noexcept { return os::fork_epoch() != fork_epoch_; }

  /// This thread's client slot. @error closed, read_only, busy (no slot left, or in an operation)
  Result<Context*> context() noexcept {
    if (t_last.identity != identity_ || in_forked_child()) [[unlikely]] return claim();
    // A callback of an operation (Cache::update) began another one: the slot's intent is taken.
    if (t_last.context->in_operation) [[unlikely]] return Errc::busy;
    return t_last.context;
  }
  /// The slot if this thread may have one, else null: for reads.
  Context* context_or_null() noexcept {
    if (t_last.identity != identity_) [[unlikely]] return claim_or_null();
    return t_last.context->in_operation ? nullptr : t_last.context;
  }
  /// True when this thread's last operation was on this handle, with a slot: last_context(). Not at first in
  /// a forked child.
  static Context* last_context() noexcept { return t_last.context; }
  bool is_last_used() const noexcept { return t_last.identity == identity_; }
  /// C2 for a thread; called when it ends. A slot with pins stays held, for the next thread.
  void release_thread(Context* context) noexcept;
  /// The same for the calling thread, which goes on: its next operation claims a slot again.
  void leave_thread() noexcept;

 private:
  Handle() noexcept = default;
  static Result<std::shared_ptr<Handle>> make(std::shared_ptr<const os::Mapping> mapping, const View& view,
                                              const OpenOptions& options) noexcept;
  /// @error closed, read_only, busy (no slot left, or in an operation)
  Result<Context*> claim() noexcept;
  Context* claim_or_null() noexcept;
  Result<Context*> find_or_claim() noexcept;
  std::shared_ptr<const os::Mapping> mapping_;
  View view_;
  std::string name_;
  std::string client_name_;
  Role role_ = Role::client;
  os::HeldLock lock_;
  std::uint64_t registration_ = 0;
  std::uint64_t fork_epoch_ = 0;
  std::uint64_t identity_ = 0;  // tells handles apart in the threads' caches
  std::mutex contexts_mutex_;
  std::vector<std::unique_ptr<Context>> contexts_;
  std::vector<Context*> orphans_;  // of `contexts_`: the thread ended while values were pinned
};

/// Liveness by lock files: a registration is dead when its lock can be taken.
class LockLiveness final : public Liveness {
 public:
  explicit LockLiveness(std::string segment) : segment_{std::move(segment)}, self_{os::own_identity()} {}
  bool is_dead(const Client& client, std::uint64_t registration) const noexcept override;

 private:
  std::string segment_;
  os::ProcessIdentity self_;
};

}  // namespace cachee::shm
