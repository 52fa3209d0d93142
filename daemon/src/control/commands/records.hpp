// How commands reply what the dispatcher says in JSON: records as maps, their scalars as they are.
#pragma once

#include <nlohmann/json.hpp>

#include "control/commands/call.hpp"

namespace cachee::daemon {

/// A value of a record: scalars as they are, what is nested as JSON text.
void reply_field(resp::ReplyWriter& reply, const nlohmann::json& value);
void reply_record(resp::ReplyWriter& reply, const nlohmann::json& record);
void reply_records(resp::ReplyWriter& reply, const nlohmann::json& records);
/// OK, or the failure.
void reply_status(Call& call, const Outcome<void>& done);

/// What LIST and INFO of triggers and groups say first.
[[nodiscard]] nlohmann::json summary_of(const TriggerSpec& spec);
/// All options of a trigger or group, behind its summary.
[[nodiscard]] nlohmann::json describe_spec(const TriggerSpec& spec);

}  // namespace cachee::daemon
