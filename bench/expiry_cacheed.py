"""What does a real cacheed spend on deadlines, and how late are its events?

The whole process as a user runs it, with its executors: CPU from /proc, by thread where one is meant. Keys come from
cachee_bench_expiry, which attaches as a client.
"""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

BYTES_PER_KEY, BYTES_BESIDES = 256, 256 << 20
IDLE_S, SPREAD_S, STORM_S = 10, 10, 15
PATIENCE_S = 120
DUE_IN_STORM = 5000
KEYS_LOADED_PER_SECOND = 200_000  # at the least


class Cacheed:
    """One cacheed in folders of its own; gone with everything at the end."""

    def __init__(self, build, memory_bytes, *options):
        self.tools = {name: next((path for path in build.rglob(name) if path.is_file() and os.access(path, os.X_OK)), None)
                      for name in ("cacheed", "cachee", "cachee_bench_expiry")}
        missing = [name for name, path in self.tools.items() if path is None]
        if missing:
            sys.exit(f"{build} has no {', '.join(missing)}: cmake --build --preset release --target {' '.join(missing)}")
        self.name = f"bench-cacheed-{os.getpid()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cachee-"))
        self.environment = {**os.environ, "CACHEE_RUNTIME_DIR": str(self.folder), "CACHEE_STATE_DIR": str(self.folder)}
        self.process = subprocess.Popen(
            [self.tools["cacheed"], "--name", self.name, "--memory", str(memory_bytes), "--fresh", *options],
            env=self.environment, stdin=subprocess.DEVNULL, stderr=(self.folder / "log").open("wb"))
        self.wait("readiness", lambda: b"ready" in (self.folder / "log").read_bytes())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        segment = pathlib.Path("/dev/shm", f"cachee.{self.name}")
        segment.unlink(missing_ok=True)
        for folder in (segment.with_name(segment.name + ".locks"), self.folder):
            shutil.rmtree(folder, ignore_errors=True)

    def wait(self, what, condition, patience=PATIENCE_S):
        end = time.monotonic() + patience
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"waited for {what} in vain:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def cachee(self, *words, text=None):
        return subprocess.run([self.tools["cachee"], "-n", self.name, *words], env=self.environment, input=text, check=True,
                              capture_output=True, text=True).stdout

    def client(self, *words):
        """A client that goes on by itself."""
        return subprocess.Popen([self.tools["cachee_bench_expiry"], "--attach", self.name, *map(str, words)],
                                stdout=subprocess.DEVNULL)

    def load(self, keys, ttl_s, spread_s):
        """Sets the keys; returns when the first is due (monotonic)."""
        first = time.monotonic() + ttl_s
        client = self.client("--only", "load", "--keys", keys, "--ttl-ms", int(1000 * ttl_s), "--spread-ms", max(1, int(1000 * spread_s)))
        if client.wait() != 0:
            sys.exit("the keys were not loaded")
        return first

    def expired(self):
        return json.loads(self.cachee("--json", "stat", "--interval", "1ms"))["operations"]["expired"]

    def cpu_s(self):
        """CPU seconds of the process and its executors, and of its threads by name."""
        threads = {}
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it ended
                name = (task / "comm").read_text().strip()
                threads[name] = threads.get(name, 0) + int((task / "schedstat").read_text().split()[0]) / 1e9
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        executors = 0
        for child in children:
            for task in pathlib.Path(f"/proc/{child}/task").iterdir():
                with contextlib.suppress(OSError):
                    executors += int((task / "schedstat").read_text().split()[0]) / 1e9
        return {"process": sum(threads.values()), "executors": executors,
                "expiry": threads.get("expiry", 0), "upkeep": threads.get("upkeep", 0)}


def spent(before, after):
    return {name: after[name] - before[name] for name in before}


def memory_for(keys):
    return BYTES_BESIDES + keys * BYTES_PER_KEY


def idle(build, keys):
    """Percent of a core while keys with a deadline do not expire."""
    with Cacheed(build, memory_for(keys)) as cacheed:
        cacheed.load(keys, 5 * 3600, 0)
        before, start = cacheed.cpu_s(), time.monotonic()
        time.sleep(IDLE_S)
        passed = time.monotonic() - start
        return {f"{name}_percent_of_core": round(100 * cpu / passed, 3) for name, cpu in spent(before, cacheed.cpu_s()).items()}


def sweep(build, keys, spread_s):
    """CPU of the sweep, and when all keys were gone."""
    with Cacheed(build, memory_for(keys)) as cacheed:
        first = cacheed.load(keys, keys / KEYS_LOADED_PER_SECOND + 2, spread_s)
        before = cacheed.cpu_s()
        cacheed.wait("the end of all keys", lambda: cacheed.expired() >= keys)
        cpu = spent(before, cacheed.cpu_s())
        return {"all_gone_ms": round(1000 * (time.monotonic() - first)), "sweep_cpu_ms": round(1000 * cpu["expiry"], 1),
                "sweep_cpu_ns_per_key": round(1e9 * cpu["expiry"] / keys, 1), "process_cpu_ms": round(1000 * cpu["process"], 1)}


def beside_storm(build, memory_bytes):
    """How late events are while all memory is evicted."""
    with Cacheed(build, memory_bytes) as cacheed:
        cacheed.cachee(text='TRIGGER REGISTER due:* ON_EXPIRE NAME late <<LUA\ncachee.log("late", {ms = event.lag_ms})\nLUA\n')
        storm = cacheed.client("--only", "storm", "--seconds", STORM_S)
        cacheed.wait("evictions", lambda: json.loads(cacheed.cachee("--json", "stat", "--interval", "1ms"))["operations"]["evicted"] > 10_000)
        trickle = cacheed.client("--only", "trickle", "--keys", DUE_IN_STORM, "--ttl-ms", 20, "--pace-us", 1000)
        trickle.wait()
        storm.wait()
        cacheed.wait("an empty ring", lambda: "0" == str(json.loads(cacheed.cachee("--json", "ring")).get("depth", 0)))
        lines = (cacheed.folder / cacheed.name / "log" / "late.jsonl").read_text().splitlines()
        late = sorted(json.loads(line)["ms"] for line in lines)
        return {"events": len(late), "late_p50_ms": late[len(late) // 2], "late_p99_ms": late[int(0.99 * len(late))], "late_max_ms": late[-1]}


def run_cacheed(build, keys):
    """Everything at one number of keys; {figure: value}."""
    result = {}
    for part, figures in (("idle", lambda: idle(build, keys)), ("random", lambda: sweep(build, keys, SPREAD_S)),
                          ("mass", lambda: sweep(build, keys, 0)), ("storm", lambda: beside_storm(build, memory_for(keys)))):
        for name, value in figures().items():
            result[f"cacheed.{part}.{name}"] = value
            print(f"{part:10} {name:28} {value}", flush=True)
    return result
