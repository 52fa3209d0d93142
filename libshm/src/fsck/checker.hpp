// What the parts of fsck share: the report and what was seen so far. Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include <cachee/inspect.hpp>

#include "segment/view.hpp"

namespace cachee::shm {

class Checker {
 public:
  /// @param busy  without the checks that need idle clients
  Checker(const View& view, bool busy) : view_{view}, linked_{view}, chained_(view.shape.overflow_count) { report_.quiescent = !busy; }
  FsckReport run();

 private:
  /// A set of blocks as one bit for each place where one may begin.
  class BlockSet {
   public:
    explicit BlockSet(const View& view) : begin_{view.data_begin}, bits_((view.data_end - view.data_begin + 63) / 64) {}
    /// False when it was there already.
    bool insert(std::uint64_t unit) {
      std::uint64_t& word = bits_[(unit - begin_) / 64];
      const std::uint64_t bit = std::uint64_t{1} << ((unit - begin_) % 64);
      const bool fresh = (word & bit) == 0;
      word |= bit;
      return fresh;
    }
    bool contains(std::uint64_t unit) const { return (bits_[(unit - begin_) / 64] >> ((unit - begin_) % 64) & 1) != 0; }

   private:
    std::uint64_t begin_;
    std::vector<std::uint64_t> bits_;
  };

  void find(const char* id, const void* at, std::string text);
  /// A uid that some client gave out.
  bool given_out(std::uint64_t uid) const;
  /// Where a record may begin: a block of a slab page, or the head of a run.
  bool is_block(std::uint64_t unit, std::uint64_t& block_bytes) const;

  // fsck.cpp
  void check_clients();
  void check_pages();
  void check_blocks();
  void check_block(std::uint64_t unit, const Record& r);
  void check_uids(std::vector<std::uint64_t>& uids);
  void check_free_bits(std::uint64_t page);
  void check_summary();
  // fsck_index.cpp
  void check_index();
  void check_chain(std::uint64_t bucket);
  void check_slot(std::uint64_t bucket, const Word& slot, std::unordered_set<std::string>& keys);
  void check_marked(std::uint64_t bucket, const Word& slot, std::uint64_t word, const Record& r);
  void check_linked(std::uint64_t bucket, const Record& r);
  void check_record(std::uint64_t bucket, std::uint64_t unit, const Word& slot, std::uint64_t block_bytes,
                    std::unordered_set<std::string>& keys);
  void check_announcement(std::uint64_t bucket);
  // fsck_events.cpp
  void check_ring();
  void check_cell(std::uint64_t position, const Cell& cell, std::uint64_t word);
  void check_event_words(std::uint64_t unit, const Record& r);
  void check_account();
  void check_table();

  const View& view_;
  FsckReport report_;
  BlockSet linked_;
  std::vector<bool> chained_;               // overflow buckets that stand in a chain
  std::unordered_set<std::uint64_t> marked_;
  std::unordered_set<std::uint64_t> held_;  // named by intents and pins
  std::vector<std::uint64_t> uids_;
  std::uint64_t head_ = 0;                   // of the ring, when the check began
};

}  // namespace cachee::shm
