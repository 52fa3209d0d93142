#include "control/commands/reference.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "control/commands/call.hpp"
#include "core/units.hpp"

namespace cachee::daemon {
namespace {

struct Group {
  std::string_view name;
  std::string_view title;
};
constexpr Group kGroups[] = {{"string", "Values"},
                             {"generic", "Keys and time"},
                             {"cachee", "Triggers, consumer groups and dependencies"},
                             {"connection", "Connection"},
                             {"server", "Server"}};

constexpr std::string_view kHead =
    "# Commands\n\n"
    "Reference; made from the table in `daemon/src/control/commands`, as are `COMMAND DOCS` and the\n"
    "`HELP` of each command with subcommands. The same language is spoken on the control socket\n"
    "(RESP2 and RESP3, so every Redis client works), by `cachee` on the command line, and in command\n"
    "files.\n\n"
    "Commands that Redis has answer as Redis 7 answers, errors included; a test sends the same lines\n"
    "to both. The differences are listed at the end.\n";

constexpr std::string_view kTail =
    "\n## Command files\n\n"
    "One command a line. Words are separated by blanks; `\"double quotes\"` know `\\n \\r \\t \\b \\a "
    "\\\\ \\\" \\xHH`,\n"
    "`'single quotes'` know `\\'` only. A line that begins with `#` is a comment. A last word "
    "`<<WORD`\n"
    "stands for the lines that follow, up to a line that is exactly `WORD`.\n\n"
    "## Errors\n\n"
    "| begins with | means |\n"
    "|---|---|\n"
    "| `ERR` | what is said; nothing was applied |\n"
    "| `BACKPRESSURE` | a trigger wants the event, and the ring stayed full for as long as its "
    "`ON_FULL BLOCK` says; nothing was applied |\n"
    "| `OOM` | no room in the segment, and nothing may be evicted; nothing was applied |\n"
    "| `WAITTIMEOUT` | the triggers have not acknowledged in time; the write stands |\n"
    "| `NOAUTH`, `WRONGPASS` | TCP with `--password-file`: `AUTH` first |\n"
    "| `NOPROTO` | `HELLO` knows 2 and 3 |\n"
    "| `NOGROUP` | there is no such consumer group |\n"
    "| `BUSYGROUP` | `GROUP CREATE` of a group that is there, with another pattern, other events or options |\n"
    "| `STALE` | `GROUP ACK`, `NACK`: the event is not (any more) in the hands of this connection |\n\n"
    "## Limits\n\n"
    "| of | at most |\n"
    "|---|---|\n"
    "| a key | 64 KiB, any bytes, also none |\n"
    "| a value | `--max-value`, at most a quarter of the memory |\n"
    "| `META` fields of a key | 64 |\n"
    "| keys that a key depends on | 64 |\n"
    "| `META` fields and dependencies of a key together | 64 KiB, with 8 bytes for each field and 4 for each dependency |\n"
    "| a pattern, a trigger's name, its source | 1 KiB, 1.5 KiB, 256 KiB |\n"
    "| effects of one run (`cachee.set`, `log`, `webhook`, ...) | 1000, 8 MiB |\n"
    "| headers of a `cachee.webhook` or `cachee.warm` | 64, 8 KiB each, 64 KiB together |\n"
    "| `goto break and or elseif ::` in a source, wherever they stand | 4096 together: Lua compiles more of them in quadratic time |\n"
    "| an argument | 512 MiB; beyond that the connection ends |\n\n"
    "An argument that is longer than a value may be is read to its end and refused, and the connection goes on. So is a\n"
    "command whose words are together longer than four values and 16 MiB.\n\n"
    "## Records\n\n"
    "Answers about triggers, dead letters, the outbox and the account are records: maps in RESP3,\n"
    "arrays of names and values in turn in RESP2. What is nested in a field is JSON text.\n\n"
    "## Triggers\n\n"
    "- A trigger without `NAME` is called `<pattern>@<EVENT>[,<EVENT>...]`, with the events in capitals and in the order "
    "as\n"
    "  they were written: `o:* ON_EXPIRE,ON_DELETE` is `o:*@ON_EXPIRE,ON_DELETE`.\n"
    "- `TRIGGER TEST`: an event without `type` is of the first of the trigger's events, in the order write, delete, expire,\n"
    "  evict, read. One word that is no name of a trigger is an error, not a handler.\n"
    "  It makes the checks of a real run: what would be refused has `ok` false and says why.\n"
    "- `TRIGGER DLQ SHOW`: `effects` is what is left to do of a run whose handler had succeeded; `REPLAY` does it without running\n"
    "  the handler again. Without it a replay is a new first attempt.\n"
    "- `MEMORY` bounds all that a run holds: its Lua values, the effects that wait for its end, and what it reads while it is\n"
    "  read: a value takes its size twice while `cachee.get` copies it.\n"
    "- A handler has Lua's `math` without `randomseed`: a seed would go on into later runs.\n"
    "- `TRIGGER STATS`: `emitted` and `acknowledged` (`since_registration`) count since the trigger was first registered,\n"
    "  over restarts; all others since this cacheed started (`others_since_ms`).\n"
    "- `TRIGGER INFO`: `from_file` says that the trigger came from `triggers.d` and goes when its file goes.\n"
    "- What comes over the socket has the origin of a client: `origin.kind` is `client`, `origin.client` is `cacheed` and\n"
    "  `origin.pid` that of cacheed, whoever the peer is, since an event names the process that wrote to the segment.\n"
    "  `origin.instance` is the name of the segment.\n"
    "- `DEPENDS_ON child parent` writes the child again with the same value: it has a new version, and its `ON_WRITE`\n"
    "  triggers run.\n\n"
    "## What holds up what\n\n"
    "A command that waits (`WAIT`, `DEBUG SLEEP`, `GROUP READ ... BLOCK`, a write that meets a full ring) holds up its own\n"
    "connection only, and so does one that the dispatcher, an executor or the compiler must answer (`TRIGGER`, `GROUP`, `VERIFY`,\n"
    "`OUTBOX`, `LOG`, `SLOWLOG`): what a connection sends behind it is answered behind it. Four handlers are tried by\n"
    "`TRIGGER TEST` at once; others wait for one of them. A client that does not read its replies is not read from, and is closed when "
    "it\n"
    "takes nothing for a minute.\n\n"
    "## Where Cachee differs from Redis\n\n"
    "- Values are strings; there is one database.\n"
    "- Commands about several keys (`MSET`, `DEL`, `RENAME`, `COPY`, `MSETNX`) are not atomic across\n"
    "  keys: clients write shared memory directly, and there is no lock over two keys. Each key's "
    "part\n"
    "  is atomic. `MSET` that is refused half-way says how far it came; `MSETNX` takes back what it\n"
    "  added when one of the keys appears meanwhile, unless somebody has changed it since; `RENAME`\n"
    "  shows both names for a moment.\n"
    "- `SET` drops cost, metadata and dependencies that it does not give, as it drops the TTL; "
    "`APPEND`,\n"
    "  `INCR`, `SETRANGE` and the like keep them, and so do `RENAME` and `COPY`.\n"
    "- `SET ... IFVER` and `SET ... NX`/`XX` that do not apply answer nil.\n"
    "- `DEL ... WAIT n`: a last but one word `WAIT` with a number behind it is the option. To delete "
    "a key\n"
    "  of that name, put it elsewhere in the list.\n"
    "- A deadline further away than a hundred years is stored as a hundred years away.\n"
    "- A TTL is kept on the monotonic clock: neither a step of the wall clock nor a suspended machine moves it, and\n"
    "  `PEXPIRETIME` of it may differ by a millisecond from what was set and goes along with a step. What `EXAT`, `PXAT`,\n"
    "  `EXPIREAT` and `PEXPIREAT` name is a moment of the wall clock, and ends when that says so, however it got there; a moment\n"
    "  that is over ends the value at once, and a step back does not bring it again.\n"
    "- `OBJECT IDLETIME` is the time since the value was written: reads leave no time stamp. "
    "`OBJECT\n"
    "  FREQ`, as `event.hits`, is 0 to 31 and not the number of reads: in how many 64ths of a turnover of the cache the key\n"
    "  was read or written, halved as time goes by. An overwrite keeps it, as in Redis; a key that comes back soon after its\n"
    "  eviction goes on from what it had. Under policies other than `balanced` and `cost` it answers as Redis does under one\n"
    "  that does not count.\n"
    "- What only looks at a key (`EXISTS TTL PTTL EXPIRETIME TYPE OBJECT COPY`) counts as a hit or a miss in `INFO` and is no\n"
    "  use of the key; `MEMORY USAGE` and `RENAME` do not count either. In Redis `COPY` is a use.\n"
    "- `INFO keyspace`: `expires` and `avg_ttl` are of all keys when there are 128 or fewer, else estimated from 128 that\n"
    "  are picked at random.\n"
    "- `HELLO` says `cachee` as the server and as its version that of the Redis whose commands these are, as `INFO` says in\n"
    "  `redis_version`: client libraries choose by it. Cachee's own is `cachee_version` in `INFO`.\n"
    "- `CONFIG SET` of a setting that needs a restart or another segment is refused, as that of one which is shown for\n"
    "  Redis' tools only. `CONFIG GET` of what is fixed when the segment is made shows what the segment has.\n"
    "- `DEBUG SLEEP` puts the connection to sleep, not the server, and refuses what is no number.\n"
    "- `CLIENT LIST` describes connections of the socket; `cachee clients` shows who is attached to "
    "the\n"
    "  segment.\n";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string commands_markdown() {
  std::string text{kHead};
  for (const Group& group : kGroups) {
    text += fmt::format("\n## {}\n\n| command | what it does |\n|---|---|\n", group.title);
    for (const Command& command : all_commands()) {
      if (command.group != group.name || command.run == nullptr) continue;
      if (command.name.ends_with("|help")) continue;
      std::string words = to_upper(command.name);
      std::replace(words.begin(), words.end(), '|', ' ');
      if (!command.syntax.empty()) words += fmt::format(" {}", command.syntax);
      text += fmt::format("| `{}` | {} |\n", escaped(words), escaped(command.summary));
    }
  }
  text += kTail;
  return text;
}

}  // namespace cachee::daemon
