#include "script/event_source.hpp"

namespace cachee::daemon {

void DataEvent::id_of(std::uint64_t number, std::string& out) const {
  // Ids of one segment share what stands before the number.
  const std::size_t dash = data_.id.rfind('-');
  out.assign(data_.id, 0, dash == std::string::npos ? 0 : dash + 1);
  out += std::to_string(number);
}

}  // namespace cachee::daemon
