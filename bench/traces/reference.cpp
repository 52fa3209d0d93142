#include "traces/reference.hpp"

#include <algorithm>

#include "traces/queue.hpp"

namespace cachee::bench {
namespace {

/// FIFO; LRU when a hit moves the key to the head.
class OneQueue final : public Reference {
 public:
  OneQueue(std::uint64_t capacity, std::uint32_t keys, bool promote) : capacity_{capacity}, promote_{promote}, queue_{keys}, in_(keys) {}
  bool access(std::uint32_t key, std::uint64_t size) override {
    if (in_[key]) {
      if (promote_) queue_.push(key, queue_.remove(key));
      return true;
    }
    if (size > capacity_) return false;
    while (queue_.size() + size > capacity_) {
      in_[queue_.tail()] = 0;
      queue_.remove(queue_.tail());
    }
    queue_.push(key, size);
    in_[key] = 1;
    return false;
  }

 private:
  std::uint64_t capacity_;
  bool promote_;
  Queue queue_;
  std::vector<std::uint8_t> in_;
};

/// CLOCK with one reference bit, as a queue that reinserts.
class Clock final : public Reference {
 public:
  Clock(std::uint64_t capacity, std::uint32_t keys) : capacity_{capacity}, queue_{keys}, state_(keys) {}
  bool access(std::uint32_t key, std::uint64_t size) override {
    if (state_[key] != kOut) {
      state_[key] = kVisited;
      return true;
    }
    if (size > capacity_) return false;
    while (queue_.size() + size > capacity_) {
      const std::uint32_t victim = queue_.tail();
      const std::uint64_t victim_size = queue_.remove(victim);
      if (state_[victim] == kVisited) {
        state_[victim] = kIn;
        queue_.push(victim, victim_size);
      } else {
        state_[victim] = kOut;
      }
    }
    queue_.push(key, size);
    state_[key] = kIn;
    return false;
  }

 private:
  enum : std::uint8_t { kOut, kIn, kVisited };
  std::uint64_t capacity_;
  Queue queue_;
  std::vector<std::uint8_t> state_;
};

/// SIEVE (Zhang et al., NSDI 2024): a hand that moves from old to young over keys that stay in place.
class Sieve final : public Reference {
 public:
  Sieve(std::uint64_t capacity, std::uint32_t keys) : capacity_{capacity}, queue_{keys}, state_(keys) {}
  bool access(std::uint32_t key, std::uint64_t size) override {
    if (state_[key] != kOut) {
      state_[key] = kVisited;
      return true;
    }
    if (size > capacity_) return false;
    while (queue_.size() + size > capacity_) {
      std::uint32_t victim = hand_ == Queue::kNone ? queue_.tail() : hand_;
      while (state_[victim] == kVisited) {
        state_[victim] = kIn;
        victim = queue_.younger(victim);
        if (victim == Queue::kNone) victim = queue_.tail();
      }
      hand_ = queue_.younger(victim);
      state_[victim] = kOut;
      queue_.remove(victim);
    }
    queue_.push(key, size);
    state_[key] = kIn;
    return false;
  }

 private:
  enum : std::uint8_t { kOut, kIn, kVisited };
  std::uint64_t capacity_;
  Queue queue_;
  std::uint32_t hand_ = Queue::kNone;
  std::vector<std::uint8_t> state_;
};

/// S3-FIFO (Yang et al., SOSP 2023): small 10 %, ghost 90 %, two hits in the small queue promote.
class S3Fifo final : public Reference {
 public:
  S3Fifo(std::uint64_t capacity, std::uint32_t keys)
      : capacity_{capacity}, small_max_{capacity / 10}, main_max_{capacity - capacity / 10},
        ghost_max_{capacity * 9 / 10}, small_{keys}, main_{keys}, ghost_{keys}, where_(keys), hits_(keys) {}
  bool access(std::uint32_t key, std::uint64_t size) override {
    if (where_[key] == kSmall || where_[key] == kMain) {
      if (hits_[key] < kHitsMax) ++hits_[key];
      return true;
    }
    const bool returned = where_[key] == kGhost;
    if (returned) {
      ghost_.remove(key);
      where_[key] = kOut;
    }
    if (size > capacity_) return false;
    while (small_.size() + main_.size() + size > capacity_) evict();
    if (!returned && size >= small_max_) return false;
    hits_[key] = 0;
    (returned ? main_ : small_).push(key, size);
    where_[key] = returned ? kMain : kSmall;
    return false;
  }

 private:
  void evict() {
    if (main_.size() > main_max_ || small_.empty()) return evict_main();
    while (!small_.empty()) {
      const std::uint32_t victim = small_.tail();
      const std::uint64_t size = small_.remove(victim);
      if (hits_[victim] >= kPromoteHits) {
        hits_[victim] = 0;
        main_.push(victim, size);
        where_[victim] = kMain;
        continue;
      }
      where_[victim] = kOut;
      if (size <= ghost_max_) {
        while (ghost_.size() + size > ghost_max_) {
          where_[ghost_.tail()] = kOut;
          ghost_.remove(ghost_.tail());
        }
        ghost_.push(victim, size);
        where_[victim] = kGhost;
      }
      return;
    }
  }
  void evict_main() {
    for (;;) {
      const std::uint32_t victim = main_.tail();
      const std::uint64_t size = main_.remove(victim);
      if (hits_[victim] == 0) {
        where_[victim] = kOut;
        return;
      }
      hits_[victim] = static_cast<std::uint8_t>(std::min<unsigned>(hits_[victim], 3) - 1);
      main_.push(victim, size);
    }
  }

  static constexpr unsigned kPromoteHits = 2;
  static constexpr std::uint8_t kHitsMax = 255;
  enum : std::uint8_t { kOut, kSmall, kMain, kGhost };
  std::uint64_t capacity_, small_max_, main_max_, ghost_max_;
  Queue small_, main_, ghost_;
  std::vector<std::uint8_t> where_, hits_;
};

/// ARC (Megiddo and Modha, FAST 2003). With sizes, what it balances are bytes.
class Arc final : public Reference {
 public:
  Arc(std::uint64_t capacity, std::uint32_t keys)
      : capacity_{capacity}, once_{keys}, often_{keys}, once_gone_{keys}, often_gone_{keys}, where_(keys) {}
  bool access(std::uint32_t key, std::uint64_t size) override {
    if (where_[key] == kOnce || where_[key] == kOften) {
      (where_[key] == kOnce ? once_ : often_).remove(key);
      often_.push(key, size);
      where_[key] = kOften;
      return true;
    }
    if (size > capacity_) return false;
    const bool from_often_gone = where_[key] == kOftenGone;
    const auto share = [](const Queue& a, const Queue& b) {
      return std::max(1.0, static_cast<double>(a.size()) / static_cast<double>(b.size()));
    };
    if (where_[key] == kOnceGone) {
      target_ = std::min(static_cast<double>(capacity_), target_ + share(often_gone_, once_gone_) * static_cast<double>(size));
      once_gone_.remove(key);
    } else if (from_often_gone) {
      target_ = std::max(0.0, target_ - share(once_gone_, often_gone_) * static_cast<double>(size));
      often_gone_.remove(key);
    } else {
      where_[key] = kOut;
      make_room_for_new(size);
      once_.push(key, size);
      where_[key] = kOnce;
      return false;
    }
    while (once_.size() + often_.size() + size > capacity_) replace(from_often_gone);
    often_.push(key, size);
    where_[key] = kOften;
    return false;
  }

 private:
  void forget(Queue& queue) {
    where_[queue.tail()] = kOut;
    queue.remove(queue.tail());
  }
  void make_room_for_new(std::uint64_t size) {
    while (once_.size() + often_.size() + size > capacity_) {
      if (once_.size() + once_gone_.size() + size > capacity_) {
        if (!once_gone_.empty()) {
          forget(once_gone_);
          replace(false);
        } else {
          forget(once_);
        }
      } else {
        const std::uint64_t all = once_.size() + often_.size() + once_gone_.size() + often_gone_.size();
        if (all + size > 2 * capacity_ && !often_gone_.empty()) forget(often_gone_);
        replace(false);
      }
    }
    while (once_.size() + once_gone_.size() + size > capacity_ && !once_gone_.empty()) forget(once_gone_);
  }
  void replace(bool from_often_gone) {
    const auto once = static_cast<double>(once_.size());
    if (!once_.empty() && (once > target_ || (from_often_gone && once >= target_) || often_.empty())) {
      move(once_, once_gone_, kOnceGone);
    } else {
      move(often_, often_gone_, kOftenGone);
    }
  }
  void move(Queue& from, Queue& to, std::uint8_t where) {
    const std::uint32_t victim = from.tail();
    to.push(victim, from.remove(victim));
    where_[victim] = where;
  }

  enum : std::uint8_t { kOut, kOnce, kOften, kOnceGone, kOftenGone };
  std::uint64_t capacity_;
  double target_ = 0;
  Queue once_, often_, once_gone_, often_gone_;
  std::vector<std::uint8_t> where_;
};

}  // namespace

std::unique_ptr<Reference> make_reference(std::string_view name, std::uint64_t capacity, std::uint32_t keys) {
  if (name == "FIFO") return std::make_unique<OneQueue>(capacity, keys, false);
  if (name == "LRU") return std::make_unique<OneQueue>(capacity, keys, true);
  if (name == "CLOCK") return std::make_unique<Clock>(capacity, keys);
  if (name == "SIEVE") return std::make_unique<Sieve>(capacity, keys);
  if (name == "S3-FIFO") return std::make_unique<S3Fifo>(capacity, keys);
  if (name == "ARC") return std::make_unique<Arc>(capacity, keys);
  if (name == "LIRS") return make_lirs(capacity, keys);
  if (name == "W-TinyLFU") return make_tiny_lfu(capacity, keys);
  return nullptr;
}

}  // namespace cachee::bench
