"""Goal: SIGKILL of a client, an executor, the supervisor, or all of them in the middle of load loses
no event, handles each exactly once in the log, and blocks no other client; nor does a client that is stopped.

Method: load clients report each write that returned; a trigger logs each event. Afterwards the log
must hold exactly the reported writes, in the order of each key, plus at most the one operation that
a killed client had under way.
"""
import json
import os
import random
import signal
import time

from support import wait_until

LOG = 'cachee.log("acct", {id = event.id, key = event.key, version = event.version})'
# No operation of a living client may wait for the dead; generous, as the machine may be busy.
SLOWEST_MS = 2000


def register(daemon):
    daemon.register("load-*", "ON_WRITE", LOG, "NAME", "acct", "RETRY", 50, "BACKOFF", "5ms", "50ms",
                    "TIMEOUT", 2000)


def logged_of(daemon, loads):
    """Checks the log against what the clients were told; returns the number of events."""
    lines = daemon.channel("acct")
    assert len({line["id"] for line in lines}) == len(lines), "an event was logged twice"
    for prefix in {load.prefix for load in loads}:
        writers = [load for load in loads if load.prefix == prefix]
        assert [load.errors() for load in writers] == [[]] * len(writers)
        done = [pair for load in writers for pair in load.done()]
        mine = [(line["key"], line["version"]) for line in lines if line["key"].startswith(prefix)]
        assert len(set(mine)) == len(mine)
        lost = set(done) - set(mine)
        assert not lost, f"{len(lost)} of {len(done)} events of {prefix} lost, first {sorted(lost)[:3]}"
        extra = set(mine) - set(done)
        assert len(extra) <= len(writers), f"events of writes that never returned: {sorted(extra)[:3]}"
        for key in {key for key, _ in mine}:
            versions = [version for k, version in mine if k == key]
            assert versions == sorted(versions), f"order of {key}"
    return len(lines)


def all_logged(daemon, loads):
    def complete():
        return len(daemon.channel("acct")) >= sum(len(load.done()) for load in loads)

    wait_until(complete, lambda: f"{sum(len(load.done()) for load in loads)} events, "
               f"{len(daemon.channel('acct'))} logged\n{daemon.log()[-2000:]}", 30, 0.05)
    daemon.drained()
    count = logged_of(daemon, loads)
    assert daemon.verify().returncode == 0, daemon.verify().stdout
    return count


def test_killed_clients_lose_no_event_and_block_nobody(daemon, make_load):
    register(daemon)
    witness = make_load(daemon, "load-witness:", pace_us=500)
    victims = []
    for round_ in range(8):
        # Same keys as each other: the next one meets what the last one left half done.
        victim = make_load(daemon, f"load-victim{round_}:", pace_us=100)
        shared = make_load(daemon, "shared:", keys=2)
        victim.wait_for(random.randint(20, 200))
        progress = len(witness.done())
        shared.kill()
        victim.kill()
        victims.append(victim)
        witness.wait_for(progress + 50, timeout=5)
    # Whoever is dead is found and cleared.
    wait_until(lambda: len(alive_clients(daemon, "load")) <= 1, lambda: daemon.cachee("clients").stdout)
    witness.stop()
    assert witness.slowest_ms() < SLOWEST_MS
    assert all_logged(daemon, [witness, *victims]) > 8 * 20


def alive_clients(daemon, name):
    clients = json.loads(daemon.cachee_ok("--json", "clients"))
    clients = clients if isinstance(clients, list) else clients["clients"]
    return [client for client in clients if client["name"].startswith(name)]


def test_killed_executors_lose_no_event_and_block_nobody(make_daemon, make_load):
    daemon = make_daemon(options=("--executors", "2"))
    register(daemon)
    loads = [make_load(daemon, f"load-{n}:", pace_us=400) for n in range(2)]
    for _ in range(10):
        executors = wait_until(lambda: len(daemon.executors()) >= 2 and daemon.executors(), "two executors")
        progress = [len(load.done()) for load in loads]
        os.kill(random.choice(executors), signal.SIGKILL)
        for load, before in zip(loads, progress):
            load.wait_for(before + 50, timeout=5)
    for load in loads:
        load.stop()
        assert load.slowest_ms() < SLOWEST_MS
    assert all_logged(daemon, loads) > 500


def test_killed_supervisor_loses_no_event_and_blocks_nobody(daemon, make_load):
    register(daemon)
    loads = [make_load(daemon, f"load-{n}:", pace_us=400) for n in range(2)]
    for _ in range(5):
        progress = [len(load.done()) for load in loads]
        for load, before in zip(loads, progress):
            load.wait_for(before + random.randint(50, 300))
        orphans = daemon.executors()
        daemon.kill()
        progress = [len(load.done()) for load in loads]
        for load, before in zip(loads, progress):
            load.wait_for(before + 50, timeout=5)
        daemon.start()
        wait_until(lambda: not [pid for pid in orphans if os.path.exists(f"/proc/{pid}")],
                   "the end of the dead supervisor's executors")
    for load in loads:
        load.stop()
        assert load.slowest_ms() < SLOWEST_MS
    assert all_logged(daemon, loads) > 500


def state_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def account_now(daemon):
    [row] = daemon.resp("VERIFY")
    return dict(zip(row[::2], row[1::2]))


def test_clients_stopped_at_any_moment_lose_no_event_and_block_nobody(daemon, make_load):
    register(daemon)
    witness = make_load(daemon, "load-witness:", pace_us=200)
    # The same keys as those who are stopped in the middle of writing them.
    meets = make_load(daemon, "load-shared:", keys=2, pace_us=200)
    victims = []

    def stop(victim):
        """Stops the victim, and lets it stand there until the others have written on and what was written is delivered."""
        os.kill(victim.process.pid, signal.SIGSTOP)
        wait_until(lambda: state_of(victim.process.pid) == "T", "the stop", interval=0.001)
        written = [(load, len(load.done())) for load in (witness, meets)]
        for load, before in written:
            load.wait_for(before + 5, timeout=10)
        emitted = account_now(daemon)["emitted"]
        wait_until(lambda: account_now(daemon)["acknowledged"] >= emitted, lambda: f"delivery of {emitted}: {account_now(daemon)}", 10)
        assert state_of(victim.process.pid) == "T"

    for round_ in range(10):
        victim = make_load(daemon, "load-shared:" if round_ % 2 == 0 else f"load-victim{round_}:", keys=2)
        victims.append(victim)
        for end in (*[signal.SIGCONT] * 4, signal.SIGKILL):
            # It goes on writing; without a look into its reports, which would give it time for many more.
            reported = victim.path.stat().st_size
            wait_until(lambda: victim.path.stat().st_size > reported, "a write of the victim", interval=0.0005)
            time.sleep(random.uniform(0, 0.002))  # any moment of its writes, which follow each other without a pause
            stop(victim)
            os.kill(victim.process.pid, end)
        victim.process.wait(10)
    for load in (witness, meets):
        load.stop()
        assert load.slowest_ms() < SLOWEST_MS
    assert all_logged(daemon, [witness, meets, *victims]) > 500


def test_everything_killed_at_one_moment_goes_on_where_it_was(daemon, make_load):
    register(daemon)
    loads = []
    for round_ in range(3):
        loads += [make_load(daemon, f"load-{round_}-{n}:", pace_us=300) for n in range(2)]
        for load in loads[-2:]:
            load.wait_for(random.randint(50, 300))
        for pid in [*daemon.executors(), daemon.process.pid, *(load.process.pid for load in loads[-2:])]:
            os.kill(pid, signal.SIGKILL)
        for load in loads[-2:]:
            load.process.wait(10)
        daemon.kill()
        daemon.start()
    assert all_logged(daemon, loads) > 300


def test_expiry_due_while_the_supervisor_is_dead_is_told_after_its_restart(daemon, make_load, await_lines):
    source = 'cachee.log("ends", {id = event.id, key = event.key, cause = event.cause})'
    daemon.register("ttl-*", "ON_EXPIRE", source, "NAME", "ends")
    daemon.kill()
    load = make_load(daemon, "ttl-", keys=500, count=500, ttl_ms=50)
    load.finish()
    assert not load.errors()
    # Nobody sweeps, and yet nobody reads them: neither by name nor in a list, nor after a write that asks for the old one.
    wait_until(lambda: daemon.cachee("get", "ttl-499").returncode == 1, "the deadline of the last one")
    for n in range(0, 500, 99):
        assert daemon.cachee("get", f"ttl-{n}").returncode == 1
        assert daemon.cachee("exists", f"ttl-{n}").returncode == 1
        assert daemon.cachee("ttl", f"ttl-{n}").returncode == 1
    assert daemon.cachee("set", "--xx", "ttl-3", "v").returncode == 1
    assert daemon.cachee_ok("scan", "ttl-*") == ""
    daemon.start()
    lines = await_lines(daemon, "ends", 500)
    assert sorted(line["key"] for line in lines) == sorted(f"ttl-{n}" for n in range(500))
    assert {line["cause"] for line in lines} == {"ttl"}
