"""Goal: each event of a consumer group is in the hands of one consumer at a time [DP-7], in the order of its
key, until it is acknowledged or a dead letter; through the death of consumers and of cacheed.

Method: consumers are connections of this process, or processes that are killed; the account is checked
after each test.
"""
import contextlib
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from support import Resp, RespError, children_of, frozen_executors, program, wait_until

GROUP_CLIENTS = {"cpp": program("CACHEE_GROUP_CLIENT", "e2e_group_client"),
                 "c": program("CACHEE_GROUP_CLIENT_C", "e2e_group_client_c")}


class Consumer:
    """One connection that reads a group."""

    def __init__(self, daemon, name, group="g"):
        self.resp = Resp(daemon.socket_path)
        self.name = name
        self.group = group

    def read(self, count=100, block=10000, *options):
        found = self.resp("GROUP", "READ", self.group, self.name, "COUNT", count, "BLOCK", block, *options)
        return [dict(zip(event[::2], event[1::2])) for event in found or []]

    def poll(self, count=100):
        found = self.resp("GROUP", "READ", self.group, self.name, "COUNT", count)
        return [dict(zip(event[::2], event[1::2])) for event in found or []]

    def ack(self, *events):
        return self.resp("GROUP", "ACK", self.group, *[event["id"] for event in events])

    def nack(self, event, *options):
        return self.resp("GROUP", "NACK", self.group, event["id"], *options)

    def close(self):
        self.resp.close()


def create(daemon, *options, name="g", pattern="s:*", events="ON_WRITE"):
    assert daemon.resp("GROUP", "CREATE", name, pattern, events, *options) == "OK"


def info(daemon, name="g"):
    found = daemon.resp("GROUP", "INFO", name)
    return dict(zip(found[::2], found[1::2]))


def account_of(daemon, name):
    [row] = [row for row in json.loads(daemon.cachee_ok("--json", "verify"))["triggers"] if row["name"] == name]
    return row


# A consumer of its own process, for kills: prints what it reads and never acknowledges.
HOLDER = """
import sys
sys.path.insert(0, {folder!r})
from support import Resp
resp = Resp({path!r}, timeout=60)
found = resp("GROUP", "READ", "g", "holder", "COUNT", 20, "BLOCK", 20000)
print(len(found), flush=True)
sys.stdin.read()
"""


def start_holder(daemon):
    source = HOLDER.format(folder=os.path.dirname(__file__), path=str(daemon.socket_path))
    process = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, **daemon.environment()})
    return process, int(process.stdout.readline())


def test_two_consumers_share_a_group_and_every_event_comes_once_in_key_order(daemon):
    create(daemon)
    keys, rounds = 40, 12
    seen = []
    deadline = time.monotonic() + 60
    lock = threading.Lock()

    def consume(name):
        consumer = Consumer(daemon, name)
        while len(seen) < keys * rounds and time.monotonic() < deadline:
            events = consumer.read(16, 200)
            if not events:
                continue
            with lock:
                seen.extend((event["key"], int(event["value"]), name, event["attempt"], event["id"]) for event in events)
            assert consumer.ack(*events) == len(events)
        assert consumer.poll() == []
        consumer.close()

    threads = [threading.Thread(target=consume, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for n in range(rounds):
        for k in range(keys):
            daemon.resp("SET", f"s:{k}", n)
    for thread in threads:
        thread.join(60)
    assert len(seen) == keys * rounds
    assert len({event[4] for event in seen}) == keys * rounds
    assert {event[2] for event in seen} == {"a", "b"}, "one consumer did everything"
    for k in range(keys):
        assert [event[1] for event in seen if event[0] == f"s:{k}"] == list(range(rounds))
    assert all(event[3] == 1 for event in seen)
    row = account_of(daemon, "g")
    assert (row["emitted"], row["acknowledged"]) == (keys * rounds, keys * rounds)


def test_event_has_every_field(daemon):
    create(daemon, events="ON_WRITE,ON_DELETE,ON_EXPIRE")
    daemon.resp("SET", "s:1", "old")
    daemon.resp("SET", "s:1", "new", "PX", 60000, "COST", "2.5", "META", "user", "ada")
    consumer = Consumer(daemon, "a")
    [first] = consumer.read()
    assert (first["value"], first["old_value"], first["cause"], first["deadline"]) == ("old", None, "create", None)
    assert consumer.poll() == [], "a newer event of the key must wait for the older one"
    consumer.ack(first)
    [second] = consumer.read()
    assert (second["type"], second["cause"], second["value"], second["old_value"]) == ("write", "update", "new", "old")
    assert second["metadata"] == ["user", "ada"]
    assert float(second["cost"]) == 2.5 and 50000 < second["ttl_ms"] <= 60000
    assert abs(float(second["deadline"]) - float(second["timestamp"]) - 60) < 0.01
    assert second["size"] == 3 and second["attempt"] == 1 and second["duplicate"] == 0 and second["depth"] == 0
    assert second["chain"] == second["id"] and second["parent"] is None
    origin = dict(zip(second["origin"][::2], second["origin"][1::2]))
    assert origin == {"kind": "client", "pid": daemon.process.pid, "client": "cacheed", "instance": daemon.name}
    consumer.ack(second)
    daemon.resp("PEXPIRE", "s:1", 20)
    [third] = consumer.read()
    assert (third["type"], third["cause"], third["value"]) == ("expire", "ttl", "new")
    assert float(third["lag_ms"]) >= 0 and third["age_ms"] >= 0
    consumer.ack(third)
    consumer.close()


def test_events_of_a_killed_consumer_come_to_another_as_duplicates(daemon):
    create(daemon, "BACKOFF", "1ms", "5ms")
    for n in range(50):
        daemon.resp("SET", f"s:{n}", n)
    wait_until(lambda: info(daemon)["lag"] == 50, "50 events")
    holder, held = start_holder(daemon)
    assert held > 0
    other = Consumer(daemon, "other")
    rest = []
    while len(rest) < 50 - held:
        rest += other.read()
    assert other.poll() == []
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    taken = []
    while len(taken) < held:
        events = other.read()
        assert events, f"{len(taken)} of {held} came back"
        taken += events
    assert {(event["attempt"], event["duplicate"]) for event in taken} == {(1, 1)}
    assert {(event["attempt"], event["duplicate"]) for event in rest} == {(1, 0)}
    assert len({event["id"] for event in taken + rest}) == 50
    assert other.ack(*taken, *rest) == 50
    other.close()


def test_event_whose_deadline_passed_goes_to_another_and_a_late_ack_is_refused(daemon):
    create(daemon, "BACKOFF", "1ms", "2ms")
    daemon.resp("SET", "s:1", "v")
    slow, quick = Consumer(daemon, "slow"), Consumer(daemon, "quick")
    [event] = slow.read(1, 5000, "DEADLINE", 100)
    [again] = quick.read(1, 5000)
    assert (again["id"], again["attempt"], again["duplicate"]) == (event["id"], 2, 1)
    with pytest.raises(RespError, match=r"^STALE .* consumer quick has it"):
        slow.ack(event)
    quick.ack(again)
    with pytest.raises(RespError, match="^STALE .* acknowledged before"):
        quick.ack(again)
    slow.close()
    quick.close()


def test_consumers_that_close_cost_no_attempt_and_an_event_that_ends_each_is_a_dead_letter(daemon):
    create(daemon, "RETRY", 3, "BACKOFF", "1ms", "2ms")
    for n in range(3):
        daemon.resp("SET", f"s:{n}", n)
    wait_until(lambda: account_of(daemon, "g")["retry"] == 3, "the events in the store", interval=0.05)

    def read_and_close():
        consumer = Consumer(daemon, "a")
        events = []
        while len(events) < 3:
            events += consumer.read(10, 20000)
        consumer.close()
        return {(event["attempt"], event["duplicate"]) for event in events}

    assert read_and_close() == {(1, 0)}
    assert [read_and_close() for _ in range(3)] == [{(1, 1)}] * 3
    # Three consumers are lost with each: from here on it costs.
    assert [read_and_close() for _ in range(2)] == [{(2, 1)}, {(3, 1)}]
    wait_until(lambda: account_of(daemon, "g")["dead"] == 3, "dead letters", interval=0.05)


def test_nack_delays_and_ends_in_a_dead_letter_that_can_be_replayed(daemon):
    create(daemon, "RETRY", 2, "BACKOFF", "1ms", "2ms")
    daemon.resp("SET", "s:1", "bad")
    daemon.resp("SET", "s:2", "good")
    consumer = Consumer(daemon, "a")
    events = []
    while len(events) < 2:
        events += consumer.read()
    bad, good = sorted(events, key=lambda event: event["key"])
    consumer.ack(good)
    start = time.monotonic()
    assert consumer.nack(bad, "DELAY", 300, "ERROR", "no such user") == 1
    daemon.resp("SET", "s:1", "behind it")
    assert consumer.poll() == [], "what comes behind a failed event waits"
    [again] = consumer.read()
    assert time.monotonic() - start >= 0.29
    assert (again["value"], again["attempt"]) == ("bad", 2)
    consumer.nack(again, "ERROR", "no such user")
    [behind] = consumer.read()
    assert behind["value"] == "behind it", "a dead letter holds nothing back"
    consumer.ack(behind)
    [letter] = json.loads(daemon.cachee_ok("--json", "dlq", "list"))
    assert letter["trigger"] == "g" and letter["attempts"] == 2
    assert "no such user" in daemon.cachee_ok("dlq", "show", letter["id"])
    assert account_of(daemon, "g")["dead"] == 1
    daemon.cachee_ok("dlq", "replay", letter["id"])
    [replayed] = consumer.read()
    assert (replayed["value"], replayed["attempt"]) == ("bad", 1)
    consumer.ack(replayed)
    consumer.close()
    row = account_of(daemon, "g")
    assert row["emitted"] == row["acknowledged"] == 3


def test_killed_cacheed_loses_nothing_and_says_duplicate(daemon):
    create(daemon)
    for n in range(100):
        daemon.resp("SET", f"s:{n}", n)
    consumer = Consumer(daemon, "a")
    events = []
    while len(events) < 60:
        events += consumer.read(60 - len(events))
    acknowledged, in_hand = events[:30], events[30:]
    consumer.ack(*acknowledged)
    daemon.kill()
    daemon.start()
    assert info(daemon)["lag"] == 70
    consumer = Consumer(daemon, "a")
    rest = []
    while len(rest) < 70:
        events = consumer.read()
        assert events, f"only {len(rest)} of 70 came"
        rest += events
    assert consumer.poll() == []
    got = {event["id"]: event for event in rest}
    assert len(got) == 70 and not got.keys() & {event["id"] for event in acknowledged}
    for event in in_hand:
        assert got[event["id"]]["duplicate"] == 1 and got[event["id"]]["attempt"] == 1
    assert consumer.ack(*rest) == 70
    daemon.resp("SET", "s:0", "later")
    [later] = consumer.read()
    assert later["duplicate"] == 0
    consumer.ack(later)
    consumer.close()


def test_group_and_trigger_on_one_pattern_both_get_each_event(daemon, await_lines):
    daemon.register("s:*", "ON_WRITE", 'cachee.log("seen", {key = event.key})', "NAME", "t")
    create(daemon)
    for n in range(40):
        daemon.resp("SET", f"s:{n}", n)
    consumer = Consumer(daemon, "a")
    events = []
    while len(events) < 40:
        found = consumer.read()
        consumer.ack(*found)
        events += found
    assert sorted(event["key"] for event in events) == sorted(line["key"] for line in await_lines(daemon, "seen", 40))
    for name in ("t", "g"):
        assert account_of(daemon, name)["acknowledged"] == 40
    consumer.close()


def test_wait_returns_when_the_consumer_has_acknowledged(daemon):
    create(daemon)
    with pytest.raises(RespError, match="WAITTIMEOUT"):
        daemon.resp("SET", "s:1", "v", "WAIT", 200)
    consumer = Consumer(daemon, "a")
    consumer.ack(*consumer.read())
    writer = Resp(daemon.socket_path)
    writer.send("SET", "s:2", "v", "WAIT", 10000)
    consumer.ack(*consumer.read())
    assert writer.read() == "OK"
    writer.close()
    consumer.close()


def test_read_that_blocks_holds_up_nobody(daemon):
    create(daemon)
    waiting = Consumer(daemon, "a")
    waiting.resp.send("GROUP", "READ", "g", "a", "BLOCK", 20000)
    wait_until(lambda: "a" in info(daemon)["consumers"], "the blocked reader")
    for n in range(100):
        daemon.resp("PING")
    daemon.resp("SET", "s:1", "v")
    found = waiting.resp.read()
    assert len(found) == 1
    waiting.close()


def test_paused_group_keeps_events_and_a_disabled_one_makes_none(daemon):
    create(daemon)
    daemon.resp("TRIGGER", "PAUSE", "g")
    daemon.resp("SET", "s:1", "kept")
    consumer = Consumer(daemon, "a")
    assert consumer.read(1, 200) == []
    daemon.resp("TRIGGER", "RESUME", "g")
    [event] = consumer.read(1, 5000)
    assert event["value"] == "kept"
    consumer.ack(event)
    daemon.resp("TRIGGER", "DISABLE", "g")
    daemon.resp("SET", "s:1", "not made")
    daemon.resp("TRIGGER", "ENABLE", "g")
    daemon.resp("SET", "s:1", "made")
    [event] = consumer.read(1, 5000)
    assert event["value"] == "made"
    consumer.ack(event)
    consumer.close()


def test_group_survives_export_import_and_restart(daemon):
    create(daemon, "RETRY", 7, "DEADLINE", "5s", "BACKOFF", "10ms", "1s")
    daemon.register("t:*", "ON_WRITE", "return 1", "NAME", "t")
    text = daemon.resp("TRIGGER", "EXPORT")
    assert "GROUP SET g s:* ON_WRITE RETRY 7 BACKOFF 10ms 1s DEADLINE 5s\n" in text
    before = info(daemon)
    daemon.resp("GROUP", "REMOVE", "g")
    daemon.resp("TRIGGER", "IMPORT", text)
    after = info(daemon)
    for field in ("pattern", "events", "retry", "deadline_ms", "backoff_min_ms", "backoff_max_ms", "kind"):
        assert after[field] == before[field]
    assert daemon.terminate() == 0
    daemon.start()
    assert info(daemon)["deadline_ms"] == 5000
    kinds = {row["name"]: row["kind"] for row in json.loads(daemon.cachee_ok("--json", "trigger", "list"))}
    assert kinds == {"g": "group", "t": "trigger"}


def test_removed_group_owes_nothing(daemon):
    create(daemon)
    for n in range(10):
        daemon.resp("SET", f"s:{n % 3}", n)
    # One event of each key is handed out then, and the next reader waits.
    wait_until(lambda: account_of(daemon, "g")["retry"] == 10, "all events in the store", interval=0.05)
    consumer = Consumer(daemon, "a")
    events = consumer.read()
    assert len(events) == 3
    consumer.resp.send("GROUP", "READ", "g", "a", "COUNT", 1, "BLOCK", 20000)
    wait_until(lambda: len(json.loads(info(daemon)["consumers"])) == 1 and info(daemon)["waiting_readers"] == 1, "the reader")
    daemon.resp("GROUP", "REMOVE", "g")
    with pytest.raises(RespError, match="^NOGROUP "):
        consumer.resp.read()
    with pytest.raises(RespError, match="^NOGROUP "):
        consumer.ack(*events)
    consumer.close()

    def stored():
        with contextlib.closing(sqlite3.connect(f"file:{daemon.state / daemon.name / 'cachee.db'}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM runs").fetchone()[0]

    wait_until(lambda: stored() == 0, "an empty store")


def test_events_pass_through_the_spool_in_order(make_daemon):
    daemon = make_daemon(options=("--ring-events", "1024"))
    create(daemon)
    with frozen_executors(daemon):
        for n in range(3000):
            daemon.resp("SET", f"s:{n % 300}", n)
    consumer = Consumer(daemon, "a")
    seen = []
    while len(seen) < 3000:
        events = consumer.read(256, 10000)
        assert events, f"only {len(seen)} came"
        consumer.ack(*events)
        seen += events
    for k in range(300):
        values = [int(event["value"]) for event in seen if event["key"] == f"s:{k}"]
        assert values == list(range(k, 3000, 300))
    consumer.close()


class Client:
    """A consumer in C++ or C: a process that prints a line for each event."""

    def __init__(self, daemon, command):
        self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=daemon.environment())
        self.first = self.process.stdout.readline().strip()

    def has_told(self):
        """Something that line() has not taken yet."""
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def line(self):
        return self.process.stdout.readline().split()

    def finish(self):
        # Not communicate(): that would miss what line() has read ahead. The client waits 30 s at most.
        lines = [line.split() for line in self.process.stdout]
        assert self.process.wait(60) == 0, f"{lines[-3:]} {self.process.stderr.read()}"
        return lines


def start_client(daemon, count, mode="ack", language="cpp", *deadline_ms):
    client = Client(daemon, [GROUP_CLIENTS[language], daemon.name, "g", "s:*", count, mode, *deadline_ms])
    assert client.first == "ready", client.process.stderr.read()
    return client


def test_cpp_consumers_share_a_group_and_one_outlives_a_restart_of_cacheed(daemon):
    client = start_client(daemon, 200)
    for n in range(100):
        daemon.resp("SET", f"s:{n % 10}", n)
    seen = [client.line() for _ in range(50)]
    daemon.kill()
    daemon.start()
    for n in range(100, 200):
        daemon.resp("SET", f"s:{n % 10}", n)
    # It ends after 200 lines, repeats counted: what it has seen twice leaves as many for another.
    seen += client.finish()
    wait_until(lambda: info(daemon)["in_hand"] == 0, "an empty hand")
    left = info(daemon)["lag"]
    if left:
        seen += start_client(daemon, left).finish()
    assert info(daemon)["lag"] == 0
    assert len({line[0] for line in seen}) == 200
    first = {}
    for event_id, kind, key, value, attempt, duplicate in seen:
        assert kind == "write"
        if event_id in first:
            assert duplicate == "1" or int(attempt) > 1
        first.setdefault(event_id, (key, int(value)))
    for k in range(10):
        assert [value for key, value in first.values() if key == f"s:{k}"] == list(range(k, 200, 10))


def test_cpp_consumer_that_is_killed_leaves_its_events_to_another(daemon):
    holder = start_client(daemon, 5, "hold")
    for n in range(5):
        daemon.resp("SET", f"s:{n}", n)
    assert holder.line()[4] == "1"
    held = info(daemon)["in_hand"]
    holder.process.kill()
    holder.process.wait()
    lines = start_client(daemon, 5).finish()
    assert len({line[0] for line in lines}) == 5
    assert {line[4] for line in lines} == {"1"}
    assert sum(line[5] == "1" for line in lines) >= min(held, 1)


@pytest.mark.parametrize("other", ("cpp", "c"))
def test_two_programs_share_a_group_at_one_time_and_each_event_comes_to_one_in_key_order(daemon, other):
    clients = [start_client(daemon, 0, "poll", language) for language in ("cpp", other)]
    keys, rounds = 20, 0
    # Longer than 15 rounds only where one of the two gets no time to run; what is told fits into the pipes.
    while rounds < 15 or (rounds < 60 and not all(client.has_told() for client in clients)):
        for k in range(keys):
            daemon.resp("SET", f"s:{k}", rounds, "META", "round", rounds)
        rounds += 1
    wait_until(lambda: info(daemon)["lag"] == 0, lambda: f"an empty group: {info(daemon)}", 30, 0.02)
    told = []
    for client in clients:
        client.process.send_signal(signal.SIGTERM)
        *lines, lag = client.finish()
        assert lag == ["lag", "0"]
        assert lines, "one of them did everything"
        told.append(lines)
    ids = [{line[0] for line in lines} for lines in told]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == len(told[0]) + len(told[1]) == keys * rounds
    for _, kind, key, value, attempt, duplicate, metadata in told[0] + told[1]:
        assert (kind, attempt, duplicate, metadata) == ("write", "1", "0", f"round={value}")
    # Of one program its own lines; over both, the number in the ring is the order of the writes.
    for lines in told:
        for k in range(keys):
            values = [int(line[3]) for line in lines if line[2] == f"s:{k}"]
            assert values == sorted(values)
    by_number = sorted(told[0] + told[1], key=lambda line: int(line[0].partition("-")[2]))
    for k in range(keys):
        assert [int(line[3]) for line in by_number if line[2] == f"s:{k}"] == list(range(rounds))


@pytest.mark.parametrize("language", ("cpp", "c"))
def test_program_that_gives_events_back_gets_them_with_attempt_2_before_later_ones_of_the_key(daemon, language):
    client = start_client(daemon, 3 * 3 * 2 + 5, "nack", language)
    for n in range(3):
        for k in range(3):
            daemon.resp("SET", f"s:{k}", n)
    daemon.resp("SET", "s:bad", "bad")
    lines = client.finish()
    for k in range(3):
        mine = [(line[3], line[4]) for line in lines if line[2] == f"s:{k}"]
        assert mine == [(str(n), attempt) for n in range(3) for attempt in ("1", "2")]
    assert [line[4] for line in lines if line[2] == "s:bad"] == ["1", "2", "3", "4", "5"]
    assert len({line[0] for line in lines}) == 3 * 3 + 1
    assert all(line[5] == "0" for line in lines)
    [letter] = wait_until(lambda: json.loads(daemon.cachee_ok("--json", "dlq", "list")), "the dead letter")
    assert (letter["attempts"], letter["error"], letter["event"]) == (5, "no such user", [x[0] for x in lines if x[3] == "bad"][0])
    assert (account_of(daemon, "g")["acknowledged"], account_of(daemon, "g")["dead"]) == (9, 1)


@pytest.mark.parametrize("slow, quick", (("cpp", "c"), ("c", "cpp")))
def test_events_that_a_program_keeps_beyond_the_deadline_go_to_another_and_its_ack_is_stale(daemon, slow, quick):
    late = start_client(daemon, 0, "late", slow, 500)
    assert info(daemon)["deadline_ms"] == 500, "the option of subscribe"
    daemon.resp("SET", "s:1", "v")
    [event_id, *_, attempt, _] = late.line()
    assert attempt == "1"
    [line] = start_client(daemon, 1, "ack", quick, 500).finish()
    assert (line[0], line[2], line[4]) == (event_id, "s:1", "2")
    late.process.stdin.write("\n")
    late.process.stdin.flush()
    assert late.finish() == [[event_id, "stale"]]
    assert account_of(daemon, "g")["acknowledged"] == 1


def test_cpp_subscribe_says_what_is_wrong(daemon):
    create(daemon, pattern="other:*")
    done = subprocess.run([GROUP_CLIENTS["cpp"], daemon.name, "g", "s:*", "1"], capture_output=True, text=True, env=daemon.environment())
    assert done.returncode == 1 and "exists" in done.stderr
    environment = {**daemon.environment(), "CACHEE_RUNTIME_DIR": "/nonexistent"}
    done = subprocess.run([GROUP_CLIENTS["cpp"], daemon.name, "g", "s:*", "1"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "no supervisor" in done.stderr


@pytest.mark.skipif(not os.environ.get("CACHEE_EXAMPLE_SUBSCRIBE"), reason="the bindings are not built")
def test_c_example_prints_what_expires(daemon):
    client = Client(daemon, [os.environ["CACHEE_EXAMPLE_SUBSCRIBE"], daemon.name, 3])
    assert client.first == "subscribed", client.process.stderr.read()
    for n in range(3):
        daemon.resp("SET", f"session:{n}", f"token-{n}", "PX", 30)
    lines = client.finish()
    assert sorted(line[1] for line in lines) == ["session:0", "session:1", "session:2"]
    assert sorted(line[3] for line in lines) == ["token-0,", "token-1,", "token-2,"]
    wait_until(lambda: info(daemon, "auth")["lag"] == 0, "the acknowledgement")


@pytest.mark.parametrize("words, error", [
    (("GROUP", "READ", "none", "a"), "^NOGROUP no such consumer group: none"),
    (("GROUP", "INFO", "none"), "^NOGROUP "),
    (("GROUP", "REMOVE", "t"), "^NOGROUP "),
    (("GROUP", "ACK", "none", "1"), "^NOGROUP "),
    (("GROUP", "ACK", "g", "00000000-1"), "^STALE .* no such event"),
    (("GROUP", "NACK", "g", "00000000-1"), "^STALE "),
    (("GROUP", "NACK", "g", "00000000-1", "DELAY", "-1"), "^ERR DELAY expects milliseconds"),
    (("GROUP", "NACK", "g", "00000000-1", "ERROR"), "^ERR syntax error"),
    (("GROUP", "READ", "g", ""), "^ERR a consumer's name"),
    (("GROUP", "READ", "g", "a", "COUNT", "0"), "^ERR COUNT expects an integer from 1 to"),
    (("GROUP", "READ", "g", "a", "COUNT", "1", "COUNT", "1"), "^ERR COUNT"),
    (("GROUP", "READ", "g", "a", "BLOCK"), "^ERR BLOCK expects milliseconds"),
    (("GROUP", "READ", "g", "a", "DEADLINE", "0"), "^ERR DEADLINE expects milliseconds from 1"),
    (("GROUP", "READ", "g", "a", "SOON"), "^ERR syntax error"),
    (("GROUP", "CREATE", "h", "s:*", "ON_WRITES"), "^ERR unknown event 'ON_WRITES'.*did you mean ON_WRITE"),
    (("GROUP", "CREATE", "h", "s:*", "ON_WRITE", "STEPS", "5"), "^ERR unknown option 'STEPS': expected PRIORITY"),
    (("GROUP", "CREATE", "h", "", "ON_WRITE"), "^ERR bad pattern"),
    (("GROUP", "CREATE", "g", "other:*", "ON_WRITE"), "^BUSYGROUP "),
    (("GROUP", "CREATE", "t", "s:*", "ON_WRITE"), "^ERR t is the name of a trigger"),
    (("TRIGGER", "REGISTER", "s:*", "ON_WRITE", "NAME", "g", "return 1"), "^ERR g is the name of a consumer group"),
    (("TRIGGER", "SOURCE", "g"), "^ERR g is a consumer group"),
    (("GROUP", "READ", "g"), "^ERR wrong number of arguments"),
])
def test_bad_input_is_refused_with_words(shared, words, error):
    with pytest.raises(RespError, match=error):
        shared.resp(*words)
    assert shared.resp("GROUP", "CREATE", "g", "s:*", "ON_WRITE") == "OK"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from support import Daemon
    daemon = Daemon(tmp_path_factory.mktemp("shared")).start()
    create(daemon)
    daemon.register("t:*", "ON_WRITE", "return 1", "NAME", "t")
    yield daemon
    assert daemon.verify().returncode == 0
    daemon.terminate()
    daemon.remove()


def test_storm_of_kills_loses_nothing_and_keeps_the_order(daemon):
    """Executor and cacheed are killed while two consumers read; every event comes, in key order, and what
    comes twice says so."""
    create(daemon, "BACKOFF", "1ms", "5ms", "RETRY", 1000)
    keys, rounds = 30, 40
    handed = {}
    order = {}
    stop = threading.Event()
    lock = threading.Lock()

    def consume(name):
        consumer = None
        while not stop.is_set():
            try:
                consumer = consumer or Consumer(daemon, name)
                for event in consumer.read(8, 100):
                    with lock:
                        before = handed.setdefault(event["id"], [])
                        assert not before or event["duplicate"] == 1 or event["attempt"] > max(before), event
                        # Before the ack: behind it the key's next event may be in other hands.
                        if not before:
                            order.setdefault(event["key"], []).append(int(event["value"]))
                        before.append(event["attempt"])
                    consumer.ack(event)
            except (OSError, ConnectionError, RespError):
                consumer = None
                time.sleep(0.02)

    threads = [threading.Thread(target=consume, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for n in range(rounds):
        for k in range(keys):
            daemon.resp("SET", f"s:{k}", n)
        if n % 10 == 4:
            for pid in children_of(daemon.process.pid):
                os.kill(pid, signal.SIGKILL)
        if n % 15 == 9:
            daemon.kill()
            daemon.start()
    wait_until(lambda: info(daemon)["lag"] == 0, lambda: f"an empty group: {info(daemon)}", 30, 0.05)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert len(handed) == keys * rounds
    row = account_of(daemon, "g")
    assert row["emitted"] == row["acknowledged"] == keys * rounds
    for k in range(keys):
        assert order[f"s:{k}"] == list(range(rounds))
