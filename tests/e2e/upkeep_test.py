"""Goal: what cacheed does for the segment beside events costs next to nothing while nothing is to be done, and expiry is
prompt whatever else there is to do.

Method: a real cacheed; its threads by their names, how often they sleep and what CPU they took (/proc). Bounds are far
above what it takes (libshm/doc/expiry-eviction.md), since the machine may be busy.
"""
import json
import pathlib
import time

import pytest

from support import wait_until


class Thread:
    """One thread of a process, by its name."""

    def __init__(self, pid, name):
        def find():
            return next((task for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                         if (task / "comm").read_text().strip() == name), None)

        self.folder = wait_until(find, f"a thread {name}")

    def sleeps(self):
        line = next(line for line in (self.folder / "status").read_text().splitlines() if line.startswith("voluntary"))
        return int(line.split()[1])

    def cpu_s(self):
        return int((self.folder / "schedstat").read_text().split()[0]) / 1e9

    def nice(self):
        return int((self.folder / "stat").read_text().rpartition(")")[2].split()[16])


def per_second(threads, seconds=2.0):
    """(sleeps, CPU seconds) of each thread in a second. Here time itself is what is measured."""
    before, start = [(t.sleeps(), t.cpu_s()) for t in threads], time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - start
    return [((t.sleeps() - sleeps) / passed, (t.cpu_s() - cpu) / passed)
            for t, (sleeps, cpu) in zip(threads, before, strict=True)]


def upkeep_of(daemon):
    return [Thread(daemon.process.pid, name) for name in ("expiry", "upkeep")]


def test_keys_that_do_not_expire_cost_next_to_nothing(make_daemon, make_load):
    daemon = make_daemon(memory="256MiB")
    make_load(daemon, "k:", keys=20000, count=20000, ttl_ms=18_000_000).finish()
    assert daemon.resp("DBSIZE") == 20000
    (expiry_sleeps, expiry_cpu), (upkeep_sleeps, upkeep_cpu) = per_second(upkeep_of(daemon))
    # Ten times a second, in case a writer died before it woke it; a hundred times for what has stopped.
    assert expiry_sleeps < 30, "expiry sleeps until a deadline"
    assert upkeep_sleeps < 200
    assert expiry_cpu < 0.01 and upkeep_cpu < 0.02


def test_expiry_is_prompt_beside_an_eviction_storm(make_daemon, make_load, await_lines):
    daemon = make_daemon(memory="128MiB")
    source = 'cachee.log("ends", {key = event.key, type = event.type, lag = event.lag_ms})'
    daemon.register("due:*", "ON_EXPIRE,ON_EVICT", source, "NAME", "ends")
    storm = make_load(daemon, "storm:", keys=10**7, value_bytes=1500)

    def evicted():
        return json.loads(daemon.cachee_ok("--json", "stat", "--interval", "10ms"))["operations"]["evicted"] > 20000

    wait_until(evicted, "a storm of evictions", 60, 0.1)
    make_load(daemon, "due:", keys=2000, count=2000, ttl_ms=20, pace_us=1000).finish()
    lines = await_lines(daemon, "ends", 2000)
    storm.stop()
    assert {line["key"] for line in lines} == {f"due:{n}" for n in range(2000)}
    lags = sorted(line["lag"] for line in lines if line["type"] == "expire")
    assert len(lags) > 200, "many outlived the storm until their deadline"
    # Far above the goal of 10 and 100 ms, which bench/run_expiry.py measures: the machine may be busy.
    assert lags[int(0.99 * len(lags))] < 500 and lags[-1] < 2000, lags[-40:]


@pytest.mark.parametrize("priority", ["normal", "raised", "realtime"])
def test_priority_of_expiry_is_what_was_asked_for_or_the_log_says_why_not(make_daemon, priority):
    daemon = make_daemon(options=("--expiry-priority", priority))
    expiry, upkeep = upkeep_of(daemon)
    usual = Thread(daemon.process.pid, "cacheed").nice()
    assert upkeep.nice() == usual, "the others stay as they are"
    if priority == "normal":
        assert expiry.nice() == usual and "expiry:" not in daemon.log()
        return
    wait_until(lambda: "expiry: " in daemon.log(), "what came of it in the log", 5)
    said = next(line for line in daemon.log().splitlines() if "expiry: " in line).rpartition("expiry: ")[2]
    if said.startswith("SCHED_RR"):
        assert priority == "realtime"
        policy = (expiry.folder / "stat").read_text().rpartition(")")[2].split()[38]
        assert policy == "2"
    else:
        assert said.startswith(f"nice {expiry.nice()}"), said
        assert expiry.nice() == -10 or "not allowed" in said, said
