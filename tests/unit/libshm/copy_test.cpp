// Goal: bytes go out of the segment and are compared with it whole, for every size, touching nothing beside
// them. Method: every size against memcpy and memcmp, with garbage behind the bytes, sentinels around the
// copy, and the last word of the source at the end of readable memory.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "mem/shared.hpp"

namespace cachee::mem {
namespace {

constexpr std::size_t kBytesMax = 300;

/// Words that end where reading is an access violation.
class WordsAtAnEdge {
 public:
  explicit WordsAtAnEdge(std::size_t bytes) {
    page_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* const at = mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(at, MAP_FAILED);
    map_ = static_cast<char*>(at);
    EXPECT_EQ(mprotect(map_ + page_, page_, PROT_NONE), 0);
    first_ = map_ + page_ - (bytes + 7) / 8 * 8;
  }
  WordsAtAnEdge(const WordsAtAnEdge&) = delete;
  WordsAtAnEdge& operator=(const WordsAtAnEdge&) = delete;
  ~WordsAtAnEdge() { munmap(map_, 2 * page_); }
  Word* words() const { return reinterpret_cast<Word*>(first_); }
  char* bytes() const { return first_; }

 private:
  std::size_t page_ = 0;
  char* map_ = nullptr;
  char* first_ = nullptr;
};

std::string random_bytes(std::size_t bytes) {
  static std::mt19937 random{11};
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

TEST(Copy, OutTakesEveryByteAndNoOther) {
  for (std::size_t bytes = 0; bytes <= kBytesMax; ++bytes) {
    const WordsAtAnEdge from{bytes};
    const std::string text = random_bytes(bytes);
    std::memcpy(from.bytes(), text.data(), bytes);
    std::string to(bytes + 64, '#');
    copy_out(to.data() + 32, from.words(), bytes);
    EXPECT_EQ(to, std::string(32, '#') + text + std::string(32, '#')) << bytes;
  }
}

TEST(Copy, InPadsTheLastWordWithZeros) {
  for (std::size_t bytes = 0; bytes <= kBytesMax; ++bytes) {
    const WordsAtAnEdge to{bytes};
    const std::size_t padded = (bytes + 7) / 8 * 8;
    std::memset(to.bytes(), '#', padded);
    const std::string text = random_bytes(bytes);
    copy_in(to.words(), text.data(), bytes);
    EXPECT_EQ(std::string(to.bytes(), padded), text + std::string(padded - bytes, '\0')) << bytes;
  }
}

TEST(Copy, EqualLooksAtTheseBytesAlone) {
  for (std::size_t bytes = 0; bytes <= 64; ++bytes) {
    const WordsAtAnEdge at{bytes};
    std::memset(at.bytes(), '#', (bytes + 7) / 8 * 8);  // behind the bytes: not zeros
    const std::string text = random_bytes(bytes);
    std::memcpy(at.bytes(), text.data(), bytes);
    // A copy of exactly this size, so that AddressSanitizer sees a read beside it.
    std::vector<char> with(text.begin(), text.end());
    EXPECT_TRUE(equal_bytes(at.words(), with.data(), bytes)) << bytes;
    for (std::size_t i = 0; i < bytes; ++i) {
      with[i] = static_cast<char>(with[i] ^ 0x40);
      EXPECT_FALSE(equal_bytes(at.words(), with.data(), bytes)) << bytes << " at " << i;
      with[i] = text[i];
    }
  }
}

}  // namespace
}  // namespace cachee::mem
