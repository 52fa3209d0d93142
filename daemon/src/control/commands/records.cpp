#include "control/commands/records.hpp"

#include "core/trigger_options.hpp"

namespace cachee::daemon {

using nlohmann::json;

void reply_field(resp::ReplyWriter& reply, const json& value) {
  switch (value.type()) {
    case json::value_t::null: return reply.null();
    case json::value_t::boolean: return reply.boolean(value.get<bool>());
    case json::value_t::number_integer: return reply.integer(value.get<std::int64_t>());
    case json::value_t::number_unsigned: return reply.integer(value.get<std::int64_t>());
    case json::value_t::number_float: return reply.number(value.get<double>());
    case json::value_t::string: return reply.bulk(value.get_ref<const std::string&>());
    default: return reply.bulk(value.dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

void reply_record(resp::ReplyWriter& reply, const json& record) {
  if (!record.is_object()) return reply_field(reply, record);
  reply.map(record.size());
  for (const auto& [name, value] : record.items()) {
    reply.bulk(name);
    reply_field(reply, value);
  }
}

void reply_records(resp::ReplyWriter& reply, const json& records) {
  if (!records.is_array()) return reply_record(reply, records);
  reply.array(records.size());
  for (const json& record : records) reply_record(reply, record);
}

void reply_status(Call& call, const Outcome<void>& done) {
  if (!done) return reply_failure(call.reply, done.failure());
  call.reply.simple("OK");
}

json summary_of(const TriggerSpec& spec) {
  return {{"name", spec.name},         {"kind", spec.is_group ? "group" : "trigger"}, {"pattern", spec.pattern},
          {"events", event_names(spec.events)}, {"priority", spec.priority},
          {"enabled", spec.enabled},   {"paused", spec.paused}};
}

json describe_spec(const TriggerSpec& spec) {
  json record = summary_of(spec);
  record["on_full"] = spec.on_full == OnFull::shed ? "SHED" : "BLOCK";
  record["block_ms"] = spec.block_ms;
  record["retry"] = spec.retry_attempts;
  record["backoff_min_ms"] = spec.backoff_min_ms;
  record["backoff_max_ms"] = spec.backoff_max_ms;
  record["sample"] = spec.sample;
  if (spec.is_group) {
    record["deadline_ms"] = spec.timeout_ms;
  } else {
    record["timeout_ms"] = spec.timeout_ms;
    record["memory_bytes"] = spec.memory_bytes;
    record["steps"] = spec.steps;
    record["maxdepth"] = spec.depth_max;
    record["source_bytes"] = spec.source.size();
  }
  record["from_file"] = spec.from_file;
  record["slot"] = spec.slot;
  record["id"] = spec.id;
  record["registered_ms"] = spec.registered_wall_ms;
  return record;
}

}  // namespace cachee::daemon
