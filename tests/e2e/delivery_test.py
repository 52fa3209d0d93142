"""Goal: an event that was made is handled, in the order of its key, or is in the dead letters; a full
ring refuses the write and applies nothing.

Method: handlers that fail, hang or see a service that is down; the account is checked after each.
"""
import json
import os
import pathlib
import signal
import time

import pytest

from support import RespError, wait_until

# Lua's own matcher would backtrack for years here, where no count hook runs.
HANG = """
if event.key == "job:stuck" then
  return string.find(string.rep("a", 3000), string.rep("a*", 25) .. "b")
end
cachee.log("jobs", {key = event.key, value = event.value, attempt = event.attempt})
"""


def dead_letters(daemon):
    return json.loads(daemon.cachee_ok("--json", "dlq", "list"))


def dlq_show(daemon, letter):
    """As the control socket tells it."""
    found = daemon.resp("TRIGGER", "DLQ", "SHOW", letter)
    shown = dict(zip(found[::2], found[1::2]))
    return {**shown, "payload": json.loads(shown["payload"])}


def test_handler_that_loops_in_string_find_is_stopped_and_other_keys_go_on(daemon, await_lines):
    daemon.register("job:*", "ON_WRITE", HANG, "NAME", "jobs", "RETRY", 2, "BACKOFF", "10ms", "20ms",
                    "TIMEOUT", 100)
    daemon.resp("SET", "job:stuck", "x")
    for n in range(200):
        daemon.resp("SET", f"job:{n}", n)

    lines = await_lines(daemon, "jobs", 200)
    assert {line["key"] for line in lines} == {f"job:{n}" for n in range(200)}
    wait_until(lambda: dead_letters(daemon), "the dead letter of job:stuck")
    [letter] = dead_letters(daemon)
    assert "job:stuck" in daemon.cachee_ok("dlq", "show", letter["id"])
    assert letter["attempts"] == 2
    assert any(word in json.dumps(letter).lower() for word in ("step", "time"))
    assert len(daemon.channel("jobs")) == 200


def cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_executor_that_stops_in_a_run_is_killed_and_the_event_tried_again(daemon, await_lines):
    # A stopped process stands for whatever limits inside it cannot end. The limit is one below which no run is set aside.
    source = """
    if event.key == "slow:1" and event.attempt == 1 then while true do end end
    cachee.log("slow", {key = event.key, attempt = event.attempt, duplicate = event.duplicate})
    """
    daemon.register("slow:*", "ON_WRITE", source, "NAME", "slow", "RETRY", 20, "BACKOFF", "10ms", "20ms",
                    "TIMEOUT", 390, "STEPS", 10**12)
    [executor] = wait_until(daemon.executors, "an executor")
    idle = cpu_ticks(executor)
    daemon.resp("SET", "slow:1", "v")
    wait_until(lambda: cpu_ticks(executor) > idle + 1, "the start of the run", interval=0.002)
    os.kill(executor, signal.SIGSTOP)
    daemon.resp("SET", "slow:2", "v")
    wait_until(lambda: daemon.executors() not in ([], [executor]), "another executor")
    lines = await_lines(daemon, "slow", 2)
    assert sorted(line["key"] for line in lines) == ["slow:1", "slow:2"]


def test_failing_handler_is_retried_dead_lettered_and_replayed_after_a_fix(daemon, await_lines):
    options = ("NAME", "orders", "RETRY", 3, "BACKOFF", "10ms", "20ms")
    broken = """
    local function pick(lamp)
      error("no such warehouse, attempt " .. event.attempt)
    end
    cachee.log("tries", {n = 1})
    pick(event.value)
    """
    daemon.register("order:*", "ON_WRITE", broken, *options)
    daemon.resp("SET", "order:7", "old lamp")
    daemon.resp("SET", "order:7", "lamp", "META", "user", "ada", "COST", "2.5")
    wait_until(lambda: len(dead_letters(daemon)) == 2, "the dead letters")
    first, letter = dead_letters(daemon)
    assert (first["error"], letter["error"]) == ("orders:3: no such warehouse, attempt 3",) * 2
    for shown in (json.loads(daemon.cachee_ok("--json", "dlq", "show", letter["id"])), dlq_show(daemon, letter["id"])):
        assert (shown["trigger"], shown["attempts"], shown["what"], shown["error"]) == ("orders", 3, "event", letter["error"])
        assert shown["traceback"].startswith("stack traceback:")
        frames = [line.strip() for line in shown["traceback"].splitlines()]
        assert "orders:3: in local 'pick'" in frames and "orders:6: in main chunk" in frames
        event = shown["payload"]
        assert (event["id"], event["key"], event["value"], event["old_value"]) == (letter["event"], "order:7", "lamp", "old lamp")
        assert (event["type"], event["cause"], event["metadata"], event["cost"]) == ("write", "update", {"user": "ada"}, 2.5)
    text = daemon.cachee_ok("dlq", "show", letter["id"])
    for part in ("no such warehouse, attempt 3", "order:7", "lamp", "ada", "orders:3: in local 'pick'", "orders:6: in main chunk"):
        assert part in text
    daemon.cachee_ok("dlq", "purge", first["id"])
    assert daemon.channel("tries") == [], "a failed run must leave nothing"
    assert daemon.verify().returncode == 0

    fixed = 'cachee.log("orders", {key = event.key, user = event.metadata.user, attempt = event.attempt})'
    daemon.register("order:*", "ON_WRITE", fixed, *options)
    daemon.cachee_ok("dlq", "replay", "all")
    [line] = await_lines(daemon, "orders", 1)
    assert (line["key"], line["user"]) == ("order:7", "ada")
    wait_until(lambda: not dead_letters(daemon), "empty dead letters")


def test_failing_key_holds_back_only_itself_and_keeps_its_order(daemon, await_lines):
    # Fails while gate is closed; the order of each key must be that of its writes afterwards.
    source = """
    if event.key == "k:bad" and not cachee.exists("gate:open") then error("closed") end
    cachee.log("order", {key = event.key, value = event.value})
    """
    daemon.register("k:*", "ON_WRITE", source, "NAME", "order", "RETRY", 50, "BACKOFF", "20ms", "50ms")
    for n in range(20):
        daemon.resp("SET", "k:bad", n)
        daemon.resp("SET", "k:good", n)
    good = wait_until(lambda: [line for line in daemon.channel("order") if line["key"] == "k:good"][19:],
                      "all of k:good")
    assert good
    assert not [line for line in daemon.channel("order") if line["key"] == "k:bad"]
    daemon.resp("SET", "gate:open", 1)
    await_lines(daemon, "order", 40)
    for key in ("k:bad", "k:good"):
        values = [int(line["value"]) for line in daemon.channel("order") if line["key"] == key]
        assert values == list(range(20)), key


def test_webhook_is_retried_until_the_service_is_up_and_carries_one_id(daemon, receiver):
    receiver.fail = [503, 500]
    daemon.register("s:*", "ON_DELETE", f'cachee.webhook("{receiver.url}/x", {{key = event.key}})', "NAME", "hook")
    daemon.resp("SET", "s:1", "v")
    daemon.resp("DEL", "s:1")
    requests = wait_until(lambda: receiver.received("/x")[2:] and receiver.received("/x"), "three tries", 20)
    assert len({r["headers"]["idempotency-key"] for r in requests}) == 1
    assert len({r["body"] for r in requests}) == 1
    wait_until(lambda: json.loads(daemon.cachee_ok("--json", "outbox", "list")) == [], "an empty outbox")
    assert len(receiver.received("/x")) == 3


def test_full_ring_refuses_the_write_and_applies_nothing(make_daemon, make_load, await_lines):
    daemon = make_daemon(options=("--ring-events", "256"))
    daemon.register("b:*", "ON_WRITE", 'cachee.log("b", {key = event.key, version = event.version})',
                    "NAME", "b", "ON_FULL", "BLOCK", 50)
    daemon.cachee_ok("set", "b:probe", "before")
    await_lines(daemon, "b", 1)

    # Nothing drains while these are stopped; clients need none of them.
    executors = daemon.executors()
    for pid in [daemon.process.pid, *executors]:
        os.kill(pid, signal.SIGSTOP)
    try:
        load = make_load(daemon, "b:", keys=7)
        wait_until(load.errors, "a refused write", 20)
        refused = daemon.cachee("set", "b:probe", "after")
        assert refused.returncode != 0
        assert "BACKPRESSURE" in refused.stdout + refused.stderr
        assert daemon.cachee_ok("get", "b:probe").strip() == "before"
        assert daemon.cachee_ok("set", "free:1", "x") is not None, "no trigger wants this key"
        load.kill()
    finally:
        for pid in [*executors, daemon.process.pid]:
            os.kill(pid, signal.SIGCONT)
    assert {line[2] for line in load.errors()} == {"full"}
    daemon.drained()
    done = load.done()
    await_lines(daemon, "b", len(done) + 1)
    logged = [(line["key"], line["version"]) for line in daemon.channel("b") if line["key"] != "b:probe"]
    assert len(logged) == len(set(logged)), "an event was logged twice"
    assert set(done) <= set(logged)
    assert len(logged) - len(done) <= 1, "a refused write made an event"
    daemon.cachee_ok("set", "b:probe", "after")


def test_wait_returns_when_the_trigger_has_acknowledged(daemon):
    daemon.register("w:*", "ON_WRITE", 'cachee.log("w", {v = event.value})', "NAME", "w")
    for n in range(20):
        assert daemon.resp("SET", "w:1", n, "WAIT", 5000) == "OK"
        assert len(daemon.channel("w")) == n + 1, "WAIT returned before the trigger had run"


def test_wait_times_out_while_nothing_is_handled_and_the_write_stands(daemon):
    daemon.register("w:*", "ON_WRITE", 'cachee.log("w", {v = event.value})', "NAME", "w", "TIMEOUT", 60000)
    # Killed, the executor would be replaced; stopped, it handles nothing.
    [executor] = wait_until(daemon.executors, "an executor")
    os.kill(executor, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(RespError, match="^WAITTIMEOUT"):
            daemon.resp("SET", "w:1", "b", "WAIT", 100)
        assert time.monotonic() - start < 5
        assert daemon.resp("GET", "w:1") == "b"
    finally:
        os.kill(executor, signal.SIGCONT)
    wait_until(lambda: daemon.channel("w") == daemon.channel("w")[:1] and daemon.channel("w"), "the event")


def test_wait_times_out_while_the_trigger_is_paused(daemon):
    daemon.register("w:*", "ON_WRITE", 'cachee.log("w", {v = event.value})', "NAME", "w")
    daemon.resp("TRIGGER", "PAUSE", "w")
    with pytest.raises(RespError, match="^WAITTIMEOUT"):
        daemon.resp("SET", "w:1", "b", "WAIT", 200)
    daemon.resp("TRIGGER", "RESUME", "w")
    assert daemon.resp("SET", "w:1", "c", "WAIT", 10000) == "OK"
    assert [line["v"] for line in daemon.channel("w")] == ["b", "c"]


def test_wait_is_for_every_trigger_also_one_that_needs_several_attempts(daemon):
    daemon.register("w:*", "ON_WRITE", 'cachee.log("w", {v = event.value})', "NAME", "quick")
    daemon.register("w:1", "ON_WRITE", 'if event.attempt < 3 then error("not yet") end cachee.log("w1", {a = event.attempt})',
                    "NAME", "slow", "BACKOFF", "20ms", "40ms")
    assert daemon.resp("SET", "w:1", "v", "WAIT", 10000) == "OK"
    assert [line["a"] for line in daemon.channel("w1")] == [3], "WAIT returned before the last attempt"


def test_chain_of_handlers_can_be_traced_through_deletes(daemon):
    daemon.resp("SET", "b:1", "v")
    daemon.register("a:*", "ON_WRITE", 'cachee.del("b:1")', "NAME", "first")
    daemon.register("b:*", "ON_DELETE", 'error("kept for the trace")', "NAME", "second", "RETRY", 1)
    daemon.resp("SET", "a:1", "v")
    [letter] = wait_until(lambda: dead_letters(daemon), "the dead letter of the delete")
    event = json.loads(daemon.cachee_ok("--json", "dlq", "show", letter["id"]))
    event = event.get("payload", event)
    assert (event["depth"], event["key"], event["type"]) == (1, "b:1", "delete")
    trace = daemon.cachee_ok("trace", event["chain"])
    assert "b:1" in trace and "second" in trace


def test_all_five_events_carry_what_they_are_about(make_daemon, await_lines):
    daemon = make_daemon()
    source = """
    cachee.log("all", {type = event.type, cause = event.cause, key = event.key, value = event.value,
      old = event.old_value, cost = event.cost, user = event.metadata.user, version = event.version,
      id = event.id, attempt = event.attempt, at = event.timestamp, depth = event.depth,
      origin = event.origin.kind, pid = event.origin.pid, trigger = event.trigger})
    """
    daemon.register("a:*", "ON_WRITE,ON_EXPIRE,ON_DELETE,ON_READ", source, "NAME", "all")
    daemon.cachee_ok("set", "a:1", "one", "--cost", "2.5", "--meta", "user=ada")
    daemon.cachee_ok("set", "a:1", "two", "--meta", "user=bob", "--ttl", "10m")
    daemon.cachee_ok("get", "a:1")
    daemon.cachee_ok("expire", "a:1", "1ms")
    await_lines(daemon, "all", 4)
    daemon.cachee_ok("set", "a:1", "three")
    daemon.cachee_ok("del", "a:1")
    lines = await_lines(daemon, "all", 6)
    assert [(x["type"], x["cause"], x["value"], x.get("old"), x.get("user")) for x in lines] == [
        ("write", "create", "one", None, "ada"),
        ("write", "update", "two", "one", "bob"),
        ("read", "hit", "two", None, "bob"),
        ("expire", "ttl", "two", None, "bob"),
        ("write", "create", "three", None, None),
        ("delete", "explicit", "three", None, None),
    ]
    assert lines[0]["cost"] == 2.5
    assert len({x["id"] for x in lines}) == 6
    assert all(x["attempt"] == 1 and x["depth"] == 0 and x["trigger"] == "all" for x in lines)
    assert lines[3]["origin"] == "sweep" and lines[0]["origin"] == "client"
    assert all(abs(x["at"] - time.time()) < 30 for x in lines)
