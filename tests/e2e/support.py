"""What end-to-end tests start and talk to: cacheed, cachee, a load client, an HTTP receiver, RESP.

Everything is a real process or a real socket, under names of its own. Nothing here sleeps for a
result: wait_until() polls a condition up to a deadline and says what it waited for.
"""
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = TREE / "daemon" / "examples"


def program(variable, name):
    """The program CTest names in the environment, else the one of a build folder."""
    path = os.environ.get(variable)
    if path:
        return path
    for preset in ("test", "dev", "release"):
        for found in (TREE / "build" / preset).rglob(name):
            if found.is_file() and os.access(found, os.X_OK):
                return str(found)
    raise RuntimeError(f"{name}: not built; run through CTest or set {variable}")


CACHEED = program("CACHEED", "cacheed")
CACHEE = program("CACHEE", "cachee")
LOAD_CLIENT = program("CACHEE_LOAD_CLIENT", "e2e_load_client")


def wait_until(condition, what, timeout=10.0, interval=0.01):
    """Returns the first true value of condition(); fails with `what` after the timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            raise AssertionError(f"waited {timeout} s for: {what}")
        time.sleep(interval)


def children_of(pid):
    """Pids of the live direct children of a process."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def frozen_executors(daemon):
    """Stops the executors of a daemon, and each that replaces one: what stands still for 3 s is replaced."""
    stopped = set()
    over = threading.Event()

    def freeze():
        for pid in set(daemon.executors()) - stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            stopped.add(pid)

    def watch():
        while not over.wait(0.002):
            freeze()

    wait_until(daemon.executors, "an executor")
    freeze()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        for pid in stopped & set(daemon.executors()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class RespError(Exception):
    pass


class Resp:
    """One RESP2 connection to a control socket."""

    def __init__(self, path, timeout=20.0):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rb")

    def send(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))

    def read(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the control socket was closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RespError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            data = self.stream.read(int(rest) + 2)[:-2]
            return data.decode("utf-8", "surrogateescape")
        if kind == b"*":
            return None if int(rest) < 0 else [self.read_item() for _ in range(int(rest))]
        raise AssertionError(f"not RESP2: {line!r}")

    def read_item(self):
        try:
            return self.read()
        except RespError as error:
            return error

    def __call__(self, *words):
        self.send(*words)
        return self.read()

    def close(self):
        self.stream.close()
        self.socket.close()


class Daemon:
    """One cacheed with a name, a state folder and a runtime folder of its own."""

    counter = 0

    def __init__(self, folder, settings="", options=(), memory="32MiB"):
        Daemon.counter += 1
        self.name = f"e2e-{os.getpid()}-{Daemon.counter:03d}"
        self.folder = pathlib.Path(folder)
        self.state = self.folder / "state"
        # Short: the path of a unix socket has 107 bytes at most.
        self.runtime = pathlib.Path(tempfile.mkdtemp(prefix="cachee-", dir="/tmp"))
        self.socket_path = self.runtime / f"{self.name}.sock"
        self.config = self.folder / "cacheed.toml"
        self.config.write_text(settings or "[webhook]\nallow_private = true\n")
        self.options = ["--memory", memory, *options]
        self.process = None
        self.log_path = self.folder / "cacheed.log"
        self.log_start = 0
        self.connection = None

    # Life

    def command(self, *more):
        return [CACHEED, "--name", self.name, "--config", self.config, "--state-dir", self.state,
                "--runtime-dir", self.runtime, *self.options, *more]

    def start(self, *more, ready_timeout=20.0):
        assert self.process is None or self.process.poll() is not None
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command(*more), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment())

        def ready():
            assert self.process.poll() is None, f"cacheed ended ({self.process.returncode}):\n{self.log()}"
            return re.search(r"\bready\b", self.log())

        wait_until(ready, lambda: f"the log line `ready` in:\n{self.log()}", ready_timeout)
        return self

    def log(self):
        """What cacheed wrote since its last start."""
        with self.log_path.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode("utf-8", "replace")

    def signal(self, number):
        self.process.send_signal(number)

    def terminate(self, timeout=15.0):
        self.disconnect()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        """SIGKILL, as the kernel or an operator would."""
        self.disconnect()
        self.process.kill()
        self.process.wait(10)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def executors(self):
        return children_of(self.process.pid)

    def environment(self):
        return {**os.environ, "CACHEE_RUNTIME_DIR": str(self.runtime), "CACHEE_STATE_DIR": str(self.state)}

    # Talking to it

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def resp(self, *words):
        """One command over the control socket; RespError when it answers with an error."""
        if self.connection is None:
            self.connection = Resp(self.socket_path)
        return self.connection(*words)

    def cachee(self, *words, stdin=None, timeout=30.0):
        """Runs the cachee command; the result has returncode, stdout, stderr."""
        return subprocess.run([CACHEE, "-n", self.name, *map(str, words)], input=stdin,
                              stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True,
                              text=True, timeout=timeout, env=self.environment())

    def cachee_ok(self, *words, stdin=None):
        done = self.cachee(*words, stdin=stdin)
        assert done.returncode == 0, f"cachee {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def script(self, text):
        """Runs a command file, as `cachee < file` does."""
        return self.cachee_ok(stdin=text)

    def example(self, name):
        return self.script((EXAMPLES / f"{name}.cachee").read_text())

    def register(self, pattern, events, source, *options):
        return self.resp("TRIGGER", "REGISTER", pattern, events, *options, source)

    def channel(self, name):
        """The JSON lines of a log channel; every line must be whole."""
        path = self.state / self.name / "log" / f"{name}.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    # What must be true of it

    def verify(self):
        return self.cachee("verify")

    def fsck(self):
        return self.cachee("fsck")

    def drained(self, timeout=20.0):
        """Waits until no event is in the ring."""
        def empty():
            ring = json.loads(self.cachee_ok("--json", "ring"))
            return depth_of(ring) == 0

        wait_until(empty, lambda: f"an empty ring; {self.cachee('ring').stdout}", timeout, 0.05)

    def remove(self):
        """Forgets the segment and every folder."""
        if self.alive():
            self.kill()
        for path in pathlib.Path("/dev/shm").glob(f"cachee.{self.name}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.runtime, ignore_errors=True)


def depth_of(ring):
    """Events in the ring, from `cachee --json ring`."""
    if "depth" in ring:
        return ring["depth"]
    return ring["tail"] - ring["head"]


class Load:
    """A client process that writes without pause and reports each finished operation in a file."""

    def __init__(self, daemon, prefix, keys=16, count=0, **options):
        self.prefix = prefix
        self.path = daemon.folder / f"load-{prefix.strip(':')}-{time.monotonic_ns()}.out"
        words = [LOAD_CLIENT, "--name", daemon.name, "--prefix", prefix, "--keys", str(keys),
                 "--count", str(count)]
        for option, value in options.items():
            words += [f"--{option.replace('_', '-')}", str(value)]
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT)

    def lines(self):
        """Whole lines so far; the one a SIGKILL cut short is not among them."""
        text = self.path.read_text()
        return [line.split() for line in text[:text.rfind("\n") + 1].splitlines()]

    def done(self):
        """(key, version) of every write that returned success."""
        return [(key, int(version)) for word, key, version, _ in
                (line for line in self.lines() if line[0] == "ok")]

    def errors(self):
        return [line for line in self.lines() if line[0] == "err"]

    def slowest_ms(self):
        return max((int(line[3]) for line in self.lines() if line[0] == "ok"), default=0) / 1000

    def wait_for(self, count, timeout=20.0):
        def enough():
            assert self.process.poll() is None or len(self.done()) >= count, self.path.read_text()[-500:]
            return len(self.done()) >= count

        wait_until(enough, lambda: f"{count} writes of {self.prefix} (so far {len(self.done())})", timeout)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        """Lets it finish its operation and end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.path.read_text()[-500:]

    def finish(self, timeout=60.0):
        assert self.process.wait(timeout) == 0, self.path.read_text()[-500:]


class Receiver:
    """An HTTP server on loopback that keeps every request; `fail` and `pages` steer its answers."""

    def __init__(self):
        receiver = self
        self.requests = []
        self.fail = []      # statuses to answer with, one a request, before 200
        self.pages = {}     # path -> body of GET
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with receiver.lock:
                    receiver.requests.append({
                        "method": self.command, "path": self.path, "body": body,
                        "headers": {k.lower(): v for k, v in self.headers.items()}})
                    status = receiver.fail.pop(0) if receiver.fail else 200
                page = receiver.pages.get(self.path)
                if status == 200 and self.command == "GET" and page is None:
                    status = 404
                answer = page.encode() if status == 200 and page is not None else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                                       daemon=True)
        self.thread.start()

    def received(self, path=None):
        with self.lock:
            return [r for r in self.requests if path is None or r["path"] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
