"""Goal: what ends at a moment of the wall clock ends then, also for a supervisor whose monotonic clock is elsewhere than its
predecessor's was, as behind a step or a suspend.

Method: a real cacheed, and the next one in a time namespace of its own, where CLOCK_MONOTONIC is shifted; nobody
touches the machine's clocks. Needs the right to make one (root), else it is skipped. A step under a live supervisor is
simulated in unit/libshm/clock_test.cpp.
"""
import pathlib
import subprocess
import time

import pytest

from support import children_of, wait_until


def now_ms():
    return time.time_ns() // 1_000_000


@pytest.fixture
def another_time():
    """The start of a command line that runs what follows where CLOCK_MONOTONIC is behind."""
    behind = int(min(3600, float(pathlib.Path("/proc/uptime").read_text().split()[0]) / 2))
    if behind < 60:
        pytest.skip("the machine has just started: its clock has nothing to be behind of")
    holder = subprocess.Popen(["unshare", "--time", "--monotonic", str(-behind), "--fork", "sleep", "300"],
                              stderr=subprocess.PIPE)
    try:
        inside = wait_until(lambda: holder.poll() is not None or children_of(holder.pid), "a time namespace")
        if inside is True:
            pytest.skip(f"no time namespaces here: {holder.stderr.read().decode().strip()}")
        yield ["nsenter", f"--time=/proc/{inside[0]}/ns/time"]
    finally:
        for child in children_of(holder.pid):
            subprocess.run(["kill", str(child)], check=False)
        holder.wait(10)


def test_a_moment_is_kept_by_a_supervisor_with_another_monotonic_clock(make_daemon, await_lines, another_time):
    daemon = make_daemon()
    daemon.register("due:*", "ON_EXPIRE", 'cachee.log("ends", {key = event.key, lag = event.lag_ms})', "NAME", "ends")
    here = daemon.command
    far = now_ms() + 86_400_000
    daemon.resp("SET", "far", "v", "PXAT", far)
    daemon.resp("SET", "due:1", "v", "PXAT", now_ms() + 3000)
    daemon.kill()

    daemon.command = lambda *more: [*another_time, *here(*more)]
    daemon.start()
    assert "a timer of the wall clock" not in daemon.log()
    lines = await_lines(daemon, "ends", 1)
    assert lines[0]["key"] == "due:1"
    assert 0 <= lines[0]["lag"] < 2000, "the summary still went by the clock of its predecessor"
    assert daemon.resp("PEXPIRETIME", "far") == far
    daemon.resp("SET", "due:2", "v", "PXAT", now_ms() + 3000)
    daemon.resp("COPY", "far", "further")
    daemon.kill()

    daemon.command = here  # where the monotonic clock is ahead
    daemon.start()
    assert daemon.resp("GET", "due:2") == "v"
    lines = await_lines(daemon, "ends", 2)
    assert lines[1]["key"] == "due:2"
    assert 0 <= lines[1]["lag"] < 2000
    assert daemon.resp("PEXPIRETIME", "far") == daemon.resp("PEXPIRETIME", "further") == far
    assert daemon.resp("GET", "far") == "v"
