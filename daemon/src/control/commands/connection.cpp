// Commands about the connection itself.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

// Says the same about how long the two are equal, whatever the password.
bool equal_in_constant_time(std::string_view given, std::string_view wanted) {
  unsigned difference = given.size() == wanted.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char other = wanted.empty() ? '\0' : wanted[i % wanted.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(given[i] ^ other));
  }
  return difference == 0;
}

// False after an error reply.
bool authenticate(Call& call, std::string_view user, std::string_view password) {
  const std::string& wanted = call.server.password;
  // Without a password the default user has none to get wrong, as in Redis.
  if (user == "default" && (wanted.empty() || equal_in_constant_time(password, wanted))) {
    call.session.authenticated = true;
    return true;
  }
  call.reply.error("WRONGPASS invalid username-password pair or user is disabled.");
  return false;
}

void run_auth(Call& call) {
  if (call.count() > 3) return call.reply.error(kSyntaxError);
  if (call.count() == 2 && call.server.password.empty()) {
    return call.reply.error(
        "ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?");
  }
  const std::string_view user = call.count() == 3 ? call[1] : "default";
  if (authenticate(call, user, call[call.count() - 1])) call.reply.simple("OK");
}

// False after an error reply.
bool set_name(Call& call, std::string_view name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
  if (!plain) {
    call.reply.error("ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  call.session.name = std::string{name};
  return true;
}

void run_hello(Call& call) {
  std::int64_t protocol = call.session.protocol;
  if (call.count() > 1) {
    const auto number = parse_integer(call[1]);
    if (!number) {
      return call.reply.error("ERR Protocol version is not an integer or out of range");
    }
    if (*number != 2 && *number != 3) {
      return call.reply.error("NOPROTO unsupported protocol version");
    }
    protocol = *number;
  }
  std::optional<std::string_view> name;
  for (std::size_t i = 2; i < call.count(); ++i) {
    if (call.is(i, "AUTH") && i + 2 < call.count()) {
      if (!authenticate(call, call[i + 1], call[i + 2])) return;
      i += 2;
    } else if (call.is(i, "SETNAME") && i + 1 < call.count()) {
      name = call[++i];
    } else {
      return call.reply.error(
          fmt::format("ERR Syntax error in HELLO option '{}'", call[i].substr(0, 128)));
    }
  }
  if (!call.session.authenticated) {
    return call.reply.error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
        "AUTH <user> <pass> option can be used to authenticate the client and select the "
        "RESP protocol version at the same time");
  }
  if (name && !set_name(call, *name)) return;
  call.session.protocol = static_cast<int>(protocol);
  call.reply.protocol = call.session.protocol;
  call.reply.map(7);
  call.reply.bulk("server");
  call.reply.bulk("cachee");
  call.reply.bulk("version");
  call.reply.bulk(kRedisVersion);
  call.reply.bulk("proto");
  call.reply.integer(protocol);
  call.reply.bulk("id");
  call.reply.integer(static_cast<std::int64_t>(call.session.id));
  call.reply.bulk("mode");
  call.reply.bulk("standalone");
  call.reply.bulk("role");
  call.reply.bulk("master");
  call.reply.bulk("modules");
  call.reply.array(0);
}

void run_ping(Call& call) {
  if (call.count() > 2) return reply_arity_error(call.reply, "ping");
  if (call.count() == 2) return call.reply.bulk(call[1]);
  call.reply.simple("PONG");
}

void run_echo(Call& call) { call.reply.bulk(call[1]); }

void run_quit(Call& call) {
  call.session.closing = true;
  call.reply.simple("OK");
}

void run_select(Call& call) {
  if (check_database(call, call[1])) call.reply.simple("OK");
}

std::string client_line(const Session& session) {
  using std::chrono::duration_cast;
  using std::chrono::seconds;
  const auto now = std::chrono::steady_clock::now();
  return fmt::format(
      "id={} addr={} fd={} name={} age={} idle={} flags=N db=0 sub=0 psub=0 multi=-1 qbuf={} "
      "omem={} events=r cmd={} user=default resp={} tot-cmds={}\n",
      session.id, session.peer, session.fd, session.name,
      duration_cast<seconds>(now - session.connected).count(),
      duration_cast<seconds>(now - session.last_used).count(), session.input_bytes,
      session.output_bytes, session.last_command.empty() ? "NULL" : session.last_command,
      session.protocol, session.commands);
}

void run_client_id(Call& call) { call.reply.integer(static_cast<std::int64_t>(call.session.id)); }

void run_client_info(Call& call) { call.reply.verbatim(client_line(call.session)); }

void run_client_list(Call& call) {
  std::string text;
  if (call.count() == 2) {
    for (const auto& [id, session] : call.server.sessions) text += client_line(*session);
  } else if (call.count() == 4 && call.is(2, "TYPE")) {
    constexpr std::string_view kOthers[] = {"master", "replica", "slave", "pubsub"};
    const bool normal = call.is(3, "normal");
    const bool known = normal || std::any_of(std::begin(kOthers), std::end(kOthers),
                                             [&](auto type) { return call.is(3, type); });
    if (!known) {
      return call.reply.error(
          fmt::format("ERR Unknown client type '{}'", call[3].substr(0, 128)));
    }
    if (normal) {
      for (const auto& [id, session] : call.server.sessions) text += client_line(*session);
    }
  } else if (call.count() > 3 && call.is(2, "ID")) {
    for (std::size_t i = 3; i < call.count(); ++i) {
      const auto id = parse_integer(call[i]);
      if (!id) return call.reply.error("ERR Invalid client ID");
      // A negative number becomes one that no client has.
      const auto session = call.server.sessions.find(static_cast<std::uint64_t>(*id));
      if (session != call.server.sessions.end()) text += client_line(*session->second);
    }
  } else {
    return call.reply.error(kSyntaxError);
  }
  call.reply.verbatim(text);
}

void run_client_setname(Call& call) {
  if (set_name(call, call[2])) call.reply.simple("OK");
}

void run_client_getname(Call& call) {
  if (call.session.name.empty()) return call.reply.null();
  call.reply.bulk(call.session.name);
}

constexpr Command kCommands[] = {
    {"auth", -2, kFast | kNoAuth, 0, 0, 0, "connection", "[username] password",
     "Gives the password of --password-file.", run_auth},
    {"client", -2, kContainer, 0, 0, 0, "connection", "", "Connections of the control socket.",
     nullptr},
    {"client|getname", 2, 0, 0, 0, 0, "connection", "", "Returns the connection's name.",
     run_client_getname},
    {"client|help", 2, 0, 0, 0, 0, "connection", "", "Lists the subcommands.", run_help},
    {"client|id", 2, 0, 0, 0, 0, "connection", "", "Returns the connection's number.",
     run_client_id},
    {"client|info", 2, 0, 0, 0, 0, "connection", "", "Describes this connection.",
     run_client_info},
    {"client|list", -2, kAdmin, 0, 0, 0, "connection",
     "[TYPE normal | master | replica | pubsub] [ID id [id ...]]", "Describes all connections.",
     run_client_list},
    {"client|setname", 3, 0, 0, 0, 0, "connection", "name", "Names the connection.",
     run_client_setname},
    {"echo", 2, kFast, 0, 0, 0, "connection", "message", "Returns the message.", run_echo},
    {"hello", -1, kFast | kNoAuth, 0, 0, 0, "connection",
     "[version [AUTH username password] [SETNAME name]]",
     "Chooses RESP2 or RESP3 and describes the server.", run_hello},
    {"ping", -1, kFast, 0, 0, 0, "connection", "[message]", "Returns PONG, or the message.",
     run_ping},
    {"quit", -1, kFast | kNoAuth, 0, 0, 0, "connection", "", "Closes the connection.", run_quit},
    {"select", 2, kFast, 0, 0, 0, "connection", "0", "Chooses the one database there is.",
     run_select},
};

}  // namespace

std::span<const Command> connection_commands() noexcept { return kCommands; }

}  // namespace cachee::daemon
