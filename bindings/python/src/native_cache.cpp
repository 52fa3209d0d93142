#include "native_cache.hpp"

namespace cachee::python {

namespace {

std::shared_ptr<Cache> open(const OpenOptions& options) {
  auto opened = Cache::open(options);
  if (!opened) throw Failure{opened.error(), options.name};
  return std::make_shared<Cache>(std::move(*opened));
}

}  // namespace

NativeCache::NativeCache(OpenOptions options)
    : options_{std::move(options)}, cache_{open(options_)}, pid_{getpid()} {}

std::shared_ptr<Cache> NativeCache::current() const {
  if (!cache_) throw Failure{Error{Errc::closed, 0, 0}, options_.name};
  return cache_;
}

std::shared_ptr<Cache> NativeCache::current_here() {
  auto inherited = current();
  if (getpid() == pid_) return inherited;
  cache_ = open(options_);
  pid_ = getpid();
  return cache_;
}

}  // namespace cachee::python
