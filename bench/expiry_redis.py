"""Few keys are due at one time among many that are not: how late is the event in Redis?

Redis runs privately, without persistence, with notify-keyspace-events Ex; an event's time is that of its
message here. It gets a minute.
"""
import socket
import subprocess
import sys
import tempfile
import time

DUE, OTHERS, PATIENCE_S = 1000, 100_000, 60
BATCH = 1000


def command(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def connect(path):
    end = time.monotonic() + 5
    while True:
        try:
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            return client
        except OSError:
            client.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def send_all(client, commands):
    """Pipelined, with every answer an OK line."""
    for first in range(0, len(commands), BATCH):
        batch = commands[first:first + BATCH]
        client.sendall(b"".join(batch))
        answers = b""
        while answers.count(b"\r\n") < len(batch):
            answers += client.recv(1 << 16)
        if answers != b"+OK\r\n" * len(batch):
            sys.exit(f"redis answered {answers[:200]!r}")


def lateness_of_redis(path):
    writer, reader = connect(path), connect(path)
    reader.sendall(command("SUBSCRIBE", "__keyevent@0__:expired"))
    reader.recv(1 << 16)
    send_all(writer, [command("SET", f"other{n}", "v", "PX", 3_600_000) for n in range(OTHERS)])
    due_ms = int(time.time() * 1000) + 2000
    send_all(writer, [command("SET", f"due{n}", "v", "PXAT", due_ms) for n in range(DUE)])
    late, end = [], due_ms / 1000 + PATIENCE_S
    while len(late) < DUE and time.time() < end:
        reader.settimeout(max(0.01, end - time.time()))
        try:
            got = reader.recv(1 << 16)
        except TimeoutError:
            break
        late += [time.time() * 1000 - due_ms] * got.count(b"$7\r\nmessage\r\n")
    return late


def run_redis():
    """How many events came, and how late they were; what cachee_bench_expiry --only among measures of Cachee."""
    with tempfile.TemporaryDirectory(prefix="cachee-redis-") as folder:
        path = f"{folder}/socket"
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
                                   "--notify-keyspace-events", "Ex", "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            late = sorted(lateness_of_redis(path))
        finally:
            server.terminate()
            server.wait()
    figures = {"redis.events_in_a_minute": len(late)}
    if late:
        figures |= {"redis.late_p50_ms": round(late[len(late) // 2], 1), "redis.late_max_ms": round(late[-1], 1)}
    return figures
