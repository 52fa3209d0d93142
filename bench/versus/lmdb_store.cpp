// LMDB in /dev/shm without syncing: the fastest it can be; one transaction an operation, since each
// operation of the other stores is visible to others when it returns.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <lmdb.h>

#include "versus/store.hpp"
#include "workload/keeper.hpp"

namespace cachee::bench {
namespace {

void check(int code, const char* what) {
  if (code != MDB_SUCCESS) die(std::string{"lmdb "} + what + ": " + mdb_strerror(code));
}
MDB_val to_val(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

class LmdbSession final : public Session {
 public:
  LmdbSession(const std::string& folder, std::size_t map_bytes) {
    check(mdb_env_create(&env_), "create");
    check(mdb_env_set_mapsize(env_, map_bytes), "mapsize");
    check(mdb_env_open(env_, folder.c_str(), MDB_NOSYNC | MDB_WRITEMAP | MDB_NOMETASYNC, 0600), "open");
    MDB_txn* begin = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &begin), "begin");
    check(mdb_dbi_open(begin, nullptr, 0, &table_), "table");
    check(mdb_txn_commit(begin), "commit");
    check(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &reader_), "reader");
    mdb_txn_reset(reader_);
  }
  LmdbSession(const LmdbSession&) = delete;
  LmdbSession& operator=(const LmdbSession&) = delete;
  ~LmdbSession() override {
    mdb_txn_abort(reader_);
    mdb_env_close(env_);
  }
  std::size_t get(std::string_view key, char* out, std::size_t out_bytes) override {
    check(mdb_txn_renew(reader_), "renew");
    MDB_val k = to_val(key);
    MDB_val value{};
    const int code = mdb_get(reader_, table_, &k, &value);
    std::size_t bytes = 0;
    if (code == MDB_SUCCESS) {
      bytes = value.mv_size;
      std::memcpy(out, value.mv_data, std::min(out_bytes, bytes));
    }
    mdb_txn_reset(reader_);
    return bytes;
  }
  void set(std::string_view key, std::string_view value) override {
    MDB_txn* txn = nullptr;
    check(mdb_txn_begin(env_, nullptr, 0, &txn), "begin");
    MDB_val k = to_val(key);
    MDB_val v = to_val(value);
    check(mdb_put(txn, table_, &k, &v, 0), "put");
    check(mdb_txn_commit(txn), "commit");
  }

 private:
  MDB_env* env_ = nullptr;
  MDB_dbi table_ = 0;
  MDB_txn* reader_ = nullptr;
};

class LmdbStore final : public Store {
 public:
  explicit LmdbStore(std::size_t key_count)
      : map_bytes_{std::max<std::size_t>(std::size_t{256} << 20, key_count * 1024)} {
    char folder[] = "/dev/shm/cachee-bench-lmdb-XXXXXX";
    if (mkdtemp(folder) == nullptr) die("mkdtemp in /dev/shm");
    folder_ = folder;
  }
  LmdbStore(const LmdbStore&) = delete;
  LmdbStore& operator=(const LmdbStore&) = delete;
  ~LmdbStore() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string name() const override { return "LMDB"; }
  bool shared() const override { return true; }
  std::unique_ptr<Session> open() override {
    return std::make_unique<LmdbSession>(folder_, map_bytes_);
  }
  std::size_t round_operations() const override { return std::size_t{1} << 16; }

 private:
  std::size_t map_bytes_;
  std::string folder_{};
};

}  // namespace

std::unique_ptr<Store> make_lmdb(std::size_t key_count) { return std::make_unique<LmdbStore>(key_count); }

}  // namespace cachee::bench
