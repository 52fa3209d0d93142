// The schema and how it grew. A version is never edited once released: add the next.
#pragma once

#include "store/sqlite.hpp"

namespace cachee::daemon {

inline constexpr std::int64_t kSchemaVersion = 6;

/// Brings the file to kSchemaVersion. Several processes and threads may do it at once.
/// @throws sql::Error layout_mismatch  the file is newer, or not Cachee's
void migrate(sql::Connection& db, const std::string& path);

}  // namespace cachee::daemon
