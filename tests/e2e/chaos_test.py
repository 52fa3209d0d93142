"""Goal: the account is exact at every sample, and every event comes to its end, whatever operators and accidents
do to triggers while keys are written, expire and are deleted.

Method: triggers and a group of every temper over the same keys; writers; at random, kills of executors and of the
supervisor, and the commands of the life-cycle: pause, resume, disable, enable, remove, register, replace, replay and
purge of dead letters. After each, `cachee verify` must find that every row adds up.
"""
import collections
import contextlib
import json
import os
import random
import signal
import time

from support import RespError, wait_until

SECONDS = float(os.environ.get("CACHEE_CHAOS_SECONDS", "8"))
SEED = int(os.environ.get("CACHEE_CHAOS_SEED", str(time.time_ns() % 1_000_000)))
WRITERS = 2
QUICK = ("RETRY", 3, "BACKOFF", "1ms", "20ms")

# Name, pattern, events, source, options.
TRIGGERS = {
    "log": ("chaos-*", "ON_WRITE,ON_EXPIRE,ON_DELETE", "cachee.log('chaos', {id = event.id, type = event.type})",
            ("RETRY", 1000, "BACKOFF", "1ms", "20ms")),
    "shaky": ("chaos-*", "ON_WRITE", "if cachee.hash(event.id) % 5 == 0 and event.attempt < 3 then error('shaky') end", QUICK),
    "doomed": ("chaos-0:*", "ON_WRITE", "if cachee.hash(event.key) % 7 == 0 then error('doomed') end", QUICK),
    "writer": ("chaos-1:*", "ON_WRITE", "cachee.set('out:' .. event.key, event.value, {ttl = 1})", QUICK),
    "second": ("out:*", "ON_WRITE,ON_EXPIRE", "cachee.incr('count', 1)", QUICK),
    "shed": ("chaos-*", "ON_WRITE", "local i = 0 while i < 2000 do i = i + 1 end", (*QUICK, "ON_FULL", "SHED")),
    "some": ("chaos-*", "ON_READ", "cachee.log('some', {id = event.id})", (*QUICK, "SAMPLE", 3)),
}


class Operator:
    """Does to triggers what operators do, and knows which answers are right."""

    def __init__(self, daemon, chance):
        self.daemon = daemon
        self.chance = chance
        self.removed = set()
        self.done = collections.Counter()

    def put(self, name, how="SET"):
        pattern, events, source, options = TRIGGERS[name]
        self.daemon.resp("TRIGGER", how, pattern, events, "NAME", name, *options, source)

    def act(self):
        name = self.chance.choice([name for name in TRIGGERS if name != "log"])
        action = self.chance.choice(("PAUSE", "RESUME", "DISABLE", "ENABLE", "REMOVE", "SET", "REPLAY", "PURGE"))
        self.done[action] += 1
        if name in self.removed or action == "SET":
            self.put(name)
            self.removed.discard(name)
        elif action in ("REPLAY", "PURGE"):
            letters = json.loads(self.daemon.cachee_ok("--json", "dlq", "list"))
            for letter in letters[:self.chance.randrange(20)]:
                with contextlib.suppress(RespError):  # its trigger may be gone, or it was replayed and is no letter now
                    self.daemon.resp("TRIGGER", "DLQ", action, letter["id"])
        else:
            self.daemon.resp("TRIGGER", action, name)
            if action == "REMOVE":
                self.removed.add(name)

    def set_right(self):
        for name in TRIGGERS:
            if name in self.removed:
                self.put(name)
            self.daemon.resp("TRIGGER", "ENABLE", name)
            self.daemon.resp("TRIGGER", "RESUME", name)


class Consumer:
    """Reads its group now and then; acknowledges, gives back, or forgets what it has in hand."""

    def __init__(self, daemon, chance):
        self.daemon = daemon
        self.chance = chance
        daemon.resp("GROUP", "CREATE", "readers", "chaos-1:*", "ON_WRITE", "RETRY", 5, "BACKOFF", "1ms", "20ms", "DEADLINE", 300)

    def read(self, count):
        found = self.daemon.resp("GROUP", "READ", "readers", "me", "COUNT", count) or []
        return [dict(zip(event[::2], event[1::2]))["id"] for event in found]

    def act(self):
        # Some are forgotten: their deadline passes.
        fates = self.chance.choices(("ACK", "NACK", None), (70, 15, 15), k=15)
        for event_id, fate in zip(self.read(15), fates):
            if fate is not None:
                with contextlib.suppress(RespError):  # STALE: its deadline has passed
                    self.daemon.resp("GROUP", fate, "readers", event_id)

    def drain(self):
        while ids := self.read(500):
            self.daemon.resp("GROUP", "ACK", "readers", *ids)


def rows(daemon):
    """The sample; every row must add up."""
    done = daemon.cachee("--json", "verify")
    assert done.returncode == 0, f"the account does not add up:\n{done.stdout}{done.stderr}"
    return {row["name"]: row for row in json.loads(done.stdout)["triggers"]}


def test_the_account_is_exact_whatever_is_done_to_triggers(make_daemon, make_load):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    daemon = make_daemon(memory="128MiB", options=("--ring-events", "2048", "--executors", "2"))
    operator = Operator(daemon, chance)
    for name in TRIGGERS:
        operator.put(name, "REGISTER")
    consumer = Consumer(daemon, chance)
    loads = [make_load(daemon, f"chaos-{n}:", keys=64, patience_ms=60000, pace_us=1000) for n in range(WRITERS)]
    done = collections.Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(chance.uniform(0, 0.1))
        what = chance.choices(("operator", "consumer", "executor", "supervisor", "all", "delete"), (8, 6, 3, 1, 1, 4))[0]
        done[what] += 1
        executors = daemon.executors() if what in ("executor", "all") else []
        for pid in executors if what == "all" else executors[:1]:
            os.kill(pid, signal.SIGKILL)
        if what in ("supervisor", "all"):
            daemon.kill()
            daemon.start()
        elif what == "operator":
            operator.act()
        elif what == "consumer":
            consumer.act()
        elif what == "delete":
            for _ in range(20):
                daemon.resp("GET", f"chaos-{chance.randrange(WRITERS)}:{chance.randrange(64)}")
            daemon.resp("DEL", f"chaos-{chance.randrange(WRITERS)}:{chance.randrange(64)}")
        rows(daemon)
    for load in loads:
        load.stop()
        assert load.errors() == []
    operator.set_right()

    def settled():
        consumer.drain()
        return all(row["in_flight"] == row["retry"] == row["spooled"] == 0 for row in rows(daemon).values())

    wait_until(settled, lambda: f"an empty account: {rows(daemon)}\n{daemon.log()[-2000:]}", 60, 0.1)
    lines = daemon.channel("chaos")
    assert len({line["id"] for line in lines}) == len(lines), "an event was logged twice"
    row = rows(daemon)["log"]
    assert row["emitted"] == len(lines) + row["dead"]
    writes = sum(len(load.done()) for load in loads)
    assert sum(1 for line in lines if line["type"] == "write") + row["dead"] >= writes
    print(f"{len(lines)} events of log; done {dict(done)}; commands {dict(operator.done)}")
