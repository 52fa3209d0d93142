"""Goal: triggers are registered, replaced, paused, tested, exported and removed as interface.md says,
and a handler reaches nothing but what it was given.

Method: commands over the control socket and `cachee`, handlers that report what they see.
"""
import json
import select
import time

import pytest

from support import Resp, RespError, wait_until


def log_source(channel, **fields):
    pairs = ", ".join(f"{name} = {value}" for name, value in fields.items())
    return f'cachee.log("{channel}", {{{pairs}}})'


def test_registration_is_seen_by_every_later_operation(daemon, await_lines):
    for n in range(20):
        daemon.register(f"r{n}:*", "ON_WRITE", log_source("r", key="event.key"), "NAME", f"r{n}")
        daemon.cachee_ok("set", f"r{n}:k", n)
    lines = await_lines(daemon, "r", 20)
    assert sorted(line["key"] for line in lines) == sorted(f"r{n}:k" for n in range(20))


def test_same_name_replaces_and_default_name_is_pattern_and_event(daemon, await_lines):
    daemon.register("k:*", "ON_WRITE", log_source("one", k="event.key"))
    daemon.resp("SET", "k:1", "v")
    await_lines(daemon, "one", 1)
    daemon.register("k:*", "ON_WRITE", log_source("two", k="event.key"))
    daemon.resp("SET", "k:2", "v")
    await_lines(daemon, "two", 1)
    assert len(daemon.channel("one")) == 1
    assert "k:*@ON_WRITE" in json.dumps(daemon.resp("TRIGGER", "LIST"))
    daemon.resp("TRIGGER", "REMOVE", "k:*@ON_WRITE")
    assert daemon.resp("TRIGGER", "LIST") == []


def test_priority_orders_the_triggers_of_one_event(daemon, await_lines):
    for name, priority in (("last", -5), ("first", 10), ("middle", 0)):
        daemon.register("p:*", "ON_WRITE", log_source("p", by=f'"{name}"'), "NAME", name, "PRIORITY", priority)
    daemon.resp("SET", "p:1", "v", "WAIT", 5000)
    lines = await_lines(daemon, "p", 3)
    assert [line["by"] for line in lines] == ["first", "middle", "last"]


def test_pause_keeps_events_and_disable_does_not_make_them(daemon, await_lines):
    daemon.register("k:*", "ON_WRITE", log_source("k", v="event.value"), "NAME", "k")
    daemon.resp("TRIGGER", "PAUSE", "k")
    for n in range(5):
        daemon.resp("SET", "k:1", n)
    daemon.resp("TRIGGER", "RESUME", "k")
    assert [line["v"] for line in await_lines(daemon, "k", 5)] == list("01234")
    daemon.resp("TRIGGER", "DISABLE", "k")
    daemon.resp("SET", "k:1", "unseen")
    daemon.resp("TRIGGER", "ENABLE", "k")
    daemon.resp("SET", "k:1", "seen")
    assert [line["v"] for line in await_lines(daemon, "k", 6)][5:] == ["seen"]


def test_globs_choose_keys(daemon, await_lines):
    for pattern, name in (("a:*:z", "star"), ("b:?", "one"), ("c:[0-9]", "set"), ("d:[^0-9]", "not"),
                          ("e:\\*", "literal")):
        daemon.register(pattern, "ON_WRITE", log_source("g", by=f'"{name}"', key="event.key"), "NAME", name)
    for key in ("a:x:z", "a:x:y", "b:1", "b:22", "c:5", "c:x", "d:5", "d:x", "e:*", "e:x"):
        daemon.resp("SET", key, "v", "WAIT", 5000)
    lines = await_lines(daemon, "g", 5)
    assert sorted((line["by"], line["key"]) for line in lines) == [
        ("literal", "e:*"), ("not", "d:x"), ("one", "b:1"), ("set", "c:5"), ("star", "a:x:z")]


def test_cache_effects_are_applied_together_and_carry_their_parent(daemon, await_lines):
    daemon.register("order:*", "ON_WRITE", """
      cachee.set("shadow:" .. event.key, event.value, {ttl = 100, cost = 4, metadata = {by = "trigger"}})
      cachee.incr("orders", 1)
      cachee.del("stale:" .. event.key)
    """, "NAME", "shadow")
    daemon.register("shadow:*", "ON_WRITE", log_source(
        "chain", key="event.key", depth="event.depth", origin="event.origin.kind", parent="event.parent",
        by="event.metadata.by"), "NAME", "chain")
    daemon.resp("SET", "stale:order:1", "x")
    daemon.resp("SET", "order:1", "lamp", "WAIT", 5000)
    [line] = await_lines(daemon, "chain", 1)
    assert (line["key"], line["depth"], line["origin"], line["by"]) == (
        "shadow:order:1", 1, "trigger", "trigger")
    assert line["parent"]
    assert daemon.resp("GET", "shadow:order:1") == "lamp"
    assert 90 < daemon.resp("TTL", "shadow:order:1") <= 100
    assert daemon.resp("GET", "orders") == "1"
    assert daemon.resp("EXISTS", "stale:order:1") == 0


def test_a_failing_handler_writes_nothing_to_the_cache(daemon):
    daemon.register("f:*", "ON_WRITE", 'cachee.set("left", "over") error("no")', "NAME", "f", "RETRY", 1)
    daemon.resp("SET", "f:1", "v")
    wait_until(lambda: json.loads(daemon.cachee_ok("--json", "dlq", "list")), "the dead letter")
    assert daemon.resp("EXISTS", "left") == 0


def test_triggers_that_set_each_other_off_end_in_a_dead_letter_that_names_the_chain(daemon):
    for name, other in (("ping", "pong"), ("pong", "ping")):
        daemon.register(f"{name}:*", "ON_WRITE", f"""
          cachee.log("{name}", {{id = event.id, depth = event.depth, chain = event.chain, parent = event.parent}})
          cachee.set("{other}:1", tostring(tonumber(event.value) + 1))
        """, "NAME", name, "MAXDEPTH", 3)
    daemon.resp("SET", "ping:1", "0")
    [letter] = wait_until(lambda: json.loads(daemon.cachee_ok("--json", "dlq", "list")), "the dead letter")

    # Depths 0 to 2 each set off the next; the write of depth 3 was refused, and its run left nothing.
    first, third = daemon.channel("ping")
    [second] = daemon.channel("pong")
    root = first["id"]
    assert [line["depth"] for line in (first, second, third)] == [0, 1, 2]
    assert [line["parent"] for line in (second, third)] == [first["id"], second["id"]]
    assert {line["chain"] for line in (first, second, third)} == {root}
    assert (daemon.resp("GET", "ping:1"), daemon.resp("GET", "pong:1")) == ("2", "3")
    stats = {row["name"]: row for row in json.loads(daemon.cachee_ok("--json", "trigger", "stats"))}
    assert [(stats[name]["fired"], stats[name]["ok"], stats[name]["dead"]) for name in ("ping", "pong")] == [(2, 2, 0), (2, 1, 1)]

    assert letter["trigger"] == "pong" and letter["attempts"] == 1, "it would fail again: it was not tried again"
    shown = json.loads(daemon.cachee_ok("--json", "dlq", "show", letter["id"]))
    assert shown["error"] == f"MAXDEPTH 3 reached: this trigger was set off by itself or others, chain {root}"
    assert (shown["key"], shown["payload"]["value"], shown["payload"]["depth"]) == ("pong:1", "3", 3)
    assert (shown["payload"]["chain"], shown["payload"]["parent"]) == (root, third["id"])

    steps = json.loads(daemon.cachee_ok("--json", "trace", root))
    assert [(step["event"], step["trigger"], step["depth"], step["where"]) for step in steps] == [
        (first["id"], "ping", 0, "handled"), (second["id"], "pong", 1, "handled"), (third["id"], "ping", 2, "handled"),
        (letter["event"], "pong", 3, "dead")]
    told = [dict(zip(step[::2], step[1::2])) for step in daemon.resp("TRIGGER", "TRACE", root)]
    assert told == steps


# Names that are there, and names that are not: the list of the latter is only as good as the look that finds the former.
SANDBOX = """
local seen = {}
for _, name in ipairs({"string", "pcall", "io", "os", "require", "load", "loadstring", "dofile", "loadfile", "debug",
                       "package", "collectgarbage", "coroutine", "print", "_G"}) do
  if _ENV[name] ~= nil then seen[#seen + 1] = name end
end
cachee.log("sandbox", {seen = seen})
"""


def test_handler_sees_no_forbidden_library(daemon, await_lines):
    daemon.register("s:*", "ON_WRITE", SANDBOX, "NAME", "s")
    daemon.resp("SET", "s:1", "v")
    [line] = await_lines(daemon, "sandbox", 1)
    assert line["seen"] == ["string", "pcall"]


@pytest.mark.parametrize("source,word", [
    ("while true do end", "limit"),
    ("while true do pcall(function() while true do end end) end", "limit"),
    ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) end", "memory"),
    ("return ('x'):rep(1e10)", "memory"),
    ("local t = setmetatable({}, {__gc = function() while true do end end}) t = nil error('e')", "e"),
    ("table.move({}, 1, 2^40, 2, {})", ""),
    ("return ('x'):rep(30):find(('x*'):rep(30) .. 'y')", "limit"),
])
def test_limits_stop_a_handler_and_nobody_else(daemon, await_lines, source, word):
    daemon.register("bad:*", "ON_WRITE", source, "NAME", "bad", "RETRY", 1, "MEMORY", "8MiB", "TIMEOUT", 300)
    daemon.register("good:*", "ON_WRITE", log_source("good", k="event.key"), "NAME", "good")
    daemon.resp("SET", "bad:1", "v")
    daemon.resp("SET", "good:1", "v")
    await_lines(daemon, "good", 1)
    letters = wait_until(lambda: json.loads(daemon.cachee_ok("--json", "dlq", "list")), "the dead letter")
    assert word in json.dumps(letters).lower()


def test_trigger_test_runs_without_effect(daemon):
    source = 'cachee.set("made", event.key) cachee.log("t", {v = event.value})'
    daemon.register("t:*", "ON_WRITE", source, "NAME", "t")
    event = json.dumps({"type": "write", "key": "t:9", "value": "nine"})
    answer = daemon.resp("TRIGGER", "TEST", "t", event)
    assert "made" in answer and "nine" in answer
    assert daemon.resp("EXISTS", "made") == 0
    assert daemon.channel("t") == []
    assert "boom" in daemon.resp("TRIGGER", "TEST", 'error("boom")', event)
    with pytest.raises(RespError, match="no such trigger: T1"):
        daemon.resp("TRIGGER", "TEST", "T1", event)

    daemon.resp("SET", "b", "there")
    effects = json.loads(daemon.resp("TRIGGER", "TEST", """
        cachee.set("a", "1", {nx = true})
        cachee.set("b", "2", {xx = true})
        cachee.webhook("https://hooks.test/x", "body", {headers = {["X-A"] = "b"}, timeout = 2, secret = "s3cret"})
        cachee.warm("w", "https://hooks.test/y", {headers = {["X-C"] = "d"}})
    """, event))["effects"]
    assert [(effect.get("nx"), effect.get("xx")) for effect in effects[:2]] == [(True, None), (None, True)]
    assert (effects[2]["headers"], effects[2]["timeout_ms"], effects[2]["signed"]) == ({"X-A": "b"}, 2000, True)
    assert effects[3]["headers"] == {"X-C": "d"} and "s3cret" not in json.dumps(effects)

    # An event that does not say what it is, is what the trigger is for.
    daemon.register("t:*", "ON_EXPIRE,ON_EVICT", "cachee.set('made', event.type)", "NAME", "ends")
    answer = json.loads(daemon.resp("TRIGGER", "TEST", "ends", '{"key": "t:1"}'))
    assert answer["effects"][0]["value"] == "expire" and answer["matches"] == ["ends"]


def test_origin_is_a_client_and_names_the_segment(daemon, await_lines):
    source = """local o = event.origin
    cachee.log("o", {kind = o.kind, pid = o.pid, client = o.client, instance = o.instance})"""
    daemon.register("o:*", "ON_WRITE", source, "NAME", "o")
    daemon.resp("SET", "o:1", "v", "WAIT", 5000)
    [line] = await_lines(daemon, "o", 1)
    assert line["kind"] == "client" and line["pid"] == daemon.process.pid
    assert (line["client"], line["instance"]) == ("cacheed", daemon.name)

    stats = daemon.resp("TRIGGER", "STATS", "o")
    stats = dict(zip(stats[::2], stats[1::2]))
    assert json.loads(stats["since_registration"]) == ["emitted", "acknowledged"]
    assert 0 < stats["others_since_ms"] <= time.time() * 1000


def test_export_and_import_bring_the_same_triggers_back(daemon):
    daemon.register("a:*", "ON_WRITE,ON_EXPIRE", 'local s = "quo\\"ted"\nreturn s\n', "NAME", "a b", "PRIORITY", 4,
                    "RETRY", 9, "BACKOFF", "1s", "2m", "TIMEOUT", 77, "MEMORY", "2MiB", "STEPS", 500,
                    "MAXDEPTH", 2, "ON_FULL", "BLOCK", 250, "DISABLED")
    daemon.register("b:*", "ON_READ", "return", "SAMPLE", 10)
    exported = daemon.resp("TRIGGER", "EXPORT")
    for name in ("a b", "b:*@ON_READ"):
        daemon.resp("TRIGGER", "REMOVE", name)
    assert daemon.resp("TRIGGER", "LIST") == []
    daemon.resp("TRIGGER", "IMPORT", exported)
    assert daemon.resp("TRIGGER", "EXPORT") == exported
    assert daemon.resp("TRIGGER", "SOURCE", "a b") == 'local s = "quo\\"ted"\nreturn s\n'
    with pytest.raises(RespError):
        daemon.resp("TRIGGER", "IMPORT", "TRIGGER REGISTER c:* ON_WRITE <<LUA\nif if\nLUA\n")
    assert daemon.resp("TRIGGER", "EXPORT") == exported


def test_cachee_trigger_commands(daemon, tmp_path):
    script = tmp_path / "t.lua"
    script.write_text(log_source("t", k="event.key"))
    daemon.cachee_ok("trigger", "register", "k:*", "ON_WRITE", script)
    assert "k:*@ON_WRITE" in daemon.cachee_ok("trigger", "list")
    assert "event.key" in daemon.cachee_ok("trigger", "show", "k:*@ON_WRITE")
    for verb in ("disable", "enable", "pause", "resume"):
        daemon.cachee_ok("trigger", verb, "k:*@ON_WRITE")
    daemon.cachee_ok("trigger", "stats", "k:*@ON_WRITE")
    daemon.cachee_ok("trigger", "remove", "k:*@ON_WRITE")
    assert daemon.cachee("trigger", "show", "k:*@ON_WRITE").returncode == 1


def test_once_lets_an_id_pass_one_time(daemon, await_lines):
    daemon.register("o:*", "ON_WRITE", """
      if cachee.once("mail:" .. event.key, 60) then cachee.log("once", {v = event.value}) end
      cachee.log("every", {v = event.value})
    """, "NAME", "o")
    for n in range(3):
        daemon.resp("SET", "o:1", n, "WAIT", 5000)
    await_lines(daemon, "every", 3)
    assert [line["v"] for line in daemon.channel("once")] == ["0"]


ENDLESS = "while true do end"


def test_a_handler_that_is_tried_holds_up_its_own_connection_only(daemon):
    daemon.register("t:*", "ON_WRITE", ENDLESS, "NAME", "t", "TIMEOUT", 1500, "STEPS", 10**12)
    asker, other = Resp(daemon.socket_path), Resp(daemon.socket_path)
    asker.send("TRIGGER", "TEST", "t", '{"type": "write", "key": "t:1"}')
    asker.send("PING", "behind")
    pings = 0
    slowest = 0.0
    while not select.select([asker.socket], [], [], 0)[0]:
        start = time.monotonic()
        assert other("PING") == "PONG"
        slowest = max(slowest, time.monotonic() - start)
        pings += 1
    assert "(TIMEOUT)" in asker.read()
    assert asker.read() == "behind"
    assert pings > 100 and slowest < 0.5, f"{pings} pings, the slowest took {slowest:.3f} s"
    asker.close()
    other.close()


def test_a_source_that_takes_the_compiler_long_is_refused_at_once(daemon):
    other = Resp(daemon.socket_path)
    for source in ("goto a " * 32000 + "::a::", "local x = " + "x or " * 50000 + "x"):
        asker = Resp(daemon.socket_path)
        asker.send("TRIGGER", "REGISTER", "t:*", "ON_WRITE", source)
        start = time.monotonic()
        assert other("PING") == "PONG"
        with pytest.raises(RespError, match="more than 4096"):
            asker.read()
        assert time.monotonic() - start < 1.0
        asker.close()
    other.close()
    assert daemon.resp("TRIGGER", "LIST") == []


def test_a_handler_that_is_tried_does_not_hold_up_the_stop(daemon):
    daemon.register("t:*", "ON_WRITE", ENDLESS, "NAME", "t", "TIMEOUT", 3600000, "STEPS", 10**12)
    asker = Resp(daemon.socket_path)
    asker.send("TRIGGER", "TEST", "t", '{"type": "write", "key": "t:1"}')
    daemon.resp("VERIFY")
    start = time.monotonic()
    daemon.terminate()
    assert daemon.process.returncode == 0
    assert time.monotonic() - start < 10.0  # the drain has 5 s
    asker.close()


def test_slow_runs_are_in_the_slow_log_and_in_the_figures(daemon):
    daemon.register("busy:*", "ON_WRITE", "local x = 0 for i = 1, 200000 do x = x + i end", "NAME", "busy")
    daemon.register("lazy:*", "ON_WRITE", "local x = event.key", "NAME", "lazy")
    assert daemon.resp("CONFIG", "SET", "slowlog-slower-than", "1ms") == "OK"
    for n in range(5):
        daemon.resp("SET", f"busy:{n}", "v", "WAIT", "5000")
        daemon.resp("SET", f"lazy:{n}", "v", "WAIT", "5000")
    slow = daemon.resp("SLOWLOG", "GET")
    busy = [run for run in slow if run[3][0] == "busy"]
    assert [run[3][2] for run in busy] == [f"busy:{n}" for n in (4, 3, 2, 1, 0)]
    assert all(run[2] >= 1000 and run[3][1] == "write" and abs(run[1] - time.time()) < 60 for run in busy)
    stats = json.loads(daemon.cachee_ok("--json", "trigger", "stats", "busy"))
    stats = stats[0] if isinstance(stats, list) else stats
    assert 1000 <= stats["run_us_p50"] <= stats["run_us_p99"] <= stats["run_us_max"]
    assert stats["steps_max"] > 200000 and stats["ok"] == 5
    assert daemon.resp("SLOWLOG", "RESET") == "OK"
    assert daemon.resp("SLOWLOG", "LEN") == 0


def test_the_slow_log_is_on_from_the_start(make_daemon):
    daemon = make_daemon(settings='[slowlog]\nslower_than = "0s"\nmax_len = 2\n')
    daemon.register("lazy:*", "ON_WRITE", "local x = event.key", "NAME", "lazy")
    for n in range(3):
        daemon.resp("SET", f"lazy:{n}", "v", "WAIT", "5000")
    assert [run[3][2] for run in daemon.resp("SLOWLOG", "GET")] == ["lazy:2", "lazy:1"]
    daemon.kill()
    daemon.start()
    daemon.resp("SET", "lazy:9", "v", "WAIT", "5000")
    assert daemon.resp("SLOWLOG", "LEN") == 1
