"""Goal: under a storm of kills every event is handled or dead-lettered, none is missing, repeats say so,
the order of each key stays, and the account is exact at every sample.

Method: four writer processes without pause; writers, executors and supervisor are killed with SIGKILL every
50 to 500 ms at random, one kind or all at once, and a dead writer has a successor at once; a small ring, so that the backlog goes to the spool and comes back all the time.
Each writer reports what was promised to it; the log of the trigger says what was handled; counters that
the handler keeps in the cache say how often each sampled event ran, and how often as a duplicate.

CACHEE_STORM_SECONDS (60) is how long, and longer on a slow machine, until there were a million events;
`ctest --preset storm` takes ten minutes. CACHEE_STORM_SEED repeats a sequence of kills.
"""
import collections
import json
import os
import pathlib
import random
import re
import signal
import time

from support import frozen_executors, wait_until

SECONDS = float(os.environ.get("CACHEE_STORM_SECONDS", "60"))
SEED = int(os.environ.get("CACHEE_STORM_SEED", str(time.time_ns() % 1_000_000)))
WRITERS = 4
KEYS = 64
PACE_US = 20 if SECONDS <= 60 else 200  # what was written and logged is held in memory, to be compared
EVENTS_MIN = int(1_000_000 * min(1, SECONDS / 60))

# `runs:` and `dups:` of every 16th event: a write that comes twice counts twice.
HANDLER = """
cachee.log("storm", {id = event.id, key = event.key, version = event.version})
local number = tonumber(string.match(event.id, "-(%d+)$"))
if number % 16 == 0 then
  cachee.incr("runs:" .. event.id, 1)
  if event.duplicate then cachee.incr("dups:" .. event.id, 1) end
end
"""


def account(daemon):
    """The sample; it must add up."""
    done = daemon.cachee("--json", "verify")
    assert done.returncode == 0, f"the account does not add up:\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)["triggers"][0]


def check_repeats(daemon):
    """Of the sampled events: each ran, and every run but one was announced as a possible duplicate."""
    counted = collections.defaultdict(lambda: [0, 0])
    for key in daemon.cachee_ok("scan", "runs:*").split():
        counted[key.partition(":")[2]][0] = int(daemon.resp("GET", key))
    for key in daemon.cachee_ok("scan", "dups:*").split():
        counted[key.partition(":")[2]][1] = int(daemon.resp("GET", key))
    unannounced = {event: n for event, n in counted.items() if n[0] > max(1, n[1] + 1)}
    assert not unannounced, f"runs that came again without duplicate = true: {list(unannounced.items())[:5]}"
    return len(counted), sum(1 for n in counted.values() if n[0] > 1)


def test_storm_of_kills_loses_nothing_and_the_account_is_exact_at_every_sample(make_daemon, make_load):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    daemon = make_daemon(memory="256MiB", options=("--ring-events", "2048", "--executors", "2", "--eviction", "none"))
    # A kill in the middle of a run is charged to it as an attempt.
    daemon.register("storm-*", "ON_WRITE", HANDLER, "NAME", "storm", "RETRY", 1000, "BACKOFF", "1ms", "10ms",
                    "TIMEOUT", 5000, "ON_FULL", "BLOCK", 200)

    def writer(number):
        return make_load(daemon, f"storm-{number}:", keys=KEYS, patience_ms=60000, pace_us=PACE_US)

    loads = [writer(n) for n in range(WRITERS)]
    buried = []

    def kill_writer():
        number = chance.randrange(WRITERS)
        loads[number].kill()
        buried.append(loads[number])
        loads[number] = writer(number)

    kills = collections.Counter()
    samples = 0
    spooled = 0
    end = time.monotonic() + SECONDS
    row = account(daemon)
    while time.monotonic() < end or (row["emitted"] < EVENTS_MIN and time.monotonic() < end + 2 * SECONDS):
        time.sleep(chance.uniform(0.05, 0.5))
        kind = chance.choices(("executor", "writer", "supervisor", "all"), (6, 3, 3, 1))[0]
        executors = daemon.executors() if kind in ("executor", "all") else []
        for pid in executors if kind == "all" else executors[:1]:
            os.kill(pid, signal.SIGKILL)
        if kind in ("supervisor", "all"):
            daemon.kill()
        if kind in ("writer", "all"):
            kill_writer()
        if kind in ("supervisor", "all"):
            daemon.start()
        kills[kind] += 1
        row = account(daemon)
        samples += 1
        spooled = max(spooled, row["spooled"])
    for load in loads:
        load.stop()
    for load in loads + buried:
        assert load.errors() == []
    promised = {pair for load in loads + buried for pair in load.done()}

    def handled():
        row = account(daemon)
        return row["in_flight"] == row["retry"] == row["spooled"] == 0 and row

    row = wait_until(handled, lambda: f"an empty account: {account(daemon)}\n{daemon.log()[-2000:]}", 120, 0.2)
    lines = daemon.channel("storm")
    assert len({line["id"] for line in lines}) == len(lines), "an event was logged twice"
    logged = [(line["key"], line["version"]) for line in lines]
    assert len(logged) == len(set(logged)), "an effect made two events"
    dead = json.loads(daemon.cachee_ok("--json", "dlq", "list"))
    assert row["dead"] == len(dead)
    assert row["emitted"] == len(lines) + len(dead)
    # Nobody else makes events: their numbers have no gap, and each is a line or a dead letter.
    numbers = sorted(int(entry.rpartition("-")[2]) for entry in [line["id"] for line in lines] + [letter["event"] for letter in dead])
    assert numbers == list(range(numbers[0], numbers[0] + row["emitted"])), "an id is neither handled nor a dead letter"
    missing = promised - set(logged)
    assert len(missing) <= len(dead), f"{len(missing)} of {len(promised)} events are missing, first {sorted(missing)[:3]}"
    # The write in which a writer was killed may have taken effect; nobody was told.
    untold = collections.Counter(key.partition(":")[0] for key, _ in set(logged) - promised)
    killed = collections.Counter(load.prefix.rstrip(":") for load in buried)
    assert untold <= killed, f"events of writes that never returned: {untold}; writers killed: {killed}"
    last = {}
    for key, version in logged:
        assert version > last.get(key, 0), f"order of {key}"
        last[key] = version
    sampled, repeated = check_repeats(daemon)
    fsck = daemon.fsck()
    assert fsck.returncode == 0, fsck.stdout
    print(f"{len(lines)} events, {len(dead)} dead; kills {dict(kills)}; {samples} exact samples; at most {spooled} spooled; "
          f"{sampled} events counted, {repeated} ran again; slowest write {max(load.slowest_ms() for load in loads + buried):.0f} ms")
    assert len(kills) == 4 or SECONDS < 20
    assert row["emitted"] >= EVENTS_MIN


def start_on_a_disk_of_its_own(make_daemon):
    """A cacheed whose state folder is a disk of 24 MiB in a mount namespace of its own, and the folder as seen from outside."""
    daemon = make_daemon(start=False, options=("--ring-events", "2048", "--max-clients", "32"))
    daemon.state.mkdir(parents=True)
    plain = daemon.command
    script = f'mount -t tmpfs -o size=24m none "{daemon.state}" && exec "$@"'
    daemon.command = lambda *more: ["unshare", "-m", "sh", "-c", script, "sh", *map(str, plain(*more))]
    daemon.start()
    return daemon, f"/proc/{daemon.process.pid}/root{daemon.state}"


def free_bytes(folder):
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def test_what_is_to_be_shed_is_shed_on_a_full_disk_too(make_daemon):
    daemon, state = start_on_a_disk_of_its_own(make_daemon)
    source = "if event.type == 'gap' then cachee.log('gaps', {count = event.metadata.count}) else cachee.log('s', {k = event.key}) end"
    daemon.register("s:*", "ON_WRITE", source, "NAME", "s", "ON_FULL", "SHED")
    # Less than the spool keeps free, more than half of it.
    pathlib.Path(state, "filler").write_bytes(bytes(free_bytes(state) - (6 << 20)))
    writes = 8000  # four rings
    with frozen_executors(daemon):
        for n in range(writes):
            assert daemon.resp("SET", f"s:{n % 100}", n) == "OK", n
        row = wait_until(lambda: account(daemon)["shed"] > writes // 2 and account(daemon), "shed events", 30)
        assert row["spooled"] < 100, "only gaps are on the disk"

    def handled():
        row = account(daemon)
        return row["acknowledged"] + row["shed"] == row["emitted"] and row

    row = wait_until(handled, lambda: f"an empty account: {account(daemon)}", 60, 0.1)
    def lines(channel):
        path = pathlib.Path(f"{state}/{daemon.name}/log/{channel}.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []  # all may be shed

    told = sum(int(line["count"]) for line in lines("gaps"))
    assert told == row["shed"]
    assert told + len(lines("s")) == writes
    logged = sum(int(n) for n in re.findall(r"trigger s: (\d+) events shed", daemon.log()))
    assert logged == told, "the log tells of what did not happen"


def test_backlog_of_a_full_disk_stays_in_the_ring_and_goes_on_when_there_is_room(make_daemon, make_load):
    daemon, state = start_on_a_disk_of_its_own(make_daemon)
    daemon.register("d:*", "ON_WRITE", "local done = event.value", "NAME", "d", "ON_FULL", "BLOCK", 50)
    with frozen_executors(daemon):
        # Refused only after it tried for long: by then all that fits is on the disk. Not as long as it takes until a frozen
        # executor is replaced, whose successor handles a few events.
        load = make_load(daemon, "d:", keys=16, value_bytes=8000, patience_ms=1500)
        wait_until(load.errors, "a refused write", 90)
        load.kill()
        assert {line[2] for line in load.errors()} == {"full"}
        assert free_bytes(state) < 10 << 20, "the disk was not the reason"
        row = account(daemon)
        assert row["spooled"] > 100
        assert row["in_flight"] > 100
        value = daemon.cachee_ok("get", f"d:{len(load.done()) % 16}")

    def handled():
        row = account(daemon)
        return row["acknowledged"] == row["emitted"] and row

    row = wait_until(handled, lambda: f"an empty account: {account(daemon)}\n{daemon.log()[-2000:]}", 60, 0.1)
    assert 0 <= row["emitted"] - len(load.done()) <= 1, "a refused write made an event"
    assert value.startswith(str(len(load.done()) - 16)) or row["emitted"] > len(load.done()), "a refused write was applied"
    assert daemon.resp("SET", "d:0", "again", "WAIT", 5000) == "OK"
